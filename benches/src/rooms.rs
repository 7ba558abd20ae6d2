//! A room of a hundred members with a microphone and a camera each, beside another one that is entered by fifty at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream;

use crate::client::Timings;
use crate::description::{Codecs, Screen};
use crate::member::{Member, Watched};
use crate::number;
use crate::process::{Kind, Server};

/// How long everybody may take until everybody has agreed on all tracks.
const PATIENCE: Duration = Duration::from_secs(180);
/// Characters of a payload of `room:data`, which has 15 KiB with its quotes.
const DATA: usize = 15 * 1024 - 2;

/// How big, and how often.
struct Plan {
    members: usize,
    at_once: usize,
    waves: usize,
    probes: usize,
    rounds: usize,
    data: usize,
    codecs: Codecs,
}

impl Plan {
    fn from_environment() -> Self {
        let all = std::env::var("ANSWER").is_ok_and(|answer| answer == "all");
        Self {
            members: number("MEMBERS", 100),
            at_once: number("AT_ONCE", 50),
            waves: number("WAVES", 3),
            probes: number("PROBES", 100),
            rounds: number("ROUNDS", 10),
            data: number("DATA", 600),
            codecs: if all { Codecs::All } else { Codecs::Few },
        }
    }

    /// Tracks that are offered to each of so many.
    fn tracks(among: usize) -> usize {
        2 * among.saturating_sub(1)
    }
}

/// See the module.
pub async fn rooms() {
    let plan = Plan::from_environment();
    let Plan { members, at_once, waves, .. } = plan;
    println!(
        "rooms of {members}, microphone and camera in three layers each; {at_once} at once, {waves} times; answers name {}",
        if plan.codecs == Codecs::All { "all codecs" } else { "one codec a section" }
    );
    let server = Server::start(Kind::Switchboard, None).await;
    let mut report = Report::new(&server);

    // The last one of the measured room comes and goes.
    let measured = connect(&server, 1, members - 1, plan.codecs).await;
    report.begin();
    let (joins, publishes, bytes) = enter(&measured, "measured", 10).await;
    settle(&measured, Plan::tracks(members - 1)).await;
    report.end(&format!("{} enter, ten at a time, until all have all tracks", members - 1));
    report.timings("join, ten at a time", &joins);
    report.timings("publish, ten at a time", &publishes);
    let [offer, answer] = measured[0].seen().bytes.each_ref().map(|it| it.load(Ordering::Relaxed));
    println!(
        "join's acknowledgement {bytes} bytes, the newest offer {offer} bytes, the answer to it {answer}"
    );

    let prober = Prober::start(&server.address, members as i64, plan.codecs, Plan::tracks(members));
    report.begin();
    let quiet = prober.run(plan.probes, Duration::from_millis(30)).await;
    report.end(&format!("{} joins beside nothing else", quiet.len()));
    report.timings("join, quiet", &quiet);

    let other = connect(&server, 1001, members, plan.codecs).await;
    let (staying, coming) = other.split_at(members - at_once);
    enter(staying, "other", 10).await;
    settle(staying, Plan::tracks(staying.len())).await;
    let (mut rush, mut published) = (Timings::default(), Timings::default());
    let stop = prober.run_until_stopped(Duration::from_millis(30));
    for _ in 0..waves {
        report.begin();
        let (joins, publishes, _) = enter(coming, "other", at_once).await;
        settle(&other, Plan::tracks(members)).await;
        report.end(&format!("{at_once} enter the other room at once, until all have all tracks"));
        rush.extend(&joins);
        published.extend(&publishes);
        join_all(coming.iter().map(Member::leave)).await;
        settle(staying, Plan::tracks(staying.len())).await;
    }
    let beside = prober.stop(&stop).await;
    report.timings("JOIN, BESIDE THE RUSH", &beside);
    report.timings("join, of the rush itself", &rush);
    report.timings("publish, of the rush itself", &published);
    join_all(staying.iter().map(Member::leave)).await;
    drop(other);

    new_tracks(&plan, &measured, &mut report).await;
    data(&plan, &measured, &mut report).await;
    let mut failures = std::collections::BTreeMap::<String, usize>::new();
    for member in &measured {
        for (reason, count) in member.seen().failures.lock().expect("a lock").iter() {
            *failures.entry(reason.clone()).or_default() += count;
        }
    }
    println!("failures: {failures:?}");
    server.stop().await;
}

async fn connect(server: &Server, first: i64, count: usize, codecs: Codecs) -> Vec<Member> {
    let users = stream::iter(first..first + count as i64);
    users.map(|user| Member::connect(&server.address, user, codecs)).buffered(20).collect().await
}

/// All come into a room and publish, so many at a time; what their acknowledgements took, and the bytes of the last one's.
async fn enter(members: &[Member], room: &str, at_once: usize) -> (Timings, Timings, usize) {
    let one = async |member: &Member| {
        let (join, bytes) = member.join(room).await;
        (join, member.publish(Screen::None).await, bytes)
    };
    let (mut joins, mut publishes, mut largest) = (Timings::default(), Timings::default(), 0);
    let mut all = stream::iter(members.iter().map(one)).buffer_unordered(at_once);
    while let Some((join, publish, bytes)) = all.next().await {
        joins.push(join);
        publishes.push(publish);
        largest = largest.max(bytes);
    }
    (joins, publishes, largest)
}

/// Waits until everybody has agreed on so many tracks.
async fn settle(members: &[Member], tracks: usize) {
    let begun = Instant::now();
    loop {
        let have = |member: &Member| member.seen().tracks();
        let behind = members.iter().filter(|member| have(member) != tracks).count();
        if behind == 0 {
            return;
        }
        if begun.elapsed() > PATIENCE {
            let failures =
                members.iter().map(|it| it.seen().failures.lock().expect("a lock").clone());
            let failures: Vec<_> = failures.filter(|it| !it.is_empty()).take(3).collect();
            println!(
                "FAILED: {behind} of {} have not agreed on {tracks} tracks after {PATIENCE:?}; {failures:?}",
                members.len()
            );
            std::process::exit(1);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// One publishes a screen as well, again and again: how long until the last of the others has the offer of it.
async fn new_tracks(plan: &Plan, members: &[Member], report: &mut Report<'_>) {
    let (publisher, viewers) = members.split_first().expect("members");
    let participant = publisher.id.lock().expect("a lock").clone();
    let (mut acks, mut firsts, mut lasts) =
        (Timings::default(), Timings::default(), Timings::default());
    report.begin();
    for _ in 0..plan.rounds {
        for screen in [Screen::Sent, Screen::Inactive] {
            let tracks = if screen == Screen::Sent { 3 } else { 2 };
            let watched = Watched { participant: participant.clone(), tracks };
            let arrivals: Vec<_> =
                viewers.iter().map(|it| it.seen().watch(watched.clone())).collect();
            let begun = Instant::now();
            let ack = publisher.publish(screen).await;
            let arrived = join_all(arrivals).await;
            if screen == Screen::Sent {
                let took = |moment: &Instant| moment.duration_since(begun);
                let mut took: Vec<_> = arrived.iter().flatten().map(took).collect();
                took.sort_unstable();
                acks.push(ack);
                firsts.push(took[0]);
                lasts.push(took[took.len() - 1]);
            }
            let others = Plan::tracks(members.len()) + tracks - 2;
            settle(viewers, others).await;
        }
    }
    report.end(&format!("{} screens come and go", plan.rounds));
    report.timings("publish a third track", &acks);
    report.timings("offer of it, the first", &firsts);
    report.timings("OFFER OF IT, THE LAST", &lasts);
}

/// One sends data to all others, a few at a time.
async fn data(plan: &Plan, members: &[Member], report: &mut Report<'_>) {
    let (sender, receivers) = members.split_first().expect("members");
    let payload = "x".repeat(DATA);
    let before = report.server.memory();
    report.begin();
    let begun = Instant::now();
    let mut acks = Timings::default();
    let mut sent = stream::iter((0..plan.data).map(|_| sender.data(&payload))).buffered(4);
    while let Some(ack) = sent.next().await {
        acks.push(ack);
    }
    let wanted = plan.data * receivers.len();
    let got = || receivers.iter().map(|it| it.seen().data.load(Ordering::Relaxed)).sum::<usize>();
    while got() < wanted && begun.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let (took, cpu) = (begun.elapsed().as_secs_f64(), report.spent());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let grown = report.server.memory().saturating_sub(before) as f64 / 1024.0;
    println!(
        "room:data, {DATA} bytes to {} members: {:.0} sent/s, {:.0} delivered/s, {:.1} µs of the server a delivery, {} missing, \
         {grown:.0} KiB more memory, {:.1} KiB a member",
        receivers.len(),
        plan.data as f64 / took,
        got() as f64 / took,
        cpu.as_secs_f64() * 1e6 / got().max(1) as f64,
        wanted - got(),
        grown / members.len() as f64,
    );
    report.timings("room:data", &acks);
}

/// Comes into the measured room and leaves it again, on a thread of its own, so that what the load does with answers is not measured.
struct Prober {
    orders: std::sync::mpsc::Sender<(usize, Duration, Arc<AtomicBool>)>,
    results: Arc<tokio::sync::Mutex<tokio::sync::mpsc::UnboundedReceiver<Timings>>>,
}

impl Prober {
    fn start(address: &str, user: i64, codecs: Codecs, tracks: usize) -> Self {
        let (orders, ordered) = std::sync::mpsc::channel::<(usize, Duration, Arc<AtomicBool>)>();
        let (found, results) = tokio::sync::mpsc::unbounded_channel();
        let address = address.to_owned();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let member = Member::connect(&address, user, codecs).await;
                while let Ok((count, pause, stop)) = ordered.recv() {
                    let mut joins = Timings::default();
                    while joins.len() < count && !stop.load(Ordering::Relaxed) {
                        joins.push(member.join("measured").await.0);
                        settle(std::slice::from_ref(&member), tracks).await;
                        member.leave().await;
                        tokio::time::sleep(pause).await;
                    }
                    let _ = found.send(joins);
                }
            });
        });
        Self { orders, results: Arc::new(tokio::sync::Mutex::new(results)) }
    }

    async fn run(&self, count: usize, pause: Duration) -> Timings {
        let _ = self.orders.send((count, pause, Arc::default()));
        self.results.lock().await.recv().await.expect("timings")
    }

    fn run_until_stopped(&self, pause: Duration) -> Arc<AtomicBool> {
        let stop = Arc::new(AtomicBool::new(false));
        let _ = self.orders.send((usize::MAX, pause, stop.clone()));
        stop
    }

    async fn stop(&self, stop: &AtomicBool) -> Timings {
        stop.store(true, Ordering::Relaxed);
        self.results.lock().await.recv().await.expect("timings")
    }
}

/// What is printed, and what the server spent meanwhile.
struct Report<'a> {
    server: &'a Server,
    since: (Instant, Duration),
}

impl<'a> Report<'a> {
    fn new(server: &'a Server) -> Self {
        Self { server, since: (Instant::now(), server.cpu()) }
    }

    fn begin(&mut self) {
        self.since = (Instant::now(), self.server.cpu());
    }

    fn spent(&self) -> Duration {
        self.server.cpu() - self.since.1
    }

    fn end(&self, what: &str) {
        println!(
            "{what}: {:.2} s, {:.2} CPU s of the server, {:.1} MB resident",
            self.since.0.elapsed().as_secs_f64(),
            self.spent().as_secs_f64(),
            self.server.memory() as f64 / 1e6
        );
    }

    fn timings(&self, what: &str, timings: &Timings) {
        println!(
            "{what:<28} p50 {:8.2} ms  p99 {:8.2} ms  max {:8.2} ms  of {}",
            timings.at(0.5),
            timings.at(0.99),
            timings.at(1.0),
            timings.len()
        );
    }
}
