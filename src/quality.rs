//! What clients measure of their own connections, for the server's figures.

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
        if let (Some(rtt), Some(loss)) = (leg.rtt_ms, leg.loss_pct) {
            let delay = rtt / 2.0 + 2.0 * leg.jitter_ms.unwrap_or(0.0);
            let opinion = opinion(delay, loss / 100.0);
            if let Some(opinion) = opinion {
                metrics::histogram!("rtc_quality_mos", "kind" => "audio").record(opinion);
            }
        }
    }
}

/// Mean opinion score of an audio stream, 1.0 (bad) to 4.5 (excellent).
///
/// - `delay`: one way, mouth to ear but for the devices, in milliseconds
/// - `loss`: share of packets lost, `0.0..=1.0`; otherwise `None`
///
/// Source: E-model, ITU-T G.107 Annex B, with the delay term of Cole & Rosenbluth (2001); a codec that conceals single losses.
fn opinion(delay: f64, loss: f64) -> Option<f64> {
    if !(0.0..=1.0).contains(&loss) || !(0.0..1e6).contains(&delay) {
        return None;
    }
    let percent = loss * 100.0;
    let late = 0.024 * delay + 0.11 * (delay - 177.3).max(0.0);
    let lost = 95.0 * percent / (percent + 10.0);
    let rating = (93.2 - late - lost).clamp(0.0, 100.0);
    Some(1.0 + 0.035 * rating + 7e-6 * rating * (rating - 60.0) * (100.0 - rating))
}

#[cfg(test)]
mod tests {
    use super::opinion;

    #[test]
    fn delay_and_loss_make_speech_worse() {
        let good = opinion(20.0, 0.0).unwrap();
        assert!((4.3..=4.5).contains(&good), "{good}");
        assert!(opinion(400.0, 0.0).unwrap() < good - 0.5);
        let bad = opinion(20.0, 0.2).unwrap();
        assert!((1.0..2.5).contains(&bad), "{bad}");
        assert!(opinion(20.0, 1.5).is_none() && opinion(f64::NAN, 0.0).is_none());
    }
}
