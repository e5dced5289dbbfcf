//! [`Packing`]: the order of codes of 1 to 8 bits in bytes.

use alloc::format;

use crate::error::{Error, Measured, Result};

/// The order in which codes of a few bits are packed.
///
/// ```text
/// bits             31                            0
/// LowFirst, 4 bit  | q7 q6 q5 q4 q3 q2 q1 q0 |     bytes and little-endian words alike
/// HighFirst        | q6 q7 q4 q5 q2 q3 q0 q1 |     the first code in the high bits of a byte
/// Awq              | q7 q5 q3 q1 q6 q4 q2 q0 |     even codes, then odd ones
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Packing {
    /// A bit stream, lowest bit first: GPTQ, compressed-tensors. Codes of 3, 5, 6 and 7 bits straddle bytes and words.
    LowFirst,
    /// A bit stream, the highest bit of each byte first: bitsandbytes.
    HighFirst,
    /// 32-bit words, lowest bits first, with as many whole codes as fit: older compressed-tensors.
    Words,
    /// 32-bit words of eight 4-bit codes, in the order 0, 2, 4, 6, 1, 3, 5, 7: AWQ's `gemm`.
    Awq,
}

/// The position of each code in an AWQ word, in units of four bits.
const AWQ_POSITIONS: [usize; 8] = [0, 4, 1, 5, 2, 6, 3, 7];

impl Packing {
    /// Returns the number of bytes that `count` codes of `bits` bits take, or `None` if the count is too large or the order
    /// does not support codes of this width.
    ///
    /// ```
    /// use gguf_codec::affine::Packing;
    /// assert_eq!(Packing::LowFirst.packed_len(3, 32), Some(12));
    /// assert_eq!(Packing::Words.packed_len(3, 32), Some(16), "ten codes to a word");
    /// assert_eq!(Packing::Awq.packed_len(3, 32), None);
    /// ```
    pub fn packed_len(self, bits: u32, count: usize) -> Option<usize> {
        if !(1..=8).contains(&bits) || self == Packing::Awq && bits != 4 {
            return None;
        }
        match self {
            Packing::LowFirst | Packing::HighFirst => Some(count.checked_mul(bits as usize)?.div_ceil(8)),
            Packing::Words | Packing::Awq => count.div_ceil(32 / bits as usize).checked_mul(4),
        }
    }

    /// Packs codes, each of which must be less than 2^bits.
    ///
    /// # Errors
    /// [`Error::Length`] if the length of `packed` is not [`packed_len`](Self::packed_len), and [`Error::Write`] for a code
    /// that is too large.
    pub fn pack(self, bits: u32, codes: &[u8], packed: &mut [u8]) -> Result<()> {
        self.check(bits, codes.len(), packed.len())?;
        if let Some(at) = codes.iter().position(|&code| u32::from(code) >> bits != 0) {
            return Err(Error::write(format!("code {at} is {}, and has {bits} bits", codes[at])));
        }
        packed.fill(0);
        for (index, &code) in codes.iter().enumerate() {
            let (byte, shift) = self.place(bits, index);
            let wide = u16::from(code) << shift;
            match self {
                // The high end of a byte comes first, so the remaining bits go to the top of the next byte.
                Packing::HighFirst if shift + bits > 8 => {
                    packed[byte] |= code >> (shift + bits - 8);
                    packed[byte + 1] |= code << (16 - shift - bits);
                }
                Packing::HighFirst => packed[byte] |= code << (8 - shift - bits),
                _ => {
                    packed[byte] |= wide as u8;
                    if wide > 0xff {
                        packed[byte + 1] |= (wide >> 8) as u8;
                    }
                }
            }
        }
        Ok(())
    }

    /// Unpacks codes that [`pack`](Self::pack) packed.
    ///
    /// ```
    /// use gguf_codec::affine::Packing;
    /// let mut codes = [0; 4];
    /// Packing::HighFirst.unpack(4, &[0x12, 0x34], &mut codes)?;
    /// assert_eq!(codes, [1, 2, 3, 4]);
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Length`] if the length of `packed` is not [`packed_len`](Self::packed_len).
    pub fn unpack(self, bits: u32, packed: &[u8], codes: &mut [u8]) -> Result<()> {
        self.check(bits, codes.len(), packed.len())?;
        self.unpack_from(bits, packed, 0, codes);
        Ok(())
    }

    /// Unpacks codes starting at index `first`. The bytes must contain them.
    #[cfg_attr(not(feature = "safetensors"), allow(dead_code, reason = "others begin with the first"))]
    pub(crate) fn unpack_from(self, bits: u32, packed: &[u8], first: usize, codes: &mut [u8]) {
        let mask = (0xff >> (8 - bits)) as u8;
        if bits == 8 {
            codes.copy_from_slice(&packed[first..first + codes.len()]);
            return;
        }
        // Most data consists of whole bytes of two codes.
        if bits == 4 && self != Packing::Awq && first.is_multiple_of(2) {
            let bytes = &packed[first / 2..];
            let (pairs, last) = codes.as_chunks_mut::<2>();
            let high_first = self == Packing::HighFirst;
            for (pair, &byte) in pairs.iter_mut().zip(bytes) {
                *pair = if high_first { [byte >> 4, byte & 15] } else { [byte & 15, byte >> 4] };
            }
            if let [last] = last {
                let byte = bytes[pairs.len()];
                *last = if high_first { byte >> 4 } else { byte & 15 };
            }
            return;
        }
        let (first, codes) = match (self, bits) {
            _ if !first.is_multiple_of(8) => (first, codes),
            (Packing::Awq, _) => {
                let (eights, rest) = codes.as_chunks_mut::<8>();
                for (word, eight) in packed[first / 2..].as_chunks::<4>().0.iter().zip(&mut *eights) {
                    let word = u32::from_le_bytes(*word);
                    for (code, at) in eight.iter_mut().zip(AWQ_POSITIONS) {
                        *code = (word >> (4 * at)) as u8 & 15;
                    }
                }
                (first + 8 * eights.len(), rest)
            }
            (Packing::LowFirst, 1) => unpack_eights::<1>(packed, first, codes),
            (Packing::LowFirst, 2) => unpack_eights::<2>(packed, first, codes),
            (Packing::LowFirst, 3) => unpack_eights::<3>(packed, first, codes),
            (Packing::LowFirst, 5) => unpack_eights::<5>(packed, first, codes),
            (Packing::LowFirst, 6) => unpack_eights::<6>(packed, first, codes),
            (Packing::LowFirst, 7) => unpack_eights::<7>(packed, first, codes),
            _ => (first, codes),
        };
        for (index, code) in (first..).zip(codes) {
            let (byte, shift) = self.place(bits, index);
            let next = || u16::from(packed.get(byte + 1).copied().unwrap_or(0));
            *code = match self {
                Packing::HighFirst => ((u16::from(packed[byte]) << 8 | next()) >> (16 - shift - bits)) as u8,
                _ if shift + bits > 8 => ((u16::from(packed[byte]) | next() << 8) >> shift) as u8,
                _ => packed[byte] >> shift,
            } & mask;
        }
    }

    /// Returns the byte in which a code begins, and how many of its bits precede the code.
    fn place(self, bits: u32, index: usize) -> (usize, u32) {
        let (word, at) = match self {
            Packing::LowFirst | Packing::HighFirst => {
                let (whole, rest) = (index / 8, index % 8);
                let bit = rest * bits as usize;
                return (whole * bits as usize + bit / 8, (bit % 8) as u32);
            }
            Packing::Words => (index / (32 / bits as usize), index % (32 / bits as usize) * bits as usize),
            Packing::Awq => (index / 8, AWQ_POSITIONS[index % 8] * 4),
        };
        (word * 4 + at / 8, (at % 8) as u32)
    }

    fn check(self, bits: u32, codes: usize, packed: usize) -> Result<()> {
        match self.packed_len(bits, codes) {
            Some(len) if len == packed => Ok(()),
            Some(len) => Err(Error::Length {
                what: Measured::PackedBytes,
                found: packed as u64,
                wanted: format!("{len}, for {codes} codes of {bits} bits"),
            }),
            None => Err(Error::Length {
                what: Measured::CodeBits,
                found: bits.into(),
                wanted: match self {
                    Packing::Awq => "4".into(),
                    _ => "1 to 8".into(),
                },
            }),
        }
    }
}

/// Unpacks codes of `BITS` bits from `first` on, a multiple of 8, eight at a time. Returns the codes that are left, and the index of
/// the first of them.
fn unpack_eights<'c, const BITS: usize>(
    packed: &[u8],
    first: usize,
    codes: &'c mut [u8],
) -> (usize, &'c mut [u8]) {
    let (eights, rest) = codes.as_chunks_mut::<8>();
    for (bytes, eight) in packed[first / 8 * BITS..].as_chunks::<BITS>().0.iter().zip(&mut *eights) {
        let mut word = [0; 8];
        word[..BITS].copy_from_slice(bytes);
        let word = u64::from_le_bytes(word);
        for (at, code) in eight.iter_mut().enumerate() {
            *code = (word >> (at * BITS)) as u8 & ((1 << BITS) - 1) as u8;
        }
    }
    (first + 8 * eights.len(), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_unpacks_what_it_packed_from_any_code_on() {
        for packing in [Packing::LowFirst, Packing::HighFirst, Packing::Words, Packing::Awq] {
            for bits in 1..=8 {
                for count in [0, 1, 2, 7, 8, 31, 33, 64] {
                    let codes: Vec<u8> = (0..count).map(|i| (i * 37 + 11) as u8 >> (8 - bits)).collect();
                    let Some(len) = packing.packed_len(bits, count) else {
                        assert!(packing == Packing::Awq && bits != 4);
                        continue;
                    };
                    let mut packed = vec![0xff; len];
                    packing.pack(bits, &codes, &mut packed).unwrap();
                    for first in 0..count {
                        let mut found = vec![0; count - first];
                        packing.unpack_from(bits, &packed, first, &mut found);
                        assert_eq!(found, codes[first..], "{packing:?} {bits} {count} {first}");
                    }
                }
            }
        }
        assert!(Packing::LowFirst.pack(3, &[8], &mut [0]).is_err());
        assert!(Packing::LowFirst.unpack(4, &[0, 0], &mut [0; 2]).is_err());
        assert!(Packing::LowFirst.unpack(0, &[], &mut []).is_err());
    }

    #[test]
    fn words_have_their_codes_where_their_programs_look() {
        let codes = [0, 1, 2, 3, 4, 5, 6, 7];
        let mut word = [0; 4];
        Packing::LowFirst.pack(4, &codes, &mut word).unwrap();
        assert_eq!(u32::from_le_bytes(word), 0x7654_3210);
        Packing::Awq.pack(4, &codes, &mut word).unwrap();
        assert_eq!(u32::from_le_bytes(word), 0x7531_6420);
        // With three bits, code 10 straddles the first two words.
        let mut words = [0; 12];
        let mut codes = [0; 32];
        codes[10] = 7;
        Packing::LowFirst.pack(3, &codes, &mut words).unwrap();
        assert_eq!(u64::from_le_bytes(words[..8].try_into().unwrap()), 7 << 30);
    }
}
