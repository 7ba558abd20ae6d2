use super::*;

fn ledger(change: impl FnOnce(&mut config::Limits)) -> Arc<Ledger> {
    let mut limits = config::Limits::default();
    change(&mut limits);
    Ledger::new(&limits)
}

fn network(text: &str) -> Holder {
    Holder::Network(crate::limits::network(text))
}

#[test]
fn who_holds_as_much_as_it_may_is_refused_by_name_and_others_are_not() {
    let ledger = ledger(|it| it.connections_per_network = 2);
    let (one, other) = (network("192.0.2.1"), network("192.0.2.2"));
    let first = ledger.hold(Resource::Connection, one).unwrap();
    let _second = ledger.hold(Resource::Connection, one).unwrap();
    let full = ledger.hold(Resource::Connection, one).unwrap_err();
    assert_eq!((full.key, full.most), ("limits.connections_per_network", 2));
    assert_eq!(full.reason(), Reason::RateLimited);
    let problem = crate::error::Problem::from(full);
    assert_eq!(problem.retry_after_ms(), Some(5000));
    assert!(problem.message.contains("limits.connections_per_network"), "{}", problem.message);
    let _third = ledger.hold(Resource::Connection, other).unwrap();
    drop(first);
    let again = ledger.hold(Resource::Connection, one);
    assert!(again.is_ok(), "what was given back can be had");
}

#[test]
fn what_all_hold_together_is_the_servers_business() {
    let ledger = ledger(|it| it.backend_requests = 1);
    let held = ledger.hold(Resource::BackendRequest, Holder::Server).unwrap();
    let full = ledger.hold(Resource::BackendRequest, Holder::Server).unwrap_err();
    assert_eq!(full.reason(), Reason::Unavailable);
    drop(held);
    assert!(ledger.hold(Resource::BackendRequest, Holder::Server).is_ok());
}

#[test]
fn an_entry_that_grows_gives_everything_back() {
    let ledger = ledger(|it| it.upload_bytes_per_network = 100);
    let one = network("2001:db8::1");
    let body = ledger.hold_many(Resource::BodyBytes, one, 60).unwrap();
    let body = body.grow(40).unwrap();
    assert_eq!((body.amount(), ledger.held(Resource::BodyBytes, one)), (100, 100));
    let same = network("2001:db8::ffff");
    assert!(ledger.hold_many(Resource::BodyBytes, same, 1).is_err(), "one /64 is one client");
    // A refusal gives back what was held before, with the entry that asked.
    assert!(body.grow(1).is_err());
    assert_eq!(ledger.held(Resource::BodyBytes, one), 0);
    let left: usize = ledger.stats().iter().map(|held| held.holders).sum();
    assert_eq!(left, 0);
}

#[test]
fn a_load_test_may_switch_all_bounds_off_and_what_is_held_is_counted_all_the_same() {
    let ledger = ledger(|it| {
        (it.rate_limits, it.connections_per_network, it.rooms_per_user) = (false, 1, 1);
    });
    let (one, user) = (network("192.0.2.1"), Holder::User(UserId::new(7).unwrap()));
    let hold = |resource, holder| ledger.hold(resource, holder);
    let held = (0..50).flat_map(|_| [hold(Resource::Connection, one), hold(Resource::Room, user)]);
    let held: Vec<_> = held.collect();
    assert!(held.iter().all(Result::is_ok));
    assert_eq!(ledger.held(Resource::Room, user), 50);
}

#[test]
fn every_row_has_a_key_and_a_label_and_says_how_long_to_wait() {
    let limits = config::Limits::default();
    for &resource in Resource::ALL {
        let Bound { key, label, wait, .. } = resource.bound();
        assert!(resource.most(&limits) > 0, "{key} has a default");
        assert!(wait > 0 && !label.is_empty(), "{key}");
    }
}
