//! The store's contract. `contract` knows no database: another one is added by another maker.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test fails by panicking, and its modules are seen by nobody else"
)]

mod contract;

use store::{Store, StoreError};
use tempfile::TempDir;

/// A fresh database in a folder of its own.
async fn sqlite() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(&dir.path().join("weirgate.db")).await.unwrap();
    (dir, store)
}

#[tokio::test]
async fn sqlite_keeps_the_contract() {
    let (_dir, store) = sqlite().await;
    contract::all(&store).await;
}

#[tokio::test]
async fn a_committed_change_is_there_after_reopening() {
    let (dir, store) = sqlite().await;
    contract::fill(&store).await;
    let before = store.load_all().await.unwrap();
    store.close().await;
    let path = dir.path().join("weirgate.db");
    let again = Store::open(&path).await.unwrap();
    let after = again.load_all().await.unwrap();
    assert_eq!(before.generation, after.generation);
    assert_eq!(before.connections, after.connections);
    assert_eq!(before.sealed, after.sealed);
    assert!(matches!(Store::create(&path).await, Err(StoreError::Exists { .. })));
}

#[tokio::test]
async fn other_files_are_not_taken_for_a_database() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("weirgate.db");
    assert!(matches!(Store::open(&path).await, Err(StoreError::NotFound { .. })));
    std::fs::write(&path, vec![7_u8; 10_000]).unwrap();
    assert!(Store::open(&path).await.is_err());
}

/// Two processes are two pools: no bump of the generation is lost, and none sees half a change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_of_two_pools_queue() {
    let (dir, store) = sqlite().await;
    contract::fill(&store).await;
    let other = Store::open(&dir.path().join("weirgate.db")).await.unwrap();
    let before = store.generation().await.unwrap();
    let write = |store: Store, prefix: &'static str| async move {
        for number in 0..20 {
            contract::add_client(&store, &format!("{prefix}-{number}")).await;
        }
    };
    tokio::join!(write(store.clone(), "a"), write(other.clone(), "b"));
    assert_eq!(store.generation().await.unwrap(), before + 40);
    let rows = store.outbox_batch(1_000).await.unwrap();
    let sequences: Vec<u64> = rows.iter().map(|row| row.sequence).collect();
    let mut sorted = sequences.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sequences, sorted);
}
