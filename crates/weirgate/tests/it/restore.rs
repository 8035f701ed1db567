//! Backups come back: in either database from either, with the root key alone, and only if Weirgate
//! wrote them.

use crate::world::{World, binary, fails, name_database, ok, on_server, text};
use serde_json::{Value, json};
use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
};
use testkit::{Postgres, Weirgate};

/// As another program computes it.
fn sha256(bytes: &[u8]) -> String {
    let mut program = Command::new("sha256sum");
    let mut run = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    run.stdin.take().unwrap().write_all(bytes).unwrap();
    let said = run.wait_with_output().unwrap().stdout;
    String::from_utf8(said).unwrap().split(' ').next().unwrap().to_owned()
}

fn backup(weirgate: &Weirgate, name: &str) -> String {
    let file = weirgate.home().join(name).display().to_string();
    ok(weirgate, &["backup", "create", &file, "--json"]);
    file
}

/// A home with this root key and nothing else.
fn with_key(of: &Weirgate) -> Weirgate {
    let place = fs::read_to_string(of.data_dir().join("root-key-path")).unwrap();
    let mut weirgate = binary();
    weirgate.set("WEIRGATE_ROOT_KEY_FILE", place.trim_end());
    weirgate
}

fn the_restoration(weirgate: &Weirgate) -> Value {
    let listed = ok(weirgate, &["audit", "list", "--limit", "100", "--json"]);
    let entries = listed["entries"].as_array().unwrap();
    let changes: Vec<&Value> = entries.iter().filter(|one| one["kind"] == "changed").collect();
    // It is the first change of its log.
    assert_eq!(changes.last().unwrap()["verb"], "instance.restore", "{listed}");
    (*changes.last().unwrap()).clone()
}

/// Puts a backup back into a new folder, and looks at what it serves. Yields the old home.
fn restored(world: &mut World, file: &str, into: Weirgate) -> Weirgate {
    let old = std::mem::replace(&mut world.weirgate, into);
    let made = ok(&world.weirgate, &["backup", "restore", file, "--json"]);
    let bytes = fs::read(file).unwrap();
    assert_eq!(made["backup_sha256"], sha256(&bytes).as_str());
    assert!(made["age_seconds"].as_u64().unwrap() < 60, "{made}");
    let entry = the_restoration(&world.weirgate).to_string();
    let report = ok(&old, &["audit", "verify", "--json"]);
    for bound in [sha256(&bytes), text(&report, "origin")] {
        assert!(entry.contains(&bound), "no {bound} in {entry}");
    }
    world.serve();
    assert_eq!(world.get("/things/1").status, 200, "the key and the credential are as they were");
    let node = text(&made, "node");
    ok(&world.weirgate, &["client", "create", &format!("after-{}", &node[20..]), "--json"]);
    world.stop();
    let own = world.verify();
    assert_eq!(text(&own, "origin").matches('/').count(), 2, "{own}");
    assert_eq!(own["outbox_rows"], 0);
    // The log before it is whole by itself, and is not this one.
    let key = old.data_dir().join("audit.pub").display().to_string();
    ok(&old, &["audit", "verify", "--key", &key, "--json"]);
    fails(&world.weirgate, 1, &["audit", "verify", "--key", &key], b"");
    old
}

#[test]
fn a_backup_comes_back_as_a_new_node() {
    let mut world = World::prepared();
    world.weirgate.file("data/weirgate.toml", "max_calls = 77\n").unwrap();
    let file = backup(&world.weirgate, "backup");
    let into = with_key(&world.weirgate);
    let _old = restored(&mut world, &file, into);
    // Nothing vouches for a configuration.
    let config = ok(&world.weirgate, &["config", "show", "--json"]);
    assert_eq!(config["max_calls"]["value"], 10_000);
    let kept = world.weirgate.data_dir().join("weirgate.toml.from-backup");
    assert_eq!(fs::read_to_string(kept).unwrap(), "max_calls = 77\n");
    // A folder that is there is not written over.
    let said = fails(&world.weirgate, 2, &["backup", "restore", &file], b"");
    assert!(said.contains("is a data folder already"), "{said}");
    // It says how old it is, and what that means.
    let another = with_key(&world.weirgate);
    let output = another.run(&["backup", "restore", &file], b"").unwrap();
    assert_eq!(output.status, Some(0), "{}", output.err());
    for wanted in ["second", "ago", "What was revoked since is in force again"] {
        assert!(output.out().contains(wanted), "{}", output.out());
    }
}

#[test]
fn a_backup_crosses_from_sqlite_to_postgresql_and_back() {
    let Some(postgres) = Postgres::shared() else {
        eprintln!("skipped: PostgreSQL is not installed");
        return;
    };
    let mut world = World::prepared();
    let file = backup(&world.weirgate, "backup");
    let mut there = with_key(&world.weirgate);
    let url = on_server(&mut there, postgres);
    let _first = restored(&mut world, &file, there);
    // The database that is filled now takes no other.
    let mut again = with_key(&world.weirgate);
    name_database(&mut again, &url);
    let said = fails(&again, 1, &["backup", "restore", &file], b"");
    assert!(said.contains("there is a database"), "{said}");
    assert!(!again.data_dir().exists());
    let back = backup(&world.weirgate, "back");
    let here = with_key(&world.weirgate);
    let _second = restored(&mut world, &back, here);
    // Both logs before are named.
    let logs = the_restoration(&world.weirgate).to_string().matches("weirgate/inst_").count();
    assert_eq!(logs, 2);
}

/// The backup with other lines, and an end that fits them.
fn made_up(lines: &[String]) -> Vec<u8> {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let end = json!({"rows": lines.len() - 1, "sha256": sha256(text.as_bytes())});
    format!("{text}{end}\n").into_bytes()
}

#[test]
fn a_backup_that_somebody_made_up_is_refused() {
    let world = World::prepared();
    let listed = ok(&world.weirgate, &["client", "list", "--json"]);
    let clients = listed["clients"].as_array().unwrap();
    let key = text(&clients[0]["keys"][0], "id");
    ok(&world.weirgate, &["client", "key", "revoke", &key, "--json"]);
    let file = backup(&world.weirgate, "backup");
    let whole = fs::read_to_string(&file).unwrap();
    let mut lines: Vec<String> = whole.lines().map(ToOwned::to_owned).collect();
    lines.pop();
    let mut into = with_key(&world.weirgate);
    let postgres = Postgres::shared();
    let database = postgres.map(|server| {
        let url = on_server(&mut into, server);
        (server, url.rsplit('/').next().unwrap().to_owned())
    });
    let at = |start: &str, holds: &str| {
        let found = lines.iter().position(|one| one.starts_with(start) && one.contains(holds));
        found.unwrap_or_else(|| panic!("no {start} with {holds}"))
    };
    let refused = |lines: &[String], exit: i32, wanted: &str| {
        fs::write(&file, made_up(lines)).unwrap();
        let said = fails(&into, exit, &["backup", "restore", &file], b"");
        assert!(said.contains(wanted), "{said}");
        let left: Vec<_> = fs::read_dir(into.home()).unwrap().map(|e| e.unwrap().path()).collect();
        assert!(!left.iter().any(|path| path.display().to_string().contains("data.")), "{left:?}");
        assert!(!into.data_dir().exists());
        if let Some((server, name)) = &database {
            let count = "SELECT count(*) FROM information_schema.tables \
                         WHERE table_schema = 'public'";
            assert_eq!(server.psql(name, count).unwrap().trim(), "0");
        }
    };
    // A revocation that is taken back.
    let mut forged = lines.clone();
    let row = at("[\"api_key\"", &key);
    let mut value: Value = serde_json::from_str(&forged[row]).unwrap();
    assert!(!value[1][6].is_null());
    value[1][6] = Value::Null;
    forged[row] = value.to_string();
    refused(&forged, 5, "was changed by somebody else");
    // A grant that is gone, without its seal and with it.
    let mut forged = lines.clone();
    let grant: Value = serde_json::from_str(&forged.remove(at("[\"access_grant\"", ""))).unwrap();
    refused(&forged, 5, "was removed by somebody else");
    let id = grant[1][0].as_str().unwrap();
    forged.retain(|line| !(line.starts_with("[\"row_seal\"") && line.contains(id)));
    refused(&forged, 5, "do not fit together");
    // An event that was never written, and a log that was never signed.
    let mut forged = lines.clone();
    let event = json!(["outbox", [9_999, {"base64": "AAAAAAAAAAAAAAAAAAAAAA=="}, {"base64": "AA=="}, null, null]]);
    forged.insert(at("[\"audit_checkpoint\"", ""), event.to_string());
    refused(&forged, 5, "the row 9999 of outbox was added");
    let mut forged = lines.clone();
    let row = at("[\"audit_checkpoint\"", "");
    let mut value: Value = serde_json::from_str(&forged[row]).unwrap();
    let note = value[1][2].as_str().unwrap().replacen('\n', "\n1", 1);
    value[1][2] = note.into();
    forged[row] = value.to_string();
    refused(&forged, 1, "the audit log cannot be opened");
    // Another release's.
    let mut forged = lines.clone();
    let mut head: Value = serde_json::from_str(&forged[0]).unwrap();
    head["layout"] = json!(1);
    forged[0] = head.to_string();
    refused(&forged, 1, "another release");
    // Who has not the root key, or another, gets nothing of the true one.
    fs::write(&file, &whole).unwrap();
    let other = World::prepared();
    let key = |of: &Weirgate| {
        fs::read_to_string(of.data_dir().join("root-key-path")).unwrap().trim_end().to_owned()
    };
    let mut stranger = binary();
    let said = fails(&stranger, 1, &["backup", "restore", &file], b"");
    assert!(said.contains("root key"), "{said}");
    stranger.set("WEIRGATE_ROOT_KEY_FILE", &key(&other.weirgate));
    let said = fails(&stranger, 1, &["backup", "restore", &file], b"");
    assert!(said.contains("the vault refuses"), "{said}");
    assert!(!stranger.data_dir().exists());
    // The true one passes where all those did not.
    ok(&into, &["backup", "restore", &file, "--json"]);
}
