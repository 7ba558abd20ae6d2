//! Verdicts: what was wrong with a track, found by the rules of one table. A rule looks at one figure of each window; windows in
//! a row that it objects to are an episode, and the worst one is kept, so that a call of hours takes no more room than one of minutes.

use serde::Serialize;
use switchboard_media::Kind;
use utoipa::ToSchema;

use super::score::Class;
use super::window::{Direction, Window};
use crate::clock::Timestamp;
use crate::ids::UserId;

/// What was wrong.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = QualityCause)]
pub enum Cause {
    /// The user sent nothing at all, although media were sent to them.
    Silence,
    /// Packets were lost.
    Loss,
    /// Round trips were long.
    Delay,
    /// Packets came unevenly.
    Jitter,
    /// Pictures stood still.
    Freezes,
}

/// A rule: which windows it objects to, and how many of them are an episode.
struct Rule {
    cause: Cause,
    /// The figure of a window, and how much it weighs in the mean.
    figure: fn(&Window, Kind) -> Option<(f64, f64)>,
    /// Windows with at least this belong to an episode.
    from: f64,
    /// An episode has at least this many windows, with this as their mean.
    steady: (u32, f64),
    /// Or any number of them with this as their mean.
    at_once: f64,
    /// What is said of it: whose, which way, the mean of the figure.
    sentence: fn(&str, Direction, f64) -> String,
}

const RULES: [Rule; 5] = [
    Rule {
        cause: Cause::Silence,
        figure: |window, _| Some((f64::from(u8::from(window.is_silent())), 1.0)),
        from: 1.0,
        steady: (1, 1.0),
        at_once: 1.0,
        sentence: |who, _, _| format!("{who} sent and reported nothing"),
    },
    Rule {
        cause: Cause::Loss,
        figure: |window, _| {
            (window.packets() > 0.0).then(|| (window.missed_percent(), window.packets()))
        },
        from: 1.0,
        steady: (3, 2.0),
        at_once: 5.0,
        sentence: |who, way, loss| {
            format!("the {} of {who} lost {} % of its packets", way.name(), rounded(loss))
        },
    },
    Rule {
        cause: Cause::Delay,
        figure: |window, _| Some((window.round_trip()?, 1.0)),
        from: 400.0,
        steady: (3, 400.0),
        at_once: f64::INFINITY,
        sentence: |who, _, ms| format!("round trips to {who} took {ms:.0} ms"),
    },
    Rule {
        cause: Cause::Jitter,
        figure: |window, kind| Some((window.jitter().filter(|_| kind == Kind::Audio)?, 1.0)),
        from: 30.0,
        steady: (3, 30.0),
        at_once: f64::INFINITY,
        sentence: |who, way, ms| {
            format!("packets on the {} of {who} came unevenly, by {ms:.0} ms", way.name())
        },
    },
    Rule {
        cause: Cause::Freezes,
        figure: |window, _| Some((window.freezes().into(), 1.0)),
        from: 1.0,
        steady: (2, 1.0),
        at_once: 3.0,
        sentence: |who, _, _| format!("pictures for {who} stood still again and again"),
    },
];

fn rounded(percent: f64) -> String {
    if percent < 10.0 { format!("{percent:.1}") } else { format!("{percent:.0}") }
}

/// Windows in a row that a rule objects to.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    /// In tenths of a second since the leg began.
    from: u32,
    until: u32,
    windows: u32,
    sum: f64,
    weight: f64,
    /// Points of opinion below the best, times windows.
    harm: f64,
}

impl Run {
    fn mean(&self) -> f64 {
        if self.weight > 0.0 { self.sum / self.weight } else { 0.0 }
    }

    fn fits(&self, rule: &Rule) -> bool {
        let mean = self.mean();
        self.windows > 0
            && (mean >= rule.at_once || (self.windows >= rule.steady.0 && mean >= rule.steady.1))
    }
}

/// The runs of each rule on one track: the one that lasts, and the worst.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Episodes([(Run, Run); RULES.len()]);

impl Episodes {
    /// Takes a window, which began at `from`, with its opinion.
    pub(super) fn take(&mut self, from: u32, window: &Window, kind: Kind, opinion: f64) {
        for (rule, (now, worst)) in RULES.iter().zip(&mut self.0) {
            let figure = (rule.figure)(window, kind).filter(|&(value, _)| value >= rule.from);
            let Some((value, weight)) = figure else {
                *now = Run::default();
                continue;
            };
            if now.windows == 0 {
                now.from = from;
            }
            now.until = window.until;
            now.windows += 1;
            now.sum += value * weight;
            now.weight += weight;
            now.harm += (4.5 - opinion).max(0.0);
            if now.fits(rule) && now.harm >= worst.harm {
                *worst = *now;
            }
        }
    }

    fn found(&self) -> impl Iterator<Item = (&'static Rule, &Run)> {
        RULES
            .iter()
            .zip(&self.0)
            .map(|(rule, (_, worst))| (rule, worst))
            .filter(|it| it.1.windows > 0)
    }
}

/// One track on one leg, as verdicts see it.
pub(super) struct Seen<'a> {
    pub(super) user: UserId,
    pub(super) began: Timestamp,
    pub(super) direction: Direction,
    pub(super) episodes: &'a Episodes,
    /// The opinion that a tenth of its windows are below.
    pub(super) low: Option<f64>,
}

/// What was wrong with a call or a stay in a room, in one sentence, or that nothing was.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = QualityVerdict)]
pub struct Verdict {
    /// The class of the worst track, by the opinion that a tenth of its windows are below; none when nothing was measured.
    pub score: Option<Class>,
    /// The sentence.
    pub main: String,
    /// Whose connection it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// Which way of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// What it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// From when on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Verdict {
    /// The verdict on these tracks: that of the episode that harmed most; of those alike, by the rule that stands first.
    pub(super) fn on<'a>(tracks: impl IntoIterator<Item = Seen<'a>>) -> Self {
        let mut lowest: Option<f64> = None;
        let mut worst: Option<(f64, Self)> = None;
        for seen in tracks {
            lowest = seen.low.into_iter().chain(lowest).reduce(f64::min);
            for (rule, run) in seen.episodes.found() {
                if worst.as_ref().is_none_or(|(harm, _)| run.harm > *harm) {
                    worst = Some((run.harm, Self::of(rule, run, &seen)));
                }
            }
        }
        let score = lowest.map(Class::of);
        match worst {
            Some((_, verdict)) => Self { score, ..verdict },
            None => Self::nothing(score),
        }
    }

    fn nothing(score: Option<Class>) -> Self {
        let main = if score.is_some() { "no problem found" } else { "nothing was measured" };
        let (user_id, direction, cause, from, until) = (None, None, None, None, None);
        Self { score, main: main.into(), user_id, direction, cause, from, until }
    }

    fn of(rule: &Rule, run: &Run, seen: &Seen<'_>) -> Self {
        let at = |tenths: u32| Timestamp(seen.began.0 + 100 * i64::from(tenths));
        let (from, until) = (at(run.from), at(run.until));
        let sentence = (rule.sentence)(&format!("user {}", seen.user), seen.direction, run.mean());
        // How far a round trip is, and that nothing comes, says nothing of one way alone.
        let one_way = matches!(rule.cause, Cause::Loss | Cause::Jitter);
        Self {
            score: None,
            main: format!("{sentence} from {} to {} UTC", clock_time(from), clock_time(until)),
            user_id: Some(seen.user),
            direction: one_way.then_some(seen.direction),
            cause: Some(rule.cause),
            from: Some(from),
            until: Some(until),
        }
    }
}

/// Hours, minutes and seconds.
fn clock_time(at: Timestamp) -> String {
    let seconds = at.seconds().rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::super::window::Figures;
    use super::*;

    /// 10:02:10 on some day.
    const BEGAN: Timestamp = Timestamp((20_000 * 86_400 + 36_130) * 1000);

    fn fine() -> Figures {
        Figures {
            packets: 250.0,
            bitrate: 32e3,
            round_trip: Some(40.0),
            jitter: Some(4.0),
            ..Figures::default()
        }
    }

    /// The verdict on windows of five seconds.
    fn verdict(kind: Kind, direction: Direction, windows: &[Figures]) -> Verdict {
        let mut episodes = Episodes::default();
        let mut low = 5.0_f64;
        for (from, figures) in (0..).map(|number| number * 50).zip(windows) {
            let window = Window::new(from + 50, figures);
            let opinion = window.opinion(window.score(kind).unwrap());
            low = low.min(opinion);
            episodes.take(from, &window, kind, opinion);
        }
        let user = serde_json::from_value(serde_json::json!(12)).unwrap();
        let (episodes, low) = (&episodes, Some(low));
        Verdict::on([Seen { user, began: BEGAN, direction, episodes, low }])
    }

    fn between(before: usize, bad: &[Figures], after: usize) -> Vec<Figures> {
        [vec![fine(); before], bad.to_vec(), vec![fine(); after]].concat()
    }

    fn lossy(percent: f64) -> Figures {
        let lost = percent * 2.5;
        Figures { missed: lost, lost, ..fine() }
    }

    #[test]
    fn where_nothing_is_wrong_nothing_is_found() {
        for kind in [Kind::Audio, Kind::Video] {
            let found = verdict(kind, Direction::Uplink, &vec![fine(); 30]);
            assert_eq!((found.score, &*found.main), (Some(Class::Excellent), "no problem found"));
            assert_eq!((found.user_id, found.direction, found.cause), (None, None, None));
        }
        let nothing = Verdict::on([]);
        assert_eq!((nothing.score, &*nothing.main), (None, "nothing was measured"));
    }

    #[test]
    fn loss_names_the_way_the_share_and_the_time() {
        let found = verdict(Kind::Audio, Direction::Uplink, &between(2, &[lossy(8.0); 18], 2));
        let main = "the uplink of user 12 lost 8.0 % of its packets from 10:02:20 to 10:03:50 UTC";
        assert_eq!((&*found.main, found.score), (main, Some(Class::Fair)));
        assert_eq!((found.direction, found.cause), (Some(Direction::Uplink), Some(Cause::Loss)));
        let found = verdict(Kind::Audio, Direction::Downlink, &between(1, &[lossy(20.0)], 3));
        let main = "the downlink of user 12 lost 20 % of its packets from 10:02:15 to 10:02:20 UTC";
        assert_eq!(found.main, main);
        // Of two episodes the one that harmed more is named.
        let two = [between(1, &[lossy(5.2); 3], 2), between(0, &[lossy(10.0); 3], 2)].concat();
        let found = verdict(Kind::Audio, Direction::Uplink, &two);
        assert_eq!(found.from, Some(Timestamp(BEGAN.0 + 30_000)), "{found:?}");
        // A little, or a little more for a moment, is no episode.
        for harmless in [&[lossy(0.8); 20][..], &[lossy(4.0); 2], &[lossy(1.6); 6]] {
            let found = verdict(Kind::Audio, Direction::Uplink, &between(1, harmless, 1));
            assert_eq!(found.cause, None, "{found:?}");
        }
    }

    #[test]
    fn long_round_trips_are_of_no_way() {
        let slow = Figures { round_trip: Some(450.0), ..fine() };
        let found = verdict(Kind::Video, Direction::Uplink, &between(2, &[slow; 4], 2));
        assert_eq!(found.main, "round trips to user 12 took 450 ms from 10:02:20 to 10:02:40 UTC");
        assert_eq!((found.direction, found.cause), (None, Some(Cause::Delay)));
        let found = verdict(Kind::Video, Direction::Uplink, &between(2, &[slow; 2], 2));
        assert_eq!(found.cause, None);
    }

    #[test]
    fn uneven_packets_matter_for_sound() {
        let uneven = Figures { jitter: Some(45.0), ..fine() };
        let windows = between(2, &[uneven; 3], 2);
        let found = verdict(Kind::Audio, Direction::Downlink, &windows);
        let main = "packets on the downlink of user 12 came unevenly, by 45 ms from 10:02:20 to 10:02:35 UTC";
        assert_eq!((&*found.main, found.cause), (main, Some(Cause::Jitter)));
        assert_eq!(verdict(Kind::Video, Direction::Downlink, &windows).cause, None);
    }

    #[test]
    fn freezes_are_named_when_they_repeat() {
        let frozen = Figures { freezes: 1, ..fine() };
        let found = verdict(Kind::Video, Direction::Downlink, &between(2, &[frozen; 2], 2));
        let main = "pictures for user 12 stood still again and again from 10:02:20 to 10:02:30 UTC";
        assert_eq!((&*found.main, found.cause), (main, Some(Cause::Freezes)));
        let found = verdict(Kind::Video, Direction::Downlink, &between(2, &[frozen], 2));
        assert_eq!(found.cause, None);
    }

    #[test]
    fn silence_goes_before_all() {
        let silent = Figures { is_silent: true, packets: 100.0, ..Figures::default() };
        let windows = between(2, &[lossy(10.0), silent, silent], 0);
        let found = verdict(Kind::Audio, Direction::Downlink, &windows);
        let main = "user 12 sent and reported nothing from 10:02:25 to 10:02:35 UTC";
        assert_eq!((&*found.main, found.cause), (main, Some(Cause::Silence)));
    }
}
