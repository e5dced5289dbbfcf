//! [`RopeRows`]: the rows of a query or key projection in the other order.
//!
//! Rotary embeddings turn pairs of values. Hugging Face's Llama pairs the first half of a head with its second, llama.cpp's
//! pairs neighbours, so that the rows of each head are interleaved on the way there and parted on the way back.

use std::io;

use crate::file::read_at::ReadAt;

/// Rows shorter than this are read a head at a time, since a read for each would be slow,
const SHORT_ROW_BYTES: u64 = 512;
/// where a head is no longer than this: who makes a file says how long its heads are.
const MAX_HEAD_BYTES: u64 = 1 << 20;

/// A tensor's bytes, read from its file with the rows of each head in another order. Byte 0 is the tensor's first.
pub(super) struct RopeRows<'a> {
    pub(super) source: Box<dyn ReadAt + 'a>,
    /// Where the tensor begins in the source.
    pub(super) offset: u64,
    /// Not 0.
    pub(super) row_bytes: u64,
    /// An even number of rows.
    pub(super) head_rows: u64,
    /// Whether halves become neighbours; otherwise neighbours become halves.
    pub(super) interleave: bool,
}

impl RopeRows<'_> {
    /// The row in the source that is at `row` here.
    fn origin(&self, row: u64) -> u64 {
        let (head, row) = (row / self.head_rows, row % self.head_rows);
        let half = self.head_rows / 2;
        let row = if self.interleave { row % 2 * half + row / 2 } else { row % half * 2 + row / half };
        head * self.head_rows + row
    }
}

impl ReadAt for RopeRows<'_> {
    fn fill_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        let head_bytes = self.head_rows * self.row_bytes;
        let mut gathered = (u64::MAX, Vec::new());
        while !buffer.is_empty() {
            let (row, within) = (offset / self.row_bytes, offset % self.row_bytes);
            let len = buffer.len().min(usize::try_from(self.row_bytes - within).unwrap_or(usize::MAX));
            let (piece, rest) = std::mem::take(&mut buffer).split_at_mut(len);
            let at = self.origin(row) * self.row_bytes + within;
            if self.row_bytes >= SHORT_ROW_BYTES || head_bytes > MAX_HEAD_BYTES {
                self.source.fill_at(piece, self.offset + at)?;
            } else {
                let head = at / head_bytes;
                if gathered.0 != head {
                    gathered = (head, vec![0; head_bytes as usize]);
                    self.source.fill_at(&mut gathered.1, self.offset + head * head_bytes)?;
                }
                let start = (at - head * head_bytes) as usize;
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

    fn turned(bytes: &Vec<u8>, row_bytes: u64, head_rows: u64, interleave: bool) -> Vec<u8> {
        let rows = RopeRows { source: Box::new(bytes), offset: 3, row_bytes, head_rows, interleave };
        let mut whole = vec![0; bytes.len() - 3];
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
        assert_eq!(turned(&bytes, 1, 6, true), b"dgehfijmknlo");
        for row_bytes in [1, 2, 600] {
            let bytes: Vec<u8> = (0..3 + 12 * row_bytes).map(|i| (i * 7 + i / 256) as u8).collect();
            let mut there = vec![0; 3];
            there.extend(turned(&bytes, row_bytes, 6, true));
            assert!(there[3..] != bytes[3..]);
            assert!(turned(&there, row_bytes, 6, false) == bytes[3..]);
        }
    }
}
