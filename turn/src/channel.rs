//! Channel data (RFC 8656 §12.4): four bytes in front of the payload, read and written in place.

/// Bytes of the header.
pub const HEADER: usize = 4;

/// A channel number: 0x4000 to 0x4FFF (RFC 8656 §12), or to 0x7FFF for clients of RFC 5766.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Number(u16);

impl Number {
    /// `None` outside of both ranges.
    pub fn new(number: u16) -> Option<Self> {
        (0x4000..=0x7FFF).contains(&number).then_some(Self(number))
    }

    /// Whether it lies in the range of RFC 8656.
    pub fn is_current(self) -> bool {
        self.0 <= 0x4FFF
    }

    /// The number on the wire.
    pub fn value(self) -> u16 {
        self.0
    }
}

/// What one channel data message says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ChannelData<'a> {
    /// The channel.
    pub number: Number,
    /// What is to be relayed.
    pub payload: &'a [u8],
}

/// Whether the first byte is that of channel data rather than STUN.
pub fn is_channel_data(first: u8) -> bool {
    (0x40..=0x7F).contains(&first)
}

/// Reads a datagram; `None` when it is cut short. Padding and what follows it are passed over (RFC 8656 §12.6).
pub fn parse(datagram: &[u8]) -> Option<ChannelData<'_>> {
    let ([n0, n1, l0, l1], rest) = datagram.split_first_chunk::<HEADER>()?;
    let number = Number::new(u16::from_be_bytes([*n0, *n1]))?;
    let payload = rest.get(..usize::from(u16::from_be_bytes([*l0, *l1])))?;
    Some(ChannelData { number, payload })
}

/// The header in front of `length` bytes.
pub fn header(number: Number, length: u16) -> [u8; HEADER] {
    let ([n0, n1], [l0, l1]) = (number.0.to_be_bytes(), length.to_be_bytes());
    [n0, n1, l0, l1]
}

/// How many bytes of padding follow `length` bytes on a stream (RFC 8656 §12.5).
pub fn padding(length: usize) -> usize {
    length.wrapping_neg() % 4
}
