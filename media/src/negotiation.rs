//! Offers and answers (RFC 9429, RFC 8829 for the words): what a client says and what we want become a plan for the worker and a
//! text for the client. Nothing here knows of sockets, rooms or time.

mod bridge;
mod model;
mod receive;
mod send;
#[cfg(test)]
mod tests;
mod write;

pub use self::bridge::{Bridge, BridgeError, Offering, Side};
pub use self::model::{Accept, Connection, Endpoint, Shown};
