//! Load for the figures of docs/performance.md: starts a server, drives it over real websockets, and reads what it cost from
//! the kernel. The same client runs against ours and against socket.io on Node, one after the other.

#![expect(clippy::disallowed_methods, reason = "this measures")]

mod client;
mod description;
mod member;
mod process;
mod rooms;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::{Client, Timings, rest};
use process::{Kind, Server};
use serde_json::json;
use switchboard::clock::Timestamp;
use switchboard::event::{MessageType, Role};
use switchboard::ids::{ConversationId, MessageId, UserId};
use switchboard::store::sqlite::Sqlite;
use switchboard::store::{MessageExtra, NewMessage, Profile, Store};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let what = std::env::args().nth(1).unwrap_or_default();
    match what.as_str() {
        "messages" => messages().await,
        "idle" => idle().await,
        "history" => history().await,
        "start" => start().await,
        "rooms" => rooms::rooms().await,
        _ => {
            eprintln!("usage: switchboard-bench messages|idle|history|start|rooms");
            std::process::exit(2);
        }
    }
}

fn number(name: &str, otherwise: usize) -> usize {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

/// Durable 1:1 messages with acknowledgement and delivery, paced, ours and Node's alternately.
async fn messages() {
    let (pairs, rate, seconds) = (number("PAIRS", 50), number("RATE", 1000), number("SECONDS", 10));
    println!("{pairs} pairs, {rate} messages/s for {seconds} s, text of 60 characters");
    println!(
        "{:<24} {:>10} {:>12} {:>9} {:>9} {:>9} {:>9}",
        "server", "messages", "CPU µs/msg", "p50 ms", "p99 ms", "max ms", "missing"
    );
    for _ in 0..number("ROUNDS", 3) {
        for kind in Kind::chosen() {
            let server = Server::start(kind, None).await;
            let (mut senders, mut receivers) = (Vec::new(), Vec::new());
            for pair in 0..pairs {
                let (a, b) = (1000 + 2 * pair as i64, 1001 + 2 * pair as i64);
                receivers.push(Client::connect(&server.address, b).await);
                senders.push((Client::connect(&server.address, a).await, b));
            }
            // Warm-up, so that conversations and caches exist on both.
            pace(&mut senders, rate / 2, Duration::from_secs(2)).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            receivers
                .iter()
                .for_each(|receiver| receiver.count.store(0, std::sync::atomic::Ordering::Relaxed));
            let before = server.cpu();
            let timings = pace(&mut senders, rate, Duration::from_secs(seconds as u64)).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            let cpu = server.cpu() - before;
            let got: usize = receivers
                .iter()
                .map(|receiver| receiver.count.load(std::sync::atomic::Ordering::Relaxed))
                .sum();
            println!(
                "{:<24} {:>10} {:>12.1} {:>9.2} {:>9.2} {:>9.2} {:>9}",
                kind.name(),
                timings.len(),
                cpu.as_secs_f64() * 1e6 / timings.len() as f64,
                timings.at(0.5),
                timings.at(0.99),
                timings.at(1.0),
                timings.len().saturating_sub(got),
            );
            server.stop().await;
        }
    }
}

/// Sends at a steady rate, the senders in turn; how long each acknowledgement took.
async fn pace(senders: &mut [(Client, i64)], rate: usize, during: Duration) -> Timings {
    let begun = Instant::now();
    let total = (rate as f64 * during.as_secs_f64()) as usize;
    let mut pending = Vec::with_capacity(total);
    for n in 0..total {
        let due = begun + Duration::from_secs_f64(n as f64 / rate as f64);
        tokio::time::sleep_until(due.into()).await;
        let (sender, to) = &mut senders[n % senders.len()];
        let payload = json!({ "toUserId": to, "content": "The train is late, please start without me, I will be there at 9.", "clientId": uuid::Uuid::new_v4() });
        pending.push(sender.ask("message:send", &payload).await);
    }
    let mut timings = Timings::default();
    for answer in pending {
        timings.push(answer.await.expect("an acknowledgement"));
    }
    timings
}

/// Memory of idle connections, and the CPU of connecting.
async fn idle() {
    let count = number("CONNECTIONS", 5000);
    println!(
        "{:<24} {:>12} {:>10} {:>22} {:>26}",
        "server", "connections", "KiB each", "connections/CPU s", "the same people again"
    );
    let kinds = Kind::chosen().into_iter().filter(|kind| *kind != Kind::NodeFull);
    for kind in kinds {
        let server = Server::start(kind, None).await;
        // The first ones fill pools and tables that the others share.
        let first = Client::connect(&server.address, 1).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let memory = server.memory();
        let (clients, spent) = connect_all(&server, count).await;
        // Grace, garbage and growth come to rest.
        tokio::time::sleep(Duration::from_secs(8)).await;
        let grown = server.memory().saturating_sub(memory);
        println!(
            "{:<24} {:>12} {:>10.1} {:>22.0} {:>26}",
            kind.name(),
            count,
            grown as f64 / 1024.0 / count as f64,
            count as f64 / spent.as_secs_f64(),
            {
                drop(clients);
                // What leaving costs, the grace included, is over by then.
                tokio::time::sleep(Duration::from_secs(12)).await;
                let (_, spent) = connect_all(&server, count).await;
                format!("{:.0}", count as f64 / spent.as_secs_f64())
            }
        );
        drop(first);
        server.stop().await;
    }
}

/// Connects that many people, fifty at a time; what it cost the server.
async fn connect_all(server: &Server, count: usize) -> (Vec<Client>, Duration) {
    let (mut clients, cpu) = (Vec::with_capacity(count), server.cpu());
    for batch in 0..count / 50 {
        let wave = (0..50).map(|n| Client::connect(&server.address, (10 + batch * 50 + n) as i64));
        clients.extend(futures_util::future::join_all(wave).await);
    }
    (clients, server.cpu() - cpu)
}

/// Pages and lists from a store of a million messages, while it is written.
async fn history() {
    let total = number("MESSAGES", 1_000_000);
    let folder = PathBuf::from(
        std::env::var("BENCH_DATA").unwrap_or_else(|_| "target/bench-history".into()),
    );
    if !folder.join("switchboard.db").exists() {
        fill(&folder, total).await;
    }
    let server = Server::start(Kind::Switchboard, Some(folder)).await;
    let mut senders = Vec::new();
    for pair in 0..50 {
        senders.push((Client::connect(&server.address, 2000 + pair).await, 1));
    }
    let load = tokio::spawn(async move { pace(&mut senders, 500, Duration::from_secs(20)).await });
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (mut pages, mut lists, mut deep) =
        (Timings::default(), Timings::default(), Timings::default());
    let mut connection = rest(&server.address, 1).await;
    for n in 0..400_i64 {
        let peer = 100 + n % 500;
        pages.push(
            connection.get(&format!("/api/chat/messages/{peer}?limit=50&markRead=false")).await,
        );
        deep.push(
            connection
                .get(&format!("/api/chat/messages/{peer}?limit=50&page=30&markRead=false"))
                .await,
        );
        lists.push(connection.get("/api/chat/conversations?limit=50").await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("{total} messages, 500 conversations of one user, 500 messages/s written meanwhile");
    for (name, timings) in [
        ("history page, newest", &pages),
        ("history page, 30th", &deep),
        ("conversation list", &lists),
    ] {
        println!(
            "{name:<24} p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
            timings.at(0.5),
            timings.at(0.99),
            timings.at(1.0)
        );
    }
    let acks = load.await.expect("the load");
    println!(
        "{:<24} p50 {:.2} ms, p99 {:.2} ms",
        "message:send meanwhile",
        acks.at(0.5),
        acks.at(0.99)
    );
    server.stop().await;
}

/// A store with one user in 500 conversations, a million messages in all.
async fn fill(folder: &std::path::Path, total: usize) {
    std::fs::create_dir_all(folder).expect("a data folder");
    let store: Arc<dyn Store> =
        Arc::new(Sqlite::open(&folder.join("switchboard.db")).expect("a store"));
    let user = |id: i64| UserId::new(id).expect("an id");
    for id in (1..=1).chain(100..600).chain(2000..2050) {
        let profile = Profile {
            user_id: user(id),
            uid: format!("u-{id}"),
            email: None,
            name: Some(format!("User {id}")),
            mobile: None,
            gender: None,
            user_type: None,
            role: Role::User,
        };
        store.save_profile(profile, Timestamp(0)).await.expect("a user");
    }
    let mut waiting = Vec::new();
    for n in 0..total as i64 {
        let (peer, at) = (user(100 + n % 500), Timestamp(1_700_000_000_000 + n * 50));
        let (from, to) = if n % 3 == 0 { (user(1), peer) } else { (peer, user(1)) };
        let message = NewMessage {
            id: MessageId::new(uuid::Uuid::now_v7()),
            conversation: ConversationId::direct(from, to),
            at,
            from,
            kind: MessageType::Text,
            content: format!("Message number {n}, with a text of an ordinary length for a chat."),
            client_id: None,
            counts: true,
            extra: MessageExtra::default(),
        };
        let store = store.clone();
        waiting.push(tokio::spawn(async move { store.append_message(message).await }));
        if waiting.len() == 2000 {
            for write in waiting.drain(..) {
                write.await.expect("a task").expect("a message");
            }
        }
    }
    for write in waiting {
        write.await.expect("a task").expect("a message");
    }
    store.close().await;
}

/// From the start of the process to ready, and what it takes at rest.
async fn start() {
    for _ in 0..number("ROUNDS", 3) {
        let begun = Instant::now();
        let server = Server::start(Kind::Switchboard, None).await;
        let ready = begun.elapsed();
        tokio::time::sleep(Duration::from_secs(2)).await;
        println!(
            "ready after {:.0} ms, resident {:.1} MB at rest",
            ready.as_secs_f64() * 1000.0,
            server.memory() as f64 / 1e6
        );
        server.stop().await;
    }
    let size = std::fs::metadata(process::binary()).map(|meta| meta.len()).unwrap_or(0);
    println!("binary {:.1} MB, pages included", size as f64 / 1e6);
}
