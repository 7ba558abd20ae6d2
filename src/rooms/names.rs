//! Codecs as a person knows them.

use switchboard_media::{Codec, Format, Profile};

use super::{Result, RoomError};

/// A list of what streams may be coded with.
pub(super) fn of(formats: impl IntoIterator<Item = Format>) -> String {
    let mut names: Vec<String> = formats.into_iter().map(name).collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

/// A codec; of H.264 also what else both sides have to agree on.
fn name(format: Format) -> String {
    let name = format.codec.name();
    if format.codec != Codec::H264 {
        return name.to_owned();
    }
    let profile = match format.profile {
        Profile::ConstrainedBaseline => "constrained baseline",
        Profile::Baseline => "baseline",
        Profile::Main => "main",
        Profile::High => "high",
    };
    format!("{name} ({profile}, packetization-mode {})", u8::from(!format.single_unit))
}

/// The codecs of a list of names.
pub(super) fn codecs(names: &[String]) -> Result<Vec<Codec>> {
    let known = |name: &String| {
        let problem = || format!("codecs knows opus, vp8, vp9, h264 and av1, not {name:?}");
        Codec::named(name).ok_or_else(|| RoomError::Invalid("codecs", problem()))
    };
    names.iter().map(known).collect()
}
