//! What an endpoint of webhooks says, made usable: its address, the key that its requests are signed by, the events that it wants.

use std::net::{IpAddr, Ipv6Addr};

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use reqwest::Url;

use super::{Secret, WebhookEndpoint, Webhooks, weakness};
use crate::fact::FactKind;

/// How many endpoints there may be.
const MOST: usize = 16;
/// How many bytes a key has: <https://www.standardwebhooks.com>, "Signature scheme".
const KEY: std::ops::RangeInclusive<usize> = 24..=64;

/// Base64 with or without its padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl WebhookEndpoint {
    /// Where its requests go; `http` is for loopback, and with `--dev`.
    pub fn address(&self, dev: bool) -> Result<Url, String> {
        let url = Url::parse(&self.url)
            .map_err(|error| format!("url: {error}; name an address such as https://…"))?;
        let local = url.host_str().is_some_and(is_loopback);
        match url.scheme() {
            "https" => Ok(url),
            "http" if local || dev => Ok(url),
            "http" => Err("url: http shows everybody on the way what happened; use https".into()),
            other => Err(format!("url: {other} is no scheme for webhooks; use https")),
        }
    }

    /// The key that its requests are signed by.
    pub fn key(&self, all: &Secret) -> Result<Vec<u8>, String> {
        let secret = if self.secret.is_empty() { all } else { &self.secret };
        if secret.is_empty() {
            let why = "secret: is not set; set webhooks.secret, or the endpoint's secret or secret_file, to a random one: echo \"whsec_$(openssl rand -base64 32)\"";
            return Err(why.into());
        }
        let text = secret.expose();
        let wrong = |why| format!("secret: {why}");
        let Some(encoded) = text.strip_prefix("whsec_") else {
            return weakness(secret, 32).map_or_else(|| Ok(text.into()), |why| Err(wrong(why)));
        };
        let key = BASE64.decode(encoded).map_err(|_| {
            wrong(
                "behind whsec_ must stand base64: echo \"whsec_$(openssl rand -base64 32)\"".into(),
            )
        })?;
        if !KEY.contains(&key.len()) {
            let (least, most, has) = (KEY.start(), KEY.end(), key.len());
            return Err(wrong(format!(
                "has {has} bytes behind whsec_; it needs {least} to {most}"
            )));
        }
        match weakness(&Secret::new(encoded), 32) {
            Some(why) => Err(wrong(why)),
            None => Ok(key),
        }
    }

    /// Whether it wants to know of such facts.
    pub fn wants(&self, kind: FactKind) -> bool {
        self.events.is_empty() || self.events.iter().any(|pattern| matches(pattern, kind))
    }
}

fn matches(pattern: &str, kind: FactKind) -> bool {
    let name = kind.to_string();
    match pattern.strip_suffix('*') {
        Some("") => true,
        Some(group) => group.ends_with('.') && name.starts_with(group),
        None => name == pattern,
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost"
        || bare.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_loopback())
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// What is wrong with the section.
pub(super) fn check(webhooks: &Webhooks, fact_days: u64, dev: bool) -> Result<(), String> {
    let mut names = std::collections::BTreeSet::new();
    for endpoint in &webhooks.endpoints {
        let name = &endpoint.name;
        let plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        if !(1..=40).contains(&name.len()) || !name.bytes().all(plain) {
            return Err(format!("the name {name:?} needs 1 to 40 small letters, digits, - and _"));
        }
        if !names.insert(name) {
            return Err(format!("two have the name {name:?}; give each its own"));
        }
        let in_endpoint = |why: String| format!("{name}: {why}");
        endpoint.address(dev).map_err(in_endpoint)?;
        endpoint.key(&webhooks.secret).map_err(in_endpoint)?;
        let odd = |pattern: &&String| !FactKind::ALL.iter().any(|kind| matches(pattern, *kind));
        if let Some(odd) = endpoint.events.iter().find(odd) {
            let all: Vec<String> = FactKind::ALL.iter().map(ToString::to_string).collect();
            let all = all.join(", ");
            return Err(in_endpoint(format!("events: nothing is called {odd:?}; there are {all}")));
        }
    }
    if webhooks.endpoints.len() > MOST {
        return Err(format!("has {} endpoints; {MOST} are possible", webhooks.endpoints.len()));
    }
    if !webhooks.endpoints.is_empty() && fact_days < 2 {
        return Err("needs store.fact_days of 2 at least: what is forgotten is not sent".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANDOM: &str = "whsec_kP9vQ2xLr7ZtB4mWcN8sHdF3gJ6yTaEuU1oXbVq0Yzc=";

    fn endpoint(name: &str, url: &str) -> WebhookEndpoint {
        WebhookEndpoint { name: name.into(), url: url.into(), ..WebhookEndpoint::default() }
    }

    fn section(endpoints: Vec<WebhookEndpoint>) -> Webhooks {
        Webhooks { endpoints, secret: Secret::new(RANDOM), ..Webhooks::default() }
    }

    fn problem(endpoints: Vec<WebhookEndpoint>) -> String {
        check(&section(endpoints), 30, false).err().unwrap_or_default()
    }

    #[test]
    fn addresses_are_https_but_for_loopback_and_development() {
        let dev = |url: &str| check(&section(vec![endpoint("a", url)]), 30, true).is_ok();
        for (url, strict, loose) in [
            ("https://app.example/hooks", true, true),
            ("https://10.0.0.7/hooks", true, true),
            ("http://localhost:8000/", true, true),
            ("http://127.0.0.9/", true, true),
            ("http://[::1]:80/", true, true),
            ("http://app.example/hooks", false, true),
            ("http://localhost.example/", false, true),
            ("ftp://app.example/", false, false),
            ("app.example/hooks", false, false),
            ("", false, false),
        ] {
            let why = problem(vec![endpoint("a", url)]);
            assert_eq!((why.is_empty(), dev(url)), (strict, loose), "{url}: {why}");
            assert!(strict || why.starts_with("a: url: "), "{why}");
        }
    }

    #[test]
    fn a_secret_is_random_and_has_the_length_that_the_standard_wants() {
        let key = |text: &str| {
            let secret = Secret::new(text);
            WebhookEndpoint { secret, ..endpoint("a", "https://a.example") }.key(&Secret::default())
        };
        assert_eq!(key(RANDOM).unwrap().len(), 32);
        assert_eq!(key(RANDOM.trim_end_matches('=')), key(RANDOM));
        assert_eq!(
            key("kP9vQ2xLr7ZtB4mWcN8sHdF3gJ6yTaEu").unwrap(),
            b"kP9vQ2xLr7ZtB4mWcN8sHdF3gJ6yTaEu"
        );
        for (text, why) in [
            ("", "is not set"),
            ("whsec_", "has 0 bytes"),
            ("whsec_c2hvcnQ=", "has 5 bytes"),
            ("whsec_not base64", "must stand base64"),
            ("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "openssl rand"),
            ("short", "openssl rand"),
            ("passwordpasswordpasswordpassword", "openssl rand"),
        ] {
            let error = key(text).unwrap_err();
            assert!(error.starts_with("secret: ") && error.contains(why), "{text}: {error}");
            assert!(text.len() < 10 || !error.contains(text), "{error}");
        }
        let all = Secret::new(RANDOM);
        assert_eq!(endpoint("a", "https://a.example").key(&all), key(RANDOM), "the common one");
    }

    #[test]
    fn events_are_names_or_groups_and_unknown_ones_are_named() {
        let wanting = |events: &[&str]| {
            let events = events.iter().map(ToString::to_string).collect();
            WebhookEndpoint { events, ..endpoint("a", "https://a.example") }
        };
        let of = |events: &[&str]| {
            let endpoint = wanting(events);
            FactKind::ALL.iter().filter(|kind| endpoint.wants(**kind)).count()
        };
        assert_eq!(of(&[]), FactKind::ALL.len());
        assert_eq!(of(&["*"]), FactKind::ALL.len());
        assert_eq!(of(&["call.ended", "call.rated"]), 2);
        let calls = FactKind::ALL.iter().filter(|kind| kind.to_string().starts_with("call."));
        assert_eq!(of(&["call.*"]), calls.count());
        for odd in ["call.exploded", "cal*", "calls.*", "", "CALL.ENDED"] {
            let why = problem(vec![wanting(&["call.*", odd])]);
            assert!(why.contains(&format!("{odd:?}")) && why.contains("call.ended"), "{why}");
        }
    }

    #[test]
    fn names_are_unique_and_facts_are_kept_long_enough() {
        let good = || endpoint("a", "https://a.example");
        assert_eq!(problem(vec![good(), endpoint("b-2_x", "https://a.example")]), "");
        assert!(problem(vec![good(), good()]).contains("two have the name \"a\""));
        for name in ["", "A", "a b", "ä", &"a".repeat(41)] {
            assert!(problem(vec![endpoint(name, "https://a.example")]).contains("needs 1 to 40"));
        }
        let many = (0..17).map(|n| endpoint(&format!("e{n}"), "https://a.example"));
        assert!(problem(many.collect()).contains("16"));
        assert!(check(&section(vec![good()]), 1, false).unwrap_err().contains("fact_days"));
        assert_eq!(check(&section(vec![]), 0, false), Ok(()));
    }
}
