//! Tables, indexes and their migrations. A step is never changed once released; a new one is added. What no query asks
//! for stands together in a `doc` column.

use rusqlite::Connection;

use super::super::{Result, StoreError};

/// One step for each version, from an empty file on.
const STEPS: &[&str] = &["
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE users (
    user_id INTEGER PRIMARY KEY,
    uid TEXT NOT NULL UNIQUE, name_key TEXT NOT NULL,
    last_seen INTEGER NOT NULL, plain_cursor INTEGER NOT NULL,
    doc TEXT NOT NULL
);
CREATE INDEX users_by_name ON users (name_key, user_id);

CREATE TABLE devices (
    user_id INTEGER NOT NULL, device_id TEXT NOT NULL, doc TEXT NOT NULL,
    PRIMARY KEY (user_id, device_id)
) WITHOUT ROWID;

CREATE TABLE conversations (
    conv BLOB PRIMARY KEY,
    kind TEXT NOT NULL, title TEXT, member_count INTEGER NOT NULL,
    seq INTEGER NOT NULL, last_id BLOB, last_at INTEGER NOT NULL, last_kind TEXT NOT NULL, preview TEXT NOT NULL,
    created_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE members (
    conv BLOB NOT NULL, user_id INTEGER NOT NULL,
    joined_at INTEGER NOT NULL, delivered INTEGER NOT NULL, read INTEGER NOT NULL, unread INTEGER NOT NULL,
    archived INTEGER NOT NULL, last_activity INTEGER NOT NULL,
    PRIMARY KEY (conv, user_id)
) WITHOUT ROWID;
CREATE INDEX members_by_activity ON members (user_id, archived, last_activity, conv);

CREATE TABLE messages (
    conv BLOB NOT NULL, seq INTEGER NOT NULL,
    id BLOB NOT NULL, at INTEGER NOT NULL, from_user INTEGER NOT NULL, kind TEXT NOT NULL, content TEXT NOT NULL,
    client_id TEXT, counts INTEGER NOT NULL, extra TEXT,
    PRIMARY KEY (conv, seq)
) WITHOUT ROWID;
CREATE UNIQUE INDEX messages_by_id ON messages (id);

CREATE TABLE client_ids (
    from_user INTEGER NOT NULL, client_id TEXT NOT NULL, conv BLOB NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (from_user, client_id)
) WITHOUT ROWID;
CREATE INDEX client_ids_by_age ON client_ids (at);

CREATE TABLE marks (
    conv BLOB NOT NULL, kind INTEGER NOT NULL, user_id INTEGER NOT NULL, up_to INTEGER NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (conv, kind, user_id, up_to)
) WITHOUT ROWID;

CREATE TABLE log (
    user_id INTEGER NOT NULL, cursor INTEGER NOT NULL, at INTEGER NOT NULL,
    what INTEGER NOT NULL, ref BLOB NOT NULL, number INTEGER NOT NULL, by_user INTEGER NOT NULL,
    PRIMARY KEY (user_id, cursor)
) WITHOUT ROWID;

CREATE TABLE calls (
    id BLOB PRIMARY KEY,
    from_user INTEGER NOT NULL, client_id TEXT, status TEXT NOT NULL, live INTEGER NOT NULL, rev INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    doc TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX calls_live ON calls (live, created_at, id) WHERE live = 1;
CREATE UNIQUE INDEX calls_by_client_id ON calls (from_user, client_id) WHERE client_id IS NOT NULL;

CREATE TABLE call_members (
    user_id INTEGER NOT NULL, call_at INTEGER NOT NULL, call BLOB NOT NULL,
    peer INTEGER NOT NULL, outgoing INTEGER NOT NULL, missed INTEGER NOT NULL,
    PRIMARY KEY (user_id, call_at, call)
) WITHOUT ROWID;
CREATE INDEX calls_missed ON call_members (user_id, call_at, call) WHERE missed = 1;

INSERT INTO meta VALUES ('users', 0), ('messages', 0), ('calls', 0);
", "
CREATE TABLE jobs (id BLOB PRIMARY KEY, open INTEGER NOT NULL, doc TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX jobs_open ON jobs (open, id) WHERE open = 1;
", "
CREATE TABLE recordings (
    id BLOB PRIMARY KEY, call BLOB, room TEXT NOT NULL, status TEXT NOT NULL, open INTEGER NOT NULL,
    started_at INTEGER NOT NULL, until INTEGER, doc TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX recordings_open ON recordings (open, id) WHERE open = 1;
CREATE INDEX recordings_by_call ON recordings (call, id) WHERE call IS NOT NULL;
CREATE INDEX recordings_by_end ON recordings (until, id) WHERE until IS NOT NULL;
CREATE TABLE recording_members (
    user_id INTEGER NOT NULL, recording BLOB NOT NULL, PRIMARY KEY (user_id, recording)
) WITHOUT ROWID;
", "
CREATE TABLE facts (position INTEGER PRIMARY KEY, at INTEGER NOT NULL, data_of INTEGER, doc TEXT NOT NULL);
CREATE INDEX facts_with_data ON facts (data_of, position) WHERE data_of IS NOT NULL;
CREATE TABLE fact_cursors (name TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE room_tokens (
    hash BLOB PRIMARY KEY, room TEXT NOT NULL, user_id INTEGER, until INTEGER NOT NULL, doc TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX room_tokens_by_room ON room_tokens (room, hash);
CREATE INDEX room_tokens_by_end ON room_tokens (until, hash);
CREATE INDEX room_tokens_by_user ON room_tokens (user_id) WHERE user_id IS NOT NULL;
CREATE TABLE server_keys (name TEXT PRIMARY KEY, key BLOB NOT NULL) WITHOUT ROWID;
", "
CREATE TABLE deliveries (
    id BLOB PRIMARY KEY, endpoint TEXT NOT NULL, position INTEGER NOT NULL, state TEXT NOT NULL, finished_at INTEGER,
    doc TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX deliveries_pending ON deliveries (endpoint, position, id) WHERE state = 'pending';
CREATE INDEX deliveries_by_state ON deliveries (state, id);
CREATE INDEX deliveries_by_end ON deliveries (finished_at, id) WHERE finished_at IS NOT NULL;
CREATE TABLE webhook_endpoints (name TEXT PRIMARY KEY, doc TEXT NOT NULL) WITHOUT ROWID;
"];

/// Brings the file to the version of this program; a newer file is refused.
pub(super) fn migrate(connection: &mut Connection) -> Result<()> {
    let version: usize =
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(super::failed)?;
    if version > STEPS.len() {
        let known = STEPS.len();
        let message = format!(
            "the file is of version {version}, this program knows up to {known}; use a newer switchboard"
        );
        return Err(StoreError::Unavailable(message));
    }
    for (index, step) in STEPS.iter().enumerate().skip(version) {
        let transaction = connection.transaction().map_err(super::failed)?;
        transaction.execute_batch(step).map_err(super::failed)?;
        transaction.pragma_update(None, "user_version", index + 1).map_err(super::failed)?;
        transaction.commit().map_err(super::failed)?;
    }
    Ok(())
}
