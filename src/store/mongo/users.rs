//! People.

use mongodb::bson::doc;

use super::super::{
    DeviceRecord, DirectoryPage, MemberRecord, Profile, Result, Settings, StoreError, Totals,
    UserRecord,
};
use super::batch::WriteBatch;
use super::reader::Reader;
use super::rows::{CallMember, Uid, call_at, end_of, of_user, user_id};
use crate::clock::Timestamp;
use crate::ids::UserId;

pub(super) async fn save_profile(
    batch: &mut WriteBatch,
    profile: Profile,
    at: Timestamp,
) -> Result<UserRecord> {
    let holder = batch.get::<Uid>(&profile.uid).await?;
    if holder.is_some_and(|holder| holder.user != profile.user_id) {
        return Err(StoreError::Conflict("uid"));
    }
    let known = batch.get::<UserRecord>(&user_id(profile.user_id)).await?;
    let earlier = known.as_ref().map(|known| known.profile.uid.clone());
    if known.is_none() {
        batch.count(|totals: &mut Totals| totals.users += 1).await?;
    }
    let saved = UserRecord::merge(known, profile, at);
    put(batch, &saved, earlier.as_deref())?;
    Ok(saved)
}

/// Stores a person, and whose the uid is.
pub(super) fn put(batch: &mut WriteBatch, user: &UserRecord, earlier: Option<&str>) -> Result<()> {
    let uid = user.profile.uid.clone();
    if earlier != Some(&uid) {
        if let Some(earlier) = earlier {
            batch.remove::<Uid>(earlier);
        }
        batch.put(&Uid { uid, user: user.profile.user_id })?;
    }
    batch.put(user)
}

async fn known(batch: &mut WriteBatch, id: UserId) -> Result<UserRecord> {
    batch.get::<UserRecord>(&user_id(id)).await?.ok_or(StoreError::NotFound)
}

pub(super) async fn save_settings(
    batch: &mut WriteBatch,
    id: UserId,
    settings: Settings,
    at: Timestamp,
) -> Result<UserRecord> {
    let saved = known(batch, id).await?.changed(settings, at);
    batch.put(&saved)?;
    Ok(saved)
}

pub(super) async fn touch(
    batch: &mut WriteBatch,
    id: UserId,
    seen: Timestamp,
    legacy_cursor: i64,
) -> Result<()> {
    let Some(user) = batch.get::<UserRecord>(&user_id(id)).await? else { return Ok(()) };
    let (last_seen, legacy_cursor) =
        (user.last_seen.max(seen), user.legacy_cursor.max(legacy_cursor));
    batch.put(&UserRecord { last_seen, legacy_cursor, ..user })
}

pub(super) async fn set_disabled(
    batch: &mut WriteBatch,
    id: UserId,
    disabled: bool,
    at: Timestamp,
) -> Result<()> {
    let user = known(batch, id).await?;
    batch.put(&UserRecord { disabled, updated_at: at, ..user })
}

pub(super) async fn save_device(batch: &mut WriteBatch, device: DeviceRecord) -> Result<()> {
    if batch.get::<UserRecord>(&user_id(device.user)).await?.is_none() {
        return Err(StoreError::UnknownUser(device.user));
    }
    batch.put(&device)
}

pub(super) async fn devices(reader: &Reader, user: UserId) -> Result<Vec<DeviceRecord>> {
    let prefix = user_id(user);
    let range = doc! { "_id": { "$gt": &prefix, "$lt": end_of(&prefix) } };
    reader.find(range, doc! { "_id": 1 }, usize::MAX).await
}

pub(super) async fn remove_device(
    batch: &mut WriteBatch,
    user: UserId,
    device_id: &str,
) -> Result<()> {
    let id = of_user(user, device_id);
    if batch.get::<DeviceRecord>(&id).await?.is_none() {
        return Err(StoreError::NotFound);
    }
    batch.remove::<DeviceRecord>(&id);
    Ok(())
}

pub(super) async fn users(reader: &Reader, mut ids: Vec<UserId>) -> Result<Vec<UserRecord>> {
    ids.sort_unstable();
    ids.dedup();
    let ids = ids.into_iter().map(user_id).collect();
    let mut found = reader.get_all::<UserRecord>(ids).await?;
    found.sort_unstable_by_key(|user| user.profile.user_id);
    Ok(found)
}

pub(super) async fn directory(reader: &Reader, page: &DirectoryPage) -> Result<Vec<UserRecord>> {
    let end = format!("{}\u{10ffff}", page.prefix);
    let sort = doc! { "name_key": 1, "_id": 1 };
    let filter = match &page.after {
        Some((name, id)) if *name >= page.prefix => doc! {
            "name_key": { "$gte": name, "$lt": end },
            "$or": [{ "name_key": { "$gt": name } }, { "name_key": name, "_id": { "$gt": user_id(*id) } }],
        },
        _ => doc! { "name_key": { "$gte": &page.prefix, "$lt": end } },
    };
    reader.find(filter, sort, page.limit).await
}

pub(super) async fn contacts(
    reader: &Reader,
    user: UserId,
    since: Timestamp,
    limit: usize,
) -> Result<Vec<UserId>> {
    let recent = |archived: bool| {
        let filter = doc! { "user": user.value(), "archived": archived, "last_activity": { "$gte": since.0 } };
        reader.find::<MemberRecord>(filter, doc! { "last_activity": -1 }, limit)
    };
    let prefix = user_id(user);
    let called = doc! { "_id": { "$gte": call_at(user, since), "$lt": end_of(&prefix) } };
    let called = reader.find::<CallMember>(called, doc! { "_id": -1 }, 10 * limit);
    let (open, archived, called) = futures_util::try_join!(recent(false), recent(true), called)?;
    let talks = open.iter().chain(&archived).filter_map(|member| member.conversation.peer_of(user));
    let found: std::collections::BTreeSet<_> =
        talks.chain(called.iter().map(|member| member.peer)).collect();
    Ok(found.into_iter().take(limit).collect())
}
