//! What only PostgreSQL has: how an empty database becomes one of ours, is recognised and connected
//! to. Nothing beyond what others that speak its protocol have too: no extensions, no `LISTEN`.

use crate::{Place, ServerUrl, StoreError};
use sqlx::{
    ConnectOptions as _, Connection as _, PgConnection,
    error::DatabaseError,
    migrate::{MigrateError, Migrator},
    postgres::PgConnectOptions,
};
use std::{io, time::Duration};

/// How long a verb waits for the server to answer at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// Begins a change. Each statement sees what was committed before it, whatever the server's default
/// is; [`LOCK`] follows at once, so that no other change commits meanwhile.
pub(crate) const BEGIN_CHANGE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
/// The one lock that all changes take first: they cannot wait for one another in a circle.
pub(crate) const LOCK: &str = "SELECT number FROM generation WHERE only_row = 1 FOR UPDATE";
/// Begins to read as of one moment.
pub(crate) const BEGIN_READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// In microseconds since 1970.
pub(crate) const CLOCK: &str =
    "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) AS at";

/// How a connection is opened.
pub(crate) fn options(url: &ServerUrl) -> PgConnectOptions {
    url.options()
        .application_name("weirgate")
        .options([
            // How long a writer waits for one of another process.
            ("lock_timeout", "5s"),
            ("statement_timeout", "30s"),
            // A node that was stopped in the midst of a change keeps the others out no longer.
            ("idle_in_transaction_session_timeout", "15s"),
            // A commit that was answered is on the disk.
            ("synchronous_commit", "on"),
        ])
        .disable_statement_logging()
}

async fn connect(url: &ServerUrl) -> Result<PgConnection, StoreError> {
    match tokio::time::timeout(CONNECT_TIMEOUT, options(url).connect()).await {
        Ok(connected) => Ok(connected?),
        Err(_) => Err(StoreError::Unreachable { source: silent() }),
    }
}

/// The error of a server that does not answer.
pub(crate) fn silent() -> sqlx::Error {
    sqlx::Error::Io(io::Error::from(io::ErrorKind::TimedOut))
}

/// What lies in a database's schema.
enum Content {
    Nothing,
    Ours,
    Others,
}

async fn content(connection: &mut PgConnection) -> Result<Content, StoreError> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT table_name::text FROM information_schema.tables
         WHERE table_schema = current_schema()",
    )
    .fetch_all(connection)
    .await?;
    let has = |name: &str| names.iter().any(|table| table == name);
    Ok(if names.is_empty() {
        Content::Nothing
    } else if ["_sqlx_migrations", "instance", "generation", "outbox"].into_iter().all(has) {
        Content::Ours
    } else {
        Content::Others
    })
}

/// Makes our tables in an empty database.
pub(crate) async fn create(url: &ServerUrl) -> Result<(), StoreError> {
    let mut connection = connect(url).await?;
    match content(&mut connection).await? {
        Content::Nothing => {}
        Content::Ours => return Err(StoreError::Exists { place: url.place() }),
        Content::Others => return Err(StoreError::NotOurs { place: url.place() }),
    }
    migrate(url, &mut connection).await?;
    Ok(connection.close().await?)
}

/// Refuses what is no database of ours before anything is written to it, then brings it forward.
pub(crate) async fn prepare(url: &ServerUrl) -> Result<(), StoreError> {
    let mut connection = connect(url).await?;
    match content(&mut connection).await? {
        Content::Nothing => return Err(StoreError::NotFound { place: url.place() }),
        Content::Ours => {}
        Content::Others => return Err(StoreError::NotOurs { place: url.place() }),
    }
    migrate(url, &mut connection).await?;
    Ok(connection.close().await?)
}

async fn migrate(url: &ServerUrl, connection: &mut PgConnection) -> Result<(), StoreError> {
    let place = || -> Place { url.place() };
    // `run` is generic over how a connection is acquired, and its future therefore not `Send` for all
    // lifetimes: a task could not open a store.
    MIGRATOR.run_direct(None, connection, false).await.map_err(|source| match source {
        MigrateError::VersionMissing(layout) => StoreError::Newer { place: place(), layout },
        MigrateError::Execute(error) => error.into(),
        source => StoreError::Layout { place: place(), source },
    })
}

/// What an error means, by its code (PostgreSQL 15, appendix A), where it has a name of its own.
pub(crate) fn failure(error: &dyn DatabaseError) -> Option<StoreError> {
    let code = error.code()?;
    Some(match code.as_ref() {
        "40001" | "40P01" => StoreError::Serialization,
        // lock_not_available, query_canceled by a time-out, too_many_connections
        "55P03" | "57014" | "53300" => StoreError::Busy,
        "53100" => StoreError::Full,
        // data_corrupted, index_corrupted
        "XX001" | "XX002" => StoreError::Corrupt,
        // The server ends, starts, or is a standby.
        "57P01" | "57P02" | "57P03" | "25006" => StoreError::Away { code: code.into_owned() },
        // No such database, wrong password, a right that is missing.
        "3D000" | "28000" | "28P01" | "42501" => StoreError::Refused { code: code.into_owned() },
        code if code.starts_with("08") => StoreError::Away { code: code.to_owned() },
        _ => return None,
    })
}
