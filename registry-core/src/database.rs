//! Opening either database and the transactions on it.
//!
//! SQLite and PostgreSQL run the same queries. What differs is gathered here: SQLite needs
//! WAL, a busy timeout and write transactions that take their lock at once, because a lock
//! upgrade in the middle of a transaction fails instead of waiting.

use std::time::Duration;

use migrations::Migrator;
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend,
    SqliteTransactionMode, TransactionOptions, TransactionTrait,
};
use sea_orm_migration::MigratorTrait;
use sqlx::{Connection, SqliteConnection};

use crate::error::{Error, Result};

/// Milliseconds since 1970, UTC.
pub fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// RFC 3339 text of a stored time.
pub fn rfc3339(milliseconds: i64) -> String {
    jiff::Timestamp::from_millisecond(milliseconds).map_or_else(|_| milliseconds.to_string(), |time| time.to_string())
}

/// Connects without touching the schema. `url` is `sqlite://PATH?mode=rwc` or `postgres://…`.
pub async fn connect(url: &str) -> Result<DatabaseConnection> {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(if url.starts_with("sqlite") { 8 } else { 16 })
        .acquire_timeout(Duration::from_secs(30))
        .sqlx_logging(false)
        .map_sqlx_sqlite_opts(|sqlite| {
            // FULL, because an acknowledged revision must survive a power failure.
            sqlite
                .pragma("journal_mode", "WAL")
                .pragma("synchronous", "FULL")
                .pragma("foreign_keys", "ON")
                .pragma("cache_size", "-65536")
                .busy_timeout(Duration::from_secs(30))
        })
        .map_sqlx_sqlite_pool_opts(|pool| pool.after_release(|connection, _| Box::pin(is_at_rest(connection))));
    Ok(Database::connect(options).await?)
}

/// Whether a connection may serve another caller.
///
/// SQLite ends a transaction itself when the disk is full. The driver's own rollback fails then and
/// it goes on counting a transaction that is none: what follows on this connection would not begin
/// as it should. Such a connection is closed.
async fn is_at_rest(connection: &mut SqliteConnection) -> sqlx::Result<bool> {
    if !connection.is_in_transaction() {
        return Ok(true);
    }
    // A rollback that is under way is done when this is answered.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

/// Brings the schema up to this release; refuses a schema of a newer one.
pub async fn migrate(db: &DatabaseConnection) -> Result<()> {
    let known: Vec<String> = Migrator::migrations().iter().map(|step| step.name().to_owned()).collect();
    let applied = Migrator::get_migration_models(db).await;
    if let Some(newer) = applied.unwrap_or_default().into_iter().find(|step| !known.contains(&step.version)) {
        return Err(Error::SchemaTooNew(newer.version));
    }
    Ok(Migrator::up(db, None).await?)
}

/// Names of the schema steps that are not applied yet.
pub async fn pending_migrations(db: &DatabaseConnection) -> Result<Vec<String>> {
    let pending = Migrator::get_pending_migrations(db).await?;
    Ok(pending.iter().map(|step| step.name().to_owned()).collect())
}

/// Begins a transaction that will write.
pub(crate) async fn begin(db: &DatabaseConnection) -> Result<DatabaseTransaction> {
    let options =
        TransactionOptions { sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate), ..Default::default() };
    Ok(db.begin_with_options(options).await?)
}

/// Whether a statement failed because a unique row exists already.
pub(crate) fn is_unique_violation(error: &sea_orm::DbErr) -> bool {
    matches!(error.sql_err(), Some(sea_orm::SqlErr::UniqueConstraintViolation(_)))
}

/// Numbers the `?` placeholders of a statement for PostgreSQL.
///
/// The statements of this crate contain no `?` in literals.
pub(crate) fn sql(connection: &impl ConnectionTrait, text: &str, values: Vec<sea_orm::Value>) -> sea_orm::Statement {
    let backend = connection.get_database_backend();
    let text = if backend == DbBackend::Postgres { numbered(text) } else { text.to_owned() };
    sea_orm::Statement::from_sql_and_values(backend, text, values)
}

fn numbered(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut number = 0;
    for character in text.chars() {
        if character == '?' {
            number += 1;
            out.push('$');
            out.push_str(&number.to_string());
        } else {
            out.push(character);
        }
    }
    out
}
