//! Room tokens: a right to come in, which the owner gives out. One that names no user lets its bearer connect as a guest, a person
//! without an account, into that room alone.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::effect::{Effect, IssuedToken};
use super::follow::Notice;
use super::machine::Room;
use super::rule::{Context, Rule};
use super::{Result, RoomError, Rooms};
use crate::clock::Timestamp;
use crate::event::room::Permissions;
use crate::fact::FactKind;
use crate::ids::{RoomId, Short, UserId};
use crate::store::{RoomTokenRecord, TokenHash};

/// Characters of a room token, as [`super::secret`] makes it.
const TOKEN: usize = 32;
/// How long before it begins a token may be given out.
const AHEAD: Duration = Duration::from_secs(30 * 86_400);
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
    /// How many may use it, 1 to 1000, each as often as they like: accounts, or devices of guests. All, when left out.
    pub max_uses: Option<u32>,
    /// When it begins; at once, when left out. `ttl` counts from then.
    pub not_before: Option<Timestamp>,
}

/// A right that was given out.
#[derive(Clone, Debug)]
pub struct Issued {
    /// What its bearer shows.
    pub text: String,
    /// What it is called by whoever lists or ends it.
    pub id: TokenHash,
    /// When it ends.
    pub until: Timestamp,
}

/// A room token, as it is listed; its text is known to nobody but its bearer.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoomTokenEntry)]
pub struct ListedToken {
    /// What it is called.
    #[schema(value_type = String)]
    pub token_id: TokenHash,
    /// The only account that it is for.
    pub user_id: Option<UserId>,
    /// What its bearer is called.
    pub name: Option<String>,
    /// What its bearer may do.
    pub permissions: Permissions,
    /// Whether its bearer moderates.
    pub moderator: bool,
    /// When it begins; null: at once.
    pub not_before: Option<Timestamp>,
    /// When it ends.
    pub expires_at: Timestamp,
    /// How many may use it; null: all.
    pub max_uses: Option<u32>,
    /// How many have used it, where that is counted.
    pub uses: usize,
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
    ) -> Result<Issued> {
        let ttl = spec.ttl.unwrap_or(3600);
        if !(1..=86_400).contains(&ttl) {
            return Err(RoomError::Invalid("ttl", "ttl is 1 to 86400 seconds".into()));
        }
        if spec.max_uses.is_some_and(|uses| !(1..=1000).contains(&uses)) {
            let why = "maxUses is 1 to 1000; leave it out for a token without a bound";
            return Err(RoomError::Invalid("maxUses", why.into()));
        }
        let begin = spec.not_before.unwrap_or_default().max(self.now());
        if begin.since(self.now()) > AHEAD {
            let why = "notBefore is within the next 30 days";
            return Err(RoomError::Invalid("notBefore", why.into()));
        }
        let until = begin.after(Duration::from_secs(ttl));
        let text = super::secret();
        let token = RoomTokenRecord {
            hash: TokenHash::of(&text),
            room: id.clone(),
            user: spec.user_id,
            name: spec.name.map(Short::into_string),
            permissions: spec.permissions,
            moderator: spec.moderator,
            until,
            not_before: spec.not_before,
            max_uses: spec.max_uses,
            used_by: Vec::new(),
        };
        let hash = token.hash;
        self.ask(id, IssueToken { me, token }).await?;
        Ok(Issued { text, id: hash, until })
    }

    /// The tokens of a room that are good, or will be.
    pub async fn tokens(&self, id: &RoomId, me: Option<UserId>) -> Result<Vec<ListedToken>> {
        self.ask(id, ListTokens { me }).await
    }

    /// Takes a token back: it is stored that it ended, then those leave whom it let in.
    pub async fn revoke_token(
        &self,
        id: &RoomId,
        me: Option<UserId>,
        token: TokenHash,
    ) -> Result<()> {
        let room = self.outside.directory.room(id).ok_or(RoomError::NotFound)?;
        room.ask(RevokeToken { me, hash: token }).await?;
        room.note(Notice::EndToken(token));
        Ok(())
    }

    /// Notes who uses a token, where that is counted: stored before anything follows from it.
    pub(super) async fn use_token(
        &self,
        id: &RoomId,
        text: Option<&str>,
        user: UserId,
    ) -> Result<()> {
        let issued = text.and_then(|text| self.issued(text));
        match issued.filter(|(token, _)| token.counted) {
            Some((token, _)) => self.ask(id, UseToken { hash: token.hash, user }).await,
            None => Ok(()),
        }
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

/// Looks at the tokens of a room.
pub(super) struct ListTokens {
    me: Option<UserId>,
}

/// Takes a token back.
pub(super) struct RevokeToken {
    pub(super) me: Option<UserId>,
    pub(super) hash: TokenHash,
}

/// Notes who uses a token.
pub(super) struct UseToken {
    pub(super) hash: TokenHash,
    pub(super) user: UserId,
}

impl Rule for ListTokens {
    type Reply = Vec<ListedToken>;

    fn carry_out(self, room: &mut Room, with: &mut Context<'_>) -> Result<Vec<ListedToken>> {
        room.owned(self.me)?;
        let tokens = room.tokens.iter().filter(|token| token.until > with.now);
        Ok(tokens.map(ListedToken::from).collect())
    }
}

impl From<&RoomTokenRecord> for ListedToken {
    fn from(token: &RoomTokenRecord) -> Self {
        Self {
            token_id: token.hash,
            user_id: token.user,
            name: token.name.clone(),
            permissions: token.permissions.clone(),
            moderator: token.moderator,
            not_before: token.not_before,
            expires_at: token.until,
            max_uses: token.max_uses,
            uses: token.used_by.len(),
        }
    }
}

impl Rule for RevokeToken {
    type Reply = ();

    fn carry_out(self, room: &mut Room, with: &mut Context<'_>) -> Result<()> {
        room.owned(self.me)?;
        room.revoke_token(self.hash, self.me, with.now)
    }
}

impl Rule for UseToken {
    type Reply = ();

    fn carry_out(self, room: &mut Room, with: &mut Context<'_>) -> Result<()> {
        let Self { hash, user } = self;
        if room.is_banned(user) {
            return Err(RoomError::Banned);
        }
        let token = room.tokens.iter_mut().find(|it| it.hash == hash && it.is_good(with.now));
        let token = token.ok_or(RoomError::Token)?;
        if token.is_of(user) {
            return Ok(());
        }
        if !token.has_place_for(user) {
            return Err(RoomError::Token);
        }
        let before = Some(Box::new(token.clone()));
        token.used_by.push(user.value());
        let token = Box::new(token.clone());
        room.effects.push(Effect::Persist { token, before, happened: None, by: None });
        Ok(())
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
        let happened = Some(FactKind::RoomTokenIssued);
        let stored = Box::new(token.clone());
        room.effects.push(Effect::Persist { token: stored, before: None, happened, by: me });
        room.effects.push(issued);
        room.tokens.push(token);
        Ok(())
    }
}

impl Room {
    /// Makes a token what it was, as what it became could not be stored.
    pub(super) fn restore(&mut self, hash: TokenHash, before: Option<RoomTokenRecord>) {
        self.withdraw(hash);
        self.tokens.extend(before);
    }

    /// Forgets a token.
    pub(super) fn withdraw(&mut self, hash: TokenHash) {
        self.tokens.retain(|token| token.hash != hash);
    }

    /// Has it stored that a token has ended.
    pub(super) fn revoke_token(
        &mut self,
        hash: TokenHash,
        by: Option<UserId>,
        now: Timestamp,
    ) -> Result<()> {
        let token = self.tokens.iter_mut().find(|it| it.hash == hash && it.until > now);
        let token = token.ok_or(RoomError::NoToken)?;
        let before = Some(Box::new(token.clone()));
        token.until = now;
        let (token, happened) = (Box::new(token.clone()), Some(FactKind::RoomTokenRevoked));
        self.effects.push(Effect::Persist { token, before, happened, by });
        self.effects.push(Effect::Revoke(hash));
        Ok(())
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
        // What is compared are hashes of 122 random bits: how long that takes says nothing of the text.
        let token = self.tokens.iter().find(|token| token.hash == hash && token.is_good(now));
        let token = token.filter(|token| token.user.is_none_or(|bearer| bearer == user));
        let token = token.filter(|token| token.is_of(user));
        token.map(Some).ok_or(RoomError::Token)
    }
}
