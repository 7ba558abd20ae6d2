//! Whatever way somebody comes in by: who is recorded is notified, asked, listed and erased.

use super::*;
use crate::rooms::{Side, Visitor};

#[tokio::test]
async fn whoever_sends_is_in_the_recording_whatever_way_they_came() {
    let world = world(|_| {}).await;
    let (dan, target) = (world.connect(person(4)).await, a_room(&world));
    let id = world.record(3, &target).await.recording_id;
    // Nobody said that they came.
    world.publish(&target.room, 4);
    let guest = Publisher { who: "g".into(), user: UserId::guest(5), name: Some("Visitor".into()) };
    let part = Part { key: TrackKey(70), codec: Codec::Opus, screen: false };
    world.app.recorder.sends(&target.room, KEY, guest, vec![part]);
    up_to(&dan, "recording:started").await;
    let stored = || async { world.app.recordings.one(of(4), id).await.unwrap() };
    let mut shown = stored().await;
    for _ in 0..2000 {
        if !shown.guests.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await; // paces looks: up to ten seconds
        shown = stored().await;
    }
    assert_eq!(shown.user_ids, [person(1), person(2), person(4)]);
    assert_eq!(shown.guests, ["Visitor"]);
    world.speak(4);
    world.app.recordings.erase(person(4)).await.unwrap();
    until("it is over", || world.app.recordings.stats().unfinished == 0).await;
    world.until_gone(id).await;
}

#[tokio::test]
async fn who_publishes_by_http_is_a_member_and_is_asked() {
    let world = world(|config| {
        config.recordings.consent = Consent::Required;
        config.rooms.create = crate::config::RoomCreate::Anyone;
    })
    .await;
    let (ada, ben) = (world.connect(person(1)).await, world.connect(person(2)).await);
    let room: RoomId = "standup".parse().unwrap();
    let publish = |user: i64| {
        let (user, name) = (person(user), user.to_string());
        let visitor = Visitor { user, name, operator: true, token: None, until: None };
        world.app.rooms.offer_by_http(&room, visitor, Side::Publish, OFFER)
    };
    publish(1).await.unwrap();
    let target = RecordingTarget { room: room.clone(), people: Vec::new(), moderators: Vec::new() };
    let (by, mode) = (Some(person(3)), RecordingMode::Tracks);
    let id = world.app.recordings.start(by, target, mode).await.unwrap().recording_id;
    let events = up_to(&ada, "recording:consent-request").await;
    assert_eq!(names(&events), ["recording:started", "recording:consent-request"]);
    publish(2).await.unwrap();
    up_to(&ben, "recording:consent-request").await;
    assert_eq!(world.app.recordings.one(of(2), id).await.unwrap().user_ids, [person(1), person(2)]);
    let taken = || world.app.recorder.taps.lock().unwrap().len();
    assert_eq!(taken(), 0, "nobody agreed");
    world.app.recordings.agree(&room, person(2));
    world.app.recordings.agree(&room, person(9));
    assert_eq!(taken(), 1);
    assert!(world.app.recordings.active_for(&room, person(2)).is_some_and(|(_, takes)| takes));
    world.app.recordings.consent(person(1), id, true).await.unwrap();
    assert_eq!(taken(), 2);
    world.app.recordings.consent(person(2), id, false).await.unwrap();
    assert_eq!(taken(), 1, "who agreed may take it back");
    world.app.recordings.erase(person(2)).await.unwrap();
    until("it is over", || world.app.recordings.stats().unfinished == 0).await;
    world.until_gone(id).await;
}

/// What a WHIP client that sends a voice offers.
const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendonly\r\na=rtcp-mux\r\n\
    a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=setup:actpass\r\n\
    a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n\
    a=rtpmap:111 opus/48000/2\r\na=msid:s t\r\na=ssrc:1234 cname:c\r\n";
