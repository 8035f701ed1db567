//! Ways round a grant or past the search for the credential that an attack has found.

use crate::world::{CREDENTIAL, GRANTS, World, code, fails, ok};
use std::time::Duration;
use testkit::{Answer, End, THING_DESCRIPTION, wait_until};

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

/// Operations beside the things: one without a grant, one that may only be written, one whose
/// parameter is needed, one of another server, and one by a method that is not served.
fn described_around() -> String {
    let thing = "{ $ref: \"#/components/schemas/Thing\" }";
    let id = "{ name: id, in: path, required: true, schema: { type: string } }";
    let region = "{ name: region, in: query, required: true, schema: { type: string } }";
    let operation = |path: &str, param: &str, method: &str, more: &str| {
        format!(
            "  {path}:\n    parameters:\n      - {param}\n    {method}:\n{more}      responses: {{ \
             \"200\": {{ description: A thing, content: {{ application/json: {{ schema: {thing} }} }} \
             }} }}\n"
        )
    };
    let body = format!(
        "      requestBody: {{ content: {{ application/json: {{ schema: {thing} }} }} }}\n"
    );
    let paths = [
        "  /salaries/{id}:\n    parameters:\n      - { name: id, in: path, required: true, schema: { type: \
         string } }\n    get: { operationId: salary, responses: {} }\n"
            .to_owned(),
        operation("/written/{id}", id, "put", &body),
        operation("/asked/{id}", id, "options", ""),
        operation("/regions", region, "get", ""),
        operation("/far/{id}", id, "get", "      servers: [ { url: \"https://far.example\" } ]\n"),
    ];
    THING_DESCRIPTION.replace("paths:\n", &format!("paths:\n{}", paths.concat()))
}

/// A URL under the provider's base could tell anything by a path or parameter of its own making.
#[test]
fn urls_lead_where_the_caller_may_go_and_tell_nothing_else() {
    let mut world = World::prepared();
    // Without `--server`, which would stand for all servers.
    let description = described_around().replace("http://127.0.0.1:9", world.provider.url());
    let file = world.weirgate.file("around.yaml", &description).unwrap();
    let host = world.provider.host_port();
    let args = ["provider", "import", &file, "--name", "around", "--allow-private-network", host];
    ok(&world.weirgate, &[&args[..], &["--json"]].concat());
    world.apply(&GRANTS.replace("provider = \"things\"", "provider = \"around\""));
    let args = ["connection", "create", "--provider", "around", "--customer", "c", "--scheme"];
    let all: Vec<&str> =
        args.into_iter().chain(["bearer", "--secret-file", "-", "--json"]).collect();
    let made = crate::world::ok_with(&world.weirgate, &all, br#"{"token":"another-token"}"#);
    world.connection = crate::world::text(&made, "id");
    world.serve();
    let base = world.provider.url().to_owned();
    let gate = format!("http://{}{}", world.addr, world.path(""));
    let long = format!("/things?cursor={}", "(".repeat(3_000));
    // What is referred to, and what becomes of it as a page and as a location.
    for (url, page, location) in [
        ("/things?cursor=2", "/things?cursor=2", "/things?cursor=2"),
        (
            "/things?cursor=a%20b&limit=2",
            "/things?cursor=a%20b&limit=2",
            "/things?cursor=a%20b&limit=2",
        ),
        ("/things?cursor=2&name=n", "/things?cursor=2&name=n", "/things?cursor=2&name=n"),
        ("?cursor=2", "/things?cursor=2", "/things?cursor=2"),
        ("/things?limit=2", "/things?limit=2", "/things?limit=2"),
        // The caller chose the path of its pages.
        ("/things/7", "", "/things/7"),
        // Nobody declared it.
        ("/things?cursor=2&ssn=078-05-1120", "/things?cursor=2", "/things?cursor=2"),
        ("/things?cursor=2#078-05-1120", "/things?cursor=2", "/things?cursor=2"),
        ("/things/7?ssn=078-05-1120", "", "/things/7"),
        ("/078-05-1120", "", ""),
        ("/things/7/078-05-1120", "", ""),
        ("/things/7/", "", ""),
        // Without what nobody may send it would be the first page again, or a part of a value.
        ("/things?ssn=078-05-1120", "", ""),
        ("/things?cursor=2&offset=078051120", "", ""),
        ("/things?cursor=2;078-05-1120", "", ""),
        // Declared, and not granted: a filter, one that is needed, and operations.
        ("/things?cursor=2&sort=078-05-1120", "/things?cursor=2", "/things?cursor=2"),
        ("/things?sort=078-05-1120", "", ""),
        ("/regions?region=078-05-1120", "", ""),
        ("/salaries/078-05-1120", "", ""),
        ("/things/7/photo", "", ""),
        // What may be written only is no page; another server's operation, and what nobody is served,
        // are not there.
        ("/written/7", "", "/written/7"),
        ("/far/7", "", ""),
        ("/asked/7", "", ""),
        // What no caller could ask for.
        ("/things/%2e%2e%2fsalaries", "", ""),
        ("/things/a%2Fb", "", ""),
        ("/things/...", "", ""),
        (&long, "", ""),
    ] {
        let full = if url.starts_with('?') { url.to_owned() } else { format!("{base}{url}") };
        let wanted = |path: &str| (!path.is_empty()).then(|| format!("{gate}{path}"));
        let (page, location) = (wanted(page), wanted(location));
        let body = serde_json::json!({"results": [], "next": full, "total": 0});
        let answer = Answer::json(200, &body)
            .header("Link", &format!("<{full}>; rel=\"next\", <{full}>; rel=\"next last\""))
            .header("Location", &full);
        world.provider.on("GET /things", answer);
        let answer = world.get("/things");
        assert_eq!(answer.status, 200, "{url}");
        let next = answer.json().unwrap()["next"].as_str().map(str::to_owned);
        assert_eq!(next, page, "{url}");
        assert_eq!(answer.header("location"), location.as_deref(), "{url}");
        let link = page.map(|to| format!("<{to}>; rel=\"next\", <{to}>; rel=\"last\""));
        assert_eq!(answer.header("link"), link.as_deref(), "{url}");
    }
    let body = serde_json::json!({"results": [], "next": "?cursor=2&ssn=078-05-1120", "total": 0});
    world.provider.on("GET /things", Answer::json(200, &body));
    assert!(world.get("/things?cursor=2").json().unwrap().get("next").is_none());
    // By the operation that was called.
    let page = serde_json::json!({"results": [], "next": "?limit=1", "total": 0});
    world.provider.on("GET /things", Answer::json(200, &page));
    let next = world.get("/things?cursor=2").json().unwrap()["next"].clone();
    assert_eq!(next, format!("{gate}/things?limit=1"));
    let thing = Answer::json(200, &testkit::things::thing("7"));
    world.provider.on("PUT /written/7", thing.header("Link", "</written/7>; rel=self"));
    let json = [("content-type", "application/json")];
    let answer = world.send("PUT", "/written/7", &json, br#"{"name":"n","nested":{"a":"a"}}"#);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("link"), Some(format!("<{gate}/written/7>; rel=\"self\"").as_str()));
    let made = Answer::json(201, &testkit::things::thing("7"))
        .header("Location", &format!("{base}/things/7?ssn=078-05-1120"));
    world.provider.on("POST /things", made);
    let answer = world.post("/things", &serde_json::json!({"name": "n"}));
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.header("location"), Some(format!("{gate}/things/7").as_str()));
    world.stop();
}

/// Not more links than a page has neighbours, and not longer than a head may be.
#[test]
fn links_are_few_and_short() {
    let world = World::serving();
    let gate = format!("http://{}{}", world.addr, world.path(""));
    let link = |links: &[String]| {
        let body = serde_json::json!({"results": [], "total": 0});
        let answer = Answer::json(200, &body).header("Link", &links.join(", "));
        world.provider.on("GET /things", answer);
        let answer = world.get("/things");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.header("link").map(str::to_owned)
    };
    let many: Vec<String> = (0..700).map(|page| format!("<?cursor={page}>;rel=next")).collect();
    assert_eq!(link(&many), Some(format!("<{gate}/things?cursor=0>; rel=\"next\"")));
    let long = "x".repeat(2_000);
    let names = ["first", "prev", "previous", "self", "next", "last"];
    let all: Vec<String> =
        names.iter().map(|name| format!("<?cursor={long}{name}>; rel={name}")).collect();
    let kept = link(&all).unwrap();
    assert!((4_000..=8 << 10).contains(&kept.len()), "{}", kept.len());
    assert!(kept.ends_with("; rel=\"previous\""), "{kept}");
}

/// Servers that trim them take such a segment for none, or for `.` and `..`.
#[test]
fn a_segment_of_dots_and_white_space_is_refused() {
    let world = World::serving();
    for segment in [
        "...",
        "....",
        "%20",
        "%20%20",
        ".%20",
        "..%20",
        "%20..",
        ".%20.",
        "%C2%A0",
        "..%C2%A0",
        "%E2%80%83",
        "%E3%80%80.",
        "%E2%80%8B",
        "..%20;x",
        ".%E2%80%A8.",
    ] {
        for path in [format!("/things/{segment}"), format!("/things/{segment}/photo")] {
            let answer = world.get(&path);
            assert_eq!((answer.status, code(&answer).as_str()), (400, "path_refused"), "{path}");
        }
    }
    assert!(world.provider.requests().is_empty());
    // What has anything else in it is a name.
    assert_eq!(world.get("/things/a%20...%20b").status, 200);
}

/// Whoever writes a secret in the place of a member's name finds it nowhere.
#[test]
fn a_member_of_a_secret_that_is_not_known_is_not_repeated() {
    let world = World::prepared();
    let args = ["connection", "create", "--provider", "things", "--customer", "c", "--scheme"];
    let all: Vec<&str> = args.into_iter().chain(["bearer", "--secret-file", "-"]).collect();
    for secret in [
        r#"{"sk_live_51H8":"x"}"#,
        r#"{"token":"t","sk_live_51H8":"x"}"#,
        r#"{"bearer":{"sk_live_51H8":"x"}}"#,
        r#"{"sk_live_51H8":{"token":"t"}}"#,
        r#"{"sk_live_51H8":1}"#,
    ] {
        let output = world.weirgate.run(&all, secret.as_bytes()).unwrap();
        assert_ne!(output.status, Some(0), "{secret}");
        let said = format!("{}{}", output.out(), output.err());
        assert!(!said.contains("sk_live"), "{secret}: {said}");
    }
    let said = fails(&world.weirgate, 2, &all, br#"{"sk_live_51H8":"x"}"#);
    assert!(said.contains("not known") && said.contains("api_key"), "{said}");
}

/// A value that promises a credential never comes from a caller, though it is declared.
#[test]
fn words_that_promise_a_credential_cannot_be_granted() {
    let mut world = World::prepared();
    let declared = "{ name: name, in: query,";
    let names = ["user_pin", "otpCode", "shipping", "designSignal"];
    let all: Vec<String> = names
        .iter()
        .map(|name| {
            format!("{{ name: {name}, in: query, schema: {{ type: string }} }}\n        - ")
        })
        .collect();
    let all = format!("{}{declared}", all.concat());
    import(&world, &THING_DESCRIPTION.replace(declared, &all));
    let granted =
        |names: &str| GRANTS.replace("params = [\"name\"]", &format!("params = [{names}]"));
    for name in ["user_pin", "otpCode"] {
        let file = world.weirgate.file("bad/a.toml", granted(&format!("\"{name}\""))).unwrap();
        let dir = std::path::Path::new(&file).parent().unwrap().display().to_string();
        let said = fails(&world.weirgate, 2, &["apply", &dir], b"");
        assert!(said.contains(&format!("`{name}` carries a credential")), "{said}");
    }
    world.apply(&granted("\"shipping\", \"designSignal\""));
    world.serve();
    assert_eq!(world.get("/things?shipping=fast&designSignal=1").status, 200);
    for name in ["user_pin", "otpCode"] {
        let answer = world.get(&format!("/things?{name}=1234"));
        assert_eq!(
            (answer.status, code(&answer).as_str()),
            (403, "parameter_not_granted"),
            "{name}"
        );
    }
    world.stop();
}

/// A provider that was asked twice is one that the log says was asked twice.
#[test]
fn the_log_says_how_often_a_request_was_tried() {
    let mut world = World::prepared();
    world.weirgate.set("WEIRGATE_CORES", "1");
    world.serve();
    assert_eq!(world.get("/things/1").status, 200);
    let request = wait_until(Duration::from_secs(5), || {
        assert_eq!(world.get("/things/1").status, 200);
        let nothing = Answer::verbatim("").end(End::Close);
        let thing = Answer::json(200, &testkit::things::thing("2"));
        world.provider.on_sequence("GET /things/2", [nothing, thing]);
        world.provider.forget();
        let answer = world.get("/things/2");
        let was_repeated = answer.status == 200 && world.provider.requests().len() == 2;
        was_repeated.then(|| answer.header("weirgate-request-id").unwrap().to_owned())
    });
    world.stop();
    let entries = world.entries();
    let outcomes: Vec<&serde_json::Value> =
        entries.iter().filter(|entry| entry["kind"] == "outcome").collect();
    let attempts = |id: &str| {
        let entry = outcomes.iter().find(|entry| entry["request"] == id).unwrap();
        entry["attempts"].clone()
    };
    assert_eq!(attempts(&request), 2, "{outcomes:?}");
    assert!(outcomes[0].get("attempts").is_none(), "{}", outcomes[0]);
    world.verify();
}
