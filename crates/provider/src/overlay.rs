//! OpenAPI Overlay 1.0 and 1.1: what an operator adds to a description without touching it.

use crate::{
    document::{EXTENSION, MAX_DIAGNOSTICS, escape},
    model::Diagnostic,
};
use serde_json::{Map, Value};
use serde_json_path::JsonPath;

/// The most actions of an overlay.
const MAX_ACTIONS: usize = 2_000;

/// Why an overlay cannot be applied; `action` counts from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OverlayError {
    #[error("the overlay is no OpenAPI Overlay 1.0 or 1.1: {reason}")]
    NotAnOverlay { reason: &'static str },
    #[error("action {action} of the overlay has no `target`")]
    NoTarget { action: usize },
    #[error("the JSONPath of action {action} of the overlay cannot be read: {reason}")]
    Path { action: usize, reason: String },
    #[error("`copy` of action {action} of the overlay must select exactly one value, not {count}")]
    Copy { action: usize, count: usize },
    #[error("action {action} of the overlay has neither `update`, `remove` nor `copy`")]
    Nothing { action: usize },
    #[error("action {action} of the overlay would add more than {limit} values to the description")]
    TooLarge { action: usize, limit: usize },
    #[error("action {action} of the overlay would nest the description deeper than {limit}")]
    TooDeep { action: usize, limit: usize },
}

/// What an overlay may add.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) max_nodes: usize,
    pub(crate) max_depth: usize,
}

/// Applies all actions in order. One that selects nothing is remarked upon: it may be a typing error.
pub(crate) fn apply(
    document: &mut Value,
    overlay: &Value,
    room: Room,
    remarks: &mut Vec<Diagnostic>,
) -> Result<(), OverlayError> {
    let mut left = room.max_nodes;
    let refuse = |reason| OverlayError::NotAnOverlay { reason };
    let version = overlay.get("overlay").and_then(Value::as_str).unwrap_or_default();
    if !(version.starts_with("1.0") || version.starts_with("1.1")) {
        return Err(refuse("`overlay` is not 1.0.x or 1.1.x"));
    }
    let actions = overlay
        .get("actions")
        .and_then(Value::as_array)
        .ok_or_else(|| refuse("`actions` is no list"))?;
    if actions.len() > MAX_ACTIONS {
        return Err(refuse("it has too many actions"));
    }
    for (number, action) in actions.iter().enumerate() {
        let mut budget = Budget { number, room, left: &mut left };
        if !act(document, action, &mut budget)? {
            remarks.push(Diagnostic {
                pointer: format!("/actions/{number}"),
                code: "overlay_without_effect",
                message: "the overlay's action selects nothing".to_owned(),
            });
        }
    }
    Ok(())
}

/// Takes our own extensions out of a description as its vendor gives it: what they say is the
/// operator's to say.
pub(crate) fn ignore_extensions(document: &mut Value, remarks: &mut Vec<Diagnostic>) {
    strip(document, &mut String::new(), remarks);
}

/// Documents are never deeper than the limit of reading them.
fn strip(value: &mut Value, pointer: &mut String, remarks: &mut Vec<Diagnostic>) {
    let length = pointer.len();
    match value {
        Value::Object(members) => {
            members.retain(|name, _| {
                let is_ours = name.starts_with(EXTENSION);
                if is_ours && remarks.len() < MAX_DIAGNOSTICS {
                    remarks.push(Diagnostic {
                        pointer: format!("{pointer}/{}", escape(name)),
                        code: "extension_ignored",
                        message: "x-weirgate-... counts in an overlay only".to_owned(),
                    });
                }
                !is_ours
            });
            for (name, inner) in members {
                pointer.push('/');
                pointer.push_str(&escape(name));
                strip(inner, pointer, remarks);
                pointer.truncate(length);
            }
        }
        Value::Array(elements) => {
            for (index, inner) in elements.iter_mut().enumerate() {
                pointer.push_str(&format!("/{index}"));
                strip(inner, pointer, remarks);
                pointer.truncate(length);
            }
        }
        _ => {}
    }
}

/// What the actions so far have left of the room.
struct Budget<'b> {
    number: usize,
    room: Room,
    left: &'b mut usize,
}

impl Budget<'_> {
    /// Copies multiply: an overlay is bounded before it grows, as a document is.
    fn take(&mut self, value: &Value, places: &[String]) -> Result<(), OverlayError> {
        let (nodes, depth) = measure(value);
        let deepest = places.iter().map(|place| place.matches('/').count()).max().unwrap_or(0);
        if deepest + depth > self.room.max_depth {
            return Err(OverlayError::TooDeep { action: self.number, limit: self.room.max_depth });
        }
        let cost = nodes.saturating_mul(places.len());
        *self.left = self
            .left
            .checked_sub(cost)
            .ok_or(OverlayError::TooLarge { action: self.number, limit: self.room.max_nodes })?;
        Ok(())
    }
}

/// Values in a value, and its nesting. Documents are never deeper than the limit of reading them.
fn measure(value: &Value) -> (usize, usize) {
    let mut inner: Box<dyn Iterator<Item = &Value>> = match value {
        Value::Object(members) => Box::new(members.values()),
        Value::Array(elements) => Box::new(elements.iter()),
        _ => return (1, 0),
    };
    let (nodes, depth) = inner
        .by_ref()
        .map(measure)
        .fold((1, 0), |(nodes, depth), (more, deep)| (nodes + more, depth.max(deep)));
    (nodes, depth + 1)
}

fn act(
    document: &mut Value,
    action: &Value,
    budget: &mut Budget<'_>,
) -> Result<bool, OverlayError> {
    let number = budget.number;
    let target = action.get("target").and_then(Value::as_str);
    let target = target.ok_or(OverlayError::NoTarget { action: number })?;
    let places = select(document, target, number)?;
    if action.get("remove").and_then(Value::as_bool).unwrap_or(false) {
        // From the end, so that the places of earlier elements stay right.
        for place in places.iter().rev() {
            remove(document, place);
        }
        return Ok(!places.is_empty());
    }
    let copied = match action.get("copy").and_then(Value::as_str) {
        Some(path) => {
            let sources = select(document, path, number)?;
            let [source] = sources.as_slice() else {
                return Err(OverlayError::Copy { action: number, count: sources.len() });
            };
            document.pointer(source).cloned()
        }
        None => None,
    };
    let update = action.get("update");
    if copied.is_none() && update.is_none() {
        return Err(OverlayError::Nothing { action: number });
    }
    for value in copied.iter().chain(update) {
        budget.take(value, &places)?;
    }
    for place in &places {
        if let Some(target) = document.pointer_mut(place) {
            for value in copied.iter().chain(update) {
                merge(target, value);
            }
        }
    }
    Ok(!places.is_empty())
}

/// Places as JSON pointers, in document order.
fn select(document: &Value, path: &str, number: usize) -> Result<Vec<String>, OverlayError> {
    // Each descendant segment multiplies the places that are looked at.
    if path.matches("..").count() > 2 {
        let reason = "it has more than two descendant segments".to_owned();
        return Err(OverlayError::Path { action: number, reason });
    }
    let path = JsonPath::parse(path).map_err(|error| OverlayError::Path {
        action: number,
        reason: error.to_string().chars().take(200).collect(),
    })?;
    Ok(path
        .query_located(document)
        .locations()
        .map(serde_json_path::NormalizedPath::to_json_pointer)
        .collect())
}

fn remove(document: &mut Value, place: &str) {
    let Some((parent, key)) = place.rsplit_once('/') else { return };
    let key = key.replace("~1", "/").replace("~0", "~");
    match document.pointer_mut(parent) {
        Some(Value::Object(members)) => {
            members.shift_remove(&key);
        }
        Some(Value::Array(elements)) => {
            if let Some(index) = key.parse().ok().filter(|index| *index < elements.len()) {
                let _: Value = elements.remove(index);
            }
        }
        _ => {}
    }
}

/// Objects merge member by member, arrays grow, everything else is replaced.
fn merge(target: &mut Value, value: &Value) {
    match (target, value) {
        (Value::Object(target), Value::Object(members)) => merge_members(target, members),
        (Value::Array(target), Value::Array(elements)) => target.extend(elements.iter().cloned()),
        (Value::Array(target), element) => target.push(element.clone()),
        (target, value) => *target = value.clone(),
    }
}

fn merge_members(target: &mut Map<String, Value>, members: &Map<String, Value>) {
    for (name, value) in members {
        match target.get_mut(name) {
            Some(inner) => merge(inner, value),
            None => {
                target.insert(name.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ROOM: Room = Room { max_nodes: 1_000, max_depth: 20 };

    fn applied(actions: &Value) -> Result<(Value, usize), OverlayError> {
        let mut document = json!({
            "a": {"b": 1, "list": [1, 2, 3]},
            "c": {"b": 2},
            "x/y": {"b": 3},
        });
        let mut remarks = Vec::new();
        let overlay = json!({"overlay": "1.1.0", "actions": actions});
        apply(&mut document, &overlay, ROOM, &mut remarks)?;
        Ok((document, remarks.len()))
    }

    #[test]
    fn actions_update_remove_and_copy_in_order() {
        let (document, remarks) = applied(&json!([
            {"target": "$.a", "update": {"b": 9, "new": {"k": true}}},
            {"target": "$.a.list", "update": [4]},
            {"target": "$.a.list[?@ < 3]", "remove": true},
            {"target": "$['x/y']", "copy": "$.c"},
            {"target": "$.c", "remove": true},
        ]))
        .unwrap();
        assert_eq!(
            document,
            json!({"a": {"b": 9, "list": [3, 4], "new": {"k": true}}, "x/y": {"b": 2}})
        );
        assert_eq!(remarks, 0);
    }

    #[test]
    fn what_selects_nothing_is_remarked_upon() {
        let (_, remarks) = applied(&json!([{"target": "$.nope", "update": 1}])).unwrap();
        assert_eq!(remarks, 1);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (actions, wanted) in [
            (json!([{"update": 1}]), OverlayError::NoTarget { action: 0 }),
            (json!([{"target": "$.a"}]), OverlayError::Nothing { action: 0 }),
            (json!([{"target": "$.a", "copy": "$.*"}]), OverlayError::Copy { action: 0, count: 3 }),
        ] {
            assert_eq!(applied(&actions).unwrap_err(), wanted);
        }
        assert!(matches!(
            applied(&json!([{"target": "$[", "remove": true}])),
            Err(OverlayError::Path { action: 0, .. })
        ));
        let mut document = json!({});
        for overlay in
            [json!({}), json!({"overlay": "2.0.0", "actions": []}), json!({"overlay": "1.0.0"})]
        {
            assert!(apply(&mut document, &overlay, ROOM, &mut Vec::new()).is_err());
        }
    }

    #[test]
    fn copies_that_multiply_are_refused_while_they_grow() {
        let double = vec![json!({"target": "$.a", "copy": "$"}); 30];
        assert!(matches!(applied(&json!(double)), Err(OverlayError::TooLarge { .. })));
        let chain = (0..25).fold(json!(1), |inner, _| json!({"x": inner}));
        let deep = json!([{"target": "$.a", "update": chain}]);
        assert!(matches!(applied(&deep), Err(OverlayError::TooDeep { .. })));
        let wide = vec![json!({"target": "$.a.list", "copy": "$.a.list"}); 30];
        assert!(matches!(applied(&json!(wide)), Err(OverlayError::TooLarge { .. })));
        let path = json!([{"target": "$..*..*..*", "remove": true}]);
        assert!(matches!(applied(&path), Err(OverlayError::Path { .. })));
    }
}
