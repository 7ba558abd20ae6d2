//! What participants send, recorded.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| switchboard_media::fuzz::recorder(bytes));
