//! Somebody at the database by hand, with everything but the root key.

use crate::world::{GRANTS, World, code, fails, ok, text};
use std::{fs, path::PathBuf, time::Duration};
use testkit::{FaultyProvider, THING_DESCRIPTION};

const SERVE: [&str; 5] =
    ["serve", "--gateway-addr", "127.0.0.1:0", "--console-addr", "127.0.0.1:0"];

fn database(world: &World) -> PathBuf {
    world.weirgate.data_dir().join("weirgate.db")
}

/// Runs statements; `None` where they cannot be run.
fn sql(world: &World, statements: &[&str]) -> Option<String> {
    let done = testkit::sqlite(&database(world), statements).unwrap();
    if done.is_none() {
        eprintln!("skipped: python3 is not installed");
    }
    done
}

const CONNECT: [&str; 10] = [
    "connection",
    "create",
    "--provider",
    "things",
    "--customer",
    "c",
    "--scheme",
    "bearer",
    "--secret-file",
    "-",
];

/// Whatever uses the store to make something new.
fn building_verbs(world: &World) -> Vec<String> {
    let grants = world.weirgate.home().join("grants").display().to_string();
    let description = world.weirgate.file("again.yaml", THING_DESCRIPTION).unwrap();
    let url = world.provider.url();
    let allowed = world.provider.host_port();
    let import = [
        "provider",
        "import",
        &description,
        "--name",
        "things",
        "--server",
        url,
        "--allow-private-network",
        allowed,
    ];
    [
        (&CONNECT[..], &br#"{"token":"another"}"#[..]),
        (&["client", "create", "another"], b""),
        (&["client", "key", "create", "reader", "--expires", "1d"], b""),
        (&import, b""),
        (&["apply", &grants, "--dry-run"], b""),
        (&["client", "list"], b""),
        (&["connection", "list"], b""),
        (&["provider", "list"], b""),
    ]
    .map(|(args, stdin)| fails(&world.weirgate, 5, args, stdin))
    .into()
}

fn revoke_key(world: &World) -> String {
    let listed = ok(&world.weirgate, &["client", "list", "--json"]);
    let clients = listed["clients"].as_array().unwrap();
    let reader = clients.iter().find(|one| one["name"] == "reader").unwrap();
    let id = text(&reader["keys"][0], "id");
    ok(&world.weirgate, &["client", "key", "revoke", &id, "--json"]);
    id
}

/// A roll-back that nobody noticed before is not made good by the next verb, whatever it touches.
#[test]
fn no_verb_launders_a_roll_back() {
    let mut world = World::prepared();
    let before = fs::read(database(&world)).unwrap();
    revoke_key(&world);
    let put_back = |world: &World| {
        for suffix in ["-wal", "-shm"] {
            let _ = fs::remove_file(world.weirgate.data_dir().join(format!("weirgate.db{suffix}")));
        }
        fs::write(database(world), &before).unwrap();
    };
    put_back(&world);
    for said in building_verbs(&world) {
        assert!(said.contains("the audit log recorded"), "{said}");
    }
    let id = "key_00000000000000000000000000";
    fails(&world.weirgate, 5, &["client", "key", "revoke", id], b"");
    let said = fails(&world.weirgate, 5, &SERVE, b"");
    assert!(said.contains("the audit log recorded"), "{said}");
    // Nobody gets past a verb by hiding the log from it.
    let audit = world.weirgate.data_dir().join("audit");
    let hidden = world.weirgate.home().join("hidden");
    fs::rename(&audit, &hidden).unwrap();
    for args in [&["client", "create", "another"][..], &["client", "list"]] {
        let said = fails(&world.weirgate, 1, args, b"");
        assert!(said.contains("the audit log is missing"), "{said}");
    }
    fs::rename(&hidden, &audit).unwrap();
    let said = fails(&world.weirgate, 5, &SERVE, b"");
    assert!(said.contains("the audit log recorded"), "{said}");
    world.server = None;
}

/// A row of each kind, changed, added or removed by hand: named by the verbs, and closed.
#[test]
fn a_row_that_somebody_else_wrote_is_named_and_closed() {
    let mut world = World::administered();
    let thief = FaultyProvider::start().unwrap();
    let elsewhere = format!(
        "UPDATE provider SET server = '{}', allow_private = '[\"{}\"]'",
        thief.url(),
        thief.host_port()
    );
    let sent_elsewhere = "UPDATE connection SET headers = '{\"X-Tenant\":\"other\"}'";
    let whole = fs::read(database(&world)).unwrap();
    let cases: [(&str, &str, &str, u16); 12] = [
        (&elsewhere, "provider", "changed", 404),
        ("UPDATE provider SET description = description || ' '", "description", "changed", 404),
        (sent_elsewhere, "connection", "changed", 404),
        ("UPDATE connection SET environment = 'test'", "connection", "changed", 404),
        ("UPDATE api_key SET expires_at = expires_at + 1", "api_key", "changed", 401),
        (
            "INSERT INTO api_key SELECT 'key_00000000000000000000000000', client, environment,
             x'6464646464646464646464646464646464646464646464646464646464646464', created_at,
             expires_at, revoked_at FROM api_key LIMIT 1",
            "api_key",
            "added",
            200,
        ),
        ("DELETE FROM api_key", "api_key", "removed", 401),
        ("UPDATE client SET name = 'payroll' WHERE name = 'reader'", "client", "changed", 403),
        (
            "UPDATE access_grant SET body = replace(body, '\"id\"', '\"secret\"')",
            "access_grant",
            "changed",
            403,
        ),
        ("UPDATE customer SET commitment = zeroblob(32)", "customer", "changed", 404),
        ("UPDATE sealed SET version = 2 WHERE table_name = 'connection'", "sealed", "changed", 404),
        ("DELETE FROM access_grant", "access_grant", "removed", 403),
    ];
    for (statement, kind, how, status) in cases {
        fs::write(database(&world), &whole).unwrap();
        if sql(&world, &[statement]).is_none() {
            return;
        }
        // A description is not read by a change of something else.
        if kind != "description" {
            let said = fails(&world.weirgate, 5, &["client", "create", "another"], b"");
            assert!(said.contains(kind) && said.contains(how), "{statement}: {said}");
        }
        let said = fails(&world.weirgate, 5, &["client", "list"], b"");
        assert!(said.contains(kind) && said.contains(how), "{statement}: {said}");
        world.serve();
        assert_eq!(world.get("/things/1").status, status, "{statement}");
        let output = world.stop();
        assert!(output.err().contains("not written by Weirgate"), "{statement}: {}", output.err());
    }
    assert!(thief.last_request().is_none(), "the credential went elsewhere");
}

/// Rows together with their seals, or the seals themselves: nothing is trusted any more, and nobody
/// gets them sealed anew.
#[test]
fn seals_that_do_not_fit_together_close_everything() {
    let mut world = World::prepared();
    let kept = [
        "CREATE TABLE kept_key AS SELECT * FROM api_key",
        "CREATE TABLE kept_seal AS SELECT * FROM row_seal",
        "CREATE TABLE kept_head AS SELECT * FROM state_head",
    ];
    if sql(&world, &kept).is_none() {
        return;
    }
    revoke_key(&world);
    let whole = fs::read(database(&world)).unwrap();
    let newest = "(SELECT MAX(sequence) FROM state_head)";
    let root = format!("UPDATE state_head SET root = zeroblob(32) WHERE sequence = {newest}");
    let count = format!("UPDATE state_head SET row_count = 1 WHERE sequence = {newest}");
    let newest_gone = format!("DELETE FROM state_head WHERE sequence = {newest}");
    let cases: [(&str, &[&str]); 8] = [
        (
            "a revoked key put back with its seal",
            &[
                "DELETE FROM api_key",
                "INSERT INTO api_key SELECT * FROM kept_key",
                "DELETE FROM row_seal WHERE kind = 'api_key'",
                "INSERT INTO row_seal SELECT * FROM kept_seal WHERE kind = 'api_key'",
            ],
        ),
        (
            "with the head of that time too",
            &[
                "DELETE FROM api_key",
                "INSERT INTO api_key SELECT * FROM kept_key",
                "DELETE FROM row_seal",
                "INSERT INTO row_seal SELECT * FROM kept_seal",
                "DELETE FROM state_head",
                "INSERT INTO state_head SELECT * FROM kept_head",
            ],
        ),
        ("a seal removed with its row", &["DELETE FROM row_seal WHERE kind = 'client'"]),
        ("no seals", &["DELETE FROM row_seal"]),
        ("no seals and no heads", &["DELETE FROM row_seal", "DELETE FROM state_head"]),
        ("another root", &[&root]),
        ("another count", &[&count]),
        ("an older head", &[&newest_gone]),
    ];
    for (name, statements) in cases {
        fs::write(database(&world), &whole).unwrap();
        sql(&world, statements).unwrap();
        for args in [&["client", "create", "another"][..], &["client", "list"], &SERVE] {
            let said = fails(&world.weirgate, 5, args, b"");
            let is_told = said.contains("seals do not fit") || said.contains("audit log recorded");
            assert!(is_told, "{name}: {said}");
        }
    }
    fs::write(database(&world), &whole).unwrap();
    world.serve();
    assert_eq!(world.get("/things/1").status, 401);
    world.stop();
}

/// What somebody puts into the outbox does not get into the log, and an event in it is not changed.
#[test]
fn nothing_foreign_gets_into_the_log() {
    let mut world = World::administered();
    // A server that was killed leaves a change that waits.
    world.serve();
    let entries = world.entries().len();
    world.stop();
    // Whoever closes the database last puts what is in its write-ahead log into the file.
    ok(&world.weirgate, &["user", "list", "--json"]);
    let whole = fs::read(database(&world)).unwrap();
    let forged = "INSERT INTO outbox (sequence, event, record) VALUES (99, zeroblob(16), x'a0')";
    let sealed = "INSERT INTO outbox (sequence, event, record, seal)
        VALUES (99, zeroblob(16), x'a0', zeroblob(32))";
    for statement in [forged, sealed] {
        fs::write(database(&world), &whole).unwrap();
        if sql(&world, &[statement]).is_none() {
            return;
        }
        let said = fails(&world.weirgate, 5, &SERVE, b"");
        assert!(said.contains("outbox"), "{said}");
    }
    fs::write(database(&world), &whole).unwrap();
    world.serve();
    world.stop();
    let verified = world.verify();
    assert!(verified["entries"].as_u64().unwrap() > u64::try_from(entries).unwrap());
}

/// A change whose event somebody takes away before the log has it stays in no force: the server closes
/// at once, long before what it knows is too old, and none starts. With the event all goes on.
#[test]
fn no_change_takes_effect_without_its_event() {
    let mut world = World::prepared();
    world.serve();
    assert_eq!(world.get("/things/1").status, 200);
    let kept = "CREATE TABLE kept AS SELECT * FROM outbox WHERE 0";
    let taken = "CREATE TRIGGER taken AFTER INSERT ON outbox BEGIN
        INSERT INTO kept SELECT * FROM outbox WHERE sequence = NEW.sequence;
        DELETE FROM outbox WHERE sequence = NEW.sequence; END";
    if sql(&world, &[kept, taken]).is_none() {
        return;
    }
    ok(&world.weirgate, &["client", "create", "another", "--json"]);
    let is_closed = || {
        let answer = world.get("/things/1");
        answer.status == 503 && code(&answer) == "snapshot_stale"
    };
    testkit::wait_until(Duration::from_secs(5), is_closed);
    let put_back = ["DROP TRIGGER taken", "INSERT INTO outbox SELECT * FROM kept"];
    sql(&world, &put_back).unwrap();
    testkit::wait_until(Duration::from_secs(5), || world.get("/things/1").status == 200);
    sql(&world, &["DELETE FROM kept", taken]).unwrap();
    ok(&world.weirgate, &["client", "create", "one-more", "--json"]);
    testkit::wait_until(Duration::from_secs(5), is_closed);
    let said = world.stop().err();
    assert!(said.contains("was removed before the audit log had it"), "{said}");
    sql(&world, &["DROP TRIGGER taken"]).unwrap();
    for args in [&["client", "create", "more"][..], &SERVE] {
        let said = fails(&world.weirgate, 5, args, b"");
        assert!(said.contains("was removed before the audit log had it"), "{said}");
    }
    // Nor is anything built on an account that somebody took away.
    sql(&world, &["INSERT INTO outbox SELECT * FROM kept", "DELETE FROM outbox_moved"]).unwrap();
    for args in [&["client", "create", "more"][..], &SERVE] {
        let said = fails(&world.weirgate, 5, args, b"");
        assert!(said.contains("seals do not fit"), "{said}");
    }
}

/// The seal of an event that was moved long ago is still right: it gets into the log once.
#[test]
fn an_event_that_was_copied_is_not_moved_again() {
    let mut world = World::prepared();
    let copied = "CREATE TABLE kept AS SELECT * FROM outbox WHERE 0";
    let copies = "CREATE TRIGGER copies AFTER INSERT ON outbox
        BEGIN INSERT INTO kept SELECT * FROM outbox WHERE sequence = NEW.sequence; END";
    if sql(&world, &[copied, copies]).is_none() {
        return;
    }
    // A change of several events.
    ok(&world.weirgate, &["client", "create", "another", "--json"]);
    sql(&world, &["DELETE FROM kept"]).unwrap();
    let changed = GRANTS.replace("read things", "read them");
    world.apply(&[&changed, &GRANTS.replace("reader", "another")[..]].concat());
    sql(&world, &["DROP TRIGGER copies"]).unwrap();
    assert_ne!(sql(&world, &["SELECT COUNT(*) FROM kept"]).unwrap().trim(), "1");
    revoke_key(&world);
    world.serve();
    let entries = world.entries().len();
    for _ in 0..2 {
        sql(&world, &["INSERT OR REPLACE INTO outbox SELECT * FROM kept"]).unwrap();
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(world.entries().len(), entries);
    }
    world.stop();
    world.verify();
}

/// An attack on one row must not keep a key alive.
#[test]
fn revoking_goes_on_beside_a_tampered_row() {
    let mut world = World::prepared();
    if sql(&world, &["UPDATE provider SET server = 'https://example.com'"]).is_none() {
        return;
    }
    let listed = sql(&world, &["SELECT id FROM api_key ORDER BY created_at"]).unwrap();
    let key = listed.lines().next().unwrap();
    ok(&world.weirgate, &["client", "key", "revoke", key, "--json"]);
    let connection = world.connection.clone();
    ok(&world.weirgate, &["connection", "revoke", &connection, "--json"]);
    // What was tampered with is as closed as before.
    let said = fails(&world.weirgate, 5, &["provider", "list"], b"");
    assert!(said.contains("provider") && said.contains("changed"), "{said}");
    world.serve();
    assert_eq!(world.get("/things/1").status, 401);
    world.stop();
}

/// Without a policy calls would pass that it forbids: where one is not as it was left, none passes.
#[test]
fn a_policy_that_somebody_else_changed_closes_the_gate() {
    const POLICY: &str = "forbid (principal, action == Action::\"call.delete\", resource);";
    let mut world = World::administered();
    let dir = world.weirgate.home().join("rules").display().to_string();
    world.weirgate.file("rules/no-deletes.cedar", POLICY).unwrap();
    ok(&world.weirgate, &["apply", &dir, "--json"]);
    ok(&world.weirgate, &["user", "list", "--json"]);
    let whole = fs::read(database(&world)).unwrap();
    for (statement, how) in [
        ("DELETE FROM policy", "removed"),
        ("UPDATE policy SET body = replace(body, 'call.delete', 'call.update')", "changed"),
        (
            "INSERT INTO policy (name, body, created_at) SELECT 'another', body, created_at FROM policy",
            "added",
        ),
        ("", ""),
    ] {
        fs::write(database(&world), &whole).unwrap();
        if !statement.is_empty() {
            if sql(&world, &[statement]).is_none() {
                return;
            }
            let said = fails(&world.weirgate, 5, &["policy", "list"], b"");
            assert!(said.contains("policy"), "{statement}: {said}");
            let said = fails(&world.weirgate, 5, &["client", "list"], b"");
            assert!(said.contains("policy") && said.contains(how), "{statement}: {said}");
        }
        world.serve();
        let status = if statement.is_empty() { 200 } else { 403 };
        assert_eq!(world.get("/things/1").status, status, "{statement}");
        world.stop();
    }
}
