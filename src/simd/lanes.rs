//! [`Simd`]: the operations in which every kernel is written.

use half::{bf16, f16};

/// The maximum number of lanes of any instruction set here, which is the size of buffers for one vector.
pub(crate) const MAX_LANES: usize = 32;

/// A computation that several kernels share. [`Simd::shared`] runs it in a function of its own, which is compiled once for each
/// kind of computation and lanes instead of once in each kernel. Differences between uses are passed as slices and numbers, not
/// as types.
pub(crate) trait Shared<S: Simd> {
    /// The result.
    type Output;
    /// Runs the computation. `#[inline(always)]`, as in a kernel.
    fn run(self, s: S) -> Self::Output;
}

/// Vectors of [`LANES`](Self::LANES) single-precision floats or 32-bit integers.
///
/// Every operation gives the same result on every instruction set, to the bit: IEEE single precision, rounded to
/// nearest even, with nothing fused and nothing reassociated. Where hardware differs (the order of `min`'s operands,
/// conversions out of range), the operation does what baseline x86-64 does, because ggml's reference build does that.
///
/// An operation that takes a slice uses its first `LANES` elements and panics on a shorter slice. Kernels pass slices
/// of fixed-size arrays, so that the check is optimized away after inlining.
pub(crate) trait Simd: Copy {
    /// Lanes of `f32`.
    type F: Copy;
    /// Lanes of `i32`.
    type I: Copy;
    /// A truth value for each lane.
    type M: Copy;
    /// Whether [`stream`](Self::stream) bypasses the caches.
    const STREAMS: bool = false;
    /// Several vectors as one, for computations that are bound by latency.
    type Wide: Simd;
    /// The number of lanes in a vector. It divides 16, or [`MAX_LANES`] in a [`Wide`](Self::Wide) vector.
    const LANES: usize;

    /// Returns the same instruction set with several vectors as one.
    fn wide(self) -> Self::Wide;

    /// Runs a computation that other kernels share, in a function of its own with this instruction set. This costs a call
    /// and passing lanes through memory, so it is for computations that take far longer.
    #[inline(always)]
    fn shared<W: Shared<Self>>(self, work: W) -> W::Output {
        self.shared_in(self, work)
    }
    /// Like [`shared`](Self::shared), in the lanes of `s`, which are composed of these.
    fn shared_in<S: Simd, W: Shared<S>>(self, s: S, work: W) -> W::Output;

    /// Prefetches bytes. Results do not depend on it.
    #[inline(always)]
    fn prefetch(self, _bytes: &[u8]) {}

    /// Copies as many cache lines as there are. Bypasses the caches if the instruction set can and `to` begins at a
    /// line. A [`fence`](Self::fence) must follow before the memory is made available to other code:
    /// [`Streaming`](super::Streaming) ensures that.
    #[inline(always)]
    fn stream(self, from: &[[u8; 64]], to: &mut [[u8; 64]]) {
        to.copy_from_slice(from);
    }
    /// Orders all writes by [`stream`](Self::stream) before all later writes.
    #[inline(always)]
    fn fence(self) {}

    /// Returns the same float in every lane.
    fn splat(self, value: f32) -> Self::F;
    /// Returns the same integer in every lane.
    fn splat_i(self, value: i32) -> Self::I;
    /// Loads `LANES` floats.
    fn load(self, from: &[f32]) -> Self::F;
    /// Sets lane `j` to `lane(j)`. For transposing. Takes a scalar load for each lane.
    #[inline(always)]
    fn gather(self, lane: impl Fn(usize) -> f32) -> Self::F {
        let mut lanes = [0.0; MAX_LANES];
        for (j, value) in lanes[..Self::LANES].iter_mut().enumerate() {
            *value = lane(j);
        }
        self.load(&lanes)
    }
    /// Transposes: lane `j` of vector `i` is `rows[j][i]`. Takes the first `LANES` rows. `N` is a multiple of 8.
    #[inline(always)]
    fn columns<const N: usize>(self, rows: &[&[f32; N]]) -> [Self::F; N] {
        let mut columns = [self.splat(0.0); N];
        for (i, column) in columns.iter_mut().enumerate() {
            *column = self.gather(|lane| rows[lane][i]);
        }
        columns
    }
    /// Widens `LANES` unsigned bytes.
    fn load_u8(self, from: &[u8]) -> Self::I;
    /// Widens `LANES` signed bytes.
    fn load_i8(self, from: &[i8]) -> Self::I;
    /// Widens `LANES` unsigned bytes of consecutive short rows, from byte `first` on: `row(k)` is row `k`. `N` is 4 or
    /// 8, and `first` is a multiple of `LANES`.
    #[inline(always)]
    fn load_rows<'a, const N: usize>(self, first: usize, row: impl Fn(usize) -> &'a [u8; N]) -> Self::I {
        if Self::LANES <= N {
            return self.load_u8(&row(first / N)[first % N..]);
        }
        let mut bytes = [0; MAX_LANES];
        for (k, bytes) in bytes[..Self::LANES].as_chunks_mut::<N>().0.iter_mut().enumerate() {
            *bytes = *row(first / N + k);
        }
        self.load_u8(&bytes)
    }
    /// Widens `LANES` unsigned 16-bit numbers given as little-endian bytes.
    #[inline(always)]
    fn load_u16(self, from: &[[u8; 2]]) -> Self::I {
        self.shr::<16>(self.bits(self.load_bf16(from)))
    }
    /// Widens `LANES` half floats given as little-endian bytes.
    fn load_f16(self, from: &[[u8; 2]]) -> Self::F;
    /// Widens `LANES` bfloats given as little-endian bytes.
    fn load_bf16(self, from: &[[u8; 2]]) -> Self::F;
    /// Loads `LANES` floats given as little-endian bytes.
    fn load_f32_bytes(self, from: &[[u8; 4]]) -> Self::F;

    /// Stores `LANES` floats.
    fn store(self, value: Self::F, to: &mut [f32]);
    /// Rounds to half floats, to nearest even. A NaN keeps its sign and upper bits and becomes quiet, as in hardware.
    fn store_f16(self, value: Self::F, to: &mut [f16]);
    /// Rounds to bfloats, to nearest even. A NaN keeps its upper bits. It must be quiet, as the results of all
    /// arithmetic are. No value may be subnormal, because instructions treat such values as zeros. Products and sums
    /// of half floats and small numbers never are, since all are multiples of a far larger number.
    fn store_bf16(self, value: Self::F, to: &mut [bf16]);
    /// Rounds any floats to bfloats, to nearest even. A NaN keeps its upper bits and becomes quiet.
    #[inline(always)]
    fn store_bf16_any(self, value: Self::F, to: &mut [bf16]) {
        self.store_bf16(self.quiet(value), to);
    }
    /// Stores the lowest byte of each lane.
    fn store_u8(self, value: Self::I, to: &mut [u8]);

    /// Converts a float to a half float, rounded to nearest even. NaN becomes `0x7E00` with its sign, as in ggml.
    #[inline(always)]
    fn narrow_f16(self, value: f32) -> [u8; 2] {
        super::halves::f32_to_f16(value).to_le_bytes()
    }
    /// Widens a half float and returns it in every lane.
    #[inline(always)]
    fn splat_f16(self, bits: [u8; 2]) -> Self::F {
        self.splat(self.widen_f16(bits))
    }
    /// Widens a half float.
    fn widen_f16(self, bits: [u8; 2]) -> f32;

    /// `a + b`
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a - b`
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b`
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a / b`
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// The square root, correctly rounded.
    fn sqrt(self, a: Self::F) -> Self::F;
    /// `a` without its sign.
    fn abs(self, a: Self::F) -> Self::F;
    /// Negates lane `j` of `a` if bit `first + j` of `bits` is 1. There must be as many bits.
    fn negate_by_bits(self, a: Self::F, bits: u32, first: usize) -> Self::F;
    /// `magnitude` (not negative) with the sign of `sign`.
    fn copy_sign(self, magnitude: Self::F, sign: Self::F) -> Self::F;
    /// `if a < b { a } else { b }`. For two zeros, or with a NaN, this is `b`.
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    /// `if a > b { a } else { b }`. For two zeros, or with a NaN, this is `b`.
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// Returns the least lane. No lane may be NaN. Of two zeros, either may be returned.
    fn reduce_min(self, a: Self::F) -> f32;
    /// Returns the greatest lane. No lane may be NaN. Of two zeros, either may be returned.
    fn reduce_max(self, a: Self::F) -> f32;

    /// `a < b`, false with a NaN.
    fn lt(self, a: Self::F, b: Self::F) -> Self::M;
    /// `a != b`, true with a NaN.
    fn ne(self, a: Self::F, b: Self::F) -> Self::M;
    /// Returns `true` if every lane is true.
    fn all(self, mask: Self::M) -> bool;
    /// `a && b`
    fn both(self, a: Self::M, b: Self::M) -> Self::M;
    /// `yes` where the mask is true, otherwise `no`.
    fn select(self, mask: Self::M, yes: Self::F, no: Self::F) -> Self::F;

    /// `yes` where the mask is true, otherwise `no`.
    fn select_i(self, mask: Self::M, yes: Self::I, no: Self::I) -> Self::I;

    /// `a & b`
    fn and(self, a: Self::I, b: Self::I) -> Self::I;
    /// `a | b`
    fn or(self, a: Self::I, b: Self::I) -> Self::I;
    /// `a + b`, wrapping.
    fn add_i(self, a: Self::I, b: Self::I) -> Self::I;
    /// `a - b`, wrapping.
    fn sub_i(self, a: Self::I, b: Self::I) -> Self::I;
    /// The lesser, signed.
    fn min_i(self, a: Self::I, b: Self::I) -> Self::I;
    /// The greater, signed.
    fn max_i(self, a: Self::I, b: Self::I) -> Self::I;
    /// Shifts left.
    fn shl<const BITS: i32>(self, a: Self::I) -> Self::I;
    /// Shifts right, filling with zeros.
    fn shr<const BITS: i32>(self, a: Self::I) -> Self::I;

    /// Converts each integer to the nearest float.
    fn to_float(self, a: Self::I) -> Self::F;
    /// Returns the floats' bit patterns.
    fn bits(self, a: Self::F) -> Self::I;
    /// Returns the floats with these bit patterns.
    fn as_floats(self, a: Self::I) -> Self::F;
    /// Rounds toward zero. NaN and values outside the range of `i32` give `i32::MIN`, as on x86.
    fn trunc(self, a: Self::F) -> Self::I;

    // Small tables and packed bits.

    /// Sets lane `j` to `table[index[j] & 15]`.
    fn lookup(self, table: &[f32; 16], index: Self::I) -> Self::F;
    /// Sets lane `j` to `table[index[j] & 3]`.
    fn lookup4(self, table: &[f32; 4], index: Self::I) -> Self::F;
    /// Sets lane `j` to `table[index[j] & 7]`.
    fn lookup8(self, table: &[f32; 8], index: Self::I) -> Self::F;
    /// Sets lane `j` to bit `j`.
    fn mask(self, bits: u32) -> Self::M;
    /// Sets bit `j` to lane `j`. Bits past the lanes are 0.
    fn mask_bits(self, mask: Self::M) -> u32;
    /// Sets the two lowest bits of lane `j` to those of `bits >> 2 * j`. The bits above them are arbitrary.
    fn two_bits(self, bits: u64) -> Self::I;

    /// Makes NaNs quiet. They otherwise keep their bits. (Arithmetic does so too, but `a * 1.0` is optimized away.)
    #[inline(always)]
    fn quiet(self, a: Self::F) -> Self::F {
        let quiet = self.as_floats(self.or(self.bits(a), self.splat_i(0x0040_0000)));
        self.select(self.ne(a, a), quiet, a)
    }

    /// Rounds half to even as ggml does: adds 1.5 × 2^23 and takes the low 23 bits. Exact for |a| < 2^22. Beyond
    /// that, the result wraps as in ggml.
    #[inline(always)]
    fn nearest(self, a: Self::F) -> Self::I {
        let shifted = self.bits(self.add(a, self.splat(NEAREST_MAGIC)));
        self.sub_i(self.and(shifted, self.splat_i(NEAREST_MASK)), self.splat_i(NEAREST_BIAS))
    }

    /// Rounds half to even, for |a| < 2^22. There it equals [`nearest`](Self::nearest), as a float.
    #[inline(always)]
    fn round_even(self, a: Self::F) -> Self::F {
        let magic = self.splat(NEAREST_MAGIC);
        self.sub(self.add(a, magic), magic)
    }

    /// Like [`nearest`](Self::nearest), clamped to `low..=high`.
    #[inline(always)]
    fn nearest_within(self, a: Self::F, low: i32, high: i32) -> Self::I {
        self.max_i(self.splat_i(low), self.min_i(self.splat_i(high), self.nearest(a)))
    }

    /// Rounds half away from zero, like C's `roundf`. Out of range it behaves like [`trunc`](Self::trunc).
    ///
    /// Adding the float just below one half never carries a value below a half past it, and always carries a half.
    #[inline(always)]
    fn round_half_away(self, a: Self::F) -> Self::I {
        self.trunc(self.add(a, self.copy_sign(self.splat(0.5f32.next_down()), a)))
    }
}

/// Below this magnitude [`Simd::round_even`] is exact and equals [`Simd::nearest`].
pub(crate) const NEAREST_LIMIT: f32 = 4_194_304.0;
const NEAREST_MAGIC: f32 = 12_582_912.0;
const NEAREST_MASK: i32 = 0x007f_ffff;
const NEAREST_BIAS: i32 = 0x0040_0000;

/// Like [`Simd::nearest`], for a single number.
#[inline(always)]
pub(crate) fn nearest(a: f32) -> i32 {
    ((a + NEAREST_MAGIC).to_bits() as i32 & NEAREST_MASK) - NEAREST_BIAS
}
