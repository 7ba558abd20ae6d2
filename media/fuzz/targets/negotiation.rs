//! Any text as an offer, and as an answer to an offer of ours.
#![no_main]

use libfuzzer_sys::fuzz_target;
use switchboard_media::negotiation::{Accept, Connection, Endpoint};
use switchboard_media::{Codec, Description, Kind, TrackKey};

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let Ok(read) = Description::parse(&text, 64) else { return };
    let endpoint = Endpoint {
        fingerprint: [7; 32],
        udp: vec!["127.0.0.1:3479".parse().unwrap()],
        tcp: vec!["127.0.0.1:3479".parse().unwrap()],
    };
    let mut next = 1;
    let mut publisher = Connection::new(endpoint.clone(), &Codec::ALL);
    let accept = |_: &_| {
        next += 1;
        Accept::Receive(TrackKey(next))
    };
    if let Ok(answer) = publisher.answer(&read, accept) {
        // The one thing in it that is not taken from outside is the side that we are.
        let answer = answer.replace("a=setup:passive", "a=setup:active");
        Description::parse(&answer, 64).expect("our own answers can be read");
        publisher.plan();
    }
    let mut viewer = Connection::new(endpoint, &Codec::ALL);
    viewer.line_for(Kind::Audio);
    viewer.line_for(Kind::Video);
    Description::parse(&viewer.offer(), 64).expect("our own offers can be read");
    if viewer.take_answer(&read).is_ok() {
        viewer.plan();
    }
});
