//! A window: about five seconds of one track on one leg, in few bytes.

use serde::Serialize;
use switchboard_media::Kind;
use utoipa::ToSchema;

use super::score::{self, Audio, Class, Protection, Weight};

/// Bits in a second below which sound is taken to be mostly silence, in which nothing is sent (DTX).
const SILENCE: f64 = 12_000.0;
/// What a freeze of the picture costs.
const FREEZE: f64 = 0.5;
const UNKNOWN: u16 = u16::MAX;

/// Which way media go on a leg, as its user sees it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = QualityDirection)]
pub enum Direction {
    /// From the user to the server.
    Uplink,
    /// From the server to the user.
    Downlink,
}

impl Direction {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uplink => "uplink",
            Self::Downlink => "downlink",
        }
    }
}

/// What a window is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Packets that were sent to the receiver.
    pub packets: f64,
    /// Packets among them that did not arrive at first.
    pub missed: f64,
    /// Packets among those that never arrived.
    pub lost: f64,
    /// Milliseconds there and back, when something says so.
    pub round_trip: Option<f64>,
    /// Milliseconds, when something says so.
    pub jitter: Option<f64>,
    /// Bits in a second.
    pub bitrate: f64,
    /// Freezes of the picture.
    pub freezes: u32,
    /// Whether the leg sends nothing at all, although it is sent something.
    pub is_silent: bool,
}

/// See the module.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Window {
    /// When it ended, in tenths of a second since the leg began.
    pub until: u32,
    packets: u16,
    missed: u16,
    lost: u16,
    round_trip: u16,
    /// In tenths of a millisecond.
    jitter: u16,
    kbps: u16,
    freezes: u8,
    is_silent: bool,
}

impl Window {
    /// A window that ended at `until`.
    pub fn new(until: u32, of: &Figures) -> Self {
        Self {
            until,
            packets: small(of.packets),
            missed: small(of.missed),
            lost: small(of.lost),
            round_trip: of.round_trip.map_or(UNKNOWN, |ms| small(ms).min(UNKNOWN - 1)),
            jitter: of.jitter.map_or(UNKNOWN, |ms| small(ms * 10.0).min(UNKNOWN - 1)),
            kbps: small(of.bitrate / 1000.0),
            freezes: u8::try_from(of.freezes).unwrap_or(u8::MAX),
            is_silent: of.is_silent,
        }
    }

    /// Packets that were sent to the receiver.
    pub fn packets(&self) -> f64 {
        self.packets.into()
    }

    /// Percent of them that did not arrive at first.
    pub fn missed_percent(&self) -> f64 {
        percent(self.missed, self.packets)
    }

    /// Percent of them that never arrived.
    pub fn lost_percent(&self) -> f64 {
        percent(self.lost, self.packets)
    }

    /// Milliseconds there and back.
    pub fn round_trip(&self) -> Option<f64> {
        (self.round_trip != UNKNOWN).then(|| self.round_trip.into())
    }

    /// Milliseconds.
    pub fn jitter(&self) -> Option<f64> {
        (self.jitter != UNKNOWN).then(|| f64::from(self.jitter) / 10.0)
    }

    /// Thousands of bits in a second.
    pub fn kbps(&self) -> f64 {
        self.kbps.into()
    }

    /// Freezes of the picture.
    pub fn freezes(&self) -> u32 {
        self.freezes.into()
    }

    /// Whether the leg sent nothing at all, although it was sent something.
    pub fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// Up to `packets` of those that were missed have never been sent: the receiver cannot have got them. How many that are.
    pub fn forgive(&mut self, packets: f64) -> f64 {
        let forgiven = packets.clamp(0.0, self.missed.into()).floor();
        self.missed -= small(forgiven);
        self.lost = self.lost.min(self.missed);
        forgiven
    }

    /// The score, 0 to 100; none when nothing was sent.
    pub fn score(&self, kind: Kind) -> Option<f64> {
        let (loss, round_trip) = (self.lost_percent(), self.round_trip().unwrap_or(0.0));
        match kind {
            _ if self.is_silent => Some(0.0),
            _ if self.packets == 0 => None,
            Kind::Audio => {
                let bitrate = self.kbps() * 1000.0;
                let audio = Audio {
                    loss,
                    round_trip,
                    buffer: score::buffer(self.jitter().unwrap_or(0.0)),
                    bitrate: Some(bitrate),
                    dtx: bitrate < SILENCE,
                    protection: Protection::Fec,
                };
                Some(audio.rating())
            }
            // The jitter of pictures is mostly how their packets are spread by the sender.
            Kind::Video => Some(score::packets(Weight::Video, loss, round_trip, 0.0)),
        }
    }

    /// The opinion of a score, with the freezes of this window.
    pub fn opinion(&self, score: f64) -> f64 {
        (score::opinion(score) - FREEZE * f64::from(self.freezes)).max(1.0)
    }

    /// The class of a smoothed score, with what this window has beside it.
    pub fn class(&self, smoothed: f64) -> Class {
        if self.is_silent { Class::Lost } else { Class::of(self.opinion(smoothed)) }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "limited before")]
fn small(value: f64) -> u16 {
    value.round().clamp(0.0, u16::MAX.into()) as u16
}

fn percent(part: u16, whole: u16) -> f64 {
    if whole == 0 { 0.0 } else { (100.0 * f64::from(part) / f64::from(whole)).min(100.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(figures: &Figures) -> Window {
        Window::new(50, figures)
    }

    #[test]
    fn a_window_gives_back_what_it_was_made_of() {
        let figures = Figures {
            packets: 250.0,
            missed: 25.0,
            lost: 5.0,
            round_trip: Some(120.4),
            jitter: Some(7.25),
            bitrate: 32_400.0,
            freezes: 300,
            is_silent: false,
        };
        let have = window(&figures);
        assert_eq!((have.missed_percent(), have.lost_percent()), (10.0, 2.0));
        assert_eq!((have.round_trip(), have.jitter()), (Some(120.0), Some(7.3)));
        assert_eq!((have.packets(), have.kbps(), have.freezes()), (250.0, 32.0, 255));
        let nothing = window(&Figures::default());
        assert_eq!((nothing.round_trip(), nothing.jitter()), (None, None));
        assert_eq!((nothing.missed_percent(), nothing.score(Kind::Audio)), (0.0, None));
        assert!(size_of::<Window>() <= 20, "{}", size_of::<Window>());
    }

    #[test]
    fn figures_that_cannot_be_do_no_harm() {
        for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 1e300] {
            let figures = Figures {
                packets: odd,
                missed: odd,
                lost: odd,
                round_trip: Some(odd),
                jitter: Some(odd),
                bitrate: odd,
                ..Figures::default()
            };
            let mut have = window(&figures);
            have.forgive(odd);
            for kind in [Kind::Audio, Kind::Video] {
                let opinion = have.score(kind).map_or(1.0, |score| have.opinion(score));
                assert!((1.0..=4.5).contains(&opinion), "{odd} {opinion}");
            }
        }
    }

    #[test]
    fn what_was_never_sent_is_forgiven_once() {
        let figures = Figures { packets: 100.0, missed: 10.0, lost: 8.0, ..Figures::default() };
        let mut have = window(&figures);
        assert_eq!(have.forgive(4.0), 4.0);
        assert_eq!((have.missed_percent(), have.lost_percent()), (6.0, 6.0));
        assert_eq!(have.forgive(40.0), 6.0);
        assert_eq!((have.missed_percent(), have.lost_percent()), (0.0, 0.0));
    }

    #[test]
    fn pictures_are_worse_by_their_freezes_and_sound_by_silence_of_the_leg() {
        let figures = Figures { packets: 500.0, bitrate: 1e6, ..Figures::default() };
        let fine = window(&figures);
        assert_eq!(fine.class(fine.score(Kind::Video).unwrap()), Class::Excellent);
        let frozen = window(&Figures { freezes: 1, ..figures });
        assert_eq!(frozen.opinion(100.0), 4.0);
        let silent = window(&Figures { is_silent: true, ..figures });
        assert_eq!(silent.score(Kind::Audio), Some(0.0));
        assert_eq!(silent.class(100.0), Class::Lost);
        // Hardly anything is sent in silence, which is no fault.
        let quiet = window(&Figures { packets: 13.0, bitrate: 800.0, ..Figures::default() });
        assert!(quiet.opinion(quiet.score(Kind::Audio).unwrap()) > 4.2);
    }
}
