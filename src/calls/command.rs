//! The commands that a call takes.

use switchboard_media::{Gone, PeerKey};

use super::answer::Respond;
use super::connection::Opened;
use super::device::Device;
use super::effect::FollowUp;
use super::end::End;
use super::initiate::Initiate;
use super::signal::Signal;
use crate::event::CallType;
use crate::ids::{SessionId, UserId};
use crate::store::CallRecord;

/// See the module.
#[derive(Clone, Debug)]
pub(super) enum Command {
    /// Begins to ring.
    Initiate(Box<Initiate>),
    /// Goes on after a restart.
    Resume,
    /// Says how it stands.
    Look,
    ShowOn(Device),
    Respond(Device, Respond),
    Signal(Device, Signal),
    End(UserId, End),
    /// Gives up ringing.
    StopRinging(UserId),
    /// Ends because one side may no longer take part: on any connection, or on this one.
    Revoke(UserId, Option<SessionId>),
    Hold(UserId, bool),
    Change(UserId, CallType),
    /// Has media go through the server.
    RelayMedia,
    /// Has media go through the server, to be recorded.
    Record,
    /// Becomes one of several.
    Gather,
    TakeOver(UserId, SessionId),
    Rejoin(UserId, SessionId),
    SessionOpened(Box<Opened>),
    SessionClosed(UserId, SessionId),
    PeerConnected(PeerKey),
    PeerGone(PeerKey, Gone),
    /// A deadline may have passed.
    Expire,
    /// What the last command left to be done.
    FollowUp(FollowUp),
    /// Takes what the store has, after a write that failed and may have been made all the same.
    Adopt(Option<Box<CallRecord>>),
    /// Ends because its task panicked.
    Fail,
    /// Panics.
    #[cfg(test)]
    Panic,
}

impl Command {
    /// Whether it must be carried out even if the store fails for now: nobody will ask again.
    pub(super) fn must_happen(&self) -> bool {
        matches!(
            self,
            Self::Expire
                | Self::PeerGone(..)
                | Self::Fail
                | Self::Revoke(..)
                | Self::FollowUp(FollowUp::End(..))
        )
    }

    /// Whether it may change what is stored.
    pub(super) fn writes(&self) -> bool {
        !matches!(
            self,
            Self::Look
                | Self::Signal(..)
                | Self::Hold(..)
                | Self::TakeOver(..)
                | Self::Rejoin(..)
                | Self::SessionOpened(_)
                | Self::SessionClosed(..)
                | Self::PeerConnected(_)
        )
    }
}
