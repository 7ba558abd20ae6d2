//! What the relay promises, in sentences.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub
)]

mod attacks;
mod lifetimes;
mod protocol;
mod streams;
mod support;
mod wire;
