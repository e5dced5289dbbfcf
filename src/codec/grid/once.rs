//! [`OnceLock`] for builds without std.

use alloc::boxed::Box;

use once_cell::race::OnceBox;

/// A value created on first use. Concurrent callers each create it, since without an operating system none can wait, and one
/// of the results is kept.
pub(super) struct OnceLock<T>(OnceBox<T>);

impl<T> OnceLock<T> {
    pub(super) const fn new() -> Self {
        OnceLock(OnceBox::new())
    }

    pub(super) fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        self.0.get_or_init(|| Box::new(make()))
    }
}
