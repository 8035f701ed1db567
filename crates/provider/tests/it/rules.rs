//! Small descriptions, one for each rule.

use provider::{LoadError, LoadLimits, Opaque, Provider, Step, load};
use serde_json::{Value, json};
use types::Action;

pub fn read(document: &Value) -> Provider {
    load(document.to_string().as_bytes(), None, &LoadLimits::default()).unwrap()
}

/// The same where all of it stands in an overlay, in which our extensions count.
pub fn overlaid(document: &Value) -> Provider {
    let overlay = json!({"overlay": "1.1.0", "actions": [{"target": "$", "update": document}]});
    load(br#"{"openapi": "3.0.3"}"#, Some(overlay.to_string().as_bytes()), &LoadLimits::default())
        .unwrap()
}

/// A description with these paths and schemas.
pub fn openapi(paths: Value, schemas: Value) -> Value {
    json!({
        "openapi": "3.0.3",
        "info": {"title": "T", "version": "1"},
        "paths": paths,
        "components": {"schemas": schemas},
    })
}

/// An operation that answers 200 with this schema.
pub fn answers(schema: Value) -> Value {
    json!({"responses": {"200": {"description": "", "content": {"application/json": {"schema": schema}}}}})
}

/// The same of which callers can ask for a page.
pub fn pages(schema: Value) -> Value {
    let mut operation = answers(schema);
    operation["parameters"] =
        json!([{"name": "page", "in": "query", "schema": {"type": "integer"}}]);
    operation
}

pub fn object_of<'p>(provider: &'p Provider, id: &str) -> &'p str {
    let operation = provider.operations.iter().find(|one| one.id == id).unwrap();
    operation.object.and_then(|id| provider.object(id)).map_or("-", |object| &object.name)
}

pub fn fields(provider: &Provider, object: &str) -> Vec<String> {
    let (_, object) = provider.object_by_name(object).unwrap();
    object.fields.iter().map(|field| field.path.clone()).collect()
}

#[test]
fn envelopes_are_stepped_through() {
    let item = json!({"type": "object", "properties": {"id": {"type": "string"}, "name": {"type": "string"}}});
    let list = json!({"type": "array", "items": item});
    for (schema, steps) in [
        (item.clone(), vec![]),
        (list.clone(), vec![Step::Elements]),
        (
            json!({"type": "object", "properties": {"data": list, "next": {"type": "string"}, "total_count": {"type": "integer"}}}),
            vec![Step::Member("data".into()), Step::Elements],
        ),
        (
            json!({"type": "object", "properties": {"ok": {"type": "boolean"}, "user": item, "errors": list}}),
            vec![Step::Member("user".into())],
        ),
        (
            json!({"type": "object", "properties": {"items": {"type": "object", "additionalProperties": item}}}),
            vec![Step::Member("items".into()), Step::AnyMember],
        ),
        // Two payloads, or a scalar of its own: the whole answer is the object.
        (json!({"type": "object", "properties": {"a": item, "b": list}}), vec![]),
        (json!({"type": "object", "properties": {"a": item, "owner": {"type": "string"}}}), vec![]),
    ] {
        let provider =
            read(&openapi(json!({"/things": {"get": answers(schema.clone())}}), json!({})));
        assert_eq!(provider.operations[0].answers[0].envelope.steps, steps, "{schema}");
    }
}

#[test]
fn named_schemas_keep_their_names_and_others_take_the_paths() {
    let named = json!({"$ref": "#/components/schemas/Person"});
    let inline = json!({"type": "object", "properties": {"id": {"type": "string"}, "size": {"type": "string"}}});
    let provider = read(&openapi(
        json!({
            "/people": {"get": answers(json!({"type": "array", "items": named}))},
            "/boxes": {"get": answers(json!({"type": "array", "items": inline}))},
            "/boxes/{id}": {"get": answers(inline)},
            "/nullable": {"get": answers(json!({"allOf": [named], "nullable": true}))},
        }),
        json!({"Person": {"type": "object", "title": "Ignored", "properties": {"id": {"type": "string"}}}}),
    ));
    assert_eq!(object_of(&provider, "GET /people"), "Person");
    assert_eq!(object_of(&provider, "GET /boxes"), "Box");
    assert_eq!(object_of(&provider, "GET /boxes/{id}"), "Box");
    assert_eq!(object_of(&provider, "GET /nullable"), "Person");
}

/// Only paths that differ by a trailing parameter are about one anonymous object.
#[test]
fn a_literal_beside_a_parameter_makes_another_object() {
    let answer = |name: &str| {
        answers(
            json!({"type": "object", "properties": {"id": {"type": "string"}, name: {"type": "string"}}}),
        )
    };
    let done = json!({"responses": {"204": {"description": ""}}});
    let provider = read(&openapi(
        json!({
            "/keys": {"get": answer("value")},
            "/keys/{id}": {"get": answer("value"), "delete": done},
            "/keys/{id}.json": {"get": answer("value")},
            "/keys/{id}:reveal": {"get": answer("value")},
            "/keys/audit-{day}": {"get": answer("who")},
            "/keys/{id}:purgeAll": {"delete": done},
        }),
        json!({}),
    ));
    for (operation, object) in [
        ("GET /keys", "Key"),
        ("GET /keys/{id}", "Key"),
        ("GET /keys/{id}.json", "Key"),
        ("DELETE /keys/{id}", "Key"),
        ("GET /keys/{id}:reveal", "Reveal"),
        ("GET /keys/audit-{day}", "Audit"),
        ("DELETE /keys/{id}:purgeAll", "PurgeAll"),
    ] {
        assert_eq!(object_of(&provider, operation), object, "{operation}");
    }
    assert_eq!(fields(&provider, "Key"), ["id", "value"]);
}

#[test]
fn writes_take_the_object_of_the_read_on_their_path() {
    let person = json!({"$ref": "#/components/schemas/Person"});
    let input = json!({"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Input"}}}});
    let status = json!({"type": "object", "properties": {"ok": {"type": "boolean"}}});
    let with = |mut operation: Value, body: &Value| {
        operation["requestBody"] = body.clone();
        operation
    };
    let provider = read(&openapi(
        json!({
            "/people/{id}": {
                "get": answers(person.clone()),
                "put": with(answers(status.clone()), &input),
                "delete": {"responses": {"204": {"description": ""}}},
            },
            "/jobs": {"post": with(answers(person), &input)},
            "/imports": {"post": with(answers(status), &input)},
        }),
        json!({
            "Person": {"type": "object", "properties": {"id": {"type": "string"}}},
            "Input": {"type": "object", "properties": {"name": {"type": "string"}}},
        }),
    ));
    assert_eq!(object_of(&provider, "PUT /people/{id}"), "Person");
    assert_eq!(object_of(&provider, "DELETE /people/{id}"), "Person");
    assert_eq!(object_of(&provider, "POST /jobs"), "Person");
    assert_eq!(object_of(&provider, "POST /imports"), "Input");
    let (_, person) = provider.object_by_name("Person").unwrap();
    let name = person.fields.iter().find(|field| field.path == "name").unwrap();
    assert!(name.is_write_only);
}

#[test]
fn fields_stop_at_named_objects() {
    let provider = read(&openapi(
        json!({"/people": {"get": answers(json!({"$ref": "#/components/schemas/Person"}))}}),
        json!({
            "Person": {"type": "object", "properties": {
                "id": {"type": "string"},
                "manager": {"$ref": "#/components/schemas/Person"},
                "tags": {"type": "array", "items": {"type": "string"}},
                "jobs": {"type": "array", "items": {"type": "object", "properties": {"title": {"type": "string"}}}},
                "home": {"$ref": "#/components/schemas/Home"},
                "scores": {"type": "object", "additionalProperties": {"type": "object", "properties": {"value": {"type": "number"}}}},
                "custom": {"type": "object"},
                "any": {},
                "a.b": {"type": "string"},
            }},
            "Home": {"type": "object", "properties": {"city": {"type": "string"}}},
        }),
    ));
    assert_eq!(
        fields(&provider, "Person"),
        [
            "id",
            "manager",
            "tags",
            "jobs",
            "jobs[].title",
            "home",
            "scores",
            "scores.*",
            "scores.*.value",
            "custom",
            "any",
            r"a\.b",
        ]
    );
    assert_eq!(fields(&provider, "Home"), ["city"]);
}

#[test]
fn swagger_two_is_read_by_the_same_rules() {
    let provider = read(&json!({
        "swagger": "2.0",
        "info": {"title": "T", "version": "1"},
        "host": "api.example.com",
        "basePath": "/v2/",
        "schemes": ["http", "https"],
        "securityDefinitions": {"b": {"type": "basic"}},
        "paths": {"/things/{id}": {
            "parameters": [{"name": "id", "in": "path", "required": true, "type": "string"}],
            "get": {"operationId": "one", "parameters": [{"name": "limit", "in": "query", "type": "integer"}, {"name": "sort", "in": "query", "type": "string"}],
                "responses": {"200": {"description": "", "schema": {"$ref": "#/definitions/Thing"}}}},
            "post": {"consumes": ["application/x-www-form-urlencoded"], "parameters": [{"name": "name", "in": "formData", "type": "string"}],
                "responses": {"200": {"description": "", "schema": {"$ref": "#/definitions/Thing"}}}},
        }},
        "definitions": {"Thing": {"type": "object", "properties": {"id": {"type": "string"}}}},
    }));
    assert_eq!(provider.servers[0].url, "https://api.example.com/v2");
    let one = provider.operations.iter().find(|one| one.id == "one").unwrap();
    let paging: Vec<(&str, bool)> =
        one.params.iter().map(|param| (param.name.as_str(), param.is_paging)).collect();
    // There is no list.
    assert_eq!(paging, [("limit", false), ("sort", false)]);
    let post = provider.operations.iter().find(|one| one.action == Action::Create).unwrap();
    assert!(post.request.as_ref().unwrap().media.contains("application/x-www-form-urlencoded"));
    assert_eq!(fields(&provider, "Thing"), ["id", "name"]);
}

#[test]
fn overlays_correct_what_the_description_says() {
    let document = openapi(
        json!({"/search": {"post": {"operationId": "search", "responses": {"200": {"description": "", "content": {"application/json": {}}}}}}}),
        json!({}),
    );
    let overlay = json!({"overlay": "1.1.0", "info": {"title": "o", "version": "1"}, "actions": [
        {"target": "$.paths['/search'].post", "update": {
            "x-weirgate-action": "read",
            "x-weirgate-object": "Hit",
            "x-weirgate-error": {"when": "ok=false", "code": "error"},
        }},
        {"target": "$.paths['/search'].post.responses['200'].content['application/json']", "update": {
            "schema": {"type": "object", "properties": {"id": {"type": "string"}, "note": {"type": "string", "x-weirgate-label": "user.health_and_medical"}}},
        }},
    ]});
    let provider = load(
        document.to_string().as_bytes(),
        Some(overlay.to_string().as_bytes()),
        &LoadLimits::default(),
    )
    .unwrap();
    let search = &provider.operations[0];
    assert_eq!(search.action, Action::Read);
    assert_eq!(object_of(&provider, "search"), "Hit");
    assert_eq!(search.error_inside.as_ref().unwrap().member, "ok");
    let (_, hit) = provider.object_by_name("Hit").unwrap();
    let note = hit.fields.iter().find(|field| field.path == "note").unwrap();
    assert!(note.label.as_ref().unwrap().is_sensitive);
}

#[test]
fn an_id_that_reads_like_another_place_is_not_used() {
    let mut paths = serde_json::Map::new();
    for (path, method, id) in [
        ("/a", "delete", "GET /b"),
        ("/b", "get", "get  /a"),
        ("/c", "get", "GET /c"),
        ("/d", "get", "get all / any"),
    ] {
        let operation = json!({"operationId": id, "responses": {"200": {"description": ""}}});
        paths.insert(path.to_owned(), json!({method: operation}));
    }
    let provider = read(&openapi(paths.into(), json!({})));
    let ids: Vec<&str> = provider.operations.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(ids, ["DELETE /a", "GET /b", "GET /c", "get all / any"]);
    let told = provider.diagnostics.iter().filter(|one| one.code == "misleading_operation_id");
    assert_eq!(told.count(), 2);
}

#[test]
fn oddities_become_diagnostics_with_a_place() {
    let provider = read(&openapi(
        json!({
            "/a#first": {"get": {"operationId": "same", "responses": {"200": {"description": ""}}}},
            "/b?x=1": {"get": {"operationId": "same", "responses": {"weird": {"description": ""}}}},
            "/c": {"get": answers(json!({"$ref": "#/components/schemas/Nowhere"}))},
            "/d": {"get": answers(json!({"$ref": "other.yaml#/X"}))},
            "/e": {"get": answers(json!({"$ref": "#/components/schemas/Loop"}))},
            "/f/{": {"get": answers(json!({}))},
        }),
        json!({"Loop": {"$ref": "#/components/schemas/Loop"}}),
    ));
    assert_eq!(provider.operations.len(), 5);
    assert_ne!(provider.operations[0].id, provider.operations[1].id);
    assert_eq!(provider.operations[0].path.text(), "/a");
    let codes: Vec<&str> = provider.diagnostics.iter().map(|one| one.code).collect();
    for code in
        ["unreadable_status", "dangling_ref", "external_ref", "ref_cycle", "unreadable_path"]
    {
        assert!(codes.contains(&code), "no {code} in {codes:?}");
    }
    assert!(provider.diagnostics.iter().all(|one| one.pointer.starts_with('/')));
}

#[test]
fn what_costs_too_much_is_refused() {
    let refused = |bytes: &[u8]| load(bytes, None, &LoadLimits::default()).unwrap_err();
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        bomb.push_str(&format!("a{level}: &a{level} [{before}]\n"));
    }
    assert!(matches!(
        refused(bomb.as_bytes()),
        LoadError::TooManyNodes { .. } | LoadError::Syntax { .. }
    ));
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(matches!(refused(deep.as_bytes()), LoadError::TooDeep { .. }));
    let deep = format!("{{\"a\":{deep}}}");
    assert!(matches!(
        refused(deep.as_bytes()),
        LoadError::TooDeep { .. } | LoadError::Syntax { .. }
    ));
    let limits = LoadLimits { max_bytes: 10, ..LoadLimits::default() };
    assert!(matches!(load(b"openapi: 3.0.0", None, &limits), Err(LoadError::TooLarge { .. })));
    for none in ["", "hello", "[]", "{}", "openapi: 4.0", "<html>", "swagger: 1.2", "{\"openapi\":"]
    {
        refused(none.as_bytes());
    }
    assert!(matches!(refused(b"{\"a\":1,\"a\":2}"), LoadError::DuplicateName { .. }));
}

#[test]
fn our_own_descriptions_have_no_diagnostics() {
    for file in ["../sandbox/hr.yaml", "../testkit/src/thing.yaml"] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let provider = load(&std::fs::read(path).unwrap(), None, &LoadLimits::default()).unwrap();
        assert_eq!(provider.diagnostics, [], "{file}");
    }
}

#[test]
fn our_extensions_count_in_overlays_only() {
    let operation = |action: &str| {
        let mut operation = answers(json!({"type": "object", "properties": {
            "ssn": {"type": "string", "x-weirgate-label": {"category": "system.operations", "sensitive": false}}}}));
        operation["x-weirgate-action"] = json!(action);
        operation["x-weirgate-object"] = json!("Mine");
        operation["parameters"] =
            json!([{"name": "q", "in": "query", "schema": {}, "x-weirgate-paging": true}]);
        operation
    };
    let document = openapi(
        json!({"/a": {"delete": operation("read"), "put": operation("read"), "post": operation("read")}}),
        json!({}),
    );
    let provider = read(&document);
    let actions =
        |provider: &Provider| provider.operations.iter().map(|one| one.action).collect::<Vec<_>>();
    assert_eq!(actions(&provider), [Action::Update, Action::Create, Action::Delete]);
    assert!(provider.object_by_name("Mine").is_none());
    assert!(provider.operations.iter().all(|one| !one.params[0].is_paging));
    let ssn = &provider.objects[0].fields[0];
    assert!(ssn.path == "ssn" && ssn.label.as_ref().unwrap().is_sensitive);
    let codes: Vec<&str> = provider.diagnostics.iter().map(|one| one.code).collect();
    assert_eq!(codes, ["extension_ignored"; 12]);
    assert_eq!(provider.diagnostics[0].pointer, "/paths/~1a/delete/x-weirgate-action");
    // The operator's overlay may call a POST a read, and nothing else that changes something.
    let provider = overlaid(&document);
    assert_eq!(actions(&provider), [Action::Update, Action::Read, Action::Delete]);
    let codes: Vec<&str> = provider.diagnostics.iter().map(|one| one.code).collect();
    assert_eq!(codes, ["unsafe_read"; 2]);
}

#[test]
fn extensions_that_nobody_reads_are_told_of() {
    let mut get = answers(json!({"$ref": "#/components/schemas/Person"}));
    get["x-weirgate-acton"] = json!("read");
    let document = openapi(
        json!({"/people": {"get": get, "x-weirgate-object": "Person"}}),
        json!({"Person": {"type": "object", "x-weirgate-label": "user.name", "properties": {
            "id": {"type": "string", "x-weirgate-lable": "user.financial"},
            "tags": {"type": "array", "items": {"type": "string", "x-weirgate-label": "user.financial"}},
            "name": {"type": "string", "x-weirgate-label": "user.name"},
        }}}),
    );
    let provider = overlaid(&document);
    let mut told: Vec<(&str, &str)> = provider
        .diagnostics
        .iter()
        .map(|one| {
            assert_eq!(one.code, "extension_without_effect");
            (one.pointer.as_str(), one.message.as_str())
        })
        .collect();
    told.sort_unstable();
    let misspelled = |right: &str| format!("there is no such key; did you mean `{right}`?");
    let person = "/components/schemas/Person";
    let wanted = [
        (format!("{person}/properties/id/x-weirgate-lable"), misspelled("x-weirgate-label")),
        (format!("{person}/x-weirgate-label"), IN_VAIN.to_owned()),
        ("/paths/~1people/get/x-weirgate-acton".to_owned(), misspelled("x-weirgate-action")),
        ("/paths/~1people/x-weirgate-object".to_owned(), IN_VAIN.to_owned()),
    ];
    assert_eq!(told, wanted.each_ref().map(|(place, words)| (place.as_str(), words.as_str())));
}

const IN_VAIN: &str = "it has no effect at this place";

#[test]
fn one_judgement_says_what_json_is() {
    for media in ["application/json", "text/json", "*/*", "application/*", "application/hal+json"] {
        assert!(provider::is_json(media), "{media}");
    }
    for media in ["application/xml", "text/plain", "application/jsonl", "json", ""] {
        assert!(!provider::is_json(media), "{media}");
    }
}

#[test]
fn doubtful_parameters_page_only_where_the_answer_has_pages() {
    let item = json!({"type": "object", "properties": {"id": {"type": "string"}}});
    let list = json!({"type": "array", "items": item});
    let around = |paging: Value| {
        let mut properties = json!({"data": list});
        for (name, schema) in paging.as_object().unwrap() {
            properties[name] = schema.clone();
        }
        json!({"type": "object", "properties": properties})
    };
    let paging_of = |schema: &Value, description: Option<&str>| -> Vec<String> {
        let mut get = answers(schema.clone());
        let names = ["after", "before", "start", "marker", "count", "limit", "filter"];
        get["parameters"] = names
            .map(|name| {
                json!({"name": name, "in": "query", "schema": {"type": "string"},
                       "description": description})
            })
            .to_vec()
            .into();
        let provider = read(&openapi(json!({"/a": {"get": get}}), json!({})));
        let params = &provider.operations[0].params;
        params.iter().filter(|one| one.is_paging).map(|one| one.name.clone()).collect()
    };
    let cursors = around(json!({"next_cursor": {"type": "string"}}));
    for (schema, wanted) in [
        (list.clone(), vec!["limit"]),
        (around(json!({"ok": {"type": "boolean"}})), vec!["limit"]),
        (around(json!({"total": {"type": "integer"}})), vec!["start", "count", "limit"]),
        (cursors.clone(), vec!["after", "before", "start", "marker", "count", "limit"]),
    ] {
        assert_eq!(paging_of(&schema, Some("Where the page begins.")), wanted, "{schema}");
    }
    // Nobody says that they page, or somebody says that they filter.
    for other in [None, Some("Hired after this"), Some("Results created before this time")] {
        assert_eq!(paging_of(&cursors, other), ["limit"], "{other:?}");
    }
    for (other, wanted) in [
        (
            "Return records with a salary above this number of euros",
            vec!["start", "count", "limit"],
        ),
        ("The index of birth", vec!["start", "count", "limit"]),
        (
            "The cursor of the page before",
            vec!["after", "before", "start", "marker", "count", "limit"],
        ),
    ] {
        assert_eq!(paging_of(&cursors, Some(other)), wanted, "{other}");
    }
    // Where there is no list, nothing pages.
    let lists = json!({"type": "object", "properties": {"id": {"type": "string"}, "tags": list}});
    assert_eq!(paging_of(&item, Some("Where the page begins.")), Vec::<String>::new());
    assert_eq!(paging_of(&lists, Some("Where the page begins.")), ["limit"]);
}

#[test]
fn only_known_and_harmless_members_are_kept() {
    let text = json!({"type": "string"});
    let number = json!({"type": "number"});
    let schema = json!({"type": "object", "properties": {
        "data": {"type": "array", "items": {"type": "object", "properties": {"id": text}}},
        "total": {"type": "integer"}, "limit": number, "offset": text, "totalSalary": number, "total_amount_due": number, "myCursor": text,
        "status": {"enum": ["ok", "failed"]},
        "count": {"type": "integer", "description": "The employee's social security number"},
        "raw": {"type": "object", "properties": {"url": text, "next": text}},
        "meta": {"type": "object", "properties": {
            "avatarUrl": text, "totalPay": number, "next": text, "first": text}},
    }});
    let kept_of = |operation: Value| {
        let provider = read(&openapi(json!({"/a": {"get": operation}}), json!({})));
        let envelope = &provider.operations[0].answers[0].envelope;
        assert_eq!(envelope.steps.len(), 2);
        let spelled = envelope.kept.iter().map(|one| provider::select::spell(&one.path));
        spelled.collect::<std::collections::BTreeSet<String>>().into_iter().collect::<Vec<_>>()
    };
    assert_eq!(kept_of(pages(schema.clone())), ["meta.first", "meta.next", "status", "total"]);
    // Where nobody can ask for a page, a count could be anything; a link leads where callers may go.
    assert_eq!(kept_of(answers(schema)), ["meta.first", "status"]);
}

/// What lies at the path of one thing is that thing, whatever its members are called.
#[test]
fn one_thing_is_no_envelope_around_its_own_list() {
    let text = json!({"type": "string"});
    let count = json!({"type": "integer"});
    let line = json!({"$ref": "#/components/schemas/Line"});
    let lines = json!({"type": "array", "items": line});
    let schemas = json!({
        "Line": {"type": "object", "properties": {"id": text, "amount": {"type": "number"}}},
        "Payslip": {"type": "object", "properties": {"lines": lines, "total": count}},
        "Survey": {"type": "object", "properties": {
            "answers": lines, "success": {"type": "boolean"}, "message": text}},
        "Team": {"type": "object", "properties": {"members": lines, "limit": count, "next": text}},
        "Page": {"type": "object", "properties": {"lines": lines, "type": text, "message": text}},
        "Cart": {"type": "object", "properties": {
            "items": lines, "total": count, "status": {"enum": ["open", "bankrupt"]}}},
        "Till": {"type": "object", "properties": {"items": lines, "total": count}},
    });
    let get = |name: &str| answers(json!({"$ref": format!("#/components/schemas/{name}")}));
    let mut paged = get("Payslip");
    paged["parameters"] = json!([{"name": "limit", "in": "query", "schema": count}]);
    let mut till = get("Till");
    till["x-weirgate-object"] = json!("Till");
    let provider = overlaid(&openapi(
        json!({
            "/payslips/{id}": {"get": get("Payslip")},
            "/surveys/{id}": {"get": get("Survey")},
            "/teams/{id}": {"get": get("Team")},
            "/cart": {"get": get("Cart")},
            "/lines/{day}": {"get": get("Page")},
            "/payslips/{id}/lines": {"get": paged},
            "/desk": {"get": get("Till")},
            "/till": {"get": till},
        }),
        schemas,
    ));
    for (operation, object) in [
        ("GET /payslips/{id}", "Payslip"),
        ("GET /surveys/{id}", "Survey"),
        ("GET /teams/{id}", "Team"),
        ("GET /cart", "Cart"),
        ("GET /lines/{day}", "Line"),
        ("GET /payslips/{id}/lines", "Line"),
        ("GET /desk", "Line"),
        ("GET /till", "Till"),
    ] {
        assert_eq!(object_of(&provider, operation), object, "{operation}");
        let found = provider.operations.iter().find(|one| one.id == operation).unwrap();
        let envelope = &found.answers[0].envelope;
        let kept: Vec<String> =
            envelope.kept.iter().map(|one| provider::select::spell(&one.path)).collect();
        let is_paged = operation == "GET /payslips/{id}/lines";
        assert_eq!(kept, if is_paged { vec!["total"] } else { vec![] }, "{operation}");
    }
}

/// Of the elements of a list or map, each has what is called like paging or status for itself: it is
/// kept nowhere, and what holds it is the object.
#[test]
fn nothing_of_an_element_is_kept_without_a_grant() {
    let text = json!({"type": "string"});
    let count = json!({"type": "integer"});
    let flag = json!({"type": "boolean"});
    let state = json!({"type": "string", "enum": ["accepted", "failed"]});
    let list = |items: Value| json!({"type": "array", "items": items});
    let map = |values: Value| json!({"type": "object", "additionalProperties": values});
    let of = |members: Value| json!({"type": "object", "properties": members});
    let named = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    let schemas = json!({
        "Person": of(json!({"id": text, "ssn": text})),
        "Line": of(json!({"id": text, "amount": {"type": "number"}})),
        "Invoice": of(json!({"total": count, "nextPage": text, "lines": list(named("Line"))})),
        "Check": of(json!({"status": state, "person": named("Person")})),
        "CheckPersonResponse": of(json!({"status": state, "person": named("Person")})),
        "ApiResponse": of(json!({"status": state, "data": named("Person")})),
        "DrugTestResult": of(json!({"status": state, "person": named("Person")})),
        "ResponseTeam": of(json!({"status": state, "person": named("Person")})),
    });
    let meta = of(json!({"total": count, "size": count, "next": text, "ok": flag}));
    let provider = read(&openapi(
        json!({
            "/invoices": {"get": pages(list(named("Invoice")))},
            "/invoices2": {"get": pages(of(json!({"total": count, "data": list(named("Invoice"))})))},
            "/attendances": {"get": answers(of(json!({"records": list(of(
                json!({"status": flag, "ok": flag, "person": named("Person")})))})))},
            "/departments": {"get": pages(map(of(json!({"total": count, "people": list(named("Person"))}))))},
            "/documents": {"get": pages(of(json!({"data": list(of(
                json!({"metadata": meta, "links": of(json!({"next": text})), "person": named("Person")})))})))},
            "/checks": {"get": answers(list(named("Check")))},
            "/checks/{id}": {"get": answers(named("Check"))},
            "/results/{id}": {"get": answers(named("CheckPersonResponse"))},
            "/answers/{id}": {"get": answers(named("ApiResponse"))},
            "/tests/{id}": {"get": answers(named("DrugTestResult"))},
            "/team": {"get": answers(named("ResponseTeam"))},
            "/hits": {"get": pages(list(of(json!({"kind": text, "person": named("Person")}))))},
        }),
        schemas,
    ));
    for (operation, object, kept) in [
        ("GET /invoices", "Invoice", vec![]),
        ("GET /invoices2", "Invoice", vec!["total"]),
        ("GET /attendances", "Attendance", vec![]),
        ("GET /departments", "Department", vec![]),
        ("GET /documents", "Person", vec![]),
        ("GET /checks", "Check", vec![]),
        ("GET /checks/{id}", "Check", vec![]),
        ("GET /results/{id}", "Person", vec!["status"]),
        ("GET /answers/{id}", "Person", vec!["status"]),
        ("GET /tests/{id}", "DrugTestResult", vec![]),
        ("GET /team", "ResponseTeam", vec![]),
        ("GET /hits", "Person", vec![]),
    ] {
        assert_eq!(object_of(&provider, operation), object, "{operation}");
        let found = provider.operations.iter().find(|one| one.id == operation).unwrap();
        let envelope = &found.answers[0].envelope;
        let found: Vec<String> =
            envelope.kept.iter().map(|one| provider::select::spell(&one.path)).collect();
        assert_eq!(found, kept, "{operation}");
    }
}

/// Around one object nothing pages, also not beside it in `meta`.
#[test]
fn beside_one_object_nothing_pages() {
    let text = json!({"type": "string"});
    let meta = json!({"type": "object", "properties": {
        "total": {"type": "integer"}, "next": text, "ok": {"type": "boolean"}}});
    let one = json!({"type": "object", "properties": {"id": text}});
    let provider = read(&openapi(
        json!({"/me": {"get": pages(json!({"type": "object", "properties": {"user": one, "meta": meta}}))}}),
        json!({}),
    ));
    let envelope = &provider.operations[0].answers[0].envelope;
    assert_eq!(envelope.steps, [Step::Member("user".into())]);
    let kept: Vec<String> =
        envelope.kept.iter().map(|one| provider::select::spell(&one.path)).collect();
    assert_eq!(kept, ["meta.ok"]);
}

/// Bodies that say what else is to be done are judged by no field.
#[test]
fn opaque_operations_are_recognised() {
    let text = json!({"type": "string"});
    let any = json!({"type": "object"});
    let list = |item: Value| json!({"type": "array", "items": item});
    let object = |members: Value| json!({"type": "object", "properties": members});
    let call = object(json!({"method": text, "url": text, "body": any}));
    let with = |media: &str, schema: &Value| {
        let mut operation = answers(any.clone());
        operation["requestBody"] = json!({"content": {media: {"schema": schema}}});
        operation
    };
    let json = |schema: Value| with("application/json", &schema);
    let change = object(json!({"op": text, "path": text, "value": {}}));
    let told = |is_opaque: bool| {
        let mut operation = json(call.clone());
        operation["x-weirgate-opaque"] = is_opaque.into();
        operation
    };
    let mut free = json(object(json!({"name": text})));
    free["x-weirgate-opaque"] = json!(true);
    let call_back = object(json!({"to": text, "url": text, "method": text}));
    let workflow = object(json!({"name": text, "steps": list(call.clone())}));
    let mut deep = call.clone();
    for _ in 0..20 {
        deep = object(json!({"inner": deep}));
    }
    let mut recursive = json(json!({"$ref": "#/components/schemas/Node"}));
    recursive["operationId"] = json!("recursive");
    let node = json!({"type": "object", "properties": {
        "name": text, "parent": {"$ref": "#/components/schemas/Node"}}});
    for (path, operation, wanted) in [
        ("/$batch", json(any.clone()), Some(Opaque::Batch)),
        ("/v1/$batch", with("multipart/mixed", &any), Some(Opaque::Batch)),
        (
            "/batch",
            json(object(json!({"data": object(json!({"actions": list(
            object(json!({"relative_path": text, "method": {"enum": ["get", "post"]}})))}))}))),
            Some(Opaque::Batch),
        ),
        (
            "/composite",
            json(object(json!({"allOrNone": {"type": "boolean"},
            "compositeRequest": list(object(json!({"method": text, "url": text})))}))),
            Some(Opaque::Batch),
        ),
        ("/passthrough", json(call.clone()), Some(Opaque::Batch)),
        (
            "/rpc",
            json(object(json!({"jsonrpc": text, "method": text, "params": {}}))),
            Some(Opaque::Batch),
        ),
        ("/graphql", json(object(json!({"q": text}))), Some(Opaque::Query)),
        ("/query", json(object(json!({"query": text, "variables": any}))), Some(Opaque::Query)),
        ("/patched", with("application/json-patch+json", &list(any.clone())), Some(Opaque::Patch)),
        ("/listed", json(list(change.clone())), Some(Opaque::Patch)),
        (
            "/scim",
            json(object(json!({"schemas": list(text.clone()), "Operations": list(change)}))),
            Some(Opaque::Patch),
        ),
        ("/told", free, Some(Opaque::Told)),
        ("/lowered", told(false), None),
        ("/raised", told(true), Some(Opaque::Batch)),
        ("/hooks", json(call_back), None),
        ("/workflows", json(workflow), Some(Opaque::Batch)),
        (
            "/atomic",
            json(object(
                json!({"atomic:operations": list(object(json!({"op": text, "ref": any, "data": any})))}),
            )),
            Some(Opaque::Patch),
        ),
        (
            "/named",
            json(object(
                json!({"id": text, "requests": list(object(json!({"verb": text, "uri": text})))}),
            )),
            Some(Opaque::Batch),
        ),
        ("/graphql/", json(object(json!({"q": text}))), Some(Opaque::Query)),
        ("/graphql/{version}", json(object(json!({"q": text}))), Some(Opaque::Query)),
        ("/graphql.json", json(object(json!({"q": text}))), Some(Opaque::Query)),
        ("/$batch/", json(any.clone()), Some(Opaque::Batch)),
        ("/deep", json(deep), Some(Opaque::Batch)),
        ("/recursive", recursive, None),
        ("/kept", json(object(json!({"query": text, "extensions": any}))), Some(Opaque::Query)),
        (
            "/resources",
            json(list(object(json!({"http_method": text, "resource": text})))),
            Some(Opaque::Batch),
        ),
        (
            "/raw",
            json(object(
                json!({"method": text, "url": object(json!({"raw": text})), "body": text}),
            )),
            Some(Opaque::Batch),
        ),
        (
            "/removed",
            json(list(object(json!({"operation": text, "path": text, "value": {}})))),
            Some(Opaque::Patch),
        ),
        ("/searches", json(object(json!({"query": text}))), None),
        ("/things/batch", json(list(object(json!({"id": text, "path": text})))), None),
        ("/things", with("application/merge-patch+json", &object(json!({"name": text}))), None),
    ] {
        let provider =
            overlaid(&openapi(json!({path: {"post": operation}}), json!({"Node": node})));
        let found = &provider.operations[0];
        assert_eq!(found.opaque, wanted, "{path}");
        let lowered = (path == "/lowered").then_some(Opaque::Batch);
        assert_eq!(found.lowered_opaque, lowered, "{path}");
        // The vendor does not decide it.
        let described = read(&openapi(json!({path: {"post": operation}}), json!({"Node": node})));
        let is_told = matches!(path, "/told" | "/lowered");
        assert!(is_told || described.operations[0].opaque == wanted, "{path}");
    }
    let get = read(&openapi(json!({"/graphql": {"get": answers(any)}}), json!({})));
    assert_eq!(get.operations[0].opaque, Some(Opaque::Query));
}

#[test]
fn fields_that_are_not_listed_are_told_of() {
    let text = json!({"type": "string"});
    let many: serde_json::Map<String, Value> =
        (0..5_001).map(|number| (format!("f{number}"), text.clone())).collect();
    let provider = read(&openapi(
        json!({"/many": {"get": answers(json!({"type": "object", "properties": many}))}}),
        json!({}),
    ));
    assert_eq!(provider.objects[0].fields.len(), 5_000);
    let told = provider.diagnostics.iter().find(|one| one.code == "too_many_fields").unwrap();
    assert!(told.message.starts_with("`Many` has more fields"), "{}", told.message);
}

/// A fact about the provider that the vendor does not decide for us.
#[test]
fn http1_alone_is_said_in_an_overlay_and_by_true_or_false() {
    let saying = |given: Value| {
        let mut document = openapi(json!({}), json!({}));
        document["x-weirgate-http1-only"] = given;
        document
    };
    let told =
        |provider: &Provider| provider.diagnostics.iter().map(|one| one.code).collect::<Vec<_>>();
    for (given, wanted) in [(json!(true), true), (json!(false), false)] {
        let provider = overlaid(&saying(given));
        assert_eq!((provider.is_http1_only, told(&provider)), (wanted, vec![]));
    }
    let odd = overlaid(&saying(json!("yes")));
    assert_eq!((odd.is_http1_only, told(&odd)), (false, vec!["bad_extension"]));
    let described = read(&saying(json!(true)));
    assert!(!described.is_http1_only && !told(&described).is_empty());
}

/// A label on a schema holds for every member whose value can be of it, however it is referred to.
#[test]
fn a_label_on_a_schema_is_found_on_every_way_to_it() {
    let code = json!({"$ref": "#/components/schemas/Code"});
    let ways = json!({
        "direct": code,
        "alias": {"$ref": "#/components/schemas/Alias"},
        "nullable31": {"anyOf": [code, {"type": "null"}]},
        "nullable30": {"allOf": [code], "nullable": true},
        "one": {"oneOf": [code]},
        "either": {"anyOf": [code, {"type": "integer"}]},
        "list": {"type": "array", "items": code},
        "lists": {"type": "array", "items": {"type": "array", "items": {"anyOf": [code, {"type": "null"}]}}},
        "tuple": {"type": "array", "prefixItems": [{"type": "integer"}, code]},
        "map": {"type": "object", "additionalProperties": code},
        "patterns": {"type": "object", "patternProperties": {"^x": code}},
        "listed": {"$ref": "#/components/schemas/Listed"},
        "size": {"type": "integer"},
        "own": {"allOf": [code], "x-weirgate-label": {"category": "system.operations", "sensitive": false}},
    });
    let provider = overlaid(&openapi(
        json!({"/things": {"get": answers(json!({"$ref": "#/components/schemas/Thing"}))}}),
        json!({
            "Thing": {"type": "object", "properties": ways},
            "Code": {"type": "integer", "x-weirgate-label": {"category": "user.health_and_medical", "sensitive": true}},
            "Alias": code,
            "Listed": {"type": "array", "items": code},
        }),
    ));
    assert_eq!(provider.diagnostics, []);
    let (_, thing) = provider.object_by_name("Thing").unwrap();
    for field in &thing.fields {
        let label = field.label.as_ref();
        let is_plain = ["size", "own"].contains(&field.path.as_str());
        assert_eq!(label.is_some_and(|label| label.is_sensitive), !is_plain, "{}", field.path);
        let category = label.map(|label| label.category.as_str());
        assert_eq!(category == Some("user.health_and_medical"), !is_plain, "{}", field.path);
    }
    assert!(thing.fields.len() >= 14);
}
