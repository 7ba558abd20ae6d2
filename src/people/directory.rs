//! The directory: everyone with an account, page by page.

#[cfg(test)]
mod tests;

use super::{People, PeopleError};
use crate::event::User;
use crate::ids::UserId;
use crate::store::{DirectoryPage, UserRecord};
use crate::view::{Detail, cursor, open_cursor};

/// Which part of the directory to show.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct DirectoryQuery {
    pub cursor: Option<String>,
    pub limit: Option<usize>,
    /// Beginning of the name.
    pub prefix: Option<String>,
    pub online: Option<bool>,
    pub ids: Option<Vec<UserId>>,
}

/// A part of the directory.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct DirectorySlice {
    pub users: Vec<User>,
    pub next_cursor: Option<String>,
    pub limit: usize,
}

impl People {
    /// Everyone but `me`: those online first, then by last sign of life, page by page in order of name.
    pub async fn directory(
        &self,
        me: UserId,
        query: DirectoryQuery,
    ) -> Result<DirectorySlice, PeopleError> {
        let limit =
            query.limit.unwrap_or(self.limits.page_max).clamp(1, self.limits.users_page_max);
        let named = match (&query.ids, query.online) {
            (Some(ids), _) => Some(ids.clone()),
            (None, Some(true)) => {
                Some(self.delivery.online().into_iter().take(self.limits.users_page_max).collect())
            }
            _ => None,
        };
        let (records, next_cursor) = match named {
            Some(ids) => (self.store.users(ids).await?, None),
            None => self.directory_page(me, &query, limit).await?,
        };
        let shown = records.iter().filter_map(|record| self.listed(me, &query, record));
        let mut users: Vec<_> = shown.collect();
        users.sort_by_key(|user| {
            (std::cmp::Reverse((user.is_online, user.last_seen)), user.user_id)
        });
        Ok(DirectorySlice { users, next_cursor, limit })
    }

    /// A person as the list shows them, where they belong into it.
    fn listed(&self, me: UserId, query: &DirectoryQuery, record: &UserRecord) -> Option<User> {
        let user = self.view.user(record, Detail::Public);
        let belongs = user.user_id != me && query.online.is_none_or(|it| it == user.is_online);
        belongs.then_some(user)
    }

    /// A full page of those who belong into the list, as long as there are more; some pages of the store are looked at for it.
    async fn directory_page(
        &self,
        me: UserId,
        query: &DirectoryQuery,
        limit: usize,
    ) -> Result<(Vec<UserRecord>, Option<String>), PeopleError> {
        const PAGES: usize = 8;
        let mut after = query.cursor.as_deref().map(position).transpose()?;
        let prefix = query.prefix.as_deref().unwrap_or_default().to_lowercase();
        let mut found = Vec::new();
        for _ in 0..PAGES {
            let page = DirectoryPage { after: after.take(), prefix: prefix.clone(), limit };
            let records = self.store.directory(page).await?;
            let more = records.len() == limit;
            for record in records {
                after = Some((record.name_key(), record.profile.user_id));
                if self.listed(me, query, &record).is_some() {
                    found.push(record);
                }
                if found.len() == limit {
                    let next = cursor_behind(after);
                    return Ok((found, next));
                }
            }
            if !more {
                return Ok((found, None));
            }
        }
        Ok((found, cursor_behind(after)))
    }
}

fn cursor_behind(last: Option<(String, UserId)>) -> Option<String> {
    last.map(|(name, user)| cursor(&["u", &user.to_string(), &name]))
}

fn position(text: &str) -> Result<(String, UserId), PeopleError> {
    match open_cursor(text).as_deref() {
        Some([kind, id, name]) if kind == "u" => {
            Ok((name.clone(), id.parse().map_err(|_| PeopleError::Cursor)?))
        }
        _ => Err(PeopleError::Cursor),
    }
}
