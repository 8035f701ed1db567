//! What would pass of an answer, with values that are nobody's.

use super::ResolvedGrant;
use projection::{Limits, Mode, Projector, Spec, parse_list};
use provider::{FieldKind, Object, ObjectId, Provider, ScalarKind, Step};
use serde_json::{Map, Value, json};
use std::{cell::Cell, collections::BTreeMap};

/// How far objects are followed that are part of others, and how many of their fields are shown in all.
const DEPTH: usize = 3;
const MAX_INNER_FIELDS: usize = 2_000;

/// By object that the grant lets read: what would pass of an answer in which every declared field has a
/// value.
pub(crate) fn preview(grant: &ResolvedGrant, model: &Provider) -> Vec<(String, String)> {
    let read = grant.allow.iter().filter(|allow| allow.actions.iter().any(|one| one == "read"));
    let mut by_object: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for allow in read {
        if let Some(object) = &allow.object {
            by_object.entry(object).or_default().extend(allow.fields.iter().cloned());
        }
    }
    let answer = Answer { by_object, model, left: Cell::new(MAX_INNER_FIELDS) };
    let shown = answer.by_object.keys().filter_map(|name| {
        let (_, object) = model.object_by_name(name)?;
        let value = answer.passing(object, DEPTH)?;
        Some((object.name.clone(), serde_json::to_string_pretty(&value).ok()?))
    });
    shown.collect()
}

struct Answer<'g> {
    by_object: BTreeMap<&'g str, Vec<String>>,
    model: &'g Provider,
    /// Fields of inner objects that may be shown still.
    left: Cell<usize>,
}

impl Answer<'_> {
    /// What would pass of an object, by the fields that are granted of it.
    fn passing(&self, object: &Object, depth: usize) -> Option<Value> {
        let fields = self.by_object.get(object.name.as_str())?;
        let whole = self.sample(object, fields, depth).to_string();
        serde_json::from_slice(&projected(&whole, fields)?).ok()
    }

    /// An object within another: of it passes what is granted of it itself.
    fn part(&self, id: ObjectId, depth: usize) -> Value {
        let object = self.model.object(id).filter(|_| depth > 0);
        let object = object.filter(|object| {
            let left = self.left.get().checked_sub(object.fields.len());
            self.left.set(left.unwrap_or(0));
            left.is_some()
        });
        object.and_then(|object| self.passing(object, depth - 1)).unwrap_or_else(|| json!({}))
    }

    fn sample(&self, object: &Object, granted: &[String], depth: usize) -> Value {
        let mut whole = Value::Object(Map::new());
        for field in &object.fields {
            let value = match &field.kind {
                FieldKind::Scalar { kind, is_array: true } => json!([scalar(*kind)]),
                FieldKind::Scalar { kind, is_array: false } => scalar(*kind),
                FieldKind::Inline => continue,
                FieldKind::Named(_) | FieldKind::OneOfNamed(_)
                    if !granted.contains(&field.path) =>
                {
                    continue;
                }
                FieldKind::Named(id) => self.part(*id, depth),
                FieldKind::OneOfNamed(ids) => {
                    ids.first().map_or_else(|| json!({}), |id| self.part(*id, depth))
                }
                FieldKind::FreeForm => json!({}),
                FieldKind::Untyped => json!("..."),
            };
            put(&mut whole, &field.steps, value);
        }
        whole
    }
}

/// By the gateway's own engine.
fn projected(document: &str, fields: &[String]) -> Option<Vec<u8>> {
    let mut paths = Vec::new();
    for field in fields {
        paths.extend(parse_list(field).ok()?);
    }
    let mut projector = Projector::new(Spec::from_paths(&paths), Limits::default(), Mode::Drop);
    let mut out = Vec::new();
    projector.feed(document.as_bytes(), &mut out).ok()?;
    projector.finish(&mut out).ok()?;
    Some(out)
}

fn put(at: &mut Value, steps: &[Step], value: Value) {
    let Some((step, rest)) = steps.split_first() else {
        if at.is_null() || value.is_object() == at.is_object() && !at.is_object() {
            *at = value;
        }
        return;
    };
    match step {
        Step::Member(name) => member(at, name, rest, value),
        Step::AnyMember => member(at, "...", rest, value),
        Step::Elements => {
            if at.is_null() || at.as_object().is_some_and(Map::is_empty) {
                *at = json!([null]);
            }
            if let Some(first) = at.as_array_mut().and_then(|all| all.first_mut()) {
                put(first, rest, value);
            }
        }
    }
}

fn member(at: &mut Value, name: &str, rest: &[Step], value: Value) {
    if at.is_null() {
        *at = json!({});
    }
    if let Some(members) = at.as_object_mut() {
        put(members.entry(name).or_insert(Value::Null), rest, value);
    }
}

fn scalar(kind: ScalarKind) -> Value {
    match kind {
        ScalarKind::String | ScalarKind::Enum | ScalarKind::Mixed => json!("..."),
        ScalarKind::Integer => json!(0),
        ScalarKind::Number => json!(0.5),
        ScalarKind::Boolean => json!(true),
        ScalarKind::Date => json!("2026-01-31"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use provider::LoadLimits;

    const DESCRIPTION: &str = r##"{
        "openapi": "3.1.0", "info": {"title": "t", "version": "1"},
        "servers": [{"url": "https://api.example.com"}],
        "paths": {"/people": {"get": {"operationId": "listPeople", "responses": {"200": {
            "description": "d", "content": {"application/json": {"schema":
            {"type": "array", "items": {"$ref": "#/components/schemas/Person"}}}}}}}}},
        "components": {"schemas": {
            "Person": {"type": "object", "properties": {
                "name": {"type": "string"}, "salary": {"type": "number"},
                "home": {"$ref": "#/components/schemas/Place"},
                "boss": {"$ref": "#/components/schemas/Person"}}},
            "Place": {"type": "object", "properties": {
                "city": {"type": "string"}, "street": {"type": "string"}}}}}
    }"##;

    fn shown(allow: &Value) -> BTreeMap<String, Value> {
        shown_of(DESCRIPTION, allow)
    }

    fn shown_of(description: &str, allow: &Value) -> BTreeMap<String, Value> {
        let model = provider::load(description.as_bytes(), None, &LoadLimits::default()).unwrap();
        let grant: ResolvedGrant = serde_json::from_value(json!({
            "client": "clnt_06ewk4g000e0g0000000000005",
            "provider": "prov_06ewk4g000e0g0000000000003",
            "connection": null, "purpose": "p", "expires": "2999-12-31", "allow": allow,
        }))
        .unwrap();
        let shown = preview(&grant, &model).into_iter();
        shown.map(|(name, text)| (name, serde_json::from_str(&text).unwrap())).collect()
    }

    fn allow(object: &str, actions: &[&str], fields: &[&str]) -> Value {
        json!({
            "object": object, "actions": actions, "fields": fields, "params": [], "headers": [],
            "operations": [],
        })
    }

    /// An object within another shows what is granted of it itself, as far as it is followed.
    #[test]
    fn what_would_pass_is_shown_also_within_other_objects() {
        let shown = shown(&json!([
            allow("Person", &["read"], &["name", "home", "boss"]),
            allow("Place", &["read"], &["city"]),
            allow("Place", &["update"], &["street"]),
        ]));
        assert_eq!(shown["Place"], json!({"city": "..."}));
        let text = shown["Person"].to_string();
        assert_eq!(shown["Person"]["home"], json!({"city": "..."}));
        assert_eq!(shown["Person"]["boss"]["boss"]["name"], "...");
        assert!(!text.contains("salary") && !text.contains("street"), "{text}");
    }

    #[test]
    fn an_object_within_another_of_which_nothing_is_granted_shows_nothing() {
        let shown = shown(&json!([allow("Person", &["read"], &["name", "home"])]));
        assert_eq!(shown["Person"], json!({"name": "...", "home": {}}));
    }

    /// Fields that lead to each other a hundred times cost what a few do.
    #[test]
    fn a_preview_of_objects_that_lead_to_each_other_is_bounded() {
        let names: Vec<String> = (0..100).map(|number| format!("f{number}")).collect();
        let fields: Map<String, Value> = names
            .iter()
            .map(|name| (name.clone(), json!({"$ref": "#/components/schemas/Person"})))
            .collect();
        let description = json!({
            "openapi": "3.1.0", "info": {"title": "t", "version": "1"},
            "servers": [{"url": "https://api.example.com"}],
            "paths": {"/people": {"get": {"operationId": "p", "responses": {"200": {
                "description": "d", "content": {"application/json": {"schema":
                {"$ref": "#/components/schemas/Person"}}}}}}}},
            "components": {"schemas": {"Person": {"type": "object", "properties": fields}}},
        });
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let shown =
            shown_of(&description.to_string(), &json!([allow("Person", &["read"], &names)]));
        let fields = shown["Person"].to_string().matches(':').count();
        assert!((100..=2_100).contains(&fields), "{fields}");
    }
}
