//! Why the store did not do as asked.

use crate::Place;
use std::{io, path::PathBuf};

/// Carries tables, columns, ids and paths, never a stored value.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(
        "there is nothing of Weirgate at {place}: create it with `weirgate init`, or name the right one"
    )]
    NotFound { place: Place },
    /// The connections are to a file that nobody finds any more.
    #[error(
        "the database at {place} was removed, or replaced by another file, since it was opened: put the right one in its place"
    )]
    Replaced { place: Place },
    #[error("there is a database at {place} already: name a new one")]
    Exists { place: Place },
    #[error("there is no database of Weirgate at {place}: nothing was changed in it")]
    NotOurs { place: Place },
    #[error(
        "what lies at {place} was written by a newer release (layout {layout}): use that release"
    )]
    Newer { place: Place, layout: i64 },
    #[error("the tables at {place} cannot be brought to this release's layout")]
    Layout {
        place: Place,
        #[source]
        source: sqlx::migrate::MigrateError,
    },
    #[error("the file {} cannot be read or made", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the database was locked by others for too long: try again")]
    Busy,
    #[error("there is no room left for the database: free some on its disk")]
    Full,
    /// SQLite's extended result code says what failed.
    #[error(
        "the database's files cannot be read or written (SQLite {code}): free some room on their disk, lift limits on the size of files, and check the disk's health"
    )]
    Disk { code: i32 },
    #[error("the database file is damaged: keep it, and restore the newest backup")]
    Corrupt,
    /// The change may be made again: nothing of it happened.
    #[error("the database undid the change because of another: try again")]
    Serialization,
    #[error(
        "the database cannot be reached: check that its server runs and that database_url is right"
    )]
    Unreachable {
        #[source]
        source: sqlx::Error,
    },
    #[error(
        "the database's server takes no changes now (SQLSTATE {code}): it starts, ends, or is a standby"
    )]
    Away { code: String },
    #[error(
        "the database refuses (SQLSTATE {code}): check user, password, database and rights behind database_url"
    )]
    Refused { code: String },
    /// A name, a digest or a version is taken.
    #[error("the row of {table} is there already, or was changed by somebody else meanwhile")]
    Conflict { table: &'static str },
    #[error("the row of {table} refers to something that does not exist")]
    Dangling { table: &'static str },
    /// What is stored cannot be read: somebody else wrote it, or the disk is damaged.
    #[error("table {table}, row {row}: column {column} cannot be read; restore the newest backup")]
    Inconsistent { table: &'static str, column: &'static str, row: String },
    #[error("a row of `{table}` is none that this release stores")]
    Foreign { table: String },
    /// No audit, no effect.
    #[error("a change without its audit event was not committed")]
    Unaudited,
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
}

impl StoreError {
    /// Whether it is the database's absence, not what was asked of it.
    pub const fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Away { .. })
    }

    /// An error of a statement that changes `table`.
    pub(crate) fn of(table: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |error| match &error {
            sqlx::Error::Database(database) if database.is_unique_violation() => {
                Self::Conflict { table }
            }
            sqlx::Error::Database(database) if database.is_foreign_key_violation() => {
                Self::Dangling { table }
            }
            _ => Self::from(error),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            // Waiting for a connection of the pool is waiting for whoever holds it.
            sqlx::Error::PoolTimedOut => Self::Busy,
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => {
                Self::Unreachable { source: error }
            }
            sqlx::Error::Database(database) => match crate::dialect::failure(database.as_ref()) {
                Some(failure) => failure,
                None => Self::Database(error),
            },
            _ => Self::Database(error),
        }
    }
}
