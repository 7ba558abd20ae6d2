//! Reads the blocks of a file of ours, and writes files of blocks that are there already.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::Write;
use super::ebml::{CLUSTER, head};
use super::recover::CLUSTER_BYTES;
use super::webm::{
    Block, CLUSTERS_AT, FileTrack, Index, beginning, blocks, cluster, read_beginning,
};
use crate::codec::{Codec, Kind};

/// The blocks of a file, one after the other.
#[derive(Debug)]
pub struct Blocks {
    file: File,
    tracks: Vec<Codec>,
    at: u64,
    waiting: VecDeque<Block>,
}

impl Blocks {
    /// Those of a file that was recorded; `None` when it is no such file.
    pub fn of(file: File) -> io::Result<Option<Self>> {
        let length = file.metadata()?.len();
        let mut start = vec![0; usize::try_from(CLUSTERS_AT.min(length)).unwrap_or(0)];
        file.read_exact_at(&mut start, 0)?;
        let tracks = read_beginning(&start);
        let tracks = tracks.map(|all| all.into_iter().map(|(codec, _)| codec).collect());
        let blocks = |tracks| Self { file, tracks, at: CLUSTERS_AT, waiting: VecDeque::new() };
        Ok(tracks.map(blocks))
    }

    /// What the tracks are coded with.
    pub fn tracks(&self) -> &[Codec] {
        &self.tracks
    }

    /// The next block; `None` at the end.
    pub fn read(&mut self) -> io::Result<Option<Block>> {
        while self.waiting.is_empty() {
            let mut start = [0; 12];
            let read = self.file.read_at(&mut start, self.at)?;
            let found = head(start.get(..read).unwrap_or_default());
            let Some((CLUSTER, Some(size @ ..=CLUSTER_BYTES), head)) = found else {
                return Ok(None);
            };
            let mut content = vec![0; usize::try_from(size).unwrap_or(0)];
            self.file.read_exact_at(&mut content, self.at + head as u64)?;
            self.at += head as u64 + size;
            let Some(blocks) = blocks(&content) else { return Ok(None) };
            self.waiting.extend(blocks.map(|Block { track, at, keyframe, data }| Block {
                track,
                at,
                keyframe,
                data: data.to_vec(),
            }));
        }
        Ok(self.waiting.pop_front())
    }
}

/// Writes blocks, in order of time, into a file.
#[derive(Debug)]
pub struct FileWriter {
    index: Index,
    blocks: Vec<Block>,
    pictures: Option<usize>,
}

impl FileWriter {
    /// Milliseconds of one cluster.
    const CLUSTER: u64 = 1000;

    /// A file with these tracks, and how it begins.
    pub fn new(tracks: &[FileTrack]) -> (Self, Write) {
        let pictures = tracks.iter().position(|track| track.codec.kind() == Kind::Video);
        let begin = Write { file: 0, at: Some(0), bytes: beginning(tracks) };
        (Self { index: Index::new(), blocks: Vec::new(), pictures }, begin)
    }

    /// Adds a block; gives the cluster that is full.
    pub fn push(&mut self, block: Block) -> Option<Write> {
        let full = self.blocks.first().is_some_and(|first| block.at >= first.at + Self::CLUSTER);
        let write = full.then(|| self.flush());
        self.blocks.push(block);
        write
    }

    fn flush(&mut self) -> Write {
        let bytes = cluster(&self.blocks, &mut self.index);
        self.blocks.clear();
        Write { file: 0, at: None, bytes }
    }

    /// Milliseconds that the file covers.
    pub fn duration(&self) -> u64 {
        self.index.duration
    }

    /// What makes the file whole.
    pub fn finish(&mut self) -> Vec<Write> {
        let mut writes = vec![self.flush()];
        let ends = self.index.finish(self.pictures).into_iter();
        writes.extend(ends.map(|(at, bytes)| Write { file: 0, at: Some(at), bytes }));
        writes
    }
}
