//! [`Simd`]: the vocabulary that every kernel is written in.

use half::{bf16, f16};

/// The most lanes that any instruction set here has: the size of buffers that hold one vector.
pub(crate) const MAX_LANES: usize = 32;

/// Work that several kernels have in common. [`Simd::shared`] does it in a function of its own, which is compiled once for each
/// kind of work and lanes and not once more inside of each kernel: slices and numbers tell what differs, and no type does.
pub(crate) trait Shared<S: Simd> {
    /// What the work gives back.
    type Output;
    /// Does it. `#[inline(always)]`, as a kernel is.
    fn run(self, s: S) -> Self::Output;
}

/// Vectors of [`LANES`](Self::LANES) single-precision floats or 32-bit integers.
///
/// Every word means the same on every instruction set, to the bit: IEEE single precision, rounded to nearest
/// even, nothing fused and nothing reassociated. Where hardware differs (the order of `min`'s operands,
/// conversions out of range), the word means what baseline x86-64 does, because that is what ggml's reference
/// build does.
///
/// A word that takes a slice uses its first `LANES` elements and panics on a shorter one. Kernels pass slices of
/// fixed arrays, so that the check is gone once the word is inlined.
pub(crate) trait Simd: Copy {
    /// Lanes of `f32`.
    type F: Copy;
    /// Lanes of `i32`.
    type I: Copy;
    /// A truth value for each lane.
    type M: Copy;
    /// Whether [`stream`](Self::stream) goes around the caches.
    const STREAMS: bool = false;
    /// Several vectors as one, for work that waits more than it computes.
    type Wide: Simd;
    /// Lanes in a vector: divides 16, or in a [`Wide`](Self::Wide) one [`MAX_LANES`].
    const LANES: usize;

    /// The same instruction set with several vectors as one.
    fn wide(self) -> Self::Wide;

    /// Does work that other kernels have too, in a function of its own with this instruction set. A call and lanes that pass
    /// through memory are what it costs, so it is for work that takes far longer.
    #[inline(always)]
    fn shared<W: Shared<Self>>(self, work: W) -> W::Output {
        self.shared_in(self, work)
    }
    /// [`shared`](Self::shared) in the lanes of `s`, which are made of these.
    fn shared_in<S: Simd, W: Shared<S>>(self, s: S, work: W) -> W::Output;

    /// Asks for bytes to be brought near. Nothing depends on it.
    #[inline(always)]
    fn prefetch(self, _bytes: &[u8]) {}

    /// Copies as many lines of memory as there are, around the caches where the instruction set can and `to` begins with
    /// a line. A [`fence`](Self::fence) must follow before anyone else is handed the memory:
    /// [`Streaming`](super::Streaming) sees to that.
    #[inline(always)]
    fn stream(self, from: &[[u8; 64]], to: &mut [[u8; 64]]) {
        to.copy_from_slice(from);
    }
    /// Orders what [`stream`](Self::stream) wrote before all that is written later.
    #[inline(always)]
    fn fence(self) {}

    /// The same float in every lane.
    fn splat(self, value: f32) -> Self::F;
    /// The same integer in every lane.
    fn splat_i(self, value: i32) -> Self::I;
    /// `LANES` floats.
    fn load(self, from: &[f32]) -> Self::F;
    /// Lane `j` is `lane(j)`. For transposing; costs a scalar load for each lane.
    #[inline(always)]
    fn gather(self, lane: impl Fn(usize) -> f32) -> Self::F {
        let mut lanes = [0.0; MAX_LANES];
        for (j, value) in lanes[..Self::LANES].iter_mut().enumerate() {
            *value = lane(j);
        }
        self.load(&lanes)
    }
    /// Transposes: lane `j` of vector `i` is `rows[j][i]`. Takes the first `LANES` rows; `N` is a multiple of 8.
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
    /// Widens `LANES` unsigned bytes of short rows laid end to end, from byte `first` on: `row(k)` is row `k`. `N` is 4
    /// or 8, and `first` a multiple of `LANES`.
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
    /// `LANES` floats given as little-endian bytes.
    fn load_f32_bytes(self, from: &[[u8; 4]]) -> Self::F;

    /// Writes `LANES` floats to working memory.
    fn store(self, value: Self::F, to: &mut [f32]);
    /// Rounds to nearest even half floats. A NaN keeps its sign and upper bits and becomes quiet, as in hardware.
    fn store_f16(self, value: Self::F, to: &mut [f16]);
    /// Rounds to nearest even bfloats. A NaN keeps its upper bits, and must be quiet, as all arithmetic leaves it. No
    /// value may be subnormal: instructions take such for zeros. Products and sums of half floats and small numbers
    /// never are, since all are multiples of a number far above.
    fn store_bf16(self, value: Self::F, to: &mut [bf16]);
    /// Rounds any floats to nearest even bfloats. A NaN keeps its upper bits and becomes quiet.
    #[inline(always)]
    fn store_bf16_any(self, value: Self::F, to: &mut [bf16]) {
        self.store_bf16(self.quiet(value), to);
    }
    /// Writes the lowest byte of each lane.
    fn store_u8(self, value: Self::I, to: &mut [u8]);

    /// One float as a half float: rounded to nearest even, NaN as `0x7E00` with its sign, as in ggml.
    #[inline(always)]
    fn narrow_f16(self, value: f32) -> [u8; 2] {
        super::scalar::f32_to_f16(value).to_le_bytes()
    }
    /// One half float, widened, in every lane.
    #[inline(always)]
    fn splat_f16(self, bits: [u8; 2]) -> Self::F {
        self.splat(self.widen_f16(bits))
    }
    /// One half float, widened.
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
    /// `-a` where a bit is 1, for lane `j` bit `first + j` of `bits`. There are as many bits.
    fn negate_by_bits(self, a: Self::F, bits: u32, first: usize) -> Self::F;
    /// `magnitude` (not negative) with the sign of `sign`.
    fn copy_sign(self, magnitude: Self::F, sign: Self::F) -> Self::F;
    /// `if a < b { a } else { b }`: of two zeros, or with a NaN, `b`.
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    /// `if a > b { a } else { b }`: of two zeros, or with a NaN, `b`.
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// The least lane. No lane may be NaN; of zeros, either.
    fn reduce_min(self, a: Self::F) -> f32;
    /// The greatest lane. No lane may be NaN; of zeros, either.
    fn reduce_max(self, a: Self::F) -> f32;

    /// `a < b`, false with a NaN.
    fn lt(self, a: Self::F, b: Self::F) -> Self::M;
    /// `a != b`, true with a NaN.
    fn ne(self, a: Self::F, b: Self::F) -> Self::M;
    /// Whether every lane is true.
    fn all(self, mask: Self::M) -> bool;
    /// Both.
    fn both(self, a: Self::M, b: Self::M) -> Self::M;
    /// `yes` where the mask is true, else `no`.
    fn select(self, mask: Self::M, yes: Self::F, no: Self::F) -> Self::F;

    /// `yes` where the mask is true, else `no`.
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
    /// Shifts right, zeros in.
    fn shr<const BITS: i32>(self, a: Self::I) -> Self::I;

    /// The nearest float to each integer.
    fn to_float(self, a: Self::I) -> Self::F;
    /// The floats' bit patterns.
    fn bits(self, a: Self::F) -> Self::I;
    /// The floats with these bit patterns.
    fn as_floats(self, a: Self::I) -> Self::F;
    /// Rounds toward zero; NaN and what an `i32` cannot hold give `i32::MIN`, as x86 does.
    fn trunc(self, a: Self::F) -> Self::I;

    // Small tables and packed bits.

    /// Lane `j` is `table[index[j] & 15]`.
    fn lookup(self, table: &[f32; 16], index: Self::I) -> Self::F;
    /// Lane `j` is `table[index[j] & 3]`.
    fn lookup4(self, table: &[f32; 4], index: Self::I) -> Self::F;
    /// Lane `j` is `table[index[j] & 7]`.
    fn lookup8(self, table: &[f32; 8], index: Self::I) -> Self::F;
    /// Lane `j` is bit `j`.
    fn mask(self, bits: u32) -> Self::M;
    /// Bit `j` is lane `j`; bits beyond the lanes are 0.
    fn mask_bits(self, mask: Self::M) -> u32;
    /// Lane `j` is `bits >> 2 * j` in its two lowest bits; the bits above them may be anything.
    fn two_bits(self, bits: u64) -> Self::I;

    /// Makes NaNs quiet, which otherwise keep their bits. (Arithmetic does it too, but `a * 1.0` is optimized away.)
    #[inline(always)]
    fn quiet(self, a: Self::F) -> Self::F {
        let quiet = self.as_floats(self.or(self.bits(a), self.splat_i(0x0040_0000)));
        self.select(self.ne(a, a), quiet, a)
    }

    /// Rounds half to even as ggml does: adds 1.5 × 2^23 and takes the low 23 bits. Exact for |a| < 2^22; beyond,
    /// the same wrapped number that ggml gets.
    #[inline(always)]
    fn nearest(self, a: Self::F) -> Self::I {
        let shifted = self.bits(self.add(a, self.splat(NEAREST_MAGIC)));
        self.sub_i(self.and(shifted, self.splat_i(NEAREST_MASK)), self.splat_i(NEAREST_BIAS))
    }

    /// Rounds half to even, for |a| < 2^22: there the same number as [`nearest`](Self::nearest), as a float.
    #[inline(always)]
    fn round_even(self, a: Self::F) -> Self::F {
        let magic = self.splat(NEAREST_MAGIC);
        self.sub(self.add(a, magic), magic)
    }

    /// [`nearest`](Self::nearest), clamped to `low..=high`.
    #[inline(always)]
    fn nearest_within(self, a: Self::F, low: i32, high: i32) -> Self::I {
        self.max_i(self.splat_i(low), self.min_i(self.splat_i(high), self.nearest(a)))
    }

    /// Rounds half away from zero, as C's `roundf`; out of range as [`trunc`](Self::trunc).
    ///
    /// Adding the float just below one half cannot carry a value below a half over it, and carries every half.
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

/// [`Simd::nearest`] for a single number.
#[inline(always)]
pub(crate) fn nearest(a: f32) -> i32 {
    ((a + NEAREST_MAGIC).to_bits() as i32 & NEAREST_MASK) - NEAREST_BIAS
}
