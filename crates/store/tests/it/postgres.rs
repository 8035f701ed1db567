//! What only a server can do: be another's, be away, be newer, undo a change.

use crate::{contract, postgres_at, server};
use store::{Location, ServerUrl, Store, StoreError};
use testkit::{POSTGRES_PASSWORD, Postgres};

fn location(url: &str) -> Location {
    Location::Server(ServerUrl::parse(url, None).unwrap())
}

/// The database's name in its URL.
fn name(url: &str) -> &str {
    url.rsplit('/').next().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_programs_database_is_left_as_it_is() {
    let Some(server) = server() else { return };
    let url = server.database();
    let refused = Store::open(&location(&url)).await.unwrap_err();
    assert!(matches!(refused, StoreError::NotFound { .. }), "{refused}");
    server.psql(name(&url), "CREATE TABLE bookmarks (url TEXT)").unwrap();
    for refused in [
        Store::open(&location(&url)).await.unwrap_err(),
        Store::create(&location(&url)).await.unwrap_err(),
    ] {
        assert!(matches!(refused, StoreError::NotOurs { .. }), "{refused}");
        assert!(!format!("{refused} {refused:?}").contains(POSTGRES_PASSWORD));
    }
    let tables =
        server.psql(name(&url), "SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'");
    assert_eq!(tables.unwrap().trim(), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_database_is_made_once_and_a_newer_one_refused() {
    let Some((url, location, store)) = postgres_at().await else { return };
    contract::fill(&store).await;
    let refused = Store::create(&location).await.unwrap_err();
    assert!(matches!(refused, StoreError::Exists { .. }), "{refused}");
    let server = server().unwrap();
    let later = "INSERT INTO _sqlx_migrations
        (version, description, success, checksum, execution_time) VALUES (9999, 'later', TRUE, '', 1)";
    server.psql(name(&url), later).unwrap();
    let refused = Store::open(&location).await.unwrap_err();
    assert!(matches!(refused, StoreError::Newer { layout: 9999, .. }), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_passwords_names_and_servers_are_told_apart() {
    let Some((url, ..)) = postgres_at().await else { return };
    let open = async |url: &str| Store::open(&location(url)).await.unwrap_err();
    let error = open(&url.replace(POSTGRES_PASSWORD, "wrong")).await;
    assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
    let error = open(&url.replace(name(&url), "nowhere")).await;
    assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
    let error = open("postgres://u:p@127.0.0.1:1/d").await;
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error:?}");
}

/// Somebody at the tables by hand makes the server undo one of two: ours says so, and all of it is
/// gone; made again, it is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_the_server_undid_is_told_and_left_no_trace() {
    let Some((url, _, store)) = postgres_at().await else { return };
    contract::fill(&store).await;
    let before = store.load_all().await.unwrap();
    let mut tx = store.begin(&contract::ctx()).await.unwrap();
    let waiting = "SELECT COUNT(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let server = server().unwrap();
    // Holds the clients, then waits for the generation that the change holds.
    let by_hand = {
        let name = name(&url).to_owned();
        std::thread::spawn(move || {
            server.psql(
                &name,
                "BEGIN; SET deadlock_timeout = '60s'; LOCK TABLE client IN ACCESS EXCLUSIVE MODE;
                 UPDATE generation SET number = number; COMMIT",
            )
        })
    };
    testkit::wait_until(std::time::Duration::from_secs(10), || {
        server.psql(name(&url), waiting).unwrap().trim() == "1"
    });
    let row = contract::client("victim");
    let undone = tx.insert_client(&row).await.unwrap_err();
    assert!(matches!(undone, StoreError::Serialization), "{undone:?}");
    drop(tx);
    by_hand.join().unwrap().unwrap();
    let after = store.load_all().await.unwrap();
    assert_eq!((after.generation, after.clients), (before.generation, before.clients));
    contract::add_client(&store, "victim").await;
}

/// A server that went away is found again without a new start of ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back_is_found_again() {
    let Some(mut server) = Postgres::start().unwrap() else { return crate::skipped() };
    let store = Store::create(&location(&server.database())).await.unwrap();
    contract::fill(&store).await;
    let generation = store.generation().await.unwrap();
    server.stop().unwrap();
    let away = store.generation().await.unwrap_err();
    assert!(away.is_unreachable(), "{away:?}");
    let away = store.begin(&contract::ctx()).await.unwrap_err();
    assert!(away.is_unreachable(), "{away:?}");
    server.restart().unwrap();
    assert_eq!(store.generation().await.unwrap(), generation);
    contract::add_client(&store, "back").await;
    store.close().await;
}
