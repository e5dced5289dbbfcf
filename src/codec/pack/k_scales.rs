//! Eight 6-bit scales and eight 6-bit mins in 12 bytes, as Q4_K and Q5_K store them.
//!
//! ```text
//! byte 0..4    scale[0..4] in bits 0..6, bits 4..6 of scale[4..8] in bits 6..8
//! byte 4..8    min[0..4]   in bits 0..6, bits 4..6 of min[4..8]   in bits 6..8
//! byte 8..12   bits 0..4 of scale[4..8] in the low nibble, of min[4..8] in the high one
//! ```

/// Returns the scales and the mins, each in 0..64.
#[inline(always)]
pub(in crate::codec) fn unpack(packed: &[u8; 12]) -> ([u8; 8], [u8; 8]) {
    // Processes four bytes at a time. No bits cross between bytes.
    let word = |at: usize| u32::from_le_bytes([packed[at], packed[at + 1], packed[at + 2], packed[at + 3]]);
    let (scales, mins, rest) = (word(0), word(4), word(8));
    let low = |word: u32| word & 0x3f3f_3f3f;
    let high = |word: u32, rest: u32| (rest & 0x0f0f_0f0f) | ((word >> 2) & 0x3030_3030);
    let join = |low: u32, high: u32| (u64::from(low) | u64::from(high) << 32).to_le_bytes();
    (join(low(scales), high(scales, rest)), join(low(mins), high(mins, rest >> 4)))
}

/// Packs scales and mins. A value above 63, which ggml's search can produce if sums overflow, spills into its
/// neighbour's bits exactly as in ggml.
#[inline(always)]
pub(in crate::codec) fn pack(scales: &[u8; 8], mins: &[u8; 8]) -> [u8; 12] {
    let mut packed = [0; 12];
    packed[..4].copy_from_slice(&scales[..4]);
    packed[4..8].copy_from_slice(&mins[..4]);
    for j in 0..4 {
        packed[j + 8] = (scales[j + 4] & 15) | (mins[j + 4] << 4);
        packed[j] |= (scales[j + 4] >> 4) << 6;
        packed[j + 4] |= (mins[j + 4] >> 4) << 6;
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_unpacks() {
        for value in 0..64 {
            for at in 0..8 {
                let (mut scales, mut mins) = ([21; 8], [42; 8]);
                scales[at] = value;
                mins[7 - at] = value;
                assert_eq!(unpack(&pack(&scales, &mins)), (scales, mins));
            }
        }
    }

    /// Derived by hand from ggml's `quantize_row_q4_K_ref`, which does not clamp: the bits above the sixth stay where
    /// they are, and those of the second half are added to them.
    #[test]
    fn what_does_not_fit_runs_into_its_neighbour() {
        let packed = pack(
            &[0x40, 0xc5, 0xff, 0x80, 0x1a, 0x7b, 0xf0, 0x2c],
            &[0xc1, 0, 0x40, 0x3f, 0x15, 0xff, 0x1e, 0x80],
        );
        let want = [
            0x40 | 0x40, // 0x1a >> 4 is 1, and the bit is already set
            0xc5 | 0xc0, // 0x7b >> 4 is 7, of which two bits are left
            0xff | 0xc0,
            0x80,
            0xc1 | 0x40,
            0xc0,
            0x40 | 0x40,
            0x3f,
            0x5a,
            0xfb,
            0xe0,
            0x0c,
        ];
        assert_eq!(packed, want, "{packed:02x?}");
    }
}
