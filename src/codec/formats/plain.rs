//! The plain types: one value to a block, floats and integers.

use half::{bf16, f16};

use crate::codec::float::Float;
use crate::codec::format::{BlockFormat, Codec, Rows, sealed};
use crate::codec::number::Number;
use crate::ggml_type::GgmlType;
use crate::simd::{MAX_LANES, Scalar, Simd, f16_to_f32, f32_to_bf16, f32_to_f16};

/// How one value is stored. The bytes are little-endian.
trait Plain: BlockFormat {
    fn widen(bytes: Self::Block) -> f32;
    /// Integers do not implement this: GGUF stores no scale for them, so floats cannot be converted, and
    /// [`Codec::QUANTIZES`] keeps callers from trying.
    #[inline(always)]
    fn narrow(_value: f32) -> Self::Block {
        bytemuck::Zeroable::zeroed()
    }

    /// Loads `LANES` values. For formats that have a vector operation for it.
    #[inline(always)]
    fn load<S: Simd>(s: S, from: &[Self::Block]) -> S::F {
        s.gather(|lane| Self::widen(from[lane]))
    }
    /// Stores `LANES` values. For formats that have a vector operation for it.
    #[inline(always)]
    fn store<S: Simd>(s: S, value: S::F, to: &mut [Self::Block]) {
        let mut lanes = [0.0; MAX_LANES];
        s.store(value, &mut lanes);
        for (to, lane) in to.iter_mut().zip(&lanes[..S::LANES]) {
            *to = Self::narrow(*lane);
        }
    }
}

#[inline(always)]
fn dequantize<P: Plain, S: Simd, T: Float>(s: S, blocks: &[P::Block], out: &mut [T]) {
    let (vectors, rest) = blocks.split_at(blocks.len() / S::LANES * S::LANES);
    let (out_vectors, out_rest) = out.split_at_mut(vectors.len());
    for (blocks, out) in vectors.chunks_exact(S::LANES).zip(out_vectors.chunks_exact_mut(S::LANES)) {
        T::put_any(s, P::load(s, blocks), out);
    }
    for (block, out) in rest.iter().zip(out_rest) {
        T::put_any(Scalar, P::widen(*block), core::slice::from_mut(out));
    }
}

#[inline(always)]
fn quantize<P: Plain, S: Simd>(s: S, values: &[f32], out: &mut [P::Block]) {
    let (vectors, rest) = values.split_at(values.len() / S::LANES * S::LANES);
    let (out_vectors, out_rest) = out.split_at_mut(vectors.len());
    for (values, out) in vectors.chunks_exact(S::LANES).zip(out_vectors.chunks_exact_mut(S::LANES)) {
        P::store(s, s.load(values), out);
    }
    for (value, out) in rest.iter().zip(out_rest) {
        *out = P::narrow(*value);
    }
}

/// Declares a plain format's marker: its doc, the bytes of a value, the number that these are, and whether floats become it.
macro_rules! plain_format {
    ($(#[$doc:meta])* $name:ident: $width:literal bytes, $number:expr, quantizes: $quantizes:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        #[allow(clippy::exhaustive_enums, reason = "a marker without values")]
        pub enum $name {}

        impl sealed::Sealed for $name {}

        impl BlockFormat for $name {
            type Block = [u8; $width];
            const TYPE: GgmlType = GgmlType::$name;
        }

        const _: () = assert!($width == GgmlType::$name.block_bytes());

        impl Codec for $name {
            const NUMBERS: &'static [Number] = &[$number];
            const QUANTIZES: bool = $quantizes;
            const ANY_VALUES: bool = true;
            /// F16 and BF16.
            const DIRECT_HALVES: bool = $width == 2 && $quantizes;

            #[inline(always)]
            fn dequantize<S: Simd, T: Float>(s: S, blocks: &[Self::Block], out: &mut [T]) {
                dequantize::<Self, S, T>(s, blocks, out);
            }
            #[inline(always)]
            fn quantize<S: Simd>(s: S, rows: Rows<'_>, out: &mut [Self::Block]) {
                quantize::<Self, S>(s, rows.values, out);
            }
        }
    };
}

plain_format! {
    /// IEEE single precision.
    F32: 4 bytes, Number::f32(0), quantizes: true
}

impl Plain for F32 {
    #[inline(always)]
    fn widen(bytes: [u8; 4]) -> f32 {
        f32::from_le_bytes(bytes)
    }
    #[inline(always)]
    fn narrow(value: f32) -> [u8; 4] {
        value.to_le_bytes()
    }
    #[inline(always)]
    fn load<S: Simd>(s: S, from: &[[u8; 4]]) -> S::F {
        s.load_f32_bytes(from)
    }
}

plain_format! {
    /// IEEE half precision.
    F16: 2 bytes, Number::f16(0), quantizes: true
}

impl Plain for F16 {
    #[inline(always)]
    fn widen(bytes: [u8; 2]) -> f32 {
        f16_to_f32(u16::from_le_bytes(bytes))
    }
    #[inline(always)]
    fn narrow(value: f32) -> [u8; 2] {
        f32_to_f16(value).to_le_bytes()
    }
    #[inline(always)]
    fn load<S: Simd>(s: S, from: &[[u8; 2]]) -> S::F {
        s.load_f16(from)
    }
    #[inline(always)]
    fn store<S: Simd>(s: S, value: S::F, to: &mut [[u8; 2]]) {
        let mut lanes = [f16::ZERO; MAX_LANES];
        // ggml gives every NaN this payload.
        let nan = s.copy_sign(s.splat(f32::from_bits(0x7fc0_0000)), value);
        s.store_f16(s.select(s.ne(value, value), nan, value), &mut lanes);
        for (to, lane) in to.iter_mut().zip(&lanes[..S::LANES]) {
            *to = lane.to_le_bytes();
        }
    }
}

plain_format! {
    /// The upper half of an IEEE single.
    BF16: 2 bytes, Number::bf16(0), quantizes: true
}

impl Plain for BF16 {
    #[inline(always)]
    fn widen(bytes: [u8; 2]) -> f32 {
        f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16)
    }
    #[inline(always)]
    fn narrow(value: f32) -> [u8; 2] {
        f32_to_bf16(value).to_le_bytes()
    }
    #[inline(always)]
    fn load<S: Simd>(s: S, from: &[[u8; 2]]) -> S::F {
        s.load_bf16(from)
    }
    #[inline(always)]
    fn store<S: Simd>(s: S, value: S::F, to: &mut [[u8; 2]]) {
        let mut lanes = [bf16::ZERO; MAX_LANES];
        s.store_bf16_any(value, &mut lanes);
        for (to, lane) in to.iter_mut().zip(&lanes[..S::LANES]) {
            *to = lane.to_le_bytes();
        }
    }
}

plain_format! {
    /// IEEE double precision; dequantized by rounding to single precision.
    F64: 8 bytes, Number::f64(0), quantizes: true
}

impl Plain for F64 {
    #[inline(always)]
    fn widen(bytes: [u8; 8]) -> f32 {
        f64::from_le_bytes(bytes) as f32
    }
    #[inline(always)]
    fn narrow(value: f32) -> [u8; 8] {
        f64::from(value).to_le_bytes()
    }
}

plain_format! {
    /// 8-bit integers.
    I8: 1 bytes, Number::integers(0, 1, 1), quantizes: false
}

impl Plain for I8 {
    #[inline(always)]
    fn widen(bytes: [u8; 1]) -> f32 {
        f32::from(i8::from_le_bytes(bytes))
    }
}

plain_format! {
    /// 16-bit integers.
    I16: 2 bytes, Number::shorts(0, 1), quantizes: false
}

impl Plain for I16 {
    #[inline(always)]
    fn widen(bytes: [u8; 2]) -> f32 {
        f32::from(i16::from_le_bytes(bytes))
    }
}

plain_format! {
    /// 32-bit integers; dequantized to the nearest float.
    I32: 4 bytes, Number::integers(0, 4, 1), quantizes: false
}

impl Plain for I32 {
    #[inline(always)]
    fn widen(bytes: [u8; 4]) -> f32 {
        i32::from_le_bytes(bytes) as f32
    }
}

plain_format! {
    /// 64-bit integers; dequantized to the nearest float.
    I64: 8 bytes, Number::integers(0, 8, 1), quantizes: false
}

impl Plain for I64 {
    #[inline(always)]
    fn widen(bytes: [u8; 8]) -> f32 {
        i64::from_le_bytes(bytes) as f32
    }
}
