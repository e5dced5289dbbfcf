//! A format's functions over byte slices, by type. The feature `codecs` compiles these, and no other code instantiates a
//! kernel for an instruction set.

use core::marker::PhantomData;

use crate::codec::float::Float;
use crate::codec::float::sealed::Decode;
use crate::codec::format::{Codec, Rows};
use crate::codec::formats::look_up;
use crate::codec::stores::Stores;
use crate::codec::table::Lookup;
use crate::ggml_type::GgmlType;
use crate::simd::{CompiledFor, GATHERED, Isa, Kernel, MAX_LANES, Scalar, Simd, Streaming};

/// A function that dequantizes whole blocks into the caches. The caller has checked the lengths.
pub(crate) type Dequantizer<T> = fn(Isa, &[u8], &mut [T]);

/// A function that quantizes whole rows. The caller has checked the lengths.
pub(crate) type Quantizer = fn(Isa, Rows<'_>, &mut [u8]);

/// Dequantizes blocks of `ty` to `f32`.
#[inline(never)]
fn dequantize_f32(isa: Isa, stores: Stores, ty: GgmlType, blocks: &[u8], out: &mut [f32]) {
    write(isa, stores, ty, Way::Direct(look_up::<ToSingles>(ty).0), blocks, out);
}

/// Dequantizes blocks of `ty` to `f16`.
#[inline(never)]
fn dequantize_f16(isa: Isa, stores: Stores, ty: GgmlType, blocks: &[u8], out: &mut [half::f16]) {
    dequantize_halves(isa, stores, ty, blocks, out);
}

/// Dequantizes blocks of `ty` to `bf16`.
#[inline(never)]
fn dequantize_bf16(isa: Isa, stores: Stores, ty: GgmlType, blocks: &[u8], out: &mut [half::bf16]) {
    dequantize_halves(isa, stores, ty, blocks, out);
}

impl Decode for f32 {
    fn dequantize(isa: Isa, stores: Stores, ty: GgmlType, blocks: &[u8], out: &mut [Self]) {
        dequantize_f32(isa, stores, ty, blocks, out);
    }
}

impl Decode for half::f16 {
    fn dequantize(isa: Isa, stores: Stores, ty: GgmlType, blocks: &[u8], out: &mut [Self]) {
        dequantize_f16(isa, stores, ty, blocks, out);
    }
}

impl Decode for half::bf16 {
    fn dequantize(isa: Isa, stores: Stores, ty: GgmlType, blocks: &[u8], out: &mut [Self]) {
        dequantize_bf16(isa, stores, ty, blocks, out);
    }
}

/// Decodes to `f32`. Also returns whether the values may be arbitrary ([`Codec::ANY_VALUES`]).
struct ToSingles;

impl Lookup for ToSingles {
    type Output = (Dequantizer<f32>, bool);
    #[inline(always)]
    fn of<C: Codec>() -> Self::Output {
        (dequantize::<C, f32>, C::ANY_VALUES)
    }
}

/// Decodes to halves without a buffer. `None` for formats for which that is not worth a kernel.
struct ToHalves<T>(PhantomData<T>);

impl<T: Float> Lookup for ToHalves<T> {
    type Output = Option<Dequantizer<T>>;
    #[inline(always)]
    fn of<C: Codec>() -> Self::Output {
        if C::DIRECT_HALVES { Some(dequantize::<C, T>) } else { None }
    }
}

/// Returns the quantizer for `ty`, or `None` if values cannot be quantized to it.
#[inline(never)]
pub(in crate::codec) fn quantizer(ty: GgmlType) -> Option<Quantizer> {
    look_up::<Quantizers>(ty)
}

struct Quantizers;

impl Lookup for Quantizers {
    type Output = Option<Quantizer>;
    #[inline(always)]
    fn of<C: Codec>() -> Option<Quantizer> {
        if C::QUANTIZES { Some(quantize::<C>) } else { None }
    }
}

struct Dequantize<'a, C: Codec, T> {
    blocks: &'a [C::Block],
    out: &'a mut [T],
}

impl<C: Codec, T: Float> Kernel for Dequantize<'_, C, T> {
    type Output = ();
    const STORES_BF16: bool = T::IS_BF16;
    const WRITES_LINES: bool = true;
    const COMPILED_FOR: CompiledFor = T::DIRECT;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        C::dequantize(s, self.blocks, self.out);
    }
}

fn dequantize<C: Codec, T: Float>(isa: Isa, blocks: &[u8], out: &mut [T]) {
    isa.run(Dequantize::<C, T> { blocks: bytemuck::cast_slice(blocks), out });
}

/// The number of singles to buffer before narrowing: as many as stay in L1 cache along with blocks and output.
const BUFFERED: usize = 512;

#[repr(align(64))]
struct Buffer([f32; BUFFERED]);

/// How blocks are decoded to values.
enum Way<'a, T> {
    Direct(Dequantizer<T>),
    /// By way of singles. The caller provides the buffer, because clearing one for each piece takes longer than the rest.
    Buffered {
        to_f32: Dequantizer<f32>,
        any: bool,
        buffer: &'a mut Buffer,
    },
}

fn dequantize_halves<T: Float>(isa: Isa, stores: Stores, ty: GgmlType, blocks: &[u8], out: &mut [T]) {
    let direct = if isa.has(T::DIRECT) { look_up::<ToHalves<T>>(ty) } else { None };
    match direct {
        Some(direct) => write(isa, stores, ty, Way::Direct(direct), blocks, out),
        None => {
            let (to_f32, any) = look_up::<ToSingles>(ty);
            let buffer = &mut Buffer([0.0; BUFFERED]);
            write(isa, stores, ty, Way::Buffered { to_f32, any, buffer }, blocks, out);
        }
    }
}

fn write<T: Float>(
    isa: Isa,
    stores: Stores,
    ty: GgmlType,
    mut way: Way<'_, T>,
    blocks: &[u8],
    out: &mut [T],
) {
    match stores {
        Stores::Cached => way.fill(isa, ty, blocks, out),
        Stores::Streaming => isa.run(AroundCaches { isa, ty, way, blocks, out }),
    }
}

impl<T: Float> Way<'_, T> {
    /// Dequantizes into the caches.
    fn fill(&mut self, isa: Isa, ty: GgmlType, blocks: &[u8], out: &mut [T]) {
        match self {
            Way::Direct(dequantize) => dequantize(isa, blocks, out),
            Way::Buffered { to_f32, any, buffer } => {
                let at_once = BUFFERED / ty.block_len();
                let pieces = blocks.chunks(at_once * ty.block_bytes());
                for (blocks, to) in pieces.zip(out.chunks_mut(at_once * ty.block_len())) {
                    let from = &mut buffer.0[..to.len()];
                    to_f32(isa, blocks, from);
                    isa.run(Narrow { from, to, any: *any });
                }
            }
        }
    }
}

/// Narrows singles to halves.
struct Narrow<'a, T> {
    from: &'a [f32],
    to: &'a mut [T],
    any: bool,
}

impl<T: Float> Kernel for Narrow<'_, T> {
    type Output = ();
    const STORES_BF16: bool = T::IS_BF16;
    const WRITES_LINES: bool = true;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if self.any {
            narrow::<S, T, true>(s, self.from, self.to)
        } else {
            narrow::<S, T, false>(s, self.from, self.to)
        }
    }
}

#[inline(always)]
fn narrow<S: Simd, T: Float, const ANY: bool>(s: S, from: &[f32], to: &mut [T]) {
    // A whole number of vectors, so that the lengths are checked once for all of them.
    const AT_ONCE: usize = 2 * MAX_LANES;
    let (from_many, from_rest) = from.as_chunks::<AT_ONCE>();
    let (to_many, to_rest) = to.as_chunks_mut::<AT_ONCE>();
    for (from, to) in from_many.iter().zip(to_many) {
        for at in (0..AT_ONCE).step_by(S::LANES) {
            put::<S, T, ANY>(s, s.load(&from[at..]), &mut to[at..]);
        }
    }
    let vectors = from_rest.len() / S::LANES * S::LANES;
    for at in (0..vectors).step_by(S::LANES) {
        put::<S, T, ANY>(s, s.load(&from_rest[at..]), &mut to_rest[at..]);
    }
    for (&value, to) in from_rest[vectors..].iter().zip(&mut to_rest[vectors..]) {
        put::<Scalar, T, ANY>(Scalar, value, core::slice::from_mut(to));
    }
}

#[inline(always)]
fn put<S: Simd, T: Float, const ANY: bool>(s: S, value: S::F, to: &mut [T]) {
    if ANY { T::put_any(s, value, to) } else { T::put(s, value, to) }
}

/// Output that bypasses the caches also occupies the line fill buffers, and the hardware prefetcher falls behind. So
/// blocks are prefetched this many times [`GATHERED`] values ahead.
const PREFETCH_AHEAD: usize = 4;

/// Dequantizes into a small piece of memory at a time, and copies that past the caches. This reuses each format's kernel
/// without compiling it again.
struct AroundCaches<'a, T> {
    isa: Isa,
    ty: GgmlType,
    way: Way<'a, T>,
    blocks: &'a [u8],
    out: &'a mut [T],
}

impl<T: Float> Kernel for AroundCaches<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let AroundCaches { isa, ty, mut way, blocks, out } = self;
        if !S::STREAMS {
            return way.fill(isa, ty, blocks, out);
        }
        let at_once = ty.bytes_in(GATHERED);
        let mut streaming = Streaming::new(s, out);
        for (i, piece) in blocks.chunks(at_once).enumerate() {
            let ahead = blocks.get((i + PREFETCH_AHEAD) * at_once..).unwrap_or_default();
            s.prefetch(&ahead[..ahead.len().min(at_once)]);
            way.fill(isa, ty, piece, streaming.next());
            streaming.push();
        }
    }
}

struct Quantize<'a, C: Codec> {
    rows: Rows<'a>,
    out: &'a mut [C::Block],
}

impl<C: Codec> Kernel for Quantize<'_, C> {
    type Output = ();
    const GAINS_FROM_AVX512: bool = C::QUANTIZES_FASTER_IN_AVX512;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        C::quantize(s, self.rows, self.out);
    }
}

fn quantize<C: Codec>(isa: Isa, rows: Rows<'_>, out: &mut [u8]) {
    isa.run(Quantize::<C> { rows, out: bytemuck::cast_slice_mut(out) });
}
