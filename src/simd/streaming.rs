//! [`Streaming`]: output that bypasses the caches.

use bytemuck::Pod;

use super::lanes::Simd;

/// The number of values that are gathered before they are written around the caches.
pub(crate) const GATHERED: usize = 512;

/// The number of bytes in a cache line.
const LINE_BYTES: usize = 64;

/// Gathers values in L1 cache and writes them as whole cache lines, each once. A line that is written in parts, or by
/// ordinary stores among others, is fetched first, and all that follows waits for it. So only the first and the last
/// line of the output are written that way, if the output does not begin or end at a line boundary.
pub(crate) struct Streaming<'a, S: Simd, T: Pod> {
    s: S,
    /// What is still to be written. From the first full line on it begins at a line boundary.
    rest: &'a mut [T],
    /// The values of an incomplete line are placed before the first [`GATHERED`].
    gathered: Gathered<T>,
    pending: usize,
}

#[repr(align(64))]
struct Gathered<T>([T; MOST_IN_LINE + GATHERED]);

/// The maximum number of values in a line: those of two bytes.
const MOST_IN_LINE: usize = LINE_BYTES / 2;

impl<'a, S: Simd, T: Pod + Default> Streaming<'a, S, T> {
    const IN_LINE: usize = LINE_BYTES / size_of::<T>();

    /// Creates a stream to `out`, which is complete once as many values as it has were [pushed](Self::push).
    #[inline(always)]
    pub(crate) fn new(s: S, out: &'a mut [T]) -> Self {
        const { assert!(Self::IN_LINE <= MOST_IN_LINE && GATHERED.is_multiple_of(Self::IN_LINE)) };
        Streaming { s, rest: out, gathered: Gathered([T::default(); MOST_IN_LINE + GATHERED]), pending: 0 }
    }

    /// Returns the buffer for the next values, up to [`GATHERED`] of them.
    #[inline(always)]
    pub(crate) fn next(&mut self) -> &mut [T] {
        let most = self.rest.len().saturating_sub(self.pending).min(GATHERED);
        &mut self.gathered.0[MOST_IN_LINE..][..most]
    }

    /// Writes the values that were put into the last [`next`](Self::next).
    #[inline(always)]
    pub(crate) fn push(&mut self) {
        let new = self.rest.len().saturating_sub(self.pending).min(GATHERED);
        let mut from = MOST_IN_LINE - self.pending;
        let end = MOST_IN_LINE + new;
        let head = self.rest.as_ptr().align_offset(LINE_BYTES).min(end - from);
        from += self.put(head, from);
        let lines = (end - from) / Self::IN_LINE * Self::IN_LINE;
        let to = core::mem::take(&mut self.rest);
        let (to, rest) = to.split_at_mut(lines);
        self.s.stream(
            bytemuck::cast_slice::<T, u8>(&self.gathered.0[from..from + lines]).as_chunks().0,
            bytemuck::cast_slice_mut::<T, u8>(to).as_chunks_mut().0,
        );
        self.rest = rest;
        from += lines;
        self.pending = end - from;
        if self.pending == self.rest.len() {
            self.put(self.pending, from);
            self.pending = 0;
        }
        self.gathered.0.copy_within(from..end, MOST_IN_LINE - (end - from));
    }

    /// Writes with ordinary stores.
    #[inline(always)]
    fn put(&mut self, count: usize, from: usize) -> usize {
        let (to, rest) = core::mem::take(&mut self.rest).split_at_mut(count);
        to.copy_from_slice(&self.gathered.0[from..from + count]);
        self.rest = rest;
        count
    }
}

impl<S: Simd, T: Pod> Drop for Streaming<'_, S, T> {
    #[inline(always)]
    fn drop(&mut self) {
        // Code that receives the memory must see what was written.
        self.s.fence();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Isa, Kernel};

    /// A kernel that writes ascending numbers.
    struct Count<'a, T>(&'a mut [T], fn(usize) -> T);

    impl<T: Pod + Default> Kernel for Count<'_, T> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let pieces = self.0.len().div_ceil(GATHERED);
            let mut streaming = Streaming::new(s, self.0);
            for piece in 0..pieces {
                for (i, value) in streaming.next().iter_mut().enumerate() {
                    *value = (self.1)(piece * GATHERED + i);
                }
                streaming.push();
            }
        }
    }

    fn everything_is_written_wherever_it_lies<T: Pod + Default + PartialEq>(of: fn(usize) -> T) {
        for isa in Isa::available() {
            for first in 0..40 {
                for len in [0, 1, 15, 16, 31, 33, 511, 512, 513, 1030, 1600] {
                    let mut out = vec![of(7); first + len + 3];
                    isa.run(Count(&mut out[first..first + len], of));
                    let counts = out[first..first + len].iter().enumerate().all(|(i, &value)| value == of(i));
                    assert!(counts, "{isa:?}: {len} from {first}");
                    let around = out[..first].iter().chain(&out[first + len..]).all(|&value| value == of(7));
                    assert!(around, "{isa:?}: written outside of {len} from {first}");
                }
            }
        }
    }

    #[test]
    fn floats_are_all_written() {
        everything_is_written_wherever_it_lies(|i| i as f32);
    }

    #[test]
    fn shorter_numbers_are_all_written() {
        everything_is_written_wherever_it_lies(|i| i as u16);
    }
}
