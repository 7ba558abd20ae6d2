//! RTCP (RFC 3550 §6, RFC 4585, RFC 8888's predecessor for transport-wide feedback): compounds are read packet by packet, so
//! that one that is broken costs only itself, and written without memory of their own.

use crate::numbers::{BitRate, MediaTime};

/// Packets of one compound that are looked at.
const PACKETS: usize = 32;
/// Report blocks of one packet.
const BLOCKS: usize = 31;
/// Entries of one request for packets that are looked at, of up to 17 packets each.
const NACKS: usize = 512;
/// Statuses of one transport-wide feedback that are looked at.
const STATUSES: usize = 2048;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const BYE: u8 = 203;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;

/// A report block (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct ReportBlock {
    pub(crate) ssrc: u32,
    /// Share of packets lost since the last report, in 256ths.
    pub(crate) fraction_lost: u8,
    pub(crate) lost: i32,
    pub(crate) highest: u32,
    pub(crate) jitter: u32,
    /// The middle of the NTP time of the last sender report.
    pub(crate) last_report: u32,
    /// Since then, in 65,536ths of a second.
    pub(crate) delay: u32,
}

/// What a packet of a compound says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Rtcp<'a> {
    SenderReport {
        ssrc: u32,
        ntp: u64,
        rtp: MediaTime,
    },
    Report(ReportBlock),
    /// SSRC of a picture that was lost (PLI).
    KeyframeRequest {
        ssrc: u32,
    },
    /// A command to send a keyframe (FIR): who gives it and to which SSRC. Repeated, it has the same number.
    FullIntraRequest {
        from: u32,
        ssrc: u32,
        sequence: u8,
    },
    Nack {
        ssrc: u32,
        sequence: u16,
    },
    /// Receiver's estimate of the bandwidth, bit/s.
    Remb {
        bitrate: f32,
    },
    Twcc(Twcc<'a>),
    Bye {
        ssrc: u32,
    },
}

/// Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Twcc<'a> {
    pub(crate) base: u16,
    pub(crate) count: u16,
    /// In 64 ms, modulo 2^24: of a clock that began at any time, so that only differences say something.
    pub(crate) reference: u32,
    body: &'a [u8],
}

/// Calls `take` with everything that a compound says.
pub(crate) fn read<'a>(compound: &'a [u8], mut take: impl FnMut(Rtcp<'a>)) {
    let mut rest = compound;
    for _ in 0..PACKETS {
        let Some(&[first, kind, l0, l1]) = rest.first_chunk() else { return };
        let length = 4 * (usize::from(u16::from_be_bytes([l0, l1])) + 1);
        let Some((packet, after)) = rest.split_at_checked(length) else { return };
        if let (2, Some(body)) = (first >> 6, body(packet)) {
            read_packet(first & 0x1F, kind, body, &mut take);
        }
        rest = after;
    }
}

/// What a packet says, without the padding that its last byte counts (RFC 3550 §6.4.1); `None` when that lies.
fn body(packet: &[u8]) -> Option<&[u8]> {
    let (&[first, ..], body) = packet.split_first_chunk::<4>()?;
    if first & 0x20 == 0 {
        return Some(body);
    }
    let padding = usize::from(*body.last()?);
    let said = body.len().checked_sub(padding)?;
    if padding == 0 { None } else { body.get(..said) }
}

fn read_packet<'a>(count: u8, kind: u8, body: &'a [u8], take: &mut impl FnMut(Rtcp<'a>)) {
    match (kind, count) {
        (SENDER_REPORT, _) => {
            if let (Some(ssrc), Some(ntp), Some(rtp)) =
                (word(body, 0), long(body, 4), word(body, 12))
            {
                take(Rtcp::SenderReport { ssrc, ntp, rtp: MediaTime(rtp) });
            }
            blocks(body.get(24..).unwrap_or_default(), count, take);
        }
        (RECEIVER_REPORT, _) => blocks(body.get(4..).unwrap_or_default(), count, take),
        (BYE, _) => {
            for ssrc in body.chunks_exact(4).take(count.into()).filter_map(|chunk| word(chunk, 0)) {
                take(Rtcp::Bye { ssrc });
            }
        }
        (TRANSPORT_FEEDBACK, 1) => nacks(body, take),
        (TRANSPORT_FEEDBACK, 15) => {
            if let Some(twcc) = twcc(body) {
                take(Rtcp::Twcc(twcc));
            }
        }
        (PAYLOAD_FEEDBACK, 1) => {
            if let Some(ssrc) = word(body, 4) {
                take(Rtcp::KeyframeRequest { ssrc });
            }
        }
        (PAYLOAD_FEEDBACK, 4) => {
            let from = word(body, 0).unwrap_or_default();
            for entry in body.get(8..).unwrap_or_default().chunks_exact(8).take(16) {
                if let (Some(ssrc), Some(&sequence)) = (word(entry, 0), entry.get(4)) {
                    take(Rtcp::FullIntraRequest { from, ssrc, sequence });
                }
            }
        }
        (PAYLOAD_FEEDBACK, 15) => {
            if let Some(bitrate) = remb(body) {
                take(Rtcp::Remb { bitrate });
            }
        }
        _ => {}
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|&bytes| u32::from_be_bytes(bytes))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|&bytes| u16::from_be_bytes(bytes))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|&bytes| u64::from_be_bytes(bytes))
}

fn blocks<'a>(body: &'a [u8], count: u8, take: &mut impl FnMut(Rtcp<'a>)) {
    for block in body.chunks_exact(24).take(count.into()) {
        let read = |at| word(block, at).unwrap_or_default();
        let [fraction_lost, l0, l1, l2] = read(4).to_be_bytes();
        take(Rtcp::Report(ReportBlock {
            ssrc: read(0),
            fraction_lost,
            lost: i32::from_be_bytes([l0, l1, l2, 0]) >> 8,
            highest: read(8),
            jitter: read(12),
            last_report: read(16),
            delay: read(20),
        }));
    }
}

/// Generic NACK (RFC 4585 §6.2.1).
fn nacks<'a>(body: &'a [u8], take: &mut impl FnMut(Rtcp<'a>)) {
    let Some(ssrc) = word(body, 4) else { return };
    for entry in body.get(8..).unwrap_or_default().chunks_exact(4).take(NACKS) {
        let (Some(first), Some(mask)) = (half(entry, 0), half(entry, 2)) else { return };
        take(Rtcp::Nack { ssrc, sequence: first });
        for bit in (0..16).filter(|bit| mask >> bit & 1 == 1) {
            take(Rtcp::Nack { ssrc, sequence: first.wrapping_add(bit + 1) });
        }
    }
}

/// Receiver estimated maximum bitrate (draft-alvestrand-rmcat-remb-03 §2.2).
fn remb(body: &[u8]) -> Option<f32> {
    if body.get(8..12)? != b"REMB" {
        return None;
    }
    let [_, high, middle, low] = word(body, 12)?.to_be_bytes();
    let mantissa = u32::from_be_bytes([0, high & 3, middle, low]);
    #[expect(clippy::cast_precision_loss, reason = "18 bits")]
    let bitrate = mantissa as f32 * 2_f32.powi(i32::from(high >> 2));
    Some(bitrate)
}

fn twcc(body: &[u8]) -> Option<Twcc<'_>> {
    let [r0, r1, r2, _] = word(body, 12)?.to_be_bytes();
    Some(Twcc {
        base: half(body, 8)?,
        count: half(body, 10)?,
        reference: u32::from_be_bytes([0, r0, r1, r2]),
        body: body.get(16..)?,
    })
}

impl Twcc<'_> {
    /// Calls `take` with each number and when it arrived, in quarters of a millisecond after `reference`, or `None` for what did
    /// not arrive.
    pub(crate) fn each(&self, mut take: impl FnMut(u16, Option<i32>)) {
        let wanted = usize::from(self.count).min(STATUSES);
        let Some(mut deltas) = self.chunks(wanted, |_| ()) else { return };
        let (mut at, mut sequence) = (0_i32, self.base);
        self.chunks(wanted, |status| {
            let delta = match status {
                0 => None,
                1 => deltas.split_off_first().map(|&delta| i32::from(delta)),
                _ => half(deltas, 0).map(|delta| {
                    deltas = deltas.get(2..).unwrap_or_default();
                    i32::from(delta.cast_signed())
                }),
            };
            // Deltas that are cut short are packets of which nothing is known.
            if delta.is_some() || status == 0 {
                at = at.wrapping_add(delta.unwrap_or_default());
                take(sequence, delta.map(|_| at));
            }
            sequence = sequence.wrapping_add(1);
        });
    }

    /// Calls `take` with the status of each of `wanted` packets; gives what follows the chunks, `None` when they are cut short.
    fn chunks(&self, wanted: usize, mut take: impl FnMut(u16)) -> Option<&[u8]> {
        let (mut rest, mut left) = (self.body, wanted);
        while left > 0 {
            let chunk = half(rest, 0)?;
            rest = rest.get(2..)?;
            let taken = match chunk >> 14 {
                0 | 1 => {
                    let run = usize::from(chunk & 0x1FFF).min(left);
                    (0..run).for_each(|_| take(chunk >> 13 & 3));
                    run
                }
                2 => {
                    (0..14).rev().take(left).for_each(|bit| take(chunk >> bit & 1));
                    14
                }
                _ => {
                    (0..7).rev().take(left).for_each(|pair| take(chunk >> (2 * pair) & 3));
                    7
                }
            };
            if taken == 0 {
                return None;
            }
            left = left.saturating_sub(taken);
        }
        Some(rest)
    }
}

/// Writes compounds one behind the other.
pub(crate) struct Compound<'a> {
    out: &'a mut Vec<u8>,
    from: u32,
}

impl<'a> Compound<'a> {
    /// A compound of `from`; it begins with a receiver report of `blocks`, and where there are more than one takes, others
    /// follow at once (RFC 3550 §6.1).
    pub(crate) fn new(out: &'a mut Vec<u8>, from: u32, blocks: &[ReportBlock]) -> Self {
        let mut compound = Self { out, from };
        let (first, more) = blocks.split_at(blocks.len().min(BLOCKS));
        for blocks in std::iter::once(first).chain(more.chunks(BLOCKS)) {
            #[expect(clippy::cast_possible_truncation, reason = "at most BLOCKS")]
            compound.packet(RECEIVER_REPORT, blocks.len() as u8, |out| {
                blocks.iter().for_each(|block| write_block(out, block));
            });
        }
        compound
    }

    fn packet(&mut self, kind: u8, count: u8, body: impl FnOnce(&mut Vec<u8>)) {
        let begin = self.out.len();
        self.out.extend_from_slice(&[0x80 | count, kind, 0, 0]);
        self.out.extend_from_slice(&self.from.to_be_bytes());
        body(self.out);
        self.out.resize(begin + (self.out.len() - begin).next_multiple_of(4), 0);
        #[expect(clippy::cast_possible_truncation, reason = "packets are short")]
        let words = ((self.out.len() - begin) / 4 - 1) as u16;
        if let Some(length) = self.out.get_mut(begin + 2..begin + 4) {
            length.copy_from_slice(&words.to_be_bytes());
        }
    }

    /// Asks the sender of `ssrc` for a keyframe (RFC 4585 §6.3.1).
    pub(crate) fn keyframe_request(&mut self, ssrc: u32) {
        self.packet(PAYLOAD_FEEDBACK, 1, |out| out.extend_from_slice(&ssrc.to_be_bytes()));
    }

    /// Asks the sender of `ssrc` for a keyframe, by a command with a number of its own: the next one for every new request, the
    /// same for one that is repeated (RFC 5104 §4.3.1). Its header names no media source (§4.3.1.2).
    pub(crate) fn full_intra_request(&mut self, ssrc: u32, sequence: u8) {
        self.packet(PAYLOAD_FEEDBACK, 4, |out| {
            out.extend_from_slice(&[0; 4]);
            out.extend_from_slice(&ssrc.to_be_bytes());
            out.extend_from_slice(&[sequence, 0, 0, 0]);
        });
    }

    /// Asks for `missing` packets of `ssrc`, in ascending order.
    pub(crate) fn nack(&mut self, ssrc: u32, missing: &[u16]) {
        self.packet(TRANSPORT_FEEDBACK, 1, |out| {
            out.extend_from_slice(&ssrc.to_be_bytes());
            let mut rest = missing;
            while let Some((&first, mut after)) = rest.split_first() {
                let mut mask = 0_u16;
                while let Some((&next, behind)) = after.split_first() {
                    let distance = next.wrapping_sub(first);
                    if !(1..=16).contains(&distance) {
                        break;
                    }
                    mask |= 1 << (distance - 1);
                    after = behind;
                }
                out.extend_from_slice(&first.to_be_bytes());
                out.extend_from_slice(&mask.to_be_bytes());
                rest = after;
            }
        });
    }

    /// Says how much may be sent, bit/s.
    pub(crate) fn remb(&mut self, BitRate(bitrate): BitRate, ssrcs: &[u32]) {
        let ssrcs = ssrcs.get(..255).unwrap_or(ssrcs);
        self.packet(PAYLOAD_FEEDBACK, 15, |out| {
            let exponent = (64 - bitrate.leading_zeros()).saturating_sub(18);
            let [.., high, middle, low] = (bitrate >> exponent).to_be_bytes();
            out.extend_from_slice(&[0; 4]);
            out.extend_from_slice(b"REMB");
            #[expect(clippy::cast_possible_truncation, reason = "at most 255, at most 46")]
            out.extend_from_slice(&[ssrcs.len() as u8, (exponent as u8) << 2 | high, middle, low]);
            ssrcs.iter().for_each(|ssrc| out.extend_from_slice(&ssrc.to_be_bytes()));
        });
    }

    /// Transport-wide feedback number `number`: which of the packets from `base` on arrived when, in quarters of a millisecond
    /// after `reference` times 64 ms. As many as fit are taken; returns how many.
    pub(crate) fn twcc(
        &mut self,
        ssrc: u32,
        (number, base, reference): (u8, u16, u32),
        arrivals: &[Option<i64>],
    ) -> usize {
        let taken = arrivals.len().min(TWCC_PACKETS);
        let arrivals = arrivals.get(..taken).unwrap_or_default();
        self.packet(TRANSPORT_FEEDBACK, 15, |out| {
            let [_, r0, r1, r2] = reference.to_be_bytes();
            out.extend_from_slice(&ssrc.to_be_bytes());
            out.extend_from_slice(&base.to_be_bytes());
            #[expect(clippy::cast_possible_truncation, reason = "at most TWCC_PACKETS")]
            out.extend_from_slice(&(taken as u16).to_be_bytes());
            out.extend_from_slice(&[r0, r1, r2, number]);
            write_statuses(out, arrivals);
        });
        taken
    }

    /// A sender report of `ssrc` follows as a compound of its own sender (RFC 3550 §6.4.1), with its CNAME.
    pub(crate) fn sender_report(
        out: &'a mut Vec<u8>,
        ssrc: u32,
        (ntp, MediaTime(rtp)): (u64, MediaTime),
        (packets, bytes): (u32, u32),
        cname: &str,
    ) -> Self {
        let mut compound = Self { out, from: ssrc };
        compound.packet(SENDER_REPORT, 0, |out| {
            out.extend_from_slice(&ntp.to_be_bytes());
            [rtp, packets, bytes]
                .iter()
                .for_each(|word| out.extend_from_slice(&word.to_be_bytes()));
        });
        compound.packet(SOURCE_DESCRIPTION, 1, |out| {
            #[expect(clippy::cast_possible_truncation, reason = "names are short")]
            out.extend_from_slice(&[1, cname.len() as u8]);
            out.extend_from_slice(cname.as_bytes());
            out.push(0);
        });
        compound
    }
}

/// Packets of one transport-wide feedback, so that it stays below the MTU.
pub(crate) const TWCC_PACKETS: usize = 400;

fn write_block(out: &mut Vec<u8>, block: &ReportBlock) {
    let [l0, l1, l2, _] = (block.lost.clamp(-0x80_0000, 0x7F_FFFF) << 8).to_be_bytes();
    let words = [
        block.ssrc,
        u32::from_be_bytes([block.fraction_lost, l0, l1, l2]),
        block.highest,
        block.jitter,
        block.last_report,
        block.delay,
    ];
    words.iter().for_each(|word| out.extend_from_slice(&word.to_be_bytes()));
}

/// Two-bit status vectors, then the deltas: one byte for small ones, two for large or negative ones.
fn write_statuses(out: &mut Vec<u8>, arrivals: &[Option<i64>]) {
    let mut last = 0_i64;
    let mut deltas = [0_i64; TWCC_PACKETS];
    for (delta, arrival) in deltas.iter_mut().zip(arrivals) {
        if let Some(at) = arrival {
            *delta = (at - last).clamp(i16::MIN.into(), i16::MAX.into());
            last += *delta;
        }
    }
    let status = |arrival: &Option<i64>, delta: i64| match arrival {
        None => 0_u16,
        Some(_) if (0..=255).contains(&delta) => 1,
        Some(_) => 2,
    };
    for (arrivals, deltas) in arrivals.chunks(7).zip(deltas.chunks(7)) {
        let mut chunk = 0xC000_u16;
        for (place, (arrival, &delta)) in (0_u16..).zip(arrivals.iter().zip(deltas)) {
            chunk |= status(arrival, delta) << (12 - 2 * place);
        }
        out.extend_from_slice(&chunk.to_be_bytes());
    }
    for (arrival, &delta) in arrivals.iter().zip(&deltas) {
        #[expect(clippy::cast_possible_truncation, reason = "clamped")]
        match status(arrival, delta) {
            0 => {}
            1 => out.push(delta as u8),
            _ => out.extend_from_slice(&(delta as i16).to_be_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtc_rtcp::packet::unmarshal;
    use rtc_rtcp::payload_feedbacks::full_intra_request::{FirEntry, FullIntraRequest};

    fn all(compound: &[u8]) -> Vec<Rtcp<'_>> {
        let mut found = Vec::new();
        read(compound, |said| found.push(said));
        found
    }

    #[test]
    fn what_is_written_is_read_again_here_and_elsewhere() {
        let block = ReportBlock {
            ssrc: 9,
            fraction_lost: 12,
            lost: -3,
            highest: 70_000,
            jitter: 5,
            last_report: 77,
            delay: 88,
        };
        let mut out = Vec::new();
        let mut compound = Compound::new(&mut out, 1, &[block]);
        compound.keyframe_request(9);
        compound.nack(9, &[65_530, 65_535, 1, 200]);
        compound.remb(BitRate(1_500_000), &[9, 10]);
        let arrivals = [Some(3), None, Some(4), Some(1000), Some(990), None, None, Some(991)];
        assert_eq!(compound.twcc(9, (7, 65_533, 5), &arrivals), 8);
        let said = all(&out);
        assert_eq!(said[..2], [Rtcp::Report(block), Rtcp::KeyframeRequest { ssrc: 9 }]);
        let nacks: Vec<u16> = said
            .iter()
            .filter_map(|said| match said {
                Rtcp::Nack { ssrc: 9, sequence } => Some(*sequence),
                _ => None,
            })
            .collect();
        assert_eq!(nacks, [65_530, 65_535, 1, 200]);
        assert!(said.iter().any(
            |said| matches!(said, Rtcp::Remb { bitrate } if (bitrate - 1_500_000.0).abs() < 10.0)
        ));
        let Some(Rtcp::Twcc(twcc)) = said.last() else { panic!("no feedback") };
        assert_eq!((twcc.base, twcc.count, twcc.reference), (65_533, 8, 5));
        let mut read = Vec::new();
        twcc.each(|sequence, at| read.push((sequence, at)));
        let expected = (0..8).map(|n| 65_533_u16.wrapping_add(n)).zip(arrivals);
        assert_eq!(read, expected.map(|(n, at)| (n, at.map(|at| at as i32))).collect::<Vec<_>>());
        assert_eq!(unmarshal(&mut out.as_slice()).unwrap().len(), 5, "by the other implementation");

        let mut out = Vec::new();
        Compound::sender_report(&mut out, 9, (1 << 40, MediaTime(5)), (6, 7), "name");
        assert_eq!(all(&out), [Rtcp::SenderReport { ssrc: 9, ntp: 1 << 40, rtp: MediaTime(5) }]);
        assert_eq!(unmarshal(&mut out.as_slice()).unwrap().len(), 2);
    }

    #[test]
    fn a_full_intra_request_has_the_layout_of_the_rfc() {
        let mut out = Vec::new();
        Compound::new(&mut out, 1, &[]).full_intra_request(9, 200);
        // RFC 5104 §4.3.1.1: FMT 4, no media source, then the SSRC, the number and three bytes of nothing.
        assert_eq!(out[8..], [0x84, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 200, 0, 0, 0]);
        assert_eq!(all(&out), [Rtcp::FullIntraRequest { from: 1, ssrc: 9, sequence: 200 }]);
        let packets = unmarshal(&mut out.as_slice()).unwrap();
        let request = packets[1].as_any().downcast_ref::<FullIntraRequest>().unwrap();
        let entry = FirEntry { ssrc: 9, sequence_number: 200 };
        assert_eq!((request.media_ssrc, &request.fir), (0, &vec![entry]));
    }

    #[test]
    fn a_broken_packet_costs_only_itself() {
        let mut out = vec![0x41, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2];
        Compound::new(&mut out, 1, &[]).keyframe_request(9);
        assert_eq!(all(&out), [Rtcp::KeyframeRequest { ssrc: 9 }]);
    }

    #[test]
    fn padding_says_nothing_and_padding_that_lies_costs_its_packet() {
        let request = [0xA1, 205, 0, 4, 0, 0, 0, 1, 0, 0, 0, 9, 0, 5, 0, 0, 0, 0, 0, 4];
        assert_eq!(all(&request), [Rtcp::Nack { ssrc: 9, sequence: 5 }]);
        for lie in [0, 17, 255] {
            let mut request = request.to_vec();
            *request.last_mut().unwrap() = lie;
            request.extend([0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 9]);
            assert_eq!(all(&request), [Rtcp::KeyframeRequest { ssrc: 9 }]);
        }
    }

    #[test]
    fn more_reports_than_one_packet_takes_follow_in_others() {
        for count in [0, 1, 31, 32, 62, 63, 100] {
            let block = |ssrc| ReportBlock { ssrc, highest: 7, ..ReportBlock::default() };
            let blocks: Vec<ReportBlock> = (0..count).map(block).collect();
            let mut out = Vec::new();
            Compound::new(&mut out, 1, &blocks).keyframe_request(9);
            let mut expected: Vec<_> = blocks.into_iter().map(Rtcp::Report).collect();
            expected.push(Rtcp::KeyframeRequest { ssrc: 9 });
            assert_eq!(all(&out), expected);
            let packets = unmarshal(&mut out.as_slice()).unwrap();
            assert_eq!(packets.len() as u32, count.div_ceil(31).max(1) + 1);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(mut bytes in proptest::collection::vec(0_u8.., 0..300), kind in 198_u8..208) {
            if let Some(second) = bytes.get_mut(1) {
                *second = kind;
            }
            read(&bytes, |said| if let Rtcp::Twcc(twcc) = said { twcc.each(|_, _| ()) });
        }
    }
}
