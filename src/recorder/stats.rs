use super::Recorder;

/// Recordings, in numbers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// Recordings that run.
    pub running: usize,
    /// How many may run at the same time; none when nothing is recorded at all.
    pub most: usize,
}

impl Recorder {
    /// What there is now.
    pub fn stats(&self) -> Stats {
        let running = self.scenes().values().filter(|scene| scene.recording.is_some()).count();
        Stats { running, most: self.config.max_parallel }
    }
}
