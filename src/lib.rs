//! Switchboard: chat, ringing and call signalling for an application that has its own accounts, in one process.

pub mod auth;
pub mod clock;
pub mod config;
pub mod error;
pub mod event;
pub mod ids;
pub mod limits;
pub mod outbox;
pub mod store;
