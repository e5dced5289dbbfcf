//! [`Bytes`]: operations on thirty-two bytes at once along with eight lanes, for products of small integers.

use super::lanes::Simd;

/// The range of a format's quants as bytes, which determines how they can be multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Range {
    /// 0 to 15.
    Four,
    /// 0 to 64, so that the sum of four products fits in 16 bits.
    Six,
    /// 0 to 127.
    Seven,
    /// Any signed byte.
    Signed,
}

/// Floats in eight lanes.
pub(crate) type Floats<D> = <<D as Bytes>::S as Simd>::F;
/// Integers in eight lanes.
pub(crate) type Integers<D> = <<D as Bytes>::S as Simd>::I;

/// Vectors of 32 bytes, and the eight lanes of four bytes each in which their products are summed.
///
/// As in [`Simd`], every operation gives the same result on every instruction set: sums of integers are exact.
pub(crate) trait Bytes: Copy {
    /// The vectors of eight lanes.
    type S: Simd;
    /// Thirty-two bytes.
    type B: Copy;
    /// The number that [`sums`](Self::sums) adds to signed bytes before it multiplies them.
    const ADDED_TO_SIGNED: i32;
    /// Whether kernels should multiply unpacked values directly instead of by way of memory.
    const FUSED: bool = true;

    /// Returns the lanes.
    fn lanes(self) -> Self::S;
    /// Loads thirty-two bytes.
    fn load_b(self, from: &[u8; 32]) -> Self::B;
    /// Stores thirty-two bytes.
    fn store_b(self, value: Self::B, to: &mut [u8; 32]);
    /// Returns the same byte everywhere.
    fn splat_b(self, value: u8) -> Self::B;
    /// Loads sixteen bytes and repeats them.
    fn twice(self, from: &[u8; 16]) -> Self::B;
    /// Returns the low nibbles of sixteen bytes, and then the high ones.
    fn nibbles(self, from: &[u8; 16]) -> Self::B;
    /// Loads consecutive rows of a table: `row(k)` is row `k`. `N` is 4 or 8.
    fn rows_b<'a, const N: usize>(self, row: impl Fn(usize) -> &'a [u8; N]) -> Self::B;
    /// Sets byte `i` to 255 if bit `i` is 1, otherwise to 0.
    fn bits_b(self, bits: u32) -> Self::B;
    /// `a & b`
    fn and_b(self, a: Self::B, b: Self::B) -> Self::B;
    /// `a | b`
    fn or_b(self, a: Self::B, b: Self::B) -> Self::B;
    /// `a ^ b`
    fn xor_b(self, a: Self::B, b: Self::B) -> Self::B;
    /// `a + b`, wrapping.
    fn add_b(self, a: Self::B, b: Self::B) -> Self::B;
    /// `a - b`, wrapping.
    fn sub_b(self, a: Self::B, b: Self::B) -> Self::B;
    /// Shifts each byte right, filling with zeros.
    fn shr_b<const BITS: i32>(self, a: Self::B) -> Self::B;
    /// Shifts each byte left.
    fn shl_b<const BITS: i32>(self, a: Self::B) -> Self::B;
    /// Sets byte `i` to `table[index[i]]`. Each index must be below 16.
    fn lookup_b(self, table: &[u8; 16], index: Self::B) -> Self::B;
    /// Returns the second number of each of eight pairs.
    #[inline(always)]
    fn second_words(self, of: &[[[u8; 4]; 2]; 8]) -> Integers<Self> {
        let mut second = [[0; 4]; 8];
        for (second, of) in second.iter_mut().zip(of) {
            *second = of[1];
        }
        self.words(&second)
    }
    /// Loads eight numbers into lanes.
    #[inline(always)]
    fn words(self, of: &[[u8; 4]; 8]) -> Integers<Self> {
        let s = self.lanes();
        s.bits(s.load_f32_bytes(of))
    }
    /// Returns the second byte of each of 32 pairs.
    #[inline(always)]
    fn second_bytes(self, of: &[[u8; 2]; 32]) -> Self::B {
        let mut second = [0; 32];
        for (second, of) in second.iter_mut().zip(of) {
            *second = of[1];
        }
        self.load_b(&second)
    }
    /// Loads 32 consecutive rows of a table, in `VECTORS` vectors. The lower eight bits of a row's index are a byte of `low`,
    /// and those above are a byte of `high`. The index is taken modulo `ROWS`, a power of two.
    #[inline(always)]
    fn many_rows<const N: usize, const ROWS: usize, const VECTORS: usize>(
        self,
        table: &[[u8; N]; ROWS],
        low: &[u8; 32],
        high: Self::B,
    ) -> [Self::B; VECTORS] {
        const { assert!(ROWS.is_power_of_two() && VECTORS == N) };
        let mut high_bytes = [0; 32];
        self.store_b(high, &mut high_bytes);
        let mut vectors = [self.splat_b(0); VECTORS];
        let rows_of_vector = 32 / VECTORS;
        for (v, vector) in vectors.iter_mut().enumerate() {
            *vector = self.rows_b(|k| {
                let at = v * rows_of_vector + k;
                &table[usize::from(u16::from_le_bytes([low[at], high_bytes[at]])) % ROWS]
            });
        }
        vectors
    }
    /// Returns the nibbles of sixteen bytes, the low one of each before its high one.
    #[inline(always)]
    fn spread_nibbles(self, from: &[u8; 16]) -> Self::B {
        let mut nibbles = [0; 32];
        for (two, byte) in nibbles.as_chunks_mut::<2>().0.iter_mut().zip(from) {
            *two = [byte & 15, byte >> 4];
        }
        self.load_b(&nibbles)
    }
    /// `3 * a`, wrapping.
    #[inline(always)]
    fn times_3(self, a: Self::B) -> Self::B {
        self.add_b(a, self.add_b(a, a))
    }
    /// Shifts each byte left. No bits may leave their byte.
    #[inline(always)]
    fn shl_within_b<const BITS: i32>(self, a: Self::B) -> Self::B {
        self.shl_b::<BITS>(a)
    }
    /// Negates byte `i` if bit `i` is 1.
    #[inline(always)]
    fn negate_b(self, a: Self::B, bits: u32) -> Self::B {
        // If all bits are 1, the byte is -1. The exclusive or complements, which is one less than the negative.
        let negative = self.bits_b(bits);
        self.sub_b(self.xor_b(a, negative), negative)
    }
    /// Adds `value`, wrapping, to byte `i` if bit `i` is 1.
    #[inline(always)]
    fn add_where_b(self, a: Self::B, bits: u32, value: u8) -> Self::B {
        self.add_b(a, self.and_b(self.bits_b(bits), self.splat_b(value)))
    }
    /// Returns the bytes of eight lanes, the lowest of each first.
    fn bytes_of(self, lanes: Integers<Self>) -> Self::B;
    /// Swaps the second and the third of the four groups of eight bytes.
    fn swap_middle(self, a: Self::B) -> Self::B;
    /// `3 * b >> 8`, without overflow, where `a` is `b + 128`, wrapping: 0, 1 or 2. Adding 128 makes bytes comparable as signed
    /// ones and is preserved by [`times_3`](Self::times_3).
    fn times_3_high(self, a: Self::B) -> Self::B;

    /// Returns the sums of products of eight units. Lane `u` of the first vector is the sum over the first sixteen bytes of
    /// unit `u`, and that of the second is the sum over the others. The bytes of `x` must be in the given range, with
    /// [`ADDED_TO_SIGNED`](Self::ADDED_TO_SIGNED) added if it is signed. Those of `y` must be -127 to 127.
    fn sums(self, range: Range, x: &[Self::B; 8], y: &[[u8; 32]; 8]) -> [Integers<Self>; 2];
    /// Like [`sums`](Self::sums), over whole units.
    #[inline(always)]
    fn sums_of_units(self, range: Range, x: &[Self::B; 8], y: &[[u8; 32]; 8]) -> Integers<Self> {
        let [low, high] = self.sums(range, x, y);
        self.lanes().add_i(low, high)
    }
    /// Sets lane `j` to the sum of all lanes of vector `j`, wrapping.
    fn totals(self, of: &[Integers<Self>; 8]) -> Integers<Self>;
    /// Widens eight unsigned bytes, the first the lowest.
    fn widen_eight(self, bytes: u64) -> Integers<Self>;
    /// Widens sixteen unsigned bytes to 16 bits: those at even positions, then those at odd ones.
    fn halves_of_units(self, bytes: [u64; 2]) -> Self::B;
    /// Widens eight unsigned bytes to 16 bits, twice.
    fn both_of_units(self, bytes: u64) -> Self::B;
    /// Returns the same 16-bit number everywhere.
    fn splat_short(self, value: i16) -> Self::B;
    /// `a - b` in 16 bits, wrapping.
    fn sub_shorts(self, a: Self::B, b: Self::B) -> Self::B;
    /// `a * b` in 16 bits, wrapping.
    fn mul_shorts(self, a: Self::B, b: Self::B) -> Self::B;
    /// Returns sums of two products of 16-bit numbers each.
    fn dot_shorts(self, a: Self::B, b: Self::B) -> Integers<Self>;
    /// Returns the sums of products of eight units, in any lanes. The products of the first sixteen bytes of unit `u`
    /// are multiplied with number `u` of `scales`, and those of the others with number `8 + u`. These have 16 bits each.
    fn scaled_sums(
        self,
        range: Range,
        x: &[Self::B; 8],
        y: &[[u8; 32]; 8],
        scales: Self::B,
    ) -> Integers<Self>;
    /// Returns the sums of products of eight units, in any lanes.
    #[inline(always)]
    fn sums_of_all(self, range: Range, x: &[Self::B; 8], y: &[[u8; 32]; 8]) -> Integers<Self> {
        self.sums_of_units(range, x, y)
    }
    /// Widens eight half floats: lane `j` is `lane(j)`.
    fn gather_f16(self, lane: impl Fn(usize) -> [u8; 2]) -> Floats<Self>;
}

/// Bytes that a vector is stored to, to be read in pieces. Aligned, because pieces of a vector that crosses a cache line are not
/// forwarded to loads.
#[repr(align(32))]
pub(crate) struct Aligned<T>(pub(crate) T);

/// A computation written once over [`Bytes`], as [`Kernel`](super::Kernel) is over [`Simd`].
pub(crate) trait ByteKernel {
    /// The result.
    type Output;
    /// Whether it multiplies, so that another compilation with an instruction for dot products pays.
    #[allow(dead_code, reason = "only x86-64 has such instructions")]
    const MULTIPLIES: bool;
    /// Runs with the bytes of `d`.
    fn run<D: Bytes>(self, d: D) -> Self::Output;
}
