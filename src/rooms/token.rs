//! Room tokens: a right to come in, which the owner gives out. One that names no user lets its bearer connect as a guest, a person
//! without an account, into that room alone.

use std::time::Duration;

use serde::Deserialize;
use utoipa::ToSchema;

use super::effect::{Effect, IssuedToken};
use super::machine::Room;
use super::rule::{Context, Rule};
use super::{Result, RoomError, Rooms};
use crate::clock::Timestamp;
use crate::event::room::Permissions;
use crate::ids::{RoomId, Short, UserId};
use crate::store::{RoomTokenRecord, TokenHash};

/// Characters of a room token, as [`super::secret`] makes it.
const TOKEN: usize = 32;
/// Tokens of one room that are good at the same time.
const TOKENS: usize = 1000;

/// What a room token is to be good for.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RoomTokenSpec {
    /// For this user alone.
    pub user_id: Option<UserId>,
    /// The name that is shown.
    pub name: Option<Short<120>>,
    /// Seconds, 86400 at most.
    pub ttl: Option<u64>,
    /// What its bearer may do.
    pub permissions: Permissions,
    /// Whether its bearer moderates.
    pub moderator: bool,
}

/// Somebody whom a room token lets in.
#[derive(Clone, Debug)]
pub struct Guest {
    /// A name for this process, which is null to everybody else.
    pub user: UserId,
    /// What the token calls its bearer.
    pub name: String,
    /// When the token ends.
    pub until: Timestamp,
}

/// What bounds the relay credential of a guest.
#[derive(Clone, Debug)]
pub struct CredentialBounds {
    /// The room, as it is open now: one opened later under the same id has another name.
    pub room: String,
    /// When the token ends.
    pub until: Timestamp,
}

/// Gives out a token.
pub(super) struct IssueToken {
    pub(super) me: Option<UserId>,
    pub(super) token: RoomTokenRecord,
}

impl Rooms {
    /// Gives out a right to come in; gives its text and its end.
    pub async fn issue_token(
        &self,
        id: &RoomId,
        me: Option<UserId>,
        spec: RoomTokenSpec,
    ) -> Result<(String, Timestamp)> {
        let ttl = spec.ttl.unwrap_or(3600);
        if !(1..=86_400).contains(&ttl) {
            return Err(RoomError::Invalid("ttl", "ttl is 1 to 86400 seconds".into()));
        }
        let until = self.now().after(Duration::from_secs(ttl));
        let text = super::secret();
        let token = RoomTokenRecord {
            hash: TokenHash::of(&text),
            room: id.clone(),
            user: spec.user_id,
            name: spec.name.map(Short::into_string),
            permissions: spec.permissions,
            moderator: spec.moderator,
            until,
        };
        self.ask(id, IssueToken { me, token }).await?;
        Ok((text, until))
    }

    /// What bounds the relay credential of whoever comes by `token`; `None` when it is good no longer.
    pub fn bounds(&self, token: &str) -> Option<CredentialBounds> {
        let (issued, room) = self.issued(token)?;
        Some(CredentialBounds { until: issued.until, room: room.0.to_string() })
    }

    /// The guest whom `token` lets in; `device` tells apart those who share a token.
    pub fn guest(&self, token: &str, device: &str) -> Option<Guest> {
        // Every connection brings a token, and most are none of a room.
        if token.len() != TOKEN {
            return None;
        }
        let (issued, _) = self.issued(token)?;
        if issued.user.is_some() {
            return None;
        }
        let seed = ring::digest::digest(
            &ring::digest::SHA256,
            [token.as_bytes(), b"/", device.as_bytes()].concat().as_slice(),
        );
        let seed = seed.as_ref().first_chunk::<8>().copied().map(u64::from_be_bytes)?;
        let name = issued.name.unwrap_or_else(|| "Guest".into());
        Some(Guest { user: UserId::guest(seed), name, until: issued.until })
    }
}

impl Rule for IssueToken {
    type Reply = ();

    fn carry_out(self, room: &mut Room, with: &mut Context<'_>) -> Result<()> {
        let Self { me, token } = self;
        room.owned(me)?;
        room.tokens.retain(|token| token.until > with.now);
        if room.tokens.len() >= TOKENS {
            let why = format!("a room has {TOKENS} tokens at most; use shorter ones");
            return Err(RoomError::Invalid("ttl", why));
        }
        let issued = Effect::Issue(IssuedToken::from(&token));
        room.effects.push(Effect::Persist { token: Box::new(token.clone()), by: me });
        room.effects.push(issued);
        room.tokens.push(token);
        Ok(())
    }
}

impl Room {
    /// Takes a token back that could not be stored.
    pub(super) fn withdraw(&mut self, hash: TokenHash) {
        self.tokens.retain(|token| token.hash != hash);
    }

    /// The token of that text for `user`, where one was shown. A guest needs one.
    pub(super) fn token(
        &self,
        text: Option<&str>,
        user: UserId,
        now: Timestamp,
    ) -> Result<Option<&RoomTokenRecord>> {
        let Some(text) = text else {
            return if user.is_guest() { Err(RoomError::NotFound) } else { Ok(None) };
        };
        let hash = TokenHash::of(text);
        let token = self.tokens.iter().find(|token| token.hash == hash && token.until > now);
        let token = token.filter(|token| token.user.is_none_or(|bearer| bearer == user));
        token.map(Some).ok_or(RoomError::Token)
    }
}
