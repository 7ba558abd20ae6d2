//! Capture that stands still, and networks that hold packets up: what is taken for which.

use super::*;

/// What happens to sound and pictures, in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    /// Capture stands still from 4 s on for this long: sound, and pictures.
    stalls: [u64; 2],
    /// Between two sender reports; the first comes with the first packet after a stall.
    reports: Option<u64>,
    /// Reports while capture stands still go on with the timestamps that would have been.
    during: bool,
    /// Reports say no time.
    clockless: bool,
    /// The network holds everything up from 4 s on for this long, then lets it go, so many packets in 10 ms.
    held_up: Option<(u64, u64)>,
    /// Packets take up to this much longer, each differently.
    jitter: u64,
    /// Sound is captured at half its speed, all the time.
    slow: bool,
    /// The disk stands still in this span.
    asleep: (u64, u64),
}

const CALM: Trouble = Trouble {
    stalls: [0; 2],
    reports: Some(1000),
    during: true,
    clockless: false,
    held_up: None,
    jitter: 20,
    slow: false,
    asleep: (0, 0),
};
const FROM: u64 = 4000;
const MEDIA: u64 = 10_000;

/// Sound and pictures of 10 s each: when each was taken, and by how much it lies elsewhere in the recording.
fn lies(trouble: Trouble) -> [Vec<(i64, i64)>; 2] {
    let noon = noon();
    let mut recorder = Recorder::new(noon);
    let taps = [Codec::Opus, Codec::Vp8].map(|codec| {
        let (tap, tapping) = tap(8192);
        recorder.add(TrackKey(codec as u64), codec, tapping);
        tap
    });
    let mut arriving: BTreeMap<(u64, u64), (usize, Tapped)> = BTreeMap::new();
    let (mut count, mut through) = (0_u64, 0);
    let mut arrives = |sent: u64| {
        count += 1;
        let on_its_way = sent + 20 + count * 7919 % (trouble.jitter + 1);
        let at = trouble.held_up.filter(|_| sent >= FROM).map_or(on_its_way, |(long, each)| {
            through += 1;
            (FROM + long + 10 * (through / each)).max(on_its_way)
        });
        (at, count)
    };
    let slowly = if trouble.slow { MEDIA } else { 0 };
    let end = MEDIA + trouble.stalls[0].max(trouble.stalls[1]) + slowly;
    for wall in 0..end {
        for (place, stall) in trouble.stalls.into_iter().enumerate() {
            let clock = [48, 90][place];
            let resumed = wall >= FROM + stall;
            let stands = (FROM..FROM + stall).contains(&wall);
            let media = if resumed { wall - stall } else { wall };
            let slow = trouble.slow && place == 0;
            let (media, odd) = if slow { (media / 2, media % 2) } else { (media, 0) };
            let stamp = |media: u64| u32::try_from(media * clock).unwrap();
            let every = [20, 40][place];
            if !stands && media % every == 0 && odd == 0 && media < MEDIA {
                let key = arrives(wall);
                let packet = Packet {
                    layer: 0,
                    sequence: media / every,
                    timestamp: stamp(media),
                    marker: true,
                    red: false,
                    orientation: None,
                    payload: payload(place == 1, wall, true, 0).into(),
                    at: noon + Duration::from_millis(key.0),
                };
                arriving.insert(key, (place, Tapped::Packet(packet)));
            }
            let first = stall > 0 && wall == FROM + stall;
            let due = trouble.reports.is_some_and(|every| first || wall % every == 300);
            if due && (!stands || trouble.during) {
                let key = arrives(wall);
                let ntp = (3_900_000_000 << 32) + (wall << 32) / 1000;
                let ntp = if trouble.clockless { 0 } else { ntp };
                let at = noon + Duration::from_millis(key.0);
                let clock = Clock { layer: 0, ntp, rtp: stamp(media), at };
                arriving.insert(key, (place, Tapped::Clock(clock)));
            }
        }
    }
    let mut file = Vec::new();
    for ms in (0..end + 5000).step_by(100) {
        while let Some(entry) = arriving.first_entry().filter(|entry| entry.key().0 <= ms) {
            let (place, part) = entry.remove();
            taps[place].put(part);
        }
        if (trouble.asleep.0..trouble.asleep.1).contains(&ms) {
            continue;
        }
        put(&mut file, recorder.poll(noon + Duration::from_millis(ms)).writes);
    }
    drop(taps);
    put(&mut file, recorder.finish(noon + Duration::from_millis(end + 5000)).writes);
    let offset = recorder.offset().unwrap().cast_signed();
    let mut found = [Vec::new(), Vec::new()];
    let mut last = [i64::MIN; 2];
    for (at, video, data) in blocks(&file) {
        let place = usize::from(video);
        assert!(at > last[place], "{trouble:?}: time goes on");
        last[place] = at;
        let taken = taken(video, &data).cast_signed();
        found[place].push((taken, at + offset - taken));
    }
    assert_eq!(found.each_ref().map(Vec::len), [500, 250], "{trouble:?}: nothing is missing");
    found
}

/// Everything lies where it was taken, `within` so many milliseconds more than it is on its way.
fn lie_well(trouble: Trouble, within: i64) {
    for frames in lies(trouble) {
        for (taken, shift) in frames {
            let fine = (20 - within..=20 + within).contains(&shift);
            assert!(fine, "{trouble:?}: what was taken at {taken} ms lies {shift} ms later");
        }
    }
}

#[test]
fn after_a_stall_of_capture_sound_and_pictures_lie_where_the_reports_say() {
    for stall in [1000, 3000, 6000, 12_000, 40_000] {
        for stalls in [[stall, 0], [0, stall], [stall, stall]] {
            for during in [true, false] {
                for every in [1000, 5000] {
                    lie_well(Trouble { stalls, during, reports: Some(every), ..CALM }, 30);
                }
            }
        }
    }
}

#[test]
fn after_a_stall_without_reports_sound_and_pictures_lie_where_they_came() {
    for stall in [1000, 3000, 6000, 12_000, 40_000] {
        for stalls in [[stall, 0], [0, stall], [stall, stall]] {
            lie_well(Trouble { stalls, reports: None, ..CALM }, 40);
            // A sender without a clock says so.
            lie_well(Trouble { stalls, clockless: true, ..CALM }, 40);
        }
    }
}

#[test]
fn packets_that_the_network_holds_up_are_not_taken_for_a_stall() {
    for (long, each) in [(700, 1000), (1500, 1000), (3000, 1000), (3000, 4), (6000, 20)] {
        for reports in [Some(1000), Some(5000), None] {
            lie_well(Trouble { held_up: Some((long, each)), reports, ..CALM }, 30);
        }
    }
    // What comes a little faster than it is taken takes a while.
    lie_well(Trouble { held_up: Some((3000, 1)), ..CALM }, 30);
    for reports in [Some(1000), None] {
        lie_well(Trouble { jitter: 90, reports, ..CALM }, 95);
    }
}

#[test]
fn capture_that_is_slow_and_a_disk_that_stands_still_change_no_times() {
    let asleep = (2000, 15_000);
    for reports in [1000, 5000] {
        let slow = Trouble { slow: true, reports: Some(reports), ..CALM };
        // Half of what passes between two reports is missing until the next one.
        let within = if reports == 1000 { 720 } else { 2700 };
        lie_well(slow, within);
        lie_well(Trouble { asleep, ..slow }, within);
    }
    for stalls in [[3000, 0], [0, 3000], [6000, 6000]] {
        lie_well(Trouble { stalls, asleep, ..CALM }, 30);
    }
}
