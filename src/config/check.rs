//! What is impossible in a configuration, found without the outside.

use ipnet::IpNet;
use switchboard_media::Codec;

use super::error::ConfigError;
use super::{AuthMode, Config, Secret, Turn, TurnMode, endpoints, weakness};

type Checked = Result<(), ConfigError>;

fn wrong(key: &'static str, why: impl Into<String>) -> Checked {
    Err(ConfigError::Key { key, why: why.into() })
}

pub(super) fn check(config: &Config, dev: bool) -> Checked {
    if dev && config.server.environment == "production" {
        let why = "is production; --dev makes secrets up and refuses to run there";
        return wrong("server.environment", why);
    }
    if config.server.allowed_origins.iter().any(|origin| origin == "*") {
        let why = "\"*\" would let every page act for the user; name the origins";
        return wrong("server.allowed_origins", why);
    }
    check_store(config)?;
    check_auth(config)?;
    check_turn(&config.turn)?;
    check_secrets(config)?;
    check_relay(&config.turn)?;
    check_media(config)?;
    check_webhooks(config, dev)?;
    check_numbers(config)
}

fn check_store(config: &Config) -> Checked {
    let uri = config.store.mongodb_uri.expose();
    if uri.is_empty() {
        return Ok(());
    }
    if !uri.starts_with("mongodb://") && !uri.starts_with("mongodb+srv://") {
        return wrong("store.mongodb_uri", "must begin with mongodb:// or mongodb+srv://");
    }
    if cfg!(not(feature = "mongo")) {
        let why = "this build has no MongoDB; build it with the feature mongo";
        return wrong("store.mongodb_uri", why);
    }
    Ok(())
}

fn check_auth(config: &Config) -> Checked {
    let auth = &config.auth;
    if auth.mode == AuthMode::Introspect {
        let url = &auth.introspect_url;
        if url.starts_with("http://") || url.starts_with("https://") {
            return Ok(());
        }
        let why = "auth.mode = \"introspect\" needs the backend's address, http(s)://…";
        return wrong("auth.introspect_url", why);
    }
    let symmetric = |algorithm: &String| algorithm.starts_with("HS");
    if auth.algorithms.is_empty() {
        return wrong("auth.algorithms", "is empty; name at least one, such as \"HS256\"");
    }
    let has_public = !auth.public_keys.is_empty() || !auth.jwks_url.is_empty();
    if !auth.algorithms.iter().all(symmetric) && !has_public {
        let why = "auth.algorithms names public-key signatures, but neither public_keys nor jwks_url is set";
        return wrong("auth.public_keys", why);
    }
    match weakness(&auth.jwt_secret, 32) {
        Some(why) if auth.algorithms.iter().any(symmetric) => wrong("auth.jwt_secret", why),
        _ => Ok(()),
    }
}

fn check_secrets(config: &Config) -> Checked {
    // That of tokens is judged where tokens are.
    match weak_secrets(config).into_iter().find(|(key, _)| *key != "auth.jwt_secret") {
        Some((key, why)) => wrong(key, why),
        None => Ok(()),
    }
}

/// The secrets that are set although anybody can guess them, by key, with what is wrong and what to do.
pub fn weak_secrets(config: &Config) -> Vec<(&'static str, String)> {
    let Config { auth, metrics, turn, .. } = config;
    let mut weak = Vec::new();
    for (key, secret, least) in [
        ("auth.jwt_secret", &auth.jwt_secret, 32),
        ("auth.api_key", &auth.api_key, 16),
        ("metrics.token", &metrics.token, 16),
        ("turn.secret", &turn.secret, 16),
    ] {
        let why = weakness(secret, least).filter(|_| !secret.is_empty());
        weak.extend(why.map(|why| (key, why)));
    }
    for (name, word) in turn.users.expose().split(',').filter_map(|user| user.split_once(':')) {
        let why = weakness(&Secret::new(word), 8);
        weak.extend(why.map(|why| ("turn.users", format!("the password of {name:?} {why}"))));
    }
    weak
}

/// What is handed out of a relay, the embedded one or an external one.
fn check_turn(turn: &Turn) -> Checked {
    if !turn.external_urls.is_empty() && turn.secret.is_empty() {
        let why =
            "is not set although turn.external_urls names a relay; set the secret that relay has";
        return wrong("turn.secret", why);
    }
    if !(60..=86_400).contains(&turn.credential_ttl) {
        return wrong("turn.credential_ttl", "must be 60 to 86400 seconds");
    }
    if turn.tls_cert.is_empty() != turn.tls_key.is_empty() {
        return wrong("turn.tls_key", "goes with turn.tls_cert: set both files or neither");
    }
    if let Some(odd) = turn.allow_peers.iter().find(|range| range.parse::<IpNet>().is_err()) {
        let why = format!("{odd} is no range of addresses, such as \"10.1.0.0/16\"");
        return wrong("turn.allow_peers", why);
    }
    let named = |user: &str| {
        user.split_once(':').is_some_and(|(name, word)| !name.is_empty() && word.len() >= 8)
    };
    if !turn.users.is_empty() && !turn.users.expose().split(',').all(named) {
        let why = "must be name:password, each password of 8 characters at least";
        return wrong("turn.users", why);
    }
    Ok(())
}

/// What the embedded relay needs, when it is on.
fn check_relay(turn: &Turn) -> Checked {
    if turn.mode == TurnMode::Off {
        return Ok(());
    }
    if turn.secret.is_empty() {
        let why = "is not set although turn.mode opens the relay; make a random one";
        return wrong("turn.secret", why);
    }
    if turn.advertised_ips.is_empty() {
        let why = "is empty; name the address that clients reach this server at";
        return wrong("turn.advertised_ips", why);
    }
    let families = |v4: bool| turn.advertised_ips.iter().filter(|ip| ip.is_ipv4() == v4).count();
    if families(true) > 1 || families(false) > 1 {
        return wrong("turn.advertised_ips", "has two addresses of one family; name one of each");
    }
    if turn.ports.0 < 1024 || turn.ports.1 < turn.ports.0 {
        return wrong("turn.ports", "need 1024 <= first <= last");
    }
    if turn.permissions == 0 || turn.allocations == 0 || turn.allocations_per_user == 0 {
        let why = "and turn.allocations_per_user, turn.permissions: 0 would refuse every client";
        return wrong("turn.allocations", why);
    }
    Ok(())
}

fn check_media(config: &Config) -> Checked {
    if let Some(odd) = config.media.codecs.iter().find(|name| Codec::named(name).is_none()) {
        let why = format!("knows opus, vp8, vp9, h264, av1, not {odd:?}");
        return wrong("media.codecs", why);
    }
    if config.recordings.max_minutes == 0 || config.recordings.max_parallel == 0 {
        let why = "and recordings.max_parallel: 0 would record nothing; use recordings.start";
        return wrong("recordings.max_minutes", why);
    }
    if config.rooms.max_participants == 0 || config.rooms.tracks_per_participant == 0 {
        let why = "and rooms.tracks_per_participant: 0 would refuse every participant";
        return wrong("rooms.max_participants", why);
    }
    Ok(())
}

fn check_webhooks(config: &Config, dev: bool) -> Checked {
    let checked = endpoints::check(&config.webhooks, config.store.fact_days, dev);
    checked.or_else(|why| wrong("webhooks.endpoints", why))
}

fn check_numbers(config: &Config) -> Checked {
    for (key, value, least) in [
        ("limits.page", config.limits.page, 1),
        ("limits.page_max", config.limits.page_max, 1),
        ("limits.sessions_per_user", config.limits.sessions_per_user, 1),
        ("limits.devices_per_user", config.limits.devices_per_user, 1),
        ("limits.content_chars", config.limits.content_chars, 1),
        ("socket.max_payload", config.socket.max_payload, 4096),
        ("socket.queue_entries", config.socket.queue_entries, 16),
        ("webhooks.parallel", config.webhooks.parallel, 1),
        ("webhooks.pending", config.webhooks.pending, 16),
    ] {
        if value < least {
            return wrong(key, format!("is {value}; it needs at least {least}"));
        }
    }
    for (key, value, least, most) in [
        ("webhooks.deadline", config.webhooks.deadline, 1, 60),
        ("webhooks.retry_hours", config.webhooks.retry_hours, 1, 24 * 7),
        ("webhooks.keep_days", config.webhooks.keep_days, 1, 365),
    ] {
        if !(least..=most).contains(&value) {
            return wrong(key, format!("is {value}; it needs {least} to {most}"));
        }
    }
    if config.call.ring_timeout == 0 {
        return wrong("call.ring_timeout", "is 0; a call needs at least one second to ring");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(change: impl FnOnce(&mut Config)) -> Option<String> {
        let mut config = Config::default();
        config.auth.jwt_secret = Secret::new("kP9vQ2xLr7ZtB4mWcN8sHdF3gJ6yTaEu");
        change(&mut config);
        check(&config, false).err().map(|error| error.to_string())
    }

    #[test]
    fn the_defaults_with_a_secret_can_work() {
        assert_eq!(problem(|_| ()), None);
    }

    #[test]
    fn short_secrets_are_refused_however_tokens_are_checked() {
        let introspect = |config: &mut Config| {
            config.auth.mode = AuthMode::Introspect;
            config.auth.introspect_url = "https://backend.example".into();
        };
        assert_eq!(problem(introspect), None);
        let api_key = problem(|config| {
            introspect(config);
            config.auth.api_key = Secret::new("short");
        });
        assert!(api_key.is_some_and(|why| why.starts_with("auth.api_key: ")));
        let metrics = problem(|config| config.metrics.token = Secret::new("short"));
        assert!(metrics.is_some_and(|why| why.starts_with("metrics.token: ")));
    }

    #[test]
    fn every_secret_that_anybody_guesses_is_refused_by_its_key() {
        let guessed = || Secret::new("passwordpasswordpasswordpassword");
        let refused = |change: fn(&mut Config, Secret)| problem(|it| change(it, guessed()));
        for (key, found) in [
            ("auth.jwt_secret: ", refused(|config, guessed| config.auth.jwt_secret = guessed)),
            ("auth.api_key: ", refused(|config, guessed| config.auth.api_key = guessed)),
            ("metrics.token: ", refused(|config, guessed| config.metrics.token = guessed)),
            ("turn.secret: ", refused(|config, guessed| config.turn.secret = guessed)),
        ] {
            let why = found.unwrap_or_default();
            assert!(why.starts_with(key) && why.contains("openssl rand"), "{key}{why}");
            assert!(!why.contains("passwordpassword"), "{why}");
        }
        let users = problem(|it| it.turn.users = Secret::new("door:kP9vQ2xLr7,gate:12345678"));
        assert!(users.is_some_and(|why| why.starts_with("turn.users: the password of \"gate\" ")));
    }

    #[test]
    fn an_open_relay_without_an_address_is_refused() {
        let relay = problem(|config| {
            config.turn.mode = TurnMode::Open;
            config.turn.secret = Secret::new("kP9vQ2xLr7ZtB4mW");
        });
        assert!(relay.is_some_and(|why| why.starts_with("turn.advertised_ips: ")));
    }
}
