//! The handshake: who connects, whether there is room, and what the client is sent first.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use socketioxide::SocketIo;
use socketioxide::extract::{SocketRef, State, TryData};
use socketioxide::handler::ConnectHandler;
use socketioxide::socket::DisconnectReason;
use tracing::Instrument as _;

use super::connection::Connection;
use super::incoming::Incoming;
use super::transport::{SocketSlot, SocketTransport};
use super::wires::{Wire, Wires};
use crate::app::App;
use crate::auth::{self, AuthError, Identity, bearer};
use crate::config::XUserId;
use crate::delivery::{Frame, Opened, SessionInfo};
use crate::error::{Failure, Problem, Reason};
use crate::event::{CloseReason, Event, MissedCalls, Role, SessionClosed, SessionReady};
use crate::ids::{DeviceId, SessionId, Short, UserId};
use crate::limits::Attempt;
use crate::peer::{ClientAddress, Unproven};
use crate::presence::PresenceError;
use crate::store::TokenHash;

/// What a client says when it connects.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Handshake {
    token: Option<Value>,
    user_id: Option<Value>,
    device_id: Option<DeviceId>,
    device_name: Option<Short<64>>,
    cursor: Option<Value>,
    /// What the client can do beyond the original, such as `call/relay`.
    capabilities: Vec<Short<32>>,
}

/// An accepted handshake.
#[derive(Clone)]
struct Admitted {
    identity: Identity,
    handshake: Handshake,
    /// A room token, when it is a guest's.
    guest: Option<String>,
}

pub(super) fn register(io: &SocketIo) {
    io.ns("/", on_connect.with(admit_or_cut));
}

/// A client that is refused closes its connection; one that stays is cut.
async fn admit_or_cut(
    socket: SocketRef,
    State(app): State<App>,
    State(wires): State<Arc<Wires>>,
    io: SocketIo,
    auth: TryData<Handshake>,
) -> Result<(), Refusal> {
    let wire = Wire::of(&socket, wires, io);
    let outcome = admit(socket, State(app), auth).await;
    if outcome.is_err() {
        tokio::spawn(wire.cut_later());
    }
    outcome
}

/// Why a connection is refused: the original's phrase, and the reason in brackets.
#[derive(Debug)]
struct Refusal(String, Reason);

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} [{}]", self.0, self.1.code())
    }
}

async fn admit(
    socket: SocketRef,
    State(app): State<App>,
    TryData(auth): TryData<Handshake>,
) -> Result<(), Refusal> {
    let handshake = auth.unwrap_or_default();
    let admitted = admitted(&app, &socket, handshake).await?;
    if let Some(unproven) = socket.req_parts().extensions.get::<Unproven>() {
        unproven.prove();
    }
    socket.extensions.insert(admitted);
    Ok(())
}

async fn admitted(
    app: &App,
    socket: &SocketRef,
    handshake: Handshake,
) -> Result<Admitted, Refusal> {
    if app.is_draining() {
        return Err(Refusal(
            "The server is going down; come back in a moment".into(),
            Reason::Draining,
        ));
    }
    if app.delivery.connections() >= app.config.limits.connections {
        return Err(Refusal(
            "The server is full; come back in a moment".into(),
            Reason::Unavailable,
        ));
    }
    if let Some((identity, token)) = guest(app, &handshake) {
        return Ok(Admitted { identity, handshake, guest: Some(token) });
    }
    let attempt = app.limits.attempt(&address(socket));
    let identity = identify(app, socket, &handshake, &attempt).await;
    let identity = identity.map_err(|error| refuse(attempt, &error))?;
    check_claim(app, &identity, &handshake)?;
    let refused = |error: crate::people::PeopleError| {
        let reason = error.reason();
        let message = if reason.status().is_server_error() {
            "Authentication service error".into()
        } else {
            error.to_string()
        };
        Refusal(format!("Authentication error: {message}"), reason)
    };
    let role = app.people.admit(&identity).await.map_err(refused)?;
    let identity = Identity { role, ..identity };
    Ok(Admitted { identity, handshake, guest: None })
}

/// A guest without an account, whom a room token lets in.
fn guest(app: &App, handshake: &Handshake) -> Option<(Identity, String)> {
    let token = handshake.token.as_ref()?.as_str()?;
    let device = handshake.device_id.as_ref().map(DeviceId::as_str).unwrap_or_default();
    let guest = app.rooms.guest(token, device)?;
    let identity = Identity {
        user_id: guest.user,
        uid: None,
        email: None,
        name: Some(guest.name),
        role: Role::User,
        user_type: None,
        issued_at: None,
        expires_at: guest.until,
    };
    Some((identity, token.to_owned()))
}

async fn identify(
    app: &App,
    socket: &SocketRef,
    handshake: &Handshake,
    attempt: &Attempt<'_>,
) -> Result<Identity, AuthError> {
    let parts = socket.req_parts();
    let header =
        parts.headers.get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = match &handshake.token {
        Some(Value::String(token)) => {
            Some(token.strip_prefix("Bearer ").unwrap_or(token).to_owned())
        }
        Some(Value::Null) | None => {
            bearer(header).map(str::to_owned).or_else(|| query_token(app, &parts.uri))
        }
        Some(_) => return Err(AuthError::Invalid("malformed")),
    };
    app.auth.authenticate_if(&token.ok_or(AuthError::Missing)?, || attempt.may_ask()).await
}

fn query_token(app: &App, uri: &http::Uri) -> Option<String> {
    let query = uri.query().filter(|_| app.config.compat.query_token);
    auth::query_token(query).map(str::to_owned)
}

fn refuse(attempt: Attempt<'_>, error: &AuthError) -> Refusal {
    metrics::counter!("rtc_auth_failures_total", "reason" => error.label()).increment(1);
    if error.is_of_token() && attempt.failed().is_err() {
        return Refusal(
            "Too many attempts without a valid token; wait a minute".into(),
            Reason::RateLimited,
        );
    }
    let message = match error {
        AuthError::Missing => "Authentication error: Token required".into(),
        AuthError::Unavailable | AuthError::Busy(_) | AuthError::Keys(_) => {
            "Authentication service error".into()
        }
        AuthError::Limited => error.to_string(),
        AuthError::Invalid(_) | AuthError::Expired => "Authentication error: Invalid token".into(),
        AuthError::NotYet { .. } => format!("Authentication error: {error}"),
    };
    Refusal(message, error.reason())
}

fn check_claim(app: &App, identity: &Identity, handshake: &Handshake) -> Result<(), Refusal> {
    let Some(claim) = handshake.user_id.as_ref().filter(|claim| !claim.is_null()) else {
        return Ok(());
    };
    let claimed = serde_json::from_value::<UserId>(claim.clone()).ok();
    if app.config.compat.x_user_id == XUserId::Ignore || claimed == Some(identity.user_id) {
        return Ok(());
    }
    let message = "Authentication error: auth.userId is not the user of the token";
    Err(Refusal(message.into(), Reason::IdentityMismatch))
}

fn address(socket: &SocketRef) -> String {
    socket
        .req_parts()
        .extensions
        .get()
        .map(|ClientAddress(address)| address.clone())
        .unwrap_or_default()
}

/// The extractors are taken by value, as socketioxide wants them. Everything up to the first wait happens before the client's first event is looked at.
#[allow(clippy::needless_pass_by_value)]
fn on_connect(
    socket: SocketRef,
    State(app): State<App>,
    State(wires): State<Arc<Wires>>,
    io: SocketIo,
) -> impl Future<Output = ()> + Send + 'static {
    let opened = socket.extensions.remove::<Admitted>().map(|admitted| {
        let wire = Wire::of(&socket, wires, io);
        open(app, &socket, wire, admitted)
    });
    async move {
        let Some((connection, cursor, first)) = opened else { return };
        let span = connection.span.clone();
        let welcome = async move {
            if let Err(problem) = welcome(&connection, cursor, first).await {
                tracing::warn!(
                    error = problem.message,
                    "the connection cannot be brought up to date and is closed"
                );
                let closed = SessionClosed::because(CloseReason::ProtocolError);
                connection.session.close(closed.reconnect_after(2000));
            }
        };
        welcome.instrument(span).await;
    }
}

fn open(
    app: App,
    socket: &SocketRef,
    wire: Wire,
    admitted: Admitted,
) -> (Arc<Connection>, Option<i64>, bool) {
    let Admitted { identity, handshake, guest } = admitted;
    let slot = SocketSlot::new(socket.clone(), wire);
    let token = guest.as_deref().map(TokenHash::of);
    let about = SessionInfo { token, ..about(&app, socket, &identity, &handshake) };
    let most = app.config.limits.sessions_per_user;
    let Opened { session, first } =
        app.delivery.open(about, Box::new(SocketTransport(slot.clone())), most);
    session.set_expires_at(identity.expires_at);
    session.set_role(identity.role);
    let guest = guest.zip(identity.name);
    let connection = Arc::new(Connection::new(app, session, guest));
    let websocket = connection.session.about.websocket;
    tracing::info!(parent: &connection.span, websocket, "connected");

    let receiving = connection.clone();
    socket.on_fallback(move |_: SocketRef, incoming: Incoming| receiving.receive(incoming));
    let closing = connection.clone();
    socket.on_disconnect(move |_: SocketRef, reason: DisconnectReason| {
        slot.release();
        let (closing, wire, span) = (closing.clone(), slot.wire.clone(), closing.span.clone());
        async move {
            end_connection(&closing, wire, &reason);
            closed(&closing, reason).await;
        }
        .instrument(span)
    });
    let cursor = handshake.cursor.as_ref().and_then(cursor_of);
    (connection, cursor, first)
}

fn cursor_of(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) if text.len() <= 32 => Some(text.parse().unwrap_or(-1)),
        Value::Null => None,
        _ => Some(-1),
    }
}

fn about(app: &App, socket: &SocketRef, identity: &Identity, handshake: &Handshake) -> SessionInfo {
    let agent = socket
        .req_parts()
        .headers
        .get(http::header::USER_AGENT)
        .and_then(|value| value.to_str().ok());
    SessionInfo {
        id: SessionId::new(app.clock.id()),
        user: identity.user_id,
        device_id: handshake.device_id.clone().map(DeviceId::into_string),
        device_name: handshake.device_name.clone().map(Short::into_string),
        websocket: socket.transport_type() == socketioxide::TransportType::Websocket,
        connected_at: app.clock.now(),
        last_activity: app.clock.now(),
        address: address(socket),
        user_agent: agent.unwrap_or_default().chars().take(256).collect(),
        relays: handshake.capabilities.iter().take(32).any(|it| it.as_str() == "call/relay"),
        legacy: handshake.cursor.as_ref().is_none_or(Value::is_null),
        token: None,
    }
}

/// Sends a new connection its position in the log, then what it missed, then the presence of others, then calls that ring.
async fn welcome(
    connection: &Arc<Connection>,
    cursor: Option<i64>,
    first: bool,
) -> Result<(), Problem> {
    let (app, session) = (&connection.app, &connection.session);
    let user = session.about.user;
    let is_guest = user.is_guest();
    let (head, resumes) =
        if is_guest { (0, false) } else { app.chat.sync_position(user, cursor).await? };
    let ready = SessionReady {
        session_id: session.about.id,
        user_id: user,
        server_time: app.clock.now(),
        cursor: head.to_string(),
        resumed: resumes,
        protocol: 2,
        limits: app.shown_limits(),
        ice_ttl: app.config.turn.credential_ttl,
    };
    session.deliver(Frame::new(&Event::SessionReady(Box::new(ready))));
    if is_guest {
        return Ok(());
    }
    match cursor {
        Some(cursor) if resumes => connection.sync_from(cursor).await?,
        Some(_) => app.chat.reset_to(user, session.about.id, head),
        None => {
            app.chat.replay_undelivered(user, session.about.id, head).await?;
            missed_calls(connection).await;
        }
    }
    app.presence.arrived(&session.about, first).await?;
    if let Err(error) = app.calls.session_opened(&session.about).await {
        tracing::warn!(%error, "the calls of this user could not be resumed");
    }
    Ok(())
}

async fn missed_calls(connection: &Connection) {
    match connection.app.calls.missed(connection.session.about.user).await {
        Ok(calls) if !calls.is_empty() => {
            let missed = MissedCalls { count: calls.len(), calls };
            connection.session.deliver(Frame::new(&Event::CallMissedCalls(missed)));
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "missed calls could not be read"),
    }
}

/// Counts the connection of a session that is over until it is gone, and sees to it that it goes.
fn end_connection(connection: &Connection, wire: Wire, reason: &DisconnectReason) {
    use DisconnectReason::{ClientNSDisconnect, ServerNSDisconnect};
    let (app, about) = (connection.app.clone(), &connection.session.about);
    let (user, session) = (about.user, about.id);
    if !matches!(reason, ClientNSDisconnect | ServerNSDisconnect) {
        wire.forget();
        return;
    }
    tokio::spawn(async move {
        wire.cut_later().await;
        app.delivery.remove(user, session);
    });
}

async fn closed(connection: &Connection, reason: DisconnectReason) {
    use DisconnectReason::{ClientNSDisconnect, ServerNSDisconnect};
    let (app, session) = (&connection.app, &connection.session);
    tracing::info!(?reason, "disconnected");
    let last = match reason {
        ClientNSDisconnect | ServerNSDisconnect => {
            app.delivery.detach(session.about.user, session.about.id)
        }
        _ => app.delivery.remove(session.about.user, session.about.id),
    };
    app.presence.forget(session.about.user, session.about.id);
    app.rooms.lost(session.about.user, session.about.id);
    if session.about.user.is_guest() {
        return;
    }
    app.calls.session_closed(&session.about).await;
    // What was written to a connection that had silently died may be lost: it is sent again.
    let lost =
        matches!(reason, DisconnectReason::HeartbeatTimeout | DisconnectReason::TransportError);
    let sent = if session.about.legacy && !lost { session.sent_up_to() } else { 0 };
    let (user, now) = (session.about.user, app.clock.now());
    // Of a disabled account the others know already.
    let last = last && !app.people.is_disabled(user);
    if !last && sent == 0 {
        return;
    }
    // The socket lives until this returns, so the grace of presence is waited for elsewhere.
    let (presence, store) = (app.presence.clone(), app.store.clone());
    tokio::spawn(async move {
        let outcome = if last {
            presence.left(user, sent).await
        } else {
            store.touch_user(user, now, sent).await.map_err(PresenceError::from)
        };
        if let Err(error) = outcome {
            tracing::warn!(%error, "a sign of life could not be stored");
        }
    });
}
