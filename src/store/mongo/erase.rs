//! Erasing a person.

use mongodb::bson::doc;

use super::super::{
    DeviceRecord, Erased, MemberRecord, MessageRecord, Result, StoreError, UserRecord,
};
use super::batch::WriteBatch;
use super::rows::{StoredDocument, Uid, end_of, in_conversation, user_id};
use super::{messages, secrets, users};
use crate::clock::Timestamp;
use crate::ids::{ConversationId, UserId};

/// How many messages one call looks at: some servers find the place of each anew.
const SLICE: usize = 50;

pub(super) async fn user(batch: &mut WriteBatch, id: UserId, at: Timestamp) -> Result<()> {
    let known = batch.get::<UserRecord>(&user_id(id)).await?.ok_or(StoreError::NotFound)?;
    let earlier = known.profile.uid.clone();
    let erased = known.erased(at);
    let holder = batch.get::<Uid>(&erased.profile.uid).await?;
    if holder.is_some_and(|holder| holder.user != id) {
        return Err(StoreError::Conflict("uid"));
    }
    let devices = users::devices(&batch.reader, id).await?;
    users::put(batch, &erased, Some(&earlier))?;
    for device in devices {
        batch.remove::<DeviceRecord>(&device.id());
    }
    secrets::erase_tokens(batch, id).await
}

pub(super) async fn messages(
    batch: &mut WriteBatch,
    user: UserId,
    after: Option<(ConversationId, i64)>,
    at: Timestamp,
) -> Result<Erased> {
    let mine = doc! { "user": user.value(), "archived": { "$in": [false, true] } };
    let members = batch.reader.all::<MemberRecord>(mine).await?;
    let mut conversations: Vec<_> = members.iter().map(|member| member.conversation).collect();
    conversations.sort_unstable();
    let (from, behind) = after.unwrap_or((ConversationId::new(uuid::Uuid::nil()), 0));
    let mut left =
        conversations.into_iter().filter(|conversation| *conversation >= from).peekable();
    let Some(here) = left.next() else { return Ok(Erased { next: None, left: 0 }) };
    let behind = if here == from { behind } else { 0 };
    let range = doc! { "$gt": in_conversation(here, behind), "$lt": end_of(&here.to_string()) };
    let page =
        batch.reader.find::<MessageRecord>(doc! { "_id": range }, doc! { "_id": 1 }, SLICE).await?;
    let more = page.last().filter(|_| page.len() == SLICE).map(|last| (here, last.seq));
    for message in page {
        if message.from == user && message.has_content() {
            messages::replace(batch, &message.erased(at)).await?;
        }
    }
    let next = more.or_else(|| left.peek().map(|next| (*next, 0)));
    let left = left.count() + usize::from(more.is_some());
    Ok(Erased { next, left: i64::try_from(left).unwrap_or(i64::MAX) })
}
