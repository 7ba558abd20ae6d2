//! What was negotiated for a peer, as plain data: the worker needs no description.

use std::sync::Arc;

use crate::codec::{Format, Kind};
use crate::ice::IceCredentials;
use crate::rtp::ExtensionIds;

/// Names a room for its whole life in this process.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RoomKey(pub u64);

/// Names a peer connection for its whole life in this process.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PeerKey(pub u64);

/// Names a published track for its whole life in this process.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TrackKey(pub u64);

/// How one peer connection is set up.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerPlan {
    /// Our side's credentials; others than before mean an ICE restart.
    pub ice: IceCredentials,
    /// SHA-256 of the certificate the peer will show; `None` until it has answered: checks are answered, handshakes wait.
    pub fingerprint: Option<[u8; 32]>,
    /// What it sends.
    pub receives: Vec<ReceivePlan>,
    /// What it may be sent.
    pub sends: Vec<SendPlan>,
}

/// A media section that the peer sends in.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceivePlan {
    /// The section's name.
    pub mid: String,
    /// The track that it is.
    pub track: TrackKey,
    /// What it may be coded with, the client's first choice first; never empty.
    pub codecs: Vec<ReceiveCodec>,
    /// Numbers of the header extensions.
    pub extensions: ExtensionIds,
    /// Names of its simulcast layers, in the order of the description; empty without simulcast by rids.
    pub rids: Vec<String>,
    /// SSRCs that the description names: of the media, and of its retransmissions. Several are the layers of simulcast without
    /// rids (a=ssrc-group:SIM), in the order of the description; `rids` is empty then.
    pub ssrcs: Vec<(u32, Option<u32>)>,
    /// Whether it wants the receiver's estimate rather than transport-wide feedback.
    pub remb: bool,
}

/// A codec that a peer may send in a section.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceiveCodec {
    /// Which.
    pub format: Format,
    /// Its payload type.
    pub payload_type: u8,
    /// The payload type of its retransmissions (RFC 4588).
    pub rtx_type: Option<u8>,
    /// The payload type of redundant audio (RFC 2198), passed on as it is.
    pub red_type: Option<u8>,
    /// Whether the peer takes requests for packets (generic NACK, RFC 4585 §6.2.1).
    pub nack: bool,
    /// How the peer is asked for a keyframe.
    pub keyframes: KeyframeFeedback,
    /// Parameter sets of H.264 that stand in the description (sprop-parameter-sets, RFC 6184 §8.1), one NAL unit each.
    pub parameter_sets: Arc<[Vec<u8>]>,
}

/// How a sender is asked for a keyframe: what its description offers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyframeFeedback {
    /// Not at all.
    None,
    /// Picture loss indication (RFC 4585 §6.3.1).
    Pli,
    /// Full intra request (RFC 5104 §4.3.1).
    Fir,
}

/// What a payload type is to a section.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum PayloadUse {
    /// The codec itself.
    Media,
    /// Redundant audio (RFC 2198).
    Redundant,
    /// Retransmissions (RFC 4588).
    Rtx,
}

impl ReceivePlan {
    /// How many layers of simulcast are sent: those that have names, or else SSRCs (the SIM groups of older clients); 1 without it.
    pub fn layers(&self) -> usize {
        self.rids.len().max(self.ssrcs.len()).max(1)
    }

    /// What packets of a payload type are.
    pub(crate) fn payload(&self, payload_type: u8) -> Option<(&ReceiveCodec, PayloadUse)> {
        self.codecs.iter().find_map(|codec| {
            let used = match Some(payload_type) {
                media if media == Some(codec.payload_type) => PayloadUse::Media,
                red if red == codec.red_type => PayloadUse::Redundant,
                rtx if rtx == codec.rtx_type => PayloadUse::Rtx,
                _ => return None,
            };
            Some((codec, used))
        })
    }

    /// The codec that the peer sends unless its packets say something else.
    pub(crate) fn first(&self) -> Option<&ReceiveCodec> {
        self.codecs.first()
    }

    /// How the peer is asked for keyframes of a format.
    pub(crate) fn keyframes(&self, format: Format) -> KeyframeFeedback {
        let codec = self.codecs.iter().find(|codec| codec.format == format);
        codec.map_or(KeyframeFeedback::None, |codec| codec.keyframes)
    }

    /// Whether the peer takes requests for packets of a format.
    pub(crate) fn takes_nack(&self, format: Format) -> bool {
        self.codecs.iter().any(|codec| codec.format == format && codec.nack)
    }
}

/// A media section that the peer receives in.
#[derive(Clone, Debug, PartialEq)]
pub struct SendPlan {
    /// The section's name.
    pub mid: String,
    /// Sound or pictures.
    pub kind: Kind,
    /// SSRC of the media, and of its retransmissions.
    pub ssrc: u32,
    /// See `ssrc`.
    pub rtx_ssrc: u32,
    /// What it takes; nothing where the client has rejected the section or holds it.
    pub codecs: Vec<SendCodec>,
    /// Numbers of the header extensions.
    pub extensions: ExtensionIds,
}

/// A codec that a peer takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SendCodec {
    /// Which.
    pub format: Format,
    /// Its payload type.
    pub payload_type: u8,
    /// The payload type of its retransmissions.
    pub rtx_type: Option<u8>,
    /// The payload type of redundant audio.
    pub red_type: Option<u8>,
}

impl SendPlan {
    /// How it takes a stream of `format`: as just that, or else as something that includes it.
    pub(crate) fn takes(&self, format: Format) -> Option<&SendCodec> {
        let exactly = self.codecs.iter().find(|taken| taken.format == format);
        exactly.or_else(|| self.codecs.iter().find(|taken| taken.format.takes(format)))
    }
}
