//! Calls that are over, and what the two thought of them.

use std::time::Duration;

use serde_json::json;

use super::command::Command;
use super::error::{CallError, Result};
use super::service::{Calls, first, may_use};
use crate::clock::Timestamp;
use crate::event::{Call, CallStatus, MediaPath};
use crate::fact::{Fact, FactKind};
use crate::ids::{CallId, FactId, UserId};
use crate::policy::Verb;
use crate::store::{CallHistory, CallRecord, Rating, RecordingQuery, StoreError};
use crate::view::{cursor, open_cursor};

/// How long a missed call is shown to a client that connects.
const MISSED: Duration = Duration::from_secs(86_400);

/// Which calls to list.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct HistoryQuery {
    pub cursor: Option<String>,
    pub page: usize,
    pub limit: Option<usize>,
    pub status: Option<CallStatus>,
    pub outgoing: Option<bool>,
    pub with: Option<UserId>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

/// Calls with the cursor that leads on.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct History {
    pub calls: Vec<Call>,
    pub next_cursor: Option<String>,
    pub limit: usize,
}

impl Calls {
    /// One call of `me`.
    pub async fn call(&self, me: UserId, id: CallId) -> Result<Call> {
        let record = self.means.store.call(id).await?.ok_or(CallError::NotFound)?;
        may_use(me, Verb::TakePartInCall, record.has(me))?;
        let people = self.people(record.from, record.to).await?;
        let people = people.as_ref().map(|(from, to)| (from, to));
        let mut call = self.rules.view.call(&record, people, self.means.clock.now());
        self.add_recording(&mut call).await?;
        Ok(call)
    }

    /// Says whether a call was recorded.
    async fn add_recording(&self, call: &mut Call) -> Result<()> {
        if call.media == MediaPath::P2p {
            return Ok(());
        }
        let call_id = Some(first(call));
        let query = RecordingQuery { call: call_id, limit: 1, ..RecordingQuery::default() };
        if let [newest, ..] = self.means.store.recordings(query).await?.as_slice() {
            (call.recording_status, call.recording_id) = (newest.status, Some(newest.id));
        }
        Ok(())
    }

    /// The calls of `me`, newest first.
    pub async fn history(&self, me: UserId, query: HistoryQuery) -> Result<History> {
        let limit = query.limit.unwrap_or(20).clamp(1, self.rules.config.limits.page_max);
        let before = query.cursor.as_deref().map(position).transpose()?;
        let asked = CallHistory {
            user: me,
            before,
            skip: query.page.saturating_sub(1).saturating_mul(limit).min(100_000),
            status: query.status,
            outgoing: query.outgoing,
            with: query.with,
            since: query.since,
            until: query.until,
            limit,
        };
        let records = self.means.store.call_history(asked).await?;
        let last = records.last().filter(|_| records.len() == limit);
        let next_cursor =
            last.map(|last| cursor(&["k", &last.created_at.0.to_string(), &last.id.to_string()]));
        Ok(History { calls: self.with_people(&records).await?, next_cursor, limit })
    }

    /// Calls that `me` missed in the last day and has not acknowledged.
    pub async fn missed(&self, me: UserId) -> Result<Vec<Call>> {
        let since = self.means.clock.now().before(MISSED);
        let records = self.means.store.missed_calls(me, since, 50).await?;
        self.with_people(&records).await
    }

    async fn with_people(&self, records: &[CallRecord]) -> Result<Vec<Call>> {
        let ids = records.iter().flat_map(|call| [call.from, call.to]).collect();
        let users = self.means.store.users(ids).await?;
        let find = |id| users.iter().find(|user| user.profile.user_id == id);
        let now = self.means.clock.now();
        let view =
            |call: &CallRecord| self.rules.view.call(call, find(call.from).zip(find(call.to)), now);
        let mut calls: Vec<Call> = records.iter().map(view).collect();
        for call in &mut calls {
            self.add_recording(call).await?;
        }
        Ok(calls)
    }

    /// Keeps what `me` thought of a call.
    pub async fn rate(
        &self,
        me: UserId,
        id: CallId,
        stars: u8,
        issues: Vec<String>,
        comment: Option<String>,
    ) -> Result<()> {
        match self.ask(me, id, Command::Look).await {
            Ok(reply) => {
                let status = reply.call()?.status;
                return Err(CallError::State(status, "a call is rated when it is over"));
            }
            Err(CallError::Over(_) | CallError::NotFound) => {}
            Err(error) => return Err(error),
        }
        let rating = Rating { user: me, stars, issues, comment, at: self.means.clock.now() };
        let rated = Fact::new(FactId::new(self.means.clock.id()), rating.at, FactKind::CallRated);
        let rated = rated.of_call(id).by(Some(me)).with(json!({ "stars": stars }));
        self.means.store.rate_call(id, rating, vec![rated]).await.map_err(|error| match error {
            StoreError::NotFound => CallError::NotFound,
            other => other.into(),
        })?;
        metrics::counter!("rtc_call_ratings_total", "stars" => stars.to_string()).increment(1);
        Ok(())
    }

    /// Acknowledges missed calls.
    pub async fn ack_missed(&self, me: UserId, calls: Vec<CallId>) -> Result<()> {
        Ok(self.means.store.ack_missed(me, calls).await?)
    }
}

fn position(text: &str) -> Result<(Timestamp, CallId)> {
    match open_cursor(text).as_deref() {
        Some([kind, at, id]) if kind == "k" => {
            let at = at.parse().map_err(|_| CallError::Cursor)?;
            Ok((Timestamp(at), id.parse().map_err(|_| CallError::Cursor)?))
        }
        _ => Err(CallError::Cursor),
    }
}
