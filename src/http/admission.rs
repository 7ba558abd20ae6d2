//! Which TCP connections are served: so many from one address, and never so many that the store, media and recordings find no
//! descriptor. Beyond that, a connection is answered why, and probes of health are answered all the same.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::time::Duration;

use http::{StatusCode, header};
use ipnet::IpNet;
use parking_lot::Mutex;
use rustix::process::{Resource as Bound, getrlimit};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::app::App;
use crate::clock::Timestamp;
use crate::error::{Problem, Reason};
use crate::ledger::{Entry, Full, Holder, Resource};
use crate::strangers::Strangers;
use crate::{limits, peer};

/// A line about one kind of refusal is written at most once in this many seconds.
const PAUSE: u64 = 3600;
/// The bound that a reverse proxy reaches which is not known as one.
const CROWD: &str = "limits.connections_per_network";
/// Seconds after which a client that found the server full may come again.
const WAIT: u64 = 5;
/// How long a refused client may take to read why, and how many may do so at the same time; others are closed at once.
const LAST_WORD: Duration = Duration::from_millis(500);
const LAST_WORDS: usize = 64;

/// How many descriptors there are, and from which one on none is spent on clients.
#[derive(Clone, Copy, Debug)]
struct Descriptors {
    /// From here on, connections serve probes of health alone.
    full: u64,
    /// From here on, connections are closed.
    last: u64,
}

impl Descriptors {
    fn new(most: u64) -> Self {
        let reserve = (most / 8).clamp(64, 1024).min(most / 2);
        let full = most - reserve;
        Self { full, last: full + reserve / 4 }
    }

    /// The least number that is free is what a new descriptor gets (POSIX.1, §2.6), so that at least as many are open.
    fn stand(self, descriptor: u64) -> Stand {
        match descriptor {
            it if it < self.full => Stand::Free,
            it if it < self.last => Stand::Full,
            _ => Stand::Last,
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stand {
    Free,
    Full,
    Last,
}

/// What becomes of an accepted connection.
pub(super) enum Admitted {
    /// It is served, and holds this; a stranger from this network has this place.
    Serve(TcpStream, Option<Entry>, Option<(IpNet, Entry)>),
    /// It may ask whether the server is alive.
    Probe(TcpStream),
    /// It was refused.
    Refused,
}

/// See the module.
#[derive(Clone)]
pub(super) struct Admission(Arc<Inner>);

struct Inner {
    app: App,
    descriptors: Option<Descriptors>,
    last_words: Arc<Semaphore>,
    logged: Mutex<[Option<Timestamp>; 2]>,
}

impl Admission {
    pub(super) fn new(app: &App) -> Self {
        let descriptors = getrlimit(Bound::Nofile).current.map(Descriptors::new);
        let last_words = Arc::new(Semaphore::new(LAST_WORDS));
        Self(Arc::new(Inner {
            app: app.clone(),
            descriptors,
            last_words,
            logged: Mutex::default(),
        }))
    }

    /// Those who have shown no token.
    pub(super) fn strangers(&self) -> &Arc<Strangers> {
        &self.0.app.strangers
    }

    /// Takes a connection, or answers it why not.
    pub(super) fn admit(&self, stream: TcpStream, peer: SocketAddr) -> Admitted {
        let descriptor = u64::try_from(stream.as_raw_fd()).unwrap_or_default();
        let stand = self.0.descriptors.map_or(Stand::Free, |all| all.stand(descriptor));
        if stand != Stand::Free {
            self.log_full(descriptor);
        }
        match (stand, self.hold(peer.ip())) {
            (Stand::Last, _) => Admitted::Refused,
            (Stand::Full, Ok(_)) => Admitted::Probe(stream),
            (Stand::Free, Ok(None)) => Admitted::Serve(stream, None, None),
            (Stand::Free, Ok(Some((network, entry, place)))) => {
                Admitted::Serve(stream, Some(entry), Some((network, place)))
            }
            (_, Err(full)) => {
                if full.key == CROWD {
                    self.log_crowd(peer.ip(), &full);
                }
                self.refuse(stream, full);
                Admitted::Refused
            }
        }
    }

    /// What a connection holds; that of a trusted proxy, which serves many, holds nothing.
    fn hold(&self, peer: IpAddr) -> Result<Option<(IpNet, Entry, Entry)>, Full> {
        if self.0.app.config.server.trusted_proxies.contains(peer) {
            return Ok(None);
        }
        let network = limits::network(&peer.to_string());
        let entry = self.0.app.ledger.hold(Resource::Connection, Holder::Network(network))?;
        let place = self.0.app.strangers.place(network)?;
        Ok(Some((network, entry, place)))
    }

    /// Says why, without a look at what was asked.
    fn refuse(&self, stream: TcpStream, full: Full) {
        let Ok(permit) = self.0.last_words.clone().try_acquire_owned() else { return };
        let wait = full.retry_after();
        let answer = answer(&self.0.app, &full.into(), wait);
        tokio::spawn(async move {
            // It fits into the empty buffer of the kernel.
            let _ = stream.try_write(answer.as_bytes());
            peer::linger(&stream, LAST_WORD).await;
            drop(permit);
        });
    }

    fn is_due(&self, kind: usize) -> bool {
        let now = self.0.app.clock.now();
        let mut logged = self.0.logged.lock();
        let Some(last) = logged.get_mut(kind) else { return false };
        if last.is_some_and(|at| now.since(at).as_secs() < PAUSE) {
            return false;
        }
        *last = Some(now);
        true
    }

    fn log_crowd(&self, peer: IpAddr, full: &Full) {
        if self.is_due(0) {
            tracing::warn!(
                address = %peer,
                at_most = full.most,
                "an address has as many connections as it may ({}); when it is a reverse proxy, name it in server.trusted_proxies (said once an hour)",
                full.key
            );
        }
    }

    fn log_full(&self, descriptor: u64) {
        metrics::counter!("rtc_http_connections_cut_total", "why" => "descriptors").increment(1);
        if self.is_due(1) {
            tracing::warn!(
                open = descriptor,
                "connections have taken the descriptors that clients may have, and new ones are refused; raise the limit of open files (LimitNOFILE, ulimit -n) (said once an hour)"
            );
        }
    }
}

/// What a client is answered that finds no descriptor left.
pub(super) fn no_descriptor() -> Problem {
    let message = "The server has as many connections as it may; come back in a moment";
    let details = Some(serde_json::json!({ "retryAfterMs": WAIT * 1000 }));
    Problem { reason: Reason::Unavailable, message: message.into(), details }
}

/// A whole answer of HTTP/1.1, after which the connection ends.
fn answer(app: &App, problem: &Problem, wait: u64) -> String {
    let body = problem.body(app.clock.now(), None);
    let body = serde_json::to_string(&body).unwrap_or_default();
    let status: StatusCode = problem.reason.status();
    format!(
        "HTTP/1.1 {status}\r\n{}: application/json\r\n{}: {wait}\r\n{}: no-store\r\n{}: close\r\n{}: {}\r\n\r\n{body}",
        header::CONTENT_TYPE,
        header::RETRY_AFTER,
        header::CACHE_CONTROL,
        header::CONNECTION,
        header::CONTENT_LENGTH,
        body.len(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_descriptors_are_not_spent_on_clients() {
        for (most, full, last) in
            [(1024, 896, 928), (65_536, 64_512, 64_768), (100, 50, 62), (2, 1, 1)]
        {
            let all = Descriptors::new(most);
            assert_eq!((all.full, all.last), (full, last), "{most}");
            assert_eq!(all.stand(full - 1), Stand::Free);
            assert_eq!(all.stand(last), Stand::Last);
        }
        assert_eq!(Descriptors::new(1024).stand(900), Stand::Full);
    }
}
