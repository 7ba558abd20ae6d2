//! A whole relay: signed requests with any attributes, datagrams, packets from peers and from inside, and time, in any order.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use stun_types::attribute::{AttributeType, AttributeWrite, RawAttribute};
use stun_types::message::MessageClass;
use turn_types::message::{ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, REFRESH};

#[path = "../../tests/support.rs"]
#[allow(dead_code)]
mod support;

use support::{Bench, PEER, Setup, at, client, signed_by};

/// Attributes of the requests, and an unknown one.
const TYPES: [u16; 11] =
    [0x000C, 0x000D, 0x0012, 0x0017, 0x0018, 0x0019, 0x001A, 0x0022, 0x8000, 0x8032, 0x7777];

fuzz_target!(|bytes: &[u8]| {
    let mut bench = Bench::new(Setup { ports: 50_000..=50_007, ..Setup::default() });
    bench.relay.set_insiders([at("10.0.0.5:7000")].into());
    let mut bytes = bytes.iter().copied();
    while let Some(step) = bytes.next() {
        let who = bytes.next().unwrap_or_default() % 4;
        let (from, user) = (client(&format!("9.1.1.{who}:1000")), ["ann", "ben"][usize::from(who % 2)]);
        match step % 6 {
            0 => {
                let length = usize::from(bytes.next().unwrap_or_default());
                let datagram: Vec<u8> = bytes.by_ref().take(length).collect();
                bench.raw(from, &datagram);
            }
            1 | 2 => {
                let method = [ALLOCATE, REFRESH, CREATE_PERMISSION, CHANNEL_BIND][usize::from(step / 6 % 4)];
                let attributes = attributes(&mut bytes);
                let attributes: Vec<&dyn AttributeWrite> = attributes.iter().map(|one| one as _).collect();
                let nonce = bench.nonce(from);
                let request = bench.build((MessageClass::Request, method), &attributes, Some((&signed_by(user), &nonce)));
                assert!(bench.raw(from, &request).1.len() == 1, "one answer to one request");
            }
            3 => {
                bench.wait(Duration::from_secs(u64::from(bytes.next().unwrap_or_default()) * 4));
                bench.forget_nonces();
            }
            4 => {
                let relayed = bench.open.values().next().copied();
                relayed.and_then(|relayed| bench.hear(relayed, PEER));
            }
            _ => {
                let port = 50_000 + u16::from(bytes.next().unwrap_or_default() % 8);
                let to = at(&format!("{}:{port}", support::OURS));
                bench.relay.handle_inside(at("10.0.0.5:7000"), to, 100, bench.now);
            }
        }
        let views = bench.relay.allocations(bench.now);
        assert_eq!(bench.ledger.allocations() as usize, views.len());
        let relayed: Vec<_> = views.iter().flat_map(|view| view.relayed.clone()).collect();
        assert!(bench.open.values().all(|open| relayed.contains(open)), "a socket without an allocation");
        assert!(views.iter().all(|view| view.permissions <= 8 && view.channels <= 8));
    }
    bench.wait(Duration::from_secs(3601));
    assert_eq!((bench.ledger.allocations(), bench.open.len()), (0, 0), "everything is given back");
});

fn attributes(bytes: &mut impl Iterator<Item = u8>) -> Vec<RawAttribute<'static>> {
    let count = bytes.next().unwrap_or_default() % 5;
    (0..count)
        .map(|_| {
            let kind = TYPES[usize::from(bytes.next().unwrap_or_default()) % TYPES.len()];
            let length = usize::from(bytes.next().unwrap_or_default() % 24);
            let value: Vec<u8> = bytes.by_ref().take(length).collect();
            RawAttribute::new_owned(AttributeType::new(kind), value.into_boxed_slice())
        })
        .collect()
}
