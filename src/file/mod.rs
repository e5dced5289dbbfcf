//! Files: how they are read and changed, whatever their format.

#[cfg(any(unix, windows))]
pub(crate) mod journal;
