//! Simulated calls: packets of two people on four ways, some of which lose packets, and what the SFU would count of them.

use switchboard_media::{
    Codec, Kind, LayerStats, PeerKey, PeerStats, ReceiveStats, SendStats, TrackKey,
};

use super::report::{Report, TrackReport};
use super::score::{self, Audio, Class, Protection};
use super::service::Quality;
use super::verdict::Cause;
use super::window::Direction;
use crate::clock::Timestamp;
use crate::ids::UserId;
use crate::testing::dice::Dice;

/// Whether a figure is the one of a table, within its digits.
#[track_caller]
pub(super) fn near(have: f64, want: f64, by: f64) {
    assert!((have - want).abs() <= by, "{have} is not {want}");
}

const BEGAN: Timestamp = Timestamp(1_780_000_000_000);
const SECONDS: u64 = 120;

/// How a way loses packets.
#[derive(Clone, Copy, Debug)]
struct Loss {
    /// In thousandths.
    share: u64,
    /// Packets lost in a row.
    burst: u64,
}

/// One way between a user and the server.
#[derive(Debug)]
struct Way {
    loss: Loss,
    left: u64,
    sent: f64,
    dropped: f64,
}

impl Way {
    fn loses(&mut self, dice: &mut Dice) -> bool {
        let Loss { share, burst } = self.loss;
        // A burst begins so rarely that the share comes out.
        let begins = self.left == 0 && dice.below(1000 * burst + share - share * burst) < share;
        if begins {
            self.left = burst;
        }
        let lost = self.left > 0;
        self.left = self.left.saturating_sub(1);
        lost
    }

    fn first_loses(&mut self, dice: &mut Dice) -> bool {
        let lost = self.loses(dice);
        self.sent += 1.0;
        self.dropped += f64::from(u8::from(lost));
        lost
    }
}

struct User {
    id: UserId,
    up: Way,
    down: Way,
    /// Sound, and pictures.
    receives: [LayerStats; 2],
    sends: [SendStats; 2],
}

fn user(number: i64) -> UserId {
    serde_json::from_value(serde_json::json!(number)).unwrap()
}

fn track(of: usize, kind: usize) -> TrackKey {
    TrackKey(u64::try_from(10 * of + kind).unwrap())
}

const CODECS: [Codec; 2] = [Codec::Opus, Codec::Vp8];
const LENGTHS: [u64; 2] = [80, 1100];

impl User {
    fn new(place: usize, up: Loss, down: Loss) -> Self {
        let way = |loss| Way { loss, left: 0, sent: 0.0, dropped: 0.0 };
        let section = |kind: usize| SendStats {
            mid: kind.to_string(),
            track: Some(track(1 - place, kind)),
            codec: Some(CODECS[kind]),
            layer: Some(0),
            target: Some(0),
            target_bitrate: 0,
            packets: 0,
            bytes: 0,
            resent: 0,
            nacks: 0,
            plis: 0,
            firs: 0,
            reports: 0,
            fraction_lost: 0,
            lost: 0,
            jitter_us: 4_000,
            rtt_us: None,
            freezes: 0,
            frozen_ms: 0,
        };
        let jitter = LayerStats { jitter_us: 4_000, ..LayerStats::default() };
        let id = user(i64::try_from(place).unwrap() + 1);
        let sends = [section(0), section(1)];
        Self { id, up: way(up), down: way(down), receives: [jitter, jitter], sends }
    }

    fn key(place: usize) -> PeerKey {
        PeerKey(u64::try_from(place).unwrap() + 1)
    }

    fn stats(&mut self, place: usize, age_ms: u64, round_trip: u32) -> PeerStats {
        self.sends.iter_mut().for_each(|section| section.reports += 1);
        let receive = |(kind, layer): (usize, &LayerStats)| ReceiveStats {
            mid: kind.to_string(),
            track: track(place, kind),
            codec: Some(CODECS[kind]),
            layers: vec![*layer],
        };
        PeerStats {
            peer: Self::key(place),
            age_ms,
            rtt_us: Some(round_trip * 1000),
            estimate: None,
            receives: self.receives.iter().enumerate().map(receive).collect(),
            sends: self.sends.to_vec(),
        }
    }
}

/// A call of two, with what its ways lose: the up-link and the down-link of the first, then those of the second.
struct Call {
    users: [User; 2],
    dice: Dice,
}

impl Call {
    fn new(seed: u64, losses: [Loss; 4]) -> Self {
        let [a, b, c, d] = losses;
        Self { users: [User::new(0, a, b), User::new(1, c, d)], dice: Dice::new(seed) }
    }

    /// A packet of `from` on its way to the other.
    fn send(&mut self, from: usize, kind: usize) {
        let [first, second] = &mut self.users;
        let (sender, viewer) = if from == 0 { (first, second) } else { (second, first) };
        let (layer, section) = (&mut sender.receives[kind], &mut viewer.sends[kind]);
        let repairs = CODECS[kind].kind() == Kind::Video;
        if sender.up.first_loses(&mut self.dice) {
            if !repairs {
                layer.lost += 1;
                section.lost += 1;
                return;
            }
            // It is asked for until it comes.
            layer.recovered += 1;
        }
        layer.packets += 1;
        layer.bytes += LENGTHS[kind];
        section.packets += 1;
        section.bytes += LENGTHS[kind];
        if viewer.down.first_loses(&mut self.dice) {
            section.lost += 1;
            section.resent += u64::from(repairs);
        }
    }

    /// Runs it, with round trips of so many milliseconds, and gives the report.
    fn run(&mut self, round_trip: u32) -> Report {
        let quality = Quality::default();
        for (place, user) in self.users.iter().enumerate() {
            assert!(quality.begin(User::key(place), user.id, BEGAN));
        }
        for ms in (0..SECONDS * 1000).step_by(5) {
            for from in [0, 1] {
                // Fifty packets of sound in a second, and two hundred of pictures.
                self.send(from, 1);
                if ms % 20 == 0 {
                    self.send(from, 0);
                }
            }
            for (place, phase) in [(0, 0), (1, 2_300)] {
                if ms > phase && (ms - phase) % 5000 == 0 {
                    let stats = self.users[place].stats(place, ms, round_trip);
                    quality.take(&stats).unwrap();
                }
            }
        }
        // Counts are given out once more at the end.
        for place in [0, 1] {
            let stats = self.users[place].stats(place, SECONDS * 1000, round_trip);
            quality.take(&stats).unwrap();
        }
        let report = quality.end(&[User::key(0), User::key(1)]);
        assert_eq!(quality.followed(), 0);
        report
    }
}

const NONE: Loss = Loss { share: 0, burst: 1 };

fn tracks(report: &Report, user: UserId, direction: Direction) -> Vec<&TrackReport> {
    let legs = report.legs.iter().filter(|leg| leg.user_id == user);
    legs.flat_map(|leg| &leg.tracks).filter(|it| it.direction == direction).collect()
}

fn way(at: usize) -> (usize, Direction) {
    (at / 2, if at.is_multiple_of(2) { Direction::Uplink } else { Direction::Downlink })
}

/// What the formula says of sound with this share of packets lost.
fn formula(loss: f64) -> f64 {
    let (round_trip, buffer, bitrate) = (40.0, 20.0, Some(32e3));
    let audio =
        Audio { loss, round_trip, buffer, bitrate, dtx: false, protection: Protection::Fec };
    score::opinion(audio.rating())
}

/// A call in which one way loses packets: the loss of each way is reported, and the opinion of sound is that of the formula.
fn harmed(seed: u64, at: usize, loss: Loss) -> Report {
    let mut losses = [NONE; 4];
    losses[at] = loss;
    let mut call = Call::new(seed, losses);
    let report = call.run(40);
    for other in 0..4 {
        let (place, direction) = way(other);
        let of = &call.users[place];
        let way = if direction == Direction::Uplink { &of.up } else { &of.down };
        let dropped = 100.0 * way.dropped / way.sent;
        let tracks = tracks(&report, of.id, direction);
        assert_eq!(tracks.len(), 2);
        let packets: f64 =
            tracks.iter().map(|it| f64::from(u32::try_from(it.packets).unwrap())).sum();
        let missed: f64 = tracks
            .iter()
            .map(|it| it.loss_pct * f64::from(u32::try_from(it.packets).unwrap()) / packets)
            .sum();
        let case = format!("seed {seed}, {loss:?} on way {at}: {direction:?} of user {}", of.id);
        assert!((missed - dropped).abs() <= 0.5, "{case}: {missed} is not {dropped}");
        for it in tracks {
            let mos = it.mos.unwrap();
            let repaired = if it.kind == "audio" { it.loss_pct } else { 0.0 };
            assert!((it.loss_after_repair_pct - repaired).abs() < 0.01, "{case}: {it:?}");
            if it.kind == "audio" {
                let wanted = formula(it.loss_pct);
                assert!((mos.avg - wanted).abs() <= 0.2, "{case}: {mos:?} is not {wanted}");
            }
        }
    }
    report
}

#[test]
fn what_is_lost_on_one_way_is_reported_and_named() {
    let mut seed = 1;
    for share in [10, 30, 50, 100, 200] {
        for burst in [1, 5] {
            for at in 0..4 {
                seed += 1;
                let report = harmed(seed, at, Loss { share, burst });
                let ((place, direction), verdict) = (way(at), &report.verdict);
                let case = format!("seed {seed}, {share} ‰ in {burst} on way {at}: {verdict:?}");
                let blamed = (verdict.user_id, verdict.direction, verdict.cause);
                let right = (Some(user(place as i64 + 1)), Some(direction), Some(Cause::Loss));
                // Of one percent it is enough that nobody else is blamed.
                assert!(blamed == right || share == 10 && verdict.cause.is_none(), "{case}");
            }
        }
    }
}

#[test]
fn where_nothing_is_lost_nothing_is_wrong() {
    for seed in 100..120 {
        let report = harmed(seed, 0, NONE);
        assert_eq!(report.verdict.main, "no problem found", "seed {seed}");
        assert!(report.verdict.score >= Some(Class::Good), "seed {seed}: {:?}", report.verdict);
    }
}

#[test]
fn round_trips_are_reported_within_a_tenth() {
    for round_trip in [50, 100, 200, 300, 400] {
        let report = Call::new(7, [NONE; 4]).run(round_trip);
        for track in report.legs.iter().flat_map(|leg| &leg.tracks) {
            let found = track.rtt_ms.unwrap().p50;
            let wanted = f64::from(round_trip);
            assert!((found - wanted).abs() <= wanted / 10.0, "{found} is not {wanted}");
        }
        let named = report.verdict.cause == Some(Cause::Delay);
        assert_eq!(named, round_trip >= 400, "{:?}", report.verdict);
    }
}

#[test]
fn a_report_is_small_however_unsteady_the_call_is() {
    let losses = [Loss { share: 100, burst: 200 }; 4];
    let report = Call::new(9, losses).run(40);
    for leg in &report.legs {
        let length = serde_json::to_string(leg).unwrap().len();
        assert!(length <= 4096, "{length} bytes");
    }
}

#[test]
fn a_track_takes_little_room() {
    let line = size_of::<super::leg::Line>();
    let windows = super::leg::WINDOWS * size_of::<super::window::Window>();
    assert!(line + windows <= 3 * 1024, "{line} and {windows} bytes");
}

#[test]
fn who_is_sent_something_and_says_nothing_is_lost() {
    let quality = Quality::default();
    let mut ben = User::new(1, NONE, NONE);
    quality.begin(User::key(1), ben.id, BEGAN);
    let mut levels = None;
    for number in 1..=6 {
        ben.sends[0].packets += 250;
        ben.sends[0].bytes += 20_000;
        let mut stats = ben.stats(1, number * 5000, 40);
        if number > 3 {
            stats.sends[0].reports = 3;
            stats.sends[1].reports = 3;
        }
        levels = quality.take(&stats);
    }
    // The newest window is not judged yet.
    assert_eq!(levels.unwrap().downlink, Some(Class::Lost));
    let report = quality.end(&[User::key(1)]);
    assert_eq!(report.verdict.cause, Some(Cause::Silence));
    assert!(report.verdict.main.starts_with("user 2 sent and reported nothing"), "{report:?}");
}

#[test]
fn connections_that_are_not_followed_are_passed_over() {
    let quality = Quality::default();
    let stats = User::new(0, NONE, NONE).stats(0, 5000, 40);
    assert_eq!(quality.take(&stats), None);
    assert_eq!(quality.end(&[User::key(0)]).verdict.main, "nothing was measured");
}
