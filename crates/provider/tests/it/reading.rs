//! Odd and hostile descriptions, and what the overlay's keys do.

use crate::rules::{answers, fields, object_of, openapi, overlaid, pages, read};
use provider::{
    Answer, Envelope, Field, FieldKind, KeptRule, LoadError, LoadLimits, Provider, ScalarKind,
    SecurityScheme, Step, load,
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn yaml(text: &str) -> Provider {
    load(text.as_bytes(), None, &LoadLimits::default()).unwrap()
}

fn refusal(bytes: &[u8]) -> LoadError {
    load(bytes, None, &LoadLimits::default()).unwrap_err()
}

fn codes(provider: &Provider) -> Vec<(&str, &str)> {
    provider.diagnostics.iter().map(|one| (one.code, one.pointer.as_str())).collect()
}

fn field<'p>(provider: &'p Provider, object: &str, path: &str) -> &'p Field {
    let (_, found) = provider.object_by_name(object).unwrap();
    found.fields.iter().find(|field| field.path == path).unwrap()
}

/// The envelope of `GET /things` with this answer, of which there are pages.
fn envelope(schema: Value) -> Envelope {
    let provider = read(&openapi(json!({"/things": {"get": pages(schema)}}), json!({})));
    provider.operations[0].answers[0].envelope.clone()
}

fn kept(envelope: &Envelope) -> Vec<(String, KeptRule)> {
    let mut kept: Vec<(String, KeptRule)> =
        envelope.kept.iter().map(|one| (provider::select::spell(&one.path), one.rule)).collect();
    kept.sort_by(|a, b| a.0.cmp(&b.0));
    kept
}

#[test]
fn yaml_scalars_stay_what_they_look_like() {
    let provider = yaml(concat!(
        "\u{feff}openapi: 3.0.3\n",
        "info: {title: T, version: 2024-01-02}\n",
        "x-base: &base {description: shared}\n",
        "paths:\n",
        "  /on/{day}:\n",
        "    get:\n",
        "      operationId: no\n",
        "      responses:\n",
        "        200:\n",
        "          <<: *base\n",
        "          content: {application/json: {schema: {type: object, properties: {\n",
        "            2024-01-01: {type: string, enum: [2020-02-02, yes, 1]}, y: {type: string}}}}}\n",
    ));
    assert_eq!(provider.version, "2024-01-02");
    assert_eq!(provider.operations[0].id, "no");
    assert_eq!(fields(&provider, "On"), ["2024-01-01", "y"]);
    assert_eq!(provider.diagnostics, []);
}

#[test]
fn recursion_in_schemas_ends() {
    let node = json!({"$ref": "#/components/schemas/Node"});
    let provider = read(&openapi(
        json!({"/nodes": {"get": answers(json!({"type": "array", "items": node}))}}),
        json!({
            "Node": {"type": "object", "properties": {
                "id": {"type": "string"},
                "children": {"type": "array", "items": node},
                "inline": {"type": "object", "properties": {
                    "self": {"$ref": "#/components/schemas/Node/properties/inline"},
                    "id": {"type": "string"},
                }},
                "both": {"allOf": [node, {"type": "object", "properties": {"own": {"type": "string"}}}]},
            }},
            "A": {"allOf": [{"$ref": "#/components/schemas/B"}]},
            "B": {"allOf": [{"$ref": "#/components/schemas/A"}]},
        }),
    ));
    let (_, found) = provider.object_by_name("Node").unwrap();
    assert!(found.fields.len() < 200, "{}", found.fields.len());
    assert!(matches!(field(&provider, "Node", "children").kind, FieldKind::Named(_)));
    assert!(fields(&provider, "Node").contains(&"both.own".to_owned()));
}

#[test]
fn what_may_be_null_is_still_what_it_is() {
    let home = json!({"$ref": "#/components/schemas/Home"});
    let provider = read(&openapi(
        json!({"/people": {"get": answers(json!({"$ref": "#/components/schemas/Person"}))}}),
        json!({
            "Home": {"type": "object", "properties": {"city": {"type": "string"}}},
            "Person": {"type": ["object", "null"], "properties": {
                "id": {"type": ["string", "null"]},
                "number": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                "name": {"oneOf": [{"type": "string", "enum": ["a", null]}, {"enum": [null]}]},
                "one": {"anyOf": [home, {"type": "null"}]},
                "two": {"nullable": true, "allOf": [home], "description": "where"},
                "three": {"oneOf": [home, {"type": "string"}]},
                "four": {"$ref": "#/components/schemas/Home", "description": "sibling"},
            }},
        }),
    ));
    let kind = |path: &str| field(&provider, "Person", path).kind.clone();
    let scalar = |kind| FieldKind::Scalar { kind, is_array: false };
    assert_eq!(kind("id"), scalar(ScalarKind::String));
    assert_eq!(kind("number"), scalar(ScalarKind::Integer));
    assert_eq!(kind("name"), scalar(ScalarKind::Enum));
    for path in ["one", "two", "three", "four"] {
        assert!(matches!(kind(path), FieldKind::Named(_)), "{path}");
    }
}

#[test]
fn items_as_a_list_are_alternatives() {
    let provider = read(&openapi(
        json!({"/things": {"get": answers(json!({"type": "object", "properties": {
            "id": {"type": "string"},
            "either": {"items": [{"type": "string"}, {"type": "object", "properties": {"a": {"type": "string"}}}]},
        }}))}}),
        json!({}),
    ));
    assert_eq!(fields(&provider, "Thing"), ["id", "either", "either.a"]);
}

#[test]
fn members_of_all_parts_count() {
    let provider = read(&openapi(
        json!({"/things": {"get": answers(json!({
            "allOf": [{"$ref": "#/components/schemas/Base"}, {"properties": {"own": {"type": "string"}}}],
            "oneOf": [{"properties": {"left": {"type": "string"}}}, {"properties": {"right": {"type": "string"}}}],
            "properties": {"id": {"type": "integer"}},
        }))}}),
        json!({"Base": {"type": "object", "properties": {"id": {"type": "string"}, "base": {"type": "string"}}}}),
    ));
    let mut found = fields(&provider, "Thing");
    found.sort();
    assert_eq!(found, ["base", "id", "left", "own", "right"]);
}

#[test]
fn every_alternative_at_the_top_is_the_object() {
    let provider = read(&openapi(
        json!({"/pets": {"get": answers(json!({"type": "array", "items": {"oneOf": [
            {"$ref": "#/components/schemas/Cat"}, {"$ref": "#/components/schemas/Dog"}]}}))}}),
        json!({
            "Cat": {"type": "object", "properties": {"id": {"type": "string"}, "lives": {"type": "integer"}}},
            "Dog": {"type": "object", "properties": {"id": {"type": "string"}, "tail": {"type": "string"}}},
        }),
    ));
    assert_eq!(object_of(&provider, "GET /pets"), "Pet");
    assert_eq!(fields(&provider, "Pet"), ["id", "lives", "tail"]);
}

#[test]
fn a_map_at_the_top_is_the_object_and_its_names_are_data() {
    let provider = read(&openapi(
        json!({"/rates": {"get": answers(json!({"type": "object", "additionalProperties": {
            "type": "object", "properties": {"id": {"type": "string"}}}}))}}),
        json!({}),
    ));
    assert_eq!(provider.operations[0].answers[0].envelope.steps, []);
    assert_eq!(fields(&provider, "Rate"), ["*", "*.id"]);
}

#[test]
fn an_object_that_declares_nothing_can_be_a_payload() {
    let free = json!({"type": "object", "additionalProperties": {}});
    for schema in [
        json!({"type": "object", "properties": {"data": free}}),
        json!({"type": "object", "properties": {"data": free, "status": {"type": "string"}}}),
    ] {
        assert_eq!(envelope(schema).steps, [Step::Member("data".into())]);
    }
}

#[test]
fn only_paging_and_status_are_kept_beside_the_payload() {
    let text = json!({"type": "string"});
    let number = json!({"type": "integer"});
    let item = json!({"type": "object", "properties": {"id": text, "name": text}});
    let found = envelope(json!({"type": "object", "properties": {
        "data": {"type": "array", "items": item},
        "status": text, "total": number, "from": number, "to": number,
        "next": text, "next_cursor": text, "message": text, "type": text, "error": text,
        "errors": {"type": "array", "items": item},
        "_raw": {"type": "object"},
        "links": {"type": "object", "properties": {"first": text, "last": text, "author": text}},
        "meta": {"type": "object", "properties": {
            "cursors": {"type": "object", "properties": {"next": text, "owner": text}},
            "page": number, "user": item, "from": text,
        }},
    }}));
    assert_eq!(found.steps, [Step::Member("data".into()), Step::Elements]);
    let wanted = [
        ("from", KeptRule::Count),
        ("links.first", KeptRule::Link),
        ("links.last", KeptRule::Link),
        ("meta.cursors.next", KeptRule::Word),
        ("meta.page", KeptRule::Count),
        ("next", KeptRule::Word),
        ("next_cursor", KeptRule::Word),
        ("to", KeptRule::Count),
        ("total", KeptRule::Count),
    ];
    assert_eq!(kept(&found), wanted.map(|(path, rule)| (path.to_owned(), rule)));
    // As text, `from` is a person or a date: the whole answer is the object.
    let mail = json!({"type": "object", "properties": {"from": text, "to": text, "body": item}});
    assert_eq!(envelope(mail).steps, []);
}

#[test]
fn answers_of_writes_that_tell_nothing_are_no_objects() {
    let list = json!({"type": "array", "items": {"$ref": "#/components/schemas/Person"}});
    let thin = answers(json!({"$ref": "#/components/schemas/Created"}));
    let failed = answers(json!({"$ref": "#/components/schemas/ApiError"}));
    let named = answers(json!({"$ref": "#/components/schemas/Receipt"}));
    let provider = read(&openapi(
        json!({
            "/people": {"get": answers(list), "post": thin},
            "/people/{id}": {"delete": {"responses": {"204": {"description": ""}}}},
            "/orders": {"post": thin},
            "/orders/{id}/cancel": {"post": failed},
            "/orders/{id}/pay": {"post": named},
        }),
        json!({
            "Person": {"type": "object", "properties": {"id": {"type": "string"}, "name": {"type": "string"}}},
            "Created": {"type": "object", "properties": {"id": {"type": "string"}, "href": {"type": "string"}}},
            "ApiError": {"type": "object", "properties": {"reason": {"type": "string"}}},
            "Receipt": {"type": "object", "properties": {"amount": {"type": "number"}}},
        }),
    ));
    for (operation, object) in [
        ("POST /people", "Person"),
        ("DELETE /people/{id}", "Person"),
        ("POST /orders", "Order"),
        ("POST /orders/{id}/cancel", "Cancel"),
        ("POST /orders/{id}/pay", "Receipt"),
    ] {
        assert_eq!(object_of(&provider, operation), object, "{operation}");
    }
}

#[test]
fn an_anonymous_merge_of_the_object_that_its_path_names_is_that_object() {
    let merged = json!({"allOf": [{"properties": {"id": {"type": "string"}}}, {"$ref": "#/components/schemas/User"}]});
    let provider = read(&openapi(
        json!({"/users": {"get": answers(json!({"type": "array", "items": merged}))}}),
        json!({"User": {"type": "object", "properties": {"email": {"type": "string"}}}}),
    ));
    assert_eq!(object_of(&provider, "GET /users"), "User");
    assert_eq!(fields(&provider, "User"), ["id", "email"]);
}

#[test]
fn the_lowest_json_success_counts() {
    let schema = |name: &str| json!({"application/json": {"schema": {"$ref": format!("#/components/schemas/{name}")}}});
    let object = json!({"type": "object", "properties": {"id": {"type": "string"}, "x": {"type": "string"}}});
    let provider = read(&openapi(
        json!({
            "/a": {"get": {"responses": {"2XX": {"content": schema("C")}, "201": {"content": schema("B")}, "200": {"content": schema("A")}}}},
            "/b": {"get": {"responses": {"200": {"content": {"text/csv": {}}}, "202": {"content": schema("B")}}}},
            "/c": {"get": {"responses": {"default": {"content": schema("C")}}}},
            "/d": {"get": {"responses": {"204": {}, "default": {"content": schema("C")}}}},
        }),
        json!({"A": object, "B": object, "C": object}),
    ));
    for (operation, name) in [("GET /a", "A"), ("GET /b", "B"), ("GET /c", "-"), ("GET /d", "-")] {
        assert_eq!(object_of(&provider, operation), name, "{operation}");
    }
    let csv = |answer: &&Answer| answer.media.contains("text/csv");
    assert!(provider.operations[1].answers.iter().find(csv).unwrap().shape.is_none());
}

#[test]
fn diagnostics_name_the_place() {
    let provider = read(&openapi(
        json!({
            "/a": {"get": answers(json!({"$ref": "#/components/schemas/No~1where"}))},
            "/b": {"get": answers(json!({"$ref": "other.yaml#/X"}))},
            "/c": {"get": answers(json!({"$ref": "#/components/schemas/Loop"}))},
        }),
        json!({"Loop": {"$ref": "#/components/schemas/Pool"}, "Pool": {"$ref": "#/components/schemas/Loop"}}),
    ));
    let place =
        |path: &str| format!("/paths/~1{path}/get/responses/200/content/application~1json/schema");
    assert_eq!(
        codes(&provider),
        [
            ("dangling_ref", place("a").as_str()),
            ("external_ref", place("b").as_str()),
            ("ref_cycle", place("c").as_str()),
        ]
    );
    assert!(provider.operations.iter().all(|operation| operation.object.is_none()));
}

#[test]
fn absent_security_is_unknown_and_empty_security_is_open() {
    let mut document = openapi(
        json!({
            "/a": {"get": {"responses": {}}},
            "/b": {"get": {"security": [], "responses": {}}},
            "/c": {"get": {"security": [{"key": [], "app": []}, {}], "responses": {}}},
            "/d": {"get": {"security": [7], "responses": {}}},
        }),
        json!({}),
    );
    document["components"]["securitySchemes"] = json!({
        "key": {"type": "apiKey", "in": "header", "name": "X-Key"},
        "app": {"type": "http", "scheme": "Bearer"},
        "odd": {"type": "http", "scheme": "postbody"},
        "oauth": {"type": "oauth2", "flows": {"authorizationCode": {"scopes": {"read": ""}}}},
    });
    let provider = read(&document);
    let lens: Vec<Option<usize>> = provider
        .operations
        .iter()
        .map(|operation| operation.security.as_ref().map(Vec::len))
        .collect();
    assert_eq!(lens, [None, Some(0), Some(2), None]);
    assert_eq!(provider.operations[2].security.as_ref().unwrap()[0].len(), 2);
    assert_eq!(provider.security_schemes["app"], SecurityScheme::Bearer);
    assert!(matches!(provider.security_schemes["odd"], SecurityScheme::Unknown { .. }));
    let found: Vec<&str> = provider.diagnostics.iter().map(|one| one.code).collect();
    assert_eq!(found, ["unreadable_security", "unknown_security_scheme"]);
}

#[test]
fn paging_is_recognised_and_filters_are_not() {
    let param = |name: &str, format: &str| json!({"name": name, "in": "query", "schema": {"type": "string", "format": format}});
    let mut forced = param("_token", "");
    forced["x-weirgate-paging"] = json!(true);
    let provider = overlaid(&openapi(
        json!({"/a": {
            "parameters": [param("page[size]", ""), param("after", "")],
            "get": {"responses": {}, "parameters": [
                param("after", "date-time"), param("$top", ""), param("filter", ""), forced,
                {"name": "limit", "in": "header", "schema": {}},
            ]},
        }}),
        json!({}),
    ));
    let found: Vec<(&str, bool)> = provider.operations[0]
        .params
        .iter()
        .map(|param| (param.name.as_str(), param.is_paging))
        .collect();
    assert_eq!(
        found,
        [
            ("after", false),
            ("$top", true),
            ("filter", false),
            ("_token", true),
            ("limit", false),
            ("page[size]", true)
        ]
    );
}

#[test]
fn labels_come_from_names_kinds_and_overlays() {
    let provider = overlaid(&openapi(
        json!({"/people": {"get": answers(json!({"$ref": "#/components/schemas/Person"}))}}),
        json!({"Person": {"type": "object", "properties": {
            "title": {"type": "string"},
            "bankAccount": {"type": "object", "properties": {"city": {"type": "string"}}},
            "extras": {"type": "object", "additionalProperties": {"type": "string"}},
            "xq": {"type": "string"},
            "xr": {"type": "string", "x-weirgate-label": {"category": "system.operations", "sensitive": false}},
            "name": {"type": "string", "x-weirgate-label": "user.health_and_medical"},
            "note": {"type": ["integer", "string"]},
            "odd": {"type": "boolean", "x-weirgate-label": 7},
            "typo": {"type": "object", "properties": {"city": {"type": "string"}}, "x-weirgate-label": "user.finansial"},
            "email": {"type": "string", "x-weirgate-label": {"category": "user.helth", "sensitive": false}},
            "ssn": {"type": "string", "x-weirgate-label": "user.contact"},
            "iban": {"type": "string", "x-weirgate-label": {"category": "user.contact", "sensitive": false}},
            "shared": {"$ref": "#/components/schemas/Shared"},
        }}, "Shared": {"type": "string", "enum": ["a"], "x-weirgate-label": "user.financial"}}),
    ));
    let is_sensitive = |path: &str| {
        field(&provider, "Person", path).label.as_ref().is_some_and(|label| label.is_sensitive)
    };
    for (path, wanted) in [
        ("title", false),
        ("bankAccount", true),
        ("bankAccount.city", true),
        ("extras", true),
        ("extras.*", true),
        ("xq", true),
        ("xr", false),
        ("name", true),
        ("note", true),
        // Nobody knows what was meant.
        ("odd", true),
        ("typo", true),
        ("typo.city", true),
        ("email", true),
        // What is judged sensitive stays so, unless it is said expressly.
        ("ssn", true),
        ("iban", false),
        ("shared", true),
    ] {
        assert_eq!(is_sensitive(path), wanted, "{path}");
    }
    let place =
        |name: &str| format!("/components/schemas/Person/properties/{name}/x-weirgate-label");
    let wanted = [
        ("unreadable_label", place("odd")),
        ("unknown_label", place("typo")),
        ("unknown_label", place("email")),
    ];
    assert_eq!(codes(&provider), wanted.each_ref().map(|(code, place)| (*code, place.as_str())));
    let typo = provider.diagnostics.iter().find(|one| one.code == "unknown_label").unwrap();
    assert!(typo.message.ends_with("did you mean `user.financial`?"), "{}", typo.message);
    let lowered = |path: &str| field(&provider, "Person", path).label.clone().unwrap().lowered_from;
    assert_eq!(lowered("iban").as_deref(), Some("user.financial.bank_account"));
    assert_eq!(lowered("xr"), None);
}

#[test]
fn the_overlay_keeps_members_and_odd_keys_are_reported() {
    let mut get = answers(json!({"type": "object", "properties": {
        "data": {"type": "array", "items": {"type": "object", "properties": {"id": {"type": "string"}}}},
        "meta": {"type": "object", "properties": {"next_url": {"type": "string"}, "query": {"type": "string"}}},
    }}));
    get["x-weirgate-kept"] = json!(["meta.query", "a..b"]);
    get["x-weirgate-action"] = json!("fly");
    get["x-weirgate-error"] = json!({"when": "never"});
    let provider = overlaid(&openapi(json!({"/things": {"get": get}}), json!({})));
    let found = kept(&provider.operations[0].answers[0].envelope);
    assert_eq!(
        found,
        [("meta.query".to_owned(), KeptRule::Any)],
        "what is listed stands instead of what is recognised"
    );
    let found: Vec<&str> = provider.diagnostics.iter().map(|one| one.code).collect();
    assert_eq!(found, ["unknown_action", "unreadable_error_rule", "unreadable_kept"]);
}

#[test]
fn nesting_is_refused_before_the_stack_ends() {
    let depth = 10_000;
    let objects = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    assert!(matches!(refusal(objects.as_bytes()), LoadError::TooDeep { .. }));
    let flow = format!("a: {}1{}", "[".repeat(depth), "]".repeat(depth));
    assert!(matches!(refusal(flow.as_bytes()), LoadError::TooDeep { .. }));
    let spaced = format!("a: {}1", "[x, ".repeat(depth));
    assert!(matches!(refusal(spaced.as_bytes()), LoadError::TooDeep { .. }));
    let block = format!("a:\n  {}1", "- ".repeat(depth));
    refusal(block.as_bytes());
    // A description as deep as is allowed is read, its schemas are not followed on the stack.
    let mut schema = json!({"type": "string"});
    for _ in 0..40 {
        schema = json!({"type": "object", "properties": {"x": schema, "id": {"type": "string"}}});
    }
    let provider = read(&openapi(json!({"/a": {"get": answers(schema)}}), json!({})));
    assert_eq!(provider.operations.len(), 1);
}

#[test]
fn alias_bombs_are_refused_while_they_grow() {
    let begun = Instant::now();
    let mut lists = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    let mut texts = format!("a0: &a0 {}\n", "x".repeat(1_000_000));
    for level in 1..12 {
        let before = vec![format!("*a{}", level - 1); 10].join(", ");
        lists.push_str(&format!("a{level}: &a{level} [{before}]\n"));
        texts.push_str(&format!("a{level}: &a{level} [{before}]\n"));
    }
    // The YAML reader has a limit of its own for repetitions, which is met before ours.
    let refused = refusal(lists.as_bytes());
    assert!(
        matches!(&refused, LoadError::TooManyNodes { .. })
            || matches!(&refused, LoadError::Syntax { message, .. } if message.contains("repetition")),
        "{refused}"
    );
    assert!(!refused.to_string().contains("line 0"), "an unknown place: {refused}");
    assert!(matches!(refusal(texts.as_bytes()), LoadError::TooMuchText { .. }));
    refusal(b"a: &a [*a]");
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn what_is_no_description_says_so_and_what_to_do() {
    for (bytes, message) in [
        (&b""[..], "the document is no OpenAPI description: it is empty"),
        (b"hello", "the document is no OpenAPI description: its top is no object"),
        (b"[]", "the document is no OpenAPI description: its top is no object"),
        (b"{}", "the document is no OpenAPI description: neither `openapi` nor `swagger`"),
        (b"openapi: [3]", "the document is no OpenAPI description: its version is no text"),
        (b"swagger: 1.2", "version \"1.2\" is neither Swagger 2.0 nor OpenAPI 3.x"),
    ] {
        let error = refusal(bytes);
        assert_eq!(error.to_string(), message);
        assert!(!error.remedy().is_empty());
    }
    assert!(matches!(refusal(b"{\"openapi\": \"3.0.0\","), LoadError::Syntax { line: 1, .. }));
    assert!(matches!(refusal(b"<!DOCTYPE html><p>: x: y"), LoadError::Syntax { .. }));
    assert!(matches!(refusal(b"{\"a\": \"\xff\"}"), LoadError::Syntax { .. }));
    assert_eq!(yaml("swagger: 2.0\npaths: {}\n").operations.len(), 0);
}

/// What is no place for anything is left out with a diagnostic, whatever stands there.
#[test]
fn wrong_kinds_everywhere_never_refuse_a_description() {
    let odd =
        [json!(null), json!(7), json!("x"), json!([1, "x", {}]), json!({"a": 1}), json!(true)];
    let base = openapi(
        json!({"/a": {"parameters": [], "servers": [], "get": {
            "operationId": "a", "parameters": [{"name": "a", "in": "query", "schema": {}}], "tags": [],
            "requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}},
            "responses": {"200": {"content": {"application/json": {"schema": {"type": "object", "properties": {"a": {"type": "string"}}}}}}},
            "security": [], "x-weirgate-error": {}, "x-weirgate-kept": [],
        }}}),
        json!({"A": {"type": "object", "properties": {"a": {}}, "allOf": [], "oneOf": [], "items": {}, "required": [], "enum": []}}),
    );
    let mut places = Vec::new();
    let mut waiting = vec![String::new()];
    while let Some(place) = waiting.pop() {
        match base.pointer(&place).unwrap() {
            Value::Object(members) => waiting.extend(
                members
                    .keys()
                    .map(|name| format!("{place}/{}", name.replace('~', "~0").replace('/', "~1"))),
            ),
            Value::Array(elements) => {
                waiting.extend((0..elements.len()).map(|index| format!("{place}/{index}")));
            }
            _ => {}
        }
        if !place.is_empty() && place != "/openapi" {
            places.push(place);
        }
    }
    assert!(places.len() > 40);
    for place in places {
        for value in &odd {
            let mut document = base.clone();
            *document.pointer_mut(&place).unwrap() = value.clone();
            overlaid(&document);
        }
    }
}
