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

use store::{Store, StoreError};
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

/// Nobody waits for ever: the one who comes second is told after the time-out.
#[tokio::test]
async fn a_writer_that_holds_on_keeps_others_out_for_seconds_only() {
    let (dir, store) = sqlite().await;
    contract::fill(&store).await;
    let other = Store::open(&dir.path().join(FILE)).await.unwrap();
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
