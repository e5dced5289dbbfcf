//! [`BlockFormat`] and [`Codec`]: what each format's file implements.

use super::number::Number;
use crate::codec::float::Float;
use crate::ggml_type::GgmlType;
use crate::simd::Simd;

/// A way to store values in blocks, known at compile time: [`Q4_K`](crate::blocks::Q4_K), [`F16`](crate::blocks::F16) and so on.
///
/// The marker types have no values. They are type arguments of [`Tensor::typed`](crate::Tensor::typed).
///
/// ```
/// use gguf_codec::blocks::{BlockFormat, Q4_K, Q8_0};
/// fn block_bytes<F: BlockFormat>() -> usize {
///     size_of::<F::Block>()
/// }
/// assert_eq!((block_bytes::<Q8_0>(), block_bytes::<Q4_K>()), (34, 144));
/// ```
#[allow(private_bounds, reason = "sealed: formats live in this crate")]
pub trait BlockFormat: sealed::Sealed + 'static {
    /// A block as its bytes in a little-endian file: alignment 1, no padding, and all bit patterns are valid.
    type Block: bytemuck::Pod + Send + Sync + core::fmt::Debug;
    /// The format's entry in the table of types.
    const TYPE: GgmlType;
}

pub(crate) mod sealed {
    pub trait Sealed {}
}

/// Validated rows to quantize: whole rows of whole blocks, all values finite.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) values: &'a [f32],
    /// The number of values in a row.
    pub(crate) row_len: usize,
    /// A weight for each value of a row, the same for all rows.
    pub(crate) importance: Option<&'a [f32]>,
}

impl<'a> Rows<'a> {
    /// Returns an iterator over blocks of `LEN` values, each with its weights.
    #[inline(always)]
    pub(crate) fn blocks<const LEN: usize>(
        self,
    ) -> impl Iterator<Item = (&'a [f32; LEN], Option<&'a [f32; LEN]>)> {
        let importance = self.importance.map(|importance| importance.as_chunks().0);
        let blocks = self.values.as_chunks().0.iter().enumerate();
        blocks.map(move |(at, x)| (x, importance.map(|importance| &importance[at % importance.len()])))
    }
}

/// The kernels of a format, written once over [`Simd`].
pub(crate) trait Codec: BlockFormat {
    /// The numbers in a block: what big-endian files swap, and what must be finite. The rest is packed quants.
    const NUMBERS: &'static [Number];

    /// Whether values can be quantized. Integers cannot: GGUF stores no scale for them.
    const QUANTIZES: bool = true;

    /// Whether quantizing requires importance weights. With so few bits ggml refuses to work without them.
    const NEEDS_IMPORTANCE: bool = false;

    /// Whether values may be subnormal or signaling NaNs, which [`Float`]'s `put` does not accept. All values of such a
    /// format are stored from the buffer with `put_any`.
    const ANY_VALUES: bool = false;

    /// Whether blocks are decoded to half precision without an intermediate buffer. This takes extra kernels, which are
    /// compiled for the formats whose speed to `f16` and `bf16` matters most.
    const DIRECT_HALVES: bool = false;

    /// Whether quantizing is faster with AVX-512 than with AVX2. If not, no kernel is compiled for AVX-512.
    const QUANTIZES_FASTER_IN_AVX512: bool = true;

    /// Decodes blocks to values. `out` has exactly the values of `blocks`.
    fn dequantize<S: Simd, T: Float>(s: S, blocks: &[Self::Block], out: &mut [T]);

    /// Encodes values as blocks. `out` has exactly the blocks of `rows`.
    fn quantize<S: Simd>(s: S, rows: Rows<'_>, out: &mut [Self::Block]);
}

/// Declares a quantized format's marker and associates it with its block.
macro_rules! block_format {
    ($(#[$doc:meta])* $name:ident, $block:ident) => {
        $(#[$doc])*
        #[allow(non_camel_case_types, reason = "the field's name")]
        #[derive(Debug, Clone, Copy)]
        #[allow(clippy::exhaustive_enums, reason = "a marker without values")]
        pub enum $name {}

        impl $crate::codec::format::sealed::Sealed for $name {}

        impl $crate::codec::format::BlockFormat for $name {
            type Block = $block;
            const TYPE: $crate::GgmlType = $crate::GgmlType::$name;
        }

        const _: () = {
            assert!(size_of::<$block>() == $crate::GgmlType::$name.block_bytes());
            assert!(align_of::<$block>() == 1);
        };
    };
}
pub(crate) use block_format;
