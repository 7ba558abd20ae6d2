//! Promises of the whole server, one module each, in one binary so that it links once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value
)]

mod architecture;
mod conformance;
mod plans;
mod support;
mod waits;
