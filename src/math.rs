//! Float functions that core lacks: those of std or, without std, equal ones to the bit, except for the logarithm.

#[cfg(not(feature = "std"))]
pub(crate) use without_std::{log10, round, sqrt, sqrt_f64};

/// Returns the square root, rounded to nearest.
#[cfg(feature = "std")]
#[inline(always)]
pub(crate) fn sqrt(x: f32) -> f32 {
    x.sqrt()
}

/// Like [`sqrt`], in double precision.
#[cfg(feature = "std")]
pub(crate) fn sqrt_f64(x: f64) -> f64 {
    x.sqrt()
}

/// Returns the nearest integer, rounding half away from zero.
#[cfg(feature = "std")]
pub(crate) fn round(x: f32) -> f32 {
    x.round()
}

/// Returns the logarithm to base 10.
#[cfg(feature = "std")]
pub(crate) fn log10(x: f64) -> f64 {
    x.log10()
}

#[cfg(any(not(feature = "std"), test))]
mod without_std {
    use core::f64::consts::{LOG10_2, LOG10_E, SQRT_2};

    /// Square roots computed with core's integer square root.
    macro_rules! square_roots {
        ($($name:ident: $float:ident, $wide:ident, $root:ident, $bits:ident;)*) => {$(
            pub(crate) fn $name(x: $float) -> $float {
                const FRACTION_BITS: u32 = $float::MANTISSA_DIGITS - 1;
                const BIAS: i32 = $float::MAX_EXP - 1;
                if x == 0.0 || x == $float::INFINITY {
                    return x;
                }
                if x.is_nan() || x < 0.0 {
                    return $float::NAN;
                }
                let (stored, fraction) = (x.to_bits() >> FRACTION_BITS, x.to_bits() & ((1 << FRACTION_BITS) - 1));
                let hidden = $bits::from(stored > 0) << FRACTION_BITS;
                let mut square = $wide::from(fraction | hidden);
                let mut exponent = stored.max(1) as i32 - BIAS - FRACTION_BITS as i32;
                // Shift left as far as possible while keeping the exponent even, because it is halved.
                let zeros = square.leading_zeros() as i32;
                let shift = zeros - (exponent - zeros).rem_euclid(2);
                square <<= shift;
                exponent -= shift;
                // This has more bits than a float. The last bit records whether more bits follow, which rounding must know.
                let floor = square.isqrt();
                let root = floor as $root | $root::from(floor * floor != square);
                // The exponent is between half the smallest and half the largest: powers of two by which multiplication is exact.
                root as $float * $float::from_bits(((exponent / 2 + BIAS) as $bits) << FRACTION_BITS)
            }
        )*};
    }

    square_roots! {
        sqrt: f32, u64, u32, u32;
        sqrt_f64: f64, u128, u64, u64;
    }

    pub(crate) fn round(x: f32) -> f32 {
        // From 2^23 on all floats are integers. NaN is returned unchanged.
        if x.is_nan() || x.abs() >= 8_388_608.0 {
            return x;
        }
        let below = (x.abs() as u32) as f32;
        let up = if x.abs() - below >= 0.5 { 1.0 } else { 0.0 };
        (below + up).copysign(x)
    }

    /// Accurate to four units in the last place.
    pub(crate) fn log10(x: f64) -> f64 {
        if x == 0.0 {
            return f64::NEG_INFINITY;
        }
        if x.is_nan() || x < 0.0 {
            return f64::NAN;
        }
        if x == f64::INFINITY {
            return x;
        }
        // Subnormal numbers are multiplied by 2^54 to become normal.
        let (x, scaled) = if x < f64::MIN_POSITIVE { (x * (1u64 << 54) as f64, 54) } else { (x, 0) };
        let mut exponent = (x.to_bits() >> 52) as i32 - 1023 - scaled;
        let mut m = f64::from_bits(x.to_bits() & ((1 << 52) - 1) | 1023 << 52);
        if m > SQRT_2 {
            m /= 2.0;
            exponent += 1;
        }
        // ln m = 2 (z + z³/3 + z⁵/5 + …), and z is at most 0.172, so the 13th term is too small to matter.
        let z = (m - 1.0) / (m + 1.0);
        let terms = (0..12).rev().map(|k| 1.0 / f64::from(2 * k + 1));
        let series = terms.fold(0.0, |sum, term| sum * (z * z) + term);
        f64::from(exponent) * LOG10_2 + 2.0 * z * series * LOG10_E
    }
}

#[cfg(test)]
mod tests {
    use super::without_std;

    /// Returns every exponent, with fractions at both ends, around the middle, and spread over the rest.
    fn f32s() -> impl Iterator<Item = f32> {
        let fractions = [0, 1, 2, 0x3F_FFFF, 0x40_0000, 0x40_0001, 0x7F_FFFE, 0x7F_FFFF];
        let spread = (0..4000u32).map(|i| i.wrapping_mul(0x9E37_79B9) >> 9);
        let fractions: Vec<u32> = fractions.into_iter().chain(spread).collect();
        (0..=0x1FFu32)
            .flat_map(move |top| fractions.clone().into_iter().map(move |f| f32::from_bits(top << 23 | f)))
    }

    fn f64s() -> impl Iterator<Item = f64> {
        let fractions = [0, 1, 2, (1 << 51) - 1, 1 << 51, (1 << 52) - 2, (1 << 52) - 1];
        let spread = (0..100u64).map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 12);
        let fractions: Vec<u64> = fractions.into_iter().chain(spread).collect();
        (0..=0xFFFu64)
            .flat_map(move |top| fractions.clone().into_iter().map(move |f| f64::from_bits(top << 52 | f)))
    }

    #[test]
    fn square_roots_are_those_of_std() {
        for x in f32s() {
            let (root, wanted) = (without_std::sqrt(x), x.sqrt());
            assert!(
                root.to_bits() == wanted.to_bits() || root.is_nan() && wanted.is_nan(),
                "{x:e}: {root:e}, {wanted:e}"
            );
        }
        for x in f64s() {
            let (root, wanted) = (without_std::sqrt_f64(x), x.sqrt());
            assert!(
                root.to_bits() == wanted.to_bits() || root.is_nan() && wanted.is_nan(),
                "{x:e}: {root:e}, {wanted:e}"
            );
        }
        // Squares and their neighbours, whose roots are near the midpoint between two floats.
        for root in (0x80_0000..0x100_0000u32).step_by(101).map(|bits| bits as f32) {
            for x in [root * root, (root * root).next_up(), (root * root).next_down()] {
                assert_eq!(without_std::sqrt(x).to_bits(), x.sqrt().to_bits(), "{x:e}");
            }
        }
    }

    #[test]
    fn integers_are_those_of_std() {
        let halves = (-20..20).map(|i| i as f32 / 2.0).flat_map(|x| [x, x.next_up(), x.next_down()]);
        for x in f32s().chain(halves) {
            assert!(without_std::round(x).to_bits() == x.round().to_bits() || x.is_nan(), "{x:e}");
        }
    }

    #[test]
    fn logarithms_are_near_those_of_std() {
        for x in f64s().chain((1..4000).map(|i| f64::from(i) / 1000.0)) {
            let (log, wanted) = (without_std::log10(x), x.log10());
            let near = (log - wanted).abs() <= 4.0 * f64::EPSILON * wanted.abs();
            assert!(near || log == wanted || log.is_nan() && wanted.is_nan(), "{x:e}: {log:e}, {wanted:e}");
        }
    }
}
