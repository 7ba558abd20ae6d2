//! What runs out, when, and what keeps it: hours pass here in no time.

use std::time::Duration;

use turn_types::attribute::{Lifetime, RequestedTransport};
use turn_types::message::ALLOCATE;

use crate::support::{Bench, PEER, as_channel, client, signed_by, went_outside};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn an_allocation_runs_out_to_the_second_and_a_refresh_keeps_it() {
    let ann = client("9.1.1.1:1000");
    let mut bench = Bench::default();
    let relayed = bench.allocate(ann, "ann").relayed()[0];
    bench.permit(ann, "ann", &[PEER]);
    bench.wait(599 * SECOND);
    bench.permit(ann, "ann", &[PEER]);
    assert!(bench.peer_sends(relayed, PEER).is_some());
    assert_eq!(bench.refresh(ann, "ann", 700).lifetime(), 700);
    bench.wait(600 * SECOND);
    bench.permit(ann, "ann", &[PEER]);
    bench.now += 99 * SECOND;
    assert!(went_outside(bench.send(ann, PEER, b"x").as_ref(), PEER));
    bench.now += SECOND;
    assert_eq!(bench.send(ann, PEER, b"x"), None, "even before it is swept away");
    assert_eq!(bench.peer_sends(relayed, PEER), None);
    assert_eq!(bench.refresh(ann, "ann", 600).code(), 437, "too late");
    bench.wait(SECOND);
    assert!(bench.open.is_empty(), "its socket is closed");
    assert_eq!(bench.ledger.allocations(), 0);
}

#[test]
fn an_allocation_that_ran_out_and_was_not_swept_makes_room() {
    let ann = client("9.1.1.1:1000");
    let mut bench = Bench::default();
    let first = bench.allocate(ann, "ann").relayed();
    bench.now += 600 * SECOND;
    let second = bench.allocate(ann, "ann");
    assert_eq!(second.code(), 0);
    assert_ne!(first, second.relayed());
    assert_eq!(bench.ledger.allocations(), 1);
}

#[test]
fn a_permission_lasts_five_minutes_and_a_channel_ten() {
    let ann = client("9.1.1.1:1000");
    let mut bench = Bench::default();
    let relayed = bench
        .ask(
            ann,
            &signed_by("ann"),
            ALLOCATE,
            &[&RequestedTransport::new(17), &Lifetime::new(3600)],
        )
        .relayed()[0];
    bench.bind(ann, "ann", 0x4000, PEER);
    bench.wait(299 * SECOND);
    assert_eq!(bench.peer_sends(relayed, PEER).unwrap().framing, as_channel(0x4000));
    bench.wait(SECOND);
    assert_eq!(bench.peer_sends(relayed, PEER), None, "the permission is over");
    assert!(bench.channel_data(ann, 0x4000, b"x").is_some(), "the channel is not");
    assert_eq!(bench.permit(ann, "ann", &[PEER]).code(), 0);
    assert_eq!(
        bench.peer_sends(relayed, PEER).unwrap().framing,
        as_channel(0x4000),
        "and serves again"
    );
    bench.wait(299 * SECOND);
    assert!(bench.channel_data(ann, 0x4000, b"x").is_some());
    bench.wait(SECOND);
    assert_eq!(bench.channel_data(ann, 0x4000, b"x"), None, "ten minutes are over");
    assert_eq!(bench.bind(ann, "ann", 0x4001, PEER).code(), 0, "and the peer is free again");
}

#[test]
fn hours_of_refreshes_keep_everything_alive() {
    let ann = client("9.1.1.1:1000");
    let mut bench = Bench::default();
    let relayed = bench.allocate(ann, "ann").relayed()[0];
    bench.bind(ann, "ann", 0x4000, PEER);
    for minute in 1..=60 * 5 {
        bench.wait(60 * SECOND);
        if minute % 50 == 0 {
            bench.forget_nonces();
        }
        if minute % 4 == 0 {
            assert_eq!(bench.bind(ann, "ann", 0x4000, PEER).code(), 0, "minute {minute}");
        }
        if minute % 9 == 0 {
            assert_eq!(bench.refresh(ann, "ann", 600).code(), 0, "minute {minute}");
        }
        assert!(bench.channel_data(ann, 0x4000, b"x").is_some());
        assert!(bench.peer_sends(relayed, PEER).is_some(), "minute {minute}");
    }
    assert_eq!(bench.open.len(), 1);
}

#[test]
fn a_refresh_and_the_end_in_the_same_moment_leave_one_truth() {
    let ann = client("9.1.1.1:1000");
    for late in [false, true] {
        let mut bench = Bench::default();
        bench.allocate(ann, "ann");
        bench.permit(ann, "ann", &[PEER]);
        bench.now +=
            600 * SECOND - Duration::from_millis(1) + Duration::from_millis(u64::from(late));
        let code = bench.refresh(ann, "ann", 600).code();
        bench.wait(SECOND);
        let (alive, open) = (bench.relay.allocations(bench.now).len(), bench.open.len());
        assert_eq!((code, alive, open), if late { (437, 0, 0) } else { (0, 1, 1) });
        assert_eq!(bench.ledger.allocations() as usize, alive);
    }
}

#[test]
fn draining_lets_what_runs_run_on() {
    let ann = client("9.1.1.1:1000");
    let mut bench = Bench::default();
    bench.allocate(ann, "ann");
    bench.ledger.drain();
    assert_eq!(bench.allocate(client("9.1.1.2:1"), "ben").code(), 508);
    assert_eq!(bench.permit(ann, "ann", &[PEER]).code(), 0);
    assert_eq!(bench.refresh(ann, "ann", 600).code(), 0);
    assert!(went_outside(bench.send(ann, PEER, b"x").as_ref(), PEER));
}
