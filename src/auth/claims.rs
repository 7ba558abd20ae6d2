//! The claims of a token, and the identity they make.

use serde::Deserialize;
use serde_json::Value;

use super::AuthError;
use crate::clock::Timestamp;
use crate::event::Role;
use crate::ids::UserId;

/// Who a request or a socket acts for.
#[derive(Clone, Debug, Eq, PartialEq)]
#[allow(missing_docs)]
pub struct Identity {
    pub user_id: UserId,
    pub uid: Option<String>,
    pub email: Option<String>,
    pub name: Option<String>,
    pub role: Role,
    pub user_type: Option<String>,
    /// When the token was issued, where it says so.
    pub issued_at: Option<Timestamp>,
    /// When the token ends.
    pub expires_at: Timestamp,
}

/// Claims of the original (`user_id`, `uid`, `email`, `exp`) and of this contract. A claim that stands twice is refused.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    user_id: UserId,
    exp: Value,
    nbf: Option<Value>,
    iat: Option<Value>,
    uid: Option<Value>,
    email: Option<String>,
    name: Option<String>,
    #[serde(default)]
    role: Role,
    user_type: Option<String>,
}

impl Claims {
    /// Checks the times against `now`, with `leeway` seconds either way.
    pub(super) fn identity(self, now: Timestamp, leeway: u64) -> Result<Identity, AuthError> {
        let leeway = i64::try_from(leeway).unwrap_or(0);
        let exp = seconds(&self.exp).ok_or(AuthError::Invalid("exp"))?;
        for (claim, time) in [("nbf", &self.nbf), ("iat", &self.iat)] {
            let Some(time) = time else { continue };
            let ahead = seconds(time).ok_or(AuthError::Invalid(claim))? - now.seconds();
            if ahead > leeway {
                return Err(AuthError::NotYet { claim, seconds: ahead, leeway });
            }
        }
        if exp.saturating_add(leeway) <= now.seconds() {
            return Err(AuthError::Expired);
        }
        Ok(Person {
            user_id: self.user_id,
            uid: self.uid,
            email: self.email,
            name: self.name,
            role: self.role,
            user_type: self.user_type,
            issued_at: self
                .iat
                .as_ref()
                .and_then(seconds)
                .map(|iat| Timestamp(iat.saturating_mul(1000))),
            expires_at: Timestamp(exp.saturating_mul(1000)),
        }
        .fitting())
    }
}

/// What somebody outside says of a person: the issuer of a token, or the backend.
pub(super) struct Person {
    pub(super) user_id: UserId,
    pub(super) uid: Option<Value>,
    pub(super) email: Option<String>,
    pub(super) name: Option<String>,
    pub(super) role: Role,
    pub(super) user_type: Option<String>,
    pub(super) issued_at: Option<Timestamp>,
    pub(super) expires_at: Timestamp,
}

impl Person {
    /// The identity, without what is too long or has control characters.
    pub(super) fn fitting(self) -> Identity {
        Identity {
            user_id: self.user_id,
            uid: self.uid.and_then(|uid| text(&uid)),
            email: self.email.filter(|email| fits(email, 254)),
            name: self.name.filter(|name| fits(name, 120)),
            role: self.role,
            user_type: self.user_type.filter(|kind| fits(kind, 40)),
            issued_at: self.issued_at,
            expires_at: self.expires_at,
        }
    }
}

/// Seconds since 1970 as an integer or a finite number in range (RFC 7519 §2, NumericDate).
fn seconds(value: &Value) -> Option<i64> {
    const LAST: f64 = 253_402_300_800.0; // the year 10000
    let number = value.as_f64()?;
    #[allow(clippy::cast_possible_truncation)]
    (0.0..LAST).contains(&number).then_some(number as i64)
}

fn text(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    fits(&text, 64).then_some(text)
}

fn fits(text: &str, most: usize) -> bool {
    !text.is_empty() && text.chars().count() <= most && !text.contains(char::is_control)
}
