//! How the rate of a viewer's path is shared among the tracks that the viewer gets.

use crate::numbers::BitRate;

/// What is known of a track that a viewer could get more or less of.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// The better, the earlier it gets more.
    pub(crate) priority: u8,
    /// The rate of each layer that is sent, the worst first, with its place.
    pub(crate) layers: Vec<(u8, BitRate)>,
    /// The layer it gets now.
    pub(crate) current: Option<u8>,
}

/// Bits that a step upward needs beyond its own, in percent: what just fits now may not in a moment.
const HEADROOM: u64 = 10;

/// Shares `rate` among `candidates`: first each its lowest layer, those of high priority first, then step by step upward.
/// The result has the layer of each, `None` where not even the lowest fits.
pub(crate) fn allocate(rate: BitRate, candidates: &[Candidate]) -> Vec<Option<u8>> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|&place| {
        std::cmp::Reverse(candidates.get(place).map_or(0, |candidate| candidate.priority))
    });
    let mut left = rate;
    let mut steps: Vec<Option<usize>> = vec![None; candidates.len()];
    let most = candidates.iter().map(|candidate| candidate.layers.len()).max().unwrap_or(0);
    for step in 0..most {
        for &place in &order {
            let (Some(candidate), Some(reached)) = (candidates.get(place), steps.get_mut(place))
            else {
                continue;
            };
            if *reached != step.checked_sub(1) {
                continue;
            }
            let Some(&(_, wanted)) = candidate.layers.get(step) else { continue };
            let before = reached.and_then(|step| candidate.layers.get(step));
            let more = wanted - before.map_or(BitRate::default(), |&(_, rate)| rate);
            let held = candidate.layers.iter().position(|&(it, _)| Some(it) == candidate.current);
            let upward = held.is_none_or(|held| step > held);
            let needed = if upward { more + wanted.percent(HEADROOM) } else { more };
            if needed <= left {
                left = left - more;
                *reached = Some(step);
            }
        }
    }
    let layer = |(candidate, step): (&Candidate, Option<usize>)| {
        candidate.layers.get(step?).map(|&(layer, _)| layer)
    };
    candidates.iter().zip(steps).map(layer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn camera(priority: u8, current: Option<u8>) -> Candidate {
        let layers = [(0, 150_000), (1, 500_000), (2, 1_500_000)];
        let layers = layers.map(|(layer, rate)| (layer, BitRate(rate))).to_vec();
        Candidate { priority, layers, current }
    }

    #[test]
    fn everybody_gets_the_lowest_layer_before_anybody_gets_more() {
        let two = [camera(128, None), camera(128, None)];
        assert_eq!(allocate(BitRate(100_000), &two), [None, None]);
        assert_eq!(allocate(BitRate(200_000), &two), [Some(0), None]);
        assert_eq!(allocate(BitRate(400_000), &two), [Some(0), Some(0)]);
        assert_eq!(allocate(BitRate(800_000), &two), [Some(1), Some(0)]);
        assert_eq!(allocate(BitRate(9_000_000), &two), [Some(2), Some(2)]);
    }

    #[test]
    fn priority_comes_first_and_a_step_up_needs_headroom() {
        let two = [camera(1, None), camera(200, None)];
        assert_eq!(allocate(BitRate(200_000), &two), [None, Some(0)]);
        assert_eq!(allocate(BitRate(510_000), &[camera(1, Some(0))]), [Some(0)]);
        assert_eq!(
            allocate(BitRate(510_000), &[camera(1, Some(1))]),
            [Some(1)],
            "it has it already"
        );
    }
}
