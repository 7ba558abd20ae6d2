//! `call:*` and `webrtc:*`, a file for each kind of command: decode, one rule, encode.

mod answer;
mod common;
mod connection;
mod end;
mod group;
mod history;
mod hold;
mod initiate;
mod signal;
mod stats;
mod update;

pub(super) use answer::{Respond, respond, ringing};
pub(super) use common::{OneCall, Which};
pub(super) use connection::{Moved, Rejoin, Rejoined, rejoin, take_over};
pub(super) use end::{End, cancel, end};
pub(super) use group::{Add, AddAck, add};
pub(super) use history::{AckMissed, Rate, ack_missed, rate};
pub(super) use hold::{hold, resume_hold};
pub(super) use initiate::{Initiate, Initiated, initiate};
pub(super) use signal::{AnswerSignal, Candidate, Offer, answer, candidate, offer};
pub(super) use stats::{Leg, Stats, stats};
pub(super) use update::{Update, update};
