//! Whether a call is recorded from its beginning: the one place where that is decided, for those who set it up, those whom it
//! rings, and those who record it.

use crate::config::{RecordingAuto, Recordings};
use crate::event::recording::RecordPolicy;

/// What holds for a call, given whether its caller `requested` to have it recorded.
pub fn record_policy(config: &Recordings, requested: bool) -> RecordPolicy {
    match config.auto {
        RecordingAuto::Accepted => RecordPolicy::Accepted,
        RecordingAuto::Off if requested => RecordPolicy::Requested,
        RecordingAuto::Off => RecordPolicy::Off,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operators_policy_comes_before_the_callers_request() {
        let policy = |auto, requested| {
            record_policy(&Recordings { auto, ..Recordings::default() }, requested)
        };
        assert_eq!(policy(RecordingAuto::Off, false), RecordPolicy::Off);
        assert_eq!(policy(RecordingAuto::Off, true), RecordPolicy::Requested);
        assert_eq!(policy(RecordingAuto::Accepted, true), RecordPolicy::Accepted);
        assert_eq!(policy(RecordingAuto::Accepted, false), RecordPolicy::Accepted);
        assert!(!RecordPolicy::Off.records() && RecordPolicy::Requested.records());
    }
}
