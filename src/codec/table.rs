//! The table's machinery: an [`Entry`] holds a format's functions behind byte slices.

use super::format::{Codec, Number, Rows};
use crate::simd::{GATHERED, Isa, Kernel, Simd, Streaming};
use crate::{Float, GgmlType};

/// Declares the formats: re-exports each row's names and finds its [`Entry`] by type.
macro_rules! formats {
    ($($module:ident: $format:ident $(as $block:ident)?;)*) => {
        /// Every format's marker and block.
        pub(crate) mod formats {
            $(pub use super::$module::{$format $(, $block)?};)*
        }

        /// The codec of a type. A type without its row does not compile.
        ///
        /// Never inlined: a crate that it is inlined into compiles every kernel again.
        #[inline(never)]
        fn entry(ty: $crate::GgmlType) -> &'static table::Entry {
            match ty {
                $(<formats::$format as BlockFormat>::TYPE => {
                    const { &table::Entry::of::<formats::$format>() }
                })*
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

/// A format as functions over bytes: whole blocks in, whole blocks out, checked by the caller.
pub(crate) struct Entry {
    pub(crate) numbers: &'static [Number],
    pub(crate) to_f32: fn(Isa, Stores, &[u8], &mut [f32]),
    pub(crate) to_f16: fn(Isa, Stores, &[u8], &mut [half::f16]),
    pub(crate) to_bf16: fn(Isa, Stores, &[u8], &mut [half::bf16]),
    /// `None` where values cannot become blocks.
    pub(crate) quantize: Option<fn(Isa, Rows<'_>, &mut [u8])>,
    pub(crate) needs_importance: bool,
}

impl Entry {
    pub(crate) const fn of<C: Codec>() -> Entry {
        Entry {
            numbers: C::NUMBERS,
            to_f32: dequantize::<C, f32>,
            to_f16: dequantize::<C, half::f16>,
            to_bf16: dequantize::<C, half::bf16>,
            quantize: if C::QUANTIZES { Some(quantize::<C>) } else { None },
            needs_importance: C::NEEDS_IMPORTANCE,
        }
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
    let numbers = super::entry(ty).numbers;
    for block in bytes.chunks_exact_mut(ty.block_bytes()) {
        for number in numbers {
            block[number.at..number.at + number.width].reverse();
        }
    }
}
