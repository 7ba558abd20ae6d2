//! How allocations end.

use std::net::SocketAddr;

use super::{Output, Relay, SocketKey};
use crate::allocation::{Allocation, Client, Transport};
use crate::ledger::Family;
use crate::policy::Reach;

impl Relay {
    /// A client's stream is gone, and its allocation with it (RFC 8656 §3.1).
    pub fn handle_stream_closed(&mut self, client: &Client) {
        if let Some(index) = self.clients.get(client).copied() {
            self.close(index);
        }
    }

    /// Closes the allocations of a user or call, and their streams.
    pub fn revoke(&mut self, user_or_call: &str) {
        self.close_where(true, |allocation| {
            let subject = &allocation.subject;
            &*subject.user == user_or_call || subject.call.as_deref() == Some(user_or_call)
        });
    }

    pub(super) fn close_where(
        &mut self,
        hang_up: bool,
        mut gone: impl FnMut(&mut Allocation) -> bool,
    ) {
        let gone: Vec<u32> = self
            .allocations
            .iter_mut()
            .filter_map(|(index, allocation)| gone(allocation).then_some(index as u32))
            .collect();
        for index in gone {
            let client = self.close(index);
            if let Some(client) = client.filter(|c| hang_up && c.transport != Transport::Udp) {
                self.outputs.push_back(Output::HangUp(client));
            }
        }
    }

    /// Closes an allocation and gives back all that it held.
    pub(crate) fn close(&mut self, index: u32) -> Option<Client> {
        let allocation = self.remove(index)?;
        self.counters.allocations_closed.add(u64::from(allocation.opening.is_none()));
        Some(allocation.client)
    }

    pub(crate) fn remove(&mut self, index: u32) -> Option<Allocation> {
        self.release(index, Family::V4);
        self.release(index, Family::V6);
        let allocation = self.allocations.try_remove(index as usize)?;
        self.clients.remove(&allocation.client);
        self.ledger.leave(&allocation.subject.user);
        let reserved = allocation.token.and_then(|token| self.ledger.withdraw(&token));
        if let Some((family, port)) = reserved {
            self.close_reserved(family, port);
            self.ledger.free(family, port);
        }
        allocation.opening.iter().for_each(|opening| opening.give_back(&self.ledger));
        Some(allocation)
    }

    /// The socket of a reservation that no allocation has taken up.
    pub(super) fn close_reserved(&mut self, family: Family, port: u16) {
        if self.opens_sockets()
            && let Some(ip) = self.rules.advertised(family)
        {
            self.outputs.push_back(Output::CloseReserved(SocketAddr::new(ip, port)));
        }
    }

    /// Whether relayed addresses have sockets: not where no peer outside may be reached.
    pub(crate) fn opens_sockets(&self) -> bool {
        self.rules.policy.reach == Reach::Open
    }

    /// Gives back one relayed address of an allocation.
    pub(crate) fn release(&mut self, index: u32, family: Family) {
        let allocation = self.allocations.get_mut(index as usize);
        let relayed = allocation.and_then(|allocation| allocation.relayed_mut(family).take());
        let Some(relayed) = relayed else { return };
        if relayed.open {
            self.outputs.push_back(Output::Close(SocketKey { allocation: index, family }));
        }
        self.ledger.free(family, relayed.address.port());
    }
}
