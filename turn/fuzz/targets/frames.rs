//! Frames of a stream, and channel data in them: every byte is taken once, and what is read lies inside.
#![no_main]

use libfuzzer_sys::fuzz_target;
use switchboard_turn::{channel, framer};

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Ok(Some(length)) = framer::frame(rest) {
        assert!(length >= channel::HEADER);
        let Some(frame) = rest.get(..length) else { break };
        if let Some(data) = channel::parse(frame) {
            assert!(data.payload.len() + channel::HEADER <= frame.len());
            let header = channel::header(data.number, data.payload.len() as u16);
            assert_eq!(header, frame[..channel::HEADER]);
        }
        rest = &rest[length..];
    }
});
