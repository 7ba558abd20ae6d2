//! Scores of a track in a stretch of time. No recommendation covers Opus or video over RTP, so these are conventions, and their
//! results are called estimates: the formulas of livekit/rtcscore-go (`pkg/rtcmos`) and of LiveKit's server
//! (`pkg/sfu/connectionquality/scorer.go`).

use serde::Serialize;
use utoipa::ToSchema;

use super::emodel;

/// How sound is protected against losses.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Protection {
    /// Concealment alone.
    None,
    /// Opus' own forward error correction.
    #[default]
    Fec,
    /// Redundant audio data (RFC 2198).
    Red,
}

/// What is known of a stream of sound.
#[derive(Clone, Copy, Debug)]
pub struct Audio {
    /// Percent of packets that never arrived.
    pub loss: f64,
    /// Milliseconds there and back.
    pub round_trip: f64,
    /// Milliseconds that the listener holds sound back.
    pub buffer: f64,
    /// Bits in a second; none when not known.
    pub bitrate: Option<f64>,
    /// Whether nothing is sent in silence.
    pub dtx: bool,
    /// See [`Protection`].
    pub protection: Protection,
}

impl Audio {
    /// The rating, 0 to 100.
    pub fn rating(&self) -> f64 {
        // The delays are whole milliseconds there.
        let delay = (20.0 + self.buffer + self.round_trip / 2.0).trunc();
        let coding = match self.bitrate {
            _ if self.dtx => 8.0,
            Some(bitrate) if bitrate > 0.0 => (55.0 - 4.6 * bitrate.ln()).clamp(0.0, 30.0),
            _ => 6.0,
        };
        let robustness = match self.protection {
            Protection::None => 10.0,
            Protection::Fec => 20.0,
            Protection::Red => 90.0,
        };
        let lost = coding + (100.0 - coding) * self.loss / (self.loss + robustness);
        let late = 0.03 * delay + 0.1 * (delay - 150.0).max(0.0);
        (100.0 - lost - late).clamp(0.0, 100.0)
    }
}

/// What a listener holds back against this jitter, both in milliseconds.
pub fn buffer(jitter: f64) -> f64 {
    (2.0 * jitter).clamp(20.0, 200.0)
}

/// How much better than VP8 and H.264 a codec makes of its bits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Efficiency {
    /// VP8, H.264.
    Plain,
    /// VP9.
    Vp9,
    /// AV1.
    Av1,
}

/// What is known of a camera's picture.
#[derive(Clone, Copy, Debug)]
pub struct Video {
    /// See [`Efficiency`].
    pub codec: Efficiency,
    /// Bits in a second.
    pub bitrate: f64,
    /// Pixels.
    pub width: f64,
    /// Pixels.
    pub height: f64,
    /// Pictures in a second that are shown, and that were expected.
    pub rate: f64,
    /// See `rate`.
    pub expected_rate: f64,
    /// Milliseconds that the viewer holds pictures back, and a round trip.
    pub buffer: f64,
    /// See `buffer`.
    pub round_trip: f64,
}

impl Video {
    /// The opinion, 1 to 5, by bits for a pixel. Not for screens, which are good with few bits.
    pub fn opinion(&self) -> f64 {
        if self.rate <= 0.0 || self.width * self.height <= 0.0 {
            return 1.0;
        }
        let factor = match self.codec {
            Efficiency::Plain => 1.0,
            Efficiency::Vp9 => 1.2,
            Efficiency::Av1 => 1.43,
        };
        let bits = factor * self.bitrate / (self.width * self.height) / self.rate;
        let base = (0.56 * bits.ln() + 5.36).clamp(1.0, 5.0);
        let slow = 1.9 * (self.expected_rate / self.rate).ln().max(0.0);
        (base - slow - 0.002 * (self.buffer + self.round_trip / 2.0)).clamp(1.0, 5.0)
    }
}

/// Points that each percent of loss costs on the way of packets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Weight {
    /// Opus, by how it is protected.
    Opus(Protection),
    /// Pictures.
    Video,
}

impl Weight {
    fn points(self) -> f64 {
        match self {
            Self::Opus(Protection::None) => 8.0,
            Self::Opus(Protection::Fec) => 8.0 / 1.5,
            Self::Opus(Protection::Red) => 4.0 / 1.5,
            Self::Video => 10.0,
        }
    }
}

/// The score of packets on their way, 0 to 100: `loss` in percent, `round_trip` and `jitter` in milliseconds.
pub fn packets(weight: Weight, loss: f64, round_trip: f64, jitter: f64) -> f64 {
    let delay = round_trip / 2.0 + 2.0 * jitter;
    let late = if delay < 160.0 { delay / 40.0 } else { (delay - 120.0) / 10.0 };
    (100.0 - late - loss * weight.points()).max(0.0)
}

/// The score of a publisher that sends `actual` bits in a second where `expected` were agreed.
pub fn bitrate(expected: f64, actual: f64) -> f64 {
    match () {
        () if expected <= actual => 100.0,
        () if actual <= 0.0 => 0.0,
        () => (100.0 - 20.0 * (expected / actual).ln()).clamp(0.0, 100.0),
    }
}

/// The least that a smoothed score falls to, so that a connection that is good again is shown to be within half a minute.
const FLOOR: f64 = 30.0;

/// A score as it is shown: it falls fast and rises slowly.
#[derive(Clone, Copy, Debug)]
pub struct Smoothed(f64);

impl Default for Smoothed {
    fn default() -> Self {
        Self(100.0)
    }
}

impl Smoothed {
    /// Takes the next score, 0 to 100, and gives the smoothed one.
    pub fn take(&mut self, score: f64) -> f64 {
        let weight = if score < self.0 { 0.8 } else { 0.4 };
        self.0 = (weight * score + (1.0 - weight) * self.0).clamp(FLOOR, 100.0);
        self.0
    }
}

/// How good a track is, in a word.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = QualityLevel)]
pub enum Class {
    /// Nothing arrives, and nothing is reported.
    Lost,
    /// Below 3.1.
    Poor,
    /// At least 3.1.
    Fair,
    /// At least 3.6.
    Good,
    /// At least 4.2.
    Excellent,
}

impl Class {
    /// The class of an opinion.
    pub fn of(opinion: f64) -> Self {
        match opinion {
            mos if mos >= 4.2 => Self::Excellent,
            mos if mos >= 3.6 => Self::Good,
            mos if mos >= 3.1 => Self::Fair,
            _ => Self::Poor,
        }
    }

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Poor => "poor",
            Self::Fair => "fair",
            Self::Good => "good",
            Self::Excellent => "excellent",
        }
    }
}

/// The opinion of a score of 0 to 100, by the curve of the E-model.
pub fn opinion(score: f64) -> f64 {
    emodel::opinion(score)
}

#[cfg(test)]
mod tests {
    use super::super::tests::near;
    use super::*;

    #[test]
    fn sound_is_rated_as_by_rtcscore() {
        let (none, fec, red) = (Protection::None, Protection::Fec, Protection::Red);
        for (loss, bitrate, round_trip, buffer, protection, r, mos) in [
            (0.0, None, 0.0, 0.0, fec, 93.40, 4.41),
            (0.0, Some(32e3), 50.0, 50.0, fec, 89.87, 4.34),
            (1.0, Some(32e3), 100.0, 50.0, fec, 84.70, 4.19),
            (5.0, Some(32e3), 100.0, 50.0, fec, 70.57, 3.62),
            (5.0, Some(32e3), 100.0, 50.0, none, 58.21, 3.01),
            (5.0, Some(32e3), 100.0, 50.0, red, 84.24, 4.17),
            (10.0, Some(32e3), 100.0, 50.0, fec, 58.21, 3.01),
            (20.0, Some(32e3), 100.0, 50.0, fec, 42.76, 2.20),
            (2.0, Some(24e3), 300.0, 100.0, fec, 62.99, 3.25),
            (0.0, Some(32e3), 600.0, 100.0, fec, 53.12, 2.74),
        ] {
            let audio = Audio { loss, round_trip, buffer, bitrate, dtx: false, protection };
            near(audio.rating(), r, 0.006);
            near(opinion(audio.rating()), mos, 0.006);
        }
    }

    #[test]
    fn the_buffer_follows_the_jitter_within_bounds() {
        assert_eq!([0.0, 9.0, 30.0, 500.0].map(buffer), [20.0, 20.0, 60.0, 200.0]);
    }

    #[test]
    fn pictures_are_rated_as_by_rtcscore() {
        use Efficiency::{Av1, Plain};
        let rows = [
            (Plain, 1.7e6, (1280.0, 720.0), (30.0, 30.0), 0.0, 0.0, 3.798),
            (Plain, 2.5e6, (1280.0, 720.0), (30.0, 30.0), 0.0, 0.0, 4.014),
            (Plain, 620e3, (640.0, 360.0), (15.0, 15.0), 0.0, 0.0, 4.398),
            (Plain, 310e3, (320.0, 180.0), (15.0, 15.0), 0.0, 0.0, 4.786),
            (Plain, 500e3, (1280.0, 720.0), (30.0, 30.0), 100.0, 50.0, 2.913),
            (Plain, 500e3, (1280.0, 720.0), (15.0, 30.0), 100.0, 50.0, 1.984),
            (Av1, 1.7e6, (1280.0, 720.0), (30.0, 30.0), 0.0, 0.0, 3.998),
        ];
        for (codec, bitrate, (width, height), (rate, expected_rate), round_trip, buffer, mos) in
            rows
        {
            let video =
                Video { codec, bitrate, width, height, rate, expected_rate, buffer, round_trip };
            near(video.opinion(), mos, 0.0006);
            assert_eq!(Video { rate: 0.0, ..video }.opinion(), 1.0);
        }
    }

    #[test]
    fn packets_are_scored_as_by_livekit() {
        let opus = Weight::Opus(Protection::None);
        near(packets(opus, 2.5, 0.0, 0.0), 80.0, 1e-9);
        near(packets(opus, 7.5, 0.0, 0.0), 40.0, 1e-9);
        near(packets(Weight::Video, 2.0, 0.0, 0.0), 80.0, 1e-9);
        near(packets(Weight::Video, 6.0, 0.0, 0.0), 40.0, 1e-9);
        near(packets(opus, 1.0, 100.0, 20.0), 89.75, 1e-9);
        near(packets(Weight::Video, 0.0, 400.0, 0.0), 92.0, 1e-9);
        assert_eq!(packets(Weight::Video, 50.0, 0.0, 0.0), 0.0);
        assert_eq!((bitrate(1e6, 2e6), bitrate(1e6, 0.0)), (100.0, 0.0));
        near(bitrate(1e6, 1e6 / std::f64::consts::E), 80.0, 1e-9);
    }

    #[test]
    fn scores_fall_fast_and_rise_slowly() {
        let mut smoothed = Smoothed::default();
        for (score, shown) in [
            (60.0, 68.0),
            (60.0, 61.6),
            (60.0, 60.32),
            (100.0, 76.192),
            (100.0, 85.715),
            (100.0, 91.429),
        ] {
            near(smoothed.take(score), shown, 0.001);
        }
        for _ in 0..20 {
            smoothed.take(0.0);
        }
        near(smoothed.take(0.0), FLOOR, 1e-9);
    }

    #[test]
    fn classes_have_the_bounds_of_the_design() {
        use Class::{Excellent, Fair, Good, Poor};
        let opinions = [4.5, 4.2, 4.19, 3.6, 3.59, 3.1, 3.09, 1.0];
        let classes = [Excellent, Excellent, Good, Good, Fair, Fair, Poor, Poor];
        assert_eq!(opinions.map(Class::of), classes);
        assert_eq!(classes.map(Class::name)[0], serde_json::to_value(Excellent).unwrap());
    }
}
