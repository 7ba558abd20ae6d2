//! Prometheus: the recorder of this process, and the figures of a snapshot written into it.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use super::{FAMILIES, Kind, Snapshot, VERSION};

const SECONDS: [f64; 15] =
    [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
const SHARES: [f64; 9] = [0.0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5];
const OPINIONS: [f64; 7] = [1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.3];

/// The one recorder of this process; installed at the first call.
fn recorder() -> Option<&'static PrometheusHandle> {
    static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    RECORDER.get_or_init(|| install().ok()).as_ref()
}

fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Full("rtc_loss_ratio".into()), &SHARES)?
        .set_buckets_for_metric(Matcher::Full("rtc_quality_mos".into()), &OPINIONS)?
        .install_recorder()?;
    for family in FAMILIES {
        match family.kind {
            Kind::Gauge => metrics::describe_gauge!(family.name, family.help),
            Kind::Counter => metrics::describe_counter!(family.name, family.help),
            Kind::Histogram => metrics::describe_histogram!(family.name, family.help),
        }
    }
    Ok(handle)
}

/// From now on counters count.
pub fn start() {
    let _ = recorder();
}

/// Puts what histograms have gathered into their buckets, which otherwise happens at a scrape only; to be called now and then, or
/// memory grows with every sample.
pub fn upkeep() {
    if let Some(recorder) = recorder() {
        recorder.run_upkeep();
    }
}

/// Everything in the text format of Prometheus, with the figures of `now`.
pub fn render(now: &Snapshot) -> String {
    let Some(recorder) = recorder() else { return String::new() };
    write(now);
    recorder.run_upkeep();
    recorder.render()
}

/// Writes the figures of the parts that run, and shows as zero what those have not counted yet.
#[allow(clippy::cast_precision_loss)]
fn write(now: &Snapshot) {
    for family in FAMILIES.iter().filter(|family| family.labels.is_empty() && family.part.runs(now))
    {
        match family.kind {
            Kind::Counter => metrics::counter!(family.name).increment(0),
            Kind::Histogram => drop(metrics::histogram!(family.name)),
            Kind::Gauge => {}
        }
    }
    let gauge = |name: &'static str, value: f64| metrics::gauge!(name).set(value);
    gauge("rtc_uptime_seconds", now.process.uptime.as_secs_f64());
    gauge("rtc_draining", f64::from(u8::from(now.draining)));
    gauge("rtc_auth_cached", now.auth.cached as f64);
    gauge("rtc_limits_counted", now.limits.counted as f64);
    gauge("rtc_socket_connections", now.delivery.connections as f64);
    gauge("rtc_presence_subscriptions", now.presence.subscriptions as f64);
    gauge("rtc_calls_active", now.calls.active as f64);
    gauge("rtc_calls_ringing", now.calls.pending as f64);
    gauge("rtc_webhook_pending", now.webhooks.pending as f64);
    gauge("rtc_webhook_oldest_seconds", now.webhooks.oldest.as_secs_f64());
    gauge("rtc_webhook_endpoints_disabled", now.webhooks.disabled as f64);
    for (kind, count) in [("account", now.delivery.users), ("guest", now.delivery.guests)] {
        metrics::gauge!("rtc_users_online", "kind" => kind).set(count as f64);
    }
    metrics::gauge!("rtc_build_info", "version" => VERSION).set(1.0);
    for held in &now.ledger {
        let (resource, by) = (held.resource.label(), held.resource.by().label());
        metrics::gauge!("rtc_held", "resource" => resource, "by" => by).set(held.amount as f64);
        metrics::counter!("rtc_held_refused_total", "resource" => resource, "by" => by)
            .absolute(held.refused);
    }
    write_process(now);
    write_store(now);
    write_media(now);
    write_relay(now);
}

#[allow(clippy::cast_precision_loss)]
fn write_process(now: &Snapshot) {
    let gauge = |name: &'static str, value: Option<f64>| {
        if let Some(value) = value {
            metrics::gauge!(name).set(value);
        }
    };
    let process = &now.process;
    gauge("rtc_process_descriptors", process.descriptors.map(|count| count as f64));
    gauge("rtc_process_descriptors_limit", process.descriptors_most.map(|count| count as f64));
    gauge("rtc_process_threads", process.threads.map(|count| count as f64));
    let Some(memory) = process.memory else { return };
    for (kind, bytes) in [("anonymous", memory.anonymous), ("file", memory.file_backed)] {
        metrics::gauge!("rtc_process_memory_bytes", "kind" => kind).set(bytes as f64);
    }
}

#[allow(clippy::cast_precision_loss)]
fn write_store(now: &Snapshot) {
    let writes = f64::from(u8::from(now.store.writes));
    metrics::gauge!("rtc_store_writable", "engine" => now.store.engine).set(writes);
    let Some(totals) = now.store.totals else { return };
    let rows = [("users", totals.users), ("messages", totals.messages), ("calls", totals.calls)];
    for (kind, count) in rows {
        metrics::gauge!("rtc_store_rows", "kind" => kind).set(count as f64);
    }
}

#[allow(clippy::cast_precision_loss)]
fn write_media(now: &Snapshot) {
    if now.records() {
        metrics::gauge!("rtc_recording_active").set(now.recordings.active as f64);
    }
    if !now.receives_media() {
        return;
    }
    metrics::gauge!("rtc_media_workers").set(now.sfu.workers as f64);
    metrics::gauge!("rtc_rooms").set(now.rooms.rooms as f64);
    metrics::gauge!("rtc_participants").set(now.rooms.participants as f64);
    metrics::gauge!("rtc_viewers").set(now.rooms.viewers as f64);
    for (direction, tracks) in [("in", now.rooms.published), ("out", now.rooms.shown)] {
        for (kind, count) in ["audio", "video"].into_iter().zip(tracks) {
            metrics::gauge!("rtc_tracks", "kind" => kind, "direction" => direction)
                .set(count as f64);
        }
    }
    for (&name, &value) in &now.sfu.counters {
        match sfu_series(name) {
            (family, Some((key, label))) => metrics::counter!(family, key => label),
            (family, None) => metrics::counter!(family),
        }
        .absolute(value);
    }
}

/// The family of a counter of the SFU, and the label of its series.
pub(super) fn sfu_series(
    counter: &'static str,
) -> (&'static str, Option<(&'static str, &'static str)>) {
    match counter {
        "packets_received" => ("rtc_rtp_packets_total", Some(("direction", "in"))),
        "packets_sent" => ("rtc_rtp_packets_total", Some(("direction", "out"))),
        "bytes_received" => ("rtc_rtp_bytes_total", Some(("direction", "in"))),
        "bytes_sent" => ("rtc_rtp_bytes_total", Some(("direction", "out"))),
        "packets_requested" => ("rtc_nack_total", Some(("direction", "out"))),
        "packets_resent" => ("rtc_nack_total", Some(("direction", "in"))),
        "keyframes_requested" => ("rtc_pli_total", Some(("direction", "out"))),
        "keyframes_wanted" => ("rtc_pli_total", Some(("direction", "in"))),
        "dropped_forged" => ("rtc_srtp_auth_failures_total", None),
        "dropped_replayed" => ("rtc_srtp_replay_total", None),
        "peers_connected" => ("rtc_ice_state_total", Some(("state", "connected"))),
        "peers_failed" => ("rtc_ice_state_total", Some(("state", "failed"))),
        "handed_over" => ("rtc_media_handed_over_total", None),
        other => {
            let reason = other.strip_prefix("dropped_").unwrap_or(other);
            ("rtc_rtp_dropped_total", Some(("reason", reason)))
        }
    }
}

#[allow(clippy::cast_precision_loss)]
fn write_relay(now: &Snapshot) {
    let Some(relay) = &now.relay.embedded else { return };
    metrics::gauge!("rtc_turn_allocations").set(f64::from(relay.allocations));
    metrics::gauge!("rtc_turn_ports_used").set(relay.ports as f64);
    let mut bytes = 0;
    for (&name, &value) in &relay.counters {
        bytes += if name.starts_with("bytes_") { value } else { 0 };
        match name.strip_prefix("refused_") {
            Some(reason) => metrics::counter!("rtc_turn_denied_total", "reason" => reason),
            None => metrics::counter!(turn_family(name)),
        }
        .absolute(value);
    }
    metrics::counter!("rtc_turn_bytes_total").absolute(bytes);
}

/// The family of a counter of the relay that counts no refusals.
pub(super) fn turn_family(counter: &str) -> String {
    format!("rtc_turn_{counter}_total")
}

#[cfg(test)]
mod tests;
