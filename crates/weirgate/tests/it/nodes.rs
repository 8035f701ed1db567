//! Installations on PostgreSQL: by its configuration alone, with several nodes, and while the
//! database is away.

use crate::world::{CREDENTIAL, World, binary, fails, name_database, ok, on_server};
use std::fs;
use testkit::{POSTGRES_PASSWORD, Postgres, find_canary};

/// The server of these tests, or `None` where PostgreSQL is not installed.
fn postgres() -> Option<&'static Postgres> {
    let server = Postgres::shared();
    if server.is_none() {
        eprintln!("skipped: PostgreSQL is not installed");
    }
    server
}

/// A world on PostgreSQL, with the database's URL.
fn world(postgres: &Postgres) -> (World, String) {
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
