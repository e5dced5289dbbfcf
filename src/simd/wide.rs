//! [`Wide`]: several vectors as one, so that a kernel's chains of dependent operations overlap.

use half::{bf16, f16};

use super::lanes::{Shared, Simd};

/// `K` vectors of `S` as one of `K * S::LANES` lanes. A quantizer's search is bound by the latency of summing its
/// errors. With several independent vectors in flight the processor stays busy.
#[derive(Clone, Copy)]
pub(crate) struct Wide<S, const K: usize>(pub(crate) S);

/// A vector of zeros or falses of each kind, to be overwritten lane by lane.
macro_rules! blank {
    ($self:ident, F) => {
        [$self.0.splat(0.0); K]
    };
    ($self:ident, I) => {
        [$self.0.splat_i(0); K]
    };
    ($self:ident, M) => {
        [$self.0.lt($self.0.splat(0.0), $self.0.splat(0.0)); K]
    };
}

/// Runs the block for each vector. It is a `while` loop, because every operation of every kernel contains one: the calls that
/// make up a `for` loop would be most of the code before optimization, and would take the compiler time to inline.
macro_rules! each_vector {
    ($k:ident => $body:block) => {
        let mut $k = 0;
        while $k < K {
            $body
            $k += 1;
        }
    };
}

macro_rules! loads {
    ($($word:ident: $from:ty => $out:ident;)*) => {$(
        #[inline(always)]
        fn $word(self, from: &$from) -> [S::$out; K] {
            let mut out = blank!(self, $out);
            each_vector!(k => { out[k] = self.0.$word(&from[k * S::LANES..]); });
            out
        }
    )*};
}

macro_rules! stores {
    ($($word:ident: $value:ident => $to:ty;)*) => {$(
        #[inline(always)]
        fn $word(self, value: [S::$value; K], to: &mut $to) {
            each_vector!(k => { self.0.$word(value[k], &mut to[k * S::LANES..]); });
        }
    )*};
}

macro_rules! unary {
    ($($word:ident: $a:ident => $out:ident;)*) => {$(
        #[inline(always)]
        fn $word(self, a: [S::$a; K]) -> [S::$out; K] {
            let mut out = blank!(self, $out);
            each_vector!(k => { out[k] = self.0.$word(a[k]); });
            out
        }
    )*};
}

macro_rules! binary {
    ($($word:ident: $a:ident, $b:ident => $out:ident;)*) => {$(
        #[inline(always)]
        fn $word(self, a: [S::$a; K], b: [S::$b; K]) -> [S::$out; K] {
            let mut out = blank!(self, $out);
            each_vector!(k => { out[k] = self.0.$word(a[k], b[k]); });
            out
        }
    )*};
}

impl<S: Simd, const K: usize> Simd for Wide<S, K> {
    type F = [S::F; K];
    type I = [S::I; K];
    type M = [S::M; K];
    type Wide = Self;
    const STREAMS: bool = S::STREAMS;
    const LANES: usize = K * S::LANES;

    #[inline(always)]
    fn wide(self) -> Self {
        self
    }
    #[inline(always)]
    fn shared_in<T: Simd, W: Shared<T>>(self, s: T, work: W) -> W::Output {
        self.0.shared_in(s, work)
    }
    #[inline(always)]
    fn prefetch(self, bytes: &[u8]) {
        self.0.prefetch(bytes);
    }
    #[inline(always)]
    fn stream(self, from: &[[u8; 64]], to: &mut [[u8; 64]]) {
        self.0.stream(from, to);
    }
    #[inline(always)]
    fn fence(self) {
        self.0.fence();
    }
    #[inline(always)]
    fn splat(self, value: f32) -> [S::F; K] {
        [self.0.splat(value); K]
    }
    #[inline(always)]
    fn splat_i(self, value: i32) -> [S::I; K] {
        [self.0.splat_i(value); K]
    }
    #[inline(always)]
    fn columns<const N: usize>(self, rows: &[&[f32; N]]) -> [[S::F; K]; N] {
        let mut columns = [self.splat(0.0); N];
        for k in 0..K {
            for (column, part) in columns.iter_mut().zip(self.0.columns(&rows[k * S::LANES..])) {
                column[k] = part;
            }
        }
        columns
    }
    #[inline(always)]
    fn load_rows<'a, const N: usize>(self, first: usize, row: impl Fn(usize) -> &'a [u8; N]) -> [S::I; K] {
        let mut out = blank!(self, I);
        each_vector!(k => { out[k] = self.0.load_rows(first + k * S::LANES, &row); });
        out
    }
    #[inline(always)]
    fn negate_by_bits(self, a: [S::F; K], bits: u32, first: usize) -> [S::F; K] {
        let mut out = a;
        each_vector!(k => { out[k] = self.0.negate_by_bits(out[k], bits, first + k * S::LANES); });
        out
    }
    #[inline(always)]
    fn narrow_f16(self, value: f32) -> [u8; 2] {
        self.0.narrow_f16(value)
    }
    #[inline(always)]
    fn splat_f16(self, bits: [u8; 2]) -> [S::F; K] {
        [self.0.splat_f16(bits); K]
    }
    #[inline(always)]
    fn widen_f16(self, bits: [u8; 2]) -> f32 {
        self.0.widen_f16(bits)
    }
    #[inline(always)]
    fn reduce_min(self, a: [S::F; K]) -> f32 {
        let mut least = a[0];
        for &a in &a[1..] {
            least = self.0.min(a, least);
        }
        self.0.reduce_min(least)
    }
    #[inline(always)]
    fn reduce_max(self, a: [S::F; K]) -> f32 {
        let mut greatest = a[0];
        for &a in &a[1..] {
            greatest = self.0.max(a, greatest);
        }
        self.0.reduce_max(greatest)
    }
    #[inline(always)]
    fn all(self, mask: [S::M; K]) -> bool {
        let mut both = mask[0];
        for &mask in &mask[1..] {
            both = self.0.both(both, mask);
        }
        self.0.all(both)
    }

    loads! {
        load: [f32] => F; load_u8: [u8] => I; load_i8: [i8] => I; load_f16: [[u8; 2]] => F;
        load_bf16: [[u8; 2]] => F; load_f32_bytes: [[u8; 4]] => F;
    }
    stores! {
        store: F => [f32]; store_f16: F => [f16]; store_bf16: F => [bf16]; store_bf16_any: F => [bf16];
        store_u8: I => [u8];
    }
    unary! {
        sqrt: F => F; abs: F => F; to_float: I => F; bits: F => I; as_floats: I => F; trunc: F => I;
    }
    binary! {
        add: F, F => F; sub: F, F => F; mul: F, F => F; div: F, F => F; copy_sign: F, F => F;
        min: F, F => F; max: F, F => F; lt: F, F => M; ne: F, F => M; both: M, M => M;
        and: I, I => I; or: I, I => I; add_i: I, I => I; sub_i: I, I => I; min_i: I, I => I; max_i: I, I => I;
    }

    #[inline(always)]
    fn select(self, mask: [S::M; K], yes: [S::F; K], no: [S::F; K]) -> [S::F; K] {
        let mut out = no;
        each_vector!(k => { out[k] = self.0.select(mask[k], yes[k], no[k]); });
        out
    }
    #[inline(always)]
    fn select_i(self, mask: [S::M; K], yes: [S::I; K], no: [S::I; K]) -> [S::I; K] {
        let mut out = no;
        each_vector!(k => { out[k] = self.0.select_i(mask[k], yes[k], no[k]); });
        out
    }
    #[inline(always)]
    fn shl<const BITS: i32>(self, a: [S::I; K]) -> [S::I; K] {
        let mut out = a;
        each_vector!(k => { out[k] = self.0.shl::<BITS>(a[k]); });
        out
    }
    #[inline(always)]
    fn shr<const BITS: i32>(self, a: [S::I; K]) -> [S::I; K] {
        let mut out = a;
        each_vector!(k => { out[k] = self.0.shr::<BITS>(a[k]); });
        out
    }
    #[inline(always)]
    fn lookup(self, table: &[f32; 16], index: [S::I; K]) -> [S::F; K] {
        let mut out = blank!(self, F);
        each_vector!(k => { out[k] = self.0.lookup(table, index[k]); });
        out
    }
    #[inline(always)]
    fn lookup4(self, table: &[f32; 4], index: [S::I; K]) -> [S::F; K] {
        let mut out = blank!(self, F);
        each_vector!(k => { out[k] = self.0.lookup4(table, index[k]); });
        out
    }
    #[inline(always)]
    fn lookup8(self, table: &[f32; 8], index: [S::I; K]) -> [S::F; K] {
        let mut out = blank!(self, F);
        each_vector!(k => { out[k] = self.0.lookup8(table, index[k]); });
        out
    }
    #[inline(always)]
    fn mask(self, bits: u32) -> [S::M; K] {
        let mut out = blank!(self, M);
        each_vector!(k => { out[k] = self.0.mask(bits >> (k * S::LANES)); });
        out
    }
    #[inline(always)]
    fn mask_bits(self, mask: [S::M; K]) -> u32 {
        let mut bits = 0;
        each_vector!(k => { bits |= self.0.mask_bits(mask[k]) << (k * S::LANES); });
        bits
    }
    #[inline(always)]
    fn two_bits(self, bits: u64) -> [S::I; K] {
        let mut out = blank!(self, I);
        each_vector!(k => { out[k] = self.0.two_bits(bits >> (2 * k * S::LANES)); });
        out
    }
}
