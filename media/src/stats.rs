//! How each stream fares: what the other side reports of it, and what is counted here.

/// What the receiver of one of our streams says of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reports {
    /// Who gave the last command for a keyframe, and its number.
    intra_request: Option<(u32, u8)>,
}

impl Reports {
    /// Whether a command for a keyframe is another one than the last: it is repeated with its number until it is obeyed
    /// (RFC 5104 §4.3.1.1).
    pub(crate) fn is_new(&mut self, from: u32, sequence: u8) -> bool {
        self.intra_request.replace((from, sequence)) != Some((from, sequence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_is_repeated_is_one() {
        let mut reports = Reports::default();
        let given = [(1, 7), (1, 7), (1, 8), (2, 8), (2, 8), (1, 255), (1, 0), (1, 0)];
        let new: Vec<bool> =
            given.iter().map(|&(from, sequence)| reports.is_new(from, sequence)).collect();
        assert_eq!(new, [true, false, true, true, false, true, true, false]);
    }
}
