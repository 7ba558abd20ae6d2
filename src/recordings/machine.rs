//! One recording from its start to its last state: what is stored of it, and what follows from each thing that happens to it.
//! Its effects come in the order in which they are carried out: stored before announced.

use std::time::Duration;

use serde_json::{Value, json};

use super::shown;
use crate::clock::Timestamp;
use crate::config;
use crate::event::Event;
use crate::event::recording::{
    ConsentRequest, RecordingFailed, RecordingFile, RecordingNotice, RecordingReady,
    RecordingState, RecordingStatus, StopReason,
};
use crate::fact::{Fact, FactKind};
use crate::ids::{FactId, UserId};
use crate::recorder::{RecorderEvent, Unrecorded};
use crate::store::RecordingRecord;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    record: RecordingRecord,
    /// Whether each one's consent is asked for.
    consent: bool,
    retention: Option<Duration>,
    /// It was deleted, or nothing more will happen to it.
    over: bool,
}

/// When something happened, and the id of the fact of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now: Timestamp,
    pub(super) fact: FactId,
}

/// What happens to a recording.
#[derive(Debug)]
pub(super) enum Input {
    /// It is to start; these users are there.
    Start(Vec<UserId>),
    /// Its thread writes.
    Begun,
    /// Its thread could not begin.
    NotBegun(Unrecorded),
    /// The recorder says so.
    Recorder(RecorderEvent),
    /// A person in it is erased.
    Erase,
}

/// What follows from it.
#[derive(Debug)]
pub(super) enum Effect {
    /// The record is stored with the facts of it; what comes behind waits for that, and is dropped when it fails.
    Persist(Box<RecordingRecord>, Vec<Fact>),
    /// These users get an event.
    Notify(Vec<UserId>, Event),
    /// The event goes to whoever is there and to every member of the recording.
    NotifyAll(Event),
    /// The participants of its room see this of it.
    ShowRoom(RecordingState),
    /// The recorder takes nothing more.
    Stop(StopReason),
    /// Its place in the recorder is free.
    Release,
    /// Its files and its record are deleted.
    Delete,
}

impl Machine {
    /// A recording that is not stored yet.
    pub(super) fn new(record: RecordingRecord, config: &config::Recordings) -> Self {
        let days = Duration::from_secs(config.retention_days.saturating_mul(86_400));
        Self {
            record,
            consent: config.consent == config::Consent::Required,
            retention: (config.retention_days > 0).then_some(days),
            over: false,
        }
    }

    /// What is stored of it.
    pub(super) fn record(&self) -> &RecordingRecord {
        &self.record
    }

    /// Whether nothing more happens to it.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Takes what happened. The new state counts once the effects are carried out.
    pub(super) fn handle(&mut self, input: Input, at: Moment) -> Vec<Effect> {
        match input {
            Input::Start(present) => self.start(present, at),
            Input::Begun => self.begun(),
            Input::NotBegun(why) => self.not_begun(why, at),
            Input::Recorder(RecorderEvent::Entered(user)) => self.entered(user, at),
            Input::Recorder(RecorderEvent::Guest(name)) => self.takes_guest(name, at),
            Input::Recorder(RecorderEvent::Stopped(reason)) => self.stopped(reason, at),
            Input::Recorder(RecorderEvent::Finished { files, problem }) => {
                self.finished(files, problem, at)
            }
            Input::Erase => self.erase(at),
        }
    }

    fn start(&self, present: Vec<UserId>, at: Moment) -> Vec<Effect> {
        vec![
            self.persist_as(FactKind::RecordingStarted, at),
            Effect::Notify(self.concerned(present), self.started()),
        ]
    }

    /// Whoever is there and every member, each once.
    fn concerned(&self, present: Vec<UserId>) -> Vec<UserId> {
        let absent = self.record.members.iter().filter(|user| !present.contains(user)).copied();
        let absent: Vec<UserId> = absent.collect();
        present.into_iter().chain(absent).collect()
    }

    fn started(&self) -> Event {
        let (recording, by) = (shown(&self.record), self.record.started_by);
        Event::RecordingStarted(Box::new(RecordingNotice { recording, by }))
    }

    fn consent_request(&self) -> Option<Event> {
        let request = || Box::new(ConsentRequest { recording: shown(&self.record) });
        self.consent.then(|| Event::RecordingConsentRequest(request()))
    }

    fn begun(&self) -> Vec<Effect> {
        let request = self.consent_request().map(Effect::NotifyAll);
        request.into_iter().chain([Effect::ShowRoom(RecordingState::Recording)]).collect()
    }

    fn not_begun(&mut self, why: Unrecorded, at: Moment) -> Vec<Effect> {
        let reason = match why {
            // What was to be recorded ended meanwhile.
            Unrecorded::NoMedia => StopReason::Ended,
            Unrecorded::DiskFull => StopReason::DiskFull,
            Unrecorded::Folder => StopReason::Disk,
            Unrecorded::Already(_) | Unrecorded::Full => StopReason::Overload,
        };
        self.record.stopped_at = Some(at.now);
        self.record.stop_reason = Some(reason);
        self.finish(Vec::new(), at.now);
        if reason != StopReason::Ended {
            self.record.status = RecordingStatus::Failed;
        }
        self.over = true;
        vec![self.persist_as(FactKind::RecordingFailed, at), Effect::Release, self.failed()]
    }

    fn takes_guest(&mut self, name: String, at: Moment) -> Vec<Effect> {
        if !self.record.holds(None, Some(name)) {
            return Vec::new();
        }
        self.record.updated_at = at.now;
        vec![self.persist()]
    }

    fn entered(&mut self, user: UserId, at: Moment) -> Vec<Effect> {
        let mut effects = Vec::new();
        if !user.is_guest() && self.record.holds(Some(user), None) {
            self.record.updated_at = at.now;
            effects.push(self.persist());
        }
        let events = [self.started()].into_iter().chain(self.consent_request());
        effects.extend(events.map(|event| Effect::Notify(vec![user], event)));
        effects
    }

    fn stopped(&mut self, reason: StopReason, at: Moment) -> Vec<Effect> {
        self.record.status = RecordingStatus::Processing;
        self.record.stopped_at = Some(at.now);
        self.record.stop_reason = Some(reason);
        self.record.updated_at = at.now;
        let notice = RecordingNotice { recording: shown(&self.record), by: None };
        vec![
            self.persist_as(FactKind::RecordingStopped, at),
            Effect::Release,
            Effect::NotifyAll(Event::RecordingStopped(Box::new(notice))),
            Effect::ShowRoom(RecordingState::Stopped),
        ]
    }

    fn finished(
        &mut self,
        files: Vec<RecordingFile>,
        problem: Option<StopReason>,
        at: Moment,
    ) -> Vec<Effect> {
        if self.record.retention_until.is_some_and(|until| until <= at.now) {
            self.record.stop_reason = Some(StopReason::Erased);
            self.finish(Vec::new(), at.now);
            self.over = true;
            return vec![self.persist_last(at), self.failed(), Effect::Delete];
        }
        if let Some(problem) = problem.filter(|_| files.is_empty()) {
            // Something was sent, and this is why nothing of it can be fetched.
            self.record.stop_reason = Some(problem);
        }
        self.finish(files, at.now);
        self.over = true;
        let last = match self.record.status {
            RecordingStatus::Completed => {
                let ready = RecordingReady { recording: shown(&self.record) };
                Effect::NotifyAll(Event::RecordingReady(Box::new(ready)))
            }
            _ => self.failed(),
        };
        vec![self.persist_last(at), last]
    }

    fn failed(&self) -> Effect {
        let reason = self.record.stop_reason.unwrap_or(StopReason::Ended);
        let failed = RecordingFailed { recording_id: self.record.id, reason };
        Effect::NotifyAll(Event::RecordingFailed(Box::new(failed)))
    }

    /// Gives the record its last state.
    pub(super) fn finish(&mut self, files: Vec<RecordingFile>, now: Timestamp) {
        let record = &mut self.record;
        record.status = match record.stop_reason {
            _ if !files.is_empty() => RecordingStatus::Completed,
            Some(reason) if reason.is_failure() => RecordingStatus::Failed,
            // Nothing was sent: no error, and nothing to fetch.
            _ => RecordingStatus::NoRecording,
        };
        record.files = files;
        // What is to be deleted sooner stays so.
        let kept = self.retention.map(|retention| now.after(retention));
        record.retention_until = record.retention_until.or(kept);
        record.updated_at = now;
    }

    fn erase(&mut self, at: Moment) -> Vec<Effect> {
        self.record.retention_until = Some(at.now);
        self.record.updated_at = at.now;
        vec![self.persist(), Effect::Stop(StopReason::Erased)]
    }

    fn persist(&self) -> Effect {
        Effect::Persist(Box::new(self.record.clone()), Vec::new())
    }

    fn persist_as(&self, kind: FactKind, at: Moment) -> Effect {
        let facts = vec![fact(&self.record, kind, at)];
        Effect::Persist(Box::new(self.record.clone()), facts)
    }

    fn persist_last(&self, at: Moment) -> Effect {
        Effect::Persist(Box::new(self.record.clone()), vec![self.last_fact(at)])
    }

    /// What is to be known of the last state.
    pub(super) fn last_fact(&self, at: Moment) -> Fact {
        let kind = match self.record.status {
            RecordingStatus::Completed => FactKind::RecordingReady,
            _ => FactKind::RecordingFailed,
        };
        fact(&self.record, kind, at)
    }
}

/// Something that happened to a recording.
pub(super) fn fact(record: &RecordingRecord, kind: FactKind, at: Moment) -> Fact {
    let fact =
        Fact::new(at.fact, at.now, kind).of_recording(record.id).in_room(record.room.clone());
    let by = record.started_by.filter(|_| kind == FactKind::RecordingStarted);
    let data = match kind {
        FactKind::RecordingStarted => json!({ "mode": record.mode }),
        FactKind::RecordingReady => {
            let bytes: u64 = record.files.iter().map(|file| file.bytes).sum();
            json!({ "files": record.files.len(), "bytes": bytes })
        }
        FactKind::RecordingStopped | FactKind::RecordingFailed => {
            json!({ "reason": record.stop_reason })
        }
        _ => Value::Null,
    };
    let fact = fact.by(by).with(data);
    match record.call {
        Some(call) => fact.of_call(call),
        None => fact,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::recording::RecordingMode;
    use crate::ids::{CallId, RecordingId, RoomId};

    const NOW: Timestamp = Timestamp(1_900_000_000_000);

    fn moment() -> Moment {
        Moment { now: NOW, fact: FactId::new(uuid::Uuid::from_u128(3)) }
    }

    fn machine() -> Machine {
        let call = CallId::new(uuid::Uuid::from_u128(1));
        let record = RecordingRecord {
            id: RecordingId::new(uuid::Uuid::from_u128(2)),
            call: Some(call),
            room: RoomId::of_call(call),
            members: vec![UserId::new(1).unwrap()],
            guests: Vec::new(),
            mode: RecordingMode::Tracks,
            status: RecordingStatus::Recording,
            started_by: None,
            moderators: Vec::new(),
            started_at: NOW,
            stopped_at: None,
            stop_reason: None,
            files: Vec::new(),
            retention_until: None,
            updated_at: NOW,
        };
        Machine::new(record, &config::Recordings::default())
    }

    /// What a machine stores and announces, in its order.
    fn steps(effects: &[Effect]) -> Vec<String> {
        let step = |effect: &Effect| match effect {
            Effect::Persist(record, facts) => {
                let facts: String = facts.iter().map(|fact| format!(" {}", fact.kind)).collect();
                format!("store {}{facts}", record.status)
            }
            Effect::Notify(_, event) | Effect::NotifyAll(event) => event.name().to_owned(),
            other => format!("{other:?}"),
        };
        effects.iter().map(step).collect()
    }

    fn after(inputs: Vec<Input>) -> (Machine, Vec<String>) {
        let mut machine = machine();
        let mut last = Vec::new();
        for input in inputs {
            last = machine.handle(input, moment());
        }
        let steps = steps(&last);
        (machine, steps)
    }

    fn stopped(reason: StopReason) -> Input {
        Input::Recorder(RecorderEvent::Stopped(reason))
    }

    fn finished(problem: Option<StopReason>) -> Input {
        Input::Recorder(RecorderEvent::Finished { files: Vec::new(), problem })
    }

    #[test]
    fn everything_is_stored_before_it_is_announced() {
        let user = UserId::new(2).unwrap();
        let all = [
            Input::Start(vec![user]),
            Input::NotBegun(Unrecorded::Folder),
            Input::Recorder(RecorderEvent::Entered(user)),
            stopped(StopReason::Length),
            finished(None),
            Input::Erase,
        ];
        for input in all {
            let name = format!("{input:?}");
            let effects = machine().handle(input, moment());
            let stores = effects.iter().filter(|it| matches!(it, Effect::Persist(..))).count();
            assert!(matches!(effects[0], Effect::Persist(..)) && stores == 1, "{name}");
        }
    }

    #[test]
    fn a_fact_of_a_recording_says_where_and_why() {
        let (mut machine, steps) = after(vec![stopped(StopReason::Size)]);
        assert_eq!(steps[0], "store processing recording.stopped");
        let effects = machine.handle(finished(None), moment());
        let Effect::Persist(record, facts) = &effects[0] else { panic!("{effects:?}") };
        let [fact] = facts.as_slice() else { panic!("{facts:?}") };
        assert_eq!((fact.recording, fact.call), (Some(record.id), record.call));
        assert_eq!((fact.at, &fact.data), (NOW, &json!({ "reason": "size" })));
    }

    #[test]
    fn a_recording_that_cannot_begin_has_failed_unless_its_call_ended() {
        let (machine, steps) = after(vec![Input::NotBegun(Unrecorded::DiskFull)]);
        assert_eq!(steps, ["store failed recording.failed", "Release", "recording:failed"]);
        assert!(machine.is_over());
        let (_, steps) = after(vec![Input::NotBegun(Unrecorded::NoMedia)]);
        assert_eq!(steps[0], "store no_recording recording.failed");
    }

    #[test]
    fn without_files_it_depends_on_the_reason_whether_it_failed() {
        let last = |reason, problem| after(vec![stopped(reason), finished(problem)]);
        let (machine, steps) = last(StopReason::Requested, None);
        assert_eq!(steps, ["store no_recording recording.failed", "recording:failed"]);
        assert!(machine.is_over() && machine.record().retention_until.is_some());
        assert_eq!(last(StopReason::FolderGone, None).1[0], "store failed recording.failed");
        let (machine, steps) = last(StopReason::Ended, Some(StopReason::MissingParameterSets));
        assert_eq!(steps[0], "store failed recording.failed");
        assert_eq!(machine.record().stop_reason, Some(StopReason::MissingParameterSets));
    }

    #[test]
    fn what_is_erased_is_deleted_instead_of_announced_as_ready() {
        let (_, steps) = after(vec![Input::Erase, stopped(StopReason::Erased), finished(None)]);
        assert_eq!(steps, ["store no_recording recording.failed", "recording:failed", "Delete"]);
    }

    #[test]
    fn who_is_known_already_is_notified_without_a_write() {
        let member = UserId::new(1).unwrap();
        let (_, steps) = after(vec![Input::Recorder(RecorderEvent::Entered(member))]);
        assert_eq!(steps, ["recording:started"]);
    }
}
