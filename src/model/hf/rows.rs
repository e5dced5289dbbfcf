//! [`Rows`]: rows of a tensor in another order, or some of them.
//!
//! Rotary embeddings turn pairs of values. Hugging Face's Llama pairs the first half of a head with its second, llama.cpp's
//! pairs neighbours, so that the rows of each head are interleaved on the way there and parted on the way back. Matrices that
//! are kept as one in safetensors, such as gate and up, are parted into their rows.

use std::io;

use crate::file::read_at::ReadAt;

/// Rows shorter than this are read a group at a time, since a read for each would be slow,
const SHORT_ROW_BYTES: u64 = 512;
/// where a group is no longer than this: who makes a file says how long its heads are.
const MAX_GROUP_BYTES: u64 = 1 << 20;

/// Which rows there are. Both count rows of groups that follow each other, such as heads or experts, and are not 0.
#[derive(Debug, Clone, Copy)]
pub(super) enum RowOrder {
    /// The first half of each group and its second in turn.
    Interleaved { group: u64 },
    /// Those that are in turn become halves.
    Halved { group: u64 },
    /// Of each group `count` rows, each `stride` after the last, from `first` on.
    Some { group: u64, first: u64, stride: u64, count: u64 },
}

/// A tensor's bytes, read from its file with other rows. Byte 0 is the tensor's first.
pub(super) struct Rows<'a> {
    pub(super) source: Box<dyn ReadAt + 'a>,
    /// Where the tensor begins in the source.
    pub(super) offset: u64,
    /// Not 0.
    pub(super) row_bytes: u64,
    pub(super) order: RowOrder,
}

impl RowOrder {
    /// The rows of a group in the source.
    fn group(self) -> u64 {
        match self {
            RowOrder::Interleaved { group } | RowOrder::Halved { group } | RowOrder::Some { group, .. } => {
                group
            }
        }
    }

    /// How many rows from this one on follow each other in the source.
    fn run(self, row: u64) -> u64 {
        match self {
            RowOrder::Some { stride: 1, count, .. } => count - row % count,
            _ => 1,
        }
    }

    /// The row in the source that is at `row` here.
    fn origin(self, row: u64) -> u64 {
        match self {
            RowOrder::Interleaved { group } => {
                row / group * group + row % group % 2 * (group / 2) + row % group / 2
            }
            RowOrder::Halved { group } => {
                let (half, within) = (group / 2, row % group);
                row / group * group + within % half * 2 + within / half
            }
            RowOrder::Some { group, first, stride, count } => {
                row / count * group + first + row % count * stride
            }
        }
    }
}

impl ReadAt for Rows<'_> {
    fn fill_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        let group_bytes = self.order.group() * self.row_bytes;
        let mut gathered = (u64::MAX, Vec::new());
        while !buffer.is_empty() {
            let (row, within) = (offset / self.row_bytes, offset % self.row_bytes);
            let run = self.order.run(row);
            let left = run.saturating_mul(self.row_bytes) - within;
            let len = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let (piece, rest) = std::mem::take(&mut buffer).split_at_mut(len);
            let at = self.order.origin(row) * self.row_bytes + within;
            if run > 1 || self.row_bytes >= SHORT_ROW_BYTES || group_bytes > MAX_GROUP_BYTES {
                self.source.fill_at(piece, self.offset + at)?;
            } else {
                let group = at / group_bytes;
                if gathered.0 != group {
                    gathered = (group, vec![0; group_bytes as usize]);
                    self.source.fill_at(&mut gathered.1, self.offset + group * group_bytes)?;
                }
                let start = (at - group * group_bytes) as usize;
                piece.copy_from_slice(&gathered.1[start..start + len]);
            }
            buffer = rest;
            offset += len as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &Vec<u8>, row_bytes: u64, order: RowOrder, len: usize) -> Vec<u8> {
        let rows = Rows { source: Box::new(bytes), offset: 3, row_bytes, order };
        let mut whole = vec![0; len];
        rows.fill_at(&mut whole, 0).unwrap();
        // Pieces that are cut anywhere give the same.
        for len in [1, 5, 511, 700] {
            let mut pieces = vec![0; whole.len()];
            for (index, piece) in pieces.chunks_mut(len).enumerate() {
                rows.fill_at(piece, (index * len) as u64).unwrap();
            }
            assert!(pieces == whole, "pieces of {len}");
        }
        whole
    }

    #[test]
    fn halves_become_neighbours_and_halves_again() {
        // Two heads of six rows of one byte.
        let bytes: Vec<u8> = (97..).take(15).collect();
        let turned = |bytes: &Vec<u8>, row_bytes, order| read(bytes, row_bytes, order, bytes.len() - 3);
        let (there, back) = (RowOrder::Interleaved { group: 6 }, RowOrder::Halved { group: 6 });
        assert_eq!(turned(&bytes, 1, there), b"dgehfijmknlo");
        for row_bytes in [1, 2, 600] {
            let bytes: Vec<u8> = (0..3 + 12 * row_bytes).map(|i| (i * 7 + i / 256) as u8).collect();
            let mut other = vec![0; 3];
            other.extend(turned(&bytes, row_bytes, there));
            assert!(other[3..] != bytes[3..]);
            assert!(turned(&other, row_bytes, back) == bytes[3..]);
        }
    }

    #[test]
    fn some_rows_of_each_group_are_read() {
        // Two groups of six rows of one byte.
        let bytes: Vec<u8> = (97..).take(15).collect();
        for (first, stride, count, wanted) in
            [(0, 1, 3, b"defjkl"), (3, 1, 3, b"ghimno"), (0, 2, 3, b"dfhjln"), (1, 2, 3, b"egikmo")]
        {
            assert_eq!(read(&bytes, 1, RowOrder::Some { group: 6, first, stride, count }, 6), wanted);
        }
        let bytes: Vec<u8> = (0..3 + 12 * 600).map(|i| (i * 7 + i / 256) as u8).collect();
        let order = RowOrder::Some { group: 12, first: 2, stride: 1, count: 10 };
        assert!(read(&bytes, 600, order, 6000) == bytes[3 + 1200..]);
    }
}
