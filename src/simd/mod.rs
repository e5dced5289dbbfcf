//! SIMD lanes, independent of formats. Instruction sets are detected once, and dispatch happens once for a whole slice.

mod bytes;
mod halves;
mod lanes;
mod plain_bytes;
mod scalar;
mod streaming;
mod tiles;
mod wide;

#[cfg(all(target_arch = "aarch64", target_endian = "little", any(feature = "std", target_feature = "neon")))]
mod neon;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;
#[cfg(target_arch = "x86_64")]
mod x86;

use alloc::vec::Vec;
use core::fmt;
#[cfg(feature = "std")]
use std::sync::OnceLock;

pub(crate) use bytes::{Aligned, ByteKernel, Bytes, Floats, Integers, Range};
pub(crate) use halves::{f16_to_f32, f32_to_bf16, f32_to_f16};
pub(crate) use lanes::{MAX_LANES, NEAREST_LIMIT, Shared, Simd, nearest};
pub(crate) use plain_bytes::PlainBytes;
pub(crate) use scalar::Scalar;
pub(crate) use streaming::{GATHERED, Streaming};
pub(crate) use tiles::{TileKernel, Tiles};
pub(crate) use wide::Wide;

/// A computation written once over [`Simd`]. Implementations are `#[inline(always)]`, so that the body is compiled
/// inside each instruction set's entry function.
pub(crate) trait Kernel {
    /// The result.
    type Output;
    /// Whether most of its time is spent in [`Simd::store_bf16`]. It is then also compiled for processors of an
    /// instruction set that have an instruction for that.
    #[allow(dead_code, reason = "only AVX-512 has such processors")]
    const STORES_BF16: bool = false;
    /// Whether most of its time is spent storing floats. If an instruction set's vectors are half a cache line, two should
    /// then be written together, because a format's halves go to several lines in turn.
    #[allow(dead_code, reason = "only AVX2's vectors are half a line")]
    const WRITES_LINES: bool = false;
    /// Whether it is faster with AVX-512 than with AVX2, so that compiling it for AVX-512 pays.
    #[allow(dead_code, reason = "only x86-64 has both")]
    const GAINS_FROM_AVX512: bool = true;
    /// The instruction sets that it is compiled for. [`Isa::run`] panics with others: see [`Isa::has`].
    const COMPILED_FOR: CompiledFor = CompiledFor::All;
    /// Runs in the lanes of `s`.
    fn run<S: Simd>(self, s: S) -> Self::Output;
}

/// The instruction sets for which compiling a kernel pays.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum CompiledFor {
    All,
    /// All but scalar.
    Vectors,
    /// Those with an instruction that rounds to `bf16`.
    Bf16Instructions,
}

impl CompiledFor {
    const fn scalar(self) -> bool {
        matches!(self, CompiledFor::All)
    }

    /// Whether this includes vectors that cannot round to `bf16`.
    #[allow(dead_code, reason = "not every build has vectors")]
    const fn any_vectors(self) -> bool {
        matches!(self, CompiledFor::All | CompiledFor::Vectors)
    }
}

/// An instruction set that this machine has. Only detection creates one.
///
/// Results do not depend on it, to the bit. It exists for tests and measurements, which pass it to `Codec::isa` and the
/// `_with` variants of products. It is not covered by semantic versioning. The environment variable `GGUF_CODEC_ISA`
/// (`scalar`, `avx2`, `avx512`, `neon`, `simd128`), read once, makes [`Isa::detect`] choose that one if the machine has it.
/// A misspelt name, or an instruction set that the machine lacks, is silently ignored, because a library should neither
/// print nor abort its process for that. [`Isa::name`] of the detected one reports which is in use.
///
/// ```
/// use gguf_codec::{Codec, GgmlType, Isa};
/// let blocks = [7; GgmlType::Q4_K.block_bytes()];
/// let (mut fast, mut plain) = ([0.0f32; 256], [0.0f32; 256]);
/// Codec::new(GgmlType::Q4_K).dequantize(&blocks, &mut fast)?;
/// Codec::new(GgmlType::Q4_K).isa(Isa::SCALAR).dequantize(&blocks, &mut plain)?;
/// assert_eq!(fast, plain);
/// println!("{} of {:?}", Isa::detect(), Isa::available());
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Isa {
    kind: Kind,
    /// Whether instructions for dot products may be used if the machine has them.
    dots: bool,
}

/// Declares the vector instruction sets, the widest last: in which builds one is available, its name, its module, and how
/// it is detected.
macro_rules! instruction_sets {
    ($(#[$may_be:meta] $kind:ident $name:literal in $($module:ident)::+ if $detected:expr;)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        enum Kind {
            Scalar,
            $(#[$may_be] $kind,)*
        }

        impl Kind {
            const ALL: &[Kind] = &[Kind::Scalar, $(#[$may_be] Kind::$kind,)*];

            fn is_here(&self) -> bool {
                match self {
                    Kind::Scalar => true,
                    $(#[$may_be]
                    Kind::$kind => {
                        #[cfg(feature = "std")]
                        { $detected }
                        #[cfg(not(feature = "std"))]
                        { true }
                    })*
                }
            }

            /// Returns `true` if it has an instruction on this machine that rounds to `bf16`.
            fn rounds_to_bf16(self) -> bool {
                match self {
                    Kind::Scalar => false,
                    $(#[$may_be] Kind::$kind => $($module)::+::rounds_to_bf16(),)*
                }
            }

            /// Returns `true` if it has an instruction for dot products on this machine and these may be used.
            #[allow(unused_variables, reason = "a build may have no instruction sets")]
            fn has_dots(self, dots: bool) -> bool {
                match self {
                    Kind::Scalar => false,
                    $(#[$may_be] Kind::$kind => $($module)::+::has_dots(dots),)*
                }
            }

            fn name(self) -> &'static str {
                match self {
                    Kind::Scalar => "scalar",
                    $(#[$may_be] Kind::$kind => $name,)*
                }
            }
        }

        impl Isa {
            /// Runs a kernel in this instruction set's lanes.
            pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
                match self.kind {
                    Kind::Scalar if const { K::COMPILED_FOR.scalar() } => kernel.run(Wide::<Scalar, 8>(Scalar)),
                    Kind::Scalar => unreachable!("a kernel that is not compiled for scalar lanes"),
                    $(#[$may_be]
                    #[allow(unused_unsafe, reason = "a build may take the instructions for granted")]
                    // SAFETY: only `available` and `widest` create this kind, after detecting everything that the
                    // module's `run` requires. Without std, the whole build enables it.
                    Kind::$kind => unsafe { $($module)::+::run(kernel) },)*
                }
            }

            /// Runs a kernel in this instruction set's tiles, if it [has](Self::has_tiles) them.
            #[allow(unused_variables, reason = "a build may have no instruction sets")]
            pub(crate) fn run_tiles<K: TileKernel>(self, kernel: K) {
                match self.kind {
                    $(#[$may_be]
                    #[allow(unused_unsafe, reason = "a build may take the instructions for granted")]
                    // SAFETY: as in `run`.
                    Kind::$kind => unsafe { $($module)::+::run_tiles(kernel, self.dots) },)*
                    Kind::Scalar => unreachable!("an instruction set without tiles"),
                }
            }

            /// Runs a kernel in this instruction set's bytes.
            pub(crate) fn run_bytes<K: ByteKernel>(self, kernel: K) -> K::Output {
                match self.kind {
                    Kind::Scalar => kernel.run(PlainBytes(Wide::<Scalar, 8>(Scalar))),
                    $(#[$may_be]
                    #[allow(unused_unsafe, reason = "a build may take the instructions for granted")]
                    // SAFETY: as in `run`.
                    Kind::$kind => unsafe { $($module)::+::run_bytes(kernel, self.dots) },)*
                }
            }
        }
    };
}

instruction_sets! {
    #[cfg(all(target_arch = "x86_64", any(feature = "std", all(target_feature = "avx2", target_feature = "f16c"))))]
    Avx2 "avx2" in x86::avx2 if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("f16c");
    #[cfg(all(
        target_arch = "x86_64",
        any(
            feature = "std",
            all(
                target_feature = "avx2",
                target_feature = "f16c",
                target_feature = "avx512f",
                target_feature = "avx512bw",
                target_feature = "avx512vl",
                target_feature = "avx512dq"
            )
        )
    ))]
    Avx512 "avx512" in x86::avx512 if Kind::Avx2.is_here()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq");
    #[cfg(all(target_arch = "aarch64", target_endian = "little", any(feature = "std", target_feature = "neon")))]
    Neon "neon" in neon if std::arch::is_aarch64_feature_detected!("neon");
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    Simd128 "simd128" in wasm if true;
}

impl Isa {
    /// Portable Rust without explicit vector instructions, which every machine supports: eight lanes, computed one
    /// after the other.
    pub const SCALAR: Isa = Isa::of(Kind::Scalar);

    const fn of(kind: Kind) -> Isa {
        Isa { kind, dots: true }
    }

    /// Returns the same instruction set without instructions for dot products (VNNI), which [`compute`](crate::compute) uses
    /// if available. For tests and measurements.
    pub fn without_dot_products(self) -> Isa {
        Isa { dots: false, ..self }
    }

    /// Returns the widest instruction set of this machine, or the one that `GGUF_CODEC_ISA` names. Without the `std`
    /// feature, returns the widest one that the build enables (`-C target-feature`, `-C target-cpu`).
    pub fn detect() -> Isa {
        #[cfg(feature = "std")]
        {
            static CHOICE: OnceLock<Isa> = OnceLock::new();
            *CHOICE.get_or_init(|| match std::env::var("GGUF_CODEC_ISA") {
                Ok(name) => {
                    Isa::available().into_iter().find(|isa| isa.name() == name).unwrap_or_else(Isa::widest)
                }
                Err(_) => Isa::widest(),
            })
        }
        #[cfg(not(feature = "std"))]
        Isa::widest()
    }

    fn widest() -> Isa {
        Kind::ALL.iter().rfind(|kind| kind.is_here()).map_or(Isa::SCALAR, |&kind| Isa::of(kind))
    }

    /// Returns every instruction set of this machine that has kernels, the widest last. Without the `std` feature,
    /// returns those that the build enables.
    pub fn available() -> Vec<Isa> {
        Kind::ALL.iter().filter(|kind| kind.is_here()).map(|&kind| Isa::of(kind)).collect()
    }

    /// Returns `true` if kernels compiled for these sets can run with it.
    pub(crate) fn has(self, sets: CompiledFor) -> bool {
        match sets {
            CompiledFor::All => true,
            CompiledFor::Vectors => self.kind != Kind::Scalar,
            CompiledFor::Bf16Instructions => self.kind.rounds_to_bf16(),
        }
    }

    /// Returns `true` if it has [`Tiles`].
    pub(crate) fn has_tiles(self) -> bool {
        cfg!(target_arch = "x86_64") && self.kind != Kind::Scalar
    }

    /// Returns `true` if the multiplication of its tiles depends on the range of weights.
    pub(crate) fn tiles_tell_ranges(self) -> bool {
        !self.kind.has_dots(self.dots)
    }

    /// Returns its name, as used in `GGUF_CODEC_ISA`.
    pub fn name(self) -> &'static str {
        self.kind.name()
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
