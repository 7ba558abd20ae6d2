//! What the SFU counts. Each worker counts for itself, without contention; who reads adds up.

switchboard_turn::counters! {
    /// Peers that were connected.
    peers_connected,
    /// Peers that were given up: no handshake, another certificate, silence.
    peers_failed,
    /// Packets of media received.
    packets_received,
    /// Bytes of media received.
    bytes_received,
    /// Packets of media sent.
    packets_sent,
    /// Bytes of media sent.
    bytes_sent,
    /// Packets sent again because a viewer missed them.
    packets_resent,
    /// Packets of publishers that were asked for.
    packets_requested,
    /// Keyframes that were asked for.
    keyframes_requested,
    /// Keyframes that viewers asked for.
    keyframes_wanted,
    /// Datagrams from unknown addresses, or of no known kind.
    dropped_unknown,
    /// Datagrams whose lengths lie, or that came before there were keys.
    dropped_malformed,
    /// Packets that were not authentic.
    dropped_forged,
    /// Packets that were there already.
    dropped_replayed,
    /// Packets of SSRCs that were not announced.
    dropped_unannounced,
    /// Packets of a codec that their track no longer has, or that a viewer does not take.
    dropped_codec,
    /// Datagrams that the kernel or a full queue did not take.
    dropped_full,
    /// Commands that the full queue of a worker did not take.
    dropped_commands,
    /// Notes that the full queue of another worker did not take.
    dropped_notes,
    /// Datagrams handed over to another worker.
    handed_over,
}
