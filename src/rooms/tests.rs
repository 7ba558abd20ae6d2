//! What rooms promise, in virtual time: what is agreed on, who is notified of it, and how much work that is.

mod ends;
mod house;
mod pace;
mod private;
mod random;
mod work;

use std::time::Duration;

use switchboard_media::{Codec, Event as Media, Format, Profile};

use self::house::{House, Section, camera, description, layered, microphone};
use super::{RoomError, Side};
use crate::error::{Problem, Reason};
use crate::event::room::{Permissions, TrackSource};

/// An offer of a camera, as a client writes it.
pub(super) fn offer() -> String {
    description(&[camera("0", &VP8)])
}

const VP8: [&str; 1] = ["VP8"];
const H264: [&str; 1] = ["H264"];

#[test]
fn a_section_that_is_coded_otherwise_is_another_track() {
    let house = House::new();
    let (ann, bob) = (house.enter(1), house.enter(2));
    let before = ann.publish(&[camera("0", &["VP8", "H264"])]).unwrap();
    let after = ann.publish(&[camera("0", &["H264", "VP8"])]).unwrap();
    assert_eq!((before.tracks[0].codec, after.tracks[0].codec), ("vp8", "h264"));
    assert_ne!(before.tracks[0].track_id, after.tracks[0].track_id);
    let layers = ann.publish(&[layered("0", &["H264", "VP8"])]).unwrap();
    assert_ne!(layers.tracks[0].track_id, after.tracks[0].track_id);
    let same = ann.publish(&[layered("0", &["H264", "VP8"])]).unwrap();
    assert_eq!(same.tracks[0].track_id, layers.tracks[0].track_id);
    let changed = ["room:track-published", "room:track-unpublished"];
    let names: Vec<_> = bob.names().into_iter().filter(|name| changed.contains(name)).collect();
    assert_eq!(names, [changed[0], changed[1], changed[0], changed[1], changed[0]]);
}

#[test]
fn what_is_held_stays_the_track_that_it_is() {
    let house = House::new();
    let (ann, bob) = (house.enter(1), house.enter(2));
    let sections = [microphone("0"), layered("1", &VP8)];
    let before = ann.publish(&sections).unwrap();
    for held in ["inactive", "recvonly"] {
        let silent = sections.clone().map(|section| section.direction(held));
        let holding = ann.publish(&silent).unwrap();
        assert!(!holding.answer.sdp.contains(" 0 UDP"), "nothing is rejected");
        assert_eq!(holding.answer.sdp.matches("a=inactive").count(), 2);
        assert!(house.tracks(&ann).iter().all(|track| track.muted));
        let after = ann.publish(&sections).unwrap();
        let ids = |tracks: &super::Publishing| -> Vec<_> {
            tracks.tracks.iter().map(|track| track.track_id).collect()
        };
        assert_eq!((ids(&holding), ids(&after)), (ids(&before), ids(&before)));
        assert!(house.tracks(&ann).iter().all(|track| !track.muted));
    }
    assert_eq!(bob.count("room:track-muted"), 8);
    assert_eq!(bob.count("room:track-unpublished"), 0);
}

#[test]
fn who_goes_on_needs_the_right_to_and_the_room_for_it() {
    let house = House::new();
    let ann = house.enter(1);
    let most = house.room().rules.tracks_per_participant;
    let many: Vec<Section> = (0..most).map(|mid| camera(&mid.to_string(), &VP8)).collect();
    ann.publish(&many).unwrap();
    let mut held: Vec<Section> = many.clone();
    held[0] = held[0].clone().direction("inactive");
    ann.publish(&held).unwrap();
    held.push(camera("more", &VP8));
    assert_eq!(ann.publish(&held).unwrap_err(), RoomError::TrackLimit(most));
    held.pop();
    let sources = vec![TrackSource::Microphone];
    house.permit(&ann, Permissions { sources, ..Permissions::default() });
    assert_eq!(ann.publish(&many).unwrap_err(), RoomError::MayNotPublish);
    held.iter_mut().for_each(|section| *section = section.clone().direction("inactive"));
    assert_eq!(ann.publish(&held).unwrap().tracks.len(), most, "to hold is no right");
}

#[test]
fn what_is_unpublished_or_rejected_is_gone_also_when_nothing_is_left() {
    let house = House::new();
    let (ann, bob) = (house.enter(1), house.enter(2));
    ann.publish(&[camera("0", &VP8)]).unwrap();
    let ended = ann.unpublish(&[camera("0", &VP8).direction("inactive")]).unwrap();
    assert!(ended.tracks.is_empty());
    assert_eq!(bob.count("room:track-unpublished"), 1);
    // The section is free for another track.
    ann.publish(&[camera("0", &VP8)]).unwrap();
    assert_eq!(bob.count("room:track-published"), 2);
    let stopped = ann.publish(&[camera("0", &VP8).rejected()]).unwrap();
    assert!(stopped.tracks.is_empty());
    assert_eq!(bob.count("room:track-unpublished"), 2);
    bob.answer();
    assert_eq!(bob.offers().last().unwrap().1, 0, "nothing is offered any more");
}

#[test]
fn a_section_that_a_viewer_by_http_holds_is_there_all_the_same() {
    let house = House::new();
    let sections = [microphone("0").direction("recvonly"), camera("1", &VP8).direction("inactive")];
    let answer = house.by_http(9, Side::View(None), &sections).unwrap();
    assert!(!answer.answer.contains("m=video 0"), "{}", answer.answer);
    assert!(answer.answer.contains("a=sendonly") && answer.answer.contains("a=inactive"));
    let publishing = [microphone("0"), camera("1", &VP8).direction("inactive")];
    let answer = house.by_http(8, Side::Publish, &publishing).unwrap();
    assert!(!answer.answer.contains("m=video 0"), "{}", answer.answer);
    let nothing = [microphone("0").direction("inactive")];
    for side in [Side::Publish, Side::View(None)] {
        let refused = Problem::from(house.by_http(7, side, &nothing).unwrap_err());
        assert_eq!(refused.reason, Reason::NoMedia);
    }
}

#[test]
fn a_publisher_that_vanished_gives_its_place_to_one_that_sends() {
    let house = House::new();
    let section = [camera("0", &VP8)];
    house.by_http(7, Side::Publish, &section).unwrap();
    let viewer = house.by_http(8, Side::View(None), &[camera("0", &VP8).direction("recvonly")]);
    let viewer = viewer.unwrap().session;
    let old = house.shown_to(viewer)[0];
    house.sends(old, true);
    house.by_http(7, Side::Publish, &section).unwrap();
    let new = house.newest();
    assert_eq!(house.shown_to(viewer), [old]);
    // Who is silent keeps its place as long as nobody else sends.
    house.sends(old, false);
    house.pass(Duration::from_secs(3));
    assert_eq!(house.shown_to(viewer), [old]);
    house.sends(new, true);
    house.pass(Duration::from_secs(1));
    assert_eq!(house.shown_to(viewer), [new]);
    // Who comes back waits for a place.
    house.sends(old, true);
    house.pass(Duration::from_secs(5));
    assert_eq!(house.shown_to(viewer), [new]);
}

#[test]
fn a_viewer_that_takes_nothing_of_what_there_is_is_refused_in_words() {
    let house = House::new();
    let view = |codecs: &[&str]| {
        house.by_http(8, Side::View(None), &[camera("0", codecs).direction("recvonly")])
    };
    assert!(view(&VP8).is_ok(), "nobody publishes yet");
    house.enter(1).publish(&[camera("0", &H264)]).unwrap();
    let refused = Problem::from(view(&VP8).unwrap_err());
    assert_eq!(refused.reason.status(), 406);
    assert!(refused.message.contains("vp8"), "{}", refused.message);
    assert!(refused.message.contains("h264 (constrained baseline"), "{}", refused.message);
    assert!(view(&["VP8", "H264"]).is_ok());
    // What can be heard is no reason to refuse, and the picture comes when there is one.
    house.enter(2).publish(&[microphone("0")]).unwrap();
    let sections = [microphone("0"), camera("1", &VP8)];
    let sections = sections.map(|section| section.direction("recvonly"));
    let viewer = house.by_http(9, Side::View(None), &sections).unwrap().session;
    assert_eq!(house.shown_to(viewer).len(), 1);
    house.enter(3).publish(&[camera("0", &VP8)]).unwrap();
    assert_eq!(house.shown_to(viewer).len(), 2);
}

#[test]
fn a_viewer_that_does_not_take_what_a_track_has_become_is_notified() {
    let house = House::new();
    let (ann, bob) = (house.enter(1), house.enter(2));
    let track = ann.publish(&[camera("0", &H264)]).unwrap().tracks[0].track_id;
    bob.answer();
    assert_eq!(bob.offers().last().unwrap().1, 1);
    let variant = |profile| Format { profile, ..Format::from(Codec::H264) };
    house.event(Media::Coded { track: house.key(track), format: variant(Profile::High) });
    assert_eq!(bob.reasons("room:track-paused"), ["CODEC_UNSUPPORTED"]);
    assert_eq!(bob.offers().last().unwrap().1, 0);
    bob.answer();
    assert_eq!(bob.reasons("room:track-paused").len(), 1, "it is said once");
    let constrained = variant(Profile::ConstrainedBaseline);
    house.event(Media::Coded { track: house.key(track), format: constrained });
    assert_eq!(bob.reasons("room:track-resumed"), ["CODEC_UNSUPPORTED"]);
    assert_eq!(bob.offers().last().unwrap().1, 1);
    // Who never took it is notified as well.
    let cas = house.enter(3);
    cas.answer_without("H264");
    assert_eq!(cas.reasons("room:track-paused"), ["CODEC_UNSUPPORTED"]);
}

#[test]
fn an_answer_and_a_track_cost_what_they_concern() {
    const PEOPLE: usize = 30;
    let house = House::new();
    let people: Vec<_> = (1..=PEOPLE).map(|user| house.enter(user.try_into().unwrap())).collect();
    for person in &people {
        person.publish(&[microphone("0"), camera("1", &VP8)]).unwrap();
    }
    people.iter().for_each(house::Person::answer);
    let others = 2 * (PEOPLE - 1);
    people[0].answer();
    house.decided();

    people[0].publish(&[microphone("0"), camera("1", &VP8), camera("2", &VP8)]).unwrap();
    assert_eq!(house.decided(), PEOPLE, "one new track, once for each");

    people[1].answer();
    assert_eq!(house.decided(), others + 1, "its own sections");

    let late = house.enter(99);
    assert_eq!(house.decided(), 2 * PEOPLE + 1, "who comes is offered everything");
    late.publish(&[microphone("0")]).unwrap();
    assert_eq!(house.decided(), PEOPLE + 1);
}

#[test]
fn why_a_description_is_refused_arrives_whole() {
    let house = House::new();
    let ann = house.enter(1);
    let empty = description(&[camera("0", &["H265"])]);
    for text in [&empty, "hello", "v=0\r\nnonsense"] {
        let why = switchboard_media::Description::parse(text, 64).err().map(|it| it.to_string());
        let refused = [
            Problem::from(ann.publish_text(text).unwrap_err()),
            Problem::from(house.text_by_http(7, Side::Publish, text).unwrap_err()),
        ];
        for problem in refused {
            assert!((400..500).contains(&problem.reason.status().as_u16()), "{problem:?}");
            let why = why.as_deref().unwrap_or("section 0");
            assert!(problem.message.contains(why), "{} lacks {why}", problem.message);
        }
    }
}
