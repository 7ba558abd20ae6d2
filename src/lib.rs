//! Switchboard: chat, ringing and call signalling for an application that has its own accounts, in one process.

pub mod access;
pub mod app;
pub mod at_rest;
pub mod auth;
pub mod calls;
pub mod chat;
pub mod clock;
pub mod config;
pub mod delivery;
pub mod error;
pub mod event;
pub mod fact;
pub mod http;
pub mod ids;
pub mod incall;
pub mod ledger;
pub mod limits;
pub mod membership;
pub mod ops;
pub mod peer;
pub mod people;
pub mod policy;
pub mod presence;
pub mod quality;
pub mod recorder;
pub mod recordings;
pub mod relay;
pub mod revocation;
pub mod rooms;
pub mod sfu;
pub mod socket;
pub mod store;
#[cfg(test)]
pub(crate) mod testing;
pub mod view;
pub mod webhooks;
