//! What several promises need.

#[cfg(feature = "mongo")]
pub(crate) mod mongo;
pub(crate) mod oracle;

use std::path::PathBuf;

/// A folder of its own, gone with the value.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("switchboard-test-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Says that something was not tested, in a line that CI counts; past the capture of a test's output, which nobody reads when the
/// test passes.
#[cfg(feature = "mongo")]
pub(crate) fn skipped(what: &str) {
    use std::io::Write as _;
    let _ = std::io::stderr().write_all(format!("\nSKIPPED: {what}\n").as_bytes());
}
