//! The SFU as a whole.
