//! Messages, conversations and marks.

use std::collections::{BTreeMap, HashMap};

use mongodb::bson::doc;

use super::super::{
    Anchor, Appended, ConversationRecord, Listed, LogEntry, Mark, MarkKind, Marked, MemberRecord,
    MessageRecord, NewMessage, Page, Result, StoreError, Totals, UserRecord, preview,
};
use super::batch::WriteBatch;
use super::reader::Reader;
use super::rows::{ClientKey, StoredMark, end_of, in_conversation, of_user, user_id};
use super::writer::need;
use crate::clock::Timestamp;
use crate::ids::{ConversationId, MessageId, UserId};

/// What storing a message asks for.
pub(super) fn needs(new: &NewMessage) -> Vec<(&'static str, String)> {
    let mut needs = vec![
        need::<ConversationRecord>(new.conversation.to_string()),
        need::<Totals>("totals".into()),
    ];
    if let Some((low, high)) = new.conversation.pair() {
        for user in [low, high] {
            needs.push(need::<MemberRecord>(in_conversation(new.conversation, user.value())));
        }
    }
    if let Some(user) = new.addressee() {
        needs.push(need::<UserRecord>(user_id(user)));
    }
    if let Some(client_id) = &new.client_id {
        needs.push(need::<ClientKey>(of_user(new.from, client_id)));
    }
    needs
}

pub(super) async fn append(batch: &mut WriteBatch, new: NewMessage) -> Result<Appended> {
    if let Some(earlier) = earlier_send(batch, &new).await? {
        return Ok(Appended { message: earlier, duplicate: true, cursors: Vec::new() });
    }
    if let Some(user) = new.addressee()
        && batch.get::<UserRecord>(&user_id(user)).await?.is_some_and(|user| user.is_erased())
    {
        return Err(StoreError::UnknownUser(user));
    }
    let (mut head, members) = place(batch, &new).await?;
    let message = new.placed(head.seq + 1);
    batch.insert(&message)?;
    if let Some(client_id) = &message.client_id {
        let (from, client_id) = (message.from, client_id.clone());
        let (conversation, seq, at) = (message.conversation, message.seq, message.at);
        batch.insert(&ClientKey { from, client_id, conversation, seq, at })?;
    }
    (head.seq, head.last_id, head.last_at) = (message.seq, Some(message.id), message.at);
    (head.last_kind, head.preview) = (message.kind, preview(&message.content));
    batch.put(&head)?;
    batch.count(|totals: &mut Totals| totals.messages += 1).await?;
    let mut cursors = Vec::with_capacity(members.len());
    for mut member in members {
        let user = member.user;
        member.last_activity = message.at;
        member.archived = false;
        member.unread += i64::from(message.counts && user != message.from);
        batch.put(&member)?;
        cursors.push((user, batch.log(LogEntry::message(user, &message)).await?));
    }
    Ok(Appended { message, duplicate: false, cursors })
}

/// The stored message of an earlier send with the same key.
async fn earlier_send(batch: &mut WriteBatch, new: &NewMessage) -> Result<Option<MessageRecord>> {
    let Some(client_id) = &new.client_id else { return Ok(None) };
    let Some(key) = batch.get::<ClientKey>(&of_user(new.from, client_id)).await? else {
        return Ok(None);
    };
    let stored = batch.get::<MessageRecord>(&in_conversation(key.conversation, key.seq)).await?;
    let stored =
        stored.ok_or_else(|| StoreError::Corrupt("a client id without its message".into()))?;
    if new.is_repeat_of(&stored) { Ok(Some(stored)) } else { Err(StoreError::Conflict("clientId")) }
}

/// The conversation the message goes into, and who is notified of it. The first message makes a direct conversation.
async fn place(
    batch: &mut WriteBatch,
    new: &NewMessage,
) -> Result<(ConversationRecord, Vec<MemberRecord>)> {
    let head = batch.get::<ConversationRecord>(&new.conversation.to_string()).await?;
    match (head, new.conversation.pair()) {
        (Some(head), _) => Ok((head, members_of(batch, new.conversation).await?)),
        (None, None) => Err(StoreError::NotFound),
        (None, Some((low, high))) => begin_direct(batch, new, [low, high]).await,
    }
}

async fn begin_direct(
    batch: &mut WriteBatch,
    new: &NewMessage,
    pair: [UserId; 2],
) -> Result<(ConversationRecord, Vec<MemberRecord>)> {
    for user in pair {
        if batch.get::<UserRecord>(&user_id(user)).await?.is_none() {
            return Err(StoreError::UnknownUser(user));
        }
    }
    Ok((new.begun(), pair.into_iter().map(|user| new.begun_by(user)).collect()))
}

/// Everyone in a conversation, as the group of writes sees them.
async fn members_of(batch: &mut WriteBatch, id: ConversationId) -> Result<Vec<MemberRecord>> {
    let Some((low, high)) = id.pair() else {
        let prefix = id.to_string();
        let mut found = members(&batch.reader, id).await?;
        found.extend(batch.added::<MemberRecord>(&prefix, &end_of(&prefix))?);
        let mut seen = Vec::with_capacity(found.len());
        for member in found {
            seen.extend(
                batch.get::<MemberRecord>(&in_conversation(id, member.user.value())).await?,
            );
        }
        return Ok(seen);
    };
    let mut both = Vec::with_capacity(2);
    for user in [low, high] {
        both.extend(batch.get::<MemberRecord>(&in_conversation(id, user.value())).await?);
    }
    Ok(both)
}

/// Stores what has become of a message. A list that shows it as the newest shows the change.
pub(super) async fn replace(batch: &mut WriteBatch, message: &MessageRecord) -> Result<()> {
    batch.put(message)?;
    let head = batch.get::<ConversationRecord>(&message.conversation.to_string()).await?;
    match head.filter(|head| head.seq == message.seq) {
        Some(head) => batch.put(&ConversationRecord { preview: preview(&message.content), ..head }),
        None => Ok(()),
    }
}

/// What moving a mark asks for.
pub(super) fn mark_needs(id: ConversationId, mark: &Mark) -> Vec<(&'static str, String)> {
    vec![
        need::<ConversationRecord>(id.to_string()),
        need::<MemberRecord>(in_conversation(id, mark.user.value())),
    ]
}

pub(super) async fn mark(batch: &mut WriteBatch, id: ConversationId, mark: Mark) -> Result<Marked> {
    let member = batch.get::<MemberRecord>(&in_conversation(id, mark.user.value())).await?;
    let mut member = member.ok_or(StoreError::NotFound)?;
    let head = batch.get::<ConversationRecord>(&id.to_string()).await?;
    let up_to = mark.up_to.min(head.ok_or(StoreError::NotFound)?.seq);
    let is_read = mark.kind == MarkKind::Read;
    let stands = if is_read { member.read } else { member.delivered };
    if up_to <= stands {
        let (unread, cursors) = (member.unread, Vec::new());
        return Ok(Marked { up_to: stands, moved: false, unread, cursors });
    }
    let mark = Mark { up_to, ..mark };
    if is_read {
        let unread = unread_after(batch, id, mark.user, up_to).await?;
        (member.read, member.unread) = (up_to, unread);
    }
    member.delivered = member.delivered.max(up_to);
    let unread = member.unread;
    batch.put(&member)?;
    batch.insert(&StoredMark { conversation: id, mark })?;
    let mut cursors = Vec::new();
    // A delivery is news for the others; a read mark also for the reader's other devices.
    for user in members_of(batch, id).await?.into_iter().map(|member| member.user) {
        if user != mark.user || is_read {
            cursors.push((user, batch.log(LogEntry::mark(user, id, mark)).await?));
        }
    }
    Ok(Marked { up_to, moved: true, unread, cursors })
}

async fn unread_after(
    batch: &WriteBatch,
    id: ConversationId,
    user: UserId,
    read: i64,
) -> Result<i64> {
    let (from, end) = (in_conversation(id, read + 1), end_of(&id.to_string()));
    let stored = doc! { "_id": { "$gte": &from, "$lt": &end }, "from": { "$ne": user.value() }, "counts": true };
    let stored = batch.reader.count::<MessageRecord>(stored).await?;
    let added = batch.added::<MessageRecord>(&from, &end)?;
    let added = added.iter().filter(|message| message.from != user && message.counts).count();
    Ok(stored + i64::try_from(added).unwrap_or(i64::MAX))
}

pub(super) async fn message(reader: &Reader, id: MessageId) -> Result<Option<MessageRecord>> {
    let mut found = reader.all::<MessageRecord>(doc! { "message": id.to_string() }).await?;
    Ok(found.pop())
}

pub(super) async fn page(
    reader: &Reader,
    id: ConversationId,
    anchor: Anchor,
    limit: usize,
) -> Result<Page> {
    let (prefix, end) = (id.to_string(), end_of(&id.to_string()));
    let (range, order) = match anchor {
        Anchor::Newest => (doc! { "$gt": &prefix, "$lt": end }, -1),
        Anchor::Before(seq) => {
            (doc! { "$gt": &prefix, "$lt": in_conversation(id, seq.max(0)) }, -1)
        }
        Anchor::After(seq) => (doc! { "$gt": in_conversation(id, seq.max(0)), "$lt": end }, 1),
    };
    let messages =
        reader.find::<MessageRecord>(doc! { "_id": range }, doc! { "_id": order }, limit);
    let head = reader.get::<ConversationRecord>(&prefix);
    let (mut messages, head, members) =
        futures_util::try_join!(messages, head, pair_of(reader, id))?;
    if order < 0 {
        messages.reverse();
    }
    let marks = match (messages.first(), messages.last()) {
        (Some(first), Some(last)) => over(reader, id, &members, first.seq, last.seq).await?,
        _ => Vec::new(),
    };
    Ok(Page { messages, marks, head: head.map_or(0, |head| head.seq) })
}

/// The two of a direct conversation; nobody for a group.
pub(super) async fn pair_of(reader: &Reader, id: ConversationId) -> Result<Vec<MemberRecord>> {
    let Some((low, high)) = id.pair() else { return Ok(Vec::new()) };
    let ids = [low, high].map(|user| in_conversation(id, user.value()));
    let mut found = reader.get_all::<MemberRecord>(ids.into()).await?;
    found.sort_unstable_by_key(|member| member.user);
    Ok(found)
}

/// The marks that say when messages `first ..= last` were delivered and read: for each kind and person those from `first`
/// on, up to the first that reaches `last`.
pub(super) async fn over(
    reader: &Reader,
    id: ConversationId,
    members: &[MemberRecord],
    first: i64,
    last: i64,
) -> Result<Vec<Mark>> {
    const CHUNK: usize = 200;
    // Where each of the marks stands: nothing is to be found behind that.
    let mut open: BTreeMap<(MarkKind, UserId), i64> = BTreeMap::new();
    for member in members {
        open.insert((MarkKind::Read, member.user), member.read);
        open.insert((MarkKind::Delivered, member.user), member.delivered);
    }
    open.retain(|_, stands| *stands >= first);
    let (mut found, mut from) = (Vec::new(), first);
    while !open.is_empty() {
        let filter = doc! { "conversation": id.to_string(), "up_to": { "$gte": from } };
        let set = reader.find::<StoredMark>(filter, doc! { "up_to": 1 }, CHUNK).await?;
        let end = set.last().map_or(i64::MAX, |last| last.mark.up_to);
        let full = set.len() == CHUNK;
        for StoredMark { mark, .. } in set {
            // The last number of a full chunk may go on in the next one.
            let pair = (mark.kind, mark.user);
            if (full && mark.up_to == end && end > from) || !open.contains_key(&pair) {
                continue;
            }
            found.push(mark);
            if mark.up_to >= last {
                open.remove(&pair);
            }
        }
        if !full {
            break;
        }
        from = if end > from { end } else { end + 1 };
        open.retain(|_, stands| *stands >= from);
    }
    found.sort_unstable_by_key(|mark| (mark.kind, mark.user, mark.up_to));
    Ok(found)
}

/// Those of `marks` that say when one message was delivered and read.
pub(super) fn of_one(marks: &[Mark], members: &[MemberRecord], seq: i64) -> Vec<Mark> {
    let mut found = Vec::new();
    for kind in [MarkKind::Delivered, MarkKind::Read] {
        for member in members {
            let theirs = |mark: &&Mark| mark.kind == kind && mark.user == member.user;
            found.extend(marks.iter().filter(theirs).find(|mark| mark.up_to >= seq));
        }
    }
    found
}

pub(super) async fn members(reader: &Reader, id: ConversationId) -> Result<Vec<MemberRecord>> {
    let prefix = id.to_string();
    let range = doc! { "_id": { "$gt": &prefix, "$lt": end_of(&prefix) } };
    reader.find(range, doc! { "_id": 1 }, usize::MAX).await
}

pub(super) async fn conversations(
    reader: &Reader,
    user: UserId,
    archived: bool,
    before: Option<(Timestamp, ConversationId)>,
    limit: usize,
) -> Result<Vec<Listed>> {
    let mut filter = doc! { "user": user.value(), "archived": archived };
    if let Some((at, id)) = before {
        filter.insert("last_activity", doc! { "$lte": at.0 });
        let same = doc! { "last_activity": at.0, "conversation": { "$lt": id.to_string() } };
        filter.insert("$or", vec![doc! { "last_activity": { "$lt": at.0 } }, same]);
    }
    let sort = doc! { "last_activity": -1, "conversation": -1 };
    let members = reader.find::<MemberRecord>(filter, sort, limit).await?;
    let ids = members.iter().map(|member| member.conversation.to_string()).collect();
    let peers = members.iter().filter_map(|member| member.conversation.peer_of(user));
    let peers = peers.map(user_id).collect();
    let (heads, peers) = futures_util::try_join!(
        reader.get_all::<ConversationRecord>(ids),
        reader.get_all::<UserRecord>(peers)
    )?;
    let mut heads: HashMap<_, _> = heads.into_iter().map(|head| (head.id, head)).collect();
    let peers: HashMap<_, _> = peers.into_iter().map(|peer| (peer.profile.user_id, peer)).collect();
    let listed = members.into_iter().filter_map(|member| {
        let conversation = heads.remove(&member.conversation)?;
        let peer = conversation.id.peer_of(user).and_then(|peer| peers.get(&peer).cloned());
        Some(Listed { conversation, member, peer })
    });
    Ok(listed.collect())
}

pub(super) async fn unread(reader: &Reader, user: UserId) -> Result<Vec<(ConversationId, i64)>> {
    let filter = doc! { "user": user.value(), "archived": { "$in": [false, true] }, "unread": { "$gt": 0_i64 } };
    let members = reader.all::<MemberRecord>(filter).await?;
    let mut found: Vec<_> =
        members.into_iter().map(|member| (member.conversation, member.unread)).collect();
    found.sort_unstable();
    Ok(found)
}
