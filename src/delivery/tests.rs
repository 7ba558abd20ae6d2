use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::event::{CallReference, Event};
use crate::ids::CallId;

#[derive(Default)]
struct Line {
    sent: Mutex<Vec<(&'static str, Option<i64>)>>,
    full: AtomicBool,
    closed: AtomicBool,
}

struct Tap(Arc<Line>);

impl Wire for Tap {
    fn send(&self, frame: &Frame, _: Option<Confirm>) -> Result<(), WireError> {
        if self.0.full.load(Ordering::SeqCst) && frame.name != "session:closed" {
            return Err(WireError::Full);
        }
        self.0.sent.lock().unwrap().push((frame.name, frame.cursor));
        Ok(())
    }

    fn close(&self) {
        self.0.closed.store(true, Ordering::SeqCst);
    }
}

fn delivery(entries: usize) -> Delivery {
    let bounds = Bounds { entries, bytes: 1 << 20, time: Duration::from_secs(5) };
    Delivery::new(Clock::system(), bounds)
}

fn connect(delivery: &Delivery) -> (Arc<Session>, Arc<Line>) {
    let line = Arc::new(Line::default());
    let about = SessionInfo {
        id: SessionId::new(uuid::Uuid::new_v4()),
        user: user(),
        device_id: None,
        device_name: None,
        websocket: true,
        connected_at: Timestamp(0),
        address: String::new(),
        user_agent: String::new(),
        relays: false,
        legacy: false,
    };
    (delivery.open(about, Box::new(Tap(line.clone())), 10).0, line)
}

fn user() -> UserId {
    UserId::new(7).unwrap()
}

fn event() -> Event {
    Event::CallMoved(CallReference { call_id: CallId::new(uuid::Uuid::nil()) })
}

fn cursors(line: &Line) -> Vec<i64> {
    line.sent.lock().unwrap().iter().filter_map(|(_, cursor)| *cursor).collect()
}

#[tokio::test]
async fn logged_events_leave_in_the_order_of_the_log_and_once() {
    let delivery = delivery(100);
    let (session, line) = connect(&delivery);
    for cursor in [6, 5, 4] {
        delivery.send_logged(user(), cursor, &event(), None);
    }
    assert!(cursors(&line).is_empty(), "nothing before the release");
    assert!(session.release(4), "what the replay has told is not told again");
    for cursor in [8, 7, 7, 5] {
        delivery.send_logged(user(), cursor, &event(), None);
    }
    assert_eq!(cursors(&line), [5, 6, 7, 8]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_log_entry_does_not_hold_up_the_others() {
    let delivery = delivery(100);
    let (session, line) = connect(&delivery);
    session.release(0);
    delivery.send_logged(user(), 3, &event(), None);
    delivery.send_logged(user(), 4, &event(), None);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(cursors(&line), [3, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_gets_everything_when_it_reads_again() {
    let delivery = delivery(100);
    let (session, line) = connect(&delivery);
    session.release(0);
    line.full.store(true, Ordering::SeqCst);
    for cursor in 1..=50 {
        delivery.send_logged(user(), cursor, &event(), None);
    }
    line.full.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(cursors(&line), (1..=50).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_cut_at_the_bound() {
    let delivery = delivery(20);
    let (_, line) = connect(&delivery);
    line.full.store(true, Ordering::SeqCst);
    for _ in 0..22 {
        delivery.send(To::User(user()), &event());
    }
    assert!(line.closed.load(Ordering::SeqCst));
    assert_eq!(line.sent.lock().unwrap().last().map(|(name, _)| *name), Some("session:closed"));
}

#[tokio::test]
async fn a_session_too_many_replaces_the_oldest() {
    let delivery = delivery(20);
    let first = connect(&delivery).0;
    for _ in 0..9 {
        connect(&delivery);
    }
    let about = SessionInfo { id: SessionId::new(uuid::Uuid::new_v4()), ..first.about.clone() };
    let (_, replaced) = delivery.open(about, Box::new(Tap(Arc::default())), 10);
    assert_eq!(
        replaced.iter().map(|session| session.about.id).collect::<Vec<_>>(),
        [first.about.id]
    );
    assert_eq!(delivery.connections(), 10);
    assert!(!delivery.close(&first), "a replaced session is not the last one");
}
