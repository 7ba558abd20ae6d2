//! How good calls are: the formulas, what the SFU counts of each leg in windows of five seconds, the verdict on it, and what
//! clients measure of their own connections, for the server's figures.

pub mod emodel;
mod leg;
mod report;
pub mod score;
mod service;
mod tally;
#[cfg(test)]
mod tests;
mod verdict;
pub mod window;

pub use report::{LegReport, Report, TrackReport};
pub use service::{Levels, Quality};
pub use tally::{Opinions, Times};
pub use verdict::{Cause, Verdict};

use score::{Audio, Protection};

/// What a client measured on one connection.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Milliseconds there and back.
    pub rtt_ms: Option<f64>,
    /// Milliseconds.
    pub jitter_ms: Option<f64>,
    /// Percent of packets.
    pub loss_pct: Option<f64>,
}

/// Takes these figures into the server's own; what cannot be is passed over.
pub fn note(legs: impl IntoIterator<Item = Measured>) {
    let possible = |value: Option<f64>| value.filter(|value| (0.0..1e6).contains(value));
    for leg in legs {
        if let Some(rtt) = possible(leg.rtt_ms) {
            metrics::histogram!("rtc_rtt_seconds").record(rtt / 1000.0);
        }
        if let Some(jitter) = possible(leg.jitter_ms) {
            metrics::histogram!("rtc_jitter_seconds").record(jitter / 1000.0);
        }
        if let Some(loss) = possible(leg.loss_pct) {
            metrics::histogram!("rtc_loss_ratio").record(loss / 100.0);
        }
        if let Some(opinion) = opinion(&leg) {
            metrics::histogram!("rtc_quality_mos", "kind" => "audio").record(opinion);
        }
    }
}

/// The opinion of speech over this connection; `None` when the figures cannot be.
fn opinion(leg: &Measured) -> Option<f64> {
    let (round_trip, loss) = (leg.rtt_ms?, leg.loss_pct?);
    let jitter = leg.jitter_ms.unwrap_or(0.0);
    let possible = (0.0..1e6).contains(&round_trip) && (0.0..1e6).contains(&jitter);
    let audio = Audio {
        loss,
        round_trip,
        buffer: score::buffer(jitter),
        bitrate: None,
        dtx: false,
        protection: Protection::default(),
    };
    (possible && (0.0..=100.0).contains(&loss)).then(|| score::opinion(audio.rating()))
}

#[cfg(test)]
mod measured {
    use super::*;

    fn measured(rtt_ms: f64, loss_pct: f64) -> Option<f64> {
        opinion(&Measured { rtt_ms: Some(rtt_ms), jitter_ms: None, loss_pct: Some(loss_pct) })
    }

    #[test]
    fn delay_and_loss_make_speech_worse() {
        let good = measured(40.0, 0.0).unwrap();
        assert!((4.3..=4.5).contains(&good), "{good}");
        assert!(measured(800.0, 0.0).unwrap() < good - 0.5);
        let bad = measured(40.0, 20.0).unwrap();
        assert!((1.0..2.6).contains(&bad), "{bad}");
    }

    #[test]
    fn figures_that_cannot_be_have_no_opinion() {
        for (rtt, loss) in [(40.0, 150.0), (f64::NAN, 0.0), (40.0, f64::NAN), (-1.0, 0.0)] {
            assert_eq!(measured(rtt, loss), None, "{rtt} {loss}");
        }
        let unknown = Measured { rtt_ms: None, jitter_ms: Some(1.0), loss_pct: Some(1.0) };
        assert_eq!(opinion(&unknown), None);
    }
}
