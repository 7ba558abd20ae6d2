//! How fast one client may send requests. Buckets are kept by `governor`; a full one says how long to wait.

mod failures;

use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};
use ipnet::IpNet;
use serde_json::{Value, json};

pub use self::failures::Attempt;
use self::failures::Failures;
use crate::config;
use crate::error::{Failure, Reason};
use crate::ids::UserId;

/// Stands for an address that is not known.
const UNKNOWN: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Too much, too fast.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("Too many {what}: at most {limit}; try again in {retry_after_ms} ms")]
pub struct TooMany {
    /// Of what.
    pub what: &'static str,
    /// The limit, in words.
    pub limit: String,
    /// When a try may succeed.
    pub retry_after_ms: u64,
}

impl Failure for TooMany {
    fn reason(&self) -> Reason {
        Reason::RateLimited
    }

    fn details(&self) -> Option<Value> {
        Some(json!({ "retryAfterMs": self.retry_after_ms, "limit": self.limit }))
    }
}

/// Buckets by some key.
struct Buckets<K: Hash + Eq + Clone> {
    what: &'static str,
    limit: String,
    buckets: Option<DefaultKeyedRateLimiter<K>>,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    fn new(what: &'static str, on: bool, quota: Quota, limit: String) -> Self {
        Self { what, limit, buckets: on.then(|| RateLimiter::keyed(quota)) }
    }

    fn take(&self, key: &K) -> Result<(), TooMany> {
        let Some(buckets) = &self.buckets else { return Ok(()) };
        buckets.check_key(key).map_err(|until| {
            metrics::counter!("rtc_rate_limited_total", "what" => self.what).increment(1);
            let wait = until.wait_time_from(DefaultClock::default().now());
            too_many(self.what, &self.limit, wait)
        })
    }

    fn len(&self) -> usize {
        self.buckets.as_ref().map_or(0, RateLimiter::len)
    }

    fn shrink(&self) {
        if let Some(buckets) = &self.buckets {
            buckets.retain_recent();
            buckets.shrink_to_fit();
        }
    }
}

fn too_many(what: &'static str, limit: &str, wait: Duration) -> TooMany {
    let retry_after_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
    TooMany { what, limit: limit.to_owned(), retry_after_ms }
}

/// What counts as one client: an IPv4 address, or the 64 bits that name an IPv6 network (RFC 6177), of which every host may take as
/// many addresses as it likes.
pub fn network(address: &str) -> IpNet {
    let address = address.parse::<IpAddr>().map_or(UNKNOWN, |address| address.to_canonical());
    let bits = if address.is_ipv6() { 64 } else { 32 };
    IpNet::new(address, bits).map_or_else(|_| address.into(), |network| network.trunc())
}

fn at_least_one(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN)
}

fn per_second(rate: u32, burst: u32) -> Quota {
    Quota::per_second(at_least_one(rate)).allow_burst(at_least_one(burst))
}

fn per_minute(rate: u32) -> Quota {
    Quota::per_minute(at_least_one(rate))
}

/// Limits, in numbers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// Whether they are on.
    pub on: bool,
    /// Users and networks that are counted at present.
    pub counted: usize,
}

/// All the limits on speed.
pub struct Limits {
    config: config::Limits,
    messages: Buckets<UserId>,
    messages_minute: Buckets<UserId>,
    typing: Buckets<UserId>,
    calls: Buckets<UserId>,
    rest: Buckets<UserId>,
    refreshes: Buckets<UserId>,
    handshakes: Buckets<IpNet>,
    anonymous: Failures,
}

impl Limits {
    /// Limits as configured.
    pub fn new(config: &config::Limits) -> Self {
        let on = config.rate_limits;
        if !on {
            tracing::warn!(
                "limits.rate_limits = false: ALL RATE LIMITS ARE OFF. For load tests only."
            );
        }
        let (second, burst, minute) =
            (config.messages_per_second, config.messages_burst, config.messages_per_minute);
        let (typing, calls, rest, anonymous) = (
            config.typing_per_second,
            config.calls_per_minute,
            config.rest_per_minute,
            config.anonymous_per_minute,
        );
        let sustained = format!("{second} a second, {burst} at once");
        Self {
            config: config.clone(),
            messages: Buckets::new("messages", on, per_second(second, burst), sustained),
            messages_minute: Buckets::new(
                "messages",
                on,
                per_minute(minute),
                format!("{minute} a minute"),
            ),
            typing: Buckets::new(
                "typing events",
                on,
                per_second(typing, typing),
                format!("{typing} a second"),
            ),
            calls: Buckets::new("calls", on, per_minute(calls), format!("{calls} a minute")),
            rest: Buckets::new("requests", on, per_minute(rest), format!("{rest} a minute")),
            refreshes: Buckets::new(
                "token refreshes",
                on,
                per_minute(config.refreshes_per_minute),
                format!("{} a minute", config.refreshes_per_minute),
            ),
            handshakes: handshakes(config),
            anonymous: Failures::per_minute("requests without a valid token", on, anonymous),
        }
    }

    /// One more message.
    pub fn message(&self, user: UserId) -> Result<(), TooMany> {
        self.messages.take(&user)?;
        self.messages_minute.take(&user)
    }

    /// One more typing event.
    pub fn typing(&self, user: UserId) -> Result<(), TooMany> {
        self.typing.take(&user)
    }

    /// One more call.
    pub fn call(&self, user: UserId) -> Result<(), TooMany> {
        self.calls.take(&user)
    }

    /// One more request.
    pub fn rest(&self, user: UserId) -> Result<(), TooMany> {
        self.rest.take(&user)
    }

    /// One more token for an open connection.
    pub fn refresh(&self, user: UserId) -> Result<(), TooMany> {
        self.refreshes.take(&user)
    }

    /// One more handshake of Socket.IO, whatever token comes after it.
    pub fn handshake(&self, address: &str) -> Result<(), TooMany> {
        self.handshakes.take(&network(address))
    }

    /// A request or connection from an address, with a token that may be good.
    pub fn attempt(&self, address: &str) -> Attempt<'_> {
        Attempt::new(&self.anonymous, network(address))
    }

    fn of_users(&self) -> [&Buckets<UserId>; 6] {
        let (messages, minute) = (&self.messages, &self.messages_minute);
        [messages, minute, &self.typing, &self.calls, &self.rest, &self.refreshes]
    }

    /// What there is now.
    pub fn stats(&self) -> Stats {
        let users = self.of_users().into_iter().map(Buckets::len).sum::<usize>();
        let counted = users + self.handshakes.len() + self.anonymous.len();
        Stats { on: self.config.rate_limits, counted }
    }

    /// The buckets of one connection.
    pub fn for_connection(&self) -> ConnectionLimits {
        let on = self.config.rate_limits;
        let (signals, burst) = (self.config.signals_per_second, self.config.signals_burst);
        let events = self.config.events_per_second;
        ConnectionLimits {
            signals: on.then(|| RateLimiter::direct(per_second(signals, burst))),
            signals_limit: (signals, burst),
            events: on.then(|| RateLimiter::direct(per_second(events, events.max(burst)))),
            events_limit: events,
            refused: std::sync::atomic::AtomicU32::new(0),
        }
    }

    /// Forgets buckets that have filled up again; to be called now and then.
    pub fn shrink(&self) {
        self.of_users().into_iter().for_each(Buckets::shrink);
        self.handshakes.shrink();
        self.anonymous.shrink();
    }
}

/// Handshakes come in bursts: after a restart, all clients of an office come back at once.
fn handshakes(config: &config::Limits) -> Buckets<IpNet> {
    let (rate, burst) = (config.handshakes_per_minute, config.handshakes_burst);
    let quota = per_minute(rate).allow_burst(at_least_one(burst));
    let limit = format!("{rate} a minute, {burst} at once, from one address");
    Buckets::new("handshakes", config.rate_limits, quota, limit)
}

/// The limits of one connection.
pub struct ConnectionLimits {
    signals: Option<DefaultDirectRateLimiter>,
    signals_limit: (u32, u32),
    events: Option<DefaultDirectRateLimiter>,
    events_limit: u32,
    refused: std::sync::atomic::AtomicU32,
}

impl ConnectionLimits {
    /// One more event of any kind; `Err` refuses it.
    pub fn event(&self) -> Result<(), TooMany> {
        let Some(events) = &self.events else { return Ok(()) };
        events.check().map_err(|until| {
            self.refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let wait = until.wait_time_from(DefaultClock::default().now());
            too_many("events", &format!("{} a second", self.events_limit), wait)
        })
    }

    /// Whether so much was refused that the connection is a flood.
    pub fn is_flood(&self) -> bool {
        self.refused.load(std::sync::atomic::Ordering::Relaxed)
            > self.events_limit.saturating_mul(10)
    }

    /// One more `webrtc:*` event.
    pub fn signal(&self) -> Result<(), TooMany> {
        let Some(signals) = &self.signals else { return Ok(()) };
        signals.check().map_err(|until| {
            let wait = until.wait_time_from(DefaultClock::default().now());
            let (rate, burst) = self.signals_limit;
            too_many("signals", &format!("{rate} a second, {burst} at once"), wait)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_ipv6_is_one_client_and_an_ipv4_address_is_one() {
        let config = config::Limits { anonymous_per_minute: 2, ..config::Limits::default() };
        let limits = Limits::new(&config);
        let three = |addresses: [&str; 3]| addresses.map(|it| limits.attempt(it).failed().is_ok());
        assert_eq!(
            three(["2001:db8::1", "2001:db8::2:3", "2001:db8:0:0:ffff::"]),
            [true, true, false]
        );
        assert_eq!(three(["2001:db8:0:1::1", "192.0.2.1", "192.0.2.2"]), [true, true, true]);
        assert_eq!(three(["::ffff:192.0.2.1", "192.0.2.1", "192.0.2.2"]), [true, false, true]);
        assert_eq!(limits.stats(), Stats { on: true, counted: 4 });
    }

    #[test]
    fn an_address_that_failed_too_often_is_seen_before_anything_is_charged() {
        let limits = limits(|it| it.anonymous_per_minute = 2);
        let may_ask = |address| limits.attempt(address).may_ask();
        for _ in 0..100 {
            assert!(may_ask("192.0.2.1"), "what is good costs nothing");
        }
        // Two are under way: a third would be one too many, until one of them turns out to be good.
        let under_way = [(); 2].map(|()| limits.attempt("192.0.2.1"));
        assert!(under_way.iter().all(Attempt::may_ask) && !may_ask("192.0.2.1"));
        let [bad, good] = under_way;
        drop(good);
        assert!(may_ask("192.0.2.1"));
        assert_eq!(bad.failed(), Ok(()), "it is charged once");
        let fail = || limits.attempt("192.0.2.1").failed();
        assert_eq!([0; 2].map(|_| fail().is_ok()), [true, false]);
        assert!(!may_ask("192.0.2.1") && may_ask("192.0.2.2"));
        let refused = fail().unwrap_err();
        assert!((29_000..=30_000).contains(&refused.retry_after_ms), "{refused}");
        limits.shrink();
        assert!(!may_ask("192.0.2.1"), "debts stay");
    }

    #[test]
    fn handshakes_have_a_bucket_of_their_own_with_room_for_a_rush() {
        let limits = limits(|it| {
            (it.handshakes_per_minute, it.handshakes_burst) = (1, 3);
            it.anonymous_per_minute = 1;
        });
        let of = |address: &str| [0; 4].map(|_| limits.handshake(address).is_ok());
        assert_eq!(of("2001:db8::1"), [true, true, true, false]);
        assert_eq!(of("192.0.2.1"), [true, true, true, false]);
        assert_eq!(limits.attempt("192.0.2.1").failed(), Ok(()), "the other bucket is full still");
    }

    fn user(n: i64) -> UserId {
        UserId::new(n).unwrap()
    }

    fn limits(change: impl FnOnce(&mut config::Limits)) -> Limits {
        let mut config = config::Limits::default();
        change(&mut config);
        Limits::new(&config)
    }

    #[test]
    fn what_goes_over_a_limit_is_refused_with_the_limit_and_the_wait() {
        let limits = limits(|it| (it.messages_per_second, it.messages_burst) = (1, 3));
        for _ in 0..3 {
            assert_eq!(limits.message(user(1)), Ok(()));
        }
        let refused = limits.message(user(1)).unwrap_err();
        assert_eq!((refused.what, refused.limit.as_str()), ("messages", "1 a second, 3 at once"));
        assert!((1..=1000).contains(&refused.retry_after_ms), "{refused}");
        let problem = crate::error::Problem::from(refused.clone());
        assert_eq!(problem.reason, Reason::RateLimited);
        assert_eq!(problem.retry_after_ms(), Some(refused.retry_after_ms));
        assert!(problem.message.contains("at most 1 a second, 3 at once"), "{}", problem.message);
    }

    #[test]
    fn nobody_uses_up_what_belongs_to_another() {
        let limits = limits(|it| {
            (it.calls_per_minute, it.rest_per_minute, it.typing_per_second) = (1, 1, 1);
            it.anonymous_per_minute = 1;
        });
        for n in 1..=3 {
            for take in [Limits::call, Limits::rest, Limits::typing] {
                assert_eq!(take(&limits, user(n)), Ok(()));
                assert!(take(&limits, user(n)).is_err());
            }
            let address = format!("192.0.2.{n}");
            assert_eq!(limits.attempt(&address).failed(), Ok(()));
            assert!(limits.attempt(&address).failed().is_err());
        }
        limits.shrink();
        assert!(limits.call(user(1)).is_err(), "what is used up stays so");
    }

    #[test]
    fn a_limit_by_the_minute_counts_beside_the_one_by_the_second() {
        let limits = limits(|it| {
            (it.messages_per_second, it.messages_burst, it.messages_per_minute) = (1000, 1000, 5);
        });
        let passed = (0..20).filter(|_| limits.message(user(1)).is_ok()).count();
        assert_eq!(passed, 5);
    }

    #[test]
    fn a_connection_that_goes_on_after_refusals_is_a_flood() {
        let limits = limits(|it| (it.events_per_second, it.signals_burst) = (10, 10));
        let connection = limits.for_connection();
        let passed = (0..10).filter(|_| connection.event().is_ok()).count();
        assert_eq!(passed, 10);
        assert!(!connection.is_flood());
        let refused = (0..2000).filter(|_| connection.event().is_err()).count();
        assert!(refused > 100 && connection.is_flood(), "{refused}");
        let other = limits.for_connection();
        assert!(other.event().is_ok() && !other.is_flood());
    }

    #[test]
    fn signals_have_a_limit_of_their_own() {
        let limits = limits(|it| (it.signals_per_second, it.signals_burst) = (1, 4));
        let connection = limits.for_connection();
        assert_eq!((0..10).filter(|_| connection.signal().is_ok()).count(), 4);
        assert_eq!(connection.signal().unwrap_err().limit, "1 a second, 4 at once");
        assert_eq!(connection.event(), Ok(()));
    }

    #[test]
    fn a_load_test_may_switch_all_of_them_off() {
        let limits =
            limits(|it| (it.rate_limits, it.messages_burst, it.rest_per_minute) = (false, 1, 1));
        let connection = limits.for_connection();
        for _ in 0..5000 {
            assert!(limits.message(user(1)).is_ok() && limits.rest(user(1)).is_ok());
            assert!(connection.event().is_ok() && connection.signal().is_ok());
        }
    }

    #[test]
    fn a_limit_of_nothing_lets_one_through_at_a_time() {
        let limits = limits(|it| it.calls_per_minute = 0);
        assert_eq!(limits.call(user(1)), Ok(()));
        assert!(limits.call(user(1)).is_err());
    }
}
