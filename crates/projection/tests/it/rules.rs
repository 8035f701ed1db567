//! The rules one by one, with the offsets of refusals.

use projection::{Limits, Mode, Projector, Refusal, RefusalKind, Spec, parse_list, project_slice};

fn spec(paths: &str) -> Spec {
    Spec::from_paths(&parse_list(paths).unwrap())
}

fn check(paths: &str, input: &str, wanted: &str) {
    let out = project_slice(input.as_bytes(), &spec(paths), &Limits::default());
    assert_eq!(String::from_utf8(out.unwrap()).unwrap(), wanted, "{paths} on {input}");
}

fn refused(paths: &str, input: impl AsRef<[u8]>, offset: u64, code: &str) {
    let input = input.as_ref();
    let shown = String::from_utf8_lossy(input).into_owned();
    let refusal = project_slice(input, &spec(paths), &Limits::default()).unwrap_err();
    assert_eq!((refusal.offset, refusal.reason()), (offset, code), "{paths} on {shown}");
    // Byte by byte it is the same.
    let mut projector = Projector::new(spec(paths), Limits::default(), Mode::Drop);
    let mut out = Vec::new();
    let fed: Result<(), Refusal> =
        input.chunks(1).try_for_each(|byte| projector.feed(byte, &mut out));
    let again = fed.and_then(|()| projector.finish(&mut out).map(drop)).unwrap_err();
    assert_eq!(again, refusal, "{shown}");
}

#[test]
fn named_members_pass_whole_and_containers_are_kept() {
    check("a", r#"{"a":1,"b":2}"#, r#"{"a":1}"#);
    check("a.b", r#"{"a":{"b":1,"c":2},"b":3}"#, r#"{"a":{"b":1}}"#);
    check("a.b", r#"{"a":{"c":2}}"#, r#"{"a":{}}"#);
    check("a[].b", r#"{"a":[{"b":1},{"c":2}]}"#, r#"{"a":[{"b":1},{}]}"#);
    check("a[]", r#"{"a":[1,{"x":2},[3]]}"#, r#"{"a":[1,{"x":2},[3]]}"#);
    check("[].id", r#"[{"id":1,"x":2},{"x":3}]"#, r#"[{"id":1},{}]"#);
    check("[][].id", r#"[[{"id":1}],[]]"#, r#"[[{"id":1}],[]]"#);
    check("*.id", r#"{"x":{"id":1,"y":2},"z":{}}"#, r#"{"x":{"id":1},"z":{}}"#);
    check("*", r#"{"x":{"id":1,"id":2}}"#, r#"{"x":{"id":1,"id":2}}"#);
    check("a,a.b", r#"{"a":{"b":1,"c":2}}"#, r#"{"a":{"b":1,"c":2}}"#);
    check("a.*,a.b.c", r#"{"a":{"b":{"d":1},"e":2}}"#, r#"{"a":{"b":{"d":1},"e":2}}"#);
    check("a.*.x,a.b.c", r#"{"a":{"b":{"c":1,"x":2,"y":3}}}"#, r#"{"a":{"b":{"c":1,"x":2}}}"#);
}

#[test]
fn kinds_that_do_not_fit_are_dropped_and_null_is_kept() {
    check("a.b", r#"{"a":1}"#, "{}");
    check("a.b", r#"{"a":[{"b":1}]}"#, "{}");
    check("a[].b", r#"{"a":{"b":1}}"#, "{}");
    check("a[].b", r#"{"a":[1,"x",null,[{"b":1}],{"b":2}]}"#, r#"{"a":[null,{"b":2}]}"#);
    check("a.b", r#"{"a":null}"#, r#"{"a":null}"#);
    check("a.b,a[].c", r#"{"a":{"b":1}}"#, r#"{"a":{"b":1}}"#);
    check("a.b,a[].c", r#"{"a":[{"c":1,"b":2}]}"#, r#"{"a":[{"c":1}]}"#);
}

#[test]
fn kept_values_keep_their_bytes_and_nothing_else_does() {
    check("a", " { \"a\" : 1e400 , \"b\" : 2 } \n", r#"{"a":1e400}"#);
    check("a", "{\"a\": {\"x\" : [ 1 , 2 ] } }", "{\"a\":{\"x\" : [ 1 , 2 ] }}");
    check("a", r#"{"a":"\ud800\u00e9"}"#, r#"{"a":"\ud800\u00e9"}"#);
    check("a.b", "{\"a\" : { \"b\" : -0.0E+1 } }", r#"{"a":{"b":-0.0E+1}}"#);
}

#[test]
fn names_are_compared_after_decoding_and_written_as_spelled() {
    check("id", r#"{"\u0069d":1}"#, r#"{"\u0069d":1}"#);
    check("😀", r#"{"\ud83d\ude00":1,"x":2}"#, r#"{"\ud83d\ude00":1}"#);
    check("é", "{\"e\u{301}\":1}", "{}");
    check("a", r#"{"\ud800":1,"a":2}"#, r#"{"a":2}"#);
    check(r"a\.b", r#"{"a.b":1,"a":{"b":2}}"#, r#"{"a.b":1}"#);
    check("*", r#"{"\ud800":1}"#, r#"{"\ud800":1}"#);
    let long = "x".repeat(100_000);
    check("a", &format!(r#"{{"{long}":1,"a":2}}"#), r#"{"a":2}"#);
    check("*", &format!(r#"{{"{long}":1}}"#), &format!(r#"{{"{long}":1}}"#));
}

#[test]
fn malformed_json_is_refused_where_it_begins() {
    for (input, offset) in [
        ("{\"a\" 1}", 5),
        ("{a:1}", 1),
        ("{\"a\":1,}", 7),
        ("{,}", 1),
        ("[1,]", 3),
        ("[1 2]", 3),
        ("[01]", 2),
        ("[1.]", 3),
        ("[-]", 2),
        ("[+1]", 1),
        ("[1e]", 3),
        ("[.5]", 1),
        ("[tru]", 4),
        ("[nul1]", 4),
        ("[NaN]", 1),
        ("{\"a\":'x'}", 5),
        ("[\"\\x\"]", 3),
        ("[\"\\u12g4\"]", 6),
        ("[\"a\u{1}\"]", 3),
        ("[\"a\nb\"]", 3),
        ("[1}", 2),
        ("{\"a\":1]", 6),
        ("[}", 1),
        ("{\"x\":{\"y\":tru}}", 13),
        ("// c\n{}", 0),
        ("[\u{a0}1]", 1),
        ("}", 0),
    ] {
        refused("a,[]", input, offset, "malformed");
    }
}

#[test]
fn everything_else_that_is_refused() {
    refused("a", "", 0, "empty");
    refused("a", " \n", 2, "empty");
    refused("a", "{", 1, "truncated");
    refused("a", "{\"a\":1", 6, "truncated");
    refused("a", "{\"a\":\"\u{e9}", 8, "truncated");
    refused("a", "{\"a\":1} x", 8, "trailing_bytes");
    refused("a", "{}{}", 2, "trailing_bytes");
    for scalar in ["null", "1", "\"a\"", "true", "-"] {
        refused("a", scalar, 0, "scalar_document");
        refused("a", format!(" {scalar}"), 1, "scalar_document");
    }
    refused("a", "[1]", 0, "wrong_kind");
    refused("[].a", "{\"a\":1}", 0, "wrong_kind");
    refused("a", "\u{feff}{}", 0, "byte_order_mark");
    refused("a", b"\xEF\xBB{}", 0, "malformed");
    refused("a", " \u{feff}{}", 1, "malformed");
    for bad in [
        &b"\xC0\xAF"[..],
        b"\xC1\x81",
        b"\xE0\x80\x80",
        b"\xED\xA0\x80",
        b"\xF0\x80\x80\x80",
        b"\xF4\x90\x80\x80",
        b"\xF5\x80\x80\x80",
        b"\x80",
        b"\xFF",
        b"\xC3\x28",
        b"\xE2\x82\x28",
        b"\xC3",
    ] {
        for place in ["{\"a\":\"", "{\"x\":\"", "{\""] {
            let mut input = place.as_bytes().to_vec();
            input.extend_from_slice(bad);
            input.extend_from_slice(b"\":1}");
            refused("a", input, place.len() as u64, "invalid_utf8");
        }
    }
}

#[test]
fn names_on_allowed_paths_stand_once() {
    refused("a", r#"{"a":1,"a":2}"#, 7, "duplicate_name");
    refused("a", r#"{"a":1, "\u0061":2}"#, 8, "duplicate_name");
    refused("a.b", r#"{"a":{},"a":{}}"#, 8, "duplicate_name");
    refused("a.b", r#"{"a":1,"a":{}}"#, 7, "duplicate_name");
    refused("a[].b", r#"{"a":[{"b":1},{"b":1,"b":2}]}"#, 21, "duplicate_name");
    refused("a", r#"{"a":1,"a" x}"#, 7, "duplicate_name");
    // Earlier errors win.
    refused("a", r#"{"a":01,"a":2}"#, 6, "malformed");
    // Elsewhere a repetition is nobody's business.
    check("a", r#"{"b":1,"b":2,"a":{"c":1,"c":2}}"#, r#"{"a":{"c":1,"c":2}}"#);
    check("a[].b", r#"{"a":[{"b":1},{"b":2}]}"#, r#"{"a":[{"b":1},{"b":2}]}"#);
    check("*.x", r#"{"a":{"x":1},"a":{"x":2}}"#, r#"{"a":{"x":1},"a":{"x":2}}"#);
    let many: Vec<String> = (0..200).map(|n| format!("n{n}")).collect();
    let members: Vec<String> = many.iter().map(|name| format!("\"{name}\":1")).collect();
    let twice = format!("{{{},\"n130\":2}}", members.join(","));
    let offset = twice.rfind("\"n130\"").unwrap() as u64;
    refused(&many.join(","), &twice, offset, "duplicate_name");
}

#[test]
fn nesting_ends_at_the_limit() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    check("[]", &nested(128), &nested(128));
    refused("[]", nested(129), 128, "too_deep");
    let dropped = format!("{{\"x\":{}}}", nested(127));
    check("a", &dropped, "{}");
    refused("a", format!("{{\"x\":{}}}", nested(128)), 5 + 127, "too_deep");
    let limits = Limits { max_depth: 2, ..Limits::default() };
    let refusal = project_slice(b"[[[]]]", &spec("[]"), &limits).unwrap_err();
    assert_eq!(refusal, Refusal { offset: 2, kind: RefusalKind::TooDeep { limit: 2 } });
}

#[test]
fn the_last_bracket_waits_for_the_end() {
    for input in [r#"{"a":[1,{"b":2}]}"#, r#"[{"a":1}]"#] {
        let mut projector = Projector::new(spec("a,[].a"), Limits::default(), Mode::Drop);
        let mut out = Vec::new();
        projector.feed(input.as_bytes(), &mut out).unwrap();
        assert!(serde_json::from_slice::<serde_json::Value>(&out).is_err());
        let summary = projector.finish(&mut out).unwrap();
        assert_eq!(out, input.as_bytes());
        assert_eq!(summary.input_bytes, input.len() as u64);
    }
}

#[test]
fn a_refused_projector_stays_refused() {
    let mut projector = Projector::new(spec("a"), Limits::default(), Mode::Drop);
    let mut out = Vec::new();
    let first = projector.feed(b"{\"a\":x", &mut out).unwrap_err();
    assert_eq!(projector.feed(b"}", &mut out).unwrap_err(), first);
    assert_eq!(projector.finish(&mut out).unwrap_err(), first);
}
