//! Sizes of values that are known to be whole blocks, and to be in memory or in a file, so that no product overflows.

use super::GgmlType;

#[allow(dead_code, reason = "the features decide what converts values")]
impl GgmlType {
    /// Returns the bytes of `values` values, not counting those of a partial block.
    pub(crate) const fn bytes_in(self, values: usize) -> usize {
        values / self.block_len() * self.block_bytes()
    }

    /// Returns the number of values in `bytes` bytes, not counting those of a partial block.
    pub(crate) const fn values_in(self, bytes: usize) -> usize {
        bytes / self.block_bytes() * self.block_len()
    }

    /// Like [`bytes_in`](Self::bytes_in), of a tensor that need not fit in memory.
    pub(crate) const fn long_bytes_in(self, values: u64) -> u64 {
        values / self.block_len() as u64 * self.block_bytes() as u64
    }

    /// Like [`values_in`](Self::values_in), of a tensor that need not fit in memory.
    pub(crate) const fn long_values_in(self, bytes: u64) -> u64 {
        bytes / self.block_bytes() as u64 * self.block_len() as u64
    }
}
