//! Reads the configuration from its four sources and checks what can be checked without the outside.

use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use ipnet::IpNet;
use switchboard_media::Codec;

use super::{AuthMode, Config, LogFormat, RoomCreate, Secret, Turn, TurnMode, weakness};

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A source cannot be read or holds something impossible.
    #[error("{0}")]
    Source(String),
    /// A key has a value that cannot work.
    #[error("{key}: {why}")]
    Key {
        /// Section and key.
        key: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--config`: the file; without it `config.toml` is read when present.
    pub config: Option<PathBuf>,
    /// `--dev`.
    pub dev: bool,
    /// Where secrets that `--dev` makes up are kept.
    pub data: PathBuf,
}

const SECRETS: &[&str] = &[
    "auth.jwt_secret",
    "auth.api_key",
    "store.mongodb_uri",
    "turn.secret",
    "turn.users",
    "metrics.token",
];

/// The effective configuration.
pub fn load(flags: &Flags) -> Result<Config, ConfigError> {
    let mut figment = file(flags)?;
    figment = figment.merge(original_environment());
    figment = own_environment(figment)?;
    if flags.dev {
        figment = dev_defaults(figment, flags)?;
    }
    let mut config: Config =
        figment.extract().map_err(|error| ConfigError::Source(explain(&error)))?;
    check(&config, flags)?;
    if config.recordings.dir.is_empty() {
        config.recordings.dir = flags.data.join("recordings").to_string_lossy().into_owned();
    }
    Ok(config)
}

fn explain(error: &figment::Error) -> String {
    let source =
        error.metadata.as_ref().map(|source| format!(" (in {})", source.name)).unwrap_or_default();
    let path = error.path.join(".");
    if path.is_empty() {
        format!("{}{source}", error.kind)
    } else {
        format!("{path}: {}{source}", error.kind)
    }
}

fn file(flags: &Flags) -> Result<Figment, ConfigError> {
    let path = flags.config.clone().unwrap_or_else(|| "config.toml".into());
    match std::fs::read_to_string(&path) {
        // A file that spells out the defaults, as ours does, leaves room for those of `--dev`.
        Ok(text) if flags.dev => Ok(Figment::new().merge(without_defaults(&text)?)),
        Ok(text) => Ok(Figment::new().merge(Toml::string(&text))),
        Err(error) if flags.config.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            Ok(Figment::new())
        }
        Err(error) => Err(ConfigError::Source(format!("cannot read {}: {error}", path.display()))),
    }
}

fn without_defaults(text: &str) -> Result<Serialized<serde_json::Value>, ConfigError> {
    let unreadable = |error: figment::Error| ConfigError::Source(explain(&error));
    let mut value: serde_json::Value =
        Figment::new().merge(Toml::string(text)).extract().map_err(unreadable)?;
    let known = serde_json::to_value(Config::default()).unwrap_or_default();
    for (name, section) in value.as_object_mut().into_iter().flatten() {
        if let (Some(keys), Some(defaults)) = (section.as_object_mut(), known.get(name)) {
            keys.retain(|key, value| defaults.get(key) != Some(value));
        }
    }
    Ok(Serialized::defaults(value))
}

/// The variables of the service that this one replaces.
fn original_environment() -> Figment {
    let mut figment = Figment::new();
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(port) = set("PORT") {
        let number = port
            .parse::<u16>()
            .map_or_else(|_| figment::value::Value::from(port), figment::value::Value::from);
        figment = figment.merge(Serialized::default("server.port", number));
    }
    for (name, key) in [
        ("NODE_ENV", "server.environment"),
        ("MONGODB_URI", "store.mongodb_uri"),
        ("JWT_SECRET", "auth.jwt_secret"),
        ("DJANGO_BASE_URL", "auth.introspect_url"),
    ] {
        if let Some(value) = set(name) {
            figment = figment.merge(Serialized::default(key, value));
        }
    }
    for (name, key) in
        [("ALLOWED_ORIGINS", "server.allowed_origins"), ("STUN_SERVER", "ice.stun_servers")]
    {
        if let Some(value) = set(name) {
            let list: Vec<&str> =
                value.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
            figment = figment.merge(Serialized::default(key, list));
        }
    }
    figment
}

fn own_environment(mut figment: Figment) -> Result<Figment, ConfigError> {
    let variable = |key: &str| format!("SWITCHBOARD_{}", key.replace('.', "__").to_uppercase());
    let special = |key: &figment::value::UncasedStr| {
        let key = key.as_str().to_lowercase();
        let bare = key.strip_suffix("_file").unwrap_or(&key);
        !SECRETS.contains(&bare.replace("__", ".").as_str())
    };
    figment = figment.merge(Env::prefixed("SWITCHBOARD_").filter(special).split("__"));
    for key in SECRETS {
        if let Ok(value) = std::env::var(variable(key)) {
            figment = figment.merge(Serialized::default(key, value));
        }
        if let Ok(path) = std::env::var(format!("{}_FILE", variable(key))) {
            let text = std::fs::read_to_string(&path);
            let text = text.map_err(|error| {
                ConfigError::Source(format!("{}_FILE: cannot read {path}: {error}", variable(key)))
            })?;
            figment = figment.merge(Serialized::default(key, text.trim_end_matches(['\r', '\n'])));
        }
    }
    Ok(figment)
}

/// Where guests of the demo are sent.
const DEMO_ROOM: &str = "/demo/room?room={roomId}#token={token}";

/// What `--dev` fills in where nothing is set.
fn dev_defaults(figment: Figment, flags: &Flags) -> Result<Figment, ConfigError> {
    let mut joined = figment;
    joined = joined.join(Serialized::default("server.host", "127.0.0.1"));
    joined = joined.join(Serialized::default("server.log_format", LogFormat::Text));
    joined = joined.join(Serialized::default("server.log_level", "warn,switchboard=info"));
    joined = joined.join(Serialized::default("server.drain_delay", 0));
    joined = joined.join(Serialized::default("ice.stun_servers", Vec::<String>::new()));
    let secret = dev_secret(&flags.data)?;
    joined = joined.join(Serialized::default("turn.secret", format!("turn-{secret}")));
    joined = joined.join(Serialized::default("rooms.create", RoomCreate::Anyone));
    joined = joined.join(Serialized::default("rooms.join_url", DEMO_ROOM));
    if joined.find_value("media.host").is_err() {
        joined = joined.join(Serialized::default("media.host", "127.0.0.1"));
        joined = joined.join(Serialized::default("media.udp_port", 0));
    }
    if joined.find_value("turn.mode").is_err() {
        joined = joined.join(Serialized::default("turn.mode", TurnMode::Open));
        joined = joined.join(Serialized::default("turn.host", "127.0.0.1"));
        joined = joined.join(Serialized::default("turn.port", 0));
        joined = joined.join(Serialized::default("turn.tls_port", 0));
        joined = joined.join(Serialized::default("turn.advertised_ips", ["127.0.0.1"]));
    }
    Ok(joined.join(Serialized::default("auth.jwt_secret", secret)))
}

/// A random secret, kept so that tokens outlive a restart.
fn dev_secret(data: &Path) -> Result<String, ConfigError> {
    let path = data.join("dev-secret");
    if let Ok(known) = std::fs::read_to_string(&path) {
        return Ok(known.trim().to_owned());
    }
    let made = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
    let written = std::fs::create_dir_all(data).and_then(|()| write_private(&path, &made));
    written.map_err(|error| {
        ConfigError::Source(format!("cannot write {}: {error}", path.display()))
    })?;
    Ok(made)
}

#[cfg(unix)]
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}

#[cfg(not(unix))]
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    std::fs::write(path, text)
}

fn check(config: &Config, flags: &Flags) -> Result<(), ConfigError> {
    let wrong = |key, why: &str| Err(ConfigError::Key { key, why: why.into() });
    if flags.dev && config.server.environment == "production" {
        return wrong(
            "server.environment",
            "is production; --dev makes secrets up and refuses to run there",
        );
    }
    let uri = config.store.mongodb_uri.expose();
    if !uri.is_empty() && !uri.starts_with("mongodb://") && !uri.starts_with("mongodb+srv://") {
        return wrong("store.mongodb_uri", "must begin with mongodb:// or mongodb+srv://");
    }
    if !uri.is_empty() && cfg!(not(feature = "mongo")) {
        return wrong(
            "store.mongodb_uri",
            "this build has no MongoDB; build it with the feature mongo",
        );
    }
    check_auth(config)?;
    check_turn(&config.turn)?;
    if let Some(odd) = config.media.codecs.iter().find(|name| Codec::named(name).is_none()) {
        return wrong("media.codecs", &format!("knows opus, vp8, vp9, h264, av1, not {odd:?}"));
    }
    if config.recordings.max_minutes == 0 || config.recordings.max_parallel == 0 {
        return wrong(
            "recordings.max_minutes",
            "and recordings.max_parallel: 0 would record nothing; use recordings.start",
        );
    }
    if config.rooms.max_participants == 0 || config.rooms.tracks_per_participant == 0 {
        return wrong(
            "rooms.max_participants",
            "and rooms.tracks_per_participant: 0 would refuse everybody",
        );
    }
    if config.server.allowed_origins.iter().any(|origin| origin == "*") {
        return wrong(
            "server.allowed_origins",
            "\"*\" would let every page act for the user; name the origins",
        );
    }
    for (key, value, least) in [
        ("limits.page", config.limits.page, 1),
        ("limits.page_max", config.limits.page_max, 1),
        ("limits.sessions_per_user", config.limits.sessions_per_user, 1),
        ("limits.content_chars", config.limits.content_chars, 1),
        ("socket.max_payload", config.socket.max_payload, 4096),
        ("socket.queue_entries", config.socket.queue_entries, 16),
    ] {
        if value < least {
            return Err(ConfigError::Key {
                key,
                why: format!("is {value}; it needs at least {least}"),
            });
        }
    }
    if config.call.ring_timeout == 0 {
        return wrong("call.ring_timeout", "is 0; a call needs at least one second to ring");
    }
    Ok(())
}

fn check_turn(turn: &Turn) -> Result<(), ConfigError> {
    let wrong = |key, why: &str| Err(ConfigError::Key { key, why: why.into() });
    if !turn.external_urls.is_empty() && turn.secret.is_empty() {
        return wrong(
            "turn.secret",
            "is not set although turn.external_urls names a relay; set the secret that relay has",
        );
    }
    if !(60..=86_400).contains(&turn.credential_ttl) {
        return wrong("turn.credential_ttl", "must be 60 to 86400 seconds");
    }
    if turn.tls_cert.is_empty() != turn.tls_key.is_empty() {
        return wrong("turn.tls_key", "goes with turn.tls_cert: set both files or neither");
    }
    if let Some(odd) = turn.allow_peers.iter().find(|range| range.parse::<IpNet>().is_err()) {
        let why = format!("{odd} is no range of addresses, such as \"10.1.0.0/16\"");
        return wrong("turn.allow_peers", &why);
    }
    let named = |user: &str| {
        user.split_once(':').is_some_and(|(name, word)| !name.is_empty() && word.len() >= 8)
    };
    if !turn.users.is_empty() && !turn.users.expose().split(',').all(named) {
        return wrong(
            "turn.users",
            "must be name:password, each password of 8 characters at least",
        );
    }
    if turn.mode == TurnMode::Off {
        return Ok(());
    }
    if turn.secret.is_empty() {
        return wrong(
            "turn.secret",
            "is not set although turn.mode opens the relay; make a random one",
        );
    }
    if turn.advertised_ips.is_empty() {
        return wrong(
            "turn.advertised_ips",
            "is empty; name the address that clients reach this server at",
        );
    }
    let families = |v4: bool| turn.advertised_ips.iter().filter(|ip| ip.is_ipv4() == v4).count();
    if families(true) > 1 || families(false) > 1 {
        return wrong("turn.advertised_ips", "has two addresses of one family; name one of each");
    }
    if turn.ports.0 < 1024 || turn.ports.1 < turn.ports.0 {
        return wrong("turn.ports", "need 1024 <= first <= last");
    }
    if turn.permissions == 0 || turn.allocations == 0 || turn.allocations_per_user == 0 {
        return wrong(
            "turn.allocations",
            "and turn.allocations_per_user, turn.permissions: 0 would refuse everybody",
        );
    }
    Ok(())
}

fn check_auth(config: &Config) -> Result<(), ConfigError> {
    let auth = &config.auth;
    let wrong = |key, why: String| Err(ConfigError::Key { key, why });
    if auth.mode == AuthMode::Introspect {
        let set = auth.introspect_url.starts_with("http://")
            || auth.introspect_url.starts_with("https://");
        return if set {
            Ok(())
        } else {
            wrong(
                "auth.introspect_url",
                "auth.mode = \"introspect\" needs the backend's address, http(s)://…".into(),
            )
        };
    }
    let has_public = !auth.public_keys.is_empty() || !auth.jwks_url.is_empty();
    let symmetric = auth.algorithms.iter().any(|algorithm| algorithm.starts_with("HS"));
    if auth.algorithms.is_empty() {
        return wrong("auth.algorithms", "is empty; name at least one, such as \"HS256\"".into());
    }
    if auth.algorithms.iter().any(|algorithm| !algorithm.starts_with("HS")) && !has_public {
        return wrong("auth.public_keys", "auth.algorithms names public-key signatures, but neither public_keys nor jwks_url is set".into());
    }
    if symmetric && let Some(why) = weakness(&auth.jwt_secret) {
        return wrong("auth.jwt_secret", why);
    }
    for (key, secret) in [
        ("auth.api_key", &auth.api_key),
        ("metrics.token", &config.metrics.token),
        ("turn.secret", &config.turn.secret),
    ] {
        if !secret.is_empty() && short(secret) {
            return wrong(key, "has fewer than 16 bytes; make a random one".into());
        }
    }
    Ok(())
}

fn short(secret: &Secret) -> bool {
    secret.expose().len() < 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dev_fills_in_what_a_file_leaves_at_its_default() {
        let value =
            without_defaults("[server]\nport = 3001\nhost = \"::1\"\ndrain_delay = 5\n").unwrap();
        let left: serde_json::Value = Figment::new().merge(value).extract().unwrap();
        assert_eq!(left, serde_json::json!({ "server": { "host": "::1" } }));
    }

    #[test]
    fn config_toml_holds_every_key_with_its_default() {
        let value: serde_json::Value = Figment::new()
            .merge(Toml::string(include_str!("../../config.toml")))
            .extract()
            .unwrap();
        assert_eq!(value, serde_json::to_value(Config::default()).unwrap());
    }
}
