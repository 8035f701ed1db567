//! Why the store did not do as asked.

use std::{io, path::PathBuf};

/// Carries tables, columns, ids and paths, never a stored value.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(
        "there is no database at {}: create a data folder with `weirgate init`, or name the right one",
        path.display()
    )]
    NotFound { path: PathBuf },
    #[error("there is a file at {} already: name a new data folder", path.display())]
    Exists { path: PathBuf },
    #[error("{} is no database of Weirgate: nothing was changed in it", path.display())]
    NotOurs { path: PathBuf },
    #[error(
        "the database {} was written by a newer release (layout {layout}): use that release",
        path.display()
    )]
    Newer { path: PathBuf, layout: i64 },
    #[error("the tables of {} cannot be brought to this release's layout", path.display())]
    Layout {
        path: PathBuf,
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
    #[error("the database file is damaged: keep it, and restore the newest backup")]
    Corrupt,
    /// A name, a digest or a version is taken.
    #[error("the row of {table} is there already, or was changed by somebody else meanwhile")]
    Conflict { table: &'static str },
    #[error("the row of {table} refers to something that does not exist")]
    Dangling { table: &'static str },
    /// What is stored cannot be read: somebody else wrote it, or the disk is damaged.
    #[error("table {table}, row {row}: column {column} cannot be read; restore the newest backup")]
    Inconsistent { table: &'static str, column: &'static str, row: String },
    /// No audit, no effect.
    #[error("a change without its audit event was not committed")]
    Unaudited,
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
}

impl StoreError {
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
            sqlx::Error::Database(database) => match crate::dialect::failure(database.as_ref()) {
                Some(failure) => failure,
                None => Self::Database(error),
            },
            _ => Self::Database(error),
        }
    }
}
