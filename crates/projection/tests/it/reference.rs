//! The same projection over a parsed tree, written for clarity: what the stream must agree with.

use projection::Segment;
use serde_json::{Map, Value};

/// `None` where the document is refused: a scalar, or of a kind that no path fits.
pub fn document(value: &Value, paths: &[&[Segment]]) -> Option<Value> {
    match value {
        Value::Object(_) | Value::Array(_) => inside(value, paths),
        _ => None,
    }
}

/// What of a value passes; `None` drops it.
fn inside(value: &Value, paths: &[&[Segment]]) -> Option<Value> {
    if paths.iter().any(|path| path.is_empty()) || value.is_null() {
        return Some(value.clone());
    }
    match value {
        Value::Object(members) => {
            let fits = |segment: &Segment| *segment != Segment::Elements;
            if !paths.iter().any(|path| fits(&path[0])) {
                return None;
            }
            let mut kept = Map::new();
            for (name, member) in members {
                let rest: Vec<&[Segment]> = paths
                    .iter()
                    .filter(|path| match &path[0] {
                        Segment::Name(allowed) => allowed == name,
                        Segment::AnyMember => true,
                        Segment::Elements => false,
                    })
                    .map(|path| &path[1..])
                    .collect();
                if rest.is_empty() {
                    continue;
                }
                if let Some(member) = inside(member, &rest) {
                    kept.insert(name.clone(), member);
                }
            }
            Some(Value::Object(kept))
        }
        Value::Array(elements) => {
            let rest: Vec<&[Segment]> = paths
                .iter()
                .filter(|path| path[0] == Segment::Elements)
                .map(|path| &path[1..])
                .collect();
            if rest.is_empty() {
                return None;
            }
            Some(elements.iter().filter_map(|element| inside(element, &rest)).collect())
        }
        _ => None,
    }
}
