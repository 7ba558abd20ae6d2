//! Promises of the whole server, one module each, in one binary so that it links once.

mod architecture;
mod conformance;
mod plans;
mod support;
