//! What of a provider's error body may be seen: only declared scalar members that are not
//! sensitive, with every text masked and cut. Never anything that the projector would have to judge.

use provider::{Operation, Provider, Shape, ShapeId, StatusRange};
use serde_json::{Map, Value};

/// The most bytes of an error body that are looked at.
pub(crate) const MAX_ERROR_BYTES: usize = 64 * 1_024;
/// The longest text that passes, in characters.
const MAX_TEXT_CHARS: usize = 300;
/// The most members that pass.
const MAX_MEMBERS: usize = 20;
/// Levels of objects below the body's root.
const MAX_DEPTH: usize = 3;

/// The declared shape of an error answer, if it has one that is not data. A shape that a success of
/// the same operation has too is data.
fn error_shape(operation: &Operation, status: u16) -> Option<ShapeId> {
    let find = |wanted: StatusRange| {
        operation
            .answers
            .iter()
            .find(|answer| answer.status == wanted)
            .and_then(|answer| answer.shape)
    };
    let shape = find(StatusRange::Exact(status))
        .or_else(|| find(StatusRange::Class(status / 100)))
        .or_else(|| find(StatusRange::Default))?;
    let is_data = operation.answers.iter().any(|answer| {
        answer.shape == Some(shape)
            && matches!(answer.status, StatusRange::Exact(200..=299) | StatusRange::Class(2))
    });
    (!is_data).then_some(shape)
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
) -> Map<String, Value> {
    let mut out = Map::new();
    if let Some(shape) = error_shape(operation, status)
        && let Ok(Value::Object(members)) = serde_json::from_slice::<Value>(body)
    {
        collect(model, operation, shape, &members, MAX_DEPTH, &mut out);
    }
    out
}

fn collect(
    model: &Provider,
    operation: &Operation,
    shape: ShapeId,
    members: &Map<String, Value>,
    depth: usize,
    out: &mut Map<String, Value>,
) {
    let Shape::Object(object) = model.shape(shape) else { return };
    // An error that is the operation's own object, or holds it, is data.
    if depth == 0 || (object.object.is_some() && object.object == operation.object) {
        return;
    }
    for (name, member) in &object.members {
        if out.len() >= MAX_MEMBERS {
            return;
        }
        let is_sensitive = member
            .label
            .as_ref()
            .is_some_and(|label| label.is_sensitive && label.category != "unclassified");
        let Some(value) = members.get(name).filter(|_| !is_sensitive && !member.is_write_only)
        else {
            continue;
        };
        match (model.shape(member.shape), value) {
            (Shape::Scalar { .. }, Value::String(text)) => {
                out.insert(name.clone(), Value::String(masked(text)));
            }
            (Shape::Scalar { .. }, Value::Bool(_) | Value::Number(_)) => {
                out.insert(name.clone(), value.clone());
            }
            (Shape::Object(_), Value::Object(inner)) => {
                let mut nested = Map::new();
                collect(model, operation, member.shape, inner, depth - 1, &mut nested);
                if !nested.is_empty() {
                    out.insert(name.clone(), Value::Object(nested));
                }
            }
            _ => {}
        }
    }
}

/// A text from outside, masked and cut.
pub(crate) fn masked(text: &str) -> String {
    let head: String = text.chars().take(4 * MAX_TEXT_CHARS).collect();
    detect::mask(&head).chars().take(MAX_TEXT_CHARS).collect()
}
