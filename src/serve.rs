//! Start, drain, stop.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use switchboard::app::{App, Changes};
use switchboard::auth::{Grant, mint};
use switchboard::clock::Clock;
use switchboard::config::{Config, LogFormat};
use switchboard::event::recording::StopReason;
use switchboard::event::{CloseReason, Role, SessionClosed};
use switchboard::ids::UserId;
use switchboard::people::DEV_PEOPLE;
use switchboard::relay::{self, Relay};
use switchboard::sfu::{Sfu, SfuEvents};
use switchboard::store::Profile;
use switchboard::{access, http, ops, socket};
use switchboard_turn::driver::{Descriptors, Server};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tracing_subscriber::EnvFilter;

use super::{Failed, Outcome, Setup, open_store, print};

pub(super) async fn serve(setup: Setup) -> Outcome {
    start_log(&setup.config);
    ops::start();
    let (app, changes, media) = build(&setup).await?;
    if let Err(error) = app.auth.refresh_keys().await {
        tracing::warn!(%error, "the JWKS could not be read yet");
    }
    app.calls.resume().await?;
    app.people.resume_jobs().await?;
    if setup.dev {
        make_dev_users(&app).await?;
    }

    let address = format!("{}:{}", bracketed(&setup.config.server.host), setup.config.server.port);
    let listener = TcpListener::bind(&address).await;
    let listener = listener.map_err(|error| {
        format!("server.host and server.port: cannot listen on {address}: {error}")
    })?;
    let local = listener.local_addr()?;
    let (router, sockets) = http::router(&app);
    let (stop, stopped) = oneshot::channel::<()>();
    let clients = app.clone();
    let serving = tokio::spawn(async move {
        let stop = async { drop(stopped.await) };
        http::serve_clients(listener, &clients, router, stop).await;
    });
    serve_metrics(&app).await?;
    app.recordings.resume().await?;
    run_background(&app, changes);
    let webhooks = tokio::spawn(app.webhooks.clone().run());
    let rooms = app.rooms.clone();
    tokio::spawn(async move { rooms.follow(media.rooms).await });
    let calls = app.calls.clone();
    tokio::spawn(async move { calls.follow(media.calls).await });

    let mut signals = Signals::new()?;
    announce(&setup, local, &app)?;
    tracing::info!(http = %local, version = env!("CARGO_PKG_VERSION"), "ready");

    signals.next().await;
    tracing::info!("stopping; a second signal stops at once");
    tokio::select! {
        () = drain(&app, &sockets) => {}
        () = signals.next() => tracing::warn!("stopping at once"),
    }
    let _ = stop.send(());
    tokio::select! {
        _ = serving => {}
        () = signals.next() => tracing::warn!("stopping at once"),
    }
    app.recordings.stop_all(StopReason::Drain, Duration::from_secs(10)).await;
    app.webhooks.stop();
    let _ = tokio::time::timeout(Duration::from_secs(3), webhooks).await;
    app.sfu.server().stop();
    if let Some(server) = app.relay.server() {
        server.stop();
    }
    app.store.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// Opens the store, the relay and the SFU, and puts the services together.
async fn build(setup: &Setup) -> Result<(App, Changes, SfuEvents), Failed> {
    let store = open_store(setup).await?;
    // What a crash left half-way is finished before the first read.
    store.take_over().await?;
    // Each connection takes a descriptor, and each relayed address.
    let _ = Descriptors::raise();
    for problem in relay::problems(&setup.config.turn) {
        tracing::warn!("{problem}");
    }
    let relay = Relay::start(&setup.config.turn).map_err(|error| format!("turn: {error}"))?;
    let door = relay.server().map(|server| server.door());
    let (sfu, media) = Sfu::start(&setup.config.media, door.as_ref())
        .map_err(|error| format!("media: {error}"))?;
    switchboard::rooms::start_workers()?;
    switchboard::memory::give_back()?;
    let (config, parts) = (setup.config.clone(), (relay, sfu));
    let (app, changes) = App::new(config, Clock::system(), store, parts, setup.dev)?;
    Ok((app, changes, media))
}

/// Readiness ends, balancers notice, clients are asked to come back, and requests that run are answered.
async fn drain(app: &App, sockets: &socket::Sockets) {
    app.drain();
    if let Some(server) = app.relay.server() {
        server.drain();
    }
    let delay = Duration::from_secs(app.config.server.drain_delay);
    app.rooms.drain(app.clock.now().after(delay));
    tokio::time::sleep(delay).await;
    let closed = SessionClosed::because(CloseReason::ServerDrain);
    app.delivery.close_all(&closed.reconnect_after(app.config.server.reconnect_after));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let _ = tokio::time::timeout(Duration::from_secs(5), sockets.close()).await;
    outlast_relayed(app).await;
}

/// Goes on relaying what is relayed, for a while.
async fn outlast_relayed(app: &App) {
    let Some(server) = app.relay.server() else { return };
    let until = app.clock.instant() + Duration::from_secs(app.config.turn.drain_limit);
    while server.open() > 0 && app.clock.instant() < until {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn start_log(config: &Config) {
    let level = &config.server.log_level;
    // The parser of TURN messages logs a line for every packet that is none.
    let filter = EnvFilter::try_new(format!("{level},stun_types=off,turn_types=off"))
        .unwrap_or_else(|_| EnvFilter::new("info,stun_types=off,turn_types=off"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // It would say so on the same stream, and end the process there.
    let builder = builder.log_internal_errors(false);
    match config.server.log_format {
        LogFormat::Json => builder.json().with_current_span(true).with_span_list(false).init(),
        LogFormat::Text => builder.with_target(false).init(),
    }
}

/// An IPv6 address stands in brackets before a port.
fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}

async fn serve_metrics(app: &App) -> Outcome {
    let address = &app.config.metrics.listen;
    if address.is_empty() {
        return Ok(());
    }
    let listener = TcpListener::bind(address).await;
    let listener =
        listener.map_err(|error| format!("metrics.listen: cannot listen on {address}: {error}"))?;
    tokio::spawn(http::serve(listener, http::metrics_router(app), std::future::pending()));
    Ok(())
}

/// What goes on beside requests: recordings, ends of tokens, keys, presence of people in calls, and forgetting.
fn run_background(app: &App, changes: Changes) {
    let Changes { mut in_call, recordable, recordings, receipts, access: changes } = changes;
    tokio::spawn(access::follow(app.clone(), changes));
    tokio::spawn(app.recordings.clone().follow(recordable));
    tokio::spawn(app.clone().show_recordings(recordings));
    tokio::spawn(app.chat.clone().follow(receipts));
    tokio::spawn(socket::watch_tokens(app.clone()));
    let keys = app.clone();
    tokio::spawn(async move { keys.auth.keep_keys_fresh().await });
    let presence = app.presence.clone();
    tokio::spawn(async move {
        while let Some(user) = in_call.recv().await {
            if let Err(error) = presence.announce(user).await {
                tracing::warn!(%error, "a change of presence could not be announced");
            }
        }
    });
    tokio::spawn(forget(app.clone()));
    tokio::spawn(keep_up_metrics());
    if let Some(server) = app.relay.server().cloned() {
        tokio::spawn(keep_certificate_fresh(server));
    }
}

/// Histograms are emptied into their buckets, whether they are scraped or not.
async fn keep_up_metrics() {
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        ops::upkeep();
    }
}

/// Looks now and then whether the relay's certificate was renewed.
async fn keep_certificate_fresh(server: Arc<Server>) {
    loop {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let server = Arc::clone(&server);
        let _ = tokio::task::spawn_blocking(move || server.refresh_certificate()).await;
    }
}

/// Every minute, forgets what is too old to be asked for.
async fn forget(app: App) {
    let day = Duration::from_secs(86_400);
    loop {
        tokio::time::sleep(Duration::from_secs(60)).await;
        app.limits.shrink();
        let (chat, now) = (&app.config.chat, app.clock.now());
        let log_before =
            now.before(day.saturating_mul(u32::try_from(chat.log_days).unwrap_or(u32::MAX)));
        let keys_before =
            now.before(day.saturating_mul(u32::try_from(chat.client_id_days).unwrap_or(u32::MAX)));
        let fact_days = u32::try_from(app.config.store.fact_days).unwrap_or(u32::MAX);
        let facts_before = now.before(day.saturating_mul(fact_days));
        let store = &app.store;
        in_slices("log entries", || store.retire(log_before, chat.log_entries, keys_before)).await;
        in_slices("facts", || store.prune_facts(facts_before)).await;
        in_slices("deliveries", || app.webhooks.prune()).await;
        in_slices("room tokens", || store.prune_room_tokens(now)).await;
    }
}

/// Forgets slice after slice until a slice was the last.
async fn in_slices<F>(what: &str, forget: impl Fn() -> F)
where
    F: Future<Output = switchboard::store::Result<bool>>,
{
    loop {
        match forget().await {
            Ok(true) => tokio::time::sleep(Duration::from_millis(50)).await,
            Ok(false) => return,
            Err(error) => {
                tracing::warn!(%error, what, "what is too old could not be forgotten");
                return;
            }
        }
    }
}

async fn make_dev_users(app: &App) -> Outcome {
    for (id, name) in DEV_PEOPLE {
        let user_id = UserId::new(id).ok_or("a dev user without an id")?;
        if app.store.user(user_id).await?.is_none() {
            let profile = Profile {
                user_id,
                uid: id.to_string(),
                email: None,
                name: Some(name.to_owned()),
                mobile: None,
                gender: None,
                user_type: None,
                role: Role::User,
            };
            app.store.save_profile(profile, app.clock.now()).await?;
        }
    }
    Ok(())
}

fn announce(setup: &Setup, local: SocketAddr, app: &App) -> Outcome {
    if setup.dev {
        let base = format!(
            "http://{}:{}",
            if local.ip().is_loopback() { "localhost".into() } else { local.ip().to_string() },
            local.port()
        );
        let exp = Clock::system().now().seconds() + 86_400;
        let (uid, email, user_type, iss, aud) = (None, None, None, None, None);
        let user_id = UserId::new(1).ok_or("no admin id")?;
        let name = Some("Admin".to_owned());
        let admin =
            Grant { user_id, uid, email, name, user_type, role: Role::Admin, exp, iss, aud };
        let admin = mint(&admin, &setup.config.auth.jwt_secret)?;
        print(&format!(
            "\n  Switchboard {} for development: secrets and users are made up.",
            env!("CARGO_PKG_VERSION")
        ))?;
        print(&format!(
            "\n  Ada   {base}/demo?u=101\n  Ben   {base}/demo?u=102\n  Cem   {base}/demo?u=103"
        ))?;
        print(&format!("  Docs  {base}/docs\n"))?;
        print(&format!("  Admin token (a day): {admin}\n"))?;
    }
    let media = app.sfu.server().listening().first();
    let media = media.map_or_else(|| "-".into(), SocketAddr::to_string);
    let turn = app.relay.server().and_then(|server| server.listening().first());
    let turn = turn.map_or_else(|| "-".into(), SocketAddr::to_string);
    print(&format!("ready http={local} media={media} turn={turn}"))?;
    Ok(std::io::stdout().flush()?)
}
