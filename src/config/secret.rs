//! Secrets: never printed, and compared in a time that says nothing of them.

use std::borrow::Cow;

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

/// A text that no log, dump or error shows.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether a text is this secret, in a time that does not depend on where they differ.
    pub fn is(&self, text: &str) -> bool {
        let [ours, theirs] = [self.0.as_str(), text].map(|text| digest(&SHA256, text.as_bytes()));
        let pairs = ours.as_ref().iter().zip(theirs.as_ref());
        std::hint::black_box(pairs.fold(0, |differs, (one, other)| differs | (one ^ other))) == 0
    }

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.is(&other.0)
    }
}

impl Eq for Secret {}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_empty() { "\"\"" } else { "\"***\"" })
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.is_empty() { "" } else { "***" })
    }
}

/// What an address shows of itself: the user and the password in it are `***`, and so are the values of its query except for
/// the transport of a TURN address and for placeholders.
pub fn without_secrets(text: &str) -> Cow<'_, str> {
    let (before, query) = match text.split_once('?') {
        Some((before, query)) => (before, Some(query)),
        None => (text, None),
    };
    let shown = without_user(before);
    let Some(query) = query.filter(|_| is_address(text)) else {
        return match shown {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            Cow::Owned(shown) => match query {
                Some(query) => Cow::Owned(format!("{shown}?{query}")),
                None => Cow::Owned(shown),
            },
        };
    };
    let (query, fragment) = match query.split_once('#') {
        Some((query, fragment)) => (query, Some(fragment)),
        None => (query, None),
    };
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, value)) if !is_plain(name, value) => format!("{name}=***"),
        _ => pair.to_owned(),
    });
    let query = pairs.collect::<Vec<_>>().join("&");
    let fragment = fragment.map(|fragment| format!("#{fragment}")).unwrap_or_default();
    Cow::Owned(format!("{shown}?{query}{fragment}"))
}

/// Whether a text is an address rather than words with a question mark in them.
fn is_address(text: &str) -> bool {
    let scheme = text.split_once(':').map(|(scheme, _)| scheme);
    let named = |scheme: &str| {
        !scheme.is_empty()
            && scheme.bytes().all(|it| it.is_ascii_alphanumeric() || b"+-.".contains(&it))
    };
    text.starts_with('/') || scheme.is_some_and(named)
}

fn is_plain(name: &str, value: &str) -> bool {
    let placeholder = value.starts_with('{') && value.ends_with('}');
    placeholder || name == "transport" && ["udp", "tcp"].contains(&value)
}

fn without_user(text: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = text.split_once(':').filter(|_| is_address(text)) else {
        return Cow::Borrowed(text);
    };
    let (slashes, rest) = rest.strip_prefix("//").map_or(("", rest), |rest| ("//", rest));
    // A password may hold a slash that should have been escaped: whatever stands before the last @ is hidden.
    match rest.rsplit_once('@') {
        Some((_, host)) => Cow::Owned(format!("{scheme}:{slashes}***@{host}")),
        None => Cow::Borrowed(text),
    }
}

/// Hides what is secret in the addresses among the values of a configuration.
pub fn hide_in_addresses(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(shown) = without_secrets(text) {
                *text = shown;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(hide_in_addresses),
        Value::Object(values) => values.values_mut().for_each(hide_in_addresses),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_as_stars_and_equals_itself_alone() {
        let secret = Secret::new("kP9vQ2xLr7ZtB4mWcN8sHdF3gJ6yTaEu");
        assert_eq!(format!("{secret:?}"), "\"***\"");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"***\"");
        assert!(secret.is("kP9vQ2xLr7ZtB4mWcN8sHdF3gJ6yTaEu") && secret == secret.clone());
        for other in ["", "kP9vQ2xLr7ZtB4mWcN8sHdF3gJ6yTaEv", "kP9vQ2xLr7ZtB4mWcN8sHdF3gJ6yTaEuu"] {
            assert!(!secret.is(other), "{other}");
        }
    }

    #[test]
    fn addresses_show_neither_users_nor_the_values_of_queries() {
        for (text, shown) in [
            ("https://backend.example/keys", "https://backend.example/keys"),
            ("https://u:p@backend.example/keys", "https://***@backend.example/keys"),
            ("https://u:p/@q@backend.example", "https://***@backend.example"),
            ("https://token@backend.example?a=b&c", "https://***@backend.example?a=***&c"),
            ("https://b.example/k?key=v#part", "https://b.example/k?key=***#part"),
            ("mongodb+srv://u:p@h/d?authSource=x", "mongodb+srv://***@h/d?authSource=***"),
            (
                "turn:user:word@relay.example:3478?transport=udp",
                "turn:***@relay.example:3478?transport=udp",
            ),
            ("/demo/room?room={roomId}#token={token}", "/demo/room?room={roomId}#token={token}"),
            ("warn,switchboard=info", "warn,switchboard=info"),
            ("mailto@example", "mailto@example"),
        ] {
            assert_eq!(without_secrets(text), shown);
        }
        let mut value = serde_json::json!({ "a": ["http://u:p@h"], "b": { "c": "http://h?k=v" } });
        hide_in_addresses(&mut value);
        assert_eq!(
            value,
            serde_json::json!({ "a": ["http://***@h"], "b": { "c": "http://h?k=***" } })
        );
    }
}
