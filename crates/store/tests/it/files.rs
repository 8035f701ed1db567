//! What a file on the disk may be, and what may stand in it.

use crate::{FILE, contract, sqlite};
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};
use store::{Store, StoreError};

/// Somebody else at the same file.
async fn raw(path: &Path, statement: &'static str) {
    let options = SqliteConnectOptions::new().filename(path).foreign_keys(false);
    let mut other = options.connect().await.unwrap();
    sqlx::raw_sql(statement).execute(&mut other).await.unwrap();
    other.close().await.unwrap();
}

#[tokio::test]
async fn a_committed_change_is_there_after_reopening() {
    let (dir, store) = sqlite().await;
    contract::fill(&store).await;
    let before = store.load_all().await.unwrap();
    store.close().await;
    let path = dir.path().join(FILE);
    let again = Store::open(&path.as_path().into()).await.unwrap();
    let after = again.load_all().await.unwrap();
    assert_eq!(before.generation, after.generation);
    assert_eq!(before.instance, after.instance);
    assert_eq!(before.customers, after.customers);
    assert_eq!(before.connections, after.connections);
    assert_eq!(before.sealed, after.sealed);
    assert!(matches!(Store::create(&path.as_path().into()).await, Err(StoreError::Exists { .. })));
}

#[tokio::test]
async fn the_database_is_its_owners_alone() {
    let (dir, store) = sqlite().await;
    contract::fill(&store).await;
    let mut names = Vec::new();
    for entry in fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o177, 0, "{entry:?} {mode:o}");
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, [FILE.to_owned(), format!("{FILE}-shm"), format!("{FILE}-wal")]);
    store.close().await;
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn other_files_are_not_taken_for_a_database_and_stay_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    assert!(matches!(Store::open(&path.as_path().into()).await, Err(StoreError::NotFound { .. })));
    assert!(matches!(Store::open(&dir.path().into()).await, Err(StoreError::NotOurs { .. })));
    fs::write(&path, "").unwrap();
    assert!(matches!(Store::open(&path.as_path().into()).await, Err(StoreError::NotOurs { .. })));
    fs::write(&path, vec![7_u8; 10_000]).unwrap();
    assert!(matches!(Store::open(&path.as_path().into()).await, Err(StoreError::NotOurs { .. })));
    // Another program's database.
    fs::remove_file(&path).unwrap();
    fs::write(&path, "").unwrap();
    raw(&path, "CREATE TABLE bookmarks (url TEXT)").await;
    let before = fs::read(&path).unwrap();
    let refused = Store::open(&path.as_path().into()).await.unwrap_err();
    assert!(matches!(refused, StoreError::NotOurs { .. }));
    assert!(refused.to_string().contains("nothing was changed"));
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_database_of_a_newer_release_is_refused() {
    let (dir, store) = sqlite().await;
    contract::fill(&store).await;
    store.close().await;
    let path = dir.path().join(FILE);
    raw(
        &path,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'later', TRUE, x'00', 1)",
    )
    .await;
    let refused = Store::open(&path.as_path().into()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Newer { layout: 9999, .. }), "{refused}");
    assert!(refused.to_string().contains("use that release"));
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_named_without_its_value() {
    let check = async |statement: &'static str, table: &str, column: &str| {
        let (dir, store) = sqlite().await;
        contract::fill(&store).await;
        raw(&dir.path().join(FILE), statement).await;
        let error = store.load_all().await.unwrap_err();
        let StoreError::Inconsistent { table: seen_table, column: seen_column, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!((*seen_table, *seen_column), (table, column));
        assert!(!format!("{error} {error:?}").contains("CANARY"));
    };
    check("UPDATE connection SET headers = '{\"CANARY\":'", "connection", "headers").await;
    check("UPDATE connection SET customer = 7", "connection", "customer").await;
    check("UPDATE customer SET lookup = x'00'", "customer", "lookup").await;
    check("UPDATE customer SET created_at = 'CANARY'", "customer", "created_at").await;
    check("UPDATE provider SET slug = 'CANARY slug'", "provider", "slug").await;
    check("UPDATE sealed SET version = 9223372036854775807, record = x'01'", "sealed", "record")
        .await;
    check("UPDATE vault_generation SET number = -1", "vault_generation", "number").await;
    check("UPDATE instance SET id = 'CANARY'", "instance", "id").await;
}

/// Overwritten pages of the file itself are found, and nothing is made up.
#[tokio::test]
async fn a_damaged_file_is_told() {
    let (dir, store) = sqlite().await;
    contract::fill(&store).await;
    store.close().await;
    let path = dir.path().join(FILE);
    let mut bytes = fs::read(&path).unwrap();
    let page = 4096;
    for byte in &mut bytes[page..] {
        *byte = 0xa5;
    }
    fs::write(&path, &bytes).unwrap();
    let refused = match Store::open(&path.as_path().into()).await {
        Err(error) => error,
        Ok(store) => store.load_all().await.unwrap_err(),
    };
    assert!(matches!(refused, StoreError::Corrupt), "{refused:?}");
}

/// A replaced secret leaves no trace in the file, though it was sealed.
#[tokio::test]
async fn a_replaced_value_leaves_no_bytes_behind() {
    let (dir, store) = sqlite().await;
    let (customer, connection) = contract::fill(&store).await;
    // Longer than a page, so that whole pages become free.
    let piece = b"the first sealed value, 0123456789";
    let marker = piece.repeat(1_000);
    contract::put(&store, &customer, &connection, 2, &marker).await;
    let path = dir.path().join(FILE);
    let holds_it =
        || fs::read(&path).unwrap().windows(piece.len()).any(|run| run == piece.as_slice());
    store.close().await;
    assert!(holds_it());
    let store = Store::open(&path.as_path().into()).await.unwrap();
    contract::put(&store, &customer, &connection, 3, b"short").await;
    store.close().await;
    assert!(!holds_it());
}

/// A file that was removed or replaced says nothing of what is changed from then on, and takes no
/// changes that nobody would find.
#[tokio::test]
async fn a_file_that_was_removed_or_replaced_is_noticed() {
    let (dir, store) = sqlite().await;
    contract::fill(&store).await;
    let path = dir.path().join(FILE);
    let moved = dir.path().join("moved");
    let is_replaced = |error: &StoreError| matches!(error, StoreError::Replaced { .. });
    for is_removed in [true, false] {
        fs::copy(&path, dir.path().join("copy")).unwrap();
        fs::rename(&path, &moved).unwrap();
        if !is_removed {
            fs::rename(dir.path().join("copy"), &path).unwrap();
        }
        assert!(is_replaced(&store.generation().await.unwrap_err()));
        assert!(is_replaced(&store.load_all().await.unwrap_err()));
        assert!(is_replaced(&store.begin(&contract::ctx()).await.unwrap_err()));
        assert!(is_replaced(&store.keep_audit_checkpoint("a", 1, "n").await.unwrap_err()));
        fs::rename(&moved, &path).unwrap();
        store.generation().await.unwrap();
        contract::add_client(&store, if is_removed { "one" } else { "two" }).await;
    }
}
