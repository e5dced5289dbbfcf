//! The table's machinery: finds a format's functions over byte slices by type.

use core::marker::PhantomData;

use super::format::{Codec, Number, Rows};
use crate::simd::{GATHERED, Isa, Kernel, Simd, Streaming};
use crate::{Float, GgmlType};

/// Declares the formats: re-exports each row's names and finds what a type's codec has.
macro_rules! formats {
    ($($module:ident: $format:ident $(as $block:ident)?;)*) => {
        /// Every format's marker and block.
        pub(crate) mod formats {
            $(pub use super::$module::{$format $(, $block)?};)*
        }

        /// What `L` takes from the codec of `ty`. A type without its row does not compile.
        #[inline(always)]
        fn look_up<L: table::Lookup>(ty: $crate::GgmlType) -> L::Output {
            match ty {
                $(<formats::$format as BlockFormat>::TYPE => L::of::<formats::$format>(),)*
            }
        }
    };
}
pub(crate) use formats;

/// How output is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stores {
    /// Into the caches, where whoever reads it next finds it.
    Cached,
    /// Around the caches, which saves reading every line before it is overwritten.
    Streaming,
}

/// A function that dequantizes whole blocks, checked by the caller.
pub(crate) type Dequantizer<T> = fn(Isa, Stores, &[u8], &mut [T]);

/// A function that quantizes whole rows, checked by the caller.
pub(crate) type Quantizer = fn(Isa, Rows<'_>, &mut [u8]);

/// One column of the table of formats.
///
/// Each direction is a column of its own, so that a program that only dequantizes links no quantizer. Functions that look
/// one up are not generic and never inlined: a crate that they are inlined into compiles every kernel again.
pub(crate) trait Lookup {
    type Output;
    fn of<C: Codec>() -> Self::Output;
}

/// Dequantizes blocks of `ty` to `f32`.
#[inline(never)]
pub(super) fn dequantizer_f32(ty: GgmlType) -> Dequantizer<f32> {
    super::look_up::<Dequantizers<f32>>(ty)
}

/// Dequantizes blocks of `ty` to `f16`.
#[inline(never)]
pub(super) fn dequantizer_f16(ty: GgmlType) -> Dequantizer<half::f16> {
    super::look_up::<Dequantizers<half::f16>>(ty)
}

/// Dequantizes blocks of `ty` to `bf16`.
#[inline(never)]
pub(super) fn dequantizer_bf16(ty: GgmlType) -> Dequantizer<half::bf16> {
    super::look_up::<Dequantizers<half::bf16>>(ty)
}

struct Dequantizers<T>(PhantomData<T>);

impl<T: Float> Lookup for Dequantizers<T> {
    type Output = Dequantizer<T>;
    #[inline(always)]
    fn of<C: Codec>() -> Dequantizer<T> {
        dequantize::<C, T>
    }
}

/// Quantizes to `ty`. `None` where values cannot become blocks.
#[inline(never)]
pub(super) fn quantizer(ty: GgmlType) -> Option<Quantizer> {
    super::look_up::<Quantizers>(ty)
}

struct Quantizers;

impl Lookup for Quantizers {
    type Output = Option<Quantizer>;
    #[inline(always)]
    fn of<C: Codec>() -> Option<Quantizer> {
        if C::QUANTIZES { Some(quantize::<C>) } else { None }
    }
}

/// What a format says of itself without doing anything.
pub(super) struct Properties {
    pub(super) numbers: &'static [Number],
    pub(super) quantizes: bool,
    pub(super) needs_importance: bool,
}

/// The properties of the format of `ty`.
#[inline(never)]
pub(super) fn properties(ty: GgmlType) -> Properties {
    super::look_up::<Properties>(ty)
}

impl Lookup for Properties {
    type Output = Properties;
    #[inline(always)]
    fn of<C: Codec>() -> Properties {
        Properties { numbers: C::NUMBERS, quantizes: C::QUANTIZES, needs_importance: C::NEEDS_IMPORTANCE }
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
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        C::dequantize(s, self.blocks, self.out);
    }
}

/// [`Dequantize`] around the caches.
struct DequantizeStreaming<'a, C: Codec, T> {
    blocks: &'a [C::Block],
    out: &'a mut [T],
}

/// Output that goes around the caches takes the buffers that fetch lines too, and the processor's own prefetching
/// falls behind: blocks are asked for so many times [`GATHERED`] values ahead.
const PREFETCH_AHEAD: usize = 4;

impl<C: Codec, T: Float> Kernel for DequantizeStreaming<'_, C, T> {
    type Output = ();
    const STORES_BF16: bool = T::IS_BF16;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if !S::STREAMS {
            return C::dequantize(s, self.blocks, self.out);
        }
        let at_once = GATHERED / C::TYPE.block_len();
        let mut streaming = Streaming::new(s, self.out);
        for (i, blocks) in self.blocks.chunks(at_once).enumerate() {
            let ahead = self.blocks.get((i + PREFETCH_AHEAD) * at_once..).unwrap_or_default();
            s.prefetch(bytemuck::cast_slice(&ahead[..ahead.len().min(at_once)]));
            C::dequantize(s, blocks, streaming.next());
            streaming.push();
        }
    }
}

fn dequantize<C: Codec, T: Float>(isa: Isa, stores: Stores, blocks: &[u8], out: &mut [T]) {
    let blocks = bytemuck::cast_slice(blocks);
    match stores {
        Stores::Cached => isa.run(Dequantize::<C, T> { blocks, out }),
        Stores::Streaming => isa.run(DequantizeStreaming::<C, T> { blocks, out }),
    }
}

struct Quantize<'a, C: Codec> {
    rows: Rows<'a>,
    out: &'a mut [C::Block],
}

impl<C: Codec> Kernel for Quantize<'_, C> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        C::quantize(s, self.rows, self.out);
    }
}

fn quantize<C: Codec>(isa: Isa, rows: Rows<'_>, out: &mut [u8]) {
    isa.run(Quantize::<C> { rows, out: bytemuck::cast_slice_mut(out) });
}

/// Turns blocks of `ty` from one byte order into the other, in place: reverses each number of several bytes
/// (scales, plain values) and leaves packed quants alone. `bytes` holds whole blocks.
pub(crate) fn swap_byte_order(ty: GgmlType, bytes: &mut [u8]) {
    let Properties { numbers, .. } = properties(ty);
    for block in bytes.chunks_exact_mut(ty.block_bytes()) {
        for number in numbers {
            block[number.at..number.at + number.width].reverse();
        }
    }
}
