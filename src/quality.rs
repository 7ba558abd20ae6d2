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
    let record = |name: &'static str, value: Option<f64>, unit: f64| {
        if let Some(value) = value.filter(|value| (0.0..1e6).contains(value)) {
            metrics::histogram!(name).record(value / unit);
        }
    };
    for leg in legs {
        record("rtc_rtt_seconds", leg.rtt_ms, 1000.0);
        record("rtc_jitter_seconds", leg.jitter_ms, 1000.0);
        record("rtc_loss_ratio", leg.loss_pct, 100.0);
    }
}
