//! A lean Socket.IO client, so that the load costs little beside what it measures, and a keep-alive HTTP client for REST.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::stream::SplitSink;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use switchboard::auth::{Grant, mint};
use switchboard::config::Secret;
use switchboard::event::Role;
use switchboard::ids::UserId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;
type Waiting = Arc<Mutex<HashMap<u64, (Instant, oneshot::Sender<Duration>)>>>;

pub struct Client {
    sink: Arc<tokio::sync::Mutex<SplitSink<Socket, Message>>>,
    waiting: Waiting,
    next: u64,
    /// Messages received.
    pub count: Arc<AtomicUsize>,
}

pub fn token(user: i64) -> String {
    let exp = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("a clock")
        .as_secs() as i64
        + 7200;
    let user_id = UserId::new(user).expect("an id");
    let (uid, email, user_type, iss, aud) = (None, None, None, None, None);
    let grant = Grant {
        user_id,
        uid,
        email,
        name: Some(format!("User {user}")),
        user_type,
        role: Role::User,
        exp,
        iss,
        aud,
    };
    mint(&grant, &Secret::new(super::process::secret())).expect("a token")
}

/// A Socket.IO connection that is authenticated and has received `session:ready`.
pub(crate) async fn ready(address: &str, user: i64) -> Socket {
    let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.expect("a connection");
    let auth = json!({ "token": token(user), "cursor": "new" });
    socket.send(Message::text(format!("40{auth}"))).await.expect("a connect packet");
    loop {
        let message = socket.next().await.expect("a packet").expect("a packet");
        let text = message.to_text().unwrap_or_default();
        if text == "2" {
            // The server pings at once; who does not answer is cut when the heartbeat times out.
            socket.send(Message::text("3")).await.expect("a pong");
        } else if text.starts_with("42[\"session:ready\"") {
            return socket;
        }
    }
}

impl Client {
    /// Connected, authenticated and ready.
    pub async fn connect(address: &str, user: i64) -> Self {
        let (sink, mut stream) = ready(address, user).await.split();
        let sink = Arc::new(tokio::sync::Mutex::new(sink));
        let (waiting, count) = (Waiting::default(), Arc::new(AtomicUsize::new(0)));
        let (answers, received, pongs) = (waiting.clone(), count.clone(), sink.clone());
        tokio::spawn(async move {
            while let Some(Ok(message)) = stream.next().await {
                let text = message.to_text().unwrap_or_default();
                if text == "2" {
                    let _ = pongs.lock().await.send(Message::text("3")).await;
                } else if let Some(rest) = text.strip_prefix("43") {
                    let id = rest.split('[').next().and_then(|id| id.parse().ok()).unwrap_or(0);
                    assert!(rest.contains("\"ok\":true"), "{rest}");
                    if let Some((sent, answer)) = answers.lock().expect("a lock").remove(&id) {
                        let _ = answer.send(sent.elapsed());
                    }
                } else if text.starts_with("42")
                    && text.get(..40).unwrap_or(text).contains("\"message:received\"")
                {
                    received.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Self { sink, waiting, next: 0, count }
    }

    /// Sends an event; what comes back resolves with the time to its acknowledgement.
    pub async fn ask(&mut self, event: &str, payload: &Value) -> oneshot::Receiver<Duration> {
        let (answer, answered) = oneshot::channel();
        self.next += 1;
        self.waiting.lock().expect("a lock").insert(self.next, (Instant::now(), answer));
        let text = format!("42{}[\"{event}\",{payload}]", self.next);
        self.sink.lock().await.send(Message::text(text)).await.expect("a packet");
        answered
    }
}

/// Durations, for percentiles.
#[derive(Default)]
pub struct Timings(Vec<Duration>);

impl Timings {
    pub fn push(&mut self, duration: Duration) {
        self.0.push(duration);
    }

    pub fn extend(&mut self, others: &Self) {
        self.0.extend_from_slice(&others.0);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Milliseconds at a share of all, 1.0 for the longest.
    pub fn at(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let index =
            ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
        sorted.get(index).map_or(0.0, |duration| duration.as_secs_f64() * 1000.0)
    }
}

pub struct Rest {
    stream: TcpStream,
    head: String,
}

pub async fn rest(address: &str, user: i64) -> Rest {
    let stream = TcpStream::connect(address).await.expect("a connection");
    stream.set_nodelay(true).expect("an option");
    Rest {
        stream,
        head: format!("Host: {address}\r\nAuthorization: Bearer {}\r\n\r\n", token(user)),
    }
}

impl Rest {
    /// The time from the request to the last byte of its 200.
    pub async fn get(&mut self, path: &str) -> Duration {
        let begun = Instant::now();
        let request = format!("GET {path} HTTP/1.1\r\n{}", self.head);
        self.stream.write_all(request.as_bytes()).await.expect("a request");
        let mut answer = Vec::new();
        let mut chunk = vec![0; 64 * 1024];
        loop {
            let read = self.stream.read(&mut chunk).await.expect("an answer");
            answer.extend_from_slice(&chunk[..read]);
            let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
                continue;
            };
            let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
            assert!(head.starts_with("http/1.1 200"), "{head}");
            let length =
                head.split("content-length:").nth(1).and_then(|rest| rest.split('\r').next());
            let length: usize =
                length.and_then(|length| length.trim().parse().ok()).expect("a length");
            if answer.len() >= end + 4 + length {
                return begun.elapsed();
            }
        }
    }
}
