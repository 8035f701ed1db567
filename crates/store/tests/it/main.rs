//! The store's contract. `contract` knows no database: another one is added by another maker.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test fails by panicking, and its modules are seen by nobody else"
)]

mod contract;
mod files;
mod processes;

use store::Store;
use tempfile::TempDir;

const FILE: &str = "weirgate.db";

/// A fresh database in a folder of its own.
async fn sqlite() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(&dir.path().join(FILE)).await.unwrap();
    (dir, store)
}

#[tokio::test]
async fn sqlite_keeps_the_contract() {
    let (_dir, store) = sqlite().await;
    contract::all(&store).await;
}

#[tokio::test]
async fn an_unfilled_database_is_told() {
    let (_dir, store) = sqlite().await;
    contract::is_unfilled(&store).await;
}

/// Readers see one moment: never half of a change, however writers and readers overlap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_reads_one_moment() {
    let (_dir, store) = sqlite().await;
    contract::reads_one_moment(&store).await;
}
