//! Where other threads leave for a worker what is its, and where it takes it. Each queue is bounded.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};

use nix::sys::eventfd::{EfdFlags, EventFd};
use switchboard_turn::door::Batch;

use super::streams::Arrived;
use crate::worker::{Note, Packets};
use crate::{Command, TrackKey, Via};

/// Batches and connections that may wait for one worker.
pub(super) const MAIL: usize = 64;
/// Commands that may wait for one worker; ends of peers are taken besides, each of which comes once.
pub(super) const COMMANDS: usize = 4_096;
/// Notes of other workers that may wait for one worker.
pub(super) const NOTES: usize = 1_024;

pub(super) type Wake = Arc<EventFd>;

/// What the server has a worker do.
pub(crate) enum WorkerCommand {
    Stop,
    Do(Command),
    /// A track that lives with another worker is wanted.
    Fetch(TrackKey, usize),
}

/// What other threads leave for a worker.
pub(crate) enum Mail {
    /// Datagrams that came by the same way.
    Datagrams(Via, Batch),
    /// A TCP connection of one of its peers.
    Stream(Arrived),
    /// Packets of tracks that live with another worker.
    Packets(Packets),
}

/// Where they leave it.
#[derive(Clone)]
pub(crate) struct Mailbox {
    commands: Sender<WorkerCommand>,
    /// How many commands wait.
    waiting: Arc<AtomicUsize>,
    notes: SyncSender<Note>,
    mail: SyncSender<Mail>,
    wake: Wake,
}

/// Where a worker takes it.
pub(crate) struct Inlet {
    commands: Receiver<WorkerCommand>,
    waiting: Arc<AtomicUsize>,
    pub(super) notes: Receiver<Note>,
    pub(super) mail: Receiver<Mail>,
    pub(super) wake: Wake,
}

/// The two ends of a way to a worker.
pub(crate) fn mailbox() -> io::Result<(Mailbox, Inlet)> {
    let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
    let wake = Arc::new(EventFd::from_flags(flags).map_err(io::Error::from)?);
    let waiting = Arc::new(AtomicUsize::new(0));
    let (command, commands) = channel();
    let (note, notes) = sync_channel(NOTES);
    let (leave, mail) = sync_channel(MAIL);
    let mailbox = Mailbox {
        commands: command,
        waiting: Arc::clone(&waiting),
        notes: note,
        mail: leave,
        wake: Arc::clone(&wake),
    };
    Ok((mailbox, Inlet { commands, waiting, notes, mail, wake }))
}

impl Mailbox {
    /// Whether there is room for another command.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.load(Ordering::Acquire) < COMMANDS
    }

    pub(super) fn command(&self, command: WorkerCommand) {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let _ = self.commands.send(command);
        let _ = self.wake.write(1);
    }

    /// Leaves notes, the first ones first, until there is no room.
    pub(crate) fn note(&self, notes: &mut VecDeque<Note>) {
        let before = notes.len();
        while let Some(note) = notes.pop_front() {
            if let Err(TrySendError::Full(note)) = self.notes.try_send(note) {
                notes.push_front(note);
                break;
            }
        }
        if notes.len() < before {
            let _ = self.wake.write(1);
        }
    }

    pub(crate) fn put(&self, mail: Mail) -> bool {
        let put = self.mail.try_send(mail).is_ok();
        let _ = self.wake.write(1);
        put
    }
}

impl Inlet {
    /// The next command.
    pub(super) fn command(&self) -> Option<WorkerCommand> {
        let command = self.commands.try_recv().ok()?;
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        Some(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_for_which_there_is_no_room_wait_in_their_order() {
        let (mailbox, inlet) = mailbox().unwrap();
        let mute = |n| Note::Mute { track: TrackKey(n), muted: true };
        let mut waiting: VecDeque<Note> = (0..NOTES as u64 + 10).map(mute).collect();
        let taken = || {
            let number = |note| match note {
                Note::Mute { track, .. } => track.0,
                _ => u64::MAX,
            };
            inlet.notes.try_iter().map(number).collect::<Vec<u64>>()
        };
        mailbox.note(&mut waiting);
        mailbox.note(&mut waiting);
        assert_eq!(waiting.len(), 10);
        let mut all = taken();
        mailbox.note(&mut waiting);
        assert!(waiting.is_empty());
        all.extend(taken());
        assert_eq!(all, (0..NOTES as u64 + 10).collect::<Vec<u64>>());
    }
}
