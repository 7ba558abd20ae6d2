//! The folder of a recording: a file for each participant, and what they are.
//!
//! ```text
//! <dir>/<recordingId>/recording.json    what is recorded, from the first moment on
//!                     files.jsonl       what is written and by whom, a line for each file
//!                     recording.lock    held by whoever writes
//!                     <fileId>.part     being written
//!                     <fileId>.webm     whole; .mkv with H.264
//!                     <fileId>.json     the manifest
//! ```

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use switchboard_media::Codec;

use crate::clock::Timestamp;
use crate::event::recording::{FileKind, RecordingFile, RecordingMode, StopReason};
use crate::ids::{FileId, RecordingId, RoomId, UserId};

/// What `files.jsonl` says of a file that is being written.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Draft {
    pub(super) file_id: FileId,
    pub(super) who: String,
    /// Absent for guests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) user_id: Option<UserId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    pub(super) screen: bool,
    pub(super) start_offset_ms: u64,
}

/// `recording.json`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Log {
    pub(super) recording_id: RecordingId,
    pub(super) room_id: String,
    pub(super) mode: RecordingMode,
    pub(super) started_at: Timestamp,
    /// Files that an earlier version listed here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) files: Vec<Draft>,
}

/// What is left of a recording whose process was cut off.
#[derive(Debug)]
pub enum Found {
    /// Some process writes it.
    Busy,
    /// Nothing.
    Nothing,
    /// These files, which are whole now.
    Files(Vec<RecordingFile>),
}

/// Marks a recording as being written, until the file is closed; `None` where some process does so already.
pub(super) fn lock(folder: &Path) -> io::Result<Option<File>> {
    let path = folder.join("recording.lock");
    let file =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

pub(super) fn make_root(root: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(root)
}

pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(folder)
}

/// Bytes that may still be written there.
pub(super) fn free_bytes(folder: &Path) -> Option<u64> {
    let known = rustix::fs::statvfs(folder).ok()?;
    Some(known.f_bavail * known.f_frsize)
}

/// What a file is called.
pub(super) fn name(id: FileId, container: &str) -> String {
    format!("{}.{container}", id.uuid().simple())
}

/// A new file that no other user of the machine may read.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Writes a small file whole, or not at all.
pub(super) fn write_whole(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let draft = folder.join(format!("{name}.new"));
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(draft, folder.join(name))
}

/// Adds a file to the list of those that are written.
pub(super) fn list(folder: &Path, draft: &Draft) -> io::Result<()> {
    let mut line = serde_json::to_vec(draft)?;
    line.push(b'\n');
    let path = folder.join("files.jsonl");
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    file.write_all(&line)?;
    file.sync_data()
}

/// The files that are listed; a line that a crash cut off is left out.
fn listed(folder: &Path) -> io::Result<Vec<Draft>> {
    match std::fs::read(folder.join("files.jsonl")) {
        Ok(lines) => {
            let drafts = lines.split(|byte| *byte == b'\n');
            Ok(drafts.filter_map(|line| serde_json::from_slice(line).ok()).collect())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Makes it last that names have changed.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

pub(super) fn sha256(path: &Path) -> io::Result<String> {
    let (mut file, mut digest) = (File::open(path)?, Context::new(&SHA256));
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            let bytes = digest.finish();
            return Ok(bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect());
        }
        digest.update(buffer.get(..read).unwrap_or_default());
    }
}

/// Gives files that lack one their digest.
pub(super) fn digest(folder: &Path, files: &mut [RecordingFile]) -> io::Result<()> {
    for file in files.iter_mut().filter(|file| file.sha256.is_empty()) {
        file.sha256 = sha256(&folder.join(name(file.file_id, &file.container)))?;
    }
    Ok(())
}

/// Gives a whole file its name. Its digest waits for the end of the recording: others are recorded meanwhile.
pub(super) fn settle(
    folder: &Path,
    draft: &Draft,
    codecs: &[Codec],
    rotation: u16,
    duration_ms: u64,
) -> io::Result<RecordingFile> {
    let container = if codecs.contains(&Codec::H264) { "mkv" } else { "webm" };
    let (from, to) =
        (folder.join(name(draft.file_id, "part")), folder.join(name(draft.file_id, container)));
    std::fs::rename(from, &to)?;
    let pictures = codecs.iter().find(|codec| **codec != Codec::Opus);
    let codec = pictures.or(codecs.first()).map_or("", |codec| codec.name());
    Ok(RecordingFile {
        file_id: draft.file_id,
        kind: if pictures.is_some() { FileKind::Video } else { FileKind::Audio },
        user_id: draft.user_id,
        participant_id: draft
            .user_id
            .is_none_or(|user| user.to_string() != draft.who)
            .then(|| draft.who.clone()),
        name: draft.name.clone(),
        source: Some(if draft.screen { "screen" } else { "camera" }.into()),
        codecs: codecs.iter().map(|codec| codec.name().to_owned()).collect(),
        codec: codec.to_owned(),
        container: container.into(),
        bytes: std::fs::metadata(&to)?.len(),
        start_offset_ms: draft.start_offset_ms,
        duration_ms,
        rotation: pictures.map(|_| rotation),
        sha256: String::new(),
    })
}

/// Adds the mix where one is wanted; the files of the participants go where nothing else is.
pub(super) fn add_mix(
    folder: &Path,
    mode: RecordingMode,
    files: &mut Vec<RecordingFile>,
    particulars: &mut Vec<Value>,
) -> io::Result<()> {
    if !mode.mixes() || files.is_empty() {
        return Ok(());
    }
    let Some(mixed) = mix(folder, files)? else { return Ok(()) };
    if !mode.keeps_tracks() {
        for file in files.drain(..) {
            std::fs::remove_file(folder.join(name(file.file_id, &file.container)))?;
        }
        particulars.clear();
    }
    files.push(mixed);
    particulars.push(Value::Null);
    Ok(())
}

/// Mixes the voices of whole files into one more; `None` where there is no sound.
fn mix(folder: &Path, files: &[RecordingFile]) -> io::Result<Option<RecordingFile>> {
    let id = FileId::new(uuid::Uuid::new_v4());
    let (draft, to) = (folder.join(name(id, "part")), folder.join(name(id, "webm")));
    let sources: Vec<(PathBuf, u64)> = files
        .iter()
        .map(|file| (folder.join(name(file.file_id, &file.container)), file.start_offset_ms))
        .collect();
    let (file, mut length) = (create(&draft)?, 0);
    let mut write = |write: switchboard_media::recorder::Write| {
        let at = write.at.unwrap_or(length);
        length = length.max(at + write.bytes.len() as u64);
        file.write_all_at(&write.bytes, at)
    };
    // The codec is foreign code, and what it decodes comes from clients: a panic in it costs the mix alone.
    let mixed = catch_unwind(AssertUnwindSafe(|| super::mix::mix(&sources, &mut write)));
    let mixed = mixed.unwrap_or_else(|_| Err(io::Error::other("sound that cannot be mixed")));
    let Some(duration_ms) = mixed.inspect_err(|_| drop(std::fs::remove_file(&draft)))? else {
        std::fs::remove_file(&draft)?;
        return Ok(None);
    };
    file.sync_all()?;
    std::fs::rename(draft, &to)?;
    Ok(Some(RecordingFile {
        codecs: vec!["opus".into()],
        ..of_all(id, FileKind::Mix, &to, duration_ms)?
    }))
}

/// A file that is of all participants.
fn of_all(id: FileId, kind: FileKind, path: &Path, duration_ms: u64) -> io::Result<RecordingFile> {
    let (codec, container) = match kind {
        FileKind::Manifest => ("json", "json"),
        _ => ("opus", "webm"),
    };
    Ok(RecordingFile {
        file_id: id,
        kind,
        user_id: None,
        participant_id: None,
        name: None,
        source: None,
        codecs: Vec::new(),
        codec: codec.into(),
        container: container.into(),
        bytes: std::fs::metadata(path)?.len(),
        start_offset_ms: 0,
        duration_ms,
        rotation: None,
        sha256: sha256(path)?,
    })
}

/// Writes the manifest; `particulars` says more of each file, `unrecorded` of tracks that are in none.
pub(super) fn write_manifest(
    folder: &Path,
    log: &Log,
    id: FileId,
    files: &[RecordingFile],
    (particulars, unrecorded): (&[Value], &[Value]),
    (stopped_at, reason): (Timestamp, StopReason),
) -> io::Result<RecordingFile> {
    let entries: Vec<Value> = files
        .iter()
        .zip(particulars.iter().chain(std::iter::repeat(&Value::Null)))
        .map(|(file, more)| {
            let mut entry = serde_json::to_value(file).unwrap_or_default();
            if let (Some(entry), Some(more)) = (entry.as_object_mut(), more.as_object()) {
                entry.extend(more.clone());
            }
            entry
        })
        .collect();
    let room: Option<RoomId> = log.room_id.parse().ok();
    let manifest = json!({
        "version": 1,
        "recordingId": log.recording_id,
        "callId": room.as_ref().and_then(RoomId::call),
        "roomId": log.room_id,
        "mode": log.mode,
        "startedAt": log.started_at,
        "stoppedAt": stopped_at,
        "stopReason": reason,
        "files": entries,
        "unrecorded": unrecorded,
    });
    let file = name(id, "json");
    write_whole(folder, &file, &serde_json::to_vec_pretty(&manifest)?)?;
    let end = files.iter().map(|file| file.start_offset_ms + file.duration_ms).max();
    of_all(id, FileKind::Manifest, &folder.join(file), end.unwrap_or(0))
}

/// Whose tracks a recording has written: the account, or the name of a guest.
pub fn recorded(root: &Path, id: RecordingId) -> io::Result<Vec<(Option<UserId>, Option<String>)>> {
    let folder = root.join(id.to_string());
    let log: Log = serde_json::from_slice(&std::fs::read(folder.join("recording.json"))?)?;
    let drafts = log.files.into_iter().chain(listed(&folder)?);
    Ok(drafts.map(|it| (it.user_id, it.name.or(Some(it.who)))).collect())
}

/// Makes the files of a recording whole that was cut off.
pub fn recover(root: &Path, id: RecordingId, stopped_at: Timestamp) -> io::Result<Found> {
    let folder = root.join(id.to_string());
    let log = match std::fs::read(folder.join("recording.json")) {
        Ok(log) => log,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
    };
    let Some(_lock) = lock(&folder)? else { return Ok(Found::Busy) };
    let log: Log = serde_json::from_slice(&log)?;
    let (mut files, mut particulars) = (Vec::new(), Vec::new());
    for draft in log.files.iter().chain(&listed(&folder)?) {
        let part = folder.join(name(draft.file_id, "part"));
        let containers =
            ["webm", "mkv"].map(|container| folder.join(name(draft.file_id, container)));
        // It may have been given its name before the crash.
        if let Some(whole) = containers.iter().find(|path| path.exists()) {
            std::fs::rename(whole, &part)?;
        }
        let Ok(file) = OpenOptions::new().read(true).write(true).open(&part) else { continue };
        match switchboard_media::recorder::recover(&file)? {
            Some(found) => {
                let codecs: Vec<Codec> = found.codecs.clone();
                files.push(settle(&folder, draft, &codecs, found.rotation, found.duration)?);
                particulars.push(json!({ "recovered": true, "cutBytes": found.cut }));
            }
            None => std::fs::remove_file(&part)?,
        }
    }
    if let Err(error) = add_mix(&folder, log.mode, &mut files, &mut particulars) {
        tracing::warn!(recording = %id, %error, "the voices are not mixed");
    }
    digest(&folder, &mut files)?;
    if !files.is_empty() {
        let manifest = FileId::new(uuid::Uuid::new_v4());
        let manifest = write_manifest(
            &folder,
            &log,
            manifest,
            &files,
            (&particulars, &[]),
            (stopped_at, StopReason::Recovered),
        )?;
        files.push(manifest);
    }
    sync_folder(&folder)?;
    Ok(Found::Files(files))
}
