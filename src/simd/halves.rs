//! Conversions between single and half precision, and bfloats, of one value.

/// Widens a half float exactly. A NaN keeps its sign and payload and becomes quiet, as in hardware.
#[inline(always)]
pub(crate) fn f16_to_f32(half: u16) -> f32 {
    let sign = u32::from(half & 0x8000) << 16;
    let magnitude = u32::from(half & 0x7fff);
    let bits = if magnitude >= 0x7c00 {
        let quiet = if magnitude > 0x7c00 { 0x0040_0000 } else { 0 };
        0x7f80_0000 | (magnitude & 0x03ff) << 13 | quiet
    } else if magnitude >= 0x0400 {
        // Exponent bias 15 becomes 127.
        (magnitude << 13) + ((127 - 15) << 23)
    } else {
        // Subnormal: the fraction counts units of 2^-24, and the product is exact.
        (magnitude as f32 * (1.0 / 16_777_216.0)).to_bits()
    };
    f32::from_bits(sign | bits)
}

/// Rounds a float to the nearest half, ties to even. NaN becomes `0x7E00` with its sign, as in ggml.
#[inline(always)]
pub(crate) fn f32_to_f16(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16) as u16 & 0x8000;
    let magnitude = bits & 0x7fff_ffff;
    let half = if magnitude > 0x7f80_0000 {
        0x7e00
    } else if magnitude >= 0x4780_0000 {
        // 2^16 and above, including infinity.
        0x7c00
    } else if magnitude >= 0x3880_0000 {
        // Normal: rebias, and round the 13 bits that are dropped. A carry goes into the exponent, up to infinity.
        let rebiased = magnitude - ((127 - 15) << 23);
        ((rebiased + 0x0fff + ((rebiased >> 13) & 1)) >> 13) as u16
    } else {
        // Subnormal: the last place of one half is 2^-24, so the addition itself rounds to it.
        (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0.5f32.to_bits()) as u16
    };
    sign | half
}

/// Rounds a float to the nearest bfloat, ties to even. NaN keeps its upper bits and becomes quiet.
#[inline(always)]
pub(crate) fn f32_to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    if bits & 0x7fff_ffff > 0x7f80_0000 {
        return (bits >> 16) as u16 | 0x0040;
    }
    ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;

    #[test]
    fn half_floats_widen_as_the_half_crate_does() {
        for bits in 0..=u16::MAX {
            assert_eq!(f16_to_f32(bits).to_bits(), f16::from_bits(bits).to_f32().to_bits(), "{bits:#06x}");
        }
    }

    #[test]
    fn floats_round_to_halves_and_bfloats_as_the_half_crate_does() {
        // Every exponent and sign, with fractions around every rounding boundary.
        for upper in 0..=u16::MAX {
            for lower in
                [0, 1, 0x0fff, 0x1000, 0x1001, 0x1fff, 0x2fff, 0x3000, 0x7fff, 0x8000, 0x8001, 0xffff]
            {
                let value = f32::from_bits(u32::from(upper) << 16 | lower);
                if value.is_nan() {
                    let sign = if value.is_sign_negative() { 0x8000 } else { 0 };
                    assert_eq!(f32_to_f16(value), 0x7e00 | sign);
                    assert_eq!(f32_to_bf16(value), upper | 0x0040);
                } else {
                    assert_eq!(f32_to_f16(value), f16::from_f32(value).to_bits(), "{value:e}");
                    assert_eq!(f32_to_bf16(value), bf16::from_f32(value).to_bits(), "{value:e}");
                }
            }
        }
    }
}
