//! Specs that are built node by node, as grants compile to them.

use projection::{Edge, Limits, Mode, Projector, Refusal, Rewriter, Spec, SpecBuilder, Summary};

fn run(spec: &Spec, mode: Mode, input: &str) -> Result<(String, Summary), Refusal> {
    let mut projector =
        Projector::new(spec.clone(), Limits::default(), mode).with_rewriter(Box::new(Shout));
    let mut out = Vec::new();
    for byte in input.as_bytes().chunks(3) {
        projector.feed(byte, &mut out)?;
    }
    let summary = projector.finish(&mut out)?;
    Ok((String::from_utf8(out).unwrap(), summary))
}

struct Shout;

impl Rewriter for Shout {
    fn rewrite(&mut self, text: &str) -> Option<String> {
        (!text.contains("no")).then(|| format!("{}\"\u{1}", text.to_uppercase()))
    }

    fn link(&mut self, text: &str) -> Option<String> {
        text.starts_with('/').then(|| format!("gate{text}"))
    }
}

/// {id, ssn: withheld, manager: itself, tags: [scalars], next: rewritten}
fn person() -> Spec {
    let mut builder = SpecBuilder::new();
    let person = builder.node();
    let tags = builder.node();
    builder.elements(tags, Edge::Scalar);
    builder.member(person, "id", Edge::Scalar);
    builder.member(person, "ssn", Edge::Withhold(7));
    builder.member(person, "pay", Edge::Withhold(3));
    builder.member(person, "manager", Edge::Into(person));
    builder.member(person, "tags", Edge::Into(tags));
    builder.member(person, "next", Edge::Rewrite);
    builder.build(Edge::Into(person))
}

#[test]
fn recursion_is_a_cycle() {
    let (out, summary) = run(
        &person(),
        Mode::Drop,
        r#"{"id":1,"ssn":"x","manager":{"id":2,"ssn":"y","manager":{"id":3,"pay":{"a":1},"boss":1}}}"#,
    )
    .unwrap();
    assert_eq!(out, r#"{"id":1,"manager":{"id":2,"manager":{"id":3}}}"#);
    assert_eq!(summary.withheld, [3, 7]);
    assert_eq!((summary.dropped, summary.mismatched), (1, 0));
}

#[test]
fn scalar_leaves_let_scalars_through_only() {
    let (out, summary) = run(
        &person(),
        Mode::Drop,
        r#"{"id":{"ssn":"x"},"tags":["a",{"ssn":"x"},["y"],null,1],"manager":"x"}"#,
    )
    .unwrap();
    assert_eq!(out, r#"{"tags":["a",null,1]}"#);
    assert_eq!(summary.mismatched, 4);
    let (out, _) = run(&person(), Mode::Drop, r#"{"id":null,"tags":null,"next":null}"#).unwrap();
    assert_eq!(out, r#"{"id":null,"tags":null,"next":null}"#);
}

#[test]
fn rewritten_strings_are_whole_or_absent() {
    let rewrite = |input: &str| run(&person(), Mode::Drop, input).unwrap().0;
    assert_eq!(rewrite(r#"{"id":1,"next":"a\u0062c"}"#), r#"{"id":1,"next":"ABC\"\u0001"}"#);
    assert_eq!(rewrite(r#"{"next":"none","id":1}"#), r#"{"id":1}"#);
    assert_eq!(rewrite(r#"{"next":17,"id":1}"#), r#"{"next":17,"id":1}"#);
    assert_eq!(rewrite(r#"{"next":{"a":"b"},"id":1}"#), r#"{"id":1}"#);
    assert_eq!(rewrite(r#"{"next":"\ud800","id":1}"#), r#"{"id":1}"#);
    let long = "x".repeat(9_000);
    assert_eq!(rewrite(&format!(r#"{{"next":"{long}","id":1}}"#)), r#"{"id":1}"#);
    let silent = Projector::new(person(), Limits::default(), Mode::Drop);
    let mut out = Vec::new();
    let mut silent = silent;
    silent.feed(br#"{"next":"a"}"#, &mut out).unwrap();
    silent.finish(&mut out).unwrap();
    assert_eq!(out, b"{}");
}

#[test]
fn an_empty_node_keeps_and_empties_either_kind() {
    let mut builder = SpecBuilder::new();
    let root = builder.node();
    let spec = builder.build(Edge::Into(root));
    assert_eq!(run(&spec, Mode::Drop, r#"{"a":1}"#).unwrap().0, "{}");
    assert_eq!(run(&spec, Mode::Drop, r#"[1,{"a":2}]"#).unwrap().0, "[]");
}

#[test]
fn the_wider_of_two_edges_wins() {
    let wider = |edges: &[Edge], input: &str| {
        let mut builder = SpecBuilder::new();
        let root = builder.node();
        let first = builder.node();
        builder.member(first, "x", Edge::Scalar);
        let second = builder.node();
        builder.member(second, "y", Edge::Scalar);
        for edge in edges {
            let edge = match edge {
                Edge::Into(_) if builder_is_first(*edge) => Edge::Into(first),
                Edge::Into(_) => Edge::Into(second),
                other => *other,
            };
            builder.member(root, "m", edge);
        }
        run(&builder.build(Edge::Into(root)), Mode::Drop, input).unwrap().0
    };
    let (a, b) = two_nodes();
    assert_eq!(wider(&[Edge::Withhold(1), Edge::Scalar], r#"{"m":1}"#), r#"{"m":1}"#);
    assert_eq!(wider(&[Edge::Scalar, Edge::Rewrite], r#"{"m":"a"}"#), r#"{"m":"a"}"#);
    assert_eq!(wider(&[a, Edge::Whole], r#"{"m":{"z":1}}"#), r#"{"m":{"z":1}}"#);
    assert_eq!(wider(&[a, Edge::Scalar], r#"{"m":1}"#), r#"{"m":1}"#);
    assert_eq!(wider(&[a, b], r#"{"m":{"x":1,"y":2,"z":3}}"#), r#"{"m":{"x":1,"y":2}}"#);
    assert_eq!(wider(&[a], r#"{"m":{"x":1,"y":2,"z":3}}"#), r#"{"m":{"x":1}}"#);
}

fn two_nodes() -> (Edge, Edge) {
    let mut builder = SpecBuilder::new();
    (Edge::Into(builder.node()), Edge::Into(builder.node()))
}

fn builder_is_first(edge: Edge) -> bool {
    edge == two_nodes().0
}

#[test]
fn a_named_edge_hides_the_one_for_any_name() {
    let mut builder = SpecBuilder::new();
    let root = builder.node();
    builder.any_member(root, Edge::Scalar);
    builder.member(root, "ssn", Edge::Withhold(0));
    let spec = builder.build(Edge::Into(root));
    let (out, summary) = run(&spec, Mode::Drop, r#"{"a":1,"ssn":2,"b":3}"#).unwrap();
    assert_eq!(out, r#"{"a":1,"b":3}"#);
    assert_eq!(summary.withheld, [0]);
}

#[test]
fn refusing_names_the_first_that_is_not_allowed() {
    for (input, path, offset) in [
        (r#"{"id":1,"x":2}"#, "x", 8),
        (r#"{"ssn":1}"#, "ssn", 1),
        (r#"{"manager":{"manager":{"pay":1}}}"#, "manager.manager.pay", 23),
        (r#"{"tags":["a",{"b":1}]}"#, "tags[]", 13),
        (r#"{"id":{"a":1}}"#, "id", 1),
        (r#"{"a.b":1}"#, r"a\.b", 1),
        (r#"{"manager":{"\u0070ay":1}}"#, "manager.pay", 12),
    ] {
        let refusal = run(&person(), Mode::Refuse, input).unwrap_err();
        assert_eq!(refusal.reason(), "undeclared", "{input}");
        assert_eq!(refusal.to_string(), format!("`{path}` is not allowed at byte {offset}"));
    }
    let (out, _) = run(&person(), Mode::Refuse, r#" {"id" : 1, "tags": [ "a" ]}"#).unwrap();
    assert_eq!(out, r#"{"id":1,"tags":["a"]}"#);
}

#[test]
fn cursors_may_be_numbers_and_links_are_references() {
    let mut builder = SpecBuilder::new();
    let root = builder.node();
    builder.member(root, "next", Edge::Rewrite);
    builder.member(root, "first", Edge::Link);
    let spec = builder.build(Edge::Into(root));
    for (input, wanted) in [
        (r#"{"next":2,"first":4111111111111111}"#, r#"{"next":2}"#),
        (r#"{"next":true,"first":false}"#, r#"{"next":true}"#),
        (r#"{"next":null,"first":null}"#, r#"{"next":null,"first":null}"#),
        (r#"{"first":"/a"}"#, r#"{"first":"gate/a"}"#),
        (r#"{"first":"Smith","next":{"a":1}}"#, "{}"),
    ] {
        assert_eq!(run(&spec, Mode::Drop, input).unwrap().0, wanted);
    }
}

#[test]
fn a_container_is_emptied_only_where_all_of_it_is_allowed() {
    let mut builder = SpecBuilder::new();
    let root = builder.node();
    for (name, is_whole) in [("part", false), ("whole", true)] {
        let list = builder.node();
        let item = builder.node();
        builder.member(item, "a", Edge::Scalar);
        builder.elements(list, Edge::Into(item));
        if is_whole {
            builder.may_be_emptied(list);
            builder.may_be_emptied(item);
        }
        builder.member(root, name, Edge::Into(list));
    }
    builder.member(root, "id", Edge::Scalar);
    let spec = builder.build(Edge::Into(root));
    for (input, path, offset) in [
        (r#"{"id":null,"part":null}"#, "part", 11),
        (r#"{"part":[ ]}"#, "part", 10),
        (r#"{"part":[{"a":1},null]}"#, "part[]", 17),
    ] {
        let refusal = run(&spec, Mode::Refuse, input).unwrap_err();
        assert_eq!((refusal.reason(), refusal.offset), ("emptied", offset), "{input}");
        assert!(refusal.to_string().starts_with(&format!("`{path}` would be emptied")));
    }
    for input in [r#"{"whole":null}"#, r#"{"whole":[]}"#, r#"{"whole":[null]}"#, r#"{"part":[{}]}"#]
    {
        assert_eq!(run(&spec, Mode::Refuse, input).unwrap().0, input);
    }
    // Answers are no writes.
    let answer = r#"{"part":[]}"#;
    assert_eq!(run(&spec, Mode::Drop, answer).unwrap().0, answer);
}

#[test]
fn lists_that_would_replace_others_are_refused_where_that_is_said() {
    let mut builder = SpecBuilder::new();
    let (root, list, item) = (builder.node(), builder.node(), builder.node());
    builder.member(item, "a", Edge::Scalar);
    builder.member(list, "b", Edge::Scalar);
    builder.elements(list, Edge::Into(item));
    builder.refuse_lists(list);
    builder.member(root, "one", Edge::Into(list));
    builder.elements(root, Edge::Into(list));
    let spec = builder.build(Edge::Into(root));
    for (input, path, offset) in [
        (r#"{"one":[{"a":1}]}"#, "one", 1),
        (r#"{"one" : []}"#, "one", 1),
        (r#"[{"b":1}, [{}]]"#, "[]", 10),
    ] {
        let refusal = run(&spec, Mode::Refuse, input).unwrap_err();
        assert_eq!((refusal.reason(), refusal.offset), ("list_in_part", offset), "{input}");
        assert!(refusal.to_string().starts_with(&format!("`{path}` would replace a list")));
    }
    assert_eq!(run(&spec, Mode::Refuse, r#"{"one":{"b":1}}"#).unwrap().0, r#"{"one":{"b":1}}"#);
    // Answers replace nothing.
    assert_eq!(run(&spec, Mode::Drop, r#"{"one":[{"a":1}]}"#).unwrap().0, r#"{"one":[{"a":1}]}"#);
}

#[test]
fn of_declared_words_no_other_passes() {
    let mut builder = SpecBuilder::new();
    let root = builder.node();
    let words = builder.words(["on", "in progress", "ü\"", "https://a/b"].map(str::to_owned));
    let fewer = builder.words(["off".to_owned()]);
    builder.member(root, "status", Edge::OneOf(words));
    builder.member(root, "twice", Edge::Withhold(1));
    builder.member(root, "twice", Edge::OneOf(words));
    builder.member(root, "twice", Edge::OneOf(fewer));
    builder.member(root, "wider", Edge::OneOf(words));
    builder.member(root, "wider", Edge::Link);
    let node = builder.node();
    builder.member(node, "a", Edge::Scalar);
    builder.member(root, "both", Edge::OneOf(words));
    builder.member(root, "both", Edge::Into(node));
    let spec = builder.build(Edge::Into(root));
    for (input, wanted) in [
        (r#"{"status":"on"}"#, r#"{"status":"on"}"#),
        (r#"{"status":"o\u006e"}"#, r#"{"status":"on"}"#),
        (r#"{"status":"in progress"}"#, r#"{"status":"in progress"}"#),
        (r#"{"status":"\u00fc\""}"#, r#"{"status":"ü\""}"#),
        (r#"{"status":"https://a/b"}"#, r#"{"status":"https://a/b"}"#),
        (r#"{"status":200}"#, "{}"),
        (r#"{"status":true}"#, "{}"),
        (r#"{"status":null}"#, r#"{"status":null}"#),
        (r#"{"status":"On"}"#, "{}"),
        (r#"{"status":"on "}"#, "{}"),
        (r#"{"status":""}"#, "{}"),
        (r#"{"status":"Jane.Doe-123-45-6789"}"#, "{}"),
        (r#"{"status":["on"]}"#, "{}"),
        (r#"{"status":{"on":"on"}}"#, "{}"),
        (r#"{"twice":"off"}"#, r#"{"twice":"off"}"#),
        (r#"{"twice":"on"}"#, "{}"),
        (r#"{"wider":"/a"}"#, r#"{"wider":"gate/a"}"#),
        (r#"{"both":"on"}"#, r#"{"both":"on"}"#),
        (r#"{"both":"off"}"#, "{}"),
        (r#"{"both":{"a":1}}"#, r#"{"both":{"a":1}}"#),
    ] {
        assert_eq!(run(&spec, Mode::Drop, input).unwrap().0, wanted, "{input}");
    }
    // Nothing is rewritten, so that nobody is needed who does.
    let found = projection::project_slice(br#"{"status":"on"}"#, &spec, &Limits::default());
    assert_eq!(found.unwrap(), br#"{"status":"on"}"#);
    assert!(run(&spec, Mode::Refuse, r#"{"status":"off"}"#).is_err());
}

#[test]
fn a_count_is_an_integer_or_a_boolean() {
    let mut builder = SpecBuilder::new();
    let root = builder.node();
    builder.member(root, "n", Edge::Count);
    let node = builder.node();
    builder.member(node, "a", Edge::Scalar);
    builder.member(root, "both", Edge::Count);
    builder.member(root, "both", Edge::Into(node));
    builder.member(root, "wider", Edge::Count);
    builder.member(root, "wider", Edge::Scalar);
    builder.member(root, "z", Edge::Scalar);
    let spec = builder.build(Edge::Into(root));
    for (input, wanted) in [
        (r#"{"n":0,"z":1}"#, r#"{"n":0,"z":1}"#),
        (r#"{"n":-12 , "z":1}"#, r#"{"n":-12,"z":1}"#),
        (r#"{"n":12345678901234567890}"#, r#"{"n":12345678901234567890}"#),
        (r#"{"n":true}"#, r#"{"n":true}"#),
        (r#"{"n":null}"#, r#"{"n":null}"#),
        (r#"{"n":123456789012345678901}"#, "{}"),
        (r#"{"n":1.5,"z":1}"#, r#"{"z":1}"#),
        (r#"{"n":1.0}"#, "{}"),
        (r#"{"n":1e3}"#, "{}"),
        (r#"{"n":"1"}"#, "{}"),
        (r#"{"n":[1]}"#, "{}"),
        (r#"{"n":{"a":1}}"#, "{}"),
        (r#"{"both":7}"#, r#"{"both":7}"#),
        (r#"{"both":7.5}"#, "{}"),
        (r#"{"both":{"a":7.5}}"#, r#"{"both":{"a":7.5}}"#),
        (r#"{"wider":7.5}"#, r#"{"wider":7.5}"#),
    ] {
        assert_eq!(run(&spec, Mode::Drop, input).unwrap().0, wanted, "{input}");
        // However it is cut.
        let mut projector = Projector::new(spec.clone(), Limits::default(), Mode::Drop);
        let mut out = Vec::new();
        for byte in input.as_bytes() {
            projector.feed(&[*byte], &mut out).unwrap();
        }
        projector.finish(&mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), wanted, "{input}");
    }
    for input in [r#"{"n":01}"#, r#"{"n":-}"#, r#"{"n":1.}"#] {
        assert!(run(&spec, Mode::Drop, input).is_err(), "{input}");
    }
    assert_eq!(run(&spec, Mode::Refuse, r#"{"n":1.5}"#).unwrap_err().reason(), "undeclared");
}
