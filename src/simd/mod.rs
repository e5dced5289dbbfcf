//! Lanes, and nothing about formats: detect once, dispatch once for a whole slice.

mod lanes;
mod scalar;
mod streaming;
mod wide;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;
#[cfg(test)]
mod words;

use std::fmt;
use std::sync::OnceLock;

pub(crate) use lanes::{MAX_LANES, NEAREST_LIMIT, Simd, nearest};
use wide::Wide;

pub(crate) use scalar::{Scalar, f16_to_f32, f32_to_bf16, f32_to_f16};
pub(crate) use streaming::{GATHERED, Streaming};

/// Work written once over [`Simd`]. Implementations are `#[inline(always)]`, so that the body is compiled anew
/// inside each instruction set's entry function.
pub(crate) trait Kernel {
    /// What the work gives back.
    type Output;
    /// Whether it spends its time on [`Simd::store_bf16`], and so is worth compiling once more where some processors of an
    /// instruction set have an instruction for that.
    const STORES_BF16: bool = false;
    /// Does it in the lanes of `s`.
    fn run<S: Simd>(self, s: S) -> Self::Output;
}

/// An instruction set that this machine has: only detection makes one.
///
/// Results do not depend on it, to the bit; it is there for tests and measurements, which take one through
/// [`dequantize_with`](crate::dequantize_with) and [`quantize_with`](crate::quantize_with). The environment
/// variable `GGUF_CODEC_ISA` (`scalar`, `avx2`, `avx512`, `neon`, `simd128`), read once, makes [`Isa::detect`] choose that
/// one if the machine
/// has it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Isa(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "aarch64")]
    Neon,
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    Simd128,
}

impl Isa {
    /// One lane in portable Rust, which every machine has.
    pub const SCALAR: Isa = Isa(Kind::Scalar);

    /// The widest instruction set of this machine, or the one that `GGUF_CODEC_ISA` names.
    pub fn detect() -> Isa {
        static CHOICE: OnceLock<Isa> = OnceLock::new();
        *CHOICE.get_or_init(|| {
            let available = Isa::available();
            let widest = available.last().copied().unwrap_or(Isa::SCALAR);
            match std::env::var("GGUF_CODEC_ISA") {
                Ok(name) => available.into_iter().find(|isa| isa.name() == name).unwrap_or(widest),
                Err(_) => widest,
            }
        })
    }

    /// Every instruction set of this machine that has kernels, the widest last.
    pub fn available() -> Vec<Isa> {
        #[allow(unused_mut, reason = "some machines have no other")]
        let mut available = vec![Isa::SCALAR];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("f16c") {
            available.push(Isa(Kind::Avx2));
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512dq")
            {
                available.push(Isa(Kind::Avx512));
            }
        }
        #[cfg(target_arch = "aarch64")]
        if cfg!(target_endian = "little") && std::arch::is_aarch64_feature_detected!("neon") {
            available.push(Isa(Kind::Neon));
        }
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        available.push(Isa(Kind::Simd128));
        available
    }

    /// Its name, as `GGUF_CODEC_ISA` takes it.
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => "neon",
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Kind::Simd128 => "simd128",
        }
    }

    /// Runs a kernel in this instruction set's lanes.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Kind::Scalar => kernel.run(Wide::<Scalar, 8>(Scalar)),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: only `available` makes this kind, after detecting AVX2 and F16C.
            Kind::Avx2 => unsafe { avx2::run(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: only `available` makes this kind, after detecting all but BF16, which is detected here.
            Kind::Avx512 if K::STORES_BF16 && is_x86_feature_detected!("avx512bf16") => unsafe {
                avx512::run_with_bf16(kernel)
            },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: only `available` makes this kind, after detecting AVX-512 F, BW, VL, DQ, AVX2 and F16C.
            Kind::Avx512 => unsafe { avx512::run(kernel) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: only `available` makes this kind, after detecting NEON.
            Kind::Neon => unsafe { neon::run(kernel) },
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Kind::Simd128 => wasm::run(kernel),
        }
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
