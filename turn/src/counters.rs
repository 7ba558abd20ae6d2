//! What the relay counts. Each worker counts for itself, without contention; the reader adds up.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Defines `Counters`: one [`Counter`] for each documented name.
#[macro_export]
macro_rules! counters {
    ($($(#[doc = $text:literal])+ $name:ident,)+) => {
        /// Counters of one worker.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[doc = $text])+ pub $name: $crate::Counter,)+
        }

        impl Counters {
            /// Each counter's name, and how many.
            pub fn read(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name.value()),)+].into_iter()
            }
        }
    };
}

counters! {
    /// Allocations opened.
    allocations_opened,
    /// Allocations closed, for whatever reason.
    allocations_closed,
    /// Allocations refused because of the user's quota.
    refused_quota,
    /// Allocations refused because the relay was full or draining.
    refused_capacity,
    /// Allocations refused because no port of the range could be opened.
    refused_ports,
    /// Allocations refused, and attempts to accept a connection that failed, because the process may open no more descriptors.
    refused_descriptors,
    /// Ports of the range that another program had when they were to be opened; another one is tried then.
    ports_taken,
    /// Requests with a wrong password, an unknown user or an expired credential.
    refused_credentials,
    /// Peers refused by policy.
    refused_peers,
    /// Packets relayed from clients to peers.
    packets_to_peers,
    /// Bytes relayed from clients to peers.
    bytes_to_peers,
    /// Packets relayed from peers to clients.
    packets_to_clients,
    /// Bytes relayed from peers to clients.
    bytes_to_clients,
    /// Packets handed over inside, without the kernel.
    packets_inside,
    /// Packets dropped because no allocation, channel or permission let them through.
    dropped_unpermitted,
    /// Packets dropped because their allocation was over its bandwidth.
    dropped_bandwidth,
    /// Packets dropped because a queue or a socket's buffer was full.
    dropped_full,
    /// Packets the kernel would not send.
    dropped_unsendable,
    /// Datagrams that were neither channel data nor a message.
    dropped_malformed,
    /// Unauthenticated requests left without an answer because their source asked too often.
    dropped_unanswered,
    /// Connections of clients closed because they were slow, idle or spoke something else.
    streams_closed,
}

/// A number that grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`; only one thread may.
    pub fn add(&self, n: u64) {
        // One writer a counter: a load and a store cost less than a locked addition.
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// How many.
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
