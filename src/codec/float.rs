//! [`Float`]: the float types that blocks can be decoded to.

use half::{bf16, f16};

use crate::simd::{CompiledFor, Simd};

pub(crate) mod sealed {
    #[cfg(feature = "codecs")]
    use crate::codec::stores::Stores;
    #[cfg(feature = "codecs")]
    use crate::ggml_type::GgmlType;
    #[cfg(feature = "codecs")]
    use crate::simd::Isa;
    use crate::simd::{CompiledFor, Simd};

    #[allow(private_interfaces, private_bounds, reason = "sealed: only this crate calls it")]
    pub trait Put: Decode {
        /// Whether [`put`](Self::put) stores `bf16`.
        const IS_BF16: bool = false;
        /// Writes a vector of floats as `Self`, rounded to nearest even. No value may be subnormal or a signaling NaN.
        /// Products of half-precision scales and small numbers never are.
        fn put<S: Simd>(s: S, value: S::F, to: &mut [Self]);
        /// Like [`put`](Self::put), for any values, such as those taken directly from a file.
        #[inline(always)]
        fn put_any<S: Simd>(s: S, value: S::F, to: &mut [Self]) {
            Self::put(s, value, to);
        }
        /// The instruction sets for which blocks of some formats are decoded to `Self` without an intermediate buffer.
        const DIRECT: CompiledFor;
    }

    /// Decodes by type. A trait of its own, so that the kernels, which are generic over floats, can implement it.
    #[cfg(feature = "codecs")]
    pub trait Decode: Sized {
        /// Dequantizes whole blocks of `ty`.
        fn dequantize(isa: Isa, stores: Stores, ty: GgmlType, blocks: &[u8], out: &mut [Self]);
    }

    /// Without `codecs` nothing is decoded.
    #[cfg(not(feature = "codecs"))]
    pub trait Decode: Sized {}
    #[cfg(not(feature = "codecs"))]
    impl<T> Decode for T {}
}

/// A float type that tensors can be dequantized to: `f32`, [`f16`](crate::f16) or [`bf16`](crate::bf16).
///
/// Values are computed in single precision as in ggml and rounded once, to nearest even. An `f16` beyond 65,504 becomes infinite.
pub trait Float: sealed::Put + Copy + Default + PartialEq + Send + Sync + bytemuck::Pod {
    /// Converts the value to single precision, exactly.
    fn to_f32(self) -> f32;
}

macro_rules! float {
    ($float:ident, $store:ident, $direct:ident, $widen:expr $(, { $($item:item)+ })?) => {
        impl Float for $float {
            fn to_f32(self) -> f32 {
                $widen(self)
            }
        }

        #[allow(private_interfaces, private_bounds, reason = "sealed: only this crate calls it")]
        impl sealed::Put for $float {
            #[inline(always)]
            fn put<S: Simd>(s: S, value: S::F, to: &mut [Self]) {
                s.$store(value, to);
            }
            $($($item)+)?
            const DIRECT: CompiledFor = CompiledFor::$direct;
        }
    };
}

float!(f32, store, All, |value| value);
float!(f16, store_f16, Vectors, f16::to_f32);
float!(bf16, store_bf16, Bf16Instructions, bf16::to_f32, {
    const IS_BF16: bool = true;
    #[inline(always)]
    fn put_any<S: Simd>(s: S, value: S::F, to: &mut [Self]) {
        s.store_bf16_any(value, to);
    }
});
