//! [`Number`]: a number inside a block. From a format's list of them follow what a big-endian file swaps and what
//! [`GgmlType::validate`](crate::GgmlType::validate) checks.

use crate::byte_order::ByteOrder;

/// A number inside a block, or several of a kind in a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Number {
    /// The offset in the block, in bytes.
    at: usize,
    stored: Stored,
}

/// How a number is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stored {
    F16,
    /// The upper half of an `f32`.
    Bf16,
    F32,
    F64,
    /// A power of two, stored as the exponent of an `f32`. 255 is NaN.
    E8M0,
    /// `count` floats of four bits of exponent and three of mantissa. As in ggml, every code is a finite number.
    Ue4m3 {
        count: usize,
    },
    /// An `f16` in the top nibbles of four 16-bit numbers, the lowest nibble first. The rest of these are quants.
    F16InNibbles,
    Integers {
        width: usize,
        count: usize,
    },
}

/// Why a number is not finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Nan,
    Infinite,
}

impl Number {
    pub(crate) const fn f16(at: usize) -> Self {
        Self { at, stored: Stored::F16 }
    }

    pub(crate) const fn bf16(at: usize) -> Self {
        Self { at, stored: Stored::Bf16 }
    }

    pub(crate) const fn f32(at: usize) -> Self {
        Self { at, stored: Stored::F32 }
    }

    pub(crate) const fn f64(at: usize) -> Self {
        Self { at, stored: Stored::F64 }
    }

    pub(crate) const fn e8m0(at: usize) -> Self {
        Self { at, stored: Stored::E8M0 }
    }

    pub(crate) const fn ue4m3(at: usize, count: usize) -> Self {
        Self { at, stored: Stored::Ue4m3 { count } }
    }

    pub(crate) const fn f16_in_nibbles(at: usize) -> Self {
        Self { at, stored: Stored::F16InNibbles }
    }

    /// `count` integers of `width` bytes each.
    pub(crate) const fn integers(at: usize, width: usize, count: usize) -> Self {
        Self { at, stored: Stored::Integers { width, count } }
    }

    /// `count` integers of two bytes each.
    pub(crate) const fn shorts(at: usize, count: usize) -> Self {
        Self::integers(at, 2, count)
    }

    /// Reverses the bytes of the number in its block.
    pub(crate) fn swap_byte_order(self, block: &mut [u8]) {
        let (width, count) = match self.stored {
            Stored::F16 | Stored::Bf16 => (2, 1),
            Stored::F32 => (4, 1),
            Stored::F64 => (8, 1),
            Stored::E8M0 => (1, 1),
            Stored::Ue4m3 { count } => (1, count),
            Stored::F16InNibbles => (2, 4),
            Stored::Integers { width, count } => (width, count),
        };
        for number in block[self.at..][..width * count].chunks_exact_mut(width) {
            number.reverse();
        }
    }

    /// Returns the first of the blocks `bytes` in which the number is not finite.
    pub(crate) fn first_fault(
        self,
        bytes: &[u8],
        block_bytes: usize,
        order: ByteOrder,
    ) -> Option<(usize, Fault)> {
        let numbers = bytes.chunks_exact(block_bytes).map(|block| &block[self.at..]);
        // There is one loop for each representation, so that none is selected per block.
        match self.stored {
            Stored::F16 => first(numbers, |bytes| of_f16(u16_at(bytes, 0, order))),
            Stored::Bf16 => first(numbers, |bytes| of_f32(u32::from(u16_at(bytes, 0, order)) << 16)),
            Stored::F32 => first(numbers, |bytes| of_f32(u32_at(bytes, order))),
            Stored::F64 => first(numbers, |bytes| of_f64(u64_at(bytes, order))),
            Stored::E8M0 => first(numbers, |bytes| (bytes[0] == 0xff).then_some(Fault::Nan)),
            Stored::F16InNibbles => first(numbers, |bytes| {
                of_f16((0..4).fold(0, |bits, i| bits | u16_at(bytes, 2 * i, order) >> 12 << (4 * i)))
            }),
            Stored::Ue4m3 { .. } | Stored::Integers { .. } => None,
        }
    }
}

#[inline(always)]
fn first<'a>(
    mut numbers: impl Iterator<Item = &'a [u8]>,
    fault: impl Fn(&[u8]) -> Option<Fault>,
) -> Option<(usize, Fault)> {
    let mut block = 0;
    numbers.find_map(|number| {
        block += 1;
        fault(number).map(|fault| (block - 1, fault))
    })
}

fn of_f16(bits: u16) -> Option<Fault> {
    fault(u64::from(bits & 0x7fff), 0x7c00)
}

fn of_f32(bits: u32) -> Option<Fault> {
    fault(u64::from(bits & 0x7fff_ffff), 0x7f80_0000)
}

fn of_f64(bits: u64) -> Option<Fault> {
    fault(bits & !(1 << 63), 0x7ff0_0000_0000_0000)
}

/// Classifies a float's bits without the sign. `infinity` is the bits of infinity.
fn fault(magnitude: u64, infinity: u64) -> Option<Fault> {
    match magnitude.cmp(&infinity) {
        core::cmp::Ordering::Less => None,
        core::cmp::Ordering::Equal => Some(Fault::Infinite),
        core::cmp::Ordering::Greater => Some(Fault::Nan),
    }
}

fn u16_at(bytes: &[u8], at: usize, order: ByteOrder) -> u16 {
    let bytes = [bytes[at], bytes[at + 1]];
    if order == ByteOrder::Little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) }
}

fn u32_at(bytes: &[u8], order: ByteOrder) -> u32 {
    let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
    if order == ByteOrder::Little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) }
}

fn u64_at(bytes: &[u8], order: ByteOrder) -> u64 {
    let bytes = bytes.first_chunk().copied().unwrap_or_default();
    if order == ByteOrder::Little { u64::from_le_bytes(bytes) } else { u64::from_be_bytes(bytes) }
}
