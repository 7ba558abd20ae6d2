//! Lists of host names in a configuration: `chat.example.net`, or an address.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Host names as `Host` headers have them, without their ports; capitals and a last dot make no difference (RFC 9110 §7.2).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HostNames(Vec<String>);

impl HostNames {
    /// Whether none is listed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a host, with or without a port, is listed.
    pub fn contains(&self, host: &str) -> bool {
        let host = Self::bare(host);
        self.0.contains(&host)
    }

    /// A host without its port, its brackets and its last dot, in small letters.
    pub fn bare(host: &str) -> String {
        let host = host.trim();
        let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, port)) if is_port(port) => address,
            Some(_) => host,
            // Of more colons than one, it is an address of IPv6.
            None if host.matches(':').count() == 1 => host
                .split_once(':')
                .filter(|(_, port)| is_digits(port))
                .map_or(host, |(name, _)| name),
            None => host,
        };
        name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
    }
}

fn is_digits(port: &str) -> bool {
    port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_port(port: &str) -> bool {
    port.is_empty() || port.strip_prefix(':').is_some_and(is_digits)
}

/// A name that a request can have.
fn name(text: &str) -> Result<String, String> {
    let bare = HostNames::bare(text);
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    if bare.is_empty() || !bare.bytes().all(legal) {
        return Err(format!(
            "\"{text}\" is no host name such as \"chat.example.net\" (no scheme, no path, no *)"
        ));
    }
    Ok(bare)
}

impl<T: AsRef<str>> FromIterator<T> for HostNames {
    /// Leaves out what is no name; a configuration file is read by `Deserialize`, which refuses it.
    fn from_iter<I: IntoIterator<Item = T>>(texts: I) -> Self {
        Self(texts.into_iter().filter_map(|text| name(text.as_ref()).ok()).collect())
    }
}

impl<'de> Deserialize<'de> for HostNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let names = texts.iter().map(|text| name(text)).collect::<Result<_, _>>();
        names.map(Self).map_err(de::Error::custom)
    }
}

impl Serialize for HostNames {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_with_any_port_and_in_any_case() {
        let names: HostNames =
            serde_json::from_str(r#"["Chat.example", "::1", "192.0.2.7:3001"]"#).unwrap();
        for host in
            ["chat.example", "CHAT.example.:443", "[::1]:3001", "::1", "192.0.2.7", "chat.example:"]
        {
            assert!(names.contains(host), "{host}");
        }
        for host in [
            "example",
            "chat.example.evil",
            "[::1]x",
            "chat.example:80:80",
            "chat.example:port",
            "",
        ] {
            assert!(!names.contains(host), "{host}");
        }
    }

    #[test]
    fn what_is_no_name_is_named() {
        for odd in ["https://chat.example", "*.example", "", "a b", "chat.example/path"] {
            let error = serde_json::from_str::<HostNames>(&format!("[{odd:?}]")).unwrap_err();
            assert!(error.to_string().contains(&format!("{odd:?}")), "{error}");
        }
    }
}
