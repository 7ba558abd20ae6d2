//! The store fails under running calls, by chance and as often as chance wants. Nobody is sent what is not stored, nobody waits for
//! ever, and once the store is back, it and the calls say the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{SECOND, answer};
use crate::app::App;
use crate::calls::command::Command;
use crate::calls::{CallRequest, Device, End, Signal};
use crate::event::{CallStatus, CallType, EndReason, SignalKind};
use crate::ids::{CallId, UserId};
use crate::testing::dice::Dice;
use crate::testing::failing::{Chances, FailingStore, Fails};
use crate::testing::{Client, World, person, voice};

/// Commands of one run, and how many are on their way at once.
const COMMANDS: usize = 2_500;
const AT_ONCE: usize = 5;
/// What a test may wait for a reply, in real time.
const PATIENCE: Duration = Duration::from_secs(30);

struct Storm {
    world: World,
    store: Arc<FailingStore>,
    dice: Dice,
    clients: Vec<Client>,
    seen: Arc<Mutex<Seen>>,
}

/// What clients were sent.
#[derive(Default)]
struct Seen {
    /// Calls, newest last.
    calls: Vec<CallId>,
    /// Events about what is not stored.
    wrong: Vec<String>,
    /// How often calls were announced in each state.
    states: HashMap<CallStatus, usize>,
}

impl Seen {
    /// Looks at an event about a call: is what it says stored?
    fn audit(&mut self, store: &FailingStore, name: &str, payload: &Value) {
        let call = payload.get("call").unwrap_or(payload);
        let (Some(id), Some(rev), Some(status)) =
            (call.get("callId"), call.get("rev"), call.get("status"))
        else {
            return;
        };
        let id: CallId = serde_json::from_value(id.clone()).unwrap();
        let status: CallStatus = serde_json::from_value(status.clone()).unwrap();
        if !store.has_stored(id, rev.as_i64().unwrap(), status) {
            self.wrong.push(format!("{name}: {payload}"));
        }
        self.calls.push(id);
        *self.states.entry(status).or_default() += 1;
    }

    /// One of the calls that were seen last.
    fn recent(&mut self, dice: &mut Dice) -> Option<CallId> {
        let calls = &mut self.calls;
        calls.drain(..calls.len().saturating_sub(12));
        if calls.is_empty() { None } else { Some(*dice.pick(calls)) }
    }
}

impl Storm {
    async fn new(seed: u64) -> Self {
        let mut faulty = None;
        let change = |config: &mut crate::config::Config| {
            config.call.ring_timeout = 20;
            config.call.reconnect_window = 4;
        };
        let world = World::over(change, |store| {
            let store = FailingStore::over(store);
            faulty = Some(Arc::clone(&store));
            store
        });
        let world = world.await;
        let store = faulty.unwrap();
        let seen = Arc::<Mutex<Seen>>::default();
        let (stored, noted) = (Arc::clone(&store), Arc::clone(&seen));
        world.observe(move |name, payload| noted.lock().unwrap().audit(&stored, name, payload));
        let mut storm = Self { world, store, dice: Dice::new(seed), clients: Vec::new(), seen };
        for n in 1..=5 {
            storm.connect(person(n)).await;
        }
        storm
    }

    /// A store that fails may keep a new connection from learning what rings; it is then gone again.
    async fn connect(&mut self, user: UserId) {
        let legacy = self.dice.chance(300);
        self.clients.extend(self.world.connect_as(user, legacy).await.ok());
    }

    async fn disconnect(&mut self, index: usize) {
        let client = self.clients.swap_remove(index);
        self.world.disconnect(&client).await;
    }

    /// Somebody's connection goes, or one comes; now and then time passes.
    async fn weather(&mut self) {
        match self.dice.below(10) {
            0 if self.clients.len() > 3 => {
                let index = self.dice.below(self.clients.len() as u64);
                self.disconnect(usize::try_from(index).unwrap()).await;
            }
            1 if self.clients.len() < 9 => {
                let user = person(1 + i64::try_from(self.dice.below(5)).unwrap());
                self.connect(user).await;
            }
            2..=5 => {
                let time = Duration::from_millis(self.dice.below(3000));
                self.world.wait(time).await;
            }
            _ => {}
        }
    }

    fn action(&mut self) -> Action {
        let device = self.dice.pick(&self.clients).device.clone();
        let call = self.seen.lock().unwrap().recent(&mut self.dice);
        let to = person(1 + i64::try_from(self.dice.below(5)).unwrap());
        Action { device, call, to, what: self.dice.below(16), odd: self.dice.chance(500) }
    }
}

struct Action {
    device: Device,
    call: Option<CallId>,
    to: UserId,
    what: u64,
    odd: bool,
}

impl Action {
    /// Does it, whatever comes of it.
    async fn run(self, app: App) {
        let Self { device, call, to, what, odd } = self;
        let me = device.user;
        let Some(call) = call.filter(|_| what > 3) else {
            let waiting = odd;
            let client_id = (what == 0).then(|| serde_json::from_value(json!("again")).unwrap());
            let request = CallRequest { waiting, client_id, ..voice(&[to]) };
            let _ = app.calls.start(&device, request).await;
            return;
        };
        let calls = &app.calls;
        match what {
            4 => drop(calls.shown_on(&device, call).await),
            5 | 6 => drop(calls.respond(&device, answer(call, true)).await),
            7 => drop(calls.respond(&device, answer(call, odd)).await),
            8 | 9 => drop(calls.end(me, End::of(call)).await),
            10 => drop(calls.hold(me, call, odd).await),
            11 => {
                let kind = if odd { CallType::Video } else { CallType::Voice };
                drop(calls.change(me, call, kind).await);
            }
            12 => drop(calls.add(&device, call, &[to]).await),
            13 => drop(calls.rejoin(me, device.session.unwrap(), call).await),
            14 => drop(calls.take_over(me, device.session.unwrap(), call).await),
            _ => {
                let (kind, payload) = match odd {
                    true => (SignalKind::Offer, json!({ "type": "offer", "sdp": "v=0\r\n" })),
                    false => (SignalKind::IceCandidate, Value::Null),
                };
                let signal = Signal { call, to: None, kind, payload, ice_restart: None };
                drop(calls.signal(&device, signal).await);
            }
        }
    }
}

async fn storm(seed: u64) {
    println!("seed {seed}");
    let mut storm = Storm::new(seed).await;
    for round in 0..COMMANDS / AT_ONCE {
        if round % 20 == 0 {
            let chances = match storm.dice.below(4) {
                0 => Chances::default(),
                1 => Chances { writes: 1000, reads: 1000 },
                2 => Chances { writes: 500, reads: 0 },
                _ => Chances { writes: 200, reads: 200 },
            };
            storm.store.fail_by_chance(storm.dice.below(1 << 30), chances);
        }
        let app = storm.world.app.clone();
        let actions: Vec<Action> = (0..AT_ONCE).map(|_| storm.action()).collect();
        let running = join_all(actions.into_iter().map(|action| action.run(app.clone())));
        tokio::time::timeout(PATIENCE, running).await.expect("somebody waits for ever");
        storm.weather().await;
        let wrong = storm.seen.lock().unwrap().wrong.join("\n");
        assert!(wrong.is_empty(), "seed {seed}, round {round}: not stored:\n{wrong}");
    }
    storm.store.fail_by_chance(0, Chances::default());
    for _ in 0..5 {
        storm.world.wait(SECOND).await;
    }
    agree(&storm, seed).await;
    let states = storm.seen.lock().unwrap().states.clone();
    let writes = storm.store.writes();
    let failed = |how| writes.iter().filter(|(_, fails)| *fails == Some(how)).count();
    let (before, after) = (failed(Fails::Before), failed(Fails::After));
    println!("announced {states:?}, failed {before} before and {after} after they were made");
    let often = |status| states.get(&status).copied().unwrap_or_default() > 5;
    assert!([CallStatus::Accepted, CallStatus::Ended, CallStatus::Rejected].into_iter().all(often));
    assert!(before > 5 && after > 5);

    while !storm.clients.is_empty() {
        storm.disconnect(0).await;
    }
    for _ in 0..30 {
        storm.world.wait(SECOND).await;
    }
    assert_eq!(storm.world.app.calls.stats().active, 0, "seed {seed}");
    assert_eq!(storm.store.inner.live_calls().await.unwrap(), [], "seed {seed}");
    for n in 1..=5 {
        assert!(!storm.world.in_call(person(n)), "seed {seed}: {n} is in a call");
    }
}

/// Calls that run are those that the store has, in the same state.
async fn agree(storm: &Storm, seed: u64) {
    let mut running = Vec::new();
    for handle in storm.world.app.calls.means.directory.handles() {
        let call = handle.ask(Command::Look).await.unwrap().unwrap().call().unwrap();
        running.push((call.call_id, call.rev, call.status));
    }
    let stored = storm.store.inner.live_calls().await.unwrap();
    let mut stored: Vec<_> = stored.iter().map(|it| (it.id, it.rev, it.status)).collect();
    running.sort_unstable_by_key(|it| it.0);
    stored.sort_unstable_by_key(|it| it.0);
    assert_eq!(running, stored, "seed {seed}");
}

#[tokio::test]
async fn calls_and_store_agree_after_writes_that_failed_by_chance() {
    for seed in 1..=4 {
        storm(seed).await;
    }
}

#[tokio::test]
async fn a_call_whose_task_panics_ends_and_the_others_go_on() {
    let world = super::world().await;
    let (ada, ben) = (world.connect(person(1)).await, world.connect(person(2)).await);
    let (cleo, dan) = (world.connect(person(3)).await, world.connect(person(4)).await);
    let (call, other) = (world.call(&ada, 2).await, world.call(&cleo, 4).await);
    world.accept(&ben, call).await;
    ben.events();
    let handle = world.app.calls.means.directory.handle(call).unwrap();
    // The call may be over by the time at which the reply is missed.
    assert!(!matches!(handle.ask(Command::Panic).await, Ok(Some(_))));
    while !ben.names().contains(&"call:ended") {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.status(&ada).await, (CallStatus::Ended, Some(EndReason::Failed), 0));
    assert!(!world.in_call(person(1)));
    world.accept(&dan, other).await;
    let again = world.call(&ada, 2).await;
    world.accept(&ben, again).await;
}
