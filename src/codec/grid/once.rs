//! [`OnceLock`] where std's is not.

use alloc::boxed::Box;

use once_cell::race::OnceBox;

/// A value made when it is first asked for. Who asks at the same time makes it too, since without an operating system nobody
/// can wait, and one of them is kept.
pub(super) struct OnceLock<T>(OnceBox<T>);

impl<T> OnceLock<T> {
    pub(super) const fn new() -> Self {
        OnceLock(OnceBox::new())
    }

    pub(super) fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        self.0.get_or_init(|| Box::new(make()))
    }
}
