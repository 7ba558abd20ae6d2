//! Reads the configuration from its four sources and checks what can be checked without the outside.

use std::path::{Path, PathBuf};

use figment::Figment;
use figment::error::Kind;
use figment::providers::{Env, Format, Serialized, Toml};

use super::check::check;
use super::error::ConfigError;
use super::{Audience, Config, LogFormat, RoomCreate, RoomJoin, Secret, TurnMode};

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
    "webhooks.secret",
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
    read_secrets(&mut config)?;
    check(&config, flags.dev)?;
    if config.recordings.dir.is_empty() {
        config.recordings.dir = flags.data.join("recordings").to_string_lossy().into_owned();
    }
    Ok(config)
}

fn explain(error: &figment::Error) -> String {
    let source =
        error.metadata.as_ref().map(|source| format!(" (in {})", source.name)).unwrap_or_default();
    let path = error.path.join(".");
    // An endpoint holds a secret, and so may a value that stands where one should be.
    let shows = matches!(error.kind, Kind::InvalidType(..) | Kind::InvalidValue(..));
    if path.starts_with("webhooks.endpoints") && shows {
        return format!("{path}: is not what config.toml shows for it{source}");
    }
    if SECRETS.contains(&path.as_str()) {
        return format!("{path}: is no text, or no text that can be read{source}");
    }
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

/// The secrets of endpoints that stand in files.
fn read_secrets(config: &mut Config) -> Result<(), ConfigError> {
    for endpoint in &mut config.webhooks.endpoints {
        let (name, path) = (&endpoint.name, &endpoint.secret_file);
        if path.is_empty() {
            continue;
        }
        let wrong = |why: String| ConfigError::Source(format!("webhooks.endpoints: {name}: {why}"));
        if !endpoint.secret.is_empty() {
            return Err(wrong("has both secret and secret_file; set one of them".into()));
        }
        let text = std::fs::read_to_string(path);
        let text =
            text.map_err(|error| wrong(format!("secret_file: cannot read {path}: {error}")))?;
        endpoint.secret = Secret::new(text.trim_end_matches(['\r', '\n']));
    }
    Ok(())
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
    joined = joined.join(Serialized::default("presence.audience", Audience::All));
    joined = joined.join(Serialized::default("rooms.create", RoomCreate::Anyone));
    joined = joined.join(Serialized::default("rooms.join", RoomJoin::Anyone));
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

    #[test]
    fn config_toml_says_what_every_key_is_for() {
        let mut before = "";
        for line in include_str!("../../config.toml").lines() {
            let opens = line.starts_with('[') || line.contains(" = ") && !line.starts_with('#');
            assert!(!opens || before.starts_with("# "), "no comment above: {line}");
            before = line;
        }
    }
}
