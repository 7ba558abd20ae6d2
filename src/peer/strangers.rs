//! TCP connections that have shown no valid token yet. They cost memory whoever they are, so that there are so many in all
//! (`limits.strangers`). When there are more, the oldest of the address that has most of them makes room, unless the newcomer's own
//! address has as many: whoever opens few gets in, however many others open.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use ipnet::IpNet;
use parking_lot::Mutex;

use super::AbortHandle;
use crate::ledger::{Entry, Full, Holder, Ledger, Resource};

/// See the module.
pub struct Strangers {
    ledger: Arc<Ledger>,
    /// By their numbers: the oldest first.
    by_network: Mutex<HashMap<IpNet, BTreeMap<u64, Arc<Stranger>>>>,
    next: AtomicU64,
}

/// A connection that has shown no valid token yet.
pub struct Stranger {
    all: Weak<Strangers>,
    network: IpNet,
    number: u64,
    abort: AbortHandle,
    place: Mutex<Option<Entry>>,
}

impl Strangers {
    /// Nobody is there.
    pub fn new(ledger: &Arc<Ledger>) -> Arc<Self> {
        Arc::new(Self {
            ledger: ledger.clone(),
            by_network: Mutex::default(),
            next: AtomicU64::new(0),
        })
    }

    /// A place for one more from `network`; another connection may be cut for it.
    pub fn place(&self, network: IpNet) -> Result<Entry, Full> {
        self.ledger
            .hold(Resource::Stranger, Holder::Server)
            .or_else(|full| self.make_room(network).ok_or(full))
    }

    /// One more, in its place.
    pub fn enter(
        self: &Arc<Self>,
        place: Entry,
        network: IpNet,
        abort: AbortHandle,
    ) -> Arc<Stranger> {
        abort.narrow();
        let all = Arc::downgrade(self);
        let (number, place) = (self.next.fetch_add(1, Ordering::Relaxed), Mutex::new(Some(place)));
        let stranger = Arc::new(Stranger { all, network, number, abort, place });
        self.by_network.lock().entry(network).or_default().insert(number, stranger.clone());
        stranger
    }

    fn make_room(&self, network: IpNet) -> Option<Entry> {
        let mut by_network = self.by_network.lock();
        let own = by_network.get(&network).map_or(0, BTreeMap::len);
        let (&most, there) = by_network.iter().max_by_key(|(_, there)| there.len())?;
        if there.len() <= own + 1 {
            return None;
        }
        let (_, oldest) = by_network.get_mut(&most)?.pop_first()?;
        drop(by_network);
        metrics::counter!("rtc_http_connections_cut_total", "why" => "strangers").increment(1);
        oldest.abort.sever();
        oldest.place.lock().take()
    }
}

impl Stranger {
    /// It has shown a token.
    pub fn prove(&self) {
        if self.leave() {
            self.abort.widen();
        }
    }

    /// It is none any more; true the first time.
    pub fn leave(&self) -> bool {
        let Some(place) = self.place.lock().take() else { return false };
        drop(place);
        if let Some(all) = self.all.upgrade() {
            let mut by_network = all.by_network.lock();
            if let Some(there) = by_network.get_mut(&self.network) {
                there.remove(&self.number);
                if there.is_empty() {
                    by_network.remove(&self.network);
                }
            }
            // A rush leaves no memory behind.
            if by_network.capacity() > 1024 && by_network.len() < by_network.capacity() / 8 {
                by_network.shrink_to_fit();
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::config::Limits;
    use crate::peer::Stream;

    struct Hall {
        listener: TcpListener,
        ledger: Arc<Ledger>,
        strangers: Arc<Strangers>,
    }

    struct Guest {
        client: TcpStream,
        stream: Stream,
        stranger: Arc<Stranger>,
    }

    impl Hall {
        async fn of(strangers: usize) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let ledger = Ledger::new(&Limits { strangers, ..Limits::default() });
            Self { listener, strangers: Strangers::new(&ledger), ledger }
        }

        async fn come(&self, from: u8) -> Result<Guest, Full> {
            let network = IpNet::from(std::net::IpAddr::from([192, 0, 2, from]));
            let client = TcpStream::connect(self.listener.local_addr().unwrap()).await.unwrap();
            let place = self.strangers.place(network)?;
            let (mut stream, abort) = Stream::new(self.listener.accept().await.unwrap().0, None);
            let stranger = self.strangers.enter(place, network, abort);
            stream.is_of(stranger.clone());
            Ok(Guest { client, stream, stranger })
        }

        fn there(&self) -> usize {
            self.ledger.held(Resource::Stranger, Holder::Server)
        }
    }

    async fn is_cut(guest: &mut Guest) -> bool {
        guest.client.read(&mut [0; 8]).await.is_ok_and(|count| count == 0)
    }

    #[tokio::test]
    async fn the_oldest_of_who_has_most_makes_room_and_who_has_most_gets_no_more() {
        let hall = Hall::of(4).await;
        let mut crowd = Vec::new();
        for _ in 0..4 {
            crowd.push(hall.come(1).await.unwrap_or_else(|full| panic!("{full}")));
        }
        let refused = hall.come(1).await.err().unwrap();
        assert_eq!((refused.key, refused.most), ("limits.strangers", 4));
        let _one = hall.come(2).await.unwrap_or_else(|full| panic!("{full}"));
        assert!(is_cut(&mut crowd[0]).await);
        let _two = hall.come(2).await.unwrap_or_else(|full| panic!("{full}"));
        assert!(is_cut(&mut crowd[1]).await);
        // Both have two: neither is in the other's way.
        assert!(hall.come(2).await.is_err());
        assert!(hall.come(1).await.is_err());
        // A third comes in all the same.
        let _three = hall.come(3).await.unwrap_or_else(|full| panic!("{full}"));
        assert_eq!(hall.there(), 4);
    }

    #[tokio::test]
    async fn who_shows_a_token_or_goes_is_a_stranger_no_longer() {
        let hall = Hall::of(2).await;
        let known = hall.come(1).await.unwrap_or_else(|full| panic!("{full}"));
        known.stranger.prove();
        known.stranger.prove();
        assert_eq!(hall.there(), 0);
        let left = hall.come(1).await.unwrap_or_else(|full| panic!("{full}"));
        assert_eq!(hall.there(), 1);
        // Requests may outlive their connection.
        let Guest { stream, stranger, .. } = left;
        drop(stream);
        assert_eq!((hall.there(), stranger.leave()), (0, false));
        assert!(hall.strangers.by_network.lock().is_empty());
        drop(known);
    }
}
