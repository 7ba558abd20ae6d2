//! An SFU: it ends WebRTC peer connections (ICE-lite, DTLS-SRTP) and forwards their media.
//!
//! [`Worker`] is the whole machine without sockets, threads or a clock; [`driver`] gives it those. What is agreed on with a
//! client is made by [`negotiation`] from descriptions (SDP) and handed to the worker as plain data, a [`PeerPlan`].

#![forbid(unsafe_code)]

mod arrivals;
mod bandwidth;
mod codec;
mod counters;
mod dependency;
mod description;
pub mod driver;
mod dtls;
#[cfg(fuzzing)]
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing
)]
pub mod fuzz;
mod history;
mod ice;
mod layer;
pub mod negotiation;
mod numbers;
mod parameter_sets;
mod peer;
mod plan;
pub mod recorder;
mod rtcp;
mod rtp;
mod sender;
mod srtp;
mod stats;
mod subscription;
mod succession;
pub mod tap;
mod track;
mod worker;

pub use codec::{Codec, Format, Kind, Profile};
pub use counters::Counters;
pub use description::{Description, DescriptionError, Direction, Section};
pub use dtls::{DtlsError, Identity, IdentityError};
pub use ice::{IceCredentials, Source, Via};
pub use plan::{
    KeyframeFeedback, PeerKey, PeerPlan, ReceiveCodec, ReceivePlan, RoomKey, SendCodec, SendPlan,
    TrackKey,
};
pub use rtp::ExtensionIds;
pub use stats::{LayerStats, PeerStats, ReceiveStats, SendStats};
pub use subscription::LayerPreference;
pub use worker::{Command, Event, Gone, PeerState, Transmit, Worker};
