//! Why the store did not do as asked.

use std::path::PathBuf;
use types::{Fault, Origin};

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("there is no database at {}", path.display())]
    NotFound { path: PathBuf },
    #[error("there is a database at {} already", path.display())]
    Exists { path: PathBuf },
    #[error(
        "{} is no database of Weirgate, is damaged, or is of a newer version", path.display()
    )]
    NotOurs {
        path: PathBuf,
        #[source]
        source: sqlx::migrate::MigrateError,
    },
    #[error("the database was locked by another process for too long; try again")]
    Busy,
    #[error("the row of {table} is there already")]
    Conflict { table: &'static str },
    /// What is stored cannot be read: somebody else wrote it, or the disk is damaged.
    #[error("table {table}, row {row}: column {column} cannot be read")]
    Inconsistent { table: &'static str, column: &'static str, row: String },
    /// A change without its audit event is not committed.
    #[error("a change had no audit event and was not committed")]
    Unaudited,
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
}

impl StoreError {
    pub(crate) fn of(table: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |error| match &error {
            sqlx::Error::Database(database) if database.is_unique_violation() => {
                Self::Conflict { table }
            }
            _ => Self::from(error),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        // SQLITE_BUSY and its extended codes.
        let is_busy = matches!(
            &error,
            sqlx::Error::Database(database)
                if matches!(database.code().as_deref(), Some("5" | "261" | "517"))
        );
        if is_busy { Self::Busy } else { Self::Database(error) }
    }
}

impl Fault for StoreError {
    fn origin(&self) -> Origin {
        Origin::Internal
    }
    fn is_retryable(&self) -> bool {
        matches!(self, Self::Busy)
    }
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "store_not_found",
            Self::Exists { .. } => "store_exists",
            Self::NotOurs { .. } => "store_not_ours",
            Self::Busy => "store_busy",
            Self::Conflict { .. } => "store_conflict",
            Self::Inconsistent { .. } => "store_inconsistent",
            Self::Unaudited => "store_unaudited",
            Self::Database(_) => "store_failed",
        }
    }
}
