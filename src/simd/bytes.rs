//! [`Bytes`]: thirty-two bytes at once beside eight lanes, for products of small integers.

use super::lanes::Simd;

/// What a format's quants are as bytes, which decides how they can be multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Range {
    /// 0 to 15.
    Four,
    /// 0 to 64, so that 16 bits hold the sum of four products.
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

/// Vectors of 32 bytes, and the eight lanes of four bytes each that their products are summed in.
///
/// As with [`Simd`], every word means the same on every instruction set: sums of integers are exact.
pub(crate) trait Bytes: Copy {
    /// The lanes: eight of them.
    type S: Simd;
    /// Thirty-two bytes.
    type B: Copy;
    /// What [`sums`](Self::sums) adds to signed bytes before it multiplies them.
    const ADDED_TO_SIGNED: i32;
    /// Whether kernels had better multiply what they unpack at once, instead of by way of memory.
    const FUSED: bool = true;

    /// The lanes.
    fn lanes(self) -> Self::S;
    /// Thirty-two bytes from memory.
    fn load_b(self, from: &[u8; 32]) -> Self::B;
    /// Thirty-two bytes to memory.
    fn store_b(self, value: Self::B, to: &mut [u8; 32]);
    /// The same byte everywhere.
    fn splat_b(self, value: u8) -> Self::B;
    /// Sixteen bytes, and the same again.
    fn twice(self, from: &[u8; 16]) -> Self::B;
    /// The low nibbles of sixteen bytes, and then the high ones.
    fn nibbles(self, from: &[u8; 16]) -> Self::B;
    /// Rows of a table laid end to end: `row(k)` is row `k`. `N` is 4 or 8.
    fn rows_b<'a, const N: usize>(self, row: impl Fn(usize) -> &'a [u8; N]) -> Self::B;
    /// 255 where a bit is 1, for byte `i` bit `i`, else 0.
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
    /// Shifts each byte right, zeros in.
    fn shr_b<const BITS: i32>(self, a: Self::B) -> Self::B;
    /// Shifts each byte left.
    fn shl_b<const BITS: i32>(self, a: Self::B) -> Self::B;
    /// Byte `i` is `table[index[i]]`; each index is below 16.
    fn lookup_b(self, table: &[u8; 16], index: Self::B) -> Self::B;
    /// The second number of each of eight pairs.
    #[inline(always)]
    fn second_words(self, of: &[[[u8; 4]; 2]; 8]) -> Integers<Self> {
        let mut second = [[0; 4]; 8];
        for (second, of) in second.iter_mut().zip(of) {
            *second = of[1];
        }
        self.words(&second)
    }
    /// Eight numbers in lanes.
    #[inline(always)]
    fn words(self, of: &[[u8; 4]; 8]) -> Integers<Self> {
        let s = self.lanes();
        s.bits(s.load_f32_bytes(of))
    }
    /// The second byte of each of 32 pairs.
    #[inline(always)]
    fn second_bytes(self, of: &[[u8; 2]; 32]) -> Self::B {
        let mut second = [0; 32];
        for (second, of) in second.iter_mut().zip(of) {
            *second = of[1];
        }
        self.load_b(&second)
    }
    /// 32 rows of a table laid end to end, in `VECTORS` vectors. The index of a row has its lower eight bits in a byte of `low`,
    /// and those above in one of `high`; it is taken modulo `ROWS`, a power of two.
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
    /// The nibbles of sixteen bytes, the low one of each before its high one.
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
    /// Shifts each byte left where no bit leaves its byte.
    #[inline(always)]
    fn shl_within_b<const BITS: i32>(self, a: Self::B) -> Self::B {
        self.shl_b::<BITS>(a)
    }
    /// Negates bytes where a bit is 1, for byte `i` bit `i`.
    #[inline(always)]
    fn negate_b(self, a: Self::B, bits: u32) -> Self::B {
        // Minus one is where all bits are 1: what those complement is one less than the negative.
        let negative = self.bits_b(bits);
        self.sub_b(self.xor_b(a, negative), negative)
    }
    /// Adds `value`, wrapping, to bytes where a bit is 1, for byte `i` bit `i`.
    #[inline(always)]
    fn add_where_b(self, a: Self::B, bits: u32, value: u8) -> Self::B {
        self.add_b(a, self.and_b(self.bits_b(bits), self.splat_b(value)))
    }
    /// The bytes of eight lanes, the lowest of each first.
    fn bytes_of(self, lanes: Integers<Self>) -> Self::B;
    /// Of four times eight bytes, the second and the third change places.
    fn swap_middle(self, a: Self::B) -> Self::B;
    /// `3 * a >> 8`, without overflow: 0, 1 or 2.
    fn times_3_high(self, a: Self::B) -> Self::B;

    /// Sums of products of eight units: lane `u` of the first vector is the sum over the first sixteen bytes of unit `u`, of
    /// the second over the others. Bytes of `x` are in the range given, [`ADDED_TO_SIGNED`](Self::ADDED_TO_SIGNED) added
    /// where that is signed; those of `y` are -127 to 127.
    fn sums(self, range: Range, x: &[Self::B; 8], y: &[[u8; 32]; 8]) -> [Integers<Self>; 2];
    /// [`sums`](Self::sums) over whole units.
    #[inline(always)]
    fn sums_of_units(self, range: Range, x: &[Self::B; 8], y: &[[u8; 32]; 8]) -> Integers<Self> {
        let [low, high] = self.sums(range, x, y);
        self.lanes().add_i(low, high)
    }
    /// Lane `j` is the sum of all lanes of vector `j`, wrapping.
    fn totals(self, of: &[Integers<Self>; 8]) -> Integers<Self>;
    /// Widens eight unsigned bytes, the first the lowest.
    fn widen_eight(self, bytes: u64) -> Integers<Self>;
    /// Widens sixteen unsigned bytes to 16 bits: those at even places, and then those at odd ones.
    fn halves_of_units(self, bytes: [u64; 2]) -> Self::B;
    /// Widens eight unsigned bytes to 16 bits, twice.
    fn both_of_units(self, bytes: u64) -> Self::B;
    /// The same number of 16 bits everywhere.
    fn splat_short(self, value: i16) -> Self::B;
    /// `a - b`, of 16 bits, wrapping.
    fn sub_shorts(self, a: Self::B, b: Self::B) -> Self::B;
    /// `a * b`, of 16 bits, wrapping.
    fn mul_shorts(self, a: Self::B, b: Self::B) -> Self::B;
    /// Sums of two products of 16-bit numbers each.
    fn dot_shorts(self, a: Self::B, b: Self::B) -> Integers<Self>;
    /// Sums of products of eight units, in any lanes: the products of unit `u`'s first sixteen bytes times number `u` of
    /// `scales`, and those of the others times number `8 + u`, which have 16 bits each.
    fn scaled_sums(
        self,
        range: Range,
        x: &[Self::B; 8],
        y: &[[u8; 32]; 8],
        scales: Self::B,
    ) -> Integers<Self>;
    /// Sums of products of eight units, in any lanes.
    #[inline(always)]
    fn sums_of_all(self, range: Range, x: &[Self::B; 8], y: &[[u8; 32]; 8]) -> Integers<Self> {
        self.sums_of_units(range, x, y)
    }
    /// Eight half floats, widened: lane `j` is `lane(j)`.
    fn gather_f16(self, lane: impl Fn(usize) -> [u8; 2]) -> Floats<Self>;
}

/// Work written once over [`Bytes`], as [`Kernel`](super::Kernel) is over [`Simd`].
pub(crate) trait ByteKernel {
    /// What the work gives back.
    type Output;
    /// Whether it multiplies, and so is worth compiling once more where there is an instruction for that.
    #[allow(dead_code, reason = "only x86-64 has such instructions")]
    const MULTIPLIES: bool;
    /// Does it in the bytes of `d`.
    fn run<D: Bytes>(self, d: D) -> Self::Output;
}
