//! Which conversation a request means, and what its author is in it. Direct conversations are in their ids; groups are in the store:
//! whoever asks waits for either, and needs no other way for groups.

use std::sync::Arc;

use crate::ids::{ConversationId, UserId};
use crate::policy::Relation;
use crate::store::{Result, Store};

/// A conversation as requests name it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ConversationRef {
    /// The direct conversation with this person.
    With(UserId),
    /// This conversation.
    Id(ConversationId),
}

impl ConversationRef {
    /// What a request names; the id counts when both are there.
    pub fn named(with: Option<UserId>, id: Option<ConversationId>) -> Option<Self> {
        id.map(Self::Id).or(with.map(Self::With))
    }
}

/// What a person is in a conversation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Seat {
    /// Whose seat it is.
    pub user: UserId,
    /// Where.
    pub conversation: ConversationId,
    /// A member, or a stranger to it. A conversation of others and one that does not exist look the same.
    pub role: Relation,
    /// Everyone in it, in order of id; empty for a stranger.
    pub members: Vec<UserId>,
}

impl Seat {
    /// Everyone in the conversation but the person whose seat it is.
    pub fn others(&self) -> impl Iterator<Item = UserId> + '_ {
        self.members.iter().copied().filter(|member| *member != self.user)
    }
}

/// Knows who is in which conversation.
#[derive(Clone)]
pub struct Membership {
    store: Arc<dyn Store>,
}

impl Membership {
    /// Memberships as the store has them.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// The seat of `me` in a conversation; `None` for the conversation with oneself, which there is not.
    pub async fn resolve(&self, me: UserId, named: ConversationRef) -> Result<Option<Seat>> {
        let conversation = match named {
            ConversationRef::With(peer) if peer == me => return Ok(None),
            ConversationRef::With(peer) => ConversationId::direct(me, peer),
            ConversationRef::Id(id) => id,
        };
        let members = match conversation.pair() {
            Some((low, high)) => vec![low, high],
            None => self.members(conversation).await?,
        };
        let seat = match members.contains(&me) {
            true => Seat { user: me, conversation, role: Relation::Member, members },
            false => Seat { user: me, conversation, role: Relation::Stranger, members: Vec::new() },
        };
        Ok(Some(seat))
    }

    async fn members(&self, group: ConversationId) -> Result<Vec<UserId>> {
        let members = self.store.members(group).await?;
        Ok(members.into_iter().map(|member| member.user).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::Sqlite;

    fn user(id: i64) -> UserId {
        UserId::new(id).unwrap()
    }

    #[tokio::test]
    async fn a_seat_says_who_else_is_there_and_a_stranger_learns_nothing() {
        let membership = Membership::new(Arc::new(Sqlite::in_memory().unwrap()));
        let conversation = ConversationId::direct(user(1), user(2));
        for named in [ConversationRef::With(user(1)), ConversationRef::Id(conversation)] {
            let seat = membership.resolve(user(2), named).await.unwrap().unwrap();
            assert_eq!((seat.conversation, seat.role), (conversation, Relation::Member));
            assert_eq!(seat.others().collect::<Vec<_>>(), [user(1)]);
        }
        let unknown = ConversationId::new(uuid::Uuid::from_u128(1));
        for id in [conversation, unknown] {
            let seat = membership.resolve(user(3), ConversationRef::Id(id)).await.unwrap().unwrap();
            assert_eq!((seat.role, seat.members.len()), (Relation::Stranger, 0));
        }
        let oneself = ConversationRef::With(user(3));
        assert_eq!(membership.resolve(user(3), oneself).await.unwrap(), None);
    }
}
