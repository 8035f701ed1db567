//! The store's contract. `contract` knows no database: another one is added by another maker.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    unreachable_pub,
    reason = "a test fails by panicking, and its modules are seen by nobody else"
)]

mod contract;
mod files;
mod migrations;
mod people;
mod postgres;
mod processes;

use store::{Location, ServerUrl, Store, StoreError};
use tempfile::TempDir;
use testkit::Postgres;

const FILE: &str = "weirgate.db";

/// A fresh database in a folder of its own.
async fn sqlite() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(&at(&dir)).await.unwrap();
    (dir, store)
}

fn at(dir: &TempDir) -> Location {
    dir.path().join(FILE).as_path().into()
}

/// The real server of all tests, where PostgreSQL is installed.
fn server() -> Option<&'static Postgres> {
    let server = Postgres::shared();
    if server.is_none() {
        skipped();
    }
    server
}

fn skipped() {
    eprintln!("skipped: PostgreSQL is not installed");
}

/// A fresh database on a real server, where there is one.
async fn postgres() -> Option<(Location, Store)> {
    postgres_at().await.map(|(_, location, store)| (location, store))
}

async fn postgres_at() -> Option<(String, Location, Store)> {
    let server = tokio::task::spawn_blocking(server).await.unwrap()?;
    let url = tokio::task::spawn_blocking(|| server.database()).await.unwrap();
    let location = Location::Server(ServerUrl::parse(&url, None).unwrap());
    let store = Store::create(&location).await.unwrap();
    Some((url, location, store))
}

#[tokio::test]
async fn sqlite_keeps_the_contract() {
    let (_dir, store) = sqlite().await;
    contract::all(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_keeps_the_contract() {
    let Some((_, store)) = postgres().await else { return };
    contract::all(&store).await;
}

/// Every row comes back as it was, in either database from either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_restores_into_both_databases() {
    let (dir, from) = sqlite().await;
    contract::all(&from).await;
    let rows = dumped(&from).await;
    assert!(rows.iter().any(|(table, _)| table == "sealed") && rows.len() > 10);
    let again: Location = dir.path().join("again.db").as_path().into();
    let second = restored(&again, &rows).await.unwrap();
    assert_eq!(dumped(&second).await, rows);
    assert!(matches!(restored(&again, &rows).await, Err(StoreError::Exists { .. })));
    // A row without what it refers to: nothing is left of the attempt but an empty database.
    let torn: Vec<_> = rows.iter().filter(|(table, _)| table != "client").cloned().collect();
    let broken: Location = dir.path().join("broken.db").as_path().into();
    assert!(matches!(restored(&broken, &torn).await, Err(StoreError::Dangling { .. })));
    let foreign = [("sqlite_schema".to_owned(), Vec::new())];
    let other: Location = dir.path().join("other.db").as_path().into();
    assert!(matches!(restored(&other, &foreign).await, Err(StoreError::Foreign { .. })));
    let Some((url, _, empty)) = postgres_at().await else { return };
    drop((url, empty));
    let server = tokio::task::spawn_blocking(server).await.unwrap().unwrap();
    let url = tokio::task::spawn_blocking(|| server.database()).await.unwrap();
    let location = Location::Server(ServerUrl::parse(&url, None).unwrap());
    let third = restored(&location, &rows).await.unwrap();
    let back = dumped(&third).await;
    assert_eq!(sorted(&back), sorted(&rows));
}

type Rows = Vec<(String, Vec<store::Cell>)>;

/// The order of texts is a database's own.
fn sorted(rows: &Rows) -> Vec<String> {
    let mut texts: Vec<String> = rows.iter().map(|row| format!("{row:?}")).collect();
    texts.sort_unstable();
    texts
}

async fn dumped(store: &Store) -> Rows {
    let mut rows = Vec::new();
    store
        .dump(|table, row| {
            rows.push((table.to_owned(), row));
            Ok::<(), StoreError>(())
        })
        .await
        .unwrap();
    rows
}

async fn restored(
    location: &Location,
    rows: &[(String, Vec<store::Cell>)],
) -> Result<Store, StoreError> {
    let mut rest = rows.iter().cloned();
    Store::restore(location, || Ok(rest.next())).await
}

#[tokio::test]
async fn an_unfilled_database_is_told() {
    let (_dir, store) = sqlite().await;
    contract::is_unfilled(&store).await;
    let Some((_, store)) = postgres().await else { return };
    contract::is_unfilled(&store).await;
}

/// Readers see one moment: never half of a change, however writers and readers overlap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_reads_one_moment() {
    let (_dir, store) = sqlite().await;
    contract::reads_one_moment(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_reads_one_moment() {
    let Some((_, store)) = postgres().await else { return };
    contract::reads_one_moment(&store).await;
}

/// Nobody waits for ever: the one who comes second is told after the time-out.
#[tokio::test]
async fn a_writer_that_holds_on_keeps_others_out_for_seconds_only() {
    let (dir, store) = sqlite().await;
    holds_on(&at(&dir), &store).await;
    let Some((location, store)) = postgres().await else { return };
    holds_on(&location, &store).await;
}

async fn holds_on(location: &Location, store: &Store) {
    contract::fill(store).await;
    let other = Store::open(location).await.unwrap();
    let ctx = contract::ctx();
    let held = store.begin(&ctx).await.unwrap();
    // Of another process and of the same one; readers and the poll go on meanwhile.
    let (others, own, read) = tokio::join!(
        other.begin(&ctx),
        store.begin(&ctx),
        tokio::time::timeout(std::time::Duration::from_secs(3), async {
            other.load_all().await.unwrap();
            store.generation().await.unwrap()
        })
    );
    assert!(matches!(others, Err(StoreError::Busy)), "{others:?}");
    assert!(matches!(own, Err(StoreError::Busy)), "{own:?}");
    assert!(read.is_ok());
    drop(held);
    assert!(other.begin(&ctx).await.is_ok());
}
