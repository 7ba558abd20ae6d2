use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::*;
use crate::event::{CallReference, Event};
use crate::ids::{CallId, ConversationId};

/// What a connection got, and how it behaves.
#[derive(Default)]
struct Client {
    frames: Mutex<Vec<Frame>>,
    asked: Mutex<Vec<OnAck>>,
    full: AtomicBool,
    closed: AtomicBool,
    cut: AtomicBool,
}

impl Client {
    fn cursors(&self) -> Vec<i64> {
        self.frames.lock().unwrap().iter().filter_map(|frame| frame.cursor).collect()
    }

    fn names(&self) -> Vec<&'static str> {
        self.frames.lock().unwrap().iter().map(|frame| frame.name).collect()
    }

    fn close_reason(&self) -> Option<String> {
        let frames = self.frames.lock().unwrap();
        let closed = frames.iter().find(|frame| frame.name == "session:closed")?;
        let payload: serde_json::Value = serde_json::from_str(closed.payload.get()).unwrap();
        Some(payload["reason"].as_str().unwrap().to_owned())
    }
}

struct Tap(Arc<Client>);

impl Transport for Tap {
    fn send(&self, frame: &Frame, on_ack: Option<OnAck>) -> Result<(), TransportError> {
        if self.0.full.load(Ordering::SeqCst) && frame.name != "session:closed" {
            return Err(TransportError::Full);
        }
        self.0.frames.lock().unwrap().push(frame.clone());
        self.0.asked.lock().unwrap().extend(on_ack);
        Ok(())
    }

    fn close(&self) {
        self.0.closed.store(true, Ordering::SeqCst);
    }

    fn cut(&self) {
        self.0.cut.store(true, Ordering::SeqCst);
    }
}

fn delivery(entries: usize) -> (Delivery, Receipts) {
    let bounds = QueueBounds { entries, bytes: 1 << 20, time: Duration::from_secs(5) };
    Delivery::new(Clock::manual(Timestamp(0)), bounds)
}

fn info(user: UserId) -> SessionInfo {
    SessionInfo {
        id: SessionId::new(uuid::Uuid::new_v4()),
        user,
        device_id: None,
        device_name: None,
        websocket: true,
        connected_at: Timestamp(0),
        last_activity: Timestamp(0),
        address: String::new(),
        user_agent: String::new(),
        relays: false,
        legacy: false,
        token: None,
    }
}

fn connect_as(delivery: &Delivery, user: UserId) -> (Arc<Session>, Arc<Client>) {
    let client = Arc::new(Client::default());
    let opened = delivery.open(info(user), Box::new(Tap(client.clone())), 10);
    (opened.session, client)
}

fn connect(delivery: &Delivery) -> (Arc<Session>, Arc<Client>) {
    connect_as(delivery, user(7))
}

fn user(id: i64) -> UserId {
    UserId::new(id).unwrap()
}

fn event() -> Event {
    Event::CallMoved(CallReference { call_id: CallId::new(uuid::Uuid::nil()) })
}

fn position(seq: i64) -> Position {
    Position { conversation: ConversationId::direct(user(7), user(8)), seq }
}

#[test]
fn an_event_is_encoded_once_for_all_who_get_it() {
    let (delivery, _) = delivery(100);
    let people: Vec<_> = (1..=5).map(user).collect();
    let clients: Vec<_> = people
        .iter()
        .flat_map(|it| [connect_as(&delivery, *it), connect_as(&delivery, *it)])
        .collect();
    let mut encodings = 0;
    let outcome = delivery.send_frame(To::Users(people), || {
        encodings += 1;
        Frame::new(&event())
    });
    assert_eq!((encodings, outcome.delivered), (1, 10));
    let payloads: Vec<_> =
        clients.iter().map(|(_, it)| it.frames.lock().unwrap()[0].payload.clone()).collect();
    assert!(payloads.iter().all(|payload| Arc::ptr_eq(payload, &payloads[0])));
}

#[test]
fn an_event_for_people_who_are_away_is_not_encoded_and_they_are_named() {
    let (delivery, _) = delivery(100);
    let outcome =
        delivery.send_frame(To::Users(vec![user(1), user(2)]), || unreachable!("nobody is there"));
    assert_eq!(outcome, Outcome { delivered: 0, offline: vec![user(1), user(2)] });
}

#[test]
fn the_session_that_caused_an_event_can_be_left_out() {
    let (delivery, _) = delivery(100);
    let ((first, one), (_, other)) = (connect(&delivery), connect(&delivery));
    let outcome = delivery.send(To::UserExcept(user(7), Some(first.about.id)), &event());
    assert_eq!((one.names().len(), other.names().len()), (0, 1));
    assert_eq!(outcome, Outcome { delivered: 1, offline: Vec::new() });
    let outcome = delivery.send(To::Session(user(7), first.about.id), &event());
    assert_eq!((one.names().len(), outcome.delivered), (1, 1));
    let gone = SessionId::new(uuid::Uuid::nil());
    let outcome = delivery.send(To::Session(user(7), gone), &event());
    assert_eq!(
        outcome,
        Outcome::default(),
        "a lost session of someone who is there is not offline"
    );
}

#[tokio::test]
async fn logged_events_leave_in_the_order_of_the_log_and_once() {
    let (delivery, _) = delivery(100);
    let (session, client) = connect(&delivery);
    for cursor in [6, 5, 4] {
        delivery.send_logged(user(7), cursor, &event(), None);
    }
    assert!(client.cursors().is_empty(), "nothing before the release");
    assert!(session.release(4), "what the replay has sent is not sent again");
    for cursor in [8, 7, 7, 5] {
        delivery.send_logged(user(7), cursor, &event(), None);
    }
    assert_eq!(client.cursors(), [5, 6, 7, 8]);
    assert_eq!(session.sent_up_to(), 8);
}

#[tokio::test]
async fn a_client_must_reload_when_more_came_during_its_replay_than_may_wait() {
    let (delivery, _) = delivery(10);
    let (session, client) = connect(&delivery);
    for cursor in 1..=11 {
        delivery.send_logged(user(7), cursor, &event(), None);
    }
    assert!(!session.release(0));
    delivery.send_logged(user(7), 1, &event(), None);
    assert_eq!(client.cursors(), [1], "what comes after the reset flows");
    assert!(session.release(1), "it is said once");
}

#[tokio::test(start_paused = true)]
async fn a_lost_log_entry_does_not_hold_up_the_others() {
    let (delivery, _) = delivery(100);
    let (session, client) = connect(&delivery);
    session.release(0);
    delivery.send_logged(user(7), 3, &event(), None);
    delivery.send_logged(user(7), 4, &event(), None);
    assert!(client.cursors().is_empty());
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(client.cursors(), [3, 4]);
}

#[tokio::test(start_paused = true)]
async fn events_behind_a_lost_one_are_not_dropped_when_many_wait() {
    let (delivery, _) = delivery(10);
    let (session, client) = connect(&delivery);
    session.release(0);
    for cursor in 2..=13 {
        delivery.send_logged(user(7), cursor, &event(), None);
    }
    assert_eq!(client.cursors(), (2..=13).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_gets_everything_when_it_reads_again() {
    let (delivery, _) = delivery(100);
    let (session, client) = connect(&delivery);
    session.release(0);
    client.full.store(true, Ordering::SeqCst);
    for cursor in 1..=50 {
        delivery.send_logged(user(7), cursor, &event(), None);
    }
    client.full.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(client.cursors(), (1..=50).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_cut_at_the_bound_of_events() {
    let (delivery, _) = delivery(20);
    let (session, client) = connect(&delivery);
    client.full.store(true, Ordering::SeqCst);
    for _ in 0..21 {
        delivery.send(To::User(user(7)), &event());
    }
    assert!(client.closed.load(Ordering::SeqCst) && session.is_closed());
    assert_eq!(client.close_reason().as_deref(), Some("SLOW_CONSUMER"));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_cut_at_the_bound_of_time() {
    let bounds = QueueBounds { entries: 20, bytes: 1 << 20, time: Duration::from_secs(5) };
    let clock = Clock::manual(Timestamp(0));
    let (delivery, _receipts) = Delivery::new(clock.clone(), bounds);
    let (_, client) = connect(&delivery);
    client.full.store(true, Ordering::SeqCst);
    delivery.send(To::User(user(7)), &event());
    clock.advance(Duration::from_secs(5));
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!client.closed.load(Ordering::SeqCst));
    clock.advance(Duration::from_millis(1));
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(client.close_reason().as_deref(), Some("SLOW_CONSUMER"));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_cut_at_the_bound_of_bytes() {
    let bounds = QueueBounds { entries: 1000, bytes: 500, time: Duration::from_secs(5) };
    let (delivery, _receipts) = Delivery::new(Clock::manual(Timestamp(0)), bounds);
    let (_, client) = connect(&delivery);
    client.full.store(true, Ordering::SeqCst);
    let bytes = event().encode().get().len();
    for _ in 0..=500 / bytes {
        assert!(!client.closed.load(Ordering::SeqCst));
        delivery.send(To::User(user(7)), &event());
    }
    assert_eq!(client.close_reason().as_deref(), Some("SLOW_CONSUMER"));
}

#[test]
fn a_session_too_many_replaces_the_oldest() {
    let (delivery, _) = delivery(20);
    let (first, client) = connect(&delivery);
    for _ in 0..10 {
        connect(&delivery);
    }
    assert_eq!(client.names(), ["session:replaced", "session:closed"]);
    assert_eq!(client.close_reason().as_deref(), Some("REPLACED"));
    assert_eq!(delivery.sessions(user(7)).len(), 10);
    assert_eq!(delivery.connections(), 11, "its connection is there still");
    assert!(!delivery.remove(user(7), first.about.id), "a replaced session is not the last one");
    assert_eq!(delivery.connections(), 10);
}

#[test]
fn every_session_is_ended_with_one_reason() {
    let (delivery, _) = delivery(20);
    let ((one, first), (_, second)) =
        (connect_as(&delivery, user(1)), connect_as(&delivery, user(2)));
    let kicked = SessionClosed::because(CloseReason::Kicked);
    assert!(delivery.close(user(1), one.about.id, kicked.clone()));
    assert!(!delivery.close(user(2), one.about.id, kicked), "it is another user's");
    delivery.close_all(&SessionClosed::because(CloseReason::ServerDrain).reconnect_after(9));
    assert_eq!(first.close_reason().as_deref(), Some("KICKED"), "the first reason stands");
    assert_eq!(second.close_reason().as_deref(), Some("SERVER_DRAIN"));
    assert!(second.frames.lock().unwrap()[0].payload.get().contains(r#""reconnectAfterMs":9"#));
}

#[test]
fn last_activity_is_that_of_any_session() {
    let clock = Clock::manual(Timestamp(0));
    let bounds = QueueBounds { entries: 10, bytes: 1000, time: Duration::from_secs(1) };
    let (delivery, _) = Delivery::new(clock.clone(), bounds);
    assert_eq!(delivery.last_activity(user(7)), None);
    let (session, _) = connect(&delivery);
    connect(&delivery);
    clock.advance(Duration::from_millis(5));
    session.touch();
    assert_eq!(delivery.last_activity(user(7)), Some(Timestamp(5)));
    let shown = delivery.session(user(7), session.about.id).unwrap();
    assert_eq!(shown.last_activity, Timestamp(5));
}

#[test]
fn the_acknowledgement_of_a_message_is_a_receipt() {
    let (delivery, mut receipts) = delivery(20);
    let (session, client) = connect(&delivery);
    session.release(0);
    delivery.send_logged(user(7), 1, &event(), Some(position(4)));
    delivery.send_logged(user(7), 2, &event(), None);
    let asked = std::mem::take(&mut *client.asked.lock().unwrap());
    assert_eq!(asked.len(), 1, "only messages are acknowledged");
    asked.into_iter().for_each(|answer| answer(true));
    assert_eq!(receipts.try_recv().unwrap(), Receipt { user: user(7), position: position(4) });
}

#[test]
fn a_client_that_never_acknowledges_is_asked_no_more_until_it_does() {
    let (delivery, mut receipts) = delivery(200);
    let (session, client) = connect(&delivery);
    session.release(0);
    for cursor in 1..=9 {
        delivery.send_logged(user(7), cursor, &event(), Some(position(cursor)));
        let asked = std::mem::take(&mut *client.asked.lock().unwrap());
        assert_eq!(asked.len(), usize::from(cursor <= 8), "{cursor}");
        asked.into_iter().for_each(|answer| answer(false));
    }
    assert!(receipts.try_recv().is_err());
}

#[test]
fn receipts_that_nobody_reads_are_dropped_and_hold_nothing_up() {
    let (delivery, mut receipts) = delivery(20);
    let (session, client) = connect(&delivery);
    session.release(0);
    let most = i64::try_from(receipts::WAITING).unwrap();
    for cursor in 1..=most + 1 {
        delivery.send_logged(user(7), cursor, &event(), Some(position(cursor)));
        let asked = std::mem::take(&mut *client.asked.lock().unwrap());
        asked.into_iter().for_each(|answer| answer(true));
    }
    let mut kept = 0;
    while receipts.try_recv().is_ok() {
        kept += 1;
    }
    assert_eq!(kept, receipts::WAITING);
}

#[tokio::test(start_paused = true)]
async fn what_may_be_dropped_is_dropped_first_for_who_reads_slowly_and_the_rest_arrives() {
    let (delivery, _receipts) = delivery(100);
    let (session, client) = connect(&delivery);
    let data = |bytes: usize| {
        let payload = serde_json::value::to_raw_value(&"x".repeat(bytes)).unwrap().into();
        Frame { name: "room:data", payload, droppable: true, ..Frame::new(&event()) }
    };
    client.full.store(true, Ordering::SeqCst);
    for _ in 0..10_000 {
        session.deliver(data(15_000));
    }
    // Chat and ringing have three quarters of what may wait.
    for _ in 0..70 {
        session.deliver(Frame { droppable: false, ..data(10_000) });
    }
    assert!(!session.is_closed());
    client.full.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(10)).await; // paces virtual time
    let (small, large): (Vec<_>, Vec<_>) = {
        let frames = client.frames.lock().unwrap();
        frames.iter().map(Frame::bytes).partition(|bytes| *bytes < 11_000)
    };
    assert_eq!(small.len(), 70);
    assert!((15..=20).contains(&large.len()), "{} of 10,000", large.len());
    session.deliver(data(15_000));
    assert_eq!(client.names().len(), small.len() + large.len() + 1, "who reads again gets it");
}

#[test]
fn sessions_that_are_over_count_until_their_connections_are_gone_and_an_account_has_a_bound_of_them()
 {
    let (delivery, _) = delivery(100);
    let open = || {
        let client = Arc::new(Client::default());
        let opened = delivery.open(info(user(7)), Box::new(Tap(client.clone())), 2);
        (opened.session, client)
    };
    let all: Vec<_> = (0..6).map(|_| open()).collect();
    assert_eq!(delivery.sessions(user(7)).len(), 2);
    assert_eq!(delivery.connections(), 4, "two that are open, two that are ending");
    let was = |what: fn(&Client) -> &AtomicBool| {
        all.iter().map(|(_, client)| what(client).load(Ordering::SeqCst)).collect::<Vec<_>>()
    };
    assert_eq!(was(|client| &client.closed), [true, true, true, true, false, false]);
    assert_eq!(was(|client| &client.cut), [true, true, false, false, false, false]);
    for (session, _) in &all {
        delivery.remove(user(7), session.about.id);
    }
    assert_eq!(delivery.connections(), 0);
}

#[test]
fn whoever_is_closed_is_not_online_although_the_connections_are_there() {
    let (delivery, _) = delivery(100);
    let (one, _) = connect(&delivery);
    let (two, _) = connect(&delivery);
    delivery.close_user(user(7), &SessionClosed::because(CloseReason::UserDisabled));
    assert!(!delivery.is_online(user(7)) && delivery.sessions(user(7)).is_empty());
    assert_eq!(delivery.connections(), 2);
    assert_eq!(delivery.send(To::User(user(7)), &event()).offline, [user(7)]);
    assert!(delivery.detach(user(7), one.about.id), "it was the last");
    assert!(delivery.remove(user(7), one.about.id) && !delivery.remove(user(7), one.about.id));
    assert!(delivery.remove(user(7), two.about.id));
    assert_eq!(delivery.connections(), 0);
}
