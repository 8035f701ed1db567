//! What changed between two descriptions: each kind of change, with its level.

use provider::{
    LoadLimits, Provider,
    diff::{ChangeKind, Level, diff},
    load_value,
};
use serde_json::{Value, json};

fn description() -> Value {
    json!({
        "openapi": "3.0.0", "info": {"title": "T", "version": "1"},
        "servers": [{"url": "https://api.example.com"}],
        "components": {
            "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-Key"}},
            "schemas": {
                "Person": {"type": "object", "required": ["name"], "properties": {
                    "name": {"type": "string"}, "code": {"type": "string"},
                    "unit": {"type": "object", "properties": {"city": {"type": "string"}}}}},
                "PersonInput": {"type": "object", "required": ["name"], "properties": {
                    "name": {"type": "string"}, "code": {"type": "string"}}},
                "Team": {"type": "object", "properties": {"title": {"type": "string"}}}}},
        "paths": {
            "/people": {
                "get": {"operationId": "listPeople",
                    "parameters": [{"name": "sort", "in": "query", "schema": {"type": "string"}}],
                    "responses": answer(json!({"type": "array", "items": {"$ref": "#/components/schemas/Person"}}))},
                "post": {"operationId": "addPerson",
                    "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/PersonInput"}}}},
                    "responses": answer(json!({"$ref": "#/components/schemas/Person"}))}},
            "/teams/{id}": {"get": {"operationId": "getTeam",
                "responses": answer(json!({"$ref": "#/components/schemas/Team"}))}}},
    })
}

fn answer(schema: Value) -> Value {
    json!({"200": {"description": "", "content": {"application/json": {"schema": schema}}}})
}

fn model(description: &Value) -> Provider {
    // Our own extensions count in overlays only.
    crate::rules::overlaid(description)
}

/// Changes the description at JSON pointers and says what is found.
fn check(edits: &[(&str, Value)], wanted: &[(ChangeKind, Level, &str)]) {
    let mut new = description();
    for (pointer, value) in edits {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let name = name.replace("~1", "/").replace("~0", "~");
        let parent = new.pointer_mut(parent).unwrap_or_else(|| panic!("no {pointer}"));
        let members = parent.as_object_mut().unwrap();
        if value.is_null() {
            members.remove(&name).unwrap();
        } else {
            members.insert(name, value.clone());
        }
    }
    let found: Vec<(ChangeKind, Level, String)> = diff(&model(&description()), &model(&new))
        .into_iter()
        .map(|change| (change.kind, change.level, change.subject))
        .collect();
    let wanted: Vec<(ChangeKind, Level, String)> =
        wanted.iter().map(|one| (one.0, one.1, one.2.to_owned())).collect();
    assert_eq!(found, wanted, "{edits:?}");
}

#[test]
fn the_same_description_has_no_changes() {
    check(&[], &[]);
}

#[test]
fn operations_come_and_go() {
    check(
        &[("/paths/~1teams~1{id}", Value::Null)],
        &[
            (ChangeKind::OperationGone, Level::Breaking, "GET /teams/{id}"),
            (ChangeKind::ObjectGone, Level::Breaking, "Team"),
        ],
    );
    check(
        &[("/paths/~1people/delete", json!({"responses": {"204": {"description": ""}}}))],
        &[(ChangeKind::OperationAdded, Level::Info, "DELETE /people")],
    );
    // A parameter's other name is the same operation; its other id is not unseen.
    check(
        &[
            ("/paths/~1teams~1{id}", Value::Null),
            (
                "/paths/~1teams~1{team}",
                json!({"get": {"operationId": "readTeam",
                    "responses": answer(json!({"$ref": "#/components/schemas/Team"}))}}),
            ),
        ],
        &[(ChangeKind::OperationRenamed, Level::Attention, "GET /teams/{team}")],
    );
    check(
        &[("/paths/~1people/post/x-weirgate-action", json!("read"))],
        &[(ChangeKind::OperationAction, Level::Breaking, "POST /people")],
    );
    check(
        &[(
            "/paths/~1teams~1{id}/get/responses",
            answer(
                json!({"type": "object", "properties": {"data": {"$ref": "#/components/schemas/Team"}}}),
            ),
        )],
        &[(ChangeKind::Envelope, Level::Breaking, "GET /teams/{id}")],
    );
    check(
        &[(
            "/paths/~1people/get/parameters",
            json!([{"name": "order", "in": "query", "schema": {"type": "string"}}]),
        )],
        &[
            (ChangeKind::ParameterGone, Level::Breaking, "GET /people query sort"),
            (ChangeKind::ParameterAdded, Level::Info, "GET /people query order"),
        ],
    );
}

#[test]
fn fields_come_go_and_change() {
    const PERSON: &str = "/components/schemas/Person/properties";
    check(
        &[
            (&format!("{PERSON}/code"), Value::Null),
            ("/components/schemas/PersonInput/properties/code", Value::Null),
        ],
        &[(ChangeKind::FieldGone, Level::Breaking, "Person.code")],
    );
    check(
        &[(&format!("{PERSON}/status"), json!({"type": "string"}))],
        &[(ChangeKind::FieldAdded, Level::Info, "Person.status")],
    );
    check(
        &[(&format!("{PERSON}/ssn"), json!({"type": "string"}))],
        &[(ChangeKind::SensitiveFieldAdded, Level::Attention, "Person.ssn")],
    );
    check(
        &[(&format!("{PERSON}/unit/properties/zipCode"), json!({"type": "string"}))],
        &[(ChangeKind::FieldAdded, Level::Info, "Person.unit.zipCode")],
    );
    check(
        &[(&format!("{PERSON}/unit"), json!({"type": "object"}))],
        &[
            (ChangeKind::FieldGone, Level::Breaking, "Person.unit.city"),
            (ChangeKind::Type, Level::Breaking, "Person.unit"),
        ],
    );
    check(
        &[(&format!("{PERSON}/code/x-weirgate-label"), json!("user.health_and_medical"))],
        &[(ChangeKind::Label, Level::Attention, "Person.code")],
    );
}

#[test]
fn requiredness_matters_by_direction() {
    check(
        &[("/components/schemas/Person/required", json!([]))],
        &[(ChangeKind::Required, Level::Attention, "Person.name")],
    );
    check(
        &[("/components/schemas/Person/required", json!(["name", "code"]))],
        &[(ChangeKind::Required, Level::Info, "Person.code")],
    );
    check(
        &[("/components/schemas/PersonInput/required", json!(["name", "code"]))],
        &[(ChangeKind::Required, Level::Breaking, "Person.code")],
    );
    check(
        &[
            ("/components/schemas/PersonInput/required", json!(["name", "reason"])),
            ("/components/schemas/PersonInput/properties/reason", json!({"type": "string"})),
        ],
        &[(ChangeKind::SensitiveFieldAdded, Level::Breaking, "Person.reason")],
    );
}

#[test]
fn servers_and_security_change() {
    check(
        &[("/servers", json!([{"url": "https://eu.example.com"}]))],
        &[(ChangeKind::Servers, Level::Attention, "servers")],
    );
    check(
        &[("/components/securitySchemes/key/name", json!("X-Other"))],
        &[(ChangeKind::SecurityScheme, Level::Breaking, "key")],
    );
    check(
        &[("/components/securitySchemes/token", json!({"type": "http", "scheme": "bearer"}))],
        &[(ChangeKind::SecurityScheme, Level::Info, "token")],
    );
    check(
        &[("/paths/~1people/get/security", json!([]))],
        &[(ChangeKind::OperationSecurity, Level::Attention, "GET /people")],
    );
    check(
        &[("/paths/~1people/get/servers", json!([{"url": "https://other.example.com"}]))],
        &[(ChangeKind::OperationServers, Level::Attention, "GET /people")],
    );
}

/// An overlay's action that selects nothing any more is lost silently otherwise.
#[test]
fn an_overlay_that_no_longer_fits_is_found() {
    let overlay = json!({"overlay": "1.0.0", "info": {"title": "O", "version": "1"},
        "actions": [{"target": "$.paths['/teams/{id}'].get", "update": {"x-weirgate-action": "read"}}]});
    let mut new = description();
    new.pointer_mut("/paths").unwrap().as_object_mut().unwrap().remove("/teams/{id}").unwrap();
    let load = |description| {
        load_value(description, std::slice::from_ref(&overlay), &LoadLimits::default()).unwrap()
    };
    let changes = diff(&load(description()), &load(new));
    let diagnostics: Vec<_> =
        changes.iter().filter(|change| change.kind == ChangeKind::Diagnostic).collect();
    assert_eq!(diagnostics.len(), 1, "{changes:#?}");
    assert_eq!(diagnostics[0].level, Level::Attention);
}

/// Every document differs from itself in nothing, however it is read.
#[test]
fn real_descriptions_do_not_differ_from_themselves() {
    let Some(corpus) = crate::corpus::corpus() else { return };
    for file in ["bamboohr.yaml", "xero-payroll-uk.yaml", "slack-web-swagger2.json"] {
        let source = std::fs::read(corpus.join(file)).unwrap();
        let read = || provider::load(&source, None, &LoadLimits::default()).unwrap();
        assert_eq!(diff(&read(), &read()), [], "{file}");
    }
}
