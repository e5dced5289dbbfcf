//! An allocator that counts the allocations of each thread, so that tests can measure how much opening a file takes. A test binary
//! installs it with `#[global_allocator]`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// In bytes, except the last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Work {
    /// The most that was allocated at one time.
    pub(crate) peak: usize,
    /// The total of all allocations, including those that were freed.
    pub(crate) total: usize,
    /// The number of allocations.
    pub(crate) requests: usize,
}

#[derive(Clone, Copy)]
struct Count {
    /// The bytes currently allocated; negative if a thread frees memory that another allocated.
    now: isize,
    peak: isize,
    total: usize,
    requests: usize,
}

thread_local! {
    static COUNT: Cell<Count> = const { Cell::new(Count { now: 0, peak: 0, total: 0, requests: 0 }) };
}

pub(crate) struct Counting;

// SAFETY: every request goes to `System` unchanged. `realloc` is the default one, which allocates, copies and
// frees: the worst case, with both copies counted. Counting touches a thread-local without a destructor and made
// at compile time, which allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut count = COUNT.get();
        count.now += layout.size() as isize;
        count.peak = count.peak.max(count.now);
        count.total += layout.size();
        count.requests += 1;
        COUNT.set(count);
        // SAFETY: the caller's promise is `System`'s.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let mut count = COUNT.get();
        count.now -= layout.size() as isize;
        COUNT.set(count);
        // SAFETY: the caller's promise is `System`'s, and `alloc` got the pointer there.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The allocations of `work` on this thread, including its result.
pub(crate) fn measure<T>(work: impl FnOnce() -> T) -> (T, Work) {
    let before = COUNT.get();
    COUNT.set(Count { peak: before.now, ..before });
    let result = work();
    let after = COUNT.get();
    let work = Work {
        peak: (after.peak - before.now) as usize,
        total: after.total - before.total,
        requests: after.requests - before.requests,
    };
    (result, work)
}
