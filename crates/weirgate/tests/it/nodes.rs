//! Installations on PostgreSQL: by its configuration alone, with several nodes, and while the
//! database is away.

use crate::world::{
    CREDENTIAL, GRANTS, World, addr, binary, code, fails, name_database, ok, ok_with, on_server,
    text,
};
use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    time::{Duration, Instant},
};
use testkit::{POSTGRES_PASSWORD, Postgres, Server, Weirgate, client, find_canary};

/// The server of these tests, or `None` where PostgreSQL is not installed.
pub fn postgres() -> Option<&'static Postgres> {
    let server = Postgres::shared();
    if server.is_none() {
        eprintln!("skipped: PostgreSQL is not installed");
    }
    server
}

/// A world on PostgreSQL, with the database's URL.
pub fn world(postgres: &Postgres) -> (World, String) {
    let mut weirgate = binary();
    let url = on_server(&mut weirgate, postgres);
    (World::prepared_by(weirgate), url)
}

#[test]
fn the_main_job_is_done_on_postgresql() {
    let Some(postgres) = postgres() else { return };
    let (mut world, url) = world(postgres);
    // The folder remembers its database: neither environment nor flag is needed any more.
    world.weirgate.unset("WEIRGATE_DATABASE_URL");
    world.weirgate.unset("WEIRGATE_DATABASE_PASSWORD_FILE");
    assert!(!world.weirgate.data_dir().join("weirgate.db").exists());
    world.serve();
    let answer = world.get("/things/1");
    assert_eq!(answer.status, 200, "{answer:?}");
    let stored = ok(&world.weirgate, &["config", "show", "--json"]);
    assert_eq!(stored["database_url"]["value"], url.as_str());
    let output = world.stop();
    let report = world.verify();
    assert_eq!(report["outbox_rows"], 0, "{report}");
    assert!(report["entries"].as_u64().unwrap() > 8, "{report}");
    fs::remove_file(world.weirgate.home().join("database-password")).unwrap();
    let texts: [(&str, &[u8]); 2] = [("out", &output.stdout), ("err", &output.stderr)];
    let secrets = [POSTGRES_PASSWORD, CREDENTIAL, &world.key];
    let found = find_canary(world.weirgate.home(), &texts, &secrets).unwrap();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_password_stands_in_a_private_file_or_nowhere() {
    let mut weirgate = binary();
    let url = format!("postgres://weirgate:{POSTGRES_PASSWORD}@127.0.0.1:1/db");
    let said = fails(&weirgate, 2, &["init", "--database-url", &url], b"");
    assert!(said.contains("database_password_file"), "{said}");
    assert!(!said.contains(POSTGRES_PASSWORD), "{said}");
    let open = weirgate.file("open", POSTGRES_PASSWORD).unwrap();
    let url = "postgres://weirgate@127.0.0.1:1/db";
    let args = ["init", "--database-url", url, "--database-password-file", &open];
    let said = fails(&weirgate, 2, &args, b"");
    assert!(said.contains("may be read by others") && said.contains("chmod 600"), "{said}");
    // A server that is not there is told apart, and leaves no folder.
    name_database(&mut weirgate, url);
    let said = fails(&weirgate, 7, &["init"], b"");
    assert!(said.contains("the database cannot be reached"), "{said}");
    assert!(!weirgate.data_dir().exists());
    // Nothing is written to the database of somebody else.
    let Some(postgres) = postgres() else { return };
    let url = on_server(&mut weirgate, postgres);
    let name = url.rsplit('/').next().unwrap().to_owned();
    postgres.psql(&name, "CREATE TABLE theirs (a int)").unwrap();
    let said = fails(&weirgate, 1, &["init"], b"");
    assert!(said.contains("nothing was changed"), "{said}");
    let tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'";
    assert_eq!(postgres.psql(&name, tables).unwrap().trim(), "1");
}

/// The root key of a data folder, as it was recorded there.
fn root_key(weirgate: &Weirgate) -> String {
    let place = fs::read_to_string(weirgate.data_dir().join("root-key-path")).unwrap();
    place.trim_end().to_owned()
}

/// One more home, whose folder is to be a node of this installation.
pub fn another(world: &World, url: &str) -> Weirgate {
    let mut weirgate = binary();
    name_database(&mut weirgate, url);
    weirgate.set("WEIRGATE_ROOT_KEY_FILE", &root_key(&world.weirgate));
    weirgate
}

fn serve(weirgate: &Weirgate) -> (Server, SocketAddr) {
    let args =
        ["serve", "--gateway-addr", "127.0.0.1:0", "--console-addr", "127.0.0.1:0", "--json"];
    let (server, line) = weirgate.spawn_until_json(&args).unwrap();
    (server, addr(&line, "gateway"))
}

fn status(at: SocketAddr, key: &str, connection: &str) -> u16 {
    let bearer = format!("Bearer {key}");
    let path = format!("/proxy/{connection}/things/1");
    client::get(at, &path, &[("Authorization", &bearer)]).unwrap().status
}

/// Waits until both nodes answer so, and says how long it took.
fn both(nodes: [SocketAddr; 2], wanted: u16, key: &str, connection: &str) -> Duration {
    let began = Instant::now();
    testkit::wait_until(Duration::from_secs(10), || {
        nodes.iter().all(|at| status(*at, key, connection) == wanted)
    });
    began.elapsed()
}

/// How often each change stands in the logs of these folders.
fn changes(nodes: &[&Weirgate]) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for node in nodes {
        let listed = ok(node, &["audit", "list", "--limit", "1000000", "--json"]);
        for entry in listed["entries"].as_array().unwrap() {
            if entry["kind"] == "changed" {
                let change = format!("{} {}", text(entry, "event"), text(entry, "verb"));
                *found.entry(change).or_default() += 1;
            }
        }
    }
    found
}

#[test]
fn two_nodes_follow_one_database_within_a_second() {
    let Some(postgres) = postgres() else { return };
    let (mut world, url) = world(postgres);
    let second = another(&world, &url);
    let joined = ok(&second, &["init", "--json"]);
    let node = text(&joined, "node");
    assert!(node.starts_with("node_"), "{joined}");
    world.serve();
    let (server, at) = serve(&second);
    let nodes = [world.addr, at];
    let secret = r#"{"token":"another"}"#;
    let create = ["connection", "create", "--provider", "things", "--customer", "Beta"];
    let create = [&create[..], &["--scheme", "bearer", "--secret-file", "-", "--json"]].concat();
    let within = |took: Duration| assert!(took < Duration::from_secs(1), "{took:?}");

    within(both(nodes, 200, &world.key, &world.connection));
    // A connection that was made at the second node, a grant that was changed at the first, and a
    // key that was revoked at the second: each is in force at both.
    let made = text(&ok_with(&second, &create, secret.as_bytes()), "id");
    within(both(nodes, 200, &world.key, &made));
    world.apply("");
    within(both(nodes, 403, &world.key, &made));
    world.apply(GRANTS);
    within(both(nodes, 200, &world.key, &made));
    ok(&second, &["connection", "revoke", &made, "--json"]);
    within(both(nodes, 404, &world.key, &made));
    let listed = ok(&second, &["client", "list", "--json"]);
    let clients = listed["clients"].as_array().unwrap();
    let reader = clients.iter().find(|one| one["name"] == "reader").unwrap();
    let key = text(&reader["keys"][0], "id");
    ok(&second, &["client", "key", "revoke", &key, "--json"]);
    within(both(nodes, 401, &world.key, &world.connection));

    world.stop();
    assert_eq!(server.terminate().unwrap().status, Some(0));
    // Each log is whole by itself, has a name of its own, and each change stands in one of them.
    let first = world.verify();
    let other = ok(&second, &["audit", "verify", "--json"]);
    assert_eq!(text(&other, "origin"), format!("{}/{node}", text(&first, "origin")));
    assert_eq!((&first["outbox_rows"], &other["outbox_rows"]), (&0.into(), &0.into()));
    let changes = changes(&[&world.weirgate, &second]);
    assert!(changes.values().all(|times| *times == 1), "{changes:?}");
    for verb in ["node.join", "connection.revoke", "key.revoke"] {
        assert!(changes.keys().any(|change| change.ends_with(verb)), "no {verb}: {changes:?}");
    }
}

#[test]
fn who_has_not_the_root_key_adds_no_node() {
    let Some(postgres) = postgres() else { return };
    let (world, url) = world(postgres);
    let mut second = another(&world, &url);
    second.unset("WEIRGATE_ROOT_KEY_FILE");
    let said = fails(&second, 2, &["init"], b"");
    assert!(said.contains("--root-key-file"), "{said}");
    // Another installation's.
    let other = World::prepared();
    second.set("WEIRGATE_ROOT_KEY_FILE", &root_key(&other.weirgate));
    let said = fails(&second, 1, &["init"], b"");
    assert!(said.contains("the vault refuses"), "{said}");
    assert!(!second.data_dir().exists());
    assert_eq!(world.verify()["outbox_rows"], 0);
}

/// However nodes end, each change gets one entry in one log.
#[test]
fn each_change_stands_in_one_log_once_though_nodes_are_killed() {
    let Some(postgres) = postgres() else { return };
    let (world, url) = world(postgres);
    let second = another(&world, &url);
    ok(&second, &["init", "--json"]);
    let homes = [&world.weirgate, &second];
    let mut servers = homes.map(|home| Some(serve(home).0));
    let mut made = 0;
    for round in 0..6 {
        for number in 0..3 {
            let name = format!("c{round}-{number}");
            ok(homes[(round + number) % 2], &["client", "create", &name, "--json"]);
            made += 1;
        }
        // In the midst of moving what was just committed.
        let killed = round % 2;
        std::thread::sleep(Duration::from_millis(40 * round as u64));
        servers[killed].take().unwrap().kill9().unwrap();
        ok(homes[1 - killed], &["client", "create", &format!("d{round}"), "--json"]);
        made += 1;
        servers[killed] = Some(serve(homes[killed]).0);
    }
    for server in servers.into_iter().flatten() {
        assert_eq!(server.terminate().unwrap().status, Some(0));
    }
    for home in homes {
        assert_eq!(ok(home, &["audit", "verify", "--json"])["outbox_rows"], 0);
    }
    let changes = changes(&homes);
    assert!(changes.values().all(|times| *times == 1), "{changes:?}");
    let created = changes.keys().filter(|change| change.ends_with("client.create")).count();
    // Two are the world's own.
    assert_eq!(created, made + 2);
}

/// The first node is stopped with a change that waits for it: whoever joins meanwhile moves that.
#[test]
fn a_node_that_joins_moves_what_waits_from_before() {
    let Some(postgres) = postgres() else { return };
    let (world, url) = world(postgres);
    let (server, _) = serve(&world.weirgate);
    let signal = |name: &str| {
        let id = server.id().to_string();
        assert!(std::process::Command::new("kill").args([name, &id]).status().unwrap().success());
    };
    signal("-STOP");
    ok(&world.weirgate, &["client", "create", "waiting", "--json"]);
    assert_eq!(world.verify()["outbox_rows"], 1);
    let second = another(&world, &url);
    ok(&second, &["init", "--json"]);
    assert_eq!(ok(&second, &["audit", "verify", "--json"])["outbox_rows"], 0);
    let own = changes(&[&second]);
    assert_eq!(own.len(), 2, "{own:?}");
    ok(&second, &["client", "create", "later", "--json"]);
    signal("-CONT");
    assert_eq!(server.terminate().unwrap().status, Some(0));
    let changes = changes(&[&world.weirgate, &second]);
    assert!(changes.values().all(|times| *times == 1), "{changes:?}");
    world.verify();
    // Each opens its log again, and goes on.
    ok(&world.weirgate, &["client", "create", "again", "--json"]);
    ok(&second, &["client", "create", "once-more", "--json"]);
}

/// Calls go on by what is known, until that is too old; then none passes, and all do again without a
/// restart. What was changed meanwhile elsewhere is followed at once.
#[test]
fn an_outage_of_the_database_is_survived_then_closes_the_gate_then_heals() {
    let Some(mut postgres) = Postgres::start().unwrap() else {
        eprintln!("skipped: PostgreSQL is not installed");
        return;
    };
    let (mut world, _) = world(&postgres);
    world.weirgate.set("WEIRGATE_MAX_SNAPSHOT_AGE_MS", "4000");
    world.serve();
    let now = |world: &World| world.get("/things/1");
    assert_eq!(now(&world).status, 200);
    let before = Instant::now();
    postgres.stop().unwrap();
    let began = Instant::now();
    let mut served = 0;
    let closed = loop {
        let answer = now(&world);
        if answer.status != 200 {
            break answer;
        }
        served += 1;
        assert!(began.elapsed() < Duration::from_secs(10), "the gate stays open");
        std::thread::sleep(Duration::from_millis(20));
    };
    // The last poll was answered between a moment before the stop and its end.
    let (most, least) = (before.elapsed(), began.elapsed());
    assert!(most > Duration::from_secs(3), "{most:?}");
    assert!(least < Duration::from_secs(6), "{least:?}");
    assert!(served > 20, "{served}");
    assert_eq!((closed.status, code(&closed).as_str()), (503, "snapshot_stale"));
    let said = fails(&world.weirgate, 7, &["client", "list"], b"");
    assert!(said.contains("the database cannot be reached"), "{said}");

    postgres.restart().unwrap();
    testkit::wait_until(Duration::from_secs(10), || now(&world).status == 200);
    // Changes are followed and recorded again.
    world.apply("");
    testkit::wait_until(Duration::from_secs(2), || now(&world).status == 403);
    let output = world.stop();
    assert!(!output.err().contains("panic"), "{}", output.err());
    let report = world.verify();
    assert_eq!((&report["outbox_rows"], &report["open_intents"]), (&0.into(), &0.into()));
}

/// Moving entries, and telling the store of them, waits up to 5 s for locks; a revocation does not.
#[test]
fn a_log_that_waits_for_the_database_delays_no_revocation() {
    let Some(postgres) = postgres() else { return };
    let (mut world, url) = world(postgres);
    world.serve();
    let database = url.rsplit('/').next().unwrap().to_owned();
    std::thread::scope(|scope| {
        let locked = "BEGIN; LOCK TABLE audit_checkpoint IN SHARE MODE; SELECT pg_sleep(6)";
        let held = scope.spawn(|| postgres.psql(&database, locked).unwrap());
        // New entries are signed within a second: the next checkpoint waits to be told by then.
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(1_600) {
            assert_eq!(world.get("/things/1").status, 200);
            std::thread::sleep(Duration::from_millis(20));
        }
        world.apply("");
        let began = Instant::now();
        testkit::wait_until(Duration::from_secs(10), || world.get("/things/1").status == 403);
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        assert!(!held.is_finished(), "the lock was held too shortly");
        held.join().unwrap();
    });
    world.stop();
    assert_eq!(world.verify()["outbox_rows"], 0);
}

/// A node is lost for good with an event that it had claimed: the others take it by an operator's act,
/// late, once, and saying whose it was. A node that is at work is not retired, and one that was does
/// nothing any more.
#[test]
fn the_events_of_a_lost_node_are_taken_over() {
    let Some(postgres) = postgres() else { return };
    let (world, url) = world(postgres);
    let database = url.rsplit('/').next().unwrap().to_owned();
    let second = another(&world, &url);
    let joined = ok(&second, &["init", "--json"]);
    let node = text(&joined, "node");
    let (server, _) = serve(&second);
    let said = fails(&world.weirgate, 5, &["node", "retire", &node], b"");
    assert!(said.contains("is at work"), "{said}");
    assert_eq!(server.terminate().unwrap().status, Some(0));
    for (name, exit) in [("first", 2), ("node_00000000000000000000000000", 3)] {
        fails(&world.weirgate, exit, &["node", "retire", name], b"");
    }

    // It claimed an event, and ended before that was in its log.
    let (running, _) = serve(&world.weirgate);
    let signal = |name: &str| {
        let id = running.id().to_string();
        assert!(std::process::Command::new("kill").args([name, &id]).status().unwrap().success());
    };
    signal("-STOP");
    ok(&world.weirgate, &["client", "create", "claimed", "--json"]);
    let claim = format!(
        "UPDATE outbox SET claimed_by = (SELECT origin FROM audit_checkpoint WHERE origin LIKE '%{node}')"
    );
    postgres.psql(&database, &claim).unwrap();
    ok(&world.weirgate, &["client", "create", "later", "--json"]);
    signal("-CONT");
    testkit::wait_until(Duration::from_secs(10), || world.verify()["outbox_rows"] == 1);
    let listed = |home: &Weirgate| ok(home, &["node", "list", "--json"])["nodes"].clone();
    let nodes = listed(&world.weirgate);
    let of = |nodes: &serde_json::Value, name: &str| {
        nodes.as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone()
    };
    let lost = of(&nodes, &node);
    assert_eq!(
        (&lost["claimed"], &lost["own"], &lost["retired"]),
        (&1.into(), &false.into(), &false.into())
    );
    assert_eq!(of(&nodes, "first")["own"], true);

    let retired = ok(&world.weirgate, &["node", "retire", &node, "--json"]);
    assert_eq!(retired["events"].as_array().unwrap().len(), 1, "{retired}");
    testkit::wait_until(Duration::from_secs(10), || world.verify()["outbox_rows"] == 0);
    assert_eq!(of(&listed(&world.weirgate), &node)["retired"], true);
    let entries = world.entries();
    let own: Vec<_> = entries
        .iter()
        .filter(|entry| entry["details"].to_string().contains("name: claimed"))
        .collect();
    assert_eq!(own.len(), 1, "{own:?}");
    let details = own[0]["details"].to_string();
    assert!(details.contains(&format!("taken_over_from: {}", text(&lost, "log"))), "{details}");
    assert!(entries.iter().any(|entry| entry["verb"] == "node.retire"), "the act is recorded");
    // Nothing is left to be taken.
    let again = ok(&world.weirgate, &["node", "retire", &node, "--json"]);
    assert_eq!(again["events"], serde_json::json!([]));
    assert_eq!(running.terminate().unwrap().status, Some(0));
    for args in [
        &["client", "create", "zombie"][..],
        &["serve", "--gateway-addr", "127.0.0.1:0", "--console-addr", "127.0.0.1:0"],
    ] {
        let said = fails(&second, 5, args, b"");
        assert!(said.contains("was retired"), "{said}");
    }
    let changes = changes(&[&world.weirgate, &second]);
    assert!(changes.values().all(|times| *times == 1), "{changes:?}");
    ok(&second, &["audit", "verify", "--json"]);
    // The first goes on as before, from a log that is past that number.
    ok(&world.weirgate, &["client", "create", "goes-on", "--json"]);
    world.verify();
}

/// A node that was retired and is not lost after all closes its gate.
#[test]
fn a_retired_node_that_comes_back_serves_no_more() {
    let Some(postgres) = postgres() else { return };
    let (world, url) = world(postgres);
    let second = another(&world, &url);
    let node = text(&ok(&second, &["init", "--json"]), "node");
    let (server, at) = serve(&second);
    assert_eq!(status(at, &world.key, &world.connection), 200);
    let signal = |name: &str| {
        let id = server.id().to_string();
        assert!(std::process::Command::new("kill").args([name, &id]).status().unwrap().success());
    };
    signal("-STOP");
    ok(&world.weirgate, &["node", "retire", &node, "--json"]);
    signal("-CONT");
    testkit::wait_until(Duration::from_secs(10), || {
        status(at, &world.key, &world.connection) == 503
    });
    let output = server.terminate().unwrap();
    assert!(output.err().contains("was retired"), "{}", output.err());
}

/// Each node closes for a change whose event somebody removed, whoever would have moved it.
#[test]
fn every_node_closes_for_a_change_without_its_event() {
    let Some(postgres) = postgres() else { return };
    let (mut world, url) = world(postgres);
    let database = url.rsplit('/').next().unwrap().to_owned();
    let second = another(&world, &url);
    ok(&second, &["init", "--json"]);
    world.serve();
    let (_server, at) = serve(&second);
    let nodes = [world.addr, at];
    both(nodes, 200, &world.key, &world.connection);
    let kept = "CREATE TABLE kept AS SELECT * FROM outbox WHERE false;
        CREATE FUNCTION taken() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO kept SELECT NEW.*; RETURN NULL; END $$;
        CREATE TRIGGER taken BEFORE INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION taken();";
    postgres.psql(&database, kept).unwrap();
    ok(&second, &["client", "create", "unseen", "--json"]);
    both(nodes, 503, &world.key, &world.connection);
    let put_back = "DROP TRIGGER taken ON outbox; INSERT INTO outbox SELECT * FROM kept;";
    postgres.psql(&database, put_back).unwrap();
    both(nodes, 200, &world.key, &world.connection);
}
