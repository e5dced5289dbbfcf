//! The values of 4-bit and 8-bit float codes.

/// E2M1: 0, 0.5, 1, 1.5, 2, 3, 4, 6, and the same with a minus sign.
pub(crate) const E2M1: [f32; 16] =
    [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0];

/// E4M3FN: a bias of 7, with subnormals and without infinity. The code of all ones is NaN.
pub(crate) const E4M3: [f32; 256] = table(4, 3, 7, true);
/// E5M2: a bias of 15, like the upper half of an IEEE half.
pub(crate) const E5M2: [f32; 256] = table(5, 2, 15, false);

/// E8M0: 2^(code − 127), and NaN for 255.
pub(crate) const E8M0: [f32; 256] = {
    let mut table = [f32::NAN; 256];
    let mut code = 0;
    while code < 255u32 {
        table[code as usize] = f32::from_bits(if code == 0 { 1 << 22 } else { code << 23 });
        code += 1;
    }
    table
};

const fn table(exponent_bits: u32, mantissa_bits: u32, bias: u32, finite: bool) -> [f32; 256] {
    let mut table = [0.0; 256];
    let greatest = (1 << exponent_bits) - 1;
    let mut code = 0;
    while code < 256u32 {
        let (exponent, mantissa) = (code >> mantissa_bits & greatest, code & ((1 << mantissa_bits) - 1));
        let is_special = exponent == greatest && (!finite || mantissa == (1 << mantissa_bits) - 1);
        let magnitude = if is_special {
            if !finite && mantissa == 0 { f32::INFINITY } else { f32::NAN }
        } else if exponent == 0 {
            // A multiple of the smallest subnormal number, so it is exact.
            mantissa as f32 * f32::from_bits((127 + 1 - bias - mantissa_bits) << 23)
        } else {
            f32::from_bits((exponent + 127 - bias) << 23 | mantissa << (23 - mantissa_bits))
        };
        table[code as usize] = if code & 0x80 != 0 { -magnitude } else { magnitude };
        code += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_stand_for_what_the_formats_say() {
        assert_eq!(
            (E4M3[0x38], E4M3[0x7e], E4M3[0x01], E4M3[0x88]),
            (1.0, 448.0, 2f32.powi(-9), -2f32.powi(-6))
        );
        assert!(E4M3[0x7f].is_nan() && E4M3[0xff].is_nan() && E4M3[0x80].to_bits() == 1 << 31);
        assert_eq!(
            (E5M2[0x3c], E5M2[0x7b], E5M2[0x01], E5M2[0xfc]),
            (1.0, 57344.0, 2f32.powi(-16), f32::NEG_INFINITY)
        );
        assert_eq!((E8M0[127], E8M0[0], E8M0[254]), (1.0, 2f32.powi(-127), 2f32.powi(127)));
        assert!(E8M0[255].is_nan());
        for (code, &value) in E5M2.iter().enumerate() {
            let half = half::f16::from_bits((code as u16) << 8).to_f32();
            assert!(value == half || value.is_nan() && half.is_nan(), "{code}");
        }
    }
}
