//! Checks a set-up from end to end and prints what it finds.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use switchboard::auth::Auth;
use switchboard::clock::Clock;
use switchboard::config::{AuthMode, TurnMode, weak_secrets, without_secrets};
use switchboard::relay::{self, Relay};
use switchboard_turn::Transport;
use switchboard_turn::driver::{Allocated, ProbeError};
use tokio::net::{TcpListener, UdpSocket};

use super::{Setup, open_store, print};

/// What one check found.
enum Finding {
    Good(String),
    Note(String),
    Bad(String),
}

use Finding::{Bad, Good, Note};

pub(super) async fn doctor(setup: Setup) -> ExitCode {
    let relays = embedded(&setup).await;
    let findings = [
        ("configuration", Good("can be read; `check-config` prints it".into())),
        ("secrets", secrets(&setup)),
        ("at rest", at_rest(&setup)),
        ("store", store(&setup).await),
        ("port", port(&setup).await),
        ("keys", keys(&setup).await),
        ("origins", origins(&setup)),
        ("stun", stun(&setup).await),
        ("turn", external(&setup)),
    ];
    let host = relay::problems(&setup.config.turn).into_iter().map(|text| ("relay", Note(text)));
    let findings = findings.into_iter().chain(host);
    let findings = findings.chain(relays.into_iter().map(|found| ("relay", found)));
    let mut bad = 0;
    for (name, finding) in findings {
        let (mark, text) = match finding {
            Good(text) => ("ok  ", text),
            Note(text) => ("note", text),
            Bad(text) => {
                bad += 1;
                ("BAD ", text)
            }
        };
        let _ = print(&format!("{mark}  {name:<14} {text}"));
    }
    if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether a secret that is set can be guessed, also one that is not used now.
fn secrets(setup: &Setup) -> Finding {
    let weak = weak_secrets(&setup.config);
    if weak.is_empty() {
        return Good("none is short, well known or made of words, repeats and sequences".into());
    }
    Bad(weak.iter().map(|(key, why)| format!("{key}: {why}")).collect::<Vec<_>>().join("; "))
}

/// Whether other users of the machine may read the data.
fn at_rest(setup: &Setup) -> Finding {
    match setup.wide() {
        Ok(wide) if wide.is_empty() => Good("this program's user alone may read the data".into()),
        Ok(wide) => {
            let all: Vec<String> = wide.iter().map(ToString::to_string).collect();
            Bad(all.join("; "))
        }
        Err(error) => Bad(error.to_string()),
    }
}

async fn store(setup: &Setup) -> Finding {
    let store = match open_store(setup).await {
        Ok(store) => store,
        Err(error) => return Bad(format!("cannot be opened: {error}")),
    };
    let clock = Clock::system();
    let begun = clock.instant();
    let written = store.ping().await;
    let took = begun.elapsed();
    let totals = store.totals().await;
    store.close().await;
    match (written, totals) {
        (Ok(()), Ok(totals)) => {
            let (users, messages, calls) = (totals.users, totals.messages, totals.calls);
            Good(format!(
                "reads and writes ({took:.1?} a commit); {users} users, {messages} messages, {calls} calls"
            ))
        }
        (Err(error), _) | (_, Err(error)) => Bad(error.to_string()),
    }
}

async fn port(setup: &Setup) -> Finding {
    let (host, port) = (&setup.config.server.host, setup.config.server.port);
    match TcpListener::bind((host.as_str(), port)).await {
        Ok(_) => Good(format!("{host}:{port} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            match running(host, port).await {
                Some(about) => Good(format!("{host}:{port} is in use by {about}")),
                None => Bad(format!(
                    "{host}:{port} is in use by another program; stop it, or change server.port"
                )),
            }
        }
        Err(error) => Bad(format!(
            "cannot listen on {host}:{port}: {error}; change server.host or server.port"
        )),
    }
}

/// What the switchboard that listens there says of itself; `None` when another program does.
async fn running(host: &str, port: u16) -> Option<String> {
    let address = match host.parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() && ip.is_ipv4() => Ipv4Addr::LOCALHOST.to_string(),
        Ok(ip) if ip.is_unspecified() => format!("[{}]", Ipv6Addr::LOCALHOST),
        Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
        _ => host.to_owned(),
    };
    let client = reqwest::Client::builder().timeout(Duration::from_secs(3)).build().ok()?;
    let answer = client.get(format!("http://{address}:{port}/health")).send().await.ok()?;
    let health: serde_json::Value = answer.json().await.ok()?;
    let text = |key: &str| health.get(key).and_then(serde_json::Value::as_str);
    if text("service") != Some(switchboard::ops::SERVICE) {
        return None;
    }
    let (version, status, database) = (text("version")?, text("status")?, text("database")?);
    let uptime = health.get("uptime")?.as_u64()?;
    Some(format!("switchboard {version}, up for {uptime} s: {status}, store {database}"))
}

async fn keys(setup: &Setup) -> Finding {
    let config = &setup.config.auth;
    let auth = match Auth::new(config.clone(), Clock::system()) {
        Ok(auth) => auth,
        Err(error) => return Bad(error.to_string()),
    };
    if config.mode == AuthMode::Introspect {
        let url = without_secrets(&config.introspect_url);
        let probe = auth.authenticate("switchboard-doctor").await;
        return match probe {
            Err(switchboard::auth::AuthError::Unavailable) => {
                Bad(format!("the backend at {url} does not answer within 5 s"))
            }
            _ => Good(format!("the backend at {url} answers")),
        };
    }
    match auth.refresh_keys().await {
        Ok(()) => Good(format!("tokens signed with {} are accepted", config.algorithms.join(", "))),
        Err(error) => Bad(error.to_string()),
    }
}

fn origins(setup: &Setup) -> Finding {
    let origins = &setup.config.server.allowed_origins;
    if origins.is_empty() {
        Note(
            "only pages of this server may call; web pages elsewhere need server.allowed_origins"
                .into(),
        )
    } else {
        Good(origins.join(", "))
    }
}

/// Sends a binding request (RFC 8489 §6) to the first STUN server and waits for its answer.
async fn stun(setup: &Setup) -> Finding {
    let Some(url) = setup.config.ice.stun_servers.first() else {
        return Note("ice.stun_servers is empty: calls connect inside one network only".into());
    };
    let shown = without_secrets(url);
    let Some(host) = url.strip_prefix("stun:") else {
        return Bad(format!("{shown} does not begin with stun:"));
    };
    let host = if host.contains(':') { host.to_owned() } else { format!("{host}:3478") };
    match tokio::time::timeout(Duration::from_secs(3), binding(&host)).await {
        Ok(Ok(())) => Good(format!("{shown} answers")),
        Ok(Err(error)) => Note(format!("{shown}: {error}; clients may still reach it")),
        Err(_) => Note(format!("{shown} does not answer within 3 s; clients may still reach it")),
    }
}

async fn binding(host: &str) -> std::io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0").await?;
    socket.connect(host).await?;
    let mut request = [0_u8; 20];
    request[1] = 1; // binding request
    request[4..8].copy_from_slice(&0x2112_A442_u32.to_be_bytes());
    request[8..].copy_from_slice(&uuid::Uuid::new_v4().as_bytes()[..12]);
    socket.send(&request).await?;
    let mut answer = [0_u8; 128];
    let length = socket.recv(&mut answer).await?;
    let matches = length >= 20 && answer[..2] == [1, 1] && answer[8..20] == request[8..20];
    if matches {
        Ok(())
    } else {
        Err(std::io::Error::other("answered something else than a binding response"))
    }
}

fn external(setup: &Setup) -> Finding {
    let urls = &setup.config.turn.external_urls;
    if urls.is_empty() && setup.config.turn.mode == TurnMode::Off {
        return Note(
            "turn.mode is off and turn.external_urls is empty: clients behind strict firewalls do not reach each other"
                .into(),
        );
    }
    let urls: Vec<_> = urls.iter().map(|url| without_secrets(url)).collect();
    let odd = urls.iter().find(|url| !url.starts_with("turn:") && !url.starts_with("turns:"));
    match odd {
        Some(url) => Bad(format!("turn.external_urls: {url} begins with neither turn: nor turns:")),
        None if urls.is_empty() => Good("the embedded relay alone".into()),
        None => Good(format!("credentials for {} are handed out", urls.join(", "))),
    }
}

/// Allocates at every listener of the embedded relay: the running one, or one started for this.
async fn embedded(setup: &Setup) -> Vec<Finding> {
    let turn = setup.config.turn.clone();
    if turn.mode == TurnMode::Off {
        return vec![];
    }
    if turn.port == 0 {
        return vec![Note("turn.port is 0: a free port, which only the server knows".into())];
    }
    let expires = u64::try_from(Clock::system().now().seconds()).unwrap_or_default() + 60;
    let probed = tokio::task::spawn_blocking(move || {
        let own = Relay::start(&turn);
        let probed = relay::probe(&turn, expires);
        if let Ok(own) = &own
            && let Some(server) = own.server()
        {
            server.stop();
        }
        (own.err().map(|error| error.to_string()), probed)
    });
    let Ok((not_started, probed)) = probed.await else { return vec![] };
    let reachable = "; what is inside the firewall does not show whether the outside gets through";
    let finding = |(at, transport, outcome): (
        SocketAddr,
        Transport,
        Result<Allocated, ProbeError>,
    )| match (outcome, &not_started) {
        (Ok(given), _) => Good(format!(
            "{at} {transport:?} gives allocations; a peer will see {}{reachable}",
            given.relayed
        )),
        (Err(error), Some(why)) => {
            Bad(format!("{at} {transport:?}: {error}, and none could be started: {why}"))
        }
        (Err(error), None) => Bad(format!("{at} {transport:?}: {error}")),
    };
    probed.into_iter().map(finding).collect()
}
