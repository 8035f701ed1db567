//! What only SQLite has: how a file becomes a database of ours, is recognised and is opened.

use crate::{Location, StoreError};
use sqlx::{
    ConnectOptions as _, Connection as _, SqliteConnection,
    error::DatabaseError,
    migrate::{MigrateError, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use std::{io, path::Path, time::Duration};
use tokio::io::AsyncReadExt as _;

/// How long a writer waits for one of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// "WEIR": marks our files (SQLite's file format, §1.3.9), so that no other is migrated.
const APPLICATION_ID: u32 = 0x5745_4952;
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
const HEADER_BYTES: usize = 100;
const APPLICATION_ID_AT: usize = 68;
/// Ours alone: the write-ahead log and its index take the same mode.
const FILE_MODE: u32 = 0o600;

pub(crate) static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// Begins a change: the lock for writing is taken at once, so that no read in it is outdated.
pub(crate) const BEGIN_CHANGE: &str = "BEGIN IMMEDIATE";

/// How a connection that writes is opened.
pub(crate) fn writer(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        // A sealed value that was replaced and a key that was destroyed leave no bytes in the file.
        .pragma("secure_delete", "ON")
        .pragma("trusted_schema", "OFF")
        .disable_statement_logging()
}

/// How a connection that only reads is opened.
pub(crate) fn reader(path: &Path) -> SqliteConnectOptions {
    writer(path).pragma("query_only", "ON")
}

/// Makes an empty database at `path`, and never anything over what is there.
pub(crate) async fn create(path: &Path) -> Result<(), StoreError> {
    let mut options = tokio::fs::OpenOptions::new();
    let made = options.write(true).create_new(true).mode(FILE_MODE).open(path).await;
    drop(made.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => StoreError::Exists { place: Location::from(path).place() },
        _ => StoreError::Io { path: path.to_owned(), source },
    })?);
    // Without a write-ahead log, so that the mark stands in the file itself from the beginning.
    let options = writer(path)
        .journal_mode(SqliteJournalMode::Delete)
        .pragma("application_id", APPLICATION_ID.to_string());
    let mut connection = SqliteConnection::connect_with(&options).await?;
    migrate(path, &mut connection).await?;
    Ok(connection.close().await?)
}

/// Refuses what is no database of ours before anything is written to it, then brings it forward.
pub(crate) async fn prepare(path: &Path) -> Result<(), StoreError> {
    recognise(path).await?;
    let mut connection = SqliteConnection::connect_with(&writer(path)).await?;
    migrate(path, &mut connection).await?;
    Ok(connection.close().await?)
}

async fn recognise(path: &Path) -> Result<(), StoreError> {
    let io = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => StoreError::NotFound { place: Location::from(path).place() },
        _ => StoreError::Io { path: path.to_owned(), source },
    };
    // A folder or a pipe of this name could be opened, and reading the pipe would wait for ever.
    if !tokio::fs::metadata(path).await.map_err(io)?.is_file() {
        return Err(StoreError::NotOurs { place: Location::from(path).place() });
    }
    let file = tokio::fs::File::open(path).await.map_err(io)?;
    let mut header = Vec::with_capacity(HEADER_BYTES);
    file.take(HEADER_BYTES as u64).read_to_end(&mut header).await.map_err(io)?;
    let mark = header.get(APPLICATION_ID_AT..APPLICATION_ID_AT + 4);
    if header.starts_with(MAGIC) && mark == Some(&APPLICATION_ID.to_be_bytes()[..]) {
        Ok(())
    } else {
        Err(StoreError::NotOurs { place: Location::from(path).place() })
    }
}

async fn migrate(path: &Path, connection: &mut SqliteConnection) -> Result<(), StoreError> {
    // `run` is generic over how a connection is acquired, and its future therefore not `Send` for all
    // lifetimes: a task could not open a store.
    MIGRATOR.run_direct(None, connection, false).await.map_err(|source| match source {
        MigrateError::VersionMissing(layout) => {
            StoreError::Newer { place: Location::from(path).place(), layout }
        }
        MigrateError::Execute(error) => error.into(),
        source => StoreError::Layout { place: Location::from(path).place(), source },
    })
}

/// What an error of the database means, where it has a name of its own.
pub(crate) fn failure(error: &dyn DatabaseError) -> Option<StoreError> {
    // The lower byte of an extended result code is its primary code.
    let code: i32 = error.code()?.parse().ok()?;
    match code & 0xff {
        // SQLITE_BUSY, SQLITE_LOCKED
        5 | 6 => Some(StoreError::Busy),
        // SQLITE_IOERR
        10 => Some(StoreError::Disk { code }),
        // SQLITE_CORRUPT, SQLITE_NOTADB
        11 | 26 => Some(StoreError::Corrupt),
        // SQLITE_FULL
        13 => Some(StoreError::Full),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn number(connection: &mut SqliteConnection, statement: &'static str) -> i64 {
        sqlx::query_scalar(statement).fetch_one(connection).await.unwrap()
    }

    /// A committed row counts as durable before a secret is shown: each commit must be synced.
    #[tokio::test]
    async fn a_commit_is_on_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        create(&path).await.unwrap();
        let mut writer = SqliteConnection::connect_with(&writer(&path)).await.unwrap();
        // 2 is FULL: the write-ahead log is synced at each commit.
        assert_eq!(number(&mut writer, "PRAGMA synchronous").await, 2);
        assert_eq!(number(&mut writer, "PRAGMA foreign_keys").await, 1);
        let mode: String =
            sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut writer).await.unwrap();
        assert_eq!(mode, "wal");
        let mut reader = SqliteConnection::connect_with(&reader(&path)).await.unwrap();
        assert!(sqlx::query("DELETE FROM outbox").execute(&mut reader).await.is_err());
        assert!(sqlx::query("DELETE FROM outbox").execute(&mut writer).await.is_ok());
    }

    #[tokio::test]
    async fn a_full_disk_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        create(&path).await.unwrap();
        // As small as it is already.
        let options = writer(&path).pragma("max_page_count", "1");
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        let statement = "INSERT INTO outbox (sequence, event, record) VALUES (1, $1, $2)";
        let query = sqlx::query(statement).bind(vec![1_u8; 16]).bind(vec![0_u8; 100_000]);
        let error = StoreError::from(query.execute(&mut connection).await.unwrap_err());
        assert!(matches!(error, StoreError::Full), "{error:?}");
    }
}
