//! The control API of the built binary: by a program with a token, and by schemathesis.
//!
//! `WEIRGATE_TEST_SCHEMATHESIS` names the folder with its program (`tests/schemathesis/schemathesis.sh
//! install DIR` makes one); `.ci/run` sets it.

use crate::{
    console::{PASSWORD, accept, between, enrol},
    world::{World, ok, text},
};
use std::{path::Path, process::Command};
use testkit::{browser::Browser, client};

/// A token of somebody who may do all that a token can.
fn token(world: &World) -> String {
    let mut invite = vec!["user", "invite", "ines@example.com"];
    for role in ["administrator", "security", "integrator", "auditor"] {
        invite.extend(["--role", role]);
    }
    invite.push("--json");
    let path = text(&ok(&world.weirgate, &invite), "path");
    let mut ines = Browser::new(world.console);
    accept(&mut ines, &path, &[("name", "Ines"), ("password", PASSWORD)]);
    enrol(&mut ines);
    ines.get("/account").unwrap();
    let roles = "administrator, auditor, integrator, security";
    let fields = [("name", "report"), ("roles", roles), ("days", "1")];
    let made = ines.post("/account/tokens", &fields).unwrap().page.text();
    between(&made, "<p class=\"code\">")
}

#[test]
fn a_program_with_a_token_reads_and_ends() {
    let world = World::serving();
    let token = token(&world);
    let bearer = format!("Bearer {token}");
    let send = |method: &str, path: &str| {
        client::send(world.console, method, path, &[("Authorization", &bearer)], b"").unwrap()
    };
    let connections = send("GET", "/v1/connections").json().unwrap();
    assert_eq!(connections["items"][0]["id"], world.connection.as_str());
    assert_eq!(world.get("/things/1").status, 200);
    let path = format!("/v1/connections/{}", world.connection);
    assert_eq!(send("DELETE", &path).status, 204);
    testkit::wait_until(std::time::Duration::from_secs(5), || world.get("/things/1").status != 200);
    let seen = send("GET", "/v1/providers/things/fields/Thing.name").json().unwrap();
    assert_eq!(seen["ways"][0]["client"], "reader");
    assert_eq!(send("GET", "/v1/installation").json().unwrap()["ready"], true);
    // The gateway's port knows nothing of it.
    let other = client::send(world.addr, "GET", "/v1/clients", &[("Authorization", &bearer)], b"");
    assert_ne!(other.unwrap().status, 200);
    // Who did it is in the log: the token and its owner, never its text.
    testkit::wait_until(std::time::Duration::from_secs(5), || {
        let entries = send("GET", "/v1/audit/entries?limit=200").text();
        entries.contains("connection.revoke") && entries.contains("token:")
    });
    let listed = ok(&world.weirgate, &["audit", "list", "--json"]).to_string();
    assert!(!listed.contains(&token));
}

const CHECKS: [&str; 8] = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "ignored_auth",
];

/// No server error, no status or body that is not declared, no way round the token.
#[test]
fn schemathesis_finds_nothing() {
    let Some(programs) = std::env::var_os("WEIRGATE_TEST_SCHEMATHESIS") else {
        eprintln!("skipped: WEIRGATE_TEST_SCHEMATHESIS does not name the folder with its program");
        return;
    };
    let world = World::serving();
    let token = token(&world);
    let url = format!("http://{}", world.console);
    let output = Command::new(Path::new(&programs).join("schemathesis"))
        .current_dir(world.weirgate.home())
        .args(["run", "--url", &url, "--seed", "1", "--max-examples", "15", "--no-color"])
        .args(["--phases", "examples,coverage,fuzzing", "--continue-on-failure"])
        .args(["--checks", &CHECKS.join(",")])
        // It finds its own token's id in the list, and ends it.
        .args(["--exclude-operation-id", "revoke_token"])
        .args(["--suppress-health-check", "all", "--header"])
        .arg(format!("Authorization: Bearer {token}"))
        .arg(format!("{url}/openapi.json"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}{told}", said.replace(&token, "TOKEN"));
    let all = ::api::API_ROUTES.len();
    assert!(said.contains(&format!("Tested: {}", all - 1)), "{said}");
    assert!(!said.contains("Authentication failed"), "{said}");
}
