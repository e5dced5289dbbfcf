//! The positions of multi-byte numbers in a block of each type, from ggml's structs: the bytes that differ between the byte
//! orders. The table lists every type, so that the tests of a new codec find it here.

use gguf_codec::GgmlType;

/// Offset and width of each number, for types of every id.
fn numbers(ty: GgmlType) -> Vec<(usize, usize)> {
    /// `count` consecutive numbers of two bytes.
    fn shorts(at: usize, count: usize) -> impl Iterator<Item = (usize, usize)> {
        (0..count).map(move |i| (at + 2 * i, 2))
    }
    match ty.name() {
        "I8" | "MXFP4" | "NVFP4" => vec![],
        "F32" | "I32" => vec![(0, 4)],
        "F64" | "I64" => vec![(0, 8)],
        "F16" | "BF16" | "I16" => vec![(0, 2)],
        "Q4_0" | "Q5_0" | "Q8_0" | "Q1_0" | "Q2_0" | "IQ4_NL" => vec![(0, 2)],
        "IQ2_S" | "IQ3_XXS" | "IQ3_S" => vec![(0, 2)],
        "Q4_1" | "Q5_1" | "Q8_1" | "Q4_K" | "Q5_K" | "IQ4_XS" => vec![(0, 2), (2, 2)],
        "Q2_K" => vec![(80, 2), (82, 2)],
        "Q3_K" => vec![(108, 2)],
        "Q6_K" => vec![(208, 2)],
        "Q8_K" => [(0, 4)].into_iter().chain(shorts(260, 16)).collect(),
        "IQ2_XXS" | "IQ2_XS" => [(0, 2)].into_iter().chain(shorts(2, 32)).collect(),
        "IQ1_S" => [(0, 2)].into_iter().chain(shorts(34, 8)).collect(),
        "IQ1_M" => shorts(48, 4).collect(),
        "TQ1_0" => vec![(52, 2)],
        "TQ2_0" => vec![(64, 2)],
        name => panic!("tests/common/layout.rs does not know {name}"),
    }
}

/// Converts blocks from one byte order to the other.
pub(crate) fn swap(ty: GgmlType, blocks: &mut [u8]) {
    let numbers = numbers(ty);
    for block in blocks.chunks_mut(ty.block_bytes()) {
        for &(at, width) in &numbers {
            block[at..at + width].reverse();
        }
    }
}
