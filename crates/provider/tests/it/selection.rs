//! What grants let through.

use crate::rules::{answers, openapi, overlaid, pages};
use projection::{Limits, Mode, Projector, Spec, project_slice};
use provider::{
    Provider,
    select::{
        Granted, Kinds, as_granted, beside, check_fields, expand_star, kinds, parse_steps,
        select_request, select_response, wider,
    },
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A property whose name tells nothing, so that the overlay has to.
fn plain(kind: &str) -> Value {
    json!({"type": kind, "x-weirgate-label": {"category": "system.operations", "sensitive": false}})
}

fn provider() -> Provider {
    let person = json!({"$ref": "#/components/schemas/Person"});
    let list = json!({"type": "object", "properties": {
        "results": {"type": "array", "items": person},
        "next": {"type": "string"},
        "total": {"type": "integer"},
        "debug": {"type": "array", "items": {"type": "string"}},
        "errors": {"type": "array", "items": {"type": "object", "properties": {"m": {"type": "string"}}}},
    }});
    // An array of scalars is no paging: the answer itself would be the object.
    let mut list = list;
    list["properties"].as_object_mut().unwrap().remove("debug");
    let mut put = answers(person.clone());
    put["requestBody"] = json!({"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Input"}}}});
    overlaid(&openapi(
        json!({
            "/people": {"get": pages(list)},
            "/people/{id}": {"get": answers(person), "put": put},
            "/either": {"get": answers(json!({"oneOf": [{"$ref": "#/components/schemas/Cat"}, {"$ref": "#/components/schemas/Dog"}]}))},
        }),
        json!({
            "Person": {"type": "object", "properties": {
                "id": {"type": "string"},
                "ssn": {"type": "string"},
                "name": {"type": "string"},
                "address": {"type": "object", "properties": {
                    "city": {"type": "string"},
                    "taxId": {"type": "string"},
                    "geo": {"type": "object", "properties": {"lat": {"type": "number"}}},
                    "owner": {"$ref": "#/components/schemas/Company"},
                }},
                "jobs": {"type": "array", "items": {"type": "object", "properties": {"title": {"type": "string"}, "salary": {"type": "number"}}}},
                "tags": {"type": "array", "items": {"type": "string"}},
                "manager": {"$ref": "#/components/schemas/Person"},
                "company": {"$ref": "#/components/schemas/Company"},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "scores": {"type": "object", "additionalProperties": {"type": "object", "properties": {"value": plain("number"), "why": plain("string")}}},
                "custom": {"type": "object"},
                "any": {},
                "mixed": {"x-weirgate-label": plain("")["x-weirgate-label"], "oneOf": [{"type": "string"}, {"type": "object", "properties": {"a": plain("string"), "b": plain("string")}}]},
            }},
            "Company": {"type": "object", "properties": {"id": {"type": "string"}, "iban": {"type": "string"}, "ceo": {"$ref": "#/components/schemas/Person"}}},
            "Input": {"type": "object", "properties": {"name": {"type": "string"}, "password": {"type": "string"}, "address": {"type": "object", "properties": {"city": {"type": "string"}}}}},
            "Cat": {"type": "object", "properties": {"id": {"type": "string"}, "lives": {"type": "integer"}}},
            "Dog": {"type": "object", "properties": {"id": {"type": "string"}, "barks": {"type": "boolean"}}},
        }),
    ))
}

fn granted(provider: &Provider, objects: &[(&str, &[&str])]) -> Granted {
    let all = provider.operations.iter().flat_map(|one| beside(provider, one));
    let mut granted = Granted { beside: all.collect(), ..Granted::default() };
    for (name, fields) in objects {
        let (id, _) = provider.object_by_name(name).unwrap_or_else(|| panic!("no {name}"));
        let fields: Vec<String> = fields.iter().map(|&field| field.to_owned()).collect();
        let paths = check_fields(provider, id, false, &fields).unwrap().paths;
        let paths: BTreeSet<_> = paths.into_iter().collect();
        granted.read.insert(id, paths.clone());
        granted.write.insert(id, paths);
    }
    granted
}

fn spec_of(provider: &Provider, operation: &str, granted: &Granted) -> (Spec, Vec<String>) {
    let operation = provider.operations.iter().find(|one| one.id == operation).unwrap();
    let selection = select_response(provider, operation, &operation.answers[0], granted).unwrap();
    (selection.spec, selection.withheld)
}

fn person() -> Value {
    json!({
        "id": "1", "ssn": "S", "name": "Ada",
        "address": {"city": "London", "taxId": "T", "geo": {"lat": 1.5, "x": 1}, "owner": {"id": "c", "iban": "I"}, "x": 1},
        "jobs": [{"title": "A", "salary": 5}, {"title": "B", "x": 1}],
        "tags": ["a", {"ssn": "S"}],
        "manager": {"id": "2", "ssn": "S", "manager": {"id": "3", "name": "Z"}},
        "company": {"id": "c", "iban": "I", "ceo": {"id": "9", "ssn": "S"}},
        "labels": {"k": "v", "o": {"ssn": "S"}},
        "scores": {"k": {"value": 1, "why": "w"}},
        "custom": {"a": {"b": 1}, "c": 2},
        "any": {"ssn": "S"},
        "mixed": {"a": "x", "b": "y"},
        "undeclared": 1
    })
}

fn check(objects: &[(&str, &[&str])], wanted: Value) {
    let provider = provider();
    let (spec, _) = spec_of(&provider, "GET /people/{id}", &granted(&provider, objects));
    let out = project_slice(person().to_string().as_bytes(), &spec, &Limits::default()).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), wanted, "{objects:?}");
}

#[test]
fn only_what_is_named_passes() {
    check(&[], json!({}));
    check(&[("Person", &["id", "name"])], json!({"id": "1", "name": "Ada"}));
    check(&[("Person", &["jobs[].title"])], json!({"jobs": [{"title": "A"}, {"title": "B"}]}));
    check(&[("Person", &["address.city"])], json!({"address": {"city": "London"}}));
    check(&[("Person", &["tags"])], json!({"tags": ["a"]}));
    check(&[("Person", &["ssn"])], json!({"ssn": "S"}));
}

#[test]
fn naming_an_inline_object_grants_its_plain_leaves() {
    check(&[("Person", &["address"])], json!({"address": {"city": "London", "geo": {"lat": 1.5}}}));
    check(&[("Person", &["jobs"])], json!({"jobs": [{"title": "A"}, {"title": "B"}]}));
    check(&[("Person", &["jobs[].salary"])], json!({"jobs": [{"salary": 5}, {}]}));
    check(
        &[("Person", &["address", "address.taxId"])],
        json!({"address": {"city": "London", "taxId": "T", "geo": {"lat": 1.5}}}),
    );
}

#[test]
fn named_objects_pass_by_what_is_granted_for_themselves() {
    check(&[("Person", &["company"])], json!({"company": {}}));
    check(&[("Person", &["company"]), ("Company", &["id"])], json!({"company": {"id": "c"}}));
    check(&[("Person", &["id"]), ("Company", &["id"])], json!({"id": "1"}));
    check(&[("Person", &["company.id"])], json!({"company": {"id": "c"}}));
    check(
        &[("Person", &["id", "manager"])],
        json!({"id": "1", "manager": {"id": "2", "manager": {"id": "3"}}}),
    );
    check(
        &[("Person", &["id", "company"]), ("Company", &["ceo"])],
        json!({"id": "1", "company": {"ceo": {"id": "9"}}}),
    );
}

#[test]
fn maps_free_forms_and_unknown_shapes() {
    check(&[("Person", &["labels"])], json!({"labels": {"k": "v"}}));
    check(&[("Person", &["scores.*.value"])], json!({"scores": {"k": {"value": 1}}}));
    check(&[("Person", &["custom.a"])], json!({"custom": {"a": {"b": 1}}}));
    check(&[("Person", &["custom"])], json!({"custom": {"a": {"b": 1}, "c": 2}}));
    check(&[("Person", &["any"])], json!({"any": {"ssn": "S"}}));
    check(&[("Person", &["mixed"])], json!({"mixed": {"a": "x", "b": "y"}}));
    check(&[("Person", &["mixed.a"])], json!({"mixed": {"a": "x"}}));
}

#[test]
fn star_leaves_out_what_is_sensitive_or_unknown() {
    check(
        &[("Person", &["*"])],
        json!({
            "id": "1", "name": "Ada",
            "address": {"city": "London", "geo": {"lat": 1.5}},
            "jobs": [{"title": "A"}, {"title": "B"}],
            "tags": ["a"],
            "scores": {"k": {"value": 1, "why": "w"}},
            "mixed": {"a": "x", "b": "y"},
        }),
    );
    let provider = provider();
    let (id, _) = provider.object_by_name("Person").unwrap();
    let star = expand_star(&provider, id, false);
    assert!(star.iter().all(|path| path.last() != Some(&provider::Step::AnyMember)));
}

#[test]
fn every_alternative_must_grant_what_it_declares() {
    let provider = provider();
    let project = |objects: &[(&str, &[&str])], input: Value| -> Value {
        let (spec, _) = spec_of(&provider, "GET /either", &granted(&provider, objects));
        let out = project_slice(input.to_string().as_bytes(), &spec, &Limits::default()).unwrap();
        serde_json::from_slice(&out).unwrap()
    };
    let cat = json!({"id": "1", "lives": 9});
    assert_eq!(project(&[("Cat", &["lives"])], cat.clone()), json!({"lives": 9}));
    assert_eq!(project(&[("Cat", &["id", "lives"])], cat.clone()), json!({"lives": 9}));
    assert_eq!(project(&[("Cat", &["id"]), ("Dog", &["id"])], cat), json!({"id": "1"}));
}

#[test]
fn envelopes_keep_their_paging_and_nothing_else() {
    let provider = provider();
    let (spec, withheld) =
        spec_of(&provider, "GET /people", &granted(&provider, &[("Person", &["id"])]));
    let input =
        json!({"results": [person()], "next": "n", "total": 1, "errors": [{"m": "S"}], "other": 1});
    let out = project_slice(input.to_string().as_bytes(), &spec, &Limits::default()).unwrap();
    // `next` may be a URL, and nobody is here to rewrite it.
    assert_eq!(
        serde_json::from_slice::<Value>(&out).unwrap(),
        json!({"results": [{"id": "1"}], "total": 1})
    );
    for name in ["ssn", "name", "address.city", "jobs[].salary", "company", "any"] {
        assert!(withheld.iter().any(|one| one == name), "no {name} in {withheld:?}");
    }
    assert!(!withheld.iter().any(|one| one == "id" || one == "address" || one == "password"));
}

#[test]
fn withheld_fields_that_were_met_are_told_by_name() {
    let provider = provider();
    let operation = provider.operations.iter().find(|one| one.id == "GET /people/{id}").unwrap();
    let granted = granted(&provider, &[("Person", &["id", "manager"])]);
    let selection = select_response(&provider, operation, &operation.answers[0], &granted).unwrap();
    let mut projector = Projector::new(selection.spec, Limits::default(), Mode::Drop);
    let mut out = Vec::new();
    projector.feed(person().to_string().as_bytes(), &mut out).unwrap();
    let summary = projector.finish(&mut out).unwrap();
    let met: Vec<&str> =
        summary.withheld.iter().map(|mark| selection.names[*mark as usize].as_str()).collect();
    assert!(met.contains(&"ssn") && met.contains(&"Person.ssn"), "{met:?}");
    assert_eq!(summary.dropped, 1);
}

#[test]
fn requests_refuse_what_may_not_be_written() {
    let provider = provider();
    let put = provider.operations.iter().find(|one| one.id == "PUT /people/{id}").unwrap();
    let granted = granted(&provider, &[("Person", &["name", "address.city"])]);
    let spec = select_request(&provider, put, &granted).unwrap();
    let run = |body: Value| {
        let mut projector = Projector::new(spec.clone(), Limits::default(), Mode::Refuse);
        let mut out = Vec::new();
        projector.feed(body.to_string().as_bytes(), &mut out)?;
        projector.finish(&mut out)
    };
    run(json!({"name": "n", "address": {"city": "c"}})).unwrap();
    for (body, path) in [
        (json!({"password": "p"}), "`password`"),
        (json!({"address": {"zip": 1}}), "`address.zip`"),
        (json!({"name": {"first": 1}}), "`name`"),
        (json!({"id": "1"}), "`id`"),
    ] {
        assert!(run(body).unwrap_err().to_string().starts_with(path));
    }
}

#[test]
fn fields_that_are_not_declared_are_named_with_their_nearest() {
    let provider = provider();
    let (id, _) = provider.object_by_name("Person").unwrap();
    let problems = |fields: &[&str]| {
        let fields: Vec<String> = fields.iter().map(|&field| field.to_owned()).collect();
        check_fields(&provider, id, false, &fields).unwrap_err()
    };
    let found =
        problems(&["nmae", "address.citty", "jobs.title", "a..b", "company.ibann", "address.*"]);
    assert_eq!(found.len(), 6);
    assert_eq!(found[0].nearest.as_deref(), Some("name"));
    assert_eq!(found[1].nearest.as_deref(), Some("address.city"));
    assert_eq!(found[2].nearest.as_deref(), Some("jobs[].title"));
    let fields = ["custom.x".to_owned(), "labels.*".to_owned(), "jobs[]".to_owned()];
    let checked = check_fields(&provider, id, false, &fields).unwrap();
    assert_eq!(checked.notices.len(), 1);
}

/// Taking a field away never lets more through.
#[test]
fn fewer_grants_let_less_through() {
    let provider = provider();
    let all = [
        "id",
        "ssn",
        "address",
        "jobs[].title",
        "manager",
        "company",
        "labels",
        "custom.a",
        "mixed.a",
    ];
    let input = person().to_string();
    let output = |fields: &[&str]| {
        let granted = granted(&provider, &[("Person", fields), ("Company", &["id"])]);
        let (spec, _) = spec_of(&provider, "GET /people/{id}", &granted);
        let out = project_slice(input.as_bytes(), &spec, &Limits::default()).unwrap();
        serde_json::from_slice::<Value>(&out).unwrap()
    };
    for mask in 0..(1_u32 << all.len()) {
        let some: Vec<&str> = all
            .iter()
            .enumerate()
            .filter(|(bit, _)| mask & (1 << bit) != 0)
            .map(|(_, f)| *f)
            .collect();
        let wide = output(&some);
        for left_out in 0..some.len().min(2) {
            let mut fewer = some.clone();
            fewer.remove(left_out);
            assert!(is_part(&output(&fewer), &wide), "{some:?}");
        }
    }
}

/// Whether everything in `narrow` is in `wide` too.
fn is_part(narrow: &Value, wide: &Value) -> bool {
    match (narrow, wide) {
        (Value::Object(narrow), Value::Object(wide)) => narrow
            .iter()
            .all(|(name, value)| wide.get(name).is_some_and(|other| is_part(value, other))),
        (Value::Array(narrow), Value::Array(wide)) => {
            narrow.len() <= wide.len() && narrow.iter().zip(wide).all(|(a, b)| is_part(a, b))
        }
        (narrow, wide) => narrow == wide,
    }
}

/// A description whose `GET /things` answers a `Thing` with these members.
fn thing_and(members: &Value, mut schemas: Value) -> Provider {
    let named = json!({"$ref": "#/components/schemas/Thing"});
    let mut put = answers(named.clone());
    put["requestBody"] = json!({"content": {"application/json": {"schema": named}}});
    let mut members = members.clone();
    // One member alone could be an envelope's payload.
    members["own"] = plain("string");
    schemas["Thing"] = json!({"type": "object", "properties": members});
    overlaid(&openapi(json!({"/things": {"get": answers(named), "put": put}}), schemas))
}

fn project_thing(provider: &Provider, objects: &[(&str, &[&str])], input: &Value) -> Value {
    let (spec, _) = spec_of(provider, "GET /things", &granted(provider, objects));
    let out = project_slice(input.to_string().as_bytes(), &spec, &Limits::default()).unwrap();
    serde_json::from_slice(&out).unwrap()
}

#[test]
fn what_is_free_form_never_opens_what_is_typed() {
    let person = json!({"$ref": "#/components/schemas/Person"});
    let free = json!({"type": "object"});
    let inline =
        json!({"type": "object", "properties": {"id": plain("string"), "ssn": {"type": "string"}}});
    let list = json!({"type": "array", "items": person});
    let provider = thing_and(
        &json!({
            "either": {"anyOf": [person, free]},
            "inline": {"oneOf": [free, inline]},
            "any": {"anyOf": [inline, {"enum": [null, "x"]}, {"type": ["object", "string"]}]},
            "lists": {"anyOf": [list, free]},
            "free": free,
            "frees": {"type": "array", "items": free},
            "closed": {"type": "object", "additionalProperties": false},
            "named": {"$ref": "#/components/schemas/Custom"},
            "open": {"anyOf": [
                {"type": "object", "properties": {"a": plain("string")}, "additionalProperties": true},
                {"type": "object", "properties": {"b": plain("string")}, "additionalProperties": true},
            ]},
        }),
        json!({
            "Person": {"type": "object", "properties": {"id": plain("string"), "ssn": {"type": "string"}}},
            "Custom": {"type": "object"},
        }),
    );
    let object = json!({"id": "1", "ssn": "S", "more": {"ssn": "S"}});
    let check = |field: &str, input: Value, wanted: Value| {
        let given = json!({field: input});
        let found = project_thing(&provider, &[("Thing", &[field]), ("Person", &["id"])], &given);
        assert_eq!(found, wanted, "{field} of {given}");
    };
    check("either", object.clone(), json!({"either": {"id": "1"}}));
    check("either", json!([object]), json!({}));
    check("either", json!("S"), json!({}));
    check("inline", object.clone(), json!({"inline": {"id": "1"}}));
    check("any", object.clone(), json!({"any": {"id": "1"}}));
    check("lists", json!([object]), json!({"lists": [{"id": "1"}]}));
    check("lists", object.clone(), json!({"lists": object}));
    check("free", object.clone(), json!({"free": object}));
    check("free", json!(["S"]), json!({}));
    check("free", json!("S"), json!({}));
    check("frees", json!([object, "S", ["S"]]), json!({"frees": [object]}));
    check("frees", object.clone(), json!({}));
    check("closed", object.clone(), json!({"closed": {}}));
    // An object with a name passes by what is granted for itself, free-form or not.
    check("named", object.clone(), json!({"named": {}}));
    let given = json!({"named": object});
    for grants in [
        [("Thing", &["named"][..]), ("Custom", &["id"])],
        [("Thing", &["named.id"]), ("Custom", &[])],
    ] {
        assert_eq!(project_thing(&provider, &grants, &given), json!({"named": {"id": "1"}}));
    }
    // What one alternative declares is a scalar, whatever else the other may hold.
    let nested = json!({"open": {"a": {"ssn": "S"}, "b": "x"}});
    let found = project_thing(&provider, &[("Thing", &["open.a", "open.b"])], &nested);
    assert_eq!(found, json!({"open": {"b": "x"}}));
}

#[test]
fn a_container_is_emptied_only_where_all_of_it_is_granted() {
    let provider = thing_and(
        &json!({
            "address": {"type": "object", "properties": {
                "city": plain("string"), "zip": plain("string"),
                "since": {"type": "string", "format": "date", "readOnly": true}}},
            "jobs": {"type": "array", "items": {"type": "object", "properties": {
                "title": {"type": "string"}, "salary": {"type": "number"}}}},
            "tags": {"type": "array", "items": plain("string")},
            "custom": {"type": "object"},
            "open": {"type": "object", "properties": {"a": plain("string")}, "additionalProperties": true},
            "boss": {"$ref": "#/components/schemas/Boss"},
            "note": plain("string"),
        }),
        json!({"Boss": {"type": "object", "properties": {"id": plain("string"), "pay": plain("string")}}}),
    );
    let put = provider.operations.iter().find(|one| one.id == "PUT /things").unwrap();
    let run = |thing: &[&str], boss: &[&str], body: &Value| {
        let granted = granted(&provider, &[("Thing", thing), ("Boss", boss)]);
        let spec = select_request(&provider, put, &granted).unwrap();
        let mut projector = Projector::new(spec, Limits::default(), Mode::Refuse);
        let mut out = Vec::new();
        projector.feed(body.to_string().as_bytes(), &mut out)?;
        projector.finish(&mut out)
    };
    let part = ["address.city", "jobs[].title", "open", "boss", "note", "custom.a"];
    for (body, name) in [
        (json!({"address": null}), "address"),
        (json!({"jobs": null}), "jobs"),
        (json!({"open": null}), "open"),
        (json!({"boss": null}), "boss"),
        (json!({"custom": null}), "custom"),
    ] {
        let refusal = run(&part, &["id"], &body).unwrap_err();
        assert_eq!(refusal.reason(), "emptied", "{body}");
        assert!(refusal.to_string().starts_with(&format!("`{name}` ")), "{refusal}");
    }
    let whole =
        ["address.city", "address.zip", "jobs[].title", "jobs[].salary", "tags", "custom", "boss"];
    for body in [
        json!({"address": null, "jobs": [], "tags": [], "custom": null, "boss": null}),
        json!({"jobs": null, "tags": null, "custom": {}}),
    ] {
        run(&whole, &["id", "pay"], &body).unwrap();
    }
    run(&part, &["id"], &json!({"note": null, "address": {}})).unwrap();
}

#[test]
fn a_description_that_says_more_widens_no_grant() {
    let text = plain("string");
    let open = json!({"type": "object", "properties": {"city": text, "zip": text}});
    let before = thing_and(
        &json!({
            "id": text, "any": {}, "tags": {"type": "array", "items": text},
            "address": open, "labels": {"type": "object", "additionalProperties": text},
            "boss": {"$ref": "#/components/schemas/Boss"}, "free": {"type": "object"},
        }),
        json!({"Boss": {"type": "object", "properties": {"id": text}}}),
    );
    let recorded = |path: &str| -> Kinds {
        let (id, _) = before.object_by_name("Thing").unwrap();
        kinds(&before, id, false, &parse_steps(path).unwrap())
    };
    let check = |path: &str, now: Value, wanted: &[&str]| {
        let member = path.split(['.', '[']).next().unwrap();
        let after = thing_and(
            &json!({member: now}),
            json!({"Boss": {"type": "object"}, "Other": {"type": "object", "properties": {"id": text}}}),
        );
        let (id, _) = after.object_by_name("Thing").unwrap();
        let steps = parse_steps(path).unwrap();
        let found = as_granted(&after, id, false, &steps, &recorded(path));
        let found: Vec<String> = found.iter().map(|path| provider::select::spell(path)).collect();
        assert_eq!(found, wanted, "{path}: {now}");
    };
    let more = json!({"type": "object", "properties": {"city": text, "phone": text, "zip": open}});
    let list = json!({"type": "array", "items": text});
    check("id", text.clone(), &["id"]);
    check("id", json!({"type": "integer"}), &["id"]);
    for now in
        [&open, &list, &json!({}), &json!({"type": "object"}), &json!({"anyOf": [text, open]})]
    {
        check("id", now.clone(), &[]);
    }
    check("tags", list.clone(), &["tags"]);
    check("tags", json!({"type": "array", "items": open}), &[]);
    check("address", open.clone(), &["address"]);
    // What it held already passes on; what is new does not.
    check("address", more.clone(), &["address.city"]);
    check("address", json!({"type": "object", "properties": {"city": text}}), &["address"]);
    check("address", json!({"type": "object"}), &[]);
    check("address.city", more, &["address.city"]);
    check("labels", json!({"type": "object", "additionalProperties": text}), &["labels"]);
    check("labels", json!({"type": "object", "additionalProperties": open}), &[]);
    // What passes in an object with a name is granted for itself, and remembered there.
    check("boss", json!({"$ref": "#/components/schemas/Boss"}), &["boss"]);
    check("boss.id", json!({"$ref": "#/components/schemas/Boss"}), &[]);
    check("boss.id", json!({"$ref": "#/components/schemas/Other"}), &["boss.id"]);
    check("boss", json!({"$ref": "#/components/schemas/Other"}), &[]);
    check("any", open.clone(), &["any"]);
    check("free", open, &["free"]);
    check("free", json!({}), &[]);
    check("free.a.b", text.clone(), &["free.a.b"]);
    assert_eq!(wider(&recorded("id"), &recorded("address")).len(), 3);
    assert!(recorded("nothing").is_empty());
}

#[test]
fn another_success_is_another_object() {
    let named = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    let mut get = answers(named("Person"));
    let inline = json!({"type": "object", "properties": {"id": {"type": "string"}, "ssn": {"type": "string"}}});
    let content = |schema: &Value| json!({"description": "", "content": {"application/json": {"schema": schema}}});
    get["responses"]["202"] = content(&named("Job"));
    get["responses"]["203"] = content(&inline);
    let mut put = answers(inline.clone());
    put["responses"]["201"] = content(&inline);
    let person = json!({"type": "object", "properties": {"id": {"type": "string"}, "ssn": {"type": "string"}}});
    let provider = overlaid(&openapi(
        json!({"/people": {"get": get}, "/boxes": {"get": put}}),
        json!({"Person": person, "Job": {"type": "object", "properties": {"id": {"type": "string"}, "state": {"type": "string"}}}}),
    ));
    let run = |operation: &str, at: usize, objects: &[(&str, &[&str])]| {
        let operation = provider.operations.iter().find(|one| one.id == operation).unwrap();
        let granted = granted(&provider, objects);
        let selection =
            select_response(&provider, operation, &operation.answers[at], &granted).unwrap();
        let input = json!({"id": "1", "ssn": "S", "state": "s"}).to_string();
        let out = project_slice(input.as_bytes(), &selection.spec, &Limits::default()).unwrap();
        (serde_json::from_slice::<Value>(&out).unwrap(), selection.withheld)
    };
    let people: &[(&str, &[&str])] = &[("Person", &["id", "ssn"])];
    assert_eq!(run("GET /people", 0, people).0, json!({"id": "1", "ssn": "S"}));
    assert_eq!(
        run("GET /people", 1, people),
        (json!({}), vec!["id".to_owned(), "state".to_owned()])
    );
    assert_eq!(run("GET /people", 2, people), (json!({}), vec![]));
    assert_eq!(run("GET /people", 1, &[("Job", &["state"])]).0, json!({"state": "s"}));
    // 200 and 201 that repeat an anonymous schema are one object.
    for at in [0, 1] {
        let found = run("GET /boxes", at, &[("Box", &["id"])]);
        assert_eq!(found, (json!({"id": "1"}), vec!["ssn".to_owned()]));
    }
}

#[test]
fn brackets_belong_to_lists_and_members_to_free_forms() {
    let provider = thing_and(
        &json!({
            "address": {"type": "object", "properties": {"city": {"type": "string"}}},
            "jobs": {"type": "array", "items": {"type": "object", "properties": {"title": {"type": "string"}}}},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "custom": {"$ref": "#/components/schemas/Custom"},
        }),
        json!({"Custom": {"type": "object"}}),
    );
    let (id, _) = provider.object_by_name("Thing").unwrap();
    let check = |field: &str| check_fields(&provider, id, false, &[field.to_owned()]);
    for field in ["jobs[]", "labels.*", "custom.x"] {
        check(field).unwrap();
    }
    for field in ["address[]", "labels[]", "jobs[].title[]"] {
        let problems = check(field).unwrap_err();
        let bare = field.trim_end_matches("[]");
        assert_eq!(problems[0].nearest.as_deref(), Some(bare), "{field}");
    }
}

/// A success that declares only a status lets that through, and nothing else.
#[test]
fn a_bare_status_passes() {
    let mut put = answers(json!({"type": "object", "properties": {"ok": {"type": "boolean"}}}));
    put["requestBody"] = json!({"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Input"}}}});
    let provider = overlaid(&openapi(
        json!({"/inputs/{id}": {"put": put}}),
        json!({"Input": {"type": "object", "properties": {"name": {"type": "string"}}}}),
    ));
    let (spec, _) = spec_of(&provider, "PUT /inputs/{id}", &granted(&provider, &[]));
    let body = br#"{"ok":true,"name":"Ada"}"#;
    let out = project_slice(body, &spec, &Limits::default()).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), r#"{"ok":true}"#);
}

/// What one place accepts is never taken over by another with the same objects.
#[test]
fn a_scalar_passes_only_where_one_is_declared() {
    let cat = json!({"$ref": "#/components/schemas/Cat"});
    let inline = json!({"type": "object", "properties": {"id": plain("string")}});
    let mut members = json!({
        "a": {"oneOf": [cat, plain("string")]},
        "b": cat,
        "l": {"type": "array", "items": cat},
        "m": {"type": "object", "additionalProperties": cat},
        "n": {"oneOf": [{"type": "array", "items": cat}, plain("string")]},
        "z": {"oneOf": [plain("integer"), cat]},
        "i": {"oneOf": [inline, plain("string")]},
    });
    for name in ["a", "i", "n", "z"] {
        members[name]["x-weirgate-label"] = plain("string")["x-weirgate-label"].clone();
    }
    let provider = thing_and(
        &members,
        json!({"Cat": {"type": "object", "properties": {"id": plain("string"), "kitten": cat}}}),
    );
    let grants: [(&str, &[&str]); 2] =
        [("Thing", &["a", "b", "l", "m", "n", "z", "i"]), ("Cat", &["id", "kitten"])];
    let given = json!({
        "a": "x", "b": "S", "l": ["S", {"id": "1", "kitten": "S"}], "m": {"k": "S"}, "n": "x",
        "z": 1, "i": "x",
    });
    let wanted = json!({"a": "x", "l": [{"id": "1"}], "m": {}, "n": "x", "z": 1, "i": "x"});
    assert_eq!(project_thing(&provider, &grants, &given), wanted);

    let put = provider.operations.iter().find(|one| one.id == "PUT /things").unwrap();
    let spec = select_request(&provider, put, &granted(&provider, &grants)).unwrap();
    let write = |body: &Value| {
        let mut projector = Projector::new(spec.clone(), Limits::default(), Mode::Refuse);
        let mut out = Vec::new();
        projector.feed(body.to_string().as_bytes(), &mut out)?;
        projector.finish(&mut out)
    };
    let mut body = wanted.clone();
    assert_eq!(write(&body).unwrap_err().reason(), "list_in_part");
    body.as_object_mut().unwrap().remove("l");
    write(&body).unwrap();
    for body in [json!({"b": "x"}), json!({"m": {"k": "x"}}), json!({"a": {"kitten": "x"}})] {
        assert!(write(&body).is_err(), "{body}");
    }
}

/// What is withheld is told by the path at which it was met.
#[test]
fn withheld_elements_are_named_by_their_own_place() {
    let cat = json!({"$ref": "#/components/schemas/Cat"});
    let inline =
        json!({"type": "object", "properties": {"id": plain("string"), "ssn": {"type": "string"}}});
    let either = json!({"oneOf": [cat, {"$ref": "#/components/schemas/List"}]});
    let provider = thing_and(
        &json!({"a": either, "b": either}),
        json!({
            "Cat": {"type": "object", "properties": {"id": plain("string")}},
            "List": {"type": "array", "items": inline},
        }),
    );
    let operation = provider.operations.iter().find(|one| one.id == "GET /things").unwrap();
    let granted = granted(&provider, &[("Thing", &["a", "b"]), ("Cat", &["id"])]);
    let selection = select_response(&provider, operation, &operation.answers[0], &granted).unwrap();
    let mut projector = Projector::new(selection.spec, Limits::default(), Mode::Drop);
    let mut out = Vec::new();
    projector.feed(br#"{"b":[{"id":"1","ssn":"S"}]}"#, &mut out).unwrap();
    let summary = projector.finish(&mut out).unwrap();
    let met: Vec<&str> =
        summary.withheld.iter().map(|mark| selection.names[*mark as usize].as_str()).collect();
    assert_eq!(met, ["b[].ssn"]);
}

/// A member without a name is a member like others: no grant of nothing opens it.
#[test]
fn a_member_without_a_name_passes_only_by_a_grant() {
    let members = json!({"": {"type": "array", "items": plain("string")}, "x": plain("string")});
    let schema =
        |free: bool| json!({"type": "object", "properties": members, "additionalProperties": free});
    let provider = thing_and(
        &json!({"o": {"$ref": "#/components/schemas/Odd"}, "f": {"$ref": "#/components/schemas/Free"}}),
        json!({"Odd": schema(false), "Free": schema(true)}),
    );
    let given = json!({"o": {"": ["S"], "x": "S"}, "f": {"": ["S"], "x": "S"}});
    let found = project_thing(&provider, &[("Thing", &["o", "f"])], &given);
    assert_eq!(found, json!({"o": {}, "f": {}}));
    let found = project_thing(&provider, &[("Thing", &["o", "f"]), ("Odd", &["x"])], &given);
    assert_eq!(found, json!({"o": {"x": "S"}, "f": {}}));
}

/// A status that is a choice holds a declared word, and nobody's name.
#[test]
fn a_kept_status_is_one_of_the_declared_words() {
    let provider = overlaid(&openapi(
        json!({
            "/things": {"get": answers(json!({"type": "object", "properties": {
                "data": {"type": "array", "items": {"$ref": "#/components/schemas/Thing"}},
                "status": {"type": "string", "enum": ["ok", "failed"]},
                "meta": {"type": "object", "properties": {"status": {"enum": ["done", "error"]}}},
            }}))},
            "/states": {"post": answers(json!({"$ref": "#/components/schemas/State"}))},
            "/standings": {"post": answers(json!({"$ref": "#/components/schemas/Standing"}))},
            "/numbers": {"post": answers(json!({"type": "object", "properties": {
                "status": {"type": "integer"}, "ok": {"type": "integer"}}}))},
        }),
        json!({
            "Thing": {"type": "object", "properties": {"id": plain("string"), "status": plain("string")}},
            "State": {"type": "object", "properties": {
                "ok": {"type": "boolean"}, "status": {"enum": ["done", "failed"]}, "message": {"type": "string"}}},
            "Standing": {"type": "object", "properties": {
                "ok": {"type": "boolean"}, "status": {"enum": ["done", "bankrupt"]}}},
        }),
    ));
    let project = |operation: &str, input: Value| {
        let (spec, withheld) = spec_of(&provider, operation, &granted(&provider, &[]));
        let out = project_slice(input.to_string().as_bytes(), &spec, &Limits::default()).unwrap();
        (serde_json::from_slice::<Value>(&out).unwrap(), withheld)
    };
    let things = |status: &str, inner: Value| {
        project("GET /things", json!({"data": [], "status": status, "meta": {"status": inner}}))
    };
    let (found, withheld) = things("failed", json!("done"));
    assert_eq!(found, json!({"data": [], "status": "failed", "meta": {"status": "done"}}));
    // The object's own status is another.
    assert_eq!(withheld, ["id", "status"]);
    let (found, _) = things("Jane.Doe-123-45-6789", json!("on"));
    assert_eq!(found, json!({"data": [], "meta": {}}));
    assert_eq!(things("OK", json!(7)).0, json!({"data": [], "meta": {}}));

    let (found, withheld) =
        project("POST /states", json!({"ok": true, "status": "done", "message": "S"}));
    assert_eq!(found, json!({"ok": true, "status": "done"}));
    assert_eq!(withheld, Vec::<String>::new(), "a status alone is no object");
    let (found, _) = project("POST /states", json!({"ok": true, "status": "Jane.Doe"}));
    assert_eq!(found, json!({"ok": true}));
    // A state that is more than how the call went is the object's own, and a number could be any.
    let (found, withheld) = project("POST /standings", json!({"ok": true, "status": "bankrupt"}));
    assert_eq!((found, withheld.len()), (json!({}), 2));
    assert_eq!(project("POST /numbers", json!({"status": 3, "ok": 41})).0, json!({}));
}

/// Of two operations that share one schema each has its own object, and its own grants.
#[test]
fn a_shared_schema_opens_nothing_of_another_object() {
    let item =
        json!({"type": "object", "properties": {"id": plain("string"), "value": plain("string")}});
    let shared = json!({"responses": {"200": {"$ref": "#/components/responses/Item"}}});
    let body = json!({"$ref": "#/components/requestBodies/Item"});
    let ok = json!({"type": "object", "properties": {"ok": {"type": "boolean"}}});
    let record = json!({"$ref": "#/components/schemas/Record"});
    let with = |mut operation: Value, name: &str, value: &Value| {
        operation[name] = value.clone();
        operation
    };
    let mut document = openapi(
        json!({
            "/users/{id}": {"get": shared},
            "/salaries/{id}": {"get": shared},
            "/records/{id}": {"get": answers(record.clone())},
            "/payslips/{id}": {"get": with(answers(record.clone()), "x-weirgate-object", &json!("Payslip"))},
            "/wages/{id}": {"get": answers(json!({"oneOf": [
                {"type": "object", "properties": {"id": plain("string")}}, record]}))},
            "/notes": {"post": with(answers(ok.clone()), "requestBody", &body)},
            "/payments": {"post": with(answers(ok), "requestBody", &body)},
        }),
        json!({"Record": item}),
    );
    let content = json!({"application/json": {"schema": item}});
    document["components"]["responses"] = json!({"Item": {"description": "", "content": content}});
    document["components"]["requestBodies"] = json!({"Item": {"content": content}});
    let provider = overlaid(&document);
    let both = ["id", "value"].as_slice();
    let grants = granted(
        &provider,
        &[
            ("User", both),
            ("Salary", &["id"]),
            ("Record", both),
            ("Payslip", &["id"]),
            ("Wage", &["id"]),
            ("Note", both),
            ("Payment", &["id"]),
        ],
    );
    let value = json!({"id": "1", "value": "95000"});
    let read = |operation: &str, granted: &Granted| -> Value {
        let (spec, _) = spec_of(&provider, operation, granted);
        let out = project_slice(value.to_string().as_bytes(), &spec, &Limits::default()).unwrap();
        serde_json::from_slice(&out).unwrap()
    };
    for whole in ["GET /users/{id}", "GET /records/{id}"] {
        assert_eq!(read(whole, &grants), value, "{whole}");
    }
    for part in ["GET /salaries/{id}", "GET /payslips/{id}"] {
        assert_eq!(read(part, &grants), json!({"id": "1"}), "{part}");
    }
    let write = |operation: &str| {
        let operation = provider.operations.iter().find(|one| one.id == operation).unwrap();
        let spec = select_request(&provider, operation, &grants).unwrap();
        let mut projector = Projector::new(spec, Limits::default(), Mode::Refuse);
        let mut out = Vec::new();
        projector.feed(value.to_string().as_bytes(), &mut out)?;
        projector.finish(&mut out)
    };
    write("POST /notes").unwrap();
    assert!(write("POST /payments").unwrap_err().to_string().starts_with("`value`"));
    // Another object among the alternatives passes by its own grants only while it is remembered.
    let wage = provider.operations.iter().find(|one| one.id == "GET /wages/{id}").unwrap();
    assert!(beside(&provider, wage).contains("the object Record in 200"));
    assert_eq!(read("GET /wages/{id}", &grants), value);
    let forgetful = Granted { beside: BTreeSet::new(), ..grants.clone() };
    assert_eq!(read("GET /wages/{id}", &forgetful), json!({"id": "1"}));
}

/// What is called like paging is kept where there are pages, and where it counts.
#[test]
fn amounts_that_are_called_like_paging_pass_by_a_grant_only() {
    let number = json!({"type": "number"});
    let word = json!({"enum": ["frozen", "ok"]});
    let outcome = json!({"enum": ["failed", "ok"]});
    let buyer = json!({"$ref": "#/components/schemas/Buyer"});
    let balance = json!({"$ref": "#/components/schemas/Balance"});
    let counts = |kind: &str| {
        json!({"type": "object", "properties": {
            "data": {"type": "array", "items": buyer}, "total": {"type": kind}, "next": {"type": "string"}}})
    };
    let provider = overlaid(&openapi(
        json!({
            "/balance": {"get": answers(balance.clone()), "put": answers(balance)},
            "/orders": {"get": answers(json!({"$ref": "#/components/schemas/Order"}))},
            "/cents": {"get": answers(json!({"type": "object", "properties": {
                "total": {"type": "integer"}, "status": word, "buyer": buyer}}))},
            "/buyers": {"get": pages(counts("integer"))},
            "/sums": {"get": pages(counts("number"))},
            "/all-buyers": {"get": answers(counts("integer"))},
            "/buyers/{id}": {"get": answers(json!({"type": "object", "properties": {
                "ok": {"type": "boolean"}, "status": outcome, "request_id": {"type": "string"}, "data": buyer}}))},
        }),
        json!({
            "Balance": {"type": "object", "properties": {"total": number, "limit": number, "status": word, "next": {"type": "string"}}},
            "Order": {"type": "object", "properties": {"total": number, "status": word, "limit": number, "previous": {"type": "string"}, "buyer": buyer}},
            "Buyer": {"type": "object", "properties": {"id": plain("string"), "name": plain("string")}},
        }),
    ));
    let grants = granted(&provider, &[("Buyer", &["id"]), ("Balance", &["status"])]);
    let read = |operation: &str, input: Value| -> Value {
        let (spec, _) = spec_of(&provider, operation, &grants);
        let out = project_slice(input.to_string().as_bytes(), &spec, &Limits::default()).unwrap();
        serde_json::from_slice(&out).unwrap()
    };
    let all = |data: Value| {
        json!({"total": 50000, "limit": 12000.5, "status": "frozen", "next": "jane.doe",
               "previous": "4111", "ok": true, "data": data, "buyer": data})
    };
    let one = json!({"id": "1", "name": "N"});
    assert_eq!(read("GET /balance", all(json!(1))), json!({"status": "frozen"}));
    assert_eq!(read("PUT /balance", all(json!(1))), json!({"status": "frozen"}));
    for own in ["GET /orders", "GET /cents"] {
        assert_ne!(crate::rules::object_of(&provider, own), "Buyer", "{own}");
        assert_eq!(read(own, all(one.clone())), json!({}), "{own}");
    }
    // `next` may be a URL, and nobody is here to rewrite it.
    let many = json!([one]);
    assert_eq!(
        read("GET /buyers", all(many.clone())),
        json!({"total": 50000, "data": [{"id": "1"}]})
    );
    for (total, wanted) in
        [(json!(50000.5), json!({"data": []})), (json!("50"), json!({"data": []}))]
    {
        assert_eq!(read("GET /buyers", json!({"total": total, "data": []})), wanted);
    }
    for other in ["GET /sums", "GET /all-buyers"] {
        assert_eq!(read(other, all(many.clone())), json!({"data": [{"id": "1"}]}), "{other}");
    }
    let mut outcome = all(one);
    outcome["status"] = json!("failed");
    assert_eq!(
        read("GET /buyers/{id}", outcome),
        json!({"ok": true, "status": "failed", "data": {"id": "1"}})
    );
}

/// A path that several places declare is the widest of them, and `*` is judged by that.
#[test]
fn what_one_place_leaves_open_is_no_leaf_by_another() {
    let text = plain("string");
    let object = |members: Value| json!({"type": "object", "properties": members});
    let free = json!({"type": "object"});
    let person = json!({"$ref": "#/components/schemas/Person"});
    let map = json!({"type": "object", "additionalProperties": person});
    let provider = overlaid(&openapi(
        json!({
            "/alts": {"get": answers(json!({"oneOf": [
                object(json!({"id": text, "state": plain("boolean")})),
                object(json!({"id": text, "state": free}))]}))},
            "/rows": {"get": answers(json!({"type": "array", "items": object(json!({
                "id": text, "tags": {"type": "array", "items": text}, "extra": text, "size": plain("integer"),
                "info": object(json!({"manager": text})), "free": object(json!({"note": text})),
                "roles": {"oneOf": [object(json!({"boss": object(json!({"name": text}))})), map]}}))}))},
            "/rows/{id}": {"get": answers(object(json!({
                "id": text, "extra": free, "size": {}, "free": free,
                "info": {"oneOf": [free, map]}})))},
            "/rows/{id}#gone": {"delete": answers(free.clone())},
        }),
        json!({"Person": object(json!({"id": text, "name": text, "ssn": {"type": "string"}}))}),
    ));
    let star = |name: &str| -> Vec<String> {
        let (id, _) = provider.object_by_name(name).unwrap();
        let paths = expand_star(&provider, id, false);
        paths.iter().map(|path| provider::select::spell(path)).collect()
    };
    assert_eq!(star("Alt"), ["id"]);
    assert_eq!(star("Row"), ["id", "tags", "info.manager", "free.note", "roles.boss.name"]);
    let kind = |path: &str| {
        let (_, row) = provider.object_by_name("Row").unwrap();
        row.fields.iter().find(|field| field.path == path).unwrap().kind.clone()
    };
    assert_eq!(kind("extra"), provider::FieldKind::FreeForm);
    assert_eq!(kind("size"), provider::FieldKind::Untyped);
    let run = |operation: &str, fields: &[&str], input: &Value| -> Value {
        let grants = granted(&provider, &[("Row", fields), ("Person", &["id"])]);
        let (spec, _) = spec_of(&provider, operation, &grants);
        let out = project_slice(input.to_string().as_bytes(), &spec, &Limits::default()).unwrap();
        serde_json::from_slice(&out).unwrap()
    };
    let jane = json!({"id": "9", "name": "Jane", "ssn": "S"});
    let row = json!({"id": "1", "extra": jane, "free": {"note": jane},
                     "info": {"manager": jane}, "roles": {"boss": jane, "x": jane}});
    // A name that one alternative declares is a name of the map beside it too.
    for (fields, wanted) in [
        (["id", "info.manager"].as_slice(), json!({"id": "1", "info": {}})),
        (&["info.*.id"], json!({"info": {"manager": {"id": "9"}}})),
        (&["*"], json!({"id": "1", "free": {}, "info": {}})),
        (&["extra"], json!({"extra": jane})),
        // What is a leaf elsewhere is one where nothing is declared of it.
        (&["free.note"], json!({"free": {}})),
    ] {
        assert_eq!(run("GET /rows/{id}", fields, &row), wanted, "{fields:?}");
    }
    let gone = json!({"id": jane, "tags": ["a", jane], "extra": jane});
    assert_eq!(
        run("DELETE /rows/{id}#gone", &["id", "tags", "extra"], &gone),
        json!({"tags": ["a"], "extra": jane})
    );
    let note = json!({"free": {"note": "text"}});
    assert_eq!(run("GET /rows/{id}", &["free.note"], &note), note);
    let rows = json!([row]);
    for (fields, wanted) in [
        (["roles.boss.name"].as_slice(), json!([{"roles": {}}])),
        (
            &["roles.boss.name", "roles.*.name"],
            json!([{"roles": {"boss": {"name": "Jane"}, "x": {"name": "Jane"}}}]),
        ),
    ] {
        assert_eq!(run("GET /rows", fields, &rows), wanted, "{fields:?}");
    }
}
