//! The E-model (ITU-T G.107): how people would rate a conversation that has this delay and these losses. Its constants are the
//! default values of the recommendation, with which an unharmed connection has R = 93.2, MOS 4.41.

/// Circuit noise, in dBm0p.
const CIRCUIT_NOISE: f64 = -70.0;
/// Noise floor of the receiver, in dBmp.
const NOISE_FLOOR: f64 = -64.0;
/// Noise of the room, the same on both sides, in dB(A).
const ROOM_NOISE: f64 = 35.0;
/// Loudness of sending (SLR), of receiving (RLR), and of one's own voice (STMR), in dB.
const SENDING: f64 = 8.0;
const RECEIVING: f64 = 2.0;
const SIDETONE: f64 = 15.0;
/// What the form of a telephone takes from the noise of the room (Ds and Dr), in dB.
const FORM: f64 = 3.0;
/// Echo of one's own voice from the other side (TELR), and from the network (WEPL), in dB.
const TALKER_ECHO: f64 = 65.0;
const LISTENER_ECHO: f64 = 110.0;

/// What a codec does to speech, and how it bears losses (ITU-T G.113 appendix I).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coding {
    /// Ie: what it costs without any loss.
    pub impairment: f64,
    /// Bpl: losses in percent that cost half of what is left.
    pub robustness: f64,
}

impl Coding {
    /// G.711 with concealment of losses (appendix I of the codec).
    pub const G711: Self = Self { impairment: 0.0, robustness: 25.1 };
    /// G.729A with VAD.
    pub const G729: Self = Self { impairment: 11.0, robustness: 19.0 };

    /// Ie,eff with `percent` of the packets lost; `burst` is 1 when they are lost independently (BurstR).
    pub fn with_loss(self, percent: f64, burst: f64) -> f64 {
        if percent <= 0.0 {
            return self.impairment;
        }
        self.impairment + (95.0 - self.impairment) * percent / (percent / burst + self.robustness)
    }
}

/// R of a conversation with `delay` milliseconds one way and `equipment` as its Ie,eff; not limited to 0…100.
pub fn rating(delay: f64, equipment: f64) -> f64 {
    let noise = noise();
    let signal = 15.0 - 1.5 * (SENDING + noise);
    let echoes = talker_echo(delay, noise) + listener_echo(2.0 * delay, signal);
    signal - simultaneous(delay, noise, signal) - echoes - delay_impairment(delay) - equipment
}

/// Idd: what a conversation loses by its delay alone.
pub fn delay_impairment(delay: f64) -> f64 {
    if delay <= 100.0 {
        return 0.0;
    }
    let x = (delay / 100.0).log2();
    let term = |x: f64| (1.0 + x.powi(6)).powf(1.0 / 6.0);
    25.0 * (term(x) - 3.0 * term(x / 3.0) + 2.0)
}

/// The mean opinion score of a rating of narrowband speech, 1 to 4.5 (annex B).
pub fn opinion(rating: f64) -> f64 {
    match rating {
        r if r <= 0.0 => 1.0,
        r if r >= 100.0 => 4.5,
        r => 1.0 + 0.035 * r + 7e-6 * r * (r - 60.0) * (100.0 - r),
    }
}

/// The same of wideband speech, whose ratings reach 129 (G.107.1).
pub fn wideband_opinion(rating: f64) -> f64 {
    opinion(rating / 1.29)
}

/// The same of fullband speech, whose ratings reach 148 (G.107.2).
pub fn fullband_opinion(rating: f64) -> f64 {
    opinion(rating / 1.48)
}

/// No: all noise, in dBm0p.
fn noise() -> f64 {
    let loudness = SENDING + RECEIVING;
    let far =
        ROOM_NOISE - SENDING - FORM - 100.0 + 0.004 * (ROOM_NOISE - loudness - FORM - 14.0).powi(2);
    let own = ROOM_NOISE + 10.0 * (1.0 + power(10.0 - (SIDETONE + FORM))).log10();
    let near = RECEIVING - 121.0 + own + 0.008 * (own - 35.0).powi(2);
    let sum = [CIRCUIT_NOISE, far, near, NOISE_FLOOR + RECEIVING].map(power).iter().sum::<f64>();
    10.0 * sum.log10()
}

/// Is: what comes together with the voice: that it is too loud, one's own voice, quantization.
fn simultaneous(delay: f64, noise: f64, signal: f64) -> f64 {
    let loud = (SENDING + RECEIVING + 0.2 * (64.0 + noise - RECEIVING)) / 8.0;
    let loudness = 20.0 * ((1.0 + loud.powi(8)).powf(1.0 / 8.0) - loud);
    let own = power(-SIDETONE) + (-delay / 4.0).exp() * power(-TALKER_ECHO);
    let own = -10.0 * own.log10();
    let term = |x: f64, exponent: i32| (1.0 + x.powi(exponent)).powf(1.0 / f64::from(exponent));
    let sidetone = 12.0 * term((own - 13.0) / 6.0, 8)
        - 28.0 * term((own + 1.0) / 19.4, 35)
        - 13.0 * term((own - 3.0) / 33.0, 13)
        + 29.0;
    let ratio = 1.07 + 0.258 * 37.0 + 0.0602 * 37.0_f64.powi(2);
    let (y, z) = ((signal - 100.0) / 15.0 + 46.0 / 8.4 - ratio / 9.0, 46.0 / 30.0 - ratio / 40.0);
    let quantization = 15.0 * (1.0 + 10.0_f64.powf(y) + 10.0_f64.powf(z)).log10();
    loudness + sidetone + quantization
}

/// Idte: one's own voice, which comes back after twice the delay.
fn talker_echo(delay: f64, noise: f64) -> f64 {
    let audible = TALKER_ECHO - 40.0 * ((1.0 + delay / 10.0) / (1.0 + delay / 150.0)).log10()
        + 6.0 * (-0.3 * delay * delay).exp();
    let half = (-1.5 * (noise - RECEIVING) - (80.0 + 2.5 * (audible - 14.0))) / 2.0;
    (half + (half * half + 100.0).sqrt() - 1.0) * (1.0 - (-delay).exp())
}

/// Idle: the other's voice a second time, after `round_trip`.
fn listener_echo(round_trip: f64, signal: f64) -> f64 {
    let half = (signal - 10.5 * (LISTENER_ECHO + 7.0) * (round_trip + 1.0).powf(-0.25)) / 2.0;
    half + (half * half + 169.0).sqrt()
}

fn power(decibel: f64) -> f64 {
    10.0_f64.powf(decibel / 10.0)
}

#[cfg(test)]
mod tests {
    use super::super::tests::near;
    use super::*;

    #[test]
    fn the_reference_connection_has_the_rating_of_the_recommendation() {
        let r = rating(0.0, 0.0);
        near(r, 93.206, 0.001);
        near(opinion(r), 4.409, 0.001);
    }

    #[test]
    fn opinions_are_those_of_annex_b() {
        let printed = [(50.0, 2.58), (60.0, 3.10), (70.0, 3.60), (80.0, 4.03), (90.0, 4.34)];
        printed.iter().for_each(|&(r, mos)| near(opinion(r), mos, 0.01));
        let exact = [(50.0, 2.575), (70.0, 3.597), (80.0, 4.024), (90.0, 4.339), (93.2, 4.409)];
        exact.iter().for_each(|&(r, mos)| near(opinion(r), mos, 0.0005));
        assert_eq!([-5.0, 0.0, 100.0, 120.0].map(opinion), [1.0, 1.0, 4.5, 4.5]);
    }

    #[test]
    fn delay_costs_what_the_recommendation_says() {
        for (delay, alone, r, mos) in [
            (50.0, 0.0, 91.76, 4.38),
            (100.0, 0.0, 90.66, 4.35),
            (150.0, 0.16, 89.54, 4.33),
            (200.0, 3.04, 85.80, 4.22),
            (250.0, 8.92, 79.18, 3.99),
            (300.0, 14.76, 72.67, 3.72),
            (400.0, 24.07, 62.25, 3.22),
            (500.0, 30.64, 54.80, 2.83),
        ] {
            near(delay_impairment(delay), alone, 0.006);
            near(rating(delay, 0.0), r, 0.006);
            near(opinion(rating(delay, 0.0)), mos, 0.006);
        }
    }

    #[test]
    fn loss_costs_what_the_recommendation_says() {
        let g711 = [
            (0.0, 93.21, 4.41),
            (1.0, 89.57, 4.33),
            (2.0, 86.20, 4.24),
            (3.0, 83.06, 4.13),
            (5.0, 77.43, 3.92),
            (10.0, 66.14, 3.41),
            (20.0, 51.08, 2.63),
        ];
        let g729 = [
            (0.0, 82.21, 4.10),
            (1.0, 78.01, 3.95),
            (2.0, 74.21, 3.79),
            (3.0, 70.75, 3.63),
            (5.0, 64.71, 3.34),
            (10.0, 53.24, 2.75),
        ];
        for (coding, rows) in [(Coding::G711, &g711[..]), (Coding::G729, &g729[..])] {
            for &(percent, r, mos) in rows {
                let have = rating(0.0, coding.with_loss(percent, 1.0));
                near(have, r, 0.006);
                near(opinion(have), mos, 0.01);
            }
        }
        assert!(Coding::G711.with_loss(5.0, 2.0) > Coding::G711.with_loss(5.0, 1.0), "bursts");
    }

    #[test]
    fn wider_bands_have_longer_scales() {
        for (r, mos) in [(120.0, 4.41), (100.0, 3.93), (80.0, 3.20)] {
            near(wideband_opinion(r), mos, 0.006);
        }
        for (r, mos) in [(120.0, 4.06), (100.0, 3.48)] {
            near(fullband_opinion(r), mos, 0.006);
        }
        assert_eq!((wideband_opinion(129.0), fullband_opinion(148.0)), (4.5, 4.5));
    }
}
