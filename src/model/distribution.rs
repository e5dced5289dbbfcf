//! [`Distribution`]: how values are distributed, computed in one pass.

use std::ops::{AddAssign, Range};

/// The number of bins on each side of zero.
const SIDE: usize = 1024;
/// The exponent of the smallest `f32`. No bin needs to be narrower.
const LEAST: i32 = -149;

/// The distribution of values: a histogram with their extremes, mean and deviation.
///
/// It is computed in one pass, in a fixed 16 KiB, without knowing the range of the values in advance. The width of the
/// bins is a power of two. If a value is outside the bins, the width doubles and neighbours are merged. So the histogram
/// of a whole equals the sum of its parts' histograms exactly, however it was divided.
///
/// ```
/// use gguf_codec::model::Distribution;
/// let mut distribution = Distribution::default();
/// distribution.add(&[0.5, -0.25, 0.5, f32::NAN]);
/// assert_eq!((distribution.min(), distribution.max()), (Some(-0.25), Some(0.5)));
/// assert_eq!((distribution.finite(), distribution.not_finite()), (3, 1));
/// let bars = distribution.histogram(-1.0..1.0, 4);
/// assert_eq!(bars, [0, 1, 0, 2]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    bins: Bins,
    /// The width of the bins is 2 to this power.
    exponent: i32,
    finite: u64,
    not_finite: u64,
    zeros: u64,
    min: f32,
    max: f32,
    sum: f64,
    squares: f64,
}

/// Bin `i` counts values from `i - SIDE` to below `i - SIDE + 1`, in bin widths. There are no bins if there are no values.
#[derive(Debug, Clone, Default)]
struct Bins {
    /// The counts of all bins, or empty.
    all: Vec<u64>,
    /// The nonempty bins, if `all` is empty. This is the compact form for many tensors with few values.
    few: Vec<(u16, u64)>,
}

impl Bins {
    fn is_empty(&self) -> bool {
        self.all.is_empty() && self.few.is_empty()
    }

    /// Returns the nonempty bins in order.
    fn counts(&self) -> impl Iterator<Item = (usize, u64)> {
        let all =
            self.all.iter().enumerate().filter(|(_, count)| **count > 0).map(|(bin, &count)| (bin, count));
        all.chain(self.few.iter().map(|&(bin, count)| (usize::from(bin), count)))
    }

    /// Returns all bins.
    fn all(&mut self) -> &mut [u64] {
        if self.all.is_empty() {
            let few = std::mem::take(&mut self.few);
            self.all = vec![0; 2 * SIDE];
            few.into_iter().for_each(|(bin, count)| self.all[usize::from(bin)] = count);
        }
        &mut self.all
    }

    /// Keeps only the nonempty bins if that takes less memory.
    fn compact(&mut self) {
        let few: Vec<_> =
            self.counts().filter_map(|(bin, count)| Some((u16::try_from(bin).ok()?, count))).collect();
        if 4 * few.len() < 2 * SIDE {
            *self = Bins { all: Vec::new(), few };
        }
    }
}

impl PartialEq for Bins {
    fn eq(&self, other: &Self) -> bool {
        self.counts().eq(other.counts())
    }
}

impl Default for Distribution {
    fn default() -> Self {
        Distribution {
            bins: Bins::default(),
            exponent: LEAST,
            finite: 0,
            not_finite: 0,
            zeros: 0,
            min: f32::INFINITY,
            max: f32::NEG_INFINITY,
            sum: 0.0,
            squares: 0.0,
        }
    }
}

impl Distribution {
    /// Counts the values. NaN and infinite values are counted separately.
    pub fn add(&mut self, values: &[f32]) {
        let (mut min, mut max) = (self.min, self.max);
        for &value in values.iter().filter(|value| value.is_finite()) {
            (min, max) = (min.min(value), max.max(value));
        }
        if min > max {
            self.not_finite += values.len() as u64;
            return;
        }
        (self.min, self.max) = (min, max);
        self.widen(exponent_for(min.abs().max(max.abs())));
        let scale = 2f64.powi(-self.exponent);
        let bins = self.bins.all();
        for &value in values {
            if !value.is_finite() {
                self.not_finite += 1;
                continue;
            }
            let wide = f64::from(value);
            self.finite += 1;
            self.zeros += u64::from(value == 0.0);
            self.sum += wide;
            self.squares += wide * wide;
            // Scaling by a power of two does not round, so floor determines the bin of a value exactly.
            let bin = ((wide * scale).floor() as i64 + SIDE as i64) as usize;
            if let Some(count) = bins.get_mut(bin) {
                *count += 1;
            }
        }
    }

    /// Merges neighbours until the width of the bins is 2 to this power.
    fn widen(&mut self, exponent: i32) {
        if self.bins.is_empty() {
            self.exponent = exponent;
            return;
        }
        let doublings = exponent - self.exponent;
        if doublings <= 0 {
            return;
        }
        let mut bins = Bins::default();
        for (i, count) in self.bins.counts() {
            // Shifting rounds down, also below zero.
            let bin = (i as i64 - SIDE as i64) >> doublings.min(63);
            bins.all()[(bin + SIDE as i64) as usize] += count;
        }
        (self.bins, self.exponent) = (bins, exponent);
    }

    /// Reduces memory if only few bins have values, until more values are added.
    pub(crate) fn compact(&mut self) {
        self.bins.compact();
    }

    /// Returns the number of finite values.
    pub fn finite(&self) -> u64 {
        self.finite
    }

    /// Returns the number of NaN and infinite values.
    pub fn not_finite(&self) -> u64 {
        self.not_finite
    }

    /// Returns the number of values that are 0.
    pub fn zeros(&self) -> u64 {
        self.zeros
    }

    /// Returns the least finite value.
    pub fn min(&self) -> Option<f32> {
        (self.finite > 0).then_some(self.min)
    }

    /// Returns the greatest finite value.
    pub fn max(&self) -> Option<f32> {
        (self.finite > 0).then_some(self.max)
    }

    /// Returns the mean of the finite values, or 0 if there are none.
    pub fn mean(&self) -> f64 {
        self.sum / self.finite.max(1) as f64
    }

    /// Returns the standard deviation of the finite values, or 0 if there are none.
    pub fn std_dev(&self) -> f64 {
        (self.squares / self.finite.max(1) as f64 - self.mean().powi(2)).max(0.0).sqrt()
    }

    /// Returns the least magnitude that at least this fraction of the values (from 0 to 1) does not exceed, rounded
    /// up to a bin's edge, or 0 if there are no values. This is useful as a display range if there are a few
    /// outliers: `quantile(0.999)`.
    pub fn quantile(&self, part: f64) -> f64 {
        let wanted = (self.finite as f64 * part).ceil() as u64;
        let mut inside = 0;
        let mut bins = self.bins.clone();
        let bins = if bins.is_empty() { &[] } else { &*bins.all() };
        for distance in 0..bins.len() / 2 {
            inside += bins[SIDE + distance] + bins[SIDE - 1 - distance];
            if inside >= wanted {
                return (distance + 1) as f64 * 2f64.powi(self.exponent);
            }
        }
        f64::from(self.min.abs().max(self.max.abs()).min(f32::MAX))
    }

    /// Returns a histogram with `count` bars over a range. Values outside are omitted. If two bars share a bin, its
    /// values are divided as if they were evenly spread, rounded so that none is lost.
    pub fn histogram(&self, range: Range<f64>, count: usize) -> Vec<u64> {
        let mut bars = vec![0; count];
        let (width, bar) = (2f64.powi(self.exponent), (range.end - range.start) / count as f64);
        if bar.is_nan() || bar <= 0.0 {
            return bars;
        }
        // The position of a bin's edge, in bars.
        let at = |bin: usize| (((bin as f64 - SIDE as f64) * width) - range.start) / bar;
        for (bin, values) in self.bins.counts() {
            let (from, to) = (at(bin), at(bin + 1));
            if to <= 0.0 || from >= count as f64 {
                continue;
            }
            let below =
                |edge: f64| (values as f64 * ((edge - from) / (to - from)).clamp(0.0, 1.0)).round() as u64;
            let first = from.floor().max(0.0) as usize;
            let last = (to.ceil() as usize).min(count);
            for (index, bar) in bars.iter_mut().enumerate().take(last).skip(first) {
                *bar += below(index as f64 + 1.0) - below(index as f64);
            }
        }
        bars
    }
}

impl AddAssign<&Distribution> for Distribution {
    fn add_assign(&mut self, other: &Distribution) {
        self.not_finite += other.not_finite;
        if other.finite == 0 {
            return;
        }
        self.widen(other.exponent);
        let doublings = (self.exponent - other.exponent).min(63);
        let bins = self.bins.all();
        for (i, count) in other.bins.counts() {
            bins[(((i as i64 - SIDE as i64) >> doublings) + SIDE as i64) as usize] += count;
        }
        self.finite += other.finite;
        self.zeros += other.zeros;
        (self.min, self.max) = (self.min.min(other.min), self.max.max(other.max));
        self.sum += other.sum;
        self.squares += other.squares;
    }
}

/// Returns the exponent of the narrowest bin width for which this magnitude is below the end of the last bin.
fn exponent_for(magnitude: f32) -> i32 {
    let mut exponent = LEAST;
    if magnitude > 0.0 {
        // Start near the logarithm, which may be rounded to the wrong side of a power of two.
        exponent = exponent.max(f64::from(magnitude).log2() as i32 - SIDE.ilog2() as i32 - 2);
        while f64::from(magnitude) >= SIDE as f64 * 2f64.powi(exponent) {
            exponent += 1;
        }
    }
    exponent
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[f32]) -> Distribution {
        let mut distribution = Distribution::default();
        distribution.add(values);
        distribution
    }

    /// A distribution without its sums, whose rounding depends on their order.
    type Counts = (Vec<(usize, u64)>, i32, [u64; 3], [Option<f32>; 2]);

    fn counts(distribution: &Distribution) -> Counts {
        let Distribution { bins, exponent, finite, not_finite, zeros, .. } = distribution.clone();
        (
            bins.counts().collect::<Vec<_>>(),
            exponent,
            [finite, not_finite, zeros],
            [distribution.min(), distribution.max()],
        )
    }

    proptest! {
        #[test]
        fn the_whole_is_the_sum_of_its_parts(
            bits in prop::collection::vec(any::<u32>(), 0..200), cuts in prop::collection::vec(1usize..40, 1..9)
        ) {
            let values: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
            let (mut pieces, mut sum) = (Distribution::default(), Distribution::default());
            let (mut rest, mut cuts) = (&values[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (piece, others) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                pieces.add(piece);
                pieces.compact();
                sum += &of(piece);
                rest = others;
            }
            prop_assert_eq!(counts(&pieces), counts(&of(&values)));
            prop_assert_eq!(counts(&sum), counts(&of(&values)));
        }

        #[test]
        fn every_finite_value_is_in_a_bin(bits in prop::collection::vec(any::<u32>(), 0..200)) {
            let values: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
            let distribution = of(&values);
            prop_assert_eq!(distribution.bins.counts().map(|(_, count)| count).sum::<u64>(), distribution.finite());
            prop_assert_eq!(distribution.finite() + distribution.not_finite(), values.len() as u64);
            let all = 2.0 * distribution.quantile(1.0);
            if all.is_finite() && all > 0.0 {
                prop_assert_eq!(distribution.histogram(-all..all, 7).iter().sum::<u64>(), distribution.finite());
            }
        }
    }

    #[test]
    fn figures_are_what_their_names_say() {
        let distribution = of(&[1.0, -1.0, 3.0, 0.0, f32::INFINITY]);
        assert_eq!((distribution.mean(), distribution.zeros(), distribution.not_finite()), (0.75, 1, 1));
        assert!((distribution.std_dev() - 2.1875f64.sqrt()).abs() < 1e-12);
        assert_eq!(distribution.histogram(0.0..4.0, 4), [1, 1, 0, 1]);
        assert!((1.0..1.01).contains(&distribution.quantile(0.75)) && distribution.quantile(1.0) >= 3.0);
    }

    #[test]
    fn nothing_there() {
        for distribution in [Distribution::default(), of(&[]), of(&[f32::NAN])] {
            assert_eq!((distribution.min(), distribution.mean(), distribution.std_dev()), (None, 0.0, 0.0));
            assert_eq!(distribution.histogram(-1.0..1.0, 3), [0; 3]);
            assert!(distribution.quantile(0.5) >= 0.0);
        }
        assert_eq!(of(&[0.0; 5]).histogram(0.0..0.0, 2), [0, 0]);
    }
}
