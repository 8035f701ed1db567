//! The control API of the built binary: by a program with a token, and by schemathesis.
//!
//! `WEIRGATE_TEST_SCHEMATHESIS` names the folder with its program (`tests/schemathesis/schemathesis.sh
//! install DIR` makes one); `.ci/run` sets it.

use crate::{
    console::{PASSWORD, accept, between, enrol},
    world::{World, ok, text},
};
use serde_json::Value;
use std::{path::Path, process::Command, time::Duration};
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
    testkit::wait_until(Duration::from_secs(5), || world.get("/things/1").status != 200);
    let seen = send("GET", "/v1/providers/things/fields/Thing.name").json().unwrap();
    assert_eq!(seen["ways"][0]["client"], "reader");
    assert_eq!(send("GET", "/v1/installation").json().unwrap()["ready"], true);
    // The gateway's port knows nothing of it.
    let other = client::send(world.addr, "GET", "/v1/clients", &[("Authorization", &bearer)], b"");
    assert_ne!(other.unwrap().status, 200);
    // Who did it is in the log: the token and its owner, never its text.
    testkit::wait_until(Duration::from_secs(5), || {
        let entries = send("GET", "/v1/audit/entries?limit=200").text();
        entries.contains("connection.revoke") && entries.contains("token:")
    });
    let listed = ok(&world.weirgate, &["audit", "list", "--json"]).to_string();
    assert!(!listed.contains(&token));
}

/// What a command says on a server, and how it ends.
fn on_server(world: &World, line: &str) -> (Option<i32>, Value, String) {
    let url = format!("http://{}", world.console);
    let token_file = world.weirgate.home().join("token").display().to_string();
    let mut args: Vec<&str> = line.split(' ').collect();
    args.extend(["--server-url", &url, "--token-file", &token_file, "--json"]);
    // Nothing here: no folder is looked at.
    args.extend(["--data-dir", "nowhere"]);
    let output = world.weirgate.run(&args, b"").unwrap();
    let json = serde_json::from_str(&output.out()).unwrap_or(Value::Null);
    (output.status, json, output.err())
}

#[test]
fn the_same_commands_work_on_a_server() {
    let world = World::serving();
    let token = token(&world);
    world.weirgate.file("token", format!("{token}\n")).unwrap();
    for (line, member) in [
        ("user list", "users"),
        ("session list", "sessions"),
        ("role list", "roles"),
        ("policy list", "policies"),
        ("grant list", "grants"),
        ("grant proposals", "proposals"),
        ("review list", "reviews"),
        ("provider list", "providers"),
        ("connection list", "connections"),
        ("client list", "clients"),
        ("node list", "nodes"),
        ("audit list --limit 3", "entries"),
        ("advise --days 30", "grants"),
        ("explain field things Thing.name", "ways"),
    ] {
        let (status, json, told) = on_server(&world, line);
        assert_eq!(status, Some(0), "{line}: {told}");
        assert!(json[member].is_array(), "{line}: {json}");
    }
    let (_, entries, _) = on_server(&world, "audit list --limit 3");
    assert_eq!(entries["entries"].as_array().unwrap().len(), 3);
    let (_, grants, _) = on_server(&world, "grant list --client reader");
    assert_eq!(grants["grants"][0]["client"], "reader");
    let (_, none, _) = on_server(&world, "grant list --client nobody");
    assert_eq!(none["grants"], serde_json::json!([]));
    // Pages are joined.
    for number in 0..205 {
        let (status, _, told) = on_server(&world, &format!("client create c{number}"));
        assert_eq!(status, Some(0), "{told}");
        if number == 0 {
            // Once more changes nothing.
            assert_eq!(on_server(&world, "client create c0").0, Some(0));
        }
    }
    let (_, clients, _) = on_server(&world, "client list");
    assert!(clients["clients"].as_array().unwrap().len() >= 206, "{clients}");
    let (status, begun, told) = on_server(&world, "review begin --name Autumn --days 9");
    assert_eq!((status, begun["name"].as_str()), (Some(0), Some("Autumn")), "{told}");
    let (status, _, told) = on_server(&world, "review begin --name Winter");
    assert_eq!(status, Some(5), "one at a time: {told}");
    let (_, review, _) = on_server(&world, "review show");
    assert_eq!(review["review"]["name"], "Autumn");

    let (status, _, _) = on_server(&world, &format!("connection revoke {}", world.connection));
    assert_eq!(status, Some(0));
    testkit::wait_until(Duration::from_secs(5), || world.get("/things/1").status != 200);
    for (line, wanted, says) in [
        ("explain field nothing Thing.name", 3, "there is no"),
        ("review show revw_06ewk4g000e0g000000000000c", 3, "there is no review"),
        ("connection revoke conn_06ewk4g000e0g000000000000c", 3, "there is no"),
        ("user invite eve@example.com --role auditor", 2, "does not work on a server"),
        ("client key create reader --expires 1d", 2, "does not work on a server"),
        ("audit export --out x", 2, "does not work on a server"),
    ] {
        let (status, _, told) = on_server(&world, line);
        assert_eq!(status, Some(wanted), "{line}: {told}");
        assert!(told.contains(says), "{line}: {told}");
    }
    world.weirgate.file("token", "wg_token_that_is_none").unwrap();
    let (status, _, told) = on_server(&world, "user list");
    assert_eq!(status, Some(4), "{told}");
    world.weirgate.file("token", "two\nlines").unwrap();
    let (status, _, told) = on_server(&world, "user list");
    assert_eq!(status, Some(2), "{told}");
    world.weirgate.file("token", &token).unwrap();
    let file = world.weirgate.home().join("token").display().to_string();
    for (url, wanted) in [
        ("http://127.0.0.1:1", 7),
        ("http://gate.example.com", 2),
        ("https://user:canary-word@gate.example.com", 2),
        ("gate", 2),
    ] {
        let args = ["user", "list", "--server-url", url, "--token-file", &file];
        let output = world.weirgate.run(&args, b"").unwrap();
        assert_eq!(output.status, Some(wanted), "{url}: {}", output.err());
        assert!(!output.err().contains("canary"), "{}", output.err());
        assert!(!output.err().contains(&token));
    }
    // Of this port nothing is ours.
    let other = format!("http://{}", world.addr);
    let args = ["user", "list", "--server-url", &other, "--token-file", &file];
    let output = world.weirgate.run(&args, b"").unwrap();
    assert_ne!(output.status, Some(0));
    let text = world.weirgate.run(
        &[
            "role",
            "list",
            "--server-url",
            &format!("http://{}", world.console),
            "--token-file",
            &file,
        ],
        b"",
    );
    let text = text.unwrap().out();
    assert!(text.starts_with("administrator\n    built in: true\n    acts: "), "{text}");
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
