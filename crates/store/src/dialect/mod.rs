//! One statement for both databases: its text, its values, and the rows it yields. Which database
//! answers is decided here and nowhere else; what only one of them has lies in its module.

mod postgres;
mod sqlite;

use crate::{Location, ServerUrl, StoreError};
use sqlx::{
    Acquire as _, ColumnIndex, Decode, PgPool, Postgres, Row as _, Sqlite, SqlitePool, Type,
    postgres::{PgPoolOptions, PgRow},
    sqlite::{SqlitePoolOptions, SqliteRow},
};
use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::watch;

/// How long a caller waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a server may be silent. A server that takes longer than its own limits
/// (`postgres::options`) no longer answers.
const SILENCE: Duration = Duration::from_secs(40);
/// A change begins again this often where the database asks for it.
const ATTEMPTS: u32 = 4;

/// A value with its type, so that an absent one has a type too.
#[derive(Debug)]
pub(crate) enum Value {
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
    Number(Option<i64>),
}

macro_rules! values {
    ($($from:ty => $kind:ident($value:ident => $into:expr)),+ $(,)?) => {$(
        impl From<$from> for Value {
            fn from($value: $from) -> Self {
                Self::$kind($into)
            }
        }
    )+};
}
values! {
    String => Text(value => Some(value)),
    &str => Text(value => Some(value.to_owned())),
    Option<String> => Text(value => value),
    Vec<u8> => Bytes(value => Some(value)),
    &[u8] => Bytes(value => Some(value.to_owned())),
    Option<Vec<u8>> => Bytes(value => value),
    i64 => Number(value => Some(value)),
    Option<i64> => Number(value => value),
}

/// A statement with its values.
#[derive(Debug)]
#[must_use]
pub(crate) struct Statement {
    text: &'static str,
    values: Vec<Value>,
}

/// A statement that both databases take; values are `$1`, `$2`, ...
pub(crate) const fn sql(text: &'static str) -> Statement {
    Statement { text, values: Vec::new() }
}

impl Statement {
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }
}

/// The statement as a query of this database.
macro_rules! query {
    ($statement:expr, $database:ty) => {
        $statement.values.into_iter().fold(
            sqlx::query::<$database>($statement.text),
            |query, value| match value {
                Value::Text(value) => query.bind(value),
                Value::Bytes(value) => query.bind(value),
                Value::Number(value) => query.bind(value),
            },
        )
    };
}

/// A row of either database.
#[derive(Debug)]
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    pub(crate) fn get<'r, T, I>(&'r self, column: I) -> Result<T, sqlx::Error>
    where
        T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>,
        I: ColumnIndex<SqliteRow> + ColumnIndex<PgRow>,
    {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }
}

/// Connections to one database.
#[derive(Clone, Debug)]
pub(crate) enum Pool {
    Sqlite(SqlitePool),
    Postgres(Arc<Renewed>),
}

/// Connections to a server, which are given up together once it was silent: where something on the way
/// has forgotten them, each would be waited for until the system gives it up, a quarter of an hour.
#[derive(Debug)]
pub(crate) struct Renewed {
    url: ServerUrl,
    connections: u32,
    current: Mutex<PgPool>,
    /// Ends what waits for an answer on a connection that was given up.
    given_up: watch::Sender<u64>,
}

impl Renewed {
    fn new(url: &ServerUrl, connections: u32) -> Self {
        let current = Mutex::new(Self::made(url, connections));
        Self { url: url.clone(), connections, current, given_up: watch::Sender::new(0) }
    }

    /// Tested before each use: those of a server that went away are replaced.
    fn made(url: &ServerUrl, connections: u32) -> PgPool {
        let options = PgPoolOptions::new();
        let options = options.max_connections(connections).acquire_timeout(ACQUIRE_TIMEOUT);
        options.connect_lazy_with(postgres::options(url))
    }

    /// The connections, and what tells that they were given up.
    fn current(&self) -> (PgPool, GivenUp) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        (current.clone(), GivenUp(self.given_up.subscribe()))
    }

    fn renew(&self) {
        let made = Self::made(&self.url, self.connections);
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        *current = made;
        self.given_up.send_modify(|count| *count += 1);
    }
}

#[derive(Debug)]
pub(crate) struct GivenUp(watch::Receiver<u64>);

/// The number of this release's newest migration.
pub fn layout() -> i64 {
    sqlite::MIGRATOR.iter().map(|one| one.version).max().unwrap_or_default()
}

/// What a pool's connections are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Write,
    Read,
}

/// Makes an empty database of ours, and never anything over what is there.
pub(crate) async fn create(location: &Location) -> Result<(), StoreError> {
    match location {
        Location::File(path) => sqlite::create(path).await,
        Location::Server(url) => postgres::create(url).await,
    }
}

/// Refuses what is no database of ours before anything is written to it, then brings it forward.
pub(crate) async fn prepare(location: &Location) -> Result<(), StoreError> {
    match location {
        Location::File(path) => sqlite::prepare(path).await,
        Location::Server(url) => postgres::prepare(url).await,
    }
}

impl Pool {
    pub(crate) fn connect(location: &Location, purpose: Use) -> Self {
        match location {
            Location::File(path) => {
                let (options, connections) = match purpose {
                    // Writers of one process queue before the database does.
                    Use::Write => (sqlite::writer(path), 1),
                    Use::Read => (sqlite::reader(path), 3),
                };
                let pool = SqlitePoolOptions::new()
                    .max_connections(connections)
                    .acquire_timeout(ACQUIRE_TIMEOUT)
                    .idle_timeout(None)
                    .max_lifetime(None);
                Self::Sqlite(pool.connect_lazy_with(options))
            }
            Location::Server(url) => {
                let connections = match purpose {
                    Use::Write => 2,
                    Use::Read => 3,
                };
                Self::Postgres(Arc::new(Renewed::new(url, connections)))
            }
        }
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            // A server that is silent is not waited for.
            Self::Postgres(pool) => {
                let (pool, _) = pool.current();
                drop(tokio::time::timeout(ACQUIRE_TIMEOUT, pool.close()).await);
            }
        }
    }

    /// Gives all connections to a server up, and whatever waits for an answer on one.
    pub(crate) fn renew(&self) {
        if let Self::Postgres(pool) = self {
            pool.renew();
        }
    }

    /// What the server's clock says; a file has none of its own.
    pub(crate) async fn clock(&self) -> Result<Option<i64>, StoreError> {
        match self {
            Self::Sqlite(_) => Ok(None),
            Self::Postgres(_) => Ok(Some(self.one(sql(postgres::CLOCK)).await?.get("at")?)),
        }
    }

    /// Begins a change. All changes take one lock at once (SQLite's for writing, the generation's
    /// row in PostgreSQL), so that they follow one another: no read in it is outdated, and none of
    /// them can fail for another's sake later on.
    pub(crate) async fn begin_change(&self) -> Result<Transaction, StoreError> {
        let mut attempt = 1;
        loop {
            match self.try_begin_change().await {
                Err(StoreError::Serialization) if attempt < ATTEMPTS => attempt += 1,
                begun => return begun,
            }
        }
    }

    async fn try_begin_change(&self) -> Result<Transaction, StoreError> {
        Ok(match self {
            Self::Sqlite(pool) => Transaction::Sqlite(pool.begin_with(sqlite::BEGIN_CHANGE).await?),
            Self::Postgres(pool) => {
                let mut tx = begin(pool, postgres::BEGIN_CHANGE).await?;
                tx.execute(sql(postgres::LOCK)).await?;
                tx
            }
        })
    }

    /// Begins to write beside changes: what needs no place in their order.
    pub(crate) async fn begin_aside(&self) -> Result<Transaction, StoreError> {
        Ok(match self {
            Self::Sqlite(pool) => Transaction::Sqlite(pool.begin_with(sqlite::BEGIN_CHANGE).await?),
            Self::Postgres(pool) => begin(pool, postgres::BEGIN_CHANGE).await?,
        })
    }

    /// Begins to read as of one moment.
    pub(crate) async fn begin_read(&self) -> Result<Transaction, StoreError> {
        Ok(match self {
            Self::Sqlite(pool) => Transaction::Sqlite(pool.begin().await?),
            Self::Postgres(pool) => begin(pool, postgres::BEGIN_READ).await?,
        })
    }

    pub(crate) async fn one(&self, statement: Statement) -> Result<Row, StoreError> {
        self.optional(statement).await?.ok_or(StoreError::Database(sqlx::Error::RowNotFound))
    }

    pub(crate) async fn optional(&self, statement: Statement) -> Result<Option<Row>, StoreError> {
        Ok(match self {
            Self::Sqlite(pool) => {
                query!(statement, Sqlite).fetch_optional(pool).await?.map(Row::Sqlite)
            }
            Self::Postgres(pool) => {
                let query = query!(statement, Postgres);
                let (pool, given_up) = &mut pool.current();
                answered(given_up, query.fetch_optional(&*pool)).await?.map(Row::Postgres)
            }
        })
    }

    pub(crate) async fn all(&self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        Ok(match self {
            Self::Sqlite(pool) => {
                let rows = query!(statement, Sqlite).fetch_all(pool).await?;
                rows.into_iter().map(Row::Sqlite).collect()
            }
            Self::Postgres(pool) => {
                let query = query!(statement, Postgres);
                let (pool, given_up) = &mut pool.current();
                let rows = answered(given_up, query.fetch_all(&*pool)).await?;
                rows.into_iter().map(Row::Postgres).collect()
            }
        })
    }
}

/// An open transaction. Dropped, it is rolled back.
#[derive(Debug)]
pub(crate) enum Transaction {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>, GivenUp),
}

async fn begin(pool: &Renewed, how: &'static str) -> Result<Transaction, StoreError> {
    let (pool, mut given_up) = pool.current();
    let tx = answered(&mut given_up, pool.begin_with(how)).await?;
    Ok(Transaction::Postgres(tx, given_up))
}

impl Transaction {
    /// How many rows it changed.
    pub(crate) async fn execute(&mut self, statement: Statement) -> Result<u64, StoreError> {
        Ok(match self {
            Self::Sqlite(tx) => query!(statement, Sqlite).execute(&mut **tx).await?.rows_affected(),
            Self::Postgres(tx, given_up) => {
                let query = query!(statement, Postgres);
                answered(given_up, query.execute(&mut **tx)).await?.rows_affected()
            }
        })
    }

    /// As [`Self::execute`], where a row of this table may be taken or refer to nothing. Refused,
    /// only this statement did not happen: PostgreSQL needs a savepoint for that.
    pub(crate) async fn change(
        &mut self,
        table: &'static str,
        statement: Statement,
    ) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite(tx) => {
                let done = query!(statement, Sqlite).execute(&mut **tx).await;
                Ok(done.map_err(StoreError::of(table))?.rows_affected())
            }
            Self::Postgres(tx, given_up) => {
                let mut inner = answered(given_up, tx.begin()).await?;
                let query = query!(statement, Postgres);
                match in_time(given_up, query.execute(&mut *inner)).await? {
                    Ok(done) => {
                        answered(given_up, inner.commit()).await?;
                        Ok(done.rows_affected())
                    }
                    Err(error) => {
                        let error = StoreError::of(table)(error);
                        // A connection that broke has nothing to roll back.
                        if !error.is_unreachable() {
                            answered(given_up, inner.rollback()).await?;
                        }
                        Err(error)
                    }
                }
            }
        }
    }

    pub(crate) async fn one(&mut self, statement: Statement) -> Result<Row, StoreError> {
        self.optional(statement).await?.ok_or(StoreError::Database(sqlx::Error::RowNotFound))
    }

    pub(crate) async fn optional(
        &mut self,
        statement: Statement,
    ) -> Result<Option<Row>, StoreError> {
        Ok(match self {
            Self::Sqlite(tx) => {
                query!(statement, Sqlite).fetch_optional(&mut **tx).await?.map(Row::Sqlite)
            }
            Self::Postgres(tx, given_up) => {
                let query = query!(statement, Postgres);
                answered(given_up, query.fetch_optional(&mut **tx)).await?.map(Row::Postgres)
            }
        })
    }

    pub(crate) async fn all(&mut self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        Ok(match self {
            Self::Sqlite(tx) => {
                let rows = query!(statement, Sqlite).fetch_all(&mut **tx).await?;
                rows.into_iter().map(Row::Sqlite).collect()
            }
            Self::Postgres(tx, given_up) => {
                let query = query!(statement, Postgres);
                let rows = answered(given_up, query.fetch_all(&mut **tx)).await?;
                rows.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(tx) => Ok(tx.commit().await?),
            Self::Postgres(tx, mut given_up) => answered(&mut given_up, tx.commit()).await,
        }
    }

    pub(crate) async fn rollback(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(tx) => Ok(tx.rollback().await?),
            Self::Postgres(tx, mut given_up) => answered(&mut given_up, tx.rollback()).await,
        }
    }
}

/// Waits for a server no longer than it may be silent, and not on a connection that was given up.
/// Boxed: futures of whole changes would not fit a small stack.
fn in_time<T>(
    given_up: &mut GivenUp,
    future: impl Future<Output = T>,
) -> impl Future<Output = Result<T, StoreError>> {
    let future = Box::pin(tokio::time::timeout(SILENCE, future));
    async move {
        tokio::select! {
            biased;
            done = future => done.map_err(|_| silent()),
            _ = given_up.0.changed() => Err(silent()),
        }
    }
}

fn answered<T>(
    given_up: &mut GivenUp,
    future: impl Future<Output = Result<T, sqlx::Error>>,
) -> impl Future<Output = Result<T, StoreError>> {
    let answer = in_time(given_up, future);
    async move {
        answer.await?.map_err(|error| match error {
            // While a server is away, connecting goes on until the time is over.
            sqlx::Error::PoolTimedOut => StoreError::Unreachable { source: error },
            error => StoreError::from(error),
        })
    }
}

/// The error of a database that does not answer.
pub(crate) fn silent() -> StoreError {
    StoreError::Unreachable { source: postgres::silent() }
}

/// What an error of a database means, where it has a name of its own.
pub(crate) fn failure(error: &dyn sqlx::error::DatabaseError) -> Option<StoreError> {
    if error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
        postgres::failure(error)
    } else {
        sqlite::failure(error)
    }
}
