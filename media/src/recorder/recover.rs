//! Makes a file whole that a crash has cut: what came after the last whole cluster goes, and what a finished file has is written.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::ebml::{CLUSTER, head};
use super::webm::{CLUSTERS_AT, Index, read_beginning, read_cluster};
use crate::codec::{Codec, Kind};

/// Bytes of one cluster at most; what is larger is none of ours.
pub(super) const CLUSTER_BYTES: u64 = 64 << 20;

/// What a file turned out to hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recovered {
    /// What its tracks are coded with.
    pub codecs: Vec<Codec>,
    /// By how many degrees a player has to turn its pictures clockwise.
    pub rotation: u16,
    /// Milliseconds.
    pub duration: u64,
    /// Its length now.
    pub bytes: u64,
    /// What was cut off.
    pub cut: u64,
}

/// Makes `file` whole; `None` when it holds nothing that could be played.
pub fn recover(file: &File) -> io::Result<Option<Recovered>> {
    let length = file.metadata()?.len();
    let mut beginning = vec![0; usize::try_from(CLUSTERS_AT.min(length)).unwrap_or(0)];
    file.read_exact_at(&mut beginning, 0)?;
    let Some(tracks) = read_beginning(&beginning) else { return Ok(None) };
    let mut index = Index::new();
    let mut content = Vec::new();
    loop {
        let mut start = [0; 12];
        let there = usize::try_from(length.saturating_sub(index.end).min(12)).unwrap_or(0);
        let start = start.get_mut(..there).unwrap_or_default();
        file.read_exact_at(start, index.end)?;
        let Some((CLUSTER, Some(size), head)) = head(start) else { break };
        let whole = head as u64 + size;
        if size > CLUSTER_BYTES || index.end + whole > length {
            break;
        }
        content.resize(usize::try_from(size).unwrap_or(0), 0);
        file.read_exact_at(&mut content, index.end + head as u64)?;
        if !read_cluster(&content, whole, &mut index) {
            break;
        }
    }
    if index.duration == 0 {
        return Ok(None);
    }
    let cut = length - index.end;
    file.set_len(index.end)?;
    let pictures = tracks.iter().position(|(codec, _)| codec.kind() == Kind::Video);
    let rotation = pictures.and_then(|place| tracks.get(place)).map_or(0, |track| track.1);
    let codecs = tracks.iter().map(|(codec, _)| *codec).collect();
    for (at, bytes) in index.finish(pictures) {
        file.write_all_at(&bytes, at)?;
    }
    file.sync_all()?;
    let bytes = file.metadata()?.len();
    Ok(Some(Recovered { codecs, rotation, duration: index.duration, bytes, cut }))
}
