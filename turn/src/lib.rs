//! A TURN relay (RFC 8656, RFC 8489): calls work for people behind NATs and strict firewalls, and it is no open proxy.
//!
//! [`Relay`] is the protocol without sockets, threads or a clock; [`driver`] gives it those. What several workers share
//! is in [`Ledger`]; what lives in the same process is reached through [`door`], without the kernel.

#![forbid(unsafe_code)]

mod allocation;
mod auth;
pub mod channel;
mod counters;
pub mod door;
pub mod driver;
pub mod framer;
mod ledger;
mod limit;
mod message;
mod nonce;
mod opening;
mod policy;
mod relay;
mod requests;

pub use allocation::{Client, Pace, Traffic, Transport};
pub use auth::{Credentials, LONGEST, Subject};
pub use counters::{Counter, Counters};
pub use ledger::{Family, Ledger, Quotas};
pub use message::REALM;
pub use policy::{Policy, Reach};
pub use relay::{
    AllocationView, Framing, Onward, Output, Relay, Rules, SocketKey, Toward, Unopened,
};
