//! What an established peer, who has the keys, and a stranger may send to a worker.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| switchboard_media::fuzz::worker(bytes));
