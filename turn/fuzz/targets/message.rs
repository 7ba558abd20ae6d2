//! One datagram, from a client that has an allocation and from one without.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/support.rs"]
#[allow(dead_code)]
mod support;

use support::{Bench, PEER, client};

fuzz_target!(|bytes: &[u8]| {
    let (ann, other) = (client("9.1.1.1:1000"), client("9.1.1.2:1000"));
    let mut bench = Bench::default();
    bench.allocate(ann, "ann");
    bench.bind(ann, "ann", 0x4000, PEER);
    assert_eq!(bench.raw(other, bytes).0, None);
    bench.raw(ann, bytes);
    assert_eq!(bench.relay.allocations(bench.now).len(), 1, "nothing unsigned opens or closes");
    assert_eq!(bench.open.len(), 1);
});
