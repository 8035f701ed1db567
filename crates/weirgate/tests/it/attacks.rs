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
