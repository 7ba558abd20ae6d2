//! What is pending for one endpoint, and what may be sent now: the first of each subject, once it is due.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::clock::Timestamp;
use crate::store::DeliveryRecord;

/// See the module.
#[derive(Default)]
pub(super) struct Queue {
    /// By subject, then by the position of the fact.
    subjects: HashMap<String, Subject>,
    /// Heads of subjects that are not being sent: when they are due, and their positions.
    due: BTreeSet<(Timestamp, i64, String)>,
    /// Since when each is queued, by position.
    queued: BTreeMap<i64, Timestamp>,
    /// Until when the endpoint wants nothing.
    silent_until: Timestamp,
}

#[derive(Default)]
struct Subject {
    pending: BTreeMap<i64, DeliveryRecord>,
    /// What is being sent.
    sending: Option<i64>,
    /// Its entry in `due`.
    armed: Option<(Timestamp, i64)>,
}

impl Queue {
    /// How many are pending, those that are being sent included.
    pub(super) fn len(&self) -> usize {
        self.queued.len()
    }

    /// Since when the oldest is queued.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.queued.values().min().copied()
    }

    /// Adds a delivery, unless it is here already.
    pub(super) fn add(&mut self, record: DeliveryRecord) {
        if self.queued.contains_key(&record.position) {
            return;
        }
        self.queued.insert(record.position, record.queued_at);
        let name = record.subject.clone();
        let subject = self.subjects.entry(name.clone()).or_default();
        subject.pending.insert(record.position, record);
        self.arm(&name);
    }

    /// The next delivery to send at this moment; its subject waits until it is settled.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<DeliveryRecord> {
        let (at, position, name) = self.due.first()?.clone();
        if at.max(self.silent_until) > now {
            return None;
        }
        self.due.pop_first();
        let subject = self.subjects.get_mut(&name)?;
        subject.armed = None;
        subject.sending = Some(position);
        subject.pending.get(&position).cloned()
    }

    /// When the next one is due.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, ..)| (*at).max(self.silent_until))
    }

    /// An attempt is over and what came of it is stored: the delivery is tried again, or makes way for the next of its subject.
    pub(super) fn settle(&mut self, record: &DeliveryRecord) {
        let (name, position) = (&record.subject, record.position);
        let Some(subject) = self.subjects.get_mut(name) else { return };
        subject.sending = None;
        if record.finished_at.is_some() {
            subject.pending.remove(&position);
            self.queued.remove(&position);
        } else {
            subject.pending.insert(position, record.clone());
        }
        self.arm(name);
    }

    /// The delivery of a fact, if it is pending, is due at once. Gives it as it then is; one that is being sent is left alone.
    pub(super) fn hasten(&mut self, of: &DeliveryRecord, now: Timestamp) -> Option<DeliveryRecord> {
        let subject = self.subjects.get_mut(&of.subject)?;
        let pending = subject.pending.get_mut(&of.position)?;
        pending.next_at = pending.next_at.min(now);
        let pending = pending.clone();
        self.silent_until = self.silent_until.min(now);
        self.arm(&of.subject);
        Some(pending)
    }

    /// Sends nothing before this moment.
    pub(super) fn be_silent(&mut self, until: Timestamp) {
        self.silent_until = self.silent_until.max(until);
    }

    /// Everything that is pending and not being sent, which is then here no more.
    pub(super) fn take_all(&mut self) -> Vec<DeliveryRecord> {
        let mut all = Vec::new();
        for subject in self.subjects.values_mut() {
            let sending = subject.sending;
            let (kept, taken) = std::mem::take(&mut subject.pending)
                .into_iter()
                .partition(|(position, _)| Some(*position) == sending);
            subject.pending = kept;
            subject.armed = None;
            let taken: BTreeMap<i64, DeliveryRecord> = taken;
            all.extend(taken.into_values());
        }
        self.subjects.retain(|_, subject| !subject.pending.is_empty());
        self.due.clear();
        for taken in &all {
            self.queued.remove(&taken.position);
        }
        all.sort_unstable_by_key(|record| record.position);
        all
    }

    /// Has the head of a subject among what is due.
    fn arm(&mut self, name: &str) {
        let Some(subject) = self.subjects.get_mut(name) else { return };
        if let Some((at, position)) = subject.armed.take() {
            self.due.remove(&(at, position, name.to_owned()));
        }
        if subject.sending.is_some() {
            return;
        }
        match subject.pending.first_key_value() {
            Some((position, head)) => {
                subject.armed = Some((head.next_at, *position));
                self.due.insert((head.next_at, *position, name.to_owned()));
            }
            None => drop(self.subjects.remove(name)),
        }
    }
}
