//! Two people do by chance what people do with a call; a model as small as a page says what must come of it.

use std::time::Duration;

use super::{answer, world};
use crate::calls::End;
use crate::clock::Timestamp;
use crate::event::{CallStatus, CallType, EndReason};
use crate::ids::CallId;
use crate::testing::dice::Dice;
use crate::testing::{Client, World, person, voice};

const CALLS: u64 = 200;
const STEPS: usize = 14;
const WINDOW: Duration = Duration::from_secs(4);
const RINGING: Duration = Duration::from_secs(20);

/// One of the two.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Who {
    Caller,
    Callee,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Show,
    Accept,
    Reject,
    End(Who),
    Change(Who, CallType),
    Hold(Who),
    Disconnect(Who),
    Connect(Who),
    Rejoin(Who),
    Wait(Duration),
}

/// A side, as the model knows it: how often it has connected, which of these connections the call is on, and whether that is lost.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    connected: bool,
    connections: u32,
    on: Option<u32>,
    lost: Option<(Timestamp, Timestamp)>,
}

/// What is expected of a call.
#[derive(Clone, Debug)]
struct Model {
    now: Timestamp,
    status: CallStatus,
    reason: Option<EndReason>,
    rev: i64,
    kind: CallType,
    deadline: Timestamp,
    accepted_at: Option<Timestamp>,
    talked_until: Option<Timestamp>,
    sides: [Side; 2],
}

impl Model {
    fn new(now: Timestamp) -> Self {
        let side = Side { connected: true, connections: 1, ..Side::default() };
        Self {
            now,
            status: CallStatus::Initiated,
            reason: None,
            rev: 1,
            kind: CallType::Voice,
            deadline: now.after(RINGING),
            accepted_at: None,
            talked_until: None,
            sides: [Side { on: Some(1), ..side }, side],
        }
    }

    fn side(&mut self, who: Who) -> &mut Side {
        let [caller, callee] = &mut self.sides;
        if who == Who::Caller { caller } else { callee }
    }

    fn accepted(&self) -> bool {
        self.status == CallStatus::Accepted
    }

    fn over(&mut self, status: CallStatus, reason: EndReason) {
        (self.status, self.reason) = (status, Some(reason));
        self.talked_until = Some(self.now);
        self.rev += 1;
    }

    fn lose(&mut self, who: Who) {
        let now = self.now;
        let side = self.side(who);
        side.lost = Some((side.lost.map_or(now, |lost| lost.0), now.after(WINDOW)));
    }

    /// Whether the action is taken.
    fn apply(&mut self, action: Action) -> bool {
        let (pending, accepted) = (self.status.is_pending(), self.accepted());
        match action {
            Action::Show if self.status == CallStatus::Initiated => {
                (self.status, self.rev) = (CallStatus::Ringing, self.rev + 1);
            }
            Action::Show => return self.status.is_live(),
            Action::Accept if pending => {
                (self.status, self.rev, self.accepted_at) =
                    (CallStatus::Accepted, self.rev + 1, Some(self.now));
                let [caller, callee] = &mut self.sides;
                callee.on = Some(callee.connections);
                if caller.lost.is_some() || !caller.connected {
                    self.lose(Who::Caller);
                }
            }
            Action::Reject if pending => self.over(CallStatus::Rejected, EndReason::Rejected),
            Action::Accept | Action::Reject => return false,
            Action::End(Who::Caller) if pending => {
                self.over(CallStatus::Ended, EndReason::Cancelled);
            }
            Action::End(Who::Callee) if pending => {
                self.over(CallStatus::Rejected, EndReason::Rejected);
            }
            Action::End(_) if accepted => self.over(CallStatus::Ended, EndReason::Hangup),
            Action::End(_) => {}
            Action::Change(_, kind) if accepted => {
                self.rev += i64::from(kind != self.kind);
                self.kind = kind;
            }
            Action::Hold(_) if accepted => {}
            Action::Change(..) | Action::Hold(_) => return false,
            Action::Disconnect(who) => {
                let side = self.side(who);
                side.connected = false;
                if side.on == Some(side.connections) && self.status.is_live() {
                    match accepted || who == Who::Caller {
                        true => self.lose(who),
                        false => self.side(who).on = None,
                    }
                }
            }
            Action::Connect(who) => {
                let side = self.side(who);
                (side.connected, side.connections) = (true, side.connections + 1);
            }
            Action::Rejoin(who) if self.status.is_live() => {
                let side = self.side(who);
                (side.on, side.lost) = (Some(side.connections), None);
            }
            Action::Rejoin(_) => return false,
            Action::Wait(time) => {
                self.now = self.now.after(time);
                self.expire();
            }
        }
        true
    }

    fn expire(&mut self) {
        let lost = self.sides.iter().filter_map(|side| side.lost);
        let since = lost.clone().map(|lost| lost.0).min();
        if !self.status.is_live() {
        } else if lost.clone().any(|lost| lost.1 <= self.now) {
            self.over(CallStatus::Ended, EndReason::Network);
            self.talked_until = since;
        } else if self.status.is_pending() && self.deadline <= self.now {
            self.over(CallStatus::Missed, EndReason::Timeout);
        }
    }

    /// Seconds of talk.
    fn duration(&self) -> i64 {
        let until = self.talked_until.unwrap_or(self.now);
        self.accepted_at.map_or(0, |start| i64::try_from(until.since(start).as_secs()).unwrap())
    }
}

/// The call and the two, as they are.
struct Stage {
    world: World,
    clients: [Option<Client>; 2],
}

impl Stage {
    fn client(&self, who: Who) -> Option<&Client> {
        let [caller, callee] = &self.clients;
        if who == Who::Caller { caller.as_ref() } else { callee.as_ref() }
    }

    /// An action that the two can take now.
    fn choose(&self, dice: &mut Dice) -> Action {
        let who = if dice.chance(500) { Who::Caller } else { Who::Callee };
        let there = self.client(who).is_some();
        let callee = self.client(Who::Callee).is_some();
        loop {
            match dice.below(16) {
                0 | 1 if callee => return Action::Show,
                2..=4 if callee => return Action::Accept,
                5 if callee => return Action::Reject,
                6 => return Action::End(who),
                7 if dice.chance(500) => return Action::Change(who, CallType::Video),
                7 => return Action::Change(who, CallType::Voice),
                8 => return Action::Hold(who),
                9 | 10 if there => return Action::Disconnect(who),
                11 | 12 if !there => return Action::Connect(who),
                13 if there => return Action::Rejoin(who),
                14 | 15 => return Action::Wait(Duration::from_millis(dice.below(6000))),
                _ => {}
            }
        }
    }

    async fn act(&mut self, call: CallId, action: Action) -> bool {
        let calls = &self.world.app.calls;
        let me = |who| if who == Who::Caller { person(1) } else { person(2) };
        match action {
            Action::Show => {
                let callee = &self.client(Who::Callee).unwrap().device;
                calls.shown_on(callee, call).await.is_ok()
            }
            Action::Accept | Action::Reject => {
                let callee = &self.client(Who::Callee).unwrap().device;
                let accept = matches!(action, Action::Accept);
                calls.respond(callee, answer(call, accept)).await.is_ok()
            }
            Action::End(who) => calls.end(me(who), End::of(call)).await.is_ok(),
            Action::Change(who, kind) => calls.change(me(who), call, kind).await.is_ok(),
            Action::Hold(who) => calls.hold(me(who), call, true).await.is_ok(),
            Action::Rejoin(who) => {
                let session = self.client(who).unwrap().session.about.id;
                calls.rejoin(me(who), session, call).await.is_ok()
            }
            Action::Disconnect(who) => {
                let [caller, callee] = &mut self.clients;
                let client = if who == Who::Caller { caller.take() } else { callee.take() };
                self.world.disconnect(&client.unwrap()).await;
                true
            }
            Action::Connect(who) => {
                let client = Some(self.world.connect(me(who)).await);
                let [caller, callee] = &mut self.clients;
                *(if who == Who::Caller { caller } else { callee }) = client;
                true
            }
            Action::Wait(time) => {
                self.world.wait(time).await;
                true
            }
        }
    }

    /// Each side that is there is notified of the end once, and of nothing else's.
    fn check_events(&self, ended: bool, why: &str) {
        for client in self.clients.iter().flatten() {
            let ends = client.names().iter().filter(|name| **name == "call:ended").count();
            assert_eq!(ends, usize::from(ended), "{why}");
        }
    }
}

async fn play(stage: &mut Stage, seed: u64) {
    let mut dice = Dice::new(seed);
    for (client, n) in stage.clients.iter_mut().zip(1..) {
        *client = Some(stage.world.connect(person(n)).await);
    }
    let mut model = Model::new(stage.world.clock.now());
    let caller = stage.client(Who::Caller).unwrap().device.clone();
    let (call, _) = stage.world.app.calls.start(&caller, voice(&[person(2)])).await.unwrap();
    let call = call.call_id;
    stage.check_events(false, "at the beginning");
    let mut taken = Vec::new();
    for _ in 0..STEPS {
        let action = stage.choose(&mut dice);
        taken.push(action);
        let why = format!("seed {seed}: {taken:?}");
        let live = model.status.is_live();
        assert_eq!(stage.act(call, action).await, model.apply(action), "{why}");
        let shown = stage.world.app.calls.call(person(1), call).await.unwrap();
        let (status, reason) = (shown.status, shown.end_reason);
        assert_eq!((status, reason), (model.status, model.reason), "{why}");
        assert_eq!((shown.rev, shown.call_type), (model.rev, model.kind), "{why}");
        assert_eq!(shown.duration, model.duration(), "{why}");
        stage.check_events(live && !model.status.is_live(), &why);
    }
    let running = usize::from(model.status.is_live());
    assert_eq!(stage.world.app.calls.stats().active, running, "seed {seed}: {taken:?}");
    stage.act(call, Action::End(Who::Callee)).await;
    for who in [Who::Caller, Who::Callee] {
        if stage.client(who).is_some() {
            stage.act(call, Action::Disconnect(who)).await;
        }
    }
}

#[tokio::test]
async fn calls_of_chance_go_as_the_model_says() {
    let mut stage = Stage { world: world().await, clients: [None, None] };
    println!("seeds 1 to {CALLS}");
    for seed in 1..=CALLS {
        play(&mut stage, seed).await;
    }
}
