//! A description means the same in both syntaxes and each time it is read, keeps within its limits,
//! and differs from itself in nothing; its vendor's `x-weirgate-...` have no effect.

use crate::input::parts;
use provider::{LoadLimits, Provider, diff::diff, load_value, parse_document};
use serde_json::Value;

const LIMITS: LoadLimits =
    LoadLimits { max_bytes: 64 << 10, max_depth: 40, max_nodes: 4_000, max_text_bytes: 64 << 10 };

pub(crate) fn hold(data: &[u8]) -> bool {
    let [description, overlay] = parts(data);
    let Ok(document) = parse_document(description, &LIMITS) else { return false };
    let (nodes, depth) = measure(&document);
    assert!(nodes <= LIMITS.max_nodes && depth <= LIMITS.max_depth, "{nodes} {depth}");
    if document.is_object() {
        let json = serde_json::to_vec(&document).expect("a value is written");
        let limits = LoadLimits { max_bytes: usize::MAX, ..LIMITS };
        let again = parse_document(&json, &limits).expect("what was read is read as JSON");
        assert!(is_same(&document, &again), "{document}\n{again}");
    }
    let overlays = match overlay {
        b"" => Vec::new(),
        bytes => match parse_document(bytes, &LIMITS) {
            Ok(overlay) => vec![overlay],
            Err(_) => return false,
        },
    };
    let Ok(provider) = load_value(document.clone(), &overlays, &LIMITS) else { return false };
    let again = load_value(document.clone(), &overlays, &LIMITS).expect("it was loaded before");
    assert_eq!(format!("{provider:?}"), format!("{again:?}"));
    assert!(diff(&provider, &again).is_empty(), "it differs from itself");
    if overlays.is_empty() {
        let mut claimed = document;
        claim(&mut claimed);
        let claimed = load_value(claimed, &[], &LIMITS).expect("it was loaded before");
        assert_eq!(without_remarks(provider), without_remarks(claimed));
    }
    true
}

fn without_remarks(mut provider: Provider) -> String {
    provider.diagnostics.clear();
    format!("{provider:?}")
}

/// Says of everything that it is harmless.
fn claim(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(claim);
            for name in ["x-weirgate-action", "x-weirgate-label", "x-weirgate-object"] {
                members.insert(name.to_owned(), Value::from("read"));
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(claim),
        _ => {}
    }
}

fn measure(value: &Value) -> (usize, usize) {
    let inner: Vec<&Value> = match value {
        Value::Object(members) => members.values().collect(),
        Value::Array(elements) => elements.iter().collect(),
        _ => return (1, 0),
    };
    let measured = inner.into_iter().map(measure);
    let (nodes, depth) =
        measured.fold((1, 0), |(nodes, depth), (more, deep)| (nodes + more, depth.max(deep)));
    (nodes, depth + 1)
}

/// But for the last digit of a fraction, which the reader of JSON rounds for speed.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            let (left, right) = (one.as_f64().unwrap_or(0.0), other.as_f64().unwrap_or(0.0));
            one == other || (left - right).abs() <= left.abs() * 1e-14
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(a, b)| is_same(a, b))
        }
        (Value::Object(one), Value::Object(other)) => {
            let pairs = || one.iter().zip(other);
            one.len() == other.len() && pairs().all(|((n, a), (m, b))| n == m && is_same(a, b))
        }
        (one, other) => one == other,
    }
}
