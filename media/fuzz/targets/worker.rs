//! What an established peer, which has the keys, and an unknown address may send to a worker.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| switchboard_media::fuzz::worker(bytes));
