//! Compares with ggml bit for bit. NaNs count as equal, because their sign and payload depend on the processor.

use gguf_codec::GgmlType;

/// The positions of a block's f16 numbers, where a NaN makes the block invalid; `tests/codecs/validate.rs` compares them with
/// ggml. Only these can be NaN in the output of quantizers.
fn f16_offsets(ty: GgmlType) -> Vec<usize> {
    let is_number = |&at: &usize| {
        let mut block = vec![0; ty.block_bytes()];
        block[at..at + 2].copy_from_slice(&0x7E00u16.to_le_bytes());
        ty.validate(&block).is_err()
    };
    (0..ty.block_bytes() - 1).filter(is_number).collect()
}

/// A block with every NaN scale in one canonical form.
fn canonical(ty: GgmlType, block: &[u8]) -> Vec<u8> {
    let mut block = block.to_vec();
    for at in f16_offsets(ty) {
        if u16::from_le_bytes([block[at], block[at + 1]]) & 0x7FFF > 0x7C00 {
            block[at..at + 2].copy_from_slice(&0x7E00u16.to_le_bytes());
        }
    }
    block
}

/// The first block in which `ours` differs from `ggml`'s, with both blocks' bytes; `None` if all are equal.
pub(crate) fn blocks(ty: GgmlType, ours: &[u8], ggml: &[u8]) -> Option<String> {
    if ours.len() != ggml.len() {
        return Some(format!("ours has {} bytes, ggml's {}", ours.len(), ggml.len()));
    }
    let pairs = || ours.chunks(ty.block_bytes()).zip(ggml.chunks(ty.block_bytes()));
    let differs = |(ours, ggml): (&[u8], &[u8])| ours != ggml && canonical(ty, ours) != canonical(ty, ggml);
    let first = pairs().position(differs)?;
    let count = pairs().filter(|&pair| differs(pair)).count();
    let (ours, ggml) = pairs().nth(first)?;
    Some(format!(
        "{count} of {} blocks differ, the first is block {first}:\n  ours {}\n  ggml {}\n       {}",
        pairs().count(),
        hex(ours),
        hex(ggml),
        ours.iter().zip(ggml).map(|(a, b)| if a == b { "  " } else { "^^" }).collect::<String>().trim_end(),
    ))
}

/// The first value in which `ours` differs from `ggml`'s, bit for bit; `None` if all are equal.
pub(crate) fn values(ty: GgmlType, ours: &[f32], ggml: &[f32]) -> Option<String> {
    if ours.len() != ggml.len() {
        return Some(format!("ours has {} values, ggml's {}", ours.len(), ggml.len()));
    }
    let pairs = || ours.iter().zip(ggml);
    let differs = |(ours, ggml): (&f32, &f32)| canonical_bits(*ours) != canonical_bits(*ggml);
    let first = pairs().position(differs)?;
    let count = pairs().filter(|&pair| differs(pair)).count();
    let (block, within) = (first / ty.block_len(), first % ty.block_len());
    let (ours, ggml) = (ours[first], ggml[first]);
    Some(format!(
        "{count} of {} values differ, the first is value {within} of block {block}: \
         ours {ours:e} ({:08x}), ggml {ggml:e} ({:08x})",
        pairs().count(),
        ours.to_bits(),
        ggml.to_bits(),
    ))
}

/// FNV-1a, 64 bits, over the values' little-endian bytes, as in `tests/golden/README.md`.
pub(crate) fn hash(values: &[f32]) -> u64 {
    let bytes = values.iter().flat_map(|value| canonical_bits(*value).to_le_bytes());
    bytes.fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3))
}

fn canonical_bits(value: f32) -> u32 {
    if value.is_nan() { 0x7FC0_0000 } else { value.to_bits() }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
