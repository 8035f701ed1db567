//! Over random documents, paths, spellings and cuts.

use crate::reference;
use projection::{
    Limits, Mode, Path, Projector, Refusal, RefusalKind, Segment, Spec, Summary, project_slice,
};
use proptest::prelude::*;
use serde_json::Value;

const NAMES: [&str; 8] = ["a", "b", "c", "id", "é", "a.b", "", "*"];

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => proptest::sample::select(NAMES.to_vec()).prop_map(ToOwned::to_owned),
        1 => "[a-c]{1,3}",
    ]
}

fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<i16>().prop_map(|eighths| Value::from(f64::from(eighths) / 8.0)),
        "\\PC{0,6}".prop_map(Value::from),
        Just(Value::from("\"\\\u{1}\n😀")),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((name(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn segment() -> impl Strategy<Value = Segment> {
    prop_oneof![
        6 => name().prop_map(Segment::Name),
        1 => Just(Segment::AnyMember),
        3 => Just(Segment::Elements),
    ]
}

fn paths() -> impl Strategy<Value = Vec<Path>> {
    let path = proptest::collection::vec(segment(), 1..5)
        .prop_map(|segments| Path::from_segments(segments).unwrap());
    proptest::collection::vec(path, 1..6)
}

/// Spells a document with white space and escapes that change nothing.
fn spell(value: &Value, taste: &mut impl FnMut() -> u8, out: &mut String) {
    let space = |taste: &mut dyn FnMut() -> u8, out: &mut String| {
        out.push_str(["", "", "", " ", "\n", "\t \r"][usize::from(taste() % 6)]);
    };
    space(taste, out);
    match value {
        Value::Object(members) => {
            out.push('{');
            for (place, (name, member)) in members.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                space(taste, out);
                spell_string(name, taste, out);
                space(taste, out);
                out.push(':');
                spell(member, taste, out);
            }
            space(taste, out);
            out.push('}');
        }
        Value::Array(elements) => {
            out.push('[');
            for (place, element) in elements.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                spell(element, taste, out);
            }
            space(taste, out);
            out.push(']');
        }
        Value::String(text) => spell_string(text, taste, out),
        scalar => out.push_str(&scalar.to_string()),
    }
    space(taste, out);
}

fn spell_string(text: &str, taste: &mut impl FnMut() -> u8, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        if taste().is_multiple_of(4) || c < ' ' || c == '"' || c == '\\' {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    out.push('"');
}

fn spelled(value: &Value, seed: u64) -> String {
    let mut state = seed | 1;
    let mut taste = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[3]
    };
    let mut out = String::new();
    spell(value, &mut taste, &mut out);
    out
}

fn feed(spec: &Spec, parts: &[&[u8]]) -> Result<(Vec<u8>, Summary), Refusal> {
    let mut out = Vec::new();
    let mut projector = Projector::new(spec.clone(), Limits::default(), Mode::Drop);
    for part in parts {
        projector.feed(part, &mut out)?;
    }
    let summary = projector.finish(&mut out)?;
    Ok((out, summary))
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn the_stream_agrees_with_the_tree(value in document(), paths in paths(), seed: u64) {
        let spec = Spec::from_paths(&paths);
        let segments: Vec<&[Segment]> = paths.iter().map(Path::segments).collect();
        let wanted = reference::document(&value, &segments);
        let compact = value.to_string();
        let plain = project_slice(compact.as_bytes(), &spec, &Limits::default());
        match (&wanted, plain) {
            (Some(wanted), Ok(out)) => {
                prop_assert_eq!(String::from_utf8(out).unwrap(), wanted.to_string());
            }
            (None, Err(refusal)) => {
                prop_assert!(matches!(refusal.kind, RefusalKind::ScalarDocument | RefusalKind::WrongKind));
            }
            (wanted, out) => prop_assert!(false, "{wanted:?} and {out:?}"),
        }
        let other = spelled(&value, seed);
        let out = project_slice(other.as_bytes(), &spec, &Limits::default());
        match (wanted, out) {
            (Some(wanted), Ok(out)) => {
                prop_assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), wanted);
            }
            (None, Err(_)) => {}
            (wanted, out) => prop_assert!(false, "{wanted:?} and {out:?}"),
        }
    }

    #[test]
    fn cuts_change_nothing(value in document(), paths in paths(), seed: u64) {
        let spec = Spec::from_paths(&paths);
        let text = spelled(&value, seed);
        let bytes = text.as_bytes();
        let whole = feed(&spec, &[bytes]);
        for cut in 0..=bytes.len() {
            prop_assert_eq!(&feed(&spec, &[&bytes[..cut], &bytes[cut..]]), &whole);
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(&feed(&spec, &single), &whole);
    }

    #[test]
    fn refusals_are_the_same_however_it_is_cut(
        value in document(),
        paths in paths(),
        seed: u64,
        place: prop::sample::Index,
        byte: u8,
    ) {
        let spec = Spec::from_paths(&paths);
        let mut bytes = spelled(&value, seed).into_bytes();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        let whole = feed(&spec, &[&bytes]);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(&feed(&spec, &single), &whole);
        // Another parser, which knows neither our limits nor our paths.
        let is_json = std::str::from_utf8(&bytes).is_ok()
            && serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok();
        match whole {
            Ok(_) => prop_assert!(is_json, "{:?}", String::from_utf8_lossy(&bytes)),
            Err(Refusal { kind, .. }) => {
                let is_ours = matches!(
                    kind,
                    RefusalKind::ScalarDocument | RefusalKind::WrongKind | RefusalKind::DuplicateName
                );
                prop_assert!(is_ours || !is_json, "{kind:?} {:?}", String::from_utf8_lossy(&bytes));
            }
        }
    }

    #[test]
    fn every_truncation_is_refused_at_its_end(value in document(), paths in paths(), seed: u64) {
        let spec = Spec::from_paths(&paths);
        let text = spelled(&value, seed);
        let Ok(_) = feed(&spec, &[text.as_bytes()]) else { return Ok(()) };
        let last = text.trim_end().len();
        for end in 0..last {
            let mut out = Vec::new();
            let mut projector = Projector::new(spec.clone(), Limits::default(), Mode::Drop);
            projector.feed(&text.as_bytes()[..end], &mut out).unwrap();
            let refusal = projector.finish(&mut out).unwrap_err();
            prop_assert_eq!(refusal.offset, end as u64);
            prop_assert!(matches!(refusal.kind, RefusalKind::Truncated | RefusalKind::Empty));
            prop_assert!(serde_json::from_slice::<Value>(&out).is_err());
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200), paths in paths()) {
        let spec = Spec::from_paths(&paths);
        let mut out = Vec::new();
        let mut projector = Projector::new(spec, Limits::default(), Mode::Drop);
        let fed = projector.feed(&bytes, &mut out);
        if fed.and_then(|()| projector.finish(&mut out)).is_err() {
            prop_assert!(serde_json::from_slice::<Value>(&out).is_err());
        }
    }
}
