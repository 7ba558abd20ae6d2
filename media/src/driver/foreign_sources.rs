//! Which worker has the peer of an address that wrote to another one. Checks name their peer; what follows them does not.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::directory::Directory;
use crate::PeerKey;
use crate::ice::SOURCES;

/// Addresses from which authentic checks came: as many for each peer as it may have, for as long as it is there.
#[derive(Debug, Default)]
pub(crate) struct ForeignSources {
    known: HashMap<SocketAddr, (usize, PeerKey)>,
    /// The addresses of each peer; the one that was checked last is last.
    of_peer: HashMap<PeerKey, Vec<SocketAddr>>,
    /// How many had left when this was swept last.
    leavers: u64,
}

impl ForeignSources {
    /// Whose a datagram from `remote` is. Only an authentic check changes what is known of it.
    pub(crate) fn worker(
        &mut self,
        directory: &Directory,
        remote: SocketAddr,
        datagram: &[u8],
    ) -> Option<usize> {
        if !matches!(datagram.first(), Some(0..=3)) {
            return self.known.get(&remote).map(|&(worker, _)| worker);
        }
        let (worker, peer) = directory.owner(datagram)?;
        self.note(remote, worker, peer);
        Some(worker)
    }

    fn note(&mut self, remote: SocketAddr, worker: usize, peer: PeerKey) {
        let before = self.known.insert(remote, (worker, peer));
        if let Some((_, before)) = before
            && let Some(addresses) = self.of_peer.get_mut(&before)
        {
            addresses.retain(|address| *address != remote);
        }
        let addresses = self.of_peer.entry(peer).or_default();
        if addresses.len() >= SOURCES {
            self.known.remove(&addresses.remove(0));
        }
        addresses.push(remote);
    }

    /// Forgets those who left.
    pub(crate) fn sweep(&mut self, directory: &Directory) {
        let leavers = directory.leavers();
        if std::mem::replace(&mut self.leavers, leavers) == leavers || self.of_peer.is_empty() {
            return;
        }
        let peers = directory.peers();
        self.of_peer.retain(|peer, _| peers.contains(peer));
        self.known.retain(|_, (_, peer)| peers.contains(peer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::IceCredentials;
    use crate::ice::tests::check;

    fn address(n: u16) -> SocketAddr {
        ([10, 1, (n >> 8) as u8, n as u8], 5000).into()
    }

    #[test]
    fn only_authentic_checks_lead_to_a_worker() {
        let (directory, mut foreign_sources) = (Directory::default(), ForeignSources::default());
        let credentials = IceCredentials::generate();
        directory.enter(PeerKey(1), credentials.clone(), 3);
        let forged =
            check(&IceCredentials { pwd: "guessed".into(), ..credentials.clone() }, 1, true);
        for n in 0..1000 {
            assert_eq!(foreign_sources.worker(&directory, address(n), &forged), None);
            assert_eq!(foreign_sources.worker(&directory, address(n), &[0x80; 40]), None);
        }
        assert!(foreign_sources.known.is_empty() && foreign_sources.of_peer.is_empty());

        let authentic = check(&credentials, 1, false);
        assert_eq!(foreign_sources.worker(&directory, address(1), &authentic), Some(3));
        assert_eq!(foreign_sources.worker(&directory, address(1), &[0x80; 40]), Some(3));
        let other = IceCredentials::generate();
        directory.enter(PeerKey(2), other.clone(), 2);
        let taken = check(&IceCredentials { pwd: credentials.pwd, ..other }, 1, false);
        assert_eq!(foreign_sources.worker(&directory, address(1), &taken), None);
        assert_eq!(
            foreign_sources.worker(&directory, address(1), &[0x80; 40]),
            Some(3),
            "as before"
        );
    }

    #[test]
    fn a_peer_has_few_addresses_and_leaves_none_behind() {
        let (directory, mut foreign_sources) = (Directory::default(), ForeignSources::default());
        let peers: Vec<(PeerKey, IceCredentials)> =
            (0..3).map(|n| (PeerKey(n), IceCredentials::generate())).collect();
        for (peer, credentials) in &peers {
            directory.enter(*peer, credentials.clone(), 1);
        }
        for n in 0..1000 {
            for (_, credentials) in &peers {
                let remote = address(3 * n + n % 5);
                foreign_sources.worker(&directory, remote, &check(credentials, 1, false));
                assert_eq!(foreign_sources.worker(&directory, remote, &[0x80; 40]), Some(1));
            }
        }
        let counted: usize = foreign_sources.of_peer.values().map(Vec::len).sum();
        assert_eq!(foreign_sources.known.len(), counted);
        assert!(foreign_sources.of_peer.values().all(|addresses| addresses.len() <= SOURCES));
        foreign_sources.sweep(&directory);
        assert_eq!(foreign_sources.known.len(), counted, "none left");

        let last = foreign_sources.of_peer.get(&PeerKey(2)).unwrap().len();
        for (_, credentials) in &peers[..2] {
            directory.leave(std::slice::from_ref(&credentials.ufrag));
        }
        foreign_sources.sweep(&directory);
        assert_eq!((foreign_sources.known.len(), foreign_sources.of_peer.len()), (last, 1));
        directory.leave(std::slice::from_ref(&peers[2].1.ufrag));
        foreign_sources.sweep(&directory);
        assert!(foreign_sources.known.is_empty() && foreign_sources.of_peer.is_empty());
    }
}
