//! [`Bytes`] in portable Rust: the reference for every operation, and the fallback on machines without vectors.

use super::bytes::{Bytes, Integers, Range};
use super::lanes::Simd;

/// Bytes in an array, along with any eight lanes.
#[derive(Clone, Copy)]
pub(crate) struct PlainBytes<S>(pub(crate) S);

/// Computes a byte from each of one or two vectors.
macro_rules! each_byte {
    ($a:ident $(, $b:ident)? => $byte:expr) => {{
        let mut out = [0; 32];
        for i in 0..32 {
            let $a = $a[i];
            $(let $b = $b[i];)?
            out[i] = $byte;
        }
        out
    }};
}

impl<S: Simd> Bytes for PlainBytes<S> {
    type S = S;
    type B = [u8; 32];
    const ADDED_TO_SIGNED: i32 = 0;
    const FUSED: bool = false;

    #[inline(always)]
    fn lanes(self) -> S {
        const { assert!(S::LANES == 8) };
        self.0
    }
    #[inline(always)]
    fn load_b(self, from: &[u8; 32]) -> [u8; 32] {
        *from
    }
    #[inline(always)]
    fn store_b(self, value: [u8; 32], to: &mut [u8; 32]) {
        *to = value;
    }
    #[inline(always)]
    fn splat_b(self, value: u8) -> [u8; 32] {
        [value; 32]
    }
    #[inline(always)]
    fn twice(self, from: &[u8; 16]) -> [u8; 32] {
        bytemuck::cast([*from; 2])
    }
    #[inline(always)]
    fn nibbles(self, from: &[u8; 16]) -> [u8; 32] {
        let mut out = [0; 32];
        for i in 0..16 {
            out[i] = from[i] & 15;
            out[16 + i] = from[i] >> 4;
        }
        out
    }
    #[inline(always)]
    fn rows_b<'a, const N: usize>(self, row: impl Fn(usize) -> &'a [u8; N]) -> [u8; 32] {
        let mut out = [0; 32];
        for (k, out) in out.as_chunks_mut::<N>().0.iter_mut().enumerate() {
            *out = *row(k);
        }
        out
    }
    #[inline(always)]
    fn bits_b(self, bits: u32) -> [u8; 32] {
        let mut out = [0; 32];
        for (i, out) in out.iter_mut().enumerate() {
            *out = if bits >> i & 1 == 1 { 255 } else { 0 };
        }
        out
    }
    #[inline(always)]
    fn and_b(self, a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
        each_byte!(a, b => a & b)
    }
    #[inline(always)]
    fn or_b(self, a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
        each_byte!(a, b => a | b)
    }
    #[inline(always)]
    fn xor_b(self, a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
        each_byte!(a, b => a ^ b)
    }
    #[inline(always)]
    fn add_b(self, a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
        each_byte!(a, b => a.wrapping_add(b))
    }
    #[inline(always)]
    fn sub_b(self, a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
        each_byte!(a, b => a.wrapping_sub(b))
    }
    #[inline(always)]
    fn shr_b<const BITS: i32>(self, a: [u8; 32]) -> [u8; 32] {
        each_byte!(a => a >> BITS)
    }
    #[inline(always)]
    fn shl_b<const BITS: i32>(self, a: [u8; 32]) -> [u8; 32] {
        each_byte!(a => a << BITS)
    }
    #[inline(always)]
    fn lookup_b(self, table: &[u8; 16], index: [u8; 32]) -> [u8; 32] {
        each_byte!(index => table[usize::from(index & 15)])
    }
    #[inline(always)]
    fn times_3_high(self, a: [u8; 32]) -> [u8; 32] {
        each_byte!(a => ((3 * u16::from(a ^ 128)) >> 8) as u8)
    }
    #[inline(always)]
    fn bytes_of(self, lanes: Integers<Self>) -> [u8; 32] {
        bytemuck::cast(self.array(lanes).map(i32::to_le_bytes))
    }
    #[inline(always)]
    fn swap_middle(self, a: [u8; 32]) -> [u8; 32] {
        let [a, b, c, d]: [[u8; 8]; 4] = bytemuck::cast(a);
        bytemuck::cast([a, c, b, d])
    }
    #[inline(always)]
    fn sums(self, range: Range, x: &[[u8; 32]; 8], y: &[[u8; 32]; 8]) -> [Integers<Self>; 2] {
        let [mut low, mut high] = [[0; 8]; 2];
        for u in 0..8 {
            for i in 0..16 {
                low[u] += product(range, x[u][i], y[u][i]);
                high[u] += product(range, x[u][16 + i], y[u][16 + i]);
            }
        }
        [self.integers(low), self.integers(high)]
    }
    #[inline(always)]
    fn totals(self, of: &[Integers<Self>; 8]) -> Integers<Self> {
        let mut totals = [0i32; 8];
        for (total, of) in totals.iter_mut().zip(of) {
            *total = self.array(*of).into_iter().fold(0, i32::wrapping_add);
        }
        self.integers(totals)
    }
    #[inline(always)]
    fn widen_eight(self, bytes: u64) -> Integers<Self> {
        self.0.load_u8(&bytes.to_le_bytes())
    }
    #[inline(always)]
    fn halves_of_units(self, bytes: [u64; 2]) -> [u8; 32] {
        let bytes: [u8; 16] = bytemuck::cast(bytes.map(u64::to_le_bytes));
        let mut out = [0; 16];
        for u in 0..8 {
            out[u] = i16::from(bytes[2 * u]);
            out[8 + u] = i16::from(bytes[2 * u + 1]);
        }
        from_shorts(out)
    }
    #[inline(always)]
    fn both_of_units(self, bytes: u64) -> [u8; 32] {
        let mut out = [0; 16];
        for (u, byte) in bytes.to_le_bytes().into_iter().enumerate() {
            out[u] = i16::from(byte);
            out[8 + u] = i16::from(byte);
        }
        from_shorts(out)
    }
    #[inline(always)]
    fn splat_short(self, value: i16) -> [u8; 32] {
        from_shorts([value; 16])
    }
    #[inline(always)]
    fn sub_shorts(self, a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
        let (mut a, b) = (shorts(a), shorts(b));
        for i in 0..16 {
            a[i] = a[i].wrapping_sub(b[i]);
        }
        from_shorts(a)
    }
    #[inline(always)]
    fn mul_shorts(self, a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
        let (mut a, b) = (shorts(a), shorts(b));
        for i in 0..16 {
            a[i] = a[i].wrapping_mul(b[i]);
        }
        from_shorts(a)
    }
    #[inline(always)]
    fn dot_shorts(self, a: [u8; 32], b: [u8; 32]) -> Integers<Self> {
        let (a, b) = (shorts(a), shorts(b));
        let mut out = [0; 8];
        for i in 0..16 {
            out[i / 2] += i32::from(a[i]) * i32::from(b[i]);
        }
        self.integers(out)
    }
    #[inline(always)]
    fn scaled_sums(self, range: Range, x: &[[u8; 32]; 8], y: &[[u8; 32]; 8], scales: [u8; 32]) -> S::I {
        let (scales, mut out) = (shorts(scales), [0i32; 8]);
        for u in 0..8 {
            for i in 0..32 {
                out[i / 4] += i32::from(scales[i / 16 * 8 + u]) * product(range, x[u][i], y[u][i]);
            }
        }
        self.integers(out)
    }
    #[inline(always)]
    fn gather_f16(self, lane: impl Fn(usize) -> [u8; 2]) -> S::F {
        let mut halves = [[0; 2]; 8];
        for (j, half) in halves.iter_mut().enumerate() {
            *half = lane(j);
        }
        self.0.load_f16(&halves)
    }
}

/// Returns the bytes as 16-bit numbers, in this machine's byte order as in vectors.
#[inline(always)]
fn shorts(bytes: [u8; 32]) -> [i16; 16] {
    bytemuck::cast::<_, [[u8; 2]; 16]>(bytes).map(i16::from_ne_bytes)
}

#[inline(always)]
fn from_shorts(shorts: [i16; 16]) -> [u8; 32] {
    bytemuck::cast(shorts.map(i16::to_ne_bytes))
}

/// Returns the product of two bytes.
#[inline(always)]
pub(super) fn product(range: Range, x: u8, y: u8) -> i32 {
    let x = if range == Range::Signed { i32::from(x as i8) } else { i32::from(x) };
    x * i32::from(y as i8)
}

impl<S: Simd> PlainBytes<S> {
    #[inline(always)]
    fn integers(self, from: [i32; 8]) -> S::I {
        self.0.bits(self.0.load_f32_bytes(&from.map(i32::to_le_bytes)))
    }
    #[inline(always)]
    fn array(self, from: S::I) -> [i32; 8] {
        let mut out = [0.0; 8];
        self.0.store(self.0.as_floats(from), &mut out);
        out.map(|float| float.to_bits() as i32)
    }
}
