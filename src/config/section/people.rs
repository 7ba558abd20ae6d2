//! `[chat]`, `[call]`, `[presence]` and `[directory]`: what people do with one another.

use serde::{Deserialize, Serialize};

use crate::event::CallMedia;

/// Who is notified when a person comes online or goes offline.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Audience {
    Contacts,
    All,
    None,
}

/// `[chat]`: messages.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Chat {
    /// Whether a finished call leaves a line in the conversation.
    pub call_entries: bool,
    /// Days for which a repeated `clientId` is recognised.
    pub client_id_days: u64,
    /// Days for which missed events can be replayed from a cursor.
    pub log_days: u64,
    /// Events of one user that can be replayed.
    pub log_entries: i64,
    /// Missed events up to which a connection is brought up to date by `sync:batch`; beyond, `sync:reset`.
    pub sync_limit: usize,
    /// Messages sent again to a client that connects without a cursor.
    pub replay_limit: usize,
}

impl Default for Chat {
    fn default() -> Self {
        Self {
            call_entries: true,
            client_id_days: 7,
            log_days: 30,
            log_entries: 10_000,
            sync_limit: 1000,
            replay_limit: 200,
        }
    }
}

/// `[call]`: ringing and calls.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Call {
    /// Seconds a call rings before it is missed (the original: 60).
    pub ring_timeout: u64,
    /// Whether a person without a connection is rung (the call shows when a connection comes in time); false answers `USER_OFFLINE`.
    pub ring_offline: bool,
    /// Seconds a side that lost its connection has to come back before the call ends.
    pub reconnect_window: u64,
    /// Which path media takes: `p2p` from one to the other; `relay` through this server, without support in the clients;
    /// `auto` from one to the other until the call is recorded. A caller may ask for another path than `p2p` or `auto`.
    pub media: CallMedia,
    /// Whether candidates with private addresses are kept from the other side.
    pub hide_host_candidates: bool,
}

impl Default for Call {
    fn default() -> Self {
        Self {
            ring_timeout: 45,
            ring_offline: true,
            reconnect_window: 30,
            media: CallMedia::Auto,
            hide_host_candidates: false,
        }
    }
}

/// `[presence]`: who sees whom.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Presence {
    /// Who is notified when a person comes online or goes offline: `contacts`, `all` (the original) or `none`. `--dev` takes `all`.
    pub audience: Audience,
    /// Days for which a conversation or call makes two people contacts.
    pub contacts_days: u64,
    /// Seconds after the last connection before a person counts as offline.
    pub grace: u64,
}

impl Default for Presence {
    fn default() -> Self {
        Self { audience: Audience::Contacts, contacts_days: 90, grace: 5 }
    }
}

/// `[directory]`: the list of people.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Directory {
    /// Whether people see each other's e-mail, mobile number and gender.
    pub expose_contact: bool,
}
