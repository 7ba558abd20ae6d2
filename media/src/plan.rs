//! What was negotiated for a peer, as plain data: the worker needs no description.

use crate::codec::{Codec, Kind};
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
    /// What it is coded with.
    pub codec: Codec,
    /// The codec's payload type, and that of its retransmissions.
    pub payload_type: u8,
    /// See `payload_type`.
    pub repair_type: Option<u8>,
    /// Redundant audio (RFC 2198), passed on as it is.
    pub red_type: Option<u8>,
    /// Numbers of the header extensions.
    pub extensions: ExtensionIds,
    /// Names of its simulcast layers, the lowest first; empty without simulcast.
    pub rids: Vec<String>,
    /// SSRCs that the description names: of the media, and of its retransmissions.
    pub ssrcs: Vec<(u32, Option<u32>)>,
    /// Whether the peer takes requests for packets.
    pub nack: bool,
    /// Whether it wants the receiver's estimate rather than transport-wide feedback.
    pub remb: bool,
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
    pub repair_ssrc: u32,
    /// What it takes.
    pub codecs: Vec<SendCodec>,
    /// Numbers of the header extensions.
    pub extensions: ExtensionIds,
}

/// A codec that a peer takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SendCodec {
    /// Which.
    pub codec: Codec,
    /// Its payload type.
    pub payload_type: u8,
    /// The payload type of its retransmissions.
    pub repair_type: Option<u8>,
    /// The payload type of redundant audio.
    pub red_type: Option<u8>,
}

impl SendPlan {
    /// How it takes `codec`.
    pub(crate) fn takes(&self, codec: Codec) -> Option<&SendCodec> {
        self.codecs.iter().find(|taken| taken.codec == codec)
    }
}
