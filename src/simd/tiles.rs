//! [`Tiles`]: rows of weights in lanes, for products with many columns of activations.

use super::bytes::Range;
use super::lanes::Simd;

/// Integers, one for each row.
pub(crate) type RowIntegers<T> = <<T as Tiles>::S as Simd>::I;

/// Vectors with four bytes of each of several rows, and a lane for each row.
///
/// As with [`Simd`], every word means the same on every instruction set: sums of integers are exact.
#[allow(dead_code, reason = "only x86-64 has tiles")]
pub(crate) trait Tiles: Copy {
    /// The lanes: one for each row.
    type S: Simd;
    /// Columns that are multiplied at once.
    const COLUMNS: usize;
    /// What is to be added to signed bytes of weights.
    const ADDED_TO_SIGNED: u8;

    /// The lanes.
    fn lanes(self) -> Self::S;
    /// Adds to each column's sums the products of a few bytes of the rows with the column's: `panel` has four bytes of each
    /// row, row after row, and then the next four; `x` has the same bytes of each column.
    fn dots<const C: usize, const N: usize>(
        self,
        range: Range,
        sums: &mut [RowIntegers<Self>; C],
        panel: &[u8],
        x: [&[[u8; 4]; N]; C],
    );
    /// [`dots`](Self::dots), times a scale for each row.
    #[inline(always)]
    fn scaled_dots<const C: usize, const N: usize>(
        self,
        range: Range,
        sums: &mut [RowIntegers<Self>; C],
        panel: &[u8],
        x: [&[[u8; 4]; N]; C],
        scale: RowIntegers<Self>,
    ) {
        let s = self.lanes();
        let mut dots = [s.splat_i(0); C];
        self.dots(range, &mut dots, panel, x);
        for c in 0..C {
            sums[c] = s.add_i(sums[c], self.mul_i(dots[c], scale));
        }
    }
    /// Adds the sum of two products of 16-bit numbers to each lane: the low halves', and the high halves'.
    fn add_pairs(
        self,
        sums: RowIntegers<Self>,
        a: RowIntegers<Self>,
        b: RowIntegers<Self>,
    ) -> RowIntegers<Self>;
    /// `a * b`, wrapping.
    fn mul_i(self, a: RowIntegers<Self>, b: RowIntegers<Self>) -> RowIntegers<Self>;
    /// Takes 32 bytes of each row and writes the first four of each, then the next four of each, and so on.
    fn interleave<'a>(self, row: impl Fn(usize) -> &'a [u8; 32], to: &mut [u8]);
}

/// Work written once over [`Tiles`].
#[allow(dead_code, reason = "only x86-64 has tiles")]
pub(crate) trait TileKernel {
    /// Whether it is for weights of a range that instructions for dot products do not tell from others.
    const NEEDS_NO_DOTS: bool;
    /// Does it.
    fn run<T: Tiles>(self, t: T);
}
