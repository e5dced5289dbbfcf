//! [`Tiles`]: rows of weights in lanes, for products with many columns of activations.

use super::bytes::Range;
use super::lanes::Simd;

/// Integers, one for each row.
pub(crate) type RowIntegers<T> = <<T as Tiles>::S as Simd>::I;

/// Vectors with four bytes of each of several rows, and a lane for each row.
///
/// As in [`Simd`], every operation gives the same result on every instruction set: sums of integers are exact.
#[allow(dead_code, reason = "only x86-64 has tiles")]
pub(crate) trait Tiles: Copy {
    /// The vectors with a lane for each row.
    type S: Simd;
    /// The number of columns that are multiplied at once.
    const COLUMNS: usize;
    /// The number to add to signed bytes of weights.
    const ADDED_TO_SIGNED: u8;

    /// Returns the lanes.
    fn lanes(self) -> Self::S;
    /// Adds to each column's sums the products of a few bytes of the rows with the column's. `panel` has four bytes of each
    /// row, row after row, then the next four, and so on. `x` has the same bytes of each column.
    fn dots<const C: usize, const N: usize>(
        self,
        range: Range,
        sums: &mut [RowIntegers<Self>; C],
        panel: &[u8],
        x: [&[[u8; 4]; N]; C],
    );
    /// Like [`dots`](Self::dots), times a scale for each row.
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
    /// Adds the sum of two products of 16-bit numbers to each lane: that of the low halves and that of the high halves.
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

/// A computation written once over [`Tiles`].
#[allow(dead_code, reason = "only x86-64 has tiles")]
pub(crate) trait TileKernel {
    /// Whether it is for a range of weights that instructions for dot products treat like any other.
    const NEEDS_NO_DOTS: bool;
    /// Runs the computation.
    fn run<T: Tiles>(self, t: T);
}
