//! Files of recordings, and links to them.

use std::path::PathBuf;
use std::time::Duration;

use ring::hmac;

use super::access::may_see;
use super::link::{self, LinkClaim};
use super::{RecordingError, Recordings, Requester, Result};
use crate::clock::Timestamp;
use crate::event::recording::{RecordingFile, RecordingStatus};
use crate::ids::{FileId, RecordingId, UserId};
use crate::store::RecordingRecord;

impl Recordings {
    async fn key(&self) -> Result<&hmac::Key> {
        Ok(self.key.get_or_try_init(|| link::key(self.shared.store.as_ref())).await?)
    }

    /// A file of a recording, and where it is.
    pub async fn file(
        &self,
        requester: Requester,
        id: RecordingId,
        file: FileId,
    ) -> Result<(RecordingFile, PathBuf)> {
        let record = self.known(requester, id).await?;
        self.file_of(&record, file)
    }

    fn file_of(&self, record: &RecordingRecord, id: FileId) -> Result<(RecordingFile, PathBuf)> {
        if record.status != RecordingStatus::Completed {
            return Err(RecordingError::NotReady(record.status));
        }
        let file = record.files.iter().find(|file| file.file_id == id);
        let file = file.ok_or(RecordingError::NoFile)?.clone();
        let path = self.shared.recorder.path(record.id, &file);
        // A link or a folder in its place is not what was recorded.
        let is_file = std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_file());
        if is_file { Ok((file, path)) } else { Err(RecordingError::NoFile) }
    }

    /// The path and query under which a file can be fetched without a token, and until when.
    pub async fn link(
        &self,
        requester: Requester,
        id: RecordingId,
        file: FileId,
    ) -> Result<(String, Timestamp)> {
        let record = self.known(requester, id).await?;
        self.file_of(&record, file)?;
        self.signed(requester.user, id, file).await
    }

    /// See [`Self::link`], of a file that is known to be there, for somebody who may see it.
    pub async fn signed(
        &self,
        user: UserId,
        id: RecordingId,
        file: FileId,
    ) -> Result<(String, Timestamp)> {
        let until = self.shared.clock.now().after(Duration::from_secs(self.shared.config.link_ttl));
        let signature = link::sign(self.key().await?, id, file, LinkClaim { user, until });
        let query = format!("expires={}&user={user}&signature={signature}", until.0);
        Ok((format!("/api/recordings/{id}/files/{file}?{query}"), until))
    }

    /// The file that a link is good for, as long as the one who was given it has an account and may see the recording.
    pub async fn linked(
        &self,
        id: RecordingId,
        file: FileId,
        claim: LinkClaim,
        signature: &str,
    ) -> Result<(RecordingFile, PathBuf)> {
        let good = link::verify(self.key().await?, id, file, claim, signature);
        if !good || claim.until <= self.shared.clock.now() {
            return Err(RecordingError::Link);
        }
        let account = self.shared.store.user(claim.user).await?.filter(|user| !user.disabled);
        let account = account.ok_or(RecordingError::Link)?;
        let record = self.shared.store.recording(id).await?.ok_or(RecordingError::Link)?;
        let operator = account.profile.role.is_operator();
        may_see(&record, Requester { user: claim.user, operator })
            .map_err(|_| RecordingError::Link)?;
        self.file_of(&record, file)
    }
}
