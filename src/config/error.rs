//! Why a configuration is refused.

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A source cannot be read or holds something impossible.
    #[error("{0}")]
    Source(String),
    /// A key has a value that cannot work.
    #[error("{key}: {why}")]
    Key {
        /// Section and key.
        key: &'static str,
        /// What is wrong with it.
        why: String,
    },
}
