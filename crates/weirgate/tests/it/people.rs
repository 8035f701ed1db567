//! People, by the command line on the data folder.

use crate::world::{binary, fails, ok, text};

#[test]
fn people_are_invited_and_removed() {
    let weirgate = binary();
    ok(&weirgate, &["init", "--json"]);
    let first = ok(&weirgate, &["user", "setup-link", "--json"]);
    assert!(text(&first, "path").starts_with("/setup/") && first["purpose"] == "setup");
    let second = ok(&weirgate, &["user", "setup-link", "--json"]);
    assert_ne!(text(&first, "path"), text(&second, "path"));
    let address = "grace.hopper@example.com";
    let invite = ["user", "invite", address, "--role", "auditor", "--role", "security", "--json"];
    let link = ok(&weirgate, &invite);
    assert!(text(&link, "path").starts_with("/invite/"));
    let listed = ok(&weirgate, &["user", "list", "--json"]);
    let listed = listed["users"].as_array().unwrap();
    assert_eq!(listed.len(), 2, "of two setup links one person is left");
    assert_eq!(listed[0]["address"], serde_json::Value::Null);
    assert_eq!(listed[1]["address"], address);
    assert_eq!(listed[1]["roles"], serde_json::json!(["auditor", "security"]));
    assert_eq!(listed[1]["state"], "invited");
    let again = ok(&weirgate, &["user", "link", "Grace.Hopper@Example.com", "--json"]);
    assert_eq!(text(&again, "id"), text(&link, "id"));
    assert_ne!(text(&again, "path"), text(&link, "path"));
    ok(&weirgate, &["user", "roles", address, "--role", "read-only", "--json"]);
    assert_eq!(ok(&weirgate, &["session", "list", "--json"])["sessions"], serde_json::json!([]));
    // The log knows people by id alone, and nobody's link.
    let entries = ok(&weirgate, &["audit", "list", "--json"]).to_string();
    for verb in ["user.setup", "user.invite", "user.link", "user.roles"] {
        assert!(entries.contains(verb), "{verb}");
    }
    for personal in ["grace", "hopper", text(&link, "path").trim_start_matches("/invite/")] {
        assert!(!entries.to_lowercase().contains(&personal.to_lowercase()), "{personal}");
    }
    let id = text(&link, "id");
    ok(&weirgate, &["user", "remove", &id, "--json"]);
    assert_eq!(ok(&weirgate, &["user", "list", "--json"])["users"].as_array().unwrap().len(), 1);
    fails(&weirgate, 3, &["user", "remove", &id], b"");
    assert_eq!(ok(&weirgate, &["audit", "verify", "--json"])["open_intents"], 0);
}

#[test]
fn what_makes_no_sense_of_people_is_refused() {
    let weirgate = binary();
    ok(&weirgate, &["init", "--json"]);
    let bob = "bob@example.com";
    ok(&weirgate, &["user", "invite", bob, "--role", "auditor", "--json"]);
    for (code, args, says) in [
        (2, &["user", "invite", "bob", "--role", "auditor"][..], "example.com"),
        (2, &["user", "invite", "cy@example.com"], "--role"),
        (3, &["user", "invite", "cy@example.com", "--role", "owner"], "administrator, security"),
        (2, &["user", "invite", "BOB@example.com", "--role", "auditor"], "user link"),
        (3, &["user", "disable", "cy@example.com"], "user list"),
        (5, &["user", "disable", bob], "has not come yet"),
        (5, &["user", "enable", bob], "has not come yet"),
        (3, &["user", "roles", bob, "--role", "Auditor"], "administrator, security"),
        (3, &["user", "link", "nobody"], "user list"),
        (2, &["session", "end", "nothing"], "sess_"),
        (3, &["session", "end", "sess_06ewk4g000e0g000000000000c"], "session list"),
        (3, &["session", "list", "--user", "cy@example.com"], "user list"),
    ] {
        let said = fails(&weirgate, code, args, b"");
        assert!(said.contains(says), "{args:?}: {said}");
    }
}
