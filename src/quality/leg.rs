//! A leg: the connection between one user and the server, and each track on it, by what the SFU counts of it every five seconds.

use std::collections::{BTreeMap, VecDeque};

use switchboard_media::{Codec, Kind, LayerStats, PeerStats, ReceiveStats, SendStats, TrackKey};

use super::score::{Class, Smoothed};
use super::tally::Tally;
use super::verdict::{Episodes, Seen};
use super::window::{Direction, Figures, Window};
use crate::clock::Timestamp;
use crate::ids::UserId;

/// Windows that are kept of a track: the last five minutes.
pub(super) const WINDOWS: usize = 60;
/// Tracks of a leg that are measured, both ways together.
const TRACKS: usize = 64;
/// A stretch that is shorter says too little; it counts, but is no window.
const SHORTEST_MS: u64 = 1_000;
/// Windows after which a leg that says nothing is lost.
const SILENT: u8 = 2;

/// Packets of each layer of each published track that never reached the server. Nobody can be sent those: viewers miss them by no
/// fault of their own connections.
pub(super) type Holes = BTreeMap<TrackKey, Vec<i64>>;

/// What was counted of a section until now.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    packets: u64,
    bytes: u64,
    /// Packets that came or went by retransmission.
    repeated: u64,
    lost: i64,
    reports: u64,
    freezes: u32,
    frozen_ms: u64,
}

impl Count {
    fn of_layers(layers: &[LayerStats]) -> Self {
        let mut all = Self::default();
        for layer in layers {
            all.packets += layer.packets;
            all.bytes += layer.bytes;
            all.repeated += layer.recovered;
            all.lost += layer.lost;
        }
        all
    }

    fn of_section(sent: &SendStats) -> Self {
        Self {
            packets: sent.packets,
            bytes: sent.bytes,
            repeated: sent.resent,
            lost: sent.lost.into(),
            reports: sent.reports,
            freezes: sent.freezes,
            frozen_ms: sent.frozen_ms,
        }
    }

    /// What came since `before`; all of it when another one began to count.
    fn since(self, before: Self) -> Self {
        if self.packets < before.packets || self.reports < before.reports {
            return self;
        }
        Self {
            packets: self.packets - before.packets,
            bytes: self.bytes.saturating_sub(before.bytes),
            repeated: self.repeated.saturating_sub(before.repeated),
            lost: self.lost - before.lost,
            reports: self.reports - before.reports,
            freezes: self.freezes.saturating_sub(before.freezes),
            frozen_ms: self.frozen_ms.saturating_sub(before.frozen_ms),
        }
    }
}

/// Packets of a track over its whole time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) packets: f64,
    pub(super) missed: f64,
    pub(super) lost: f64,
    pub(super) bytes: u64,
    pub(super) freezes: u32,
    pub(super) frozen_ms: u64,
}

impl Totals {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count of packets"
    )]
    pub(super) fn packet_count(&self) -> u64 {
        self.packets as u64
    }

    pub(super) fn bits(&self) -> f64 {
        whole(self.bytes) * 8.0
    }
}

/// One track, one way.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) track: TrackKey,
    pub(super) direction: Direction,
    pub(super) kind: Kind,
    /// In tenths of a second since the leg began.
    pub(super) from: u32,
    pub(super) until: u32,
    pub(super) totals: Totals,
    pub(super) tally: Tally,
    pub(super) episodes: Episodes,
    pub(super) windows: VecDeque<Window>,
    /// The window that what never reached the server may still be taken from, and when it began.
    open: Option<(u32, Window)>,
    smoothed: Smoothed,
    class: Option<Class>,
    /// The share of packets that the last report says are lost.
    share: f64,
    /// Packets that no report is about yet.
    unreported: f64,
    /// Layer, and what of it had never reached the server when it was last looked at.
    holes: Option<(u8, i64)>,
    /// Packets that never reached the server and that no report has mentioned yet.
    excused: f64,
}

impl Line {
    fn new(track: TrackKey, direction: Direction, kind: Kind, from: u32) -> Self {
        Self {
            track,
            direction,
            kind,
            from,
            until: from,
            totals: Totals::default(),
            tally: Tally::default(),
            episodes: Episodes::default(),
            windows: VecDeque::new(),
            open: None,
            smoothed: Smoothed::default(),
            class: None,
            share: 0.0,
            unreported: 0.0,
            holes: None,
            excused: 0.0,
        }
    }

    /// How good it is now.
    pub(super) fn class(&self) -> Option<Class> {
        self.class
    }

    /// Packets sent, missed at first, and lost, of what was counted since the last time.
    fn packets(&mut self, count: Count, holes: f64) -> (f64, f64, f64) {
        let (packets, repeated, lost) =
            (whole(count.packets), whole(count.repeated), count.lost.max(0));
        let lost = whole(lost.cast_unsigned());
        if self.direction == Direction::Uplink {
            self.totals.packets += packets + lost;
            self.totals.missed += lost + repeated;
            self.totals.lost += lost;
            return (packets + lost, lost + repeated, lost);
        }
        self.unreported += packets;
        self.totals.packets += packets;
        self.excused += holes;
        if count.reports == 0 {
            // What is not reported yet will be like what was.
            let missed = packets * self.share;
            return (packets, missed, (missed - repeated).max(0.0));
        }
        let excused = lost.min(self.excused);
        self.excused -= excused;
        let mut missed = lost - excused;
        if let Some((_, before)) = self.open.as_mut() {
            let forgiven = before.forgive(self.excused);
            self.totals.missed = (self.totals.missed - forgiven).max(0.0);
            self.totals.lost = self.totals.lost.min(self.totals.missed);
        }
        self.excused = holes.min(self.excused);
        let lost = (missed - repeated).max(0.0);
        self.totals.missed += missed;
        self.totals.lost += lost;
        let of = std::mem::take(&mut self.unreported).max(packets).max(1.0);
        self.share = (missed / of).min(1.0);
        let left = if missed > 0.0 { lost / missed } else { 0.0 };
        missed = self.share * packets;
        (packets, missed, missed * left)
    }

    /// Packets of the layer that is shown which have not reached the server since the last time.
    fn new_holes(&mut self, sent: &SendStats, holes: &Holes) -> f64 {
        let Some(layer) = sent.layer else { return 0.0 };
        let of_track = holes.get(&self.track);
        let now = of_track.and_then(|it| it.get(usize::from(layer))).copied().unwrap_or(0);
        let before = self.holes.replace((layer, now));
        let before = before.filter(|&(shown, _)| shown == layer).map_or(now, |(_, count)| count);
        whole((now - before).max(0).cast_unsigned())
    }

    /// Opens the next window. Uplinks are judged at once; viewers only when publishers have had the time to be counted.
    fn push(&mut self, from: u32, window: Window) {
        self.settle();
        self.open = Some((from, window));
        if self.direction == Direction::Uplink {
            self.settle();
        }
    }

    /// Judges the window that is open.
    pub(super) fn settle(&mut self) {
        let Some((from, window)) = self.open.take() else { return };
        self.windows.push_back(window);
        if self.windows.len() > WINDOWS {
            self.windows.pop_front();
        }
        let Some(score) = window.score(self.kind) else { return };
        let opinion = window.opinion(score);
        let class = window.class(self.smoothed.take(score));
        self.class = Some(class);
        self.tally.note_opinion(opinion);
        self.tally.note_times(window.round_trip(), window.jitter());
        self.tally.note_class(from, class);
        self.episodes.take(from, &window, self.kind, opinion);
    }

    pub(super) fn seen(&self, user: UserId, began: Timestamp) -> Seen<'_> {
        let low = self.tally.opinions().map(|opinions| opinions.p10);
        Seen { user, began, direction: self.direction, episodes: &self.episodes, low }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Leg {
    pub(super) user: UserId,
    pub(super) began: Timestamp,
    pub(super) lines: Vec<Line>,
    counts: BTreeMap<(Direction, String), Count>,
    age_ms: u64,
    silent: u8,
}

/// What all tracks of a leg have in common in a window.
#[derive(Clone, Copy)]
struct Stretch {
    from: u32,
    until: u32,
    ms: u64,
    round_trip: Option<f64>,
    is_silent: bool,
}

impl Leg {
    pub(super) fn new(user: UserId, began: Timestamp) -> Self {
        let (lines, counts) = (Vec::new(), BTreeMap::new());
        Self { user, began, lines, counts, age_ms: 0, silent: 0 }
    }

    /// How long it has been there, in seconds.
    pub(super) fn duration(&self) -> f64 {
        f64::from(tenths(self.age_ms)) / 10.0
    }

    /// The class of its worst track of one way.
    pub(super) fn class(&self, direction: Direction) -> Option<Class> {
        self.lines.iter().filter(|it| it.direction == direction).filter_map(Line::class).min()
    }

    /// The tracks that it sends.
    pub(super) fn published(&self) -> impl Iterator<Item = TrackKey> {
        let uplinks = self.lines.iter().filter(|line| line.direction == Direction::Uplink);
        uplinks.map(|line| line.track)
    }

    /// Takes what the SFU has counted by now; `holes` is brought up to date with what this leg publishes.
    pub(super) fn take(&mut self, stats: &PeerStats, holes: &mut Holes) {
        let before = std::mem::replace(&mut self.age_ms, stats.age_ms);
        let received: Vec<(&ReceiveStats, Count)> =
            stats.receives.iter().map(|it| (it, self.advance_receive(it))).collect();
        let sent: Vec<(&SendStats, Count)> =
            stats.sends.iter().map(|it| (it, self.advance_send(it))).collect();
        let ms = stats.age_ms.saturating_sub(before);
        let reports = sent.iter().any(|(_, count)| count.reports > 0);
        let arrives = reports || received.iter().any(|(_, count)| count.packets > 0);
        let is_sent = sent.iter().any(|(_, count)| count.packets > 0);
        if ms >= SHORTEST_MS {
            self.silent = if arrives || !is_sent { 0 } else { self.silent.saturating_add(1) };
        }
        let round_trip = stats.rtt_us.filter(|_| reports).map(|us| f64::from(us) / 1000.0);
        let is_silent = self.silent >= SILENT;
        let (from, until) = (tenths(before), tenths(stats.age_ms));
        let stretch = Stretch { from, until, ms, round_trip, is_silent };
        for (section, count) in received {
            holes.insert(section.track, section.layers.iter().map(|layer| layer.lost).collect());
            self.uplink(section, count, stretch);
        }
        for (section, count) in sent {
            self.downlink(section, count, holes, stretch);
        }
    }

    fn advance_receive(&mut self, section: &ReceiveStats) -> Count {
        self.advance(Direction::Uplink, &section.mid, Count::of_layers(&section.layers))
    }

    fn advance_send(&mut self, section: &SendStats) -> Count {
        self.advance(Direction::Downlink, &section.mid, Count::of_section(section))
    }

    fn advance(&mut self, direction: Direction, mid: &str, now: Count) -> Count {
        let before = self.counts.insert((direction, mid.to_owned()), now);
        now.since(before.unwrap_or_default())
    }

    fn uplink(&mut self, section: &ReceiveStats, count: Count, stretch: Stretch) {
        let loudest = section.layers.iter().max_by_key(|layer| layer.bitrate);
        let jitter = loudest.map(|layer| f64::from(layer.jitter_us) / 1000.0);
        let Some(line) = self.line(section.track, Direction::Uplink, section.codec, stretch) else {
            return;
        };
        line.note(count, 0.0, jitter.filter(|_| count.packets > 0), stretch);
    }

    fn downlink(&mut self, section: &SendStats, count: Count, holes: &Holes, stretch: Stretch) {
        let Some(track) = section.track else { return };
        let jitter = (count.reports > 0).then(|| f64::from(section.jitter_us) / 1000.0);
        let Some(line) = self.line(track, Direction::Downlink, section.codec, stretch) else {
            return;
        };
        let holes = line.new_holes(section, holes);
        line.note(count, holes, jitter, stretch);
    }

    fn line(
        &mut self,
        track: TrackKey,
        direction: Direction,
        codec: Option<Codec>,
        stretch: Stretch,
    ) -> Option<&mut Line> {
        let known = self.lines.iter().position(|it| it.track == track && it.direction == direction);
        let place = match known {
            Some(place) => place,
            None if self.lines.len() >= TRACKS => return None,
            None => {
                self.lines.push(Line::new(track, direction, codec?.kind(), stretch.from));
                self.lines.len() - 1
            }
        };
        self.lines.get_mut(place)
    }
}

impl Line {
    fn note(&mut self, count: Count, holes: f64, jitter: Option<f64>, stretch: Stretch) {
        let (packets, missed, lost) = self.packets(count, holes);
        self.totals.bytes += count.bytes;
        self.totals.freezes += count.freezes;
        self.totals.frozen_ms += count.frozen_ms;
        self.until = stretch.until;
        if stretch.ms < SHORTEST_MS {
            return;
        }
        let figures = Figures {
            packets,
            missed,
            lost,
            round_trip: stretch.round_trip,
            jitter,
            bitrate: whole(count.bytes) * 8000.0 / whole(stretch.ms),
            freezes: count.freezes,
            is_silent: stretch.is_silent,
        };
        self.push(stretch.from, Window::new(stretch.until, &figures));
    }
}

fn tenths(ms: u64) -> u32 {
    u32::try_from(ms / 100).unwrap_or(u32::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "counts of packets and bytes")]
fn whole(count: u64) -> f64 {
    count as f64
}
