//! Data to quantize, by kind. Each kind catches certain errors. `tests/golden/make_golden.py` has the
//! same kinds, except `overflowing` and `from_zero`. Everything follows from a seed, which the tests print.

use gguf_codec::GgmlType;

/// SplitMix64: small, and good enough for test data.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Rng(seed)
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.unit() * n as f64) as usize
    }

    /// Mean 0, standard deviation 1, by the Box-Muller method.
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// 1 or -1.
    fn sign(&mut self) -> f64 {
        if self.bits() & 1 == 0 { 1.0 } else { -1.0 }
    }
}

/// The standard deviation of a typical model's weights.
const SIGMA: f64 = 0.02;

/// A kind of data: its name, and `n` values of it.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    make: fn(&mut Rng, usize) -> Vec<f64>,
}

impl Kind {
    pub(crate) fn values(&self, rng: &mut Rng, n: usize) -> Vec<f32> {
        (self.make)(rng, n).into_iter().map(|value| value as f32).collect()
    }
}

pub(crate) const KINDS: &[Kind] = &[
    Kind { name: "normal", make: normal },
    Kind { name: "heavy_tailed", make: heavy_tailed },
    Kind { name: "tiny", make: |rng, n| each(n, || rng.normal() * 1e-9) },
    // Scales around the smallest normal f16 (6.1e-5) and the smallest subnormal (6e-8).
    Kind { name: "subnormal_scale", make: |rng, n| scaled(rng, n, -5.5, -1.5) },
    // Maxima, and scales derived from them, on both sides of 1e-15, below which searches treat everything as zero.
    Kind { name: "least_magnitude", make: |rng, n| scaled(rng, n, -15.2, -11.0) },
    Kind { name: "subnormal", make: |rng, n| each(n, || rng.normal() * 1e-39) },
    Kind { name: "zero", make: |rng, n| each(n, || if rng.unit() < 0.3 { -0.0 } else { 0.0 }) },
    Kind { name: "sparse", make: sparse },
    Kind { name: "constant_positive", make: |rng, n| vec![rng.between(0.01, 10.0); n] },
    Kind { name: "constant_negative", make: |rng, n| vec![-rng.between(0.01, 10.0); n] },
    Kind { name: "outlier", make: outlier },
    Kind { name: "positive", make: |rng, n| each(n, || rng.normal().abs() * SIGMA + 1e-3) },
    Kind { name: "negative", make: |rng, n| each(n, || -rng.normal().abs() * SIGMA - 1e-3) },
    // The minimum is a zero, of either sign.
    Kind { name: "from_zero", make: from_zero },
    Kind { name: "mixed_magnitudes", make: |rng, n| scaled(rng, n, -6.0, 3.0) },
    Kind { name: "tied", make: tied },
    // Maxima a few units in the last place below a power of two, whose logarithm may be rounded up to it.
    Kind { name: "below_power_of_two", make: below_power_of_two },
    // Sixteenths of the maximum, which is a power of two: values halfway between two quants.
    Kind { name: "coarse", make: coarse },
    // Scales around and above f16's maximum (65504), while the searches' sums of cubes stay finite.
    Kind { name: "large", make: |rng, n| by_run(rng, n, 256, |rng| 10f64.powf(rng.between(4.0, 10.0))) },
    // Some of the searches' sums overflow, and others do not.
    Kind {
        name: "overflowing",
        make: |rng, n| by_run(rng, n, 256, |rng| 10f64.powf(rng.between(10.0, 37.0))),
    },
    // Finite, and the searches' sums overflow.
    Kind { name: "huge", make: |rng, n| each(n, || rng.sign() * 10f64.powf(rng.between(12.0, 30.0))) },
];

fn each(n: usize, value: impl FnMut() -> f64) -> Vec<f64> {
    std::iter::repeat_with(value).take(n).collect()
}

/// Normal values, each run of `run` multiplied by its own factor.
fn by_run(rng: &mut Rng, n: usize, run: usize, factor: fn(&mut Rng) -> f64) -> Vec<f64> {
    let mut values = normal(rng, n);
    for run in values.chunks_mut(run) {
        let factor = factor(rng) / SIGMA;
        run.iter_mut().for_each(|value| *value *= factor);
    }
    values
}

fn normal(rng: &mut Rng, n: usize) -> Vec<f64> {
    each(n, || rng.normal() * SIGMA)
}

/// Student's t with 1.5 degrees of freedom, approximately: its variance is infinite.
fn heavy_tailed(rng: &mut Rng, n: usize) -> Vec<f64> {
    each(n, || rng.normal() * SIGMA / (1.0 - rng.unit()).powf(1.0 / 1.5))
}

/// Normal values with a separate magnitude, from 10^low to 10^high, for each 32 values.
fn scaled(rng: &mut Rng, n: usize, low: f64, high: f64) -> Vec<f64> {
    let mut values = normal(rng, n);
    for run in values.chunks_mut(32) {
        let factor = 10f64.powf(rng.between(low, high));
        run.iter_mut().for_each(|value| *value *= factor);
    }
    values
}

fn from_zero(rng: &mut Rng, n: usize) -> Vec<f64> {
    each(n, || if rng.unit() < 0.2 { 0.0 * rng.sign() } else { rng.normal().abs() * SIGMA })
}

/// Some blocks of zeros among others: a super-block with empty sub-blocks.
fn sparse(rng: &mut Rng, n: usize) -> Vec<f64> {
    by_run(rng, n, 32, |rng| if rng.unit() < 0.5 { 0.0 } else { SIGMA })
}

/// One value in each 32 is far larger than the others.
fn outlier(rng: &mut Rng, n: usize) -> Vec<f64> {
    let mut values = normal(rng, n);
    for run in values.chunks_mut(32) {
        let at = rng.below(run.len());
        run[at] *= 500.0;
    }
    values
}

/// The largest magnitude with both signs, twice: shows which of the equal magnitudes a search selects.
fn tied(rng: &mut Rng, n: usize) -> Vec<f64> {
    let mut values = normal(rng, n);
    for run in values.chunks_mut(32) {
        let top = run.iter().fold(0f64, |top, value| top.max(value.abs())) * 1.5;
        for sign in [1.0, -1.0, 1.0, -1.0] {
            let at = rng.below(run.len());
            run[at] = sign * top;
        }
    }
    values
}

/// The maximum of each 32 values is a power of two, less up to 63 units in the last place.
fn below_power_of_two(rng: &mut Rng, n: usize) -> Vec<f64> {
    let mut values = normal(rng, n);
    for run in values.chunks_mut(32) {
        let top = (1.0 - rng.below(64) as f64 * 2f64.powi(-24)) * 2f64.powi(rng.below(80) as i32 - 50);
        let greatest = run.iter().fold(0f64, |greatest, value| greatest.max(value.abs()));
        run.iter_mut().for_each(|value| *value *= 0.9 * top / greatest);
        let at = rng.below(run.len());
        run[at] = rng.sign() * top;
    }
    values
}

/// Sixteenths of a power of two for each 256 values, including the power itself.
fn coarse(rng: &mut Rng, n: usize) -> Vec<f64> {
    let mut values = each(n, || rng.below(33) as f64 / 16.0 - 1.0);
    for run in values.chunks_mut(256) {
        let at = rng.below(run.len());
        run[at] = rng.sign();
        let top = 2f64.powi(rng.below(40) as i32 - 20);
        run.iter_mut().for_each(|value| *value *= top);
    }
    values
}

/// Importance weights for a row, like those in an importance matrix: positive and uneven, with some zeros, and in a
/// few places 32 zeros in a row, which give a search nothing to weigh by.
pub(crate) fn importance(rng: &mut Rng, row_len: usize) -> Vec<f32> {
    let weight = || if rng.unit() < 0.05 { 0.0 } else { (2.0 * rng.normal()).exp() as f32 };
    let mut weights: Vec<f32> = std::iter::repeat_with(weight).take(row_len).collect();
    for run in weights.chunks_mut(32) {
        if rng.unit() < 0.05 {
            run.fill(0.0);
        }
    }
    weights
}

/// Blocks of random bytes: bit patterns, also of scales, that no quantizer writes.
pub(crate) fn random_blocks(rng: &mut Rng, ty: GgmlType, values: usize) -> Vec<u8> {
    let len = values / ty.block_len() * ty.block_bytes();
    std::iter::repeat_with(|| rng.bits() as u8).take(len).collect()
}

/// Whether ggml aborts when it quantizes such data: the formats with a grid assert that errors can be compared,
/// which fails where they overflow. `make_golden.py` excludes these too.
pub(crate) fn ends_ggml(ty: GgmlType, kind: &str) -> bool {
    use GgmlType::{IQ1_M, IQ1_S, IQ2_S, IQ2_XS, IQ2_XXS, IQ3_S, IQ3_XXS};
    ["huge", "overflowing"].contains(&kind)
        && [IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S, IQ1_S, IQ1_M].contains(&ty)
}
