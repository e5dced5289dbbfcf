//! Tests every operation of [`Simd`], on every instruction set of this machine and in its wide form, against
//! [`Scalar`], lane by lane.
//!
//! Arithmetic may return any NaN where scalar returns one. Every other operation preserves NaN's bits as scalar does.
//!
//! The module is private, so it is compiled here once more, without the rest of the library: other machines would otherwise
//! compile every kernel twice to test its lanes.

#![cfg(feature = "codecs")]
#![allow(dead_code, unreachable_pub, unused_imports, reason = "what kernels use, the tests do not")]

extern crate alloc;

mod alone;
mod bytes;
#[path = "../../src/math.rs"]
mod math;
#[path = "../../src/simd/mod.rs"]
mod simd;

use half::{bf16, f16};
use simd::{Isa, Kernel, MAX_LANES, Scalar, Simd};

/// Returns floats on which instruction sets could differ, then random bits. Their number is a multiple of the longest vector's.
fn floats() -> Vec<f32> {
    let mut floats = Vec::new();
    let magnitudes = [
        // NaN: quiet with and without a payload, signaling; infinity; the largest, the smallest normal.
        0x7fc0_0000,
        0x7fc1_2345,
        0x7fff_ffff,
        0x7f80_0001,
        0x7f8f_e000,
        0x7fbf_ffff,
        0x7f80_0000,
        0x7f7f_ffff,
        0x0080_0000, // Zero and subnormals.
        0x0000_0000,
        0x0000_0001,
        0x0040_0000,
        0x007f_ffff,
    ];
    floats.extend(magnitudes.map(f32::from_bits));
    // Halves, and numbers around them, where rounding ties.
    floats.extend((0..12).map(|n| n as f32 / 2.0));
    // Around the bounds of i32, of `nearest` and of f32's integers, and of f16's normal and subnormal numbers.
    floats.extend((21..=33).chain(14..=16).chain(-26..=-13).map(|exponent| 2f32.powi(exponent)));
    floats.extend([65504.0, 65519.0, 65520.0, 4_194_303.5, 8_388_607.5]);
    let neighbours: Vec<f32> = floats.iter().flat_map(|x| [x.next_up(), x.next_down()]).collect();
    floats.extend(neighbours);
    let negative: Vec<f32> = floats.iter().map(|x| f32::from_bits(x.to_bits() ^ 1 << 31)).collect();
    floats.extend(negative);
    // The ties of bfloats and halves, with the patterns next to them.
    floats.extend(
        [0x0000_8000, 0x0001_8000, 0x0000_7fff, 0x0000_8001].map(|low| f32::from_bits(0x3f80_0000 | low)),
    );
    floats.extend([0x1000, 0x3000, 0x0fff, 0x1001].map(|low| f32::from_bits(0x3f80_0000 | low)));

    let mut random = random();
    let len = (floats.len() + 512).next_multiple_of(MAX_LANES);
    floats.resize_with(len, || f32::from_bits(random()));
    floats
}

/// SplitMix64's upper halves.
fn random() -> impl FnMut() -> u32 {
    let mut state = 0u64;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 32) as u32
    }
}

/// An operation's result for each lane, which must be the same for every instruction set.
type Lanes = Vec<u32>;

/// Appends the lanes' bits. [`Simd`] stores integers only as bytes, so this stores four of them.
fn put_i<S: Simd>(s: S, value: S::I, out: &mut Lanes) {
    let mut bytes = [[0u8; MAX_LANES]; 4];
    s.store_u8(value, &mut bytes[0]);
    s.store_u8(s.shr::<8>(value), &mut bytes[1]);
    s.store_u8(s.shr::<16>(value), &mut bytes[2]);
    s.store_u8(s.shr::<24>(value), &mut bytes[3]);
    out.extend((0..S::LANES).map(|j| u32::from_le_bytes(core::array::from_fn(|k| bytes[k][j]))));
}

fn put<S: Simd>(s: S, value: S::F, out: &mut Lanes) {
    let mut lanes = [0.0f32; MAX_LANES];
    s.store(value, &mut lanes);
    out.extend(lanes[..S::LANES].iter().map(|lane| lane.to_bits()));
}

/// Like [`put`], but all NaNs count as the same.
fn put_result<S: Simd>(s: S, value: S::F, out: &mut Lanes) {
    let first = out.len();
    put(s, value, out);
    for bits in &mut out[first..] {
        *bits = if f32::from_bits(*bits).is_nan() { 0x7fc0_0000 } else { *bits };
    }
}

fn put_m<S: Simd>(s: S, value: S::M, out: &mut Lanes) {
    put_i(s, s.select_i(value, s.splat_i(-1), s.splat_i(0)), out);
}

/// An operation's name, and its lanes for all inputs.
type Outcome = (&'static str, Lanes);

/// Runs every operation on the same inputs. An operation that is added to [`Simd`] needs a line here.
struct Words;

impl Kernel for Words {
    type Output = Vec<Outcome>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Vec<Outcome> {
        let mut all = unary(s);
        all.extend(binary(s));
        all.extend(reading(s));
        all.extend(tables_and_bits(s));
        all.extend(writing(s));
        all.extend(whole_vectors(s));
        all
    }
}

/// [`Words`] on several vectors as one.
struct WideWords;

impl Kernel for WideWords {
    type Output = Vec<Outcome>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Vec<Outcome> {
        Words.run(s.wide())
    }
}

/// Computes the outcome of each `name: expression`, where the expression appends to `out`, for every input.
macro_rules! outcomes {
    ($all:ident, $out:ident; $inputs:pat in $iter:expr; $($name:literal: $append:expr;)*) => {$({
        let mut $out = Lanes::new();
        for $inputs in $iter {
            $append;
        }
        $all.push(($name, $out));
    })*};
}

fn unary<S: Simd>(s: S) -> Vec<Outcome> {
    let (floats, mut all) = (floats(), Vec::new());
    let vectors = || floats.chunks(S::LANES).map(|chunk| s.load(chunk));
    outcomes! { all, out; a in vectors();
        "load, store": put(s, a, &mut out);
        "bits": put_i(s, s.bits(a), &mut out);
        "abs": put(s, s.abs(a), &mut out);
        "sqrt": put_result(s, s.sqrt(a), &mut out);
        "trunc": put_i(s, s.trunc(a), &mut out);
        "round_half_away": put_i(s, s.round_half_away(a), &mut out);
        "to_float": put(s, s.to_float(s.bits(a)), &mut out);
        "shl 0": put_i(s, s.shl::<0>(s.bits(a)), &mut out);
        "shl 4": put_i(s, s.shl::<4>(s.bits(a)), &mut out);
        "shl 31": put_i(s, s.shl::<31>(s.bits(a)), &mut out);
        "shr 0": put_i(s, s.shr::<0>(s.bits(a)), &mut out);
        "shr 4": put_i(s, s.shr::<4>(s.bits(a)), &mut out);
        "shr 31": put_i(s, s.shr::<31>(s.bits(a)), &mut out);
        "round_even": put_result(s, s.round_even(a), &mut out);
    }
    // The result of `nearest` for NaN depends on the NaN.
    let numbers: Vec<f32> = floats.iter().map(|&x| if x.is_nan() { 0.0 } else { x }).collect();
    let vectors = || numbers.chunks(S::LANES).map(|chunk| s.load(chunk));
    outcomes! { all, out; a in vectors();
        "nearest": put_i(s, s.nearest(a), &mut out);
        "nearest_within": put_i(s, s.nearest_within(a, -8, 7), &mut out);
    }
    all
}

fn binary<S: Simd>(s: S) -> Vec<Outcome> {
    let (floats, mut all) = (floats(), Vec::new());
    // Every float is paired with the float that is `turn` positions later.
    let turned = |turn: usize| floats[turn..].iter().chain(&floats[..turn]).copied().collect::<Vec<f32>>();
    let turns: Vec<Vec<f32>> = (0..floats.len()).step_by(7).chain([1, 2]).map(turned).collect();
    let pairs = || {
        turns.iter().flat_map(|turned| {
            let vectors = floats.chunks(S::LANES).zip(turned.chunks(S::LANES));
            vectors.map(|(a, b)| (s.load(a), s.load(b)))
        })
    };
    let integers = || pairs().map(|(a, b)| (s.bits(a), s.bits(b)));
    outcomes! { all, out; (a, b) in pairs();
        "add": put_result(s, s.add(a, b), &mut out);
        "sub": put_result(s, s.sub(a, b), &mut out);
        "mul": put_result(s, s.mul(a, b), &mut out);
        "div": put_result(s, s.div(a, b), &mut out);
        "copy_sign": put(s, s.copy_sign(s.abs(a), b), &mut out);
        "min": put(s, s.min(a, b), &mut out);
        "max": put(s, s.max(a, b), &mut out);
        "lt": put_m(s, s.lt(a, b), &mut out);
        "ne": put_m(s, s.ne(a, b), &mut out);
        "both": put_m(s, s.both(s.lt(a, b), s.ne(a, s.splat(0.0))), &mut out);
        "select": put(s, s.select(s.lt(a, b), b, a), &mut out);
        "select_i": put_i(s, s.select_i(s.ne(a, b), s.bits(a), s.splat_i(7)), &mut out);
    }
    outcomes! { all, out; (a, b) in integers();
        "and": put_i(s, s.and(a, b), &mut out);
        "or": put_i(s, s.or(a, b), &mut out);
        "add_i": put_i(s, s.add_i(a, b), &mut out);
        "sub_i": put_i(s, s.sub_i(a, b), &mut out);
        "min_i": put_i(s, s.min_i(a, b), &mut out);
        "max_i": put_i(s, s.max_i(a, b), &mut out);
    }
    all
}

fn reading<S: Simd>(s: S) -> Vec<Outcome> {
    let mut all = Vec::new();
    let bytes: Vec<u8> = (0..=255).collect();
    let signed: Vec<i8> = (-128..=127).collect();
    // Every half and every bfloat.
    let pairs: Vec<[u8; 2]> = (0..=u16::MAX).map(u16::to_le_bytes).collect();
    let quads: Vec<[u8; 4]> = floats().iter().map(|x| x.to_le_bytes()).collect();
    outcomes! { all, out; from in bytes.chunks(S::LANES);
        "load_u8": put_i(s, s.load_u8(from), &mut out);
    }
    outcomes! { all, out; from in signed.chunks(S::LANES);
        "load_i8": put_i(s, s.load_i8(from), &mut out);
    }
    outcomes! { all, out; from in pairs.chunks(S::LANES);
        "load_f16": put(s, s.load_f16(from), &mut out);
        "load_u16": put_i(s, s.load_u16(from), &mut out);
        "load_bf16": put(s, s.load_bf16(from), &mut out);
    }
    outcomes! { all, out; from in quads.chunks(S::LANES);
        "load_f32_bytes": put(s, s.load_f32_bytes(from), &mut out);
        "gather": put(s, s.gather(|j| f32::from_le_bytes(from[j])), &mut out);
    }
    outcomes! { all, out; &half in &pairs;
        "widen_f16": out.push(s.widen_f16(half).to_bits());
    }
    outcomes! { all, out; &x in &floats();
        "splat": for _ in 0..MAX_LANES / S::LANES { put(s, s.splat(x), &mut out) };
        "splat_i": for _ in 0..MAX_LANES / S::LANES { put_i(s, s.splat_i(x.to_bits() as i32), &mut out) };
    }
    all
}

fn writing<S: Simd>(s: S) -> Vec<Outcome> {
    let mut all = Vec::new();
    let floats = floats();
    // Every half as a float, and the floats between it and the next: below, on and above the midpoint.
    let halves = (0..=u16::MAX).flat_map(|bits| {
        let half = simd::f16_to_f32(bits).to_bits();
        [half, half | 0x0fff, half | 0x1000, half | 0x1001].map(f32::from_bits)
    });
    // The same for every bfloat.
    let bfloats = (0..=u16::MAX).flat_map(|bits| {
        let bfloat = u32::from(bits) << 16;
        [bfloat, bfloat | 0x7fff, bfloat | 0x8000, bfloat | 0x8001].map(f32::from_bits)
    });
    let floats: Vec<f32> = floats.into_iter().chain(halves).chain(bfloats).collect();
    outcomes! { all, out; a in floats.chunks(S::LANES).map(|chunk| s.load(chunk));
        "store_f16": {
            let mut to = [f16::ZERO; MAX_LANES];
            s.store_f16(a, &mut to);
            out.extend(to[..S::LANES].iter().map(|half| u32::from(half.to_bits())));
        };
        "store_bf16_any": {
            let mut to = [bf16::ZERO; MAX_LANES];
            s.store_bf16_any(a, &mut to);
            out.extend(to[..S::LANES].iter().map(|bfloat| u32::from(bfloat.to_bits())));
        };
        "store_u8": {
            let mut to = [0u8; MAX_LANES];
            s.store_u8(s.bits(a), &mut to);
            out.extend(to[..S::LANES].iter().map(|&byte| u32::from(byte)));
        };
    }
    let without_subnormal =
        floats.iter().map(|&x| if x.is_subnormal() { 0.0 } else { x }).collect::<Vec<f32>>();
    outcomes! { all, out; a in without_subnormal.chunks(S::LANES).map(|chunk| s.load(chunk));
        "store_bf16": {
            let mut to = [bf16::ZERO; MAX_LANES];
            // The operation accepts only quiet NaNs.
            s.store_bf16(s.quiet(a), &mut to);
            out.extend(to[..S::LANES].iter().map(|bfloat| u32::from(bfloat.to_bits())));
        };
    }
    // Nothing past the vector is written.
    let mut after = Lanes::new();
    let value = s.splat(-1.5);
    let mut to = [7.0f32; MAX_LANES + 1];
    s.store(value, &mut to);
    after.extend(to[S::LANES..].iter().map(|&x| u32::from(x != 7.0)));
    let mut to = [f16::ONE; MAX_LANES + 1];
    s.store_f16(value, &mut to);
    after.extend(to[S::LANES..].iter().map(|&x| u32::from(x != f16::ONE)));
    let mut to = [bf16::ONE; MAX_LANES + 1];
    s.store_bf16(value, &mut to);
    after.extend(to[S::LANES..].iter().map(|&x| u32::from(x != bf16::ONE)));
    let mut to = [7u8; MAX_LANES + 1];
    s.store_u8(s.bits(value), &mut to);
    after.extend(to[S::LANES..].iter().map(|&x| u32::from(x != 7)));
    all.push(("a store writes behind the vector", vec![after.into_iter().sum()]));
    all
}

fn tables_and_bits<S: Simd>(s: S) -> Vec<Outcome> {
    let (floats, mut all) = (floats(), Vec::new());
    let mut random = random();
    // Bits above those that index a table must not matter.
    let indices: Vec<f32> = (0..floats.len()).map(|_| f32::from_bits(random())).collect();
    let tables = floats.as_chunks::<16>().0;
    // Each table is combined with the same indices for any number of lanes.
    let rounds = MAX_LANES / S::LANES;
    let asked = |table: usize, round: usize| {
        s.bits(s.load(&indices[MAX_LANES * table % (indices.len() - MAX_LANES) + round * S::LANES..]))
    };
    let questions = || (0..tables.len()).flat_map(|table| (0..rounds).map(move |round| (table, round)));
    outcomes! { all, out; (table, round) in questions();
        "lookup": put(s, s.lookup(&tables[table], asked(table, round)), &mut out);
        "lookup8": put(s, s.lookup8(tables[table].first_chunk().unwrap(), asked(table, round)), &mut out);
        "lookup4": put(s, s.lookup4(tables[table].first_chunk().unwrap(), asked(table, round)), &mut out);
    }
    let words: Vec<u64> = (0..64)
        .map(|at| 1 << at)
        .chain((0..64).map(|_| u64::from(random()) << 32 | u64::from(random())))
        .collect();
    outcomes! { all, out; (&word, at) in words.iter().flat_map(|word| (0..rounds).map(move |round| (word, round * S::LANES)));
        "mask": put_m(s, s.mask((word as u32) >> at), &mut out);
        "two_bits": put_i(s, s.and(s.two_bits(word >> (2 * at)), s.splat_i(3)), &mut out);
    }
    outcomes! { all, out; chunk in floats.chunks(MAX_LANES);
        "mask_bits": out.push((0..rounds).fold(0, |bits, round| {
            let negative = s.lt(s.load(&chunk[round * S::LANES..]), s.splat(0.0));
            bits | s.mask_bits(negative) << (round * S::LANES)
        }));
    }
    all
}

/// Compares the operations that combine all lanes with the result computed from the lanes. Returns the number of failures.
fn whole_vectors<S: Simd>(s: S) -> Vec<Outcome> {
    let mut wrong = [0; 3];
    let numbers: Vec<f32> = floats().into_iter().filter(|x| !x.is_nan()).collect();
    for lanes in numbers.windows(S::LANES) {
        let a = s.load(lanes);
        let least = lanes.iter().copied().fold(f32::INFINITY, f32::min);
        let greatest = lanes.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        // Of two zeros, either may be returned.
        wrong[0] += u32::from(s.reduce_min(a) != least);
        wrong[1] += u32::from(s.reduce_max(a) != greatest);
    }
    for odd in 0..=S::LANES {
        let mut lanes = [0.0f32; MAX_LANES + 1];
        lanes[odd] = 1.0;
        let mask = s.lt(s.load(&lanes), s.splat(0.5));
        wrong[2] += u32::from(s.all(mask) != (odd == S::LANES));
    }
    vec![("reduce_min", vec![wrong[0]]), ("reduce_max", vec![wrong[1]]), ("all", vec![wrong[2]])]
}

/// Returns the operations whose results differ, each with the first lane that does.
fn differences(got: &[Outcome], want: &[Outcome]) -> Vec<String> {
    assert_eq!(got.len(), want.len());
    let mut found = Vec::new();
    for ((name, got), (_, want)) in got.iter().zip(want) {
        assert_eq!(got.len(), want.len(), "{name}");
        let differs = || got.iter().zip(want).enumerate().filter(|(_, (got, want))| got != want);
        if let Some((at, (got, want))) = differs().next() {
            found
                .push(format!("{name}: {} differ, first {at}: {got:08x}, not {want:08x}", differs().count()));
        }
    }
    found
}

#[test]
fn every_word_means_the_same_on_every_instruction_set() {
    let want = Words.run(Scalar);
    for (name, lanes) in &want[want.len() - 4..] {
        assert_eq!(lanes, &[0], "{name}");
    }
    for isa in Isa::available() {
        assert_eq!(differences(&isa.run(Words), &want), [""; 0], "{isa:?}");
        assert_eq!(differences(&isa.run(WideWords), &want), [""; 0], "{isa:?}, wide");
        assert_eq!(differences(&isa.run(StoringBf16(Words)), &want), [""; 0], "{isa:?}, storing bf16");
        let wide = isa.run(StoringBf16(WideWords));
        assert_eq!(differences(&wide, &want), [""; 0], "{isa:?}, storing bf16, wide");
    }
}

/// Wraps a kernel as one that stores bfloats.
struct StoringBf16<K>(K);

impl<K: Kernel> Kernel for StoringBf16<K> {
    type Output = K::Output;
    const STORES_BF16: bool = true;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> K::Output {
        self.0.run(s)
    }
}

/// `.ci/cross-all` sets the variable on each machine that it runs or emulates.
#[test]
fn the_instruction_sets_are_those_that_the_machine_is_said_to_have() {
    let available = Isa::available().into_iter().map(Isa::name).collect::<Vec<_>>().join(" ");
    if let Ok(expected) = std::env::var("GGUF_CODEC_EXPECT_ISA") {
        assert_eq!(available, expected);
    }
}
