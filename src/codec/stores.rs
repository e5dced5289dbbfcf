//! [`Stores`]: how output is written.

/// How output is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stores {
    /// Into the caches, where the next reader finds it.
    Cached,
    /// Bypassing the caches, which saves reading every line before it is overwritten.
    Streaming,
}
