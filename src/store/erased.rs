//! What is left of a person who was erased, and that nothing can be written to it.

use super::{NewMessage, Profile, UserRecord};
use crate::clock::Timestamp;
use crate::event::{PresenceMode, Role};
use crate::ids::UserId;

impl UserRecord {
    /// What is left of a person who was erased: a closed account whose id nobody can take.
    #[must_use]
    pub fn erased(self, at: Timestamp) -> Self {
        let user_id = self.profile.user_id;
        let profile = Profile {
            user_id,
            uid: uid(user_id),
            email: None,
            name: None,
            mobile: None,
            gender: None,
            user_type: None,
            role: Role::User,
        };
        let (status_text, presence, disabled) = (None, PresenceMode::Auto, true);
        Self { profile, status_text, presence, disabled, updated_at: at, ..self }
    }

    /// Whether this is what is left of a person who was erased.
    pub fn is_erased(&self) -> bool {
        self.profile.uid == uid(self.profile.user_id)
    }
}

impl NewMessage {
    /// Who gets it in a direct conversation, when a person wrote it: nothing can be written to a person who was erased.
    pub fn addressee(&self) -> Option<UserId> {
        self.conversation.peer_of(self.from).filter(|_| self.kind.is_for_clients())
    }
}

/// The uid of an account whose person was erased.
pub(super) fn uid(user: UserId) -> String {
    format!("erased:{user}")
}
