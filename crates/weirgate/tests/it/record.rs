//! The record on disk against who has the folder's permissions, but not the root key, and against
//! mishaps: files deleted, replaced, put back, or read elsewhere.

use crate::world::{World, code, fails, ok, text};
use serde_json::json;
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};
use testkit::Answer;

const SERVE: [&str; 5] =
    ["serve", "--gateway-addr", "127.0.0.1:0", "--console-addr", "127.0.0.1:0"];

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Every file below a folder with its bytes.
fn content(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(content(&path));
        } else {
            found.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

#[test]
fn no_deleted_file_lets_a_second_writer_in() {
    let mut world = World::serving();
    let dir = world.weirgate.data_dir();
    assert_eq!(world.get("/things/1").status, 200);
    for name in ["lock", "audit-hint"] {
        let _ = fs::remove_file(dir.join(name));
        let said = fails(&world.weirgate, 1, &SERVE, b"");
        assert!(said.contains("another process serves"), "{said}");
    }
    // A verb leaves its entry to the server, and does not write beside it.
    ok(&world.weirgate, &["client", "create", "beside", "--json"]);
    assert_eq!(world.get("/things/1").status, 200);
    world.stop();
    let verified = world.verify();
    assert_eq!((&verified["open_intents"], &verified["outbox_rows"]), (&json!(0), &json!(0)));
}

#[test]
fn a_replaced_data_folder_closes_the_gate() {
    let mut world = World::serving();
    let dir = world.weirgate.data_dir();
    assert_eq!(world.get("/things/1").status, 200);
    let moved = world.weirgate.home().join("moved");
    fs::rename(&dir, &moved).unwrap();
    copy(&moved, &dir);
    // Another process may hold the new folder; this one does nothing any more.
    let answer = world.get("/things/1");
    assert_eq!((answer.status, code(&answer).as_str()), (503, "audit_unavailable"));
    let before = world.provider.requests().len();
    let answer = world.send("PUT", "/things/1", &[("Content-Type", "application/json")], b"{}");
    assert_eq!(answer.status, 503);
    assert_eq!(world.provider.requests().len(), before, "no audit, no effect");
    // What would be refused anyhow has no entry either, and is not told more.
    let bearer = format!("Bearer {}", world.stranger_key);
    for (path, key) in [
        (world.path("/things/1"), &bearer),
        (world.path("/nothing"), &format!("Bearer {}", world.key)),
        ("/proxy/unknown/x".to_owned(), &bearer),
    ] {
        let headers = [("Authorization", key.as_str())];
        let answer = testkit::client::get(world.addr, &path, &headers).unwrap();
        assert_eq!((answer.status, code(&answer).as_str()), (503, "audit_unavailable"), "{path}");
        assert!(answer.text().contains("log lines"), "{}", answer.text());
    }
    world.weirgate.set("WEIRGATE_GATEWAY_ADDR", &world.addr.to_string());
    world.weirgate.set("WEIRGATE_CONSOLE_ADDR", &world.console.to_string());
    let said = world.weirgate.run(&["doctor"], b"").unwrap();
    assert_eq!(said.status, Some(6), "{}", said.out());
    assert!(
        said.out().contains("says: not ready: the audit log takes no entries"),
        "{}",
        said.out()
    );
    let ended = world.server.take().unwrap().terminate().unwrap();
    assert_eq!(ended.status, Some(1), "{}", ended.err());
    // Both folders are whole as they are.
    for folder in [&dir, &moved] {
        let folder = folder.display().to_string();
        ok(&world.weirgate, &["audit", "verify", "--data-dir", &folder, "--json"]);
    }
}

#[test]
fn a_log_that_is_gone_or_older_is_refused_at_start_and_before_a_change() {
    let mut world = World::serving();
    world.get("/things/1");
    world.stop();
    let audit = world.weirgate.data_dir().join("audit");
    let old = world.weirgate.home().join("old");
    copy(&audit, &old);
    world.serve();
    world.get("/things/2");
    world.stop();
    let newest = world.weirgate.home().join("newest");
    copy(&audit, &newest);
    let refused = |wanted: &str, remedy: &str| {
        for args in [&SERVE[..], &["client", "create", "unrecorded"]] {
            let said = fails(&world.weirgate, 1, args, b"");
            assert!(said.contains(wanted) && said.contains(remedy), "{said}");
        }
    };
    fs::remove_dir_all(&audit).unwrap();
    refused("the audit log is missing", "Put the folder `audit` back");
    fails(&world.weirgate, 1, &["audit", "verify"], b"");
    fs::create_dir(&audit).unwrap();
    refused("the audit log is missing", "Put the folder `audit` back");
    fs::remove_dir(&audit).unwrap();
    copy(&old, &audit);
    refused("the audit log is an older one", "Put back the newest");
    let said = fails(&world.weirgate, 1, &["audit", "verify"], b"");
    assert!(said.contains("were signed"), "{said}");
    fs::remove_dir_all(&audit).unwrap();
    copy(&newest, &audit);
    let tail = fs::read(audit.join("tail")).unwrap();
    fs::write(audit.join("tail"), &tail[..tail.len() - 1]).unwrap();
    refused("`tail`", "audit verify` to see which entry");
    fs::write(audit.join("tail"), &tail).unwrap();
    let listed = ok(&world.weirgate, &["client", "list", "--json"]).to_string();
    assert!(!listed.contains("unrecorded"), "nothing was changed: {listed}");
    ok(&world.weirgate, &["client", "create", "recorded", "--json"]);
    // An older database beside the newest log is no reason to refuse: the log may be ahead.
    world.verify();
}

/// The checkpoint is on disk before the database is told, so that a kill between the two, and at
/// any other moment, leaves a log that opens.
#[test]
fn the_database_is_never_ahead_of_the_log() {
    let mut world = World::prepared();
    let audit = world.weirgate.data_dir().join("audit");
    let mut sizes = Vec::new();
    for round in 0..4 {
        world.serve();
        let begun = Instant::now();
        // Around the checkpoint of each second.
        while begun.elapsed() < Duration::from_millis(950 + round * 60) {
            assert_eq!(world.get("/things/1").status, 200);
        }
        world.server.take().unwrap().kill9().unwrap();
        let note = fs::read_to_string(audit.join("checkpoint")).unwrap();
        let signed: u64 = note.lines().nth(1).unwrap().parse().unwrap();
        // What the database knows is among what `verify` compares with.
        assert!(world.verify()["entries"].as_u64().unwrap() >= signed);
        sizes.push(signed);
    }
    assert!(sizes.is_sorted() && sizes[3] > sizes[0], "{sizes:?}");
    world.serve();
    world.stop();
    assert_eq!(world.verify()["open_intents"], 0);
}

#[test]
fn a_replaced_database_is_followed() {
    let mut world = World::administered();
    let database = world.weirgate.data_dir().join("weirgate.db");
    let copied = world.weirgate.home().join("copy.db");
    fs::copy(&database, &copied).unwrap();
    let keys = ok(&world.weirgate, &["client", "list", "--json"]);
    let clients = keys["clients"].as_array().unwrap();
    let reader = clients.iter().find(|client| client["name"] == "reader").unwrap();
    let id = text(&reader["keys"][0], "id");
    world.serve();
    assert_eq!(world.get("/things/1").status, 200);
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{suffix}", database.display()));
    }
    fs::rename(&copied, &database).unwrap();
    ok(&world.weirgate, &["client", "key", "revoke", &id, "--json"]);
    testkit::wait_until(Duration::from_secs(2), || world.get("/things/1").status == 401);
    world.stop();
    let revoked = |entry: &&serde_json::Value| entry["verb"] == "key.revoke";
    assert_eq!(world.entries().iter().filter(revoked).count(), 1);
    let verified = world.verify();
    assert_eq!(verified["outbox_rows"], 0, "{verified}");
}

/// A server that saw a change takes no database without it.
#[test]
fn an_older_copy_of_the_database_closes_the_gate() {
    const FILES: [&str; 3] = ["weirgate.db", "weirgate.db-wal", "weirgate.db-shm"];
    let mut world = World::administered();
    let dir = world.weirgate.data_dir();
    let older = fs::read(dir.join(FILES[0])).unwrap();
    world.weirgate.set("WEIRGATE_MAX_SNAPSHOT_AGE_MS", "1000");
    world.serve();
    ok(&world.weirgate, &["client", "create", "later", "--json"]);
    testkit::wait_until(Duration::from_secs(5), || {
        world
            .entries()
            .iter()
            .any(|entry| entry["verb"] == "client.create" && entry.to_string().contains("later"))
    });
    assert_eq!(world.get("/things/1").status, 200);
    let moved = world.weirgate.home().join("moved");
    fs::create_dir(&moved).unwrap();
    for file in FILES {
        let _ = fs::rename(dir.join(file), moved.join(file));
    }
    fs::write(dir.join(FILES[0]), &older).unwrap();
    let is_stale = || {
        let answer = world.get("/things/1");
        answer.status == 503 && code(&answer) == "snapshot_stale"
    };
    testkit::wait_until(Duration::from_secs(5), is_stale);
    let said = fails(&world.weirgate, 5, &["client", "create", "another"], b"");
    assert!(said.contains("the audit log recorded"), "{said}");
    std::thread::sleep(Duration::from_millis(600));
    assert!(is_stale(), "an older state is not taken");
    for file in FILES {
        let _ = fs::remove_file(dir.join(file));
        let _ = fs::rename(moved.join(file), dir.join(file));
    }
    testkit::wait_until(Duration::from_secs(5), || world.get("/things/1").status == 200);
    let said = world.stop().err();
    assert!(said.contains("the audit log recorded"), "{said}");
    world.verify();
}

#[test]
fn a_removed_or_foreign_database_closes_the_gate() {
    let mut world = World::administered();
    let other = world.weirgate.home().join("other").display().to_string();
    ok(&world.weirgate, &["init", "--data-dir", &other, "--json"]);
    world.weirgate.set("WEIRGATE_MAX_SNAPSHOT_AGE_MS", "1000");
    world.serve();
    let database = world.weirgate.data_dir().join("weirgate.db");
    let moved = world.weirgate.home().join("moved.db");
    let is_stale = || {
        let answer = world.get("/things/1");
        answer.status == 503 && code(&answer) == "snapshot_stale"
    };
    assert_eq!(world.get("/things/1").status, 200);
    fs::rename(&database, &moved).unwrap();
    testkit::wait_until(Duration::from_secs(5), is_stale);
    fs::copy(Path::new(&other).join("weirgate.db"), &database).unwrap();
    std::thread::sleep(Duration::from_millis(600));
    assert!(is_stale(), "another installation's database is not taken");
    fs::remove_file(&database).unwrap();
    fs::rename(&moved, &database).unwrap();
    testkit::wait_until(Duration::from_secs(5), || world.get("/things/1").status == 200);
    let said = world.stop().err();
    assert!(said.contains("was removed, or replaced"), "{said}");
    assert!(said.contains("another installation's"), "{said}");
}

#[test]
fn entries_forged_into_the_tail_of_a_killed_server_are_not_adopted() {
    let mut world = World::serving();
    assert_eq!(world.get("/things/1").status, 200);
    world.server.take().unwrap().kill9().unwrap();
    let tail = world.weirgate.data_dir().join("audit/tail");
    let mut bytes = fs::read(&tail).unwrap();
    let honest = bytes.len();
    // closed (kind 10) at 2001-09-09, in the form that the log writes.
    let entry = hex("a30001010a021b00038d7ea4c68000");
    bytes.extend_from_slice(&u16::try_from(entry.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(&entry);
    bytes.extend_from_slice(&[0, 0]);
    bytes.extend_from_slice(&[0x5A; 32]);
    fs::write(&tail, &bytes).unwrap();
    world.serve();
    world.stop();
    let entries = world.entries();
    let forged = |entry: &&serde_json::Value| {
        entry["kind"] == "closed" && entry["at"].as_str().is_some_and(|at| at.starts_with("2001"))
    };
    assert_eq!(entries.iter().filter(forged).count(), 0);
    let recovered = entries.iter().find(|entry| entry["kind"] == "recovered").unwrap();
    assert_eq!(recovered["cut_bytes"], bytes.len() - honest);
    world.verify();
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn verify_needs_nothing_but_the_log_and_its_key() {
    let mut world = World::serving();
    world.get("/things/1");
    world.stop();
    let dir = world.weirgate.data_dir();
    let key = world.weirgate.file("kept.pub", fs::read(dir.join("audit.pub")).unwrap()).unwrap();
    let elsewhere = world.weirgate.home().join("elsewhere");
    copy(&dir.join("audit"), &elsewhere.join("audit"));
    let before = content(&elsewhere);
    let at = elsewhere.display().to_string();
    let verified =
        ok(&world.weirgate, &["audit", "verify", "--data-dir", &at, "--key", &key, "--json"]);
    assert_eq!(verified["entries"], world.verify()["entries"]);
    assert_eq!((&verified["torn_bytes"], &verified["outbox_rows"]), (&json!(0), &json!(null)));
    assert_eq!(content(&elsewhere), before, "verifying writes nothing");
    // What a crash left at the end is said.
    fs::copy(elsewhere.join("audit/tail"), elsewhere.join("tail")).unwrap();
    let output =
        world.weirgate.run(&["audit", "verify", "--data-dir", &at, "--key", &key], b"").unwrap();
    assert!(output.out().contains("0 torn bytes"), "{}", output.out());
    // Without the database, its key must be named.
    fails(&world.weirgate, 3, &["audit", "verify", "--data-dir", &at], b"");
    let nowhere = world.weirgate.home().join("nowhere").display().to_string();
    fails(&world.weirgate, 3, &["audit", "verify", "--data-dir", &nowhere, "--key", &key], b"");
    fs::remove_dir_all(elsewhere.join("audit/tile")).ok();
    fs::remove_file(elsewhere.join("audit/tail")).unwrap();
    fails(&world.weirgate, 1, &["audit", "verify", "--data-dir", &at, "--key", &key], b"");
    // What cannot be read says nothing of the log: another exit code than a failed proof.
    fs::create_dir(elsewhere.join("audit/tail")).unwrap();
    fails(&world.weirgate, 7, &["audit", "verify", "--data-dir", &at, "--key", &key], b"");
}

#[test]
fn another_logs_key_is_not_taken_for_this_ones() {
    let world = World::prepared();
    let dir = world.weirgate.data_dir();
    let own = fs::read_to_string(dir.join("audit.pub")).unwrap();
    let other = world.weirgate.home().join("other");
    ok(&world.weirgate, &["init", "--data-dir", &other.display().to_string(), "--json"]);
    // The whole log of another installation, with its key.
    let (audit, kept) = (dir.join("audit"), world.weirgate.home().join("kept"));
    fs::rename(&audit, &kept).unwrap();
    copy(&other.join("audit"), &audit);
    fs::copy(other.join("audit.pub"), dir.join("audit.pub")).unwrap();
    let said = fails(&world.weirgate, 1, &["audit", "verify"], b"");
    assert!(said.contains("the public key is that of"), "{said}");
    let kept_key = world.weirgate.file("own.pub", &own).unwrap();
    let said = fails(&world.weirgate, 1, &["audit", "verify", "--key", &kept_key], b"");
    assert!(said.contains("another log"), "{said}");
    fs::remove_dir_all(&audit).unwrap();
    fs::rename(&kept, &audit).unwrap();
    // Neither is a key that is missing or none; and who starts says which one belongs there.
    let said = fails(&world.weirgate, 1, &SERVE, b"");
    assert!(said.contains("audit.pub") && said.contains(own.trim()), "{said}");
    fs::remove_file(dir.join("audit.pub")).unwrap();
    let said = fails(&world.weirgate, 3, &["audit", "verify"], b"");
    assert!(said.contains("--key"), "{said}");
    let said = fails(&world.weirgate, 1, &["client", "create", "x"], b"");
    assert!(said.contains("audit.pub") && said.contains(own.trim()), "{said}");
    fs::write(dir.join("audit.pub"), "nonsense").unwrap();
    fails(&world.weirgate, 2, &["audit", "verify"], b"");
    fs::write(dir.join("audit.pub"), &own).unwrap();
    world.verify();
    // A checkpoint that is none, and one of the other log.
    let none = world.weirgate.file("none", "nonsense").unwrap();
    fails(&world.weirgate, 2, &["audit", "verify", "--checkpoint", &none], b"");
    let foreign = other.join("audit/checkpoint").display().to_string();
    fails(&world.weirgate, 2, &["audit", "verify", "--checkpoint", &foreign], b"");
}

/// Each name as long as an import lets it be, and so many that the outcome of a call would not fit an
/// entry.
#[test]
fn calls_with_long_names_are_recorded() {
    let mut world = World::prepared();
    let names: Vec<String> = (0..300).map(|n| format!("f{n:03}_{}", "x".repeat(500))).collect();
    let fields: serde_json::Map<String, serde_json::Value> =
        names.iter().map(|name| (name.clone(), json!({"type": "string"}))).collect();
    let mut properties = fields.clone();
    properties.insert("id".into(), json!({"type": "string"}));
    let answer = json!({"200": {"description": "ok", "content": {"application/json": {
        "schema": {"$ref": "#/components/schemas/Wide"}}}}});
    let body = json!({"content": {"application/json": {
        "schema": {"$ref": "#/components/schemas/Wide"}}}});
    let description = json!({
        "openapi": "3.1.0",
        "info": {"title": "wide", "version": "1"},
        "components": {
            "schemas": {"Wide": {"type": "object", "properties": properties}},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"bearer": []}],
        "paths": {"/wide": {
            "get": {"operationId": format!("get_{}", "y".repeat(500)), "responses": answer},
            "put": {"operationId": "put_wide", "requestBody": body, "responses": answer},
        }},
    });
    let file = world.weirgate.file("wide.json", description.to_string()).unwrap();
    let provider = [
        "provider",
        "import",
        &file,
        "--name",
        "wide",
        "--server",
        world.provider.url(),
        "--allow-private-network",
        world.provider.host_port(),
        "--json",
    ];
    ok(&world.weirgate, &provider);
    let connection = [
        "connection",
        "create",
        "--provider",
        "wide",
        "--customer",
        "c",
        "--scheme",
        "bearer",
        "--secret-file",
        "-",
        "--json",
    ];
    let made = crate::world::ok_with(&world.weirgate, &connection, br#"{"token":"t-wide"}"#);
    world.connection = text(&made, "id");
    world.apply(
        r#"
[[grant]]
client = "reader"
provider = "wide"
purpose = "p"
expires = "2999-12-31"
allow = [{ object = "Wide", actions = ["read", "update"], fields = ["id"] }]
"#,
    );
    let mut wide = json!({"id": "1"});
    for name in &names {
        wide[name] = json!("v");
    }
    for place in ["GET /wide", "PUT /wide"] {
        world.provider.on(place, Answer::json(200, &wide));
    }
    world.serve();
    let json_body = [("Content-Type", "application/json")];
    let mut wanted = Vec::new();
    for (method, headers, body) in
        [("GET", &[][..], &b""[..]), ("PUT", &json_body[..], br#"{"id":"1"}"#)]
    {
        let answer = world.send(method, "/wide", headers, body);
        assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"id":"1"}"#), "{method}");
        wanted.push(answer.header("weirgate-request-id").unwrap().to_owned());
    }
    // A refusal, too, names the operation.
    let stranger = format!("Bearer {}", world.stranger_key);
    let refused = testkit::client::get(
        world.addr,
        &world.path("/wide"),
        &[("Authorization", stranger.as_str())],
    )
    .unwrap();
    assert_eq!(refused.status, 403);
    let refused = refused.header("weirgate-request-id").unwrap().to_owned();
    world.stop();
    let entries = world.entries();
    let of = |request: &str, kind: &str| {
        let is_it =
            |entry: &&serde_json::Value| entry["request"] == request && entry["kind"] == kind;
        entries.iter().find(is_it).unwrap_or_else(|| panic!("no {kind} of {request}")).clone()
    };
    for request in &wanted {
        of(request, "intent");
        let outcome = of(request, "outcome");
        let kept = outcome["withheld"].as_str().unwrap().split(", ").count();
        let more = usize::try_from(outcome["withheld_more"].as_u64().unwrap()).unwrap();
        assert_eq!((kept + more, outcome["status"].as_u64()), (300, Some(200)), "{kept}");
        assert!(kept > 5);
    }
    of(&refused, "refused");
    assert_eq!(world.verify()["open_intents"], 0);
}
