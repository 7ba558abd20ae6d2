//! Frames of a stream (RFC 8656 §3.1, §12.5): messages and channel data one behind the other, channel data padded to four bytes.

use crate::channel;
use crate::message;

/// The stream carries something else.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the stream carries neither messages nor channel data")]
pub struct Foreign;

/// How many bytes the first frame of `bytes` takes, padding included; `None` while too little of it is there.
pub fn frame(bytes: &[u8]) -> Result<Option<usize>, Foreign> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    let is_message = first <= 3;
    if !is_message && !channel::is_channel_data(first) {
        return Err(Foreign);
    }
    let [_, _, high, low, ..] = *bytes else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if is_message {
        return if length % 4 == 0 { Ok(Some(message::HEADER + length)) } else { Err(Foreign) };
    }
    Ok(Some(channel::HEADER + length + channel::padding(length)))
}
