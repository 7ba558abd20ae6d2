//! One peer connection: ICE, DTLS and SRTP of one client, and what was agreed on with it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use slab::Slab;

use crate::arrivals::Arrivals;
use crate::bandwidth::Bandwidth;
use crate::dtls::{Dtls, Identity, Keys};
use crate::ice::Ice;
use crate::numbers::{SrtpIndex, TransportNumber};
use crate::plan::{PayloadUse, PeerKey, PeerPlan, ReceivePlan, RoomKey, SendPlan, TrackKey};
use crate::rtp::{Header, Unwrapper, Values};
use crate::sender::{Outbound, Sender, SenderState};
use crate::srtp::{Direction, Window};

/// SSRCs of one peer that no description names.
const UNSIGNALLED: usize = 8;
/// SSRCs that one peer may send from at all; their rollovers and replay windows are kept as long as it is there.
const SSRCS: usize = 1024;
/// Senders of RTCP that one peer may have.
const RTCP_SENDERS: usize = 64;
/// Streams that left the plan of one peer and whose numbers are remembered.
const RETIRED: usize = 1024;

/// The encoding of a section that the packets of an SSRC belong to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct EncodingPlace {
    /// The place of its plan among those of the peer.
    pub(crate) section: usize,
    /// The place of the encoding among those of the section, and whether the packets are its retransmissions.
    pub(crate) layer: u8,
    pub(crate) rtx: bool,
}

/// One SSRC that the peer sends.
#[derive(Clone, Copy, Debug)]
struct Inbound {
    numbers: Unwrapper,
    window: Window,
    encoding: Option<EncodingPlace>,
}

/// Why a packet was not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refused {
    /// No keys yet, not RTP, or lengths that lie.
    Malformed,
    Replayed,
    Forged,
    /// An SSRC that was not announced.
    Unknown,
}

/// A packet that was opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opened {
    pub(crate) header: Header,
    pub(crate) encoding: EncodingPlace,
    /// Its length without the tag.
    pub(crate) length: usize,
}

/// A section that the peer sends in.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) plan: ReceivePlan,
    /// The place of its track.
    pub(crate) track: usize,
}

/// Every number of a connection that must go on, for a successor.
#[derive(Debug)]
pub(crate) struct Numbers {
    inbound: Vec<(u32, Inbound)>,
    rtcp_windows: Vec<(u32, Window)>,
    rtcp_index: u32,
    transport: TransportNumber,
}

/// See the module.
pub(crate) struct Peer {
    pub(crate) key: PeerKey,
    pub(crate) room: RoomKey,
    pub(crate) ice: Ice,
    /// User name fragments by which the worker finds it.
    pub(crate) fragments: Vec<String>,
    pub(crate) dtls: Dtls,
    inbound_keys: Option<Direction>,
    pub(crate) outbound: Option<Outbound>,
    inbound: HashMap<u32, Inbound>,
    rtcp_windows: Vec<(u32, Window)>,
    pub(crate) receivers: Vec<Receiver>,
    pub(crate) senders: Slab<Sender>,
    /// Their places by their SSRCs, of media and of retransmissions.
    by_ssrc: HashMap<u32, usize>,
    /// Streams that are no longer part of the plan, the oldest first.
    retired: VecDeque<SenderState>,
    pub(crate) arrivals: Arrivals,
    /// The SSRC that media came from last: feedback that names none of its own is nothing to a publisher.
    pub(crate) last_media_ssrc: u32,
    pub(crate) plan: PeerPlan,
    /// The SSRC that our RTCP comes from where we send no media.
    pub(crate) own_ssrc: u32,
    rtcp_index: u32,
    pub(crate) begun: Instant,
    pub(crate) reported: Instant,
    /// When its numbers were given out last.
    pub(crate) stats_given: Instant,
    pub(crate) connected: bool,
    /// When its timers are looked at next.
    pub(crate) scheduled: Option<Instant>,
    /// When what is sent to it is to be thought over, and what was found last.
    pub(crate) allocated: Option<Instant>,
}

impl Peer {
    pub(crate) fn new(
        key: PeerKey,
        room: RoomKey,
        identity: Arc<Identity>,
        plan: PeerPlan,
        now: Instant,
    ) -> Self {
        Self {
            key,
            room,
            ice: Ice::new(plan.ice.clone(), now),
            fragments: vec![plan.ice.ufrag.clone()],
            dtls: Dtls::new(identity, plan.fingerprint.unwrap_or_default()),
            inbound_keys: None,
            outbound: None,
            inbound: HashMap::new(),
            rtcp_windows: Vec::new(),
            receivers: Vec::new(),
            senders: Slab::new(),
            by_ssrc: HashMap::new(),
            retired: VecDeque::new(),
            arrivals: Arrivals::default(),
            last_media_ssrc: 0,
            plan,
            own_ssrc: 1,
            rtcp_index: 0,
            begun: now,
            reported: now,
            stats_given: now,
            connected: false,
            scheduled: None,
            allocated: None,
        }
    }

    /// Takes the keys of a finished handshake.
    pub(crate) fn secure(&mut self, keys: Keys) {
        self.inbound_keys = Some(keys.inbound);
        let bandwidth = Bandwidth::new();
        self.outbound = Some(Outbound { keys: keys.outbound, bandwidth, epoch: self.begun });
    }

    /// What a successor goes on with; `None` before there are keys.
    pub(crate) fn numbers(&self) -> Option<Numbers> {
        Some(Numbers {
            inbound: self.inbound.iter().map(|(&ssrc, &inbound)| (ssrc, inbound)).collect(),
            rtcp_windows: self.rtcp_windows.clone(),
            rtcp_index: self.rtcp_index,
            transport: self.outbound.as_ref()?.bandwidth.next(),
        })
    }

    /// Goes on with what a predecessor had.
    pub(crate) fn adopt(&mut self, keys: Keys, numbers: Numbers) {
        self.secure(keys);
        self.connected = true;
        self.inbound.extend(numbers.inbound);
        (self.rtcp_windows, self.rtcp_index) = (numbers.rtcp_windows, numbers.rtcp_index);
        if let Some(outbound) = &mut self.outbound {
            outbound.bandwidth = Bandwidth::from(numbers.transport);
        }
    }

    /// How long it has been there.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.begun)
    }

    /// Names the SSRCs that descriptions mention.
    pub(crate) fn expect(&mut self, section: usize, plan: &ReceivePlan) {
        for (layer, &(media, rtx)) in (0..).zip(&plan.ssrcs) {
            let encoding = EncodingPlace { section, layer, rtx: false };
            self.assign(media, encoding);
            if let Some(rtx) = rtx {
                self.assign(rtx, EncodingPlace { rtx: true, ..encoding });
            }
        }
    }

    /// An SSRC that was there goes on counting: its rollovers are part of its packets' keys.
    fn assign(&mut self, ssrc: u32, encoding: EncodingPlace) {
        self.inbound.entry(ssrc).or_insert_with(|| Inbound::at(encoding)).encoding = Some(encoding);
    }

    /// Sections are in other places now, `moved` says in which, or are there no longer. A browser names the section and layer of
    /// an SSRC only until it is notified that this has arrived, so what was found out stays.
    pub(crate) fn move_sections(&mut self, moved: &[Option<usize>]) {
        for inbound in self.inbound.values_mut() {
            inbound.encoding = inbound.encoding.and_then(|encoding| {
                let section = (*moved.get(encoding.section)?)?;
                Some(EncodingPlace { section, ..encoding })
            });
        }
    }

    /// Opens an RTP packet in place.
    pub(crate) fn open(&mut self, packet: &mut [u8]) -> Result<Opened, Refused> {
        let keys = self.inbound_keys.as_mut().ok_or(Refused::Malformed)?;
        let header = Header::parse(packet).ok_or(Refused::Malformed)?;
        let mut fresh =
            Inbound { numbers: Unwrapper::default(), window: Window::default(), encoding: None };
        let known = self.inbound.get_mut(&header.ssrc);
        let is_known = known.is_some();
        let inbound = known.unwrap_or(&mut fresh);
        let continued = inbound.numbers.peek(header.sequence);
        let index = continued.index().ok_or(Refused::Replayed)?;
        if inbound.numbers.highest().is_some() && !inbound.window.is_new(index) {
            return Err(Refused::Replayed);
        }
        let length =
            keys.open(packet, header.length, header.ssrc, index).map_err(|_| Refused::Forged)?;
        inbound.numbers.note(continued);
        inbound.window.note(index);
        if let Some(encoding) = inbound.encoding {
            return Ok(Opened { header, encoding, length });
        }
        if !is_known && self.inbound.len() >= SSRCS {
            return Err(Refused::Unknown);
        }
        let encoding = self.find_encoding(&header, packet.get(..length).unwrap_or_default());
        let unsignalled =
            self.inbound.values().filter(|inbound| inbound.encoding.is_none()).count();
        match encoding {
            Some(encoding) => {
                fresh.encoding = Some(encoding);
                match self.inbound.get_mut(&header.ssrc) {
                    Some(inbound) => inbound.encoding = Some(encoding),
                    None => drop(self.inbound.insert(header.ssrc, fresh)),
                }
                Ok(Opened { header, encoding, length })
            }
            None => {
                if !is_known && unsignalled < UNSIGNALLED {
                    self.inbound.insert(header.ssrc, fresh);
                }
                Err(Refused::Unknown)
            }
        }
    }

    /// Where an SSRC that no description named belongs: by what its extensions say (RFC 8843 §9.2, RFC 8852), or else by a payload
    /// type that only one section has (the last step of RFC 8843 §9.2).
    fn find_encoding(&self, header: &Header, packet: &[u8]) -> Option<EncodingPlace> {
        let named = (0..).zip(&self.receivers).find_map(|(section, receiver)| {
            let plan = &receiver.plan;
            let values = Values::read(header, packet, &plan.extensions);
            let (_, used) = plan.payload(header.payload_type)?;
            let rtx = used == PayloadUse::Rtx;
            if values.mid.is_some_and(|mid| mid != plan.mid.as_bytes()) {
                return None;
            }
            let named = if rtx { values.repaired_rid } else { values.rid };
            let layer = match named {
                Some(rid) => plan.rids.iter().position(|known| known.as_bytes() == rid)?,
                // Without names, the only section that can be meant.
                None if values.mid.is_some() && plan.rids.is_empty() => 0,
                None => return None,
            };
            Some(EncodingPlace { section, layer: u8::try_from(layer).ok()?, rtx })
        });
        named.or_else(|| self.encoding_of_payload(header, packet))
    }

    fn encoding_of_payload(&self, header: &Header, packet: &[u8]) -> Option<EncodingPlace> {
        let mut sections = (0..).zip(&self.receivers).filter_map(|(section, receiver)| {
            let (_, used) = receiver.plan.payload(header.payload_type)?;
            Some((section, &receiver.plan, used == PayloadUse::Rtx))
        });
        let (section, plan, rtx) = sections.next()?;
        let values = Values::read(header, packet, &plan.extensions);
        // A packet that names another section or a layer is not meant, and of several layers nothing says which.
        let elsewhere = values.mid.is_some_and(|mid| mid != plan.mid.as_bytes());
        let named = values.rid.or(values.repaired_rid).is_some();
        if sections.next().is_some() || elsewhere || named || plan.layers() > 1 {
            return None;
        }
        Some(EncodingPlace { section, layer: 0, rtx })
    }

    /// Opens an RTCP compound in place; returns its length.
    pub(crate) fn open_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, Refused> {
        let keys = self.inbound_keys.as_mut().ok_or(Refused::Malformed)?;
        let (length, index, sender) = keys.open_rtcp(packet).map_err(|_| Refused::Forged)?;
        let full = self.rtcp_windows.len() >= RTCP_SENDERS;
        match self.rtcp_windows.iter_mut().find(|(known, _)| *known == sender) {
            Some((_, window)) if !window.is_new(SrtpIndex::rtcp(index)) => {
                return Err(Refused::Replayed);
            }
            Some((_, window)) => window.note(SrtpIndex::rtcp(index)),
            None if full => return Err(Refused::Unknown),
            None => {
                let mut window = Window::default();
                window.note(SrtpIndex::rtcp(index));
                self.rtcp_windows.push((sender, window));
            }
        }
        Ok(length)
    }

    /// Seals the compound at the end of `out` that begins at `begin`; all compounds to this peer share one count.
    pub(crate) fn seal_rtcp(&mut self, out: &mut Vec<u8>, begin: usize) {
        self.rtcp_index += 1;
        let sealed = match &mut self.outbound {
            Some(outbound) => outbound.keys.seal_rtcp(out, begin, self.rtcp_index).is_ok(),
            None => false,
        };
        if !sealed {
            out.truncate(begin);
        }
    }

    /// The stream whose media has this SSRC.
    pub(crate) fn sender_of(&self, ssrc: u32) -> Option<usize> {
        let sender_at = *self.by_ssrc.get(&ssrc)?;
        self.senders.get(sender_at).filter(|sender| sender.plan.ssrc == ssrc).map(|_| sender_at)
    }

    /// Tracks that it gets, with the places of their senders.
    pub(crate) fn shown(&self) -> impl Iterator<Item = (usize, TrackKey)> {
        self.senders.iter().filter_map(|(sender_at, sender)| Some((sender_at, sender.track?)))
    }

    /// Tracks that it gets, with the places of their subscriptions.
    pub(crate) fn subscribed(&self) -> impl Iterator<Item = (usize, TrackKey, usize)> {
        self.senders.iter().filter_map(|(sender_at, sender)| {
            Some((sender_at, sender.track?, sender.subscription?))
        })
    }

    /// A stream that it may be sent from now on; its SSRCs go on where they were left. `None` when one of them is in use: its
    /// numbers would have two owners.
    pub(crate) fn add_sender(&mut self, plan: SendPlan, now: Instant) -> Option<usize> {
        let ssrcs = [plan.ssrc, plan.rtx_ssrc];
        let taken = ssrcs.iter().any(|ssrc| self.by_ssrc.contains_key(ssrc));
        if taken || plan.ssrc == plan.rtx_ssrc {
            return None;
        }
        let mut sender = Sender::new(plan);
        for state in &self.retired {
            sender.resume(state, now);
        }
        let sender_at = self.senders.insert(sender);
        self.by_ssrc.extend(ssrcs.map(|ssrc| (ssrc, sender_at)));
        Some(sender_at)
    }

    /// Takes out a stream that is no longer sent.
    pub(crate) fn remove_sender(&mut self, sender_at: usize) -> Option<Sender> {
        let sender = self.senders.try_remove(sender_at)?;
        for ssrc in [sender.plan.ssrc, sender.plan.rtx_ssrc] {
            self.by_ssrc.remove(&ssrc);
        }
        Some(sender)
    }

    /// Keeps the numbers of a stream that is no longer sent.
    pub(crate) fn retire(&mut self, state: SenderState) {
        if self.retired.len() == RETIRED {
            self.retired.pop_front();
        }
        self.retired.push_back(state.retired());
    }

    /// Goes on with a stream of a predecessor: what it shows, if it is part of the plan, and its numbers in any case.
    pub(crate) fn adopt_sender(&mut self, state: SenderState, now: Instant) {
        let mut kept = false;
        for (_, sender) in &mut self.senders {
            sender.resume(&state, now);
            if state.is_of(&sender.plan) {
                (sender.track, sender.preferences) = (state.track, state.preferences);
                kept = true;
            }
        }
        if !kept {
            self.retire(state);
        }
    }

    /// The numbers of all streams, those that are no longer sent first.
    pub(crate) fn sender_states(&self) -> Vec<SenderState> {
        let retired = self.retired.iter().copied();
        retired.chain(self.senders.iter().map(|(_, sender)| sender.export())).collect()
    }
}

impl Inbound {
    fn at(encoding: EncodingPlace) -> Self {
        Self { numbers: Unwrapper::default(), window: Window::default(), encoding: Some(encoding) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtls::tests::noon;
    use crate::numbers::Extended;
    use crate::{Codec, ExtensionIds, IceCredentials, KeyframeFeedback, Kind, ReceiveCodec};

    fn peer(receives: Vec<ReceivePlan>) -> Peer {
        let ice = IceCredentials::generate();
        let plan = PeerPlan { ice, fingerprint: None, receives, sends: Vec::new() };
        let identity = Arc::new(Identity::generate().unwrap());
        Peer::new(PeerKey(1), RoomKey(1), identity, plan, noon())
    }

    #[test]
    fn a_stream_is_found_by_the_ssrc_of_its_media_until_it_is_taken_out() {
        let mut peer = peer(Vec::new());
        let section = |ssrc: u32, rtx_ssrc| SendPlan {
            mid: ssrc.to_string(),
            kind: Kind::Video,
            ssrc,
            rtx_ssrc,
            codecs: Vec::new(),
            extensions: ExtensionIds::default(),
        };
        let first = peer.add_sender(section(7, 8), noon()).unwrap();
        let second = peer.add_sender(section(9, 10), noon()).unwrap();
        assert_eq!(
            [7, 8, 9, 10, 0].map(|ssrc| peer.sender_of(ssrc)),
            [Some(first), None, Some(second), None, None]
        );
        for (ssrc, rtx_ssrc) in [(7, 20), (20, 7), (8, 20), (20, 8), (20, 20)] {
            assert_eq!(peer.add_sender(section(ssrc, rtx_ssrc), noon()), None, "{ssrc}");
        }
        assert_eq!(peer.remove_sender(first).map(|sender| sender.plan.ssrc), Some(7));
        assert_eq!([7, 9].map(|ssrc| peer.sender_of(ssrc)), [None, Some(second)]);
        let again = peer.add_sender(section(8, 7), noon());
        assert!(again.is_some() && peer.sender_of(8) == again);
    }

    #[test]
    fn an_ssrc_that_is_announced_again_goes_on_counting() {
        let sends = ReceivePlan {
            mid: "0".into(),
            track: TrackKey(1),
            codecs: vec![ReceiveCodec {
                format: Codec::Opus.into(),
                payload_type: 111,
                rtx_type: None,
                red_type: None,
                nack: false,
                keyframes: KeyframeFeedback::None,
                parameter_sets: [].into(),
            }],
            extensions: ExtensionIds::default(),
            rids: Vec::new(),
            ssrcs: vec![(7, Some(8))],
            remb: false,
        };
        let mut peer = peer(vec![sends.clone()]);
        peer.expect(0, &sends);
        let rolled_over = Extended::first(0).plus(0x1_0000);
        peer.inbound.get_mut(&7).unwrap().numbers.note(rolled_over);
        peer.move_sections(&[None]);
        peer.expect(1, &sends);
        let inbound = peer.inbound.get(&7).unwrap();
        assert_eq!(inbound.numbers.highest(), Some(rolled_over));
        assert_eq!(inbound.encoding, Some(EncodingPlace { section: 1, layer: 0, rtx: false }));
    }
}
