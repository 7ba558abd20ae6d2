//! How ids, times and enums stand in columns, and what errors of SQLite mean.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode};
use serde::de::DeserializeOwned;
use serde::de::value::StrDeserializer;
use uuid::Uuid;

use super::super::{LogKind, Result, StoreError};
use crate::clock::Timestamp;
use crate::ids::{CallId, ConversationId, DeliveryId, JobId, MessageId, RecordingId, UserId};

/// What an error of SQLite means for the caller.
#[allow(clippy::needless_pass_by_value)]
pub(super) fn failed(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Corrupt(error.to_string())
        }
        _ => StoreError::Unavailable(error.to_string()),
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        failed(error)
    }
}

impl From<serde_json::Error> for StoreError {
    fn from(error: serde_json::Error) -> Self {
        Self::Corrupt(error.to_string())
    }
}

macro_rules! column {
    ($($id:ty),*) => {$(
        impl ToSql for $id {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::Owned(self.uuid().as_bytes().to_vec().into()))
            }
        }
        impl FromSql for $id {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                let id = Uuid::from_slice(value.as_blob()?).map_err(|error| FromSqlError::Other(Box::new(error)))?;
                Ok(Self::new(id))
            }
        }
    )*};
}

column!(CallId, ConversationId, DeliveryId, JobId, MessageId, RecordingId);

impl ToSql for UserId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.value().into())
    }
}

impl FromSql for UserId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = value.as_i64()?;
        Self::new(number).ok_or(FromSqlError::OutOfRange(number))
    }
}

impl ToSql for Timestamp {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.into())
    }
}

impl FromSql for Timestamp {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_i64().map(Self)
    }
}

impl ToSql for LogKind {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.code().into())
    }
}

impl FromSql for LogKind {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let code = value.as_i64()?;
        Self::of_code(code).ok_or(FromSqlError::OutOfRange(code))
    }
}

/// A column that holds the wire name of an enum.
pub(super) struct Name<T>(pub(super) T);

impl<T: DeserializeOwned> FromSql for Name<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = StrDeserializer::<serde::de::value::Error>::new(value.as_str()?);
        T::deserialize(text).map(Self).map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}

/// A column that holds JSON.
pub(super) struct Doc<T>(pub(super) T);

impl<T: DeserializeOwned> FromSql for Doc<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?)
            .map(Self)
            .map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}

/// Adds `by` to one of the counters behind `Totals`.
pub(super) fn count(connection: &Connection, what: &str, by: i64) -> Result<()> {
    connection
        .prepare_cached("UPDATE meta SET value = value + ?2 WHERE key = ?1")?
        .execute((what, by))?;
    Ok(())
}

/// `SELECT` with a list of columns.
pub(super) fn select(columns: &str, rest: &str) -> String {
    format!("SELECT {columns} {rest}")
}
