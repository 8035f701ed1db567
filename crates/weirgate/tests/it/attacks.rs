//! Ways round a grant or past the search for the credential that an attack has found.

use crate::world::{CREDENTIAL, GRANTS, World, code, fails, ok};
use std::time::Duration;
use testkit::{Answer, THING_DESCRIPTION, wait_until};

fn import(world: &World, description: &str) {
    assert_ne!(description, THING_DESCRIPTION);
    let file = world.weirgate.file("other.yaml", description).unwrap();
    let args = ["provider", "import", &file, "--name", "things", "--server", world.provider.url()];
    let rest = ["--allow-private-network", world.provider.host_port(), "--json"];
    ok(&world.weirgate, &[&args[..], &rest[..]].concat());
}

fn photos(operations: &str) -> String {
    format!(
        "{GRANTS}\n[[grant]]\nclient = \"reader\"\nprovider = \"things\"\npurpose = \"photos\"\n\
         expires = \"2999-12-31\"\nallow = [ {{ actions = [\"download\"], operations = \
         [{operations}] }} ]\n"
    )
}

/// Who grants `GET /things/{id}/photo` means what is at that place.
#[test]
fn a_vendors_id_takes_no_grant_of_another_operation() {
    let mut world = World::prepared();
    let other = "paths:\n  /aaa/{id}:\n    parameters:\n      - { name: id, in: path, required: true, \
                 schema: { type: string } }\n    delete:\n      operationId: \"GET /things/{id}/photo\"\n      \
                 responses:\n        \"200\": { description: Gone, content: { image/png: {} } }\n";
    import(&world, &THING_DESCRIPTION.replace("paths:\n", other));
    world.apply(&photos("\"GET /things/{id}/photo\""));
    world.serve();
    let answer = world.send("DELETE", "/aaa/1", &[], b"");
    assert_eq!((answer.status, code(&answer).as_str()), (403, "not_granted"));
    assert_eq!(world.get("/things/1/photo").status, 200);
    let sent: Vec<String> =
        world.provider.requests().iter().map(|one| one.method.clone()).collect();
    assert_eq!(sent, ["GET"]);
    world.stop();
}

#[test]
fn what_changes_something_is_no_download() {
    let world = World::prepared();
    let file = world.weirgate.file("bad/a.toml", photos("\"delete_thing\"")).unwrap();
    let dir = std::path::Path::new(&file).parent().unwrap().display().to_string();
    let said = fails(&world.weirgate, 2, &["apply", &dir], b"");
    assert!(said.contains("none of the actions is one of `DELETE /things/{id}`"), "{said}");
}

#[test]
fn the_head_of_a_download_has_a_declared_type() {
    let mut world = World::prepared();
    world.apply(&photos("\"get_photo\""));
    world.serve();
    let of = |kind: &str| Answer::body(200, kind, "").header("x-other", "1");
    world.provider.on("HEAD /things/1/photo", of("image/png"));
    let answer = world.send("HEAD", "/things/1/photo", &[], b"");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/png")));
    world.provider.on("HEAD /things/1/photo", of(&format!("text/{CREDENTIAL}")));
    let answer = world.send("HEAD", "/things/1/photo", &[], b"");
    assert_eq!(answer.status, 502);
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    world.stop();
}

/// An operation that needs no credential gets none; the provider knows it all the same.
#[test]
fn an_open_operation_repeats_no_credential() {
    let mut world = World::prepared();
    let open = "operationId: get_thing\n      security: []\n";
    import(&world, &THING_DESCRIPTION.replace("operationId: get_thing\n", open));
    world.apply(GRANTS);
    world.serve();
    let name = |name: &str| {
        let body = serde_json::json!({"id": "1", "name": name});
        world.provider.on("GET /things/1", Answer::json(200, &body));
        world.get("/things/1")
    };
    assert_eq!(name("harmless").status, 200);
    assert_eq!(world.provider.last_request().unwrap().header("authorization"), None);
    let answer = name(&format!("last auth: Bearer {CREDENTIAL}"));
    assert_eq!((answer.status, code(&answer).as_str()), (502, "credential_echoed"));
    assert!(!answer.text().contains(CREDENTIAL));
    world.stop();
}

#[test]
fn names_of_headers_carry_nothing() {
    let world = World::serving();
    let answer = Answer::json(200, &testkit::things::thing("1"))
        .header("x-ratelimit-remaining", "7")
        .header("x-ratelimit-limit-requests", "100")
        .header(&format!("x-ratelimit-{CREDENTIAL}-remaining"), "5")
        .header("ratelimit-jane-doe-limit", "3");
    world.provider.on("GET /things/1", answer);
    let answer = world.get("/things/1");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let limits: Vec<&str> = answer
        .headers
        .iter()
        .filter(|(name, _)| name.contains("ratelimit"))
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(limits, ["x-ratelimit-remaining", "x-ratelimit-limit-requests"]);
}

/// A header that chooses whose data it is reaches the operations that declare it; and a fixed one
/// is not said again in the spelling that CGI takes for the same.
#[test]
fn a_granted_header_reaches_those_that_declare_it() {
    let mut world = World::prepared();
    let declared = "- { name: X-Tenant, in: header,";
    let both = format!("- {{ name: X_Tenant, in: header }}\n        {declared}");
    import(&world, &THING_DESCRIPTION.replace(declared, &both));
    let headers = "headers = [\"X_Tenant\", \"X-Tenant\"], fields = [\"id\"]";
    let grants = format!(
        "[[grant]]\nclient = \"reader\"\nprovider = \"things\"\npurpose = \"p\"\nexpires = \
         \"2999-12-31\"\nallow = [ {{ object = \"Thing\", actions = [\"read\"], {headers} }} ]\n"
    );
    world.apply(&grants);
    let args = ["connection", "create", "--provider", "things", "--customer", "c", "--scheme"];
    let rest = ["bearer", "--secret-file", "-", "--header", "X-Tenant=acme", "--json"];
    let all: Vec<&str> = args.into_iter().chain(rest).collect();
    let made = crate::world::ok_with(&world.weirgate, &all, br#"{"token":"another-token"}"#);
    world.serve();
    let sent = |world: &World, path: &str| {
        world.send("GET", path, &[("X-Tenant", "a"), ("X_Tenant", "b")], b"");
        let request = world.provider.last_request().unwrap();
        let value = |name| request.header(name).map(str::to_owned);
        (value("x-tenant"), value("x_tenant"))
    };
    assert_eq!(sent(&world, "/things"), (Some("a".into()), Some("b".into())));
    assert_eq!(sent(&world, "/things/1"), (None, None));
    world.connection = crate::world::text(&made, "id");
    wait_until(Duration::from_secs(2), || {
        (sent(&world, "/things") == (Some("acme".into()), None)).then_some(())
    });
    world.stop();
}

#[test]
fn a_key_given_for_its_id_is_not_repeated() {
    let world = World::prepared();
    let said = fails(&world.weirgate, 2, &["client", "key", "revoke", &world.key], b"");
    assert!(!said.contains(&world.key) && said.contains("is a key itself"), "{said}");
    let server = "https://user:s3cret#x@h.example";
    let file = world.weirgate.file("t.yaml", THING_DESCRIPTION).unwrap();
    let args = ["provider", "import", &file, "--name", "n", "--server", server];
    let output = world.weirgate.run(&args, b"").unwrap();
    assert_ne!(output.status, Some(0));
    assert!(!output.err().contains("s3cret"), "{}", output.err());
}

/// A description of what fields do not judge, beside the things.
fn opaque_description() -> String {
    let operation = |path: &str, method: &str, media: &str, schema: &str| {
        format!(
            "  {path}:\n    {method}:\n      requestBody: {{ content: {{ {media}: {{ schema: {schema} \
             }} }} }}\n      responses:\n        \"200\": {{ description: Done, content: {{ \
             application/json: {{ schema: {{ type: object, properties: {{ ok: {{ type: boolean }}, \
             note: {{ type: string }} }} }} }} }} }}\n"
        )
    };
    let calls = "{ type: object, properties: { requests: { type: array, items: { type: object, \
                 properties: { method: { type: string }, url: { type: string } } } } } }";
    let query =
        "{ type: object, properties: { query: { type: string }, variables: { type: object } } }";
    let changes = "{ type: array, items: { type: object, properties: { op: { type: string }, path: { \
                   type: string }, value: {} } } }";
    let paths = [
        operation("/$batch", "post", "application/json", calls),
        operation("/graphql", "post", "application/json", query),
        operation("/changes/{id}", "patch", "application/json", changes),
    ];
    THING_DESCRIPTION.replace("paths:\n", &format!("paths:\n{}", paths.concat()))
}

#[test]
fn what_fields_do_not_judge_passes_unfiltered_or_not_at_all() {
    let mut world = World::prepared();
    import(&world, &opaque_description());
    let granted = |allow: &str| {
        format!(
            "[[grant]]\nclient = \"reader\"\nprovider = \"things\"\npurpose = \"read\"\nexpires = \
             \"2999-12-31\"\nallow = [ {allow} ]\n"
        )
    };
    let by_field = granted(
        "{ object = \"Batch\", actions = [\"read\", \"create\"], fields = [\"*\", \"method\", \"url\"] }, \
         { object = \"Graphql\", actions = [\"read\", \"create\"], fields = [\"*\", \"query\", \"variables\"] }, \
         { object = \"Change\", actions = [\"read\", \"update\"], fields = [\"*\", \"value\"] }",
    );
    let file = world.weirgate.file("dry/a.toml", &by_field).unwrap();
    let dir = std::path::Path::new(&file).parent().unwrap().display().to_string();
    let told = ok(&world.weirgate, &["apply", &dir, "--dry-run", "--json"]).to_string();
    for (place, why) in [
        ("POST /$batch", "its body holds calls of its own"),
        ("POST /graphql", "its body is a query"),
        ("PATCH /changes/{id}", "its body says by paths what is changed"),
    ] {
        assert!(told.contains(&format!("`{place}` stays refused: {why}")), "{place}: {told}");
    }
    world.apply(&by_field);
    world.serve();
    let done = serde_json::json!({"ok": true, "note": "n", "ssn": "078-05-1120"});
    for place in ["POST /$batch", "POST /graphql", "PATCH /changes/1"] {
        world.provider.on(place, Answer::json(200, &done));
    }
    let json = [("content-type", "application/json")];
    let all: [(&str, &str, &[u8]); 3] = [
        ("POST", "/$batch", br#"{"requests":[{"method":"DELETE","url":"/things/1"}]}"#),
        ("POST", "/graphql", br#"{"query":"{ employees { ssn } }"}"#),
        ("PATCH", "/changes/1", br#"[{"op":"replace","path":"/salary","value":1}]"#),
    ];
    for (method, path, body) in all {
        let answer = world.send(method, path, &json, body);
        assert_eq!((answer.status, code(&answer).as_str()), (403, "not_granted"), "{path}");
    }
    assert_eq!(world.provider.requests().len(), 0);

    // Half of what it takes says what is missing.
    let half = granted("{ actions = [\"download\"], operations = [\"POST /graphql\"] }");
    let file = world.weirgate.file("half/a.toml", half).unwrap();
    let half = std::path::Path::new(&file).parent().unwrap().display().to_string();
    let said = fails(&world.weirgate, 2, &["apply", &half], b"");
    assert!(said.contains("`POST /graphql` has a body that is sent unfiltered"), "{said}");

    world.apply(&granted(
        "{ actions = [\"upload\"], operations = [\"POST /$batch\"] }, \
         { actions = [\"upload\", \"download\"], operations = [\"POST /graphql\"] }",
    ));
    wait_until(Duration::from_secs(5), || {
        world.send("POST", "/graphql", &json, b"{}").status == 200
    });
    let answer = world.send(all[1].0, all[1].1, &json, all[1].2);
    assert_eq!((answer.status, answer.text()), (200, done.to_string()));
    assert_eq!(world.provider.last_request().unwrap().body, all[1].2);
    // What is sent unfiltered is one thing, what comes back another.
    let answer = world.send(all[0].0, all[0].1, &json, all[0].2);
    assert_eq!((answer.status, answer.text().as_str()), (200, "{}"));
    let answer = world.send(all[2].0, all[2].1, &json, all[2].2);
    assert_eq!(answer.status, 403);
    world.stop();
}

/// A URL under the provider's base could tell anything by a path or parameter of its own making.
#[test]
fn urls_lead_where_the_caller_may_go_and_tell_nothing_else() {
    let mut world = World::prepared();
    let salaries = "paths:\n  /salaries/{id}:\n    parameters:\n      - { name: id, in: path, required: \
                    true, schema: { type: string } }\n    get: { operationId: salary, responses: {} }\n";
    import(&world, &THING_DESCRIPTION.replace("paths:\n", salaries));
    world.apply(GRANTS);
    world.serve();
    let base = world.provider.url().to_owned();
    let gate = format!("http://{}{}", world.addr, world.path(""));
    for (url, wanted) in [
        ("/things?cursor=2", Some("/things?cursor=2")),
        ("/things?cursor=a%20b&limit=2", Some("/things?cursor=a%20b&limit=2")),
        ("?cursor=2", Some("/things?cursor=2")),
        // Nobody declared it.
        ("/things?cursor=2&ssn=078-05-1120", None),
        ("/things?cursor=2#078-05-1120", Some("/things?cursor=2")),
        ("/things/7?ssn=078-05-1120", None),
        ("/078-05-1120", None),
        ("/things/7/078-05-1120", None),
        ("/things/7/", None),
        // Declared, and not granted: a filter, and an operation.
        ("/things?sort=078-05-1120", None),
        ("/salaries/078-05-1120", None),
        ("/things/7/photo", None),
        // What no caller could ask for.
        ("/things/%2e%2e%2fsalaries", None),
        ("/things/a%2Fb", None),
        ("/things/...", None),
        // The caller chose the path of its pages.
        ("/things/078-05-1120", None),
    ] {
        let full = if url.starts_with('?') { url.to_owned() } else { format!("{base}{url}") };
        let wanted = wanted.map(|path| format!("{gate}{path}"));
        let body = serde_json::json!({"results": [], "next": full, "total": 0});
        let answer = Answer::json(200, &body)
            .header("Link", &format!("<{full}>; rel=\"next\", <{full}>; rel=\"next last\""))
            .header("Location", &full);
        world.provider.on("GET /things", answer);
        let answer = world.get("/things");
        assert_eq!(answer.status, 200, "{url}");
        let next = answer.json().unwrap()["next"].as_str().map(str::to_owned);
        assert_eq!(next, wanted, "{url}");
        // What was made has a path of its own.
        let made = (url == "/things/078-05-1120").then(|| format!("{gate}{url}"));
        assert_eq!(
            answer.header("location"),
            made.as_ref().or(wanted.as_ref()).map(String::as_str)
        );
        let link = wanted.map(|to| format!("<{to}>; rel=\"next\", <{to}>; rel=\"last\""));
        assert_eq!(answer.header("link"), link.as_deref(), "{url}");
    }
    // Not more of them than a page has neighbours.
    let many: Vec<String> =
        (0..400).map(|page| format!("</things?cursor={page}>; rel=\"next\"")).collect();
    let body = serde_json::json!({"results": [], "total": 0});
    world.provider.on("GET /things", Answer::json(200, &body).header("Link", &many.join(", ")));
    let answer = world.get("/things");
    let link = format!("<{gate}/things?cursor=0>; rel=\"next\"");
    assert_eq!(answer.header("link"), Some(link.as_str()));
    world.stop();
}
