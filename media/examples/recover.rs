//! How long it takes to make an hour of recording whole that a crash has cut off: `cargo run --release -p switchboard-media
//! --example recover`.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::time::Instant;

use switchboard_media::Codec;
use switchboard_media::recorder::{Block, FileTrack, FileWriter, Write, recover};

#[expect(clippy::disallowed_methods, clippy::print_stdout, reason = "this measures")]
fn main() -> io::Result<()> {
    let path = std::env::temp_dir().join(format!("switchboard-hour-{}", std::process::id()));
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
    let track = |codec, size| FileTrack { size, ..FileTrack::of(codec) };
    let (mut writer, begin) =
        FileWriter::new(&[track(Codec::Opus, (0, 0)), track(Codec::Vp8, (640, 360))]);
    let mut length = 0;
    let mut put = |Write { at, bytes, .. }: Write| {
        let at = at.unwrap_or(length);
        length = length.max(at + bytes.len() as u64);
        file.write_all_at(&bytes, at)
    };
    put(begin)?;
    for ms in (0..3_600_000).step_by(20) {
        let sound = Block { track: 0, at: ms, keyframe: true, data: vec![7; 100] };
        let picture = Block { track: 1, at: ms, keyframe: ms % 4000 == 0, data: vec![9; 2000] };
        let both = [Some(sound), (ms % 40 == 0).then_some(picture)];
        for block in both.into_iter().flatten() {
            writer.push(block).map(&mut put).transpose()?;
        }
    }
    file.sync_all()?;
    let begun = Instant::now();
    let found = recover(&file)?.ok_or_else(|| io::Error::other("nothing was found"))?;
    println!(
        "{:.0} MB, {} s of recording: whole after {:.2} s",
        found.bytes as f64 / 1e6,
        found.duration / 1000,
        begun.elapsed().as_secs_f64()
    );
    std::fs::remove_file(path)
}
