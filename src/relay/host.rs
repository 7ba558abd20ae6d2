//! What this machine does to the relay: ports of its range that the kernel gives to other programs, and descriptors that are too
//! few for its allocations.

use std::ops::RangeInclusive;

use switchboard_turn::driver::Descriptors;

use crate::config::{Turn, TurnMode};

/// Where the kernel says from which ports it gives one to a program that names none.
const EPHEMERAL: &str = "/proc/sys/net/ipv4/ip_local_port_range";
/// Where it says which of them it keeps back.
const RESERVED: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";
/// Descriptors for all but allocations: listeners, files, clients of everything else.
const SPARE: u64 = 1024;

type Range = RangeInclusive<u16>;

/// What an operator should change on this machine, each with its remedy. Nothing where no relayed port is bound.
pub fn problems(turn: &Turn) -> Vec<String> {
    if turn.mode != TurnMode::Open {
        return vec![];
    }
    let read = |path| std::fs::read_to_string(path).ok();
    let kernel = read(EPHEMERAL).zip(read(RESERVED));
    let kernel = kernel.and_then(|(ephemeral, reserved)| Kernel::parse(&ephemeral, &reserved));
    let ports = kernel.and_then(|kernel| kernel.problem(&(turn.ports.0..=turn.ports.1)));
    ports.into_iter().chain(too_few(turn, Descriptors::of_this_process())).collect()
}

fn too_few(turn: &Turn, descriptors: Option<Descriptors>) -> Option<String> {
    let most = descriptors?.hard;
    let ports = u64::from(turn.ports.1 - turn.ports.0) + 1;
    let families = turn.advertised_ips.len().max(1) as u64;
    let needed = u64::from(turn.allocations).min(ports) * families + SPARE;
    (most < needed).then(|| {
        format!(
            "each relayed address takes a descriptor, and of the {needed} for turn.allocations = {} this process may open {most}: set LimitNOFILE (ulimit -n) to {needed}, or lower turn.allocations",
            turn.allocations
        )
    })
}

/// What the kernel does with ports.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Kernel {
    /// It gives one of these to a program that names none, …
    ephemeral: Range,
    /// … but none of these, in order and apart from one another.
    reserved: Vec<Range>,
}

impl Kernel {
    /// Reads `ip_local_port_range` ("32768\t60999") and `ip_local_reserved_ports` ("8080,9148-9150", or nothing).
    fn parse(ephemeral: &str, reserved: &str) -> Option<Self> {
        let mut ends = ephemeral.split_whitespace().map(|end| end.parse().ok());
        let (Some(Some(first)), Some(Some(last)), None) = (ends.next(), ends.next(), ends.next())
        else {
            return None;
        };
        let reserved = reserved.trim();
        let ranges = reserved.split(',').filter(|_| !reserved.is_empty()).map(|range| {
            let range = range.trim();
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some(first.parse().ok()?..=last.parse().ok()?)
        });
        Some(Self { ephemeral: first..=last, reserved: joined(ranges.collect::<Option<_>>()?) })
    }

    fn problem(&self, ports: &Range) -> Option<String> {
        let taken = self.given_away(ports);
        if taken.is_empty() {
            return None;
        }
        let (first, last) = (ports.start(), ports.end());
        let mut reserved = self.reserved.clone();
        reserved.push(ports.clone());
        Some(format!(
            "the kernel gives {} of turn.ports = [{first}, {last}] to other programs ({EPHEMERAL} is {}-{}): reserve them with `sysctl -w net.ipv4.ip_local_reserved_ports={}`, and in /etc/sysctl.d for the next start",
            listed(&taken),
            self.ephemeral.start(),
            self.ephemeral.end(),
            listed(&joined(reserved)),
        ))
    }

    /// Which of `ports` the kernel gives to others.
    fn given_away(&self, ports: &Range) -> Vec<Range> {
        let first = *ports.start().max(self.ephemeral.start());
        let last = *ports.end().min(self.ephemeral.end());
        let (mut next, mut found) = (u32::from(first), Vec::new());
        let end = u32::from(last) + 1;
        let mut add = |from: u32, to: u32| {
            if from < to
                && let (Ok(from), Ok(last)) = (u16::try_from(from), u16::try_from(to - 1))
            {
                found.push(from..=last);
            }
        };
        for range in &self.reserved {
            add(next, u32::from(*range.start()).min(end));
            next = next.max(u32::from(*range.end()) + 1);
        }
        add(next, end);
        found
    }
}

/// In order, with those that touch made one; an empty one is left out.
fn joined(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.retain(|range| !range.is_empty());
    ranges.sort_by_key(|range| *range.start());
    let mut joined: Vec<Range> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if *range.start() <= last.end().saturating_add(1) => {
                *last = *last.start()..=*last.end().max(range.end());
            }
            _ => joined.push(range),
        }
    }
    joined
}

/// As the kernel writes them.
fn listed(ranges: &[Range]) -> String {
    let one = |range: &Range| match range.start() == range.end() {
        true => range.start().to_string(),
        false => format!("{}-{}", range.start(), range.end()),
    };
    ranges.iter().map(one).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn kernel(reserved: &str) -> Kernel {
        Kernel::parse("32768\t60999\n", reserved).unwrap()
    }

    #[test]
    fn the_files_of_the_kernel_are_read_as_it_writes_them() {
        assert_eq!(kernel("\n"), Kernel { ephemeral: 32_768..=60_999, reserved: vec![] });
        let reserved = kernel("8080,9148-9150\n").reserved;
        assert_eq!(reserved, [8080..=8080, 9148..=9150]);
        assert_eq!(kernel("9150-9151,9148-9149,9149").reserved, [9148..=9151], "joined, in order");
        assert_eq!(kernel("0-65535").reserved, [0..=65_535]);
        for ephemeral in ["", "32768", "a b", "32768 99999", "1 2 3", "-1 5"] {
            assert_eq!(Kernel::parse(ephemeral, ""), None, "{ephemeral:?}");
        }
        for reserved in ["x", "1-", "-", "1,,2", "70000", "1-2-3"] {
            assert_eq!(Kernel::parse("32768 60999", reserved), None, "{reserved:?}");
        }
    }

    #[test]
    fn ports_that_others_are_given_are_found() {
        for (reserved, ports, given) in [
            ("", 49_152..=65_535, "49152-60999"),
            ("", 61_000..=65_535, ""),
            ("", 10_000..=32_767, ""),
            ("", 10_000..=32_768, "32768"),
            ("", 60_999..=61_010, "60999"),
            ("49152-65535", 49_152..=65_535, ""),
            ("0-65535", 1024..=65_535, ""),
            ("49152-55000", 49_152..=65_535, "55001-60999"),
            ("50000,50002-50003", 50_000..=50_005, "50001,50004-50005"),
            ("8080,60000-65535", 49_152..=65_535, "49152-59999"),
        ] {
            assert_eq!(listed(&kernel(reserved).given_away(&ports)), given, "{reserved} {ports:?}");
        }
        let all = Kernel::parse("1024 65535", "").unwrap();
        assert_eq!(listed(&all.given_away(&(61_000..=65_535))), "61000-65535");
    }

    #[test]
    fn the_remedy_keeps_what_is_reserved_already() {
        assert_eq!(kernel("").problem(&(61_000..=65_535)), None);
        let text = kernel("8080,49000-49200").problem(&(49_152..=65_535)).unwrap();
        assert!(text.contains("gives 49201-60999 of turn.ports = [49152, 65535]"), "{text}");
        assert!(text.contains("ip_local_reserved_ports=8080,49000-65535`"), "{text}");
    }

    #[test]
    fn descriptors_that_do_not_suffice_are_a_problem_with_its_remedy() {
        let turn = Turn { allocations: 4000, ports: (61_000, 65_535), ..Turn::default() };
        let with = |hard| too_few(&turn, Some(Descriptors { soft: 1024, hard }));
        assert_eq!(with(5024), None);
        let text = with(4096).unwrap();
        assert!(text.contains("turn.allocations = 4000 this process may open 4096"), "{text}");
        assert!(text.contains("LimitNOFILE (ulimit -n) to 5024"), "{text}");
        let few = Turn { ports: (61_000, 61_099), ..turn.clone() };
        assert_eq!(too_few(&few, Some(Descriptors { soft: 1024, hard: 1124 })), None);
        assert_eq!(too_few(&turn, None), None, "not known here");
    }

    #[test]
    fn the_default_range_is_not_what_the_kernel_gives_away_by_default() {
        let turn = Turn::default();
        assert_eq!(kernel("").problem(&(turn.ports.0..=turn.ports.1)), None);
        assert!(u64::from(turn.allocations) <= u64::from(turn.ports.1 - turn.ports.0) + 1);
        assert!(problems(&turn).is_empty(), "it is off");
    }
}
