//! What of a provider's error body may be seen: only declared scalar members with a name that errors
//! are told by, not sensitive, with every text masked and cut. Never a member of an object that a
//! grant could name: the projector would have to judge it.

use provider::{Member, ObjectId, Operation, Provider, Shape, ShapeId, StatusRange};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use vault::Echoes;

/// The most bytes of an error body that are looked at.
pub(crate) const MAX_ERROR_BYTES: usize = 64 * 1_024;
/// The longest text that passes, in characters.
const MAX_TEXT_CHARS: usize = 300;
/// The most members that pass.
const MAX_MEMBERS: usize = 20;
/// Levels of objects below the body's root.
const MAX_DEPTH: usize = 3;

/// The largest number that passes: codes and statuses are smaller, numbers of people are not.
const MAX_NUMBER: u64 = 99_999_999;

/// Names that errors are told by: RFC 9457, RFC 6749 §5.2, and what is common besides.
fn tells_errors(name: &str) -> bool {
    const NAMES: [&str; 26] = [
        "code",
        "correlationid",
        "detail",
        "details",
        "documentationurl",
        "errno",
        "error",
        "errorcode",
        "errordescription",
        "errordetail",
        "errormessage",
        "errorname",
        "errortype",
        "fault",
        "info",
        "instance",
        "message",
        "msg",
        "reason",
        "reasoncode",
        "requestid",
        "status",
        "statuscode",
        "title",
        "traceid",
        "type",
    ];
    let flat: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    NAMES.contains(&flat.as_str())
}

/// Whether it is what some operation reads or writes: only a grant lets anything of it through.
fn is_data(model: &Provider, object: ObjectId) -> bool {
    model.operations.iter().any(|operation| operation.object == Some(object))
}

/// Whether the operation's own object declares a member of that name: an error that is a merge with
/// the object cannot be told from one that only shares the name.
fn is_own_member(model: &Provider, operation: &Operation, name: &str) -> bool {
    operation.object.and_then(|id| model.object(id)).is_some_and(|object| {
        object.fields.iter().any(|field| {
            matches!(field.steps.first(), Some(provider::Step::Member(first)) if first == name)
        })
    })
}

/// The declared shape of an error answer, if it has one that is not data. A shape that a success of
/// the same operation has too is data.
fn error_shape(operation: &Operation, status: u16) -> Option<(StatusRange, ShapeId)> {
    let find = |wanted: StatusRange| {
        let found = operation.answers.iter().find(|answer| answer.status == wanted);
        found.and_then(|answer| Some((answer.status, answer.shape?)))
    };
    let (range, shape) = find(StatusRange::Exact(status))
        .or_else(|| find(StatusRange::Class(status / 100)))
        .or_else(|| find(StatusRange::Default))?;
    (!is_answered_as_success(operation, shape)).then_some((range, shape))
}

fn is_answered_as_success(operation: &Operation, shape: ShapeId) -> bool {
    operation.answers.iter().any(|answer| answer.shape == Some(shape) && is_success(answer.status))
}

fn is_success(status: StatusRange) -> bool {
    matches!(status, StatusRange::Exact(200..=299) | StatusRange::Class(2))
}

const OF_AN_ERROR: &str = " of an error in ";

/// What a grant remembers of a member of an error.
fn term(path: &str, range: StatusRange) -> String {
    format!("`{path}`{OF_AN_ERROR}{range}")
}

/// Whether a grant remembers it of an error, and not of a success.
pub fn is_error_term(term: &str) -> bool {
    term.starts_with('`') && term.contains(OF_AN_ERROR)
}

/// The members of an operation's errors that are seen: a description that is imported anew and declares
/// more lets no more out.
pub fn error_terms(model: &Provider, operation: &Operation) -> BTreeSet<String> {
    let mut terms = BTreeSet::new();
    for answer in operation.answers.iter().filter(|answer| !is_success(answer.status)) {
        let Some(shape) = answer.shape else { continue };
        if !is_answered_as_success(operation, shape) {
            name_members(model, operation, shape, "", MAX_DEPTH, &mut |path| {
                terms.insert(term(path, answer.status));
            });
        }
    }
    terms
}

fn name_members(
    model: &Provider,
    operation: &Operation,
    shape: ShapeId,
    prefix: &str,
    depth: usize,
    note: &mut impl FnMut(&str),
) {
    let Shape::Object(object) = model.shape(shape) else { return };
    if depth == 0 || object.object.is_some_and(|id| is_data(model, id)) {
        return;
    }
    for (name, member) in &object.members {
        if !may_be_seen(model, operation, name, member) {
            continue;
        }
        let path = joined(prefix, name);
        match model.shape(member.shape) {
            Shape::Scalar { .. } => note(&path),
            Shape::Object(_) => {
                name_members(model, operation, member.shape, &path, depth - 1, note);
            }
            _ => {}
        }
    }
}

fn joined(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

fn may_be_seen(model: &Provider, operation: &Operation, name: &str, member: &Member) -> bool {
    let is_sensitive = member
        .label
        .as_ref()
        .is_some_and(|label| label.is_sensitive && label.category != "unclassified");
    tells_errors(name)
        && !member.is_data
        && !member.is_write_only
        && !is_sensitive
        && !is_own_member(model, operation, name)
}

/// Whether the status is declared at all.
pub(crate) fn is_declared(operation: &Operation, status: u16) -> bool {
    operation.answers.iter().any(|answer| match answer.status {
        StatusRange::Exact(exact) => exact == status,
        StatusRange::Class(class) => class == status / 100,
        StatusRange::Default => true,
    })
}

/// The declared, masked members of an error body.
pub(crate) fn visible_fields(
    model: &Provider,
    operation: &Operation,
    status: u16,
    body: &[u8],
    (echoes, granted): (&Echoes, &BTreeSet<String>),
) -> Map<String, Value> {
    let mut out = Map::new();
    if let Some((range, shape)) = error_shape(operation, status)
        && let Ok(Value::Object(members)) = serde_json::from_slice::<Value>(body)
        && !members.values().any(|value| repeats(value, echoes))
    {
        let is_granted = |path: &str| granted.contains(&term(path, range));
        let seen = Seen { model, operation, is_granted: &is_granted };
        seen.collect(shape, &members, "", MAX_DEPTH, &mut out);
    }
    out
}

/// Whether a value, decoded and not yet masked or cut, repeats the credential.
pub(crate) fn repeats(value: &Value, echoes: &Echoes) -> bool {
    match value {
        Value::String(text) => echoes.are_in(text.as_bytes()),
        Value::Array(items) => items.iter().any(|item| repeats(item, echoes)),
        Value::Object(members) => members.values().any(|member| repeats(member, echoes)),
        Value::Number(number) => echoes.are_in(number.to_string().as_bytes()),
        Value::Bool(_) | Value::Null => false,
    }
}

/// What of one answer is seen.
struct Seen<'s> {
    model: &'s Provider,
    operation: &'s Operation,
    is_granted: &'s dyn Fn(&str) -> bool,
}

impl Seen<'_> {
    fn collect(
        &self,
        shape: ShapeId,
        members: &Map<String, Value>,
        prefix: &str,
        depth: usize,
        out: &mut Map<String, Value>,
    ) {
        let Shape::Object(object) = self.model.shape(shape) else { return };
        if depth == 0 || object.object.is_some_and(|id| is_data(self.model, id)) {
            return;
        }
        for (name, member) in &object.members {
            if out.len() >= MAX_MEMBERS {
                return;
            }
            let Some(value) = members.get(name) else { continue };
            if !may_be_seen(self.model, self.operation, name, member) {
                continue;
            }
            let path = joined(prefix, name);
            match (self.model.shape(member.shape), value) {
                (Shape::Object(_), Value::Object(inner)) => {
                    let mut nested = Map::new();
                    self.collect(member.shape, inner, &path, depth - 1, &mut nested);
                    if !nested.is_empty() {
                        out.insert(name.clone(), Value::Object(nested));
                    }
                }
                (Shape::Scalar { .. }, _) if !(self.is_granted)(&path) => {}
                (Shape::Scalar { .. }, Value::String(text)) => {
                    out.insert(name.clone(), Value::String(masked(text)));
                }
                (Shape::Scalar { .. }, Value::Bool(_)) => {
                    out.insert(name.clone(), value.clone());
                }
                (Shape::Scalar { .. }, Value::Number(number))
                    if number.as_u64().is_some_and(|number| number <= MAX_NUMBER) =>
                {
                    out.insert(name.clone(), value.clone());
                }
                _ => {}
            }
        }
    }
}

/// A text from outside, masked and cut.
pub(crate) fn masked(text: &str) -> String {
    let head: String = text.chars().take(4 * MAX_TEXT_CHARS).collect();
    detect::mask(&head).chars().take(MAX_TEXT_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn seen(error: &Value, body: &Value) -> Value {
        let text = json!({"type": "string"});
        let description = json!({
            "openapi": "3.0.3", "info": {"title": "t", "version": "1"},
            "paths": {
                "/timeoff": {"get": {"responses": {
                    "200": {"description": "", "content": {"application/json": {
                        "schema": {"$ref": "#/components/schemas/TimeOff"}}}},
                    "409": {"description": "", "content": {"application/json": {"schema": error}}}}}},
                "/employees": {"get": {"responses": {
                    "200": {"description": "", "content": {"application/json": {
                        "schema": {"$ref": "#/components/schemas/Employee"}}}}}}}},
            "components": {"schemas": {
                "TimeOff": {"type": "object", "properties": {"id": text, "reason": text}},
                "Employee": {"type": "object", "properties":
                    {"id": text, "firstName": text, "title": text, "code": {"type": "integer"},
                     "job": {"type": "object", "properties": {"status": text}}}},
                "Error": {"type": "object", "properties": {
                    "code": {"type": "integer"}, "message": text, "firstName": text,
                    "error": {"$ref": "#/components/schemas/Employee"}}}}}});
        let limits = provider::LoadLimits::default();
        let model = provider::load_value(description, &[], &limits).unwrap();
        let operation = model.operations.iter().find(|one| one.id == "GET /timeoff").unwrap();
        let body = body.to_string();
        let granted = error_terms(&model, operation);
        let forgotten = (&Echoes::none(), &BTreeSet::new());
        let nothing = visible_fields(&model, operation, 409, body.as_bytes(), forgotten);
        assert_eq!(nothing, Map::new(), "what nobody was granted");
        let remembered = (&Echoes::none(), &granted);
        Value::Object(visible_fields(&model, operation, 409, body.as_bytes(), remembered))
    }

    #[test]
    fn errors_show_no_member_of_an_object() {
        let named = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
        let body = json!({
            "id": "I", "firstName": "Bob", "title": "Boss", "code": 7, "message": "no", "reason": "ill",
            "error": {"id": "J", "title": "Boss", "code": 8},
        });
        assert_eq!(seen(&named("Error"), &body), json!({"code": 7, "message": "no"}));
        assert_eq!(seen(&named("Employee"), &body), json!({}));
        assert_eq!(seen(&named("TimeOff"), &body), json!({}));
        // A member of another operation's object stays one wherever it is merged or referred to.
        let others = json!({"allOf": [named("Employee"), named("Error")]});
        assert_eq!(seen(&others, &body), json!({"message": "no"}));
        let inner = json!({"type": "object", "properties": {
            "title": {"$ref": "#/components/schemas/Employee/properties/title"},
            "detail": {"$ref": "#/components/schemas/Employee/properties/job"}}});
        let job = json!({"title": "Boss", "detail": {"status": "fired"}});
        assert_eq!(seen(&inner, &job), json!({}));
        let merged = json!({"allOf": [named("TimeOff"), {"type": "object", "properties":
            {"message": {"type": "string"}, "note": {"type": "string"}}}]});
        assert_eq!(seen(&merged, &body), json!({"message": "no"}));
        let long = json!({"code": 123_456_789, "message": "no"});
        assert_eq!(seen(&named("Error"), &long), json!({"message": "no"}));
    }
}
