//! A server as a child process, and what it cost: CPU and memory as the kernel counts them.

use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// The secret that the load signs tokens with; made for each run.
pub fn secret() -> &'static str {
    static SECRET: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    SECRET.get_or_init(|| format!("{}{}", uuid::Uuid::new_v4(), uuid::Uuid::new_v4()))
}

pub fn binary() -> PathBuf {
    std::env::var_os("BENCH_BIN").map_or_else(|| "target/release/switchboard".into(), PathBuf::from)
}

#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    Switchboard,
    /// On MongoDB's protocol: `MONGODB_TEST_URI`, or the engine of the tests.
    Mongo,
    Node,
    NodeFull,
}

impl Kind {
    /// Those that `SERVERS` names by their first letters (`s`, `n`, `f`); all when it is not set.
    pub fn chosen() -> Vec<Self> {
        let named = std::env::var("SERVERS").unwrap_or_else(|_| "snf".into());
        let all = [
            ('s', Self::Switchboard),
            ('m', Self::Mongo),
            ('n', Self::Node),
            ('f', Self::NodeFull),
        ];
        all.into_iter()
            .filter(|(letter, _)| named.contains(*letter))
            .map(|(_, kind)| kind)
            .collect()
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Switchboard => "switchboard, durable",
            Self::Mongo => "switchboard, MongoDB wire",
            Self::Node => "socket.io, no store",
            Self::NodeFull => "socket.io, no store, +sent",
        }
    }
}

pub struct Server {
    child: Child,
    pub address: String,
    folder: Option<PathBuf>,
    _database: Option<Child>,
}

impl Server {
    pub async fn start(kind: Kind, data: Option<PathBuf>) -> Self {
        let fresh =
            std::env::temp_dir().join(format!("switchboard-bench-{}", uuid::Uuid::new_v4()));
        let folder = if data.is_none() { Some(fresh.clone()) } else { None };
        let (uri, _database) = match kind {
            Kind::Mongo => database(&fresh).await,
            _ => (None, None),
        };
        let mut command = match kind {
            Kind::Switchboard | Kind::Mongo => {
                let mut command = Command::new(binary());
                command.arg("--data").arg(data.unwrap_or(fresh));
                command
            }
            Kind::Node | Kind::NodeFull => {
                let mut command = Command::new("node");
                command.arg("benches/node-server.mjs").arg(if kind == Kind::NodeFull {
                    "full"
                } else {
                    "bare"
                });
                command
            }
        };
        command
            .env("JWT_SECRET", secret())
            .env("SWITCHBOARD_SERVER__HOST", "127.0.0.1")
            .env("SWITCHBOARD_SERVER__PORT", "0")
            .env("SWITCHBOARD_SERVER__DRAIN_DELAY", "0")
            .env("SWITCHBOARD_SERVER__LOG_LEVEL", "error")
            .env("SWITCHBOARD_LIMITS__RATE_LIMITS", "false")
            .env("SWITCHBOARD_MEDIA__HOST", "127.0.0.1")
            .env("SWITCHBOARD_MEDIA__UDP_PORT", "0")
            .env("SWITCHBOARD_ROOMS__CREATE", "anyone")
            .env("SWITCHBOARD_ROOMS__JOIN", "anyone")
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true);
        if let Some(uri) = uri {
            command.env("MONGODB_URI", uri);
        }
        let mut child = command.spawn().expect("the server starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        loop {
            let line = lines.next_line().await.expect("its output").expect("a ready line");
            if let Some(rest) = line.strip_prefix("ready http=") {
                let address = rest.split(' ').next().unwrap_or_default().to_owned();
                return Self { child, address, folder, _database };
            }
        }
    }

    fn pid(&self) -> u32 {
        self.child.id().expect("a running server")
    }

    /// User and system time of all its threads, in nanoseconds from the scheduler.
    pub fn cpu(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).expect("its threads");
        let spent = |task: std::fs::DirEntry| -> u64 {
            let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
        };
        Duration::from_nanos(tasks.flatten().map(spent).sum())
    }

    /// Resident bytes.
    pub fn memory(&self) -> usize {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<usize>().ok()).unwrap_or(0) * 1024
    }

    pub async fn stop(mut self) {
        let _ = self.child.kill().await;
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// A database of its own; the process when it was started for it, which ends with its standard input.
async fn database(folder: &std::path::Path) -> (Option<String>, Option<Child>) {
    let name = format!("bench_{}", uuid::Uuid::new_v4().simple());
    if let Ok(uri) = std::env::var("MONGODB_TEST_URI") {
        return (Some(format!("{}/{name}", uri.trim_end_matches('/'))), None);
    }
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let port = port.expect("a free port").to_string();
    let folder = folder.join("engine");
    std::fs::create_dir_all(&folder).expect("a folder");
    let mut engine = Command::new("target/mongo-wire")
        .arg(&port)
        .arg(folder)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("target/mongo-wire, which make e2e builds");
    let output = engine.stdout.take().expect("its output");
    BufReader::new(output).lines().next_line().await.expect("its output");
    (Some(format!("mongodb://{port}/{name}")), Some(engine))
}
