//! The projector agrees with a plain one over parsed trees, however its input is cut; what it
//! refuses another reader refuses too, but for its own rules; and what it let through passes again.

use crate::input::{Dice, parts, text};
use projection::{
    Limits, Mode, Path, Projector, Refusal, RefusalKind, Segment, Spec, Summary, parse_list,
};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::fmt;

#[path = "../../projection/tests/it/reference.rs"]
#[allow(unreachable_pub, reason = "a module of tests, shared")]
mod reference;

fn project(spec: &Spec, mode: Mode, pieces: &[&[u8]]) -> Result<(Vec<u8>, Summary), Refusal> {
    let mut out = Vec::new();
    let mut projector = Projector::new(spec.clone(), Limits::default(), mode);
    let fed = pieces.iter().try_for_each(|piece| projector.feed(piece, &mut out));
    match fed.and_then(|()| projector.finish(&mut out)) {
        Ok(summary) => Ok((out, summary)),
        Err(refusal) => {
            let is_whole = serde_json::from_slice::<IgnoredAny>(&out).is_ok();
            assert!(!is_whole, "a refused document looks whole");
            Err(refusal)
        }
    }
}

pub(crate) fn hold(data: &[u8]) -> bool {
    let [paths, document] = parts(data);
    let Some(Ok(paths)) = text(paths).map(parse_list) else { return false };
    let spec = Spec::from_paths(&paths);
    let whole = project(&spec, Mode::Drop, &[document]);
    let mut dice = Dice::of(data);
    for pieces in [document.chunks(1).collect(), dice.cut(document), dice.cut(document)] {
        assert_eq!(project(&spec, Mode::Drop, &pieces), whole, "cut otherwise");
    }
    // Another reader, which has no limits and knows no paths.
    let is_json =
        text(document).is_some() && serde_json::from_slice::<IgnoredAny>(document).is_ok();
    let (out, summary) = match whole {
        Err(Refusal { kind, .. }) => {
            let is_ours = matches!(
                kind,
                RefusalKind::ScalarDocument
                    | RefusalKind::WrongKind
                    | RefusalKind::DuplicateName
                    | RefusalKind::TooDeep { .. }
            );
            assert!(is_ours || !is_json, "{kind:?}, and it is JSON");
            return false;
        }
        Ok(passed) => passed,
    };
    assert!(is_json, "what is no JSON passed");
    assert_eq!(summary.input_bytes, document.len() as u64);
    let again = project(&spec, Mode::Drop, &[&out]).expect("what passed once passes");
    assert_eq!(again.0, out, "what passed once passes whole");
    // Whole texts and numbers are needed to compare, and names that stand once.
    let Some(value) = once_each(document) else { return true };
    let segments: Vec<&[Segment]> = paths.iter().map(Path::segments).collect();
    let passed: Value = serde_json::from_slice(&out).expect("what passed is JSON");
    assert_eq!(Some(&passed), reference::document(&value, &segments).as_ref());
    if let Ok((strict, _)) = project(&spec, Mode::Refuse, &[document]) {
        let strict: Value = serde_json::from_slice(&strict).expect("what passed is JSON");
        assert_eq!(strict, value, "something was dropped in silence");
    }
    true
}

/// A document in which no object has a name twice.
fn once_each(document: &[u8]) -> Option<Value> {
    let value: Value = serde_json::from_slice(document).ok()?;
    let Count(given) = serde_json::from_slice(document).ok()?;
    (count(&value) == given).then_some(value)
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(elements) => elements.iter().map(count).sum(),
        Value::Object(members) => members.values().map(count).sum(),
        _ => 0,
    }
}

/// How many values there are, those of repeated names too.
struct Count(usize);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Counter;
        impl<'de> Visitor<'de> for Counter {
            type Value = Count;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_bool<E>(self, _: bool) -> Result<Count, E> {
                Ok(Count(1))
            }
            fn visit_i64<E>(self, _: i64) -> Result<Count, E> {
                Ok(Count(1))
            }
            fn visit_u64<E>(self, _: u64) -> Result<Count, E> {
                Ok(Count(1))
            }
            fn visit_f64<E>(self, _: f64) -> Result<Count, E> {
                Ok(Count(1))
            }
            fn visit_str<E>(self, _: &str) -> Result<Count, E> {
                Ok(Count(1))
            }
            fn visit_unit<E>(self) -> Result<Count, E> {
                Ok(Count(1))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Count, A::Error> {
                let mut sum = 1;
                while let Some(Count(one)) = elements.next_element()? {
                    sum += one;
                }
                Ok(Count(sum))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Count, A::Error> {
                let mut sum = 1;
                while let Some((_, Count(one))) = members.next_entry::<String, _>()? {
                    sum += one;
                }
                Ok(Count(sum))
            }
        }
        reader.deserialize_any(Counter)
    }
}
