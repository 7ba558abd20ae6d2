//! What all workers share: which relayed ports are taken by which allocation, how many allocations each user has, what is
//! reserved, and which users are shut out. Its lock is taken when allocations come and go, never for a packet.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};

use crate::auth::Subject;

/// How long a reserved port waits for the allocation that takes it up (RFC 8656 §7.2).
const RESERVATION: Duration = Duration::from_secs(30);
/// Free ports looked for at random before they are looked for in order.
const TRIES: usize = 32;

/// Users and calls that are shut out at most.
const SHUT_OUT: usize = 1 << 16;

const FREE: u32 = 0;
const CLAIMED: u32 = u32::MAX;

/// The family of a relayed address.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

impl Family {
    /// The family of `ip`.
    pub fn of(ip: std::net::IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// Where an allocation lives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Home {
    pub(crate) worker: u8,
    pub(crate) index: u32,
}

impl Home {
    fn packed(self) -> u32 {
        (u32::from(self.worker) << 24 | self.index & 0x00FF_FFFF) + 1
    }

    fn unpacked(value: u32) -> Option<Self> {
        if matches!(value, FREE | CLAIMED) {
            return None;
        }
        let [worker, ..] = (value - 1).to_be_bytes();
        Some(Self { worker, index: (value - 1) & 0x00FF_FFFF })
    }
}

/// Which port is asked for (RFC 8656 §7.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum PortRequest {
    Any,
    /// An even one (EVEN-PORT, R = 0).
    Even,
    /// An even one, and the next one reserved (EVEN-PORT, R = 1).
    Pair,
    /// The one that was reserved under this token.
    Reserved([u8; 8]),
}

/// A port taken, and the token of its reserved neighbour.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) port: u16,
    pub(crate) token: Option<[u8; 8]>,
}

/// Limits on allocations.
#[derive(Clone, Copy, Debug)]
pub struct Quotas {
    /// Allocations of one user.
    pub per_user: u32,
    /// Allocations of all users.
    pub total: u32,
}

/// Why an allocation cannot be opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Full {
    #[error("the user has all the allocations allowed to one user")]
    User,
    #[error("the relay has all the allocations it may have")]
    Total,
}

/// See the module.
pub struct Ledger {
    first: u16,
    ports: [Box<[AtomicU32]>; 2],
    quotas: Quotas,
    draining: AtomicBool,
    random: SystemRandom,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    total: u32,
    users: HashMap<Arc<str>, u32>,
    reservations: HashMap<[u8; 8], Reservation>,
    /// Users and calls that are shut out, until the last credential of theirs has run out.
    shut_out: HashMap<Arc<str>, Instant>,
}

struct Reservation {
    family: Family,
    port: u16,
    user: Arc<str>,
    until: Instant,
}

impl Ledger {
    /// A ledger of the relayed `ports`, of each family.
    pub fn new(ports: RangeInclusive<u16>, quotas: Quotas) -> Self {
        let slots = || ports.clone().map(|_| AtomicU32::new(FREE)).collect();
        Self {
            first: *ports.start(),
            ports: [slots(), slots()],
            quotas,
            draining: AtomicBool::new(false),
            random: SystemRandom::new(),
            book: Mutex::default(),
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more allocation of `user`.
    pub(crate) fn enter(&self, user: &Arc<str>) -> Result<(), Full> {
        let mut book = self.book();
        if book.total >= self.quotas.total {
            return Err(Full::Total);
        }
        let count = book.users.entry(Arc::clone(user)).or_default();
        if *count >= self.quotas.per_user {
            return Err(Full::User);
        }
        *count += 1;
        book.total += 1;
        Ok(())
    }

    /// Counts one allocation of `user` less.
    pub(crate) fn leave(&self, user: &Arc<str>) {
        let mut book = self.book();
        book.total = book.total.saturating_sub(1);
        if let Some(count) = book.users.get_mut(user) {
            *count -= 1;
            if *count == 0 {
                book.users.remove(user);
            }
        }
    }

    /// Takes a port; `None` when none is left, or nothing is reserved under the token for this user.
    pub(crate) fn take(
        &self,
        family: Family,
        wish: PortRequest,
        user: &Arc<str>,
        now: Instant,
    ) -> Option<Taken> {
        match wish {
            PortRequest::Reserved(token) => self.take_reserved(family, token, user, now),
            PortRequest::Any => {
                self.claim(family, |_| true).map(|port| Taken { port, token: None })
            }
            PortRequest::Even => self
                .claim(family, |port| port.is_multiple_of(2))
                .map(|port| Taken { port, token: None }),
            PortRequest::Pair => self.take_pair(family, user, now),
        }
    }

    fn take_pair(&self, family: Family, user: &Arc<str>, now: Instant) -> Option<Taken> {
        let with_neighbour = |port: u16| port.is_multiple_of(2) && self.claim_one(family, port | 1);
        let port = self.claim(family, with_neighbour)?;
        let token = self.random_bytes();
        let until = now + RESERVATION;
        let reservation = Reservation { family, port: port | 1, user: Arc::clone(user), until };
        self.book().reservations.insert(token, reservation);
        Some(Taken { port, token: Some(token) })
    }

    fn take_reserved(
        &self,
        family: Family,
        token: [u8; 8],
        user: &Arc<str>,
        now: Instant,
    ) -> Option<Taken> {
        let mut book = self.book();
        let fits = book
            .reservations
            .get(&token)
            .is_some_and(|r| r.family == family && r.user == *user && now < r.until);
        let port = fits.then(|| book.reservations.remove(&token))??.port;
        Some(Taken { port, token: None })
    }

    /// Ends a reservation that no allocation has taken up; the port stays claimed until it is freed.
    pub(crate) fn withdraw(&self, token: &[u8; 8]) -> Option<(Family, u16)> {
        let reservation = self.book().reservations.remove(token)?;
        Some((reservation.family, reservation.port))
    }

    /// Finds a free port that is `wanted` and claims it; tried at random first, so that the next one cannot be foretold.
    fn claim(&self, family: Family, mut wanted: impl FnMut(u16) -> bool) -> Option<u16> {
        let count = self.slots(family).len();
        let random = (0..TRIES).map(|_| usize::from(u16::from_be_bytes(self.random_bytes())));
        let start = usize::from(u16::from_be_bytes(self.random_bytes()));
        let offsets = random.chain(start..start + count).map(|offset| offset % count.max(1));
        for offset in offsets {
            let port = self.first.saturating_add(u16::try_from(offset).ok()?);
            if !self.claim_one(family, port) {
                continue;
            }
            if wanted(port) {
                return Some(port);
            }
            self.free(family, port);
        }
        None
    }

    fn claim_one(&self, family: Family, port: u16) -> bool {
        let claim = |slot: &AtomicU32| {
            slot.compare_exchange(FREE, CLAIMED, Ordering::AcqRel, Ordering::Relaxed)
        };
        self.slot(family, port).is_some_and(|slot| claim(slot).is_ok())
    }

    /// Notes the allocation at a port that was taken.
    pub(crate) fn settle(&self, family: Family, port: u16, home: Home) {
        if let Some(slot) = self.slot(family, port) {
            slot.store(home.packed(), Ordering::Release);
        }
    }

    /// Gives a port back.
    pub(crate) fn free(&self, family: Family, port: u16) {
        if let Some(slot) = self.slot(family, port) {
            slot.store(FREE, Ordering::Release);
        }
    }

    /// The allocation at a relayed port.
    pub(crate) fn home(&self, family: Family, port: u16) -> Option<Home> {
        Home::unpacked(self.slot(family, port)?.load(Ordering::Acquire))
    }

    fn slots(&self, family: Family) -> &[AtomicU32] {
        let [v4, v6] = &self.ports;
        if family == Family::V4 { v4 } else { v6 }
    }

    fn slot(&self, family: Family, port: u16) -> Option<&AtomicU32> {
        self.slots(family).get(usize::from(port.checked_sub(self.first)?))
    }

    /// Frees the reservations that have run out and returns them, and forgets the users that were shut out for long enough.
    pub(crate) fn sweep(&self, now: Instant) -> Vec<(Family, u16)> {
        let mut book = self.book();
        book.shut_out.retain(|_, until| now < *until);
        let lapsed = book.reservations.extract_if(|_, reservation| now >= reservation.until);
        let lapsed: Vec<_> = lapsed.map(|(_, it)| (it.family, it.port)).collect();
        lapsed.iter().for_each(|&(family, port)| self.free(family, port));
        lapsed
    }

    /// Takes no credentials of this user or call until `until`. Of more than 65,536 the one that ends soonest is forgotten.
    pub fn shut_out(&self, user_or_call: &str, until: Instant) {
        let shut_out = &mut self.book().shut_out;
        if shut_out.len() >= SHUT_OUT && !shut_out.contains_key(user_or_call) {
            let soonest = shut_out.iter().min_by_key(|(_, until)| **until);
            let soonest = soonest.map(|(name, _)| Arc::clone(name));
            soonest.and_then(|name| shut_out.remove(&name));
        }
        shut_out.insert(user_or_call.into(), until);
    }

    /// Takes credentials of this user again.
    pub fn readmit(&self, user: &str) {
        self.book().shut_out.remove(user);
    }

    pub(crate) fn is_shut_out(&self, subject: &Subject) -> bool {
        let book = self.book();
        let shut_out = |name: &Arc<str>| book.shut_out.contains_key(name);
        shut_out(&subject.user) || subject.call.as_ref().is_some_and(shut_out)
    }

    /// Opens no allocations from now on; those there are run on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Allocations of all users.
    pub fn allocations(&self) -> u32 {
        self.book().total
    }

    pub(crate) fn random_bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        // The kernel's generator does not fail once it is seeded, which it is before any process runs.
        let filled = self.random.fill(&mut bytes);
        debug_assert!(filled.is_ok(), "the kernel has no random bytes");
        bytes
    }
}
