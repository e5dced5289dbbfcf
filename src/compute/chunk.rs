//! [`Chunk`]: activations in eight bits, as kernels read them.

/// The number of values in a [`Chunk`].
pub(super) const CHUNK: usize = 256;
/// The number of values in one vector of bytes.
pub(super) const UNIT: usize = 32;

/// 256 activations of one column, which are eight units.
#[repr(C, align(64))]
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk {
    /// From -127 to 127.
    pub(super) quants: [[u8; UNIT]; 8],
    /// The scale of each unit. If one scale applies to all 256 values: that scale, and in each eighth chunk of a column also
    /// those of the following seven.
    pub(super) scales: [f32; 8],
    /// The sums of the first sixteen quants of each unit, and those of the others.
    pub(super) sums: [[i32; 8]; 2],
    /// The same sums in 16 bits, those of the first sixteen quants of each unit before the others.
    pub(super) shorts: [i16; 16],
}

impl Chunk {
    pub(super) const ZERO: Chunk =
        Chunk { quants: [[0; UNIT]; 8], scales: [0.0; 8], sums: [[0; 8]; 2], shorts: [0; 16] };
}

/// Where a column's chunks are: the first, and the distance to the next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) first: usize,
    pub(super) stride: usize,
}
