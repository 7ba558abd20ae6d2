//! What is kept of the quality of a call or of a stay in a room when it is over: a few numbers of each track, and the verdict.

use serde::Serialize;
use switchboard_media::Kind;
use utoipa::ToSchema;

use super::leg::{Leg, Line};
use super::score::Class;
use super::tally::{Opinions, Times, hundredths};
use super::verdict::Verdict;
use super::window::Direction;
use crate::clock::Timestamp;
use crate::ids::UserId;

/// Tracks of a leg that a report gives, the worst first; with them and [`LEVELS`] it has at most 4 kB.
const TRACKS: usize = 8;
/// Changes of class that a report gives of a track.
const LEVELS: usize = 12;

/// The quality of a call or of a stay in a room. Scores are estimated.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = QualityReport)]
pub struct Report {
    /// What was wrong, in one sentence.
    pub verdict: Verdict,
    /// The connection of each user with the server; another one for each that was made anew.
    pub legs: Vec<LegReport>,
}

/// The connection of one user with the server.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = QualityLeg)]
pub struct LegReport {
    /// Whose.
    pub user_id: UserId,
    /// When it began.
    pub began: Timestamp,
    /// How long it was there, in seconds.
    pub duration: f64,
    /// The worst tracks on it.
    pub tracks: Vec<TrackReport>,
    /// How many there are beside those.
    #[serde(skip_serializing_if = "is_none")]
    pub more_tracks: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it")]
fn is_none(count: &usize) -> bool {
    *count == 0
}

/// One track, one way.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = QualityTrack)]
pub struct TrackReport {
    /// Which way.
    pub direction: Direction,
    /// `audio` or `video`.
    pub kind: &'static str,
    /// When it began and ended, in seconds since the leg began.
    pub from: f64,
    /// See `from`.
    pub until: f64,
    /// Packets that were sent to the receiver, retransmissions not counted.
    pub packets: u64,
    /// Percent of them that did not arrive at first.
    pub loss_pct: f64,
    /// Percent of them that did not arrive by retransmission either; on the downlink estimated by what was sent again.
    pub loss_after_repair_pct: f64,
    /// Round trips, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<Times>,
    /// Interarrival jitter, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter_ms: Option<Times>,
    /// Estimated opinions; none when nothing was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mos: Option<Opinions>,
    /// Thousands of bits in a second, on average.
    pub kbps: f64,
    /// Freezes of the picture.
    pub freezes: u32,
    /// Milliseconds that they took.
    pub frozen_ms: u64,
    /// How good it was from which second on; the first changes.
    pub levels: Vec<(f64, Class)>,
}

impl Report {
    /// The report on legs that are over.
    pub(super) fn on(legs: &mut [Leg]) -> Self {
        legs.iter_mut().flat_map(|leg| &mut leg.lines).for_each(Line::settle);
        let tracks =
            legs.iter().flat_map(|leg| leg.lines.iter().map(|line| line.seen(leg.user, leg.began)));
        let verdict = Verdict::on(tracks);
        Self { verdict, legs: legs.iter().map(LegReport::on).collect() }
    }
}

impl LegReport {
    fn on(leg: &Leg) -> Self {
        let mut lines: Vec<&Line> = leg.lines.iter().collect();
        let low = |line: &Line| line.tally.opinions().map_or(5.0, |opinions| opinions.p10);
        lines.sort_by(|a, b| low(a).total_cmp(&low(b)));
        let more_tracks = lines.len().saturating_sub(TRACKS);
        let tracks = lines.into_iter().take(TRACKS).map(TrackReport::on).collect();
        Self { user_id: leg.user, began: leg.began, duration: leg.duration(), tracks, more_tracks }
    }
}

impl TrackReport {
    fn on(line: &Line) -> Self {
        let totals = line.totals;
        let percent = |part: f64| match totals.packets {
            0.0 => 0.0,
            packets => hundredths((100.0 * part / packets).clamp(0.0, 100.0)),
        };
        let (from, until) = (seconds(line.from), seconds(line.until));
        let levels = line.tally.levels().iter().take(LEVELS);
        Self {
            direction: line.direction,
            kind: if line.kind == Kind::Audio { "audio" } else { "video" },
            from,
            until,
            packets: totals.packet_count(),
            loss_pct: percent(totals.missed),
            loss_after_repair_pct: percent(totals.lost),
            rtt_ms: line.tally.round_trips(),
            jitter_ms: line.tally.jitters(),
            mos: line.tally.opinions(),
            kbps: hundredths(totals.bits() / 1000.0 / (until - from).max(0.1)),
            freezes: totals.freezes,
            frozen_ms: totals.frozen_ms,
            levels: levels.map(|&(at, class)| (seconds(at), class)).collect(),
        }
    }
}

fn seconds(tenths: u32) -> f64 {
    f64::from(tenths) / 10.0
}
