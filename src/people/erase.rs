//! Erasing a person: the account is closed at once, the rest is a job that survives a restart.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::{People, PeopleError};
use crate::fact::FactKind;
use crate::ids::{JobId, UserId};
use crate::revocation::AccessChange;
use crate::store::{JobRecord, JobState, StoreError};

/// How often a slice that the store could not take is tried again before the job fails.
const TRIES: u32 = 60;

impl People {
    /// Closes an account, ends its sessions, and begins to erase what is known of the person; with `messages` also what the
    /// person wrote. The job is stored before this returns.
    pub async fn erase(
        self: &Arc<Self>,
        user: UserId,
        messages: bool,
    ) -> Result<JobId, PeopleError> {
        self.close_or_open(user, true).await?;
        self.changes.announce(AccessChange::AccountErased(user)).await;
        let now = self.clock.now();
        let job = JobRecord {
            id: JobId::new(self.clock.id()),
            user,
            messages,
            state: JobState::Queued,
            total: 0,
            left: 0,
            position: None,
            error: None,
            created_at: now,
            updated_at: now,
        };
        self.store.save_job(job.clone()).await?;
        let id = job.id;
        tokio::spawn(self.clone().run(job));
        Ok(id)
    }

    /// What has become of a job.
    pub async fn job(&self, id: JobId) -> Result<JobRecord, PeopleError> {
        self.store.job(id).await?.ok_or(PeopleError::UnknownJob)
    }

    /// Goes on with the jobs that a restart cut short.
    pub async fn resume_jobs(self: &Arc<Self>) -> Result<(), PeopleError> {
        for job in self.store.open_jobs().await? {
            tokio::spawn(self.clone().run(job));
        }
        Ok(())
    }

    async fn run(self: Arc<Self>, mut job: JobRecord) {
        let mut failures = 0;
        while job.state.is_open() {
            let outcome = self.step(&mut job).await;
            match outcome {
                Ok(()) => failures = 0,
                Err(error) if error.retry_helps() && failures < TRIES => {
                    failures += 1;
                    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
                }
                Err(error) => {
                    tracing::error!(job = %job.id, user = %job.user, %error, "a person could not be erased");
                    (job.state, job.error) = (JobState::Failed, Some(error.to_string()));
                    let _ = self.store.save_job(job.clone()).await;
                }
            }
        }
        tracing::info!(job = %job.id, user = %job.user, state = ?job.state, "an erasure is over");
    }

    /// One slice, then a note of how far it came: a slice that is done twice does no harm.
    async fn step(&self, job: &mut JobRecord) -> Result<(), StoreError> {
        let mut next = job.clone();
        next.updated_at = self.clock.now();
        if job.state == JobState::Queued {
            let facts = vec![self.fact(FactKind::UserErased, job.user)];
            self.store.erase_user(job.user, next.updated_at, facts).await?;
            self.known().forget(job.user);
            next.state = if job.messages { JobState::Running } else { JobState::Done };
        } else {
            let erased = self.store.erase_messages(job.user, job.position, next.updated_at).await?;
            next.left = erased.left;
            next.total = next.total.max(erased.left + 1);
            next.position = erased.next;
            if erased.next.is_none() {
                next.state = JobState::Done;
            }
        }
        self.store.save_job(next.clone()).await?;
        *job = next;
        Ok(())
    }
}
