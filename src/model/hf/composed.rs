//! Tensors that are made of others when they are read: stacks, transposes, and values to which something is added.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::planned::{Source, unfit};
use crate::error::{Error, Result};
use crate::file::read_at::ReadAt;
use crate::ggml_type::GgmlType;
use crate::model::scaled::Blocks as _;

/// The bytes of a tensor that several others are made of.
pub(super) struct Shared<'a>(pub(super) Arc<Source<'a>>);

impl ReadAt for Shared<'_> {
    fn fill_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let origin = self.0.origin().map_err(io::Error::other)?;
        origin.source.fill_at(buffer, origin.offset + offset)
    }
}

/// Tensors of the same length, one after the other.
pub(super) struct Stack<'a> {
    pub(super) parts: Vec<Shared<'a>>,
    /// Bytes of each; not 0.
    pub(super) part_bytes: u64,
}

impl ReadAt for Stack<'_> {
    fn fill_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            let within = offset % self.part_bytes;
            let part = usize::try_from(offset / self.part_bytes).ok().and_then(|part| self.parts.get(part));
            let part = part.ok_or(io::ErrorKind::UnexpectedEof)?;
            let len = buffer.len().min(usize::try_from(self.part_bytes - within).unwrap_or(usize::MAX));
            let (piece, rest) = std::mem::take(&mut buffer).split_at_mut(len);
            part.fill_at(piece, within)?;
            buffer = rest;
            offset += len as u64;
        }
        Ok(())
    }
}

/// A tensor's bytes with zeros before them.
pub(super) struct AfterZeros<'a> {
    /// Bytes.
    pub(super) zeros: u64,
    pub(super) source: Shared<'a>,
}

impl ReadAt for AfterZeros<'_> {
    fn fill_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let zeros = self.zeros.saturating_sub(offset).min(buffer.len() as u64) as usize;
        let (before, own) = buffer.split_at_mut(zeros);
        before.fill(0);
        if own.is_empty() {
            return Ok(());
        }
        self.source.fill_at(own, offset.saturating_sub(self.zeros))
    }
}

/// Tensors whose pieces take turns.
pub(super) struct InTurns<'a> {
    /// With the bytes of a piece, not 0. All have as many pieces.
    pub(super) parts: Vec<(Shared<'a>, u64)>,
}

impl ReadAt for InTurns<'_> {
    fn fill_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        // Pieces of each part that are read at once.
        const AT_ONCE: u64 = 64 * 1024;
        let round = self.parts.iter().map(|(_, piece)| piece).sum::<u64>().max(1);
        let rounds = (AT_ONCE * self.parts.len() as u64 / round).max(1);
        let mut own = Vec::new();
        while !buffer.is_empty() {
            let first = offset / round;
            let within = (offset % round) as usize;
            let len = buffer.len().min((rounds * round) as usize - within);
            let (out, rest) = std::mem::take(&mut buffer).split_at_mut(len);
            let touched = (within + len).div_ceil(round as usize);
            let mut ahead = 0;
            for (part, piece) in &self.parts {
                let piece = *piece as usize;
                own.resize(touched * piece, 0);
                part.fill_at(&mut own, first * piece as u64)?;
                for (at, own) in own.chunks_exact(piece).enumerate() {
                    // Where the piece begins in what is asked for, which may begin or end inside it.
                    let start = at * round as usize + ahead;
                    let (from, to) = (start.max(within), (start + piece).min(within + len));
                    if from < to {
                        out[from - within..to - within].copy_from_slice(&own[from - start..to - start]);
                    }
                }
                ahead += piece;
            }
            (buffer, offset) = (rest, offset + len as u64);
        }
        Ok(())
    }
}

/// Matrices that follow each other, each transposed. One of them is held in memory, since all of it is needed for a row.
pub(super) struct Transposed<'a> {
    source: Shared<'a>,
    rows: usize,
    cols: usize,
    value_bytes: usize,
    held: Mutex<(u64, Vec<u8>)>,
}

impl<'a> Transposed<'a> {
    /// Of matrices with so many rows and columns of plain values in the source.
    pub(super) fn new(source: Shared<'a>, rows: u64, cols: u64, value_bytes: usize) -> Result<Self> {
        let bytes = rows.checked_mul(cols).and_then(|values| values.checked_mul(value_bytes as u64));
        let fits = bytes.is_some_and(|bytes| isize::try_from(bytes).is_ok());
        let (true, Ok(rows), Ok(cols)) = (fits, usize::try_from(rows), usize::try_from(cols)) else {
            return Err(Error::write("a matrix that is transposed does not fit into memory".to_owned()));
        };
        Ok(Transposed { source, rows, cols, value_bytes, held: Mutex::new((u64::MAX, Vec::new())) })
    }

    fn read(&self, matrix: u64) -> io::Result<Vec<u8>> {
        let (rows, cols, bytes) = (self.rows, self.cols, self.value_bytes);
        let mut stored = vec![0; rows * cols * bytes];
        let offset = matrix * stored.len() as u64;
        self.source.fill_at(&mut stored, offset)?;
        let mut out = vec![0; stored.len()];
        /// Values of a side of what is transposed at once, for the caches.
        const TILE: usize = 32;
        for row in (0..rows).step_by(TILE) {
            for col in (0..cols).step_by(TILE) {
                for col in col..(col + TILE).min(cols) {
                    for row in row..(row + TILE).min(rows) {
                        let (from, to) = ((row * cols + col) * bytes, (col * rows + row) * bytes);
                        out[to..to + bytes].copy_from_slice(&stored[from..from + bytes]);
                    }
                }
            }
        }
        Ok(out)
    }
}

impl ReadAt for Transposed<'_> {
    fn fill_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        let matrix_bytes = (self.rows * self.cols * self.value_bytes) as u64;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        while !buffer.is_empty() {
            let (matrix, within) = (offset / matrix_bytes, (offset % matrix_bytes) as usize);
            if held.0 != matrix {
                *held = (matrix, self.read(matrix)?);
            }
            let len = buffer.len().min(held.1.len() - within);
            let (piece, rest) = std::mem::take(&mut buffer).split_at_mut(len);
            piece.copy_from_slice(&held.1[within..within + len]);
            buffer = rest;
            offset += len as u64;
        }
        Ok(())
    }
}

/// The values of a tensor in single precision, with something added to each.
pub(super) struct Floats<'a> {
    pub(super) source: Arc<Source<'a>>,
    pub(super) add: Option<f32>,
    /// The name of a tensor whose values must be finite.
    pub(super) finite: Option<&'a str>,
}

impl ReadAt for Floats<'_> {
    fn fill_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let origin = self.source.origin().map_err(io::Error::other)?;
        let mut bad = None;
        origin.fill_as(GgmlType::F32, buffer, offset, |first, values| {
            if let Some(add) = self.add {
                values.iter_mut().for_each(|value| *value += add);
            }
            if self.finite.is_some() {
                let found = values.iter().zip(first..).find(|(value, _)| !value.is_finite());
                bad = bad.or(found.map(|(value, at)| (*value, at)));
            }
        })?;
        match self.finite.zip(bad) {
            Some((name, (value, at))) => Err(io::Error::other(unfit(
                name,
                &format!("has {value} as value {at}, and all must be finite"),
            ))),
            None => Ok(()),
        }
    }
}

/// Bytes of a value of a type that has no blocks.
pub(super) fn value_bytes(ty: GgmlType) -> Option<usize> {
    (ty.block_len() == 1).then(|| ty.block_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Shape;

    fn source(bytes: Vec<u8>, dims: &[u64], ty: GgmlType) -> Shared<'static> {
        let shape = Shape::new(dims).unwrap();
        Shared(Arc::new(Source::Computed { bytes: Box::new(bytes), shape, ty }))
    }

    /// Read whole, and in pieces that are cut anywhere.
    fn read(bytes: &dyn ReadAt, len: usize) -> Vec<u8> {
        let mut whole = vec![0; len];
        bytes.fill_at(&mut whole, 0).unwrap();
        for piece in [1, 5, 7] {
            let mut pieces = vec![0; len];
            for (index, part) in pieces.chunks_mut(piece).enumerate() {
                bytes.fill_at(part, (index * piece) as u64).unwrap();
            }
            assert_eq!(pieces, whole, "pieces of {piece}");
        }
        whole
    }

    #[test]
    fn parts_follow_each_other_and_end() {
        let parts = [b"abcd", b"efgh", b"ijkl"].map(|part| source(part.to_vec(), &[4], GgmlType::I8));
        let stack = Stack { parts: parts.into(), part_bytes: 4 };
        assert_eq!(read(&stack, 12), b"abcdefghijkl");
        assert!(stack.fill_at(&mut [0; 2], 11).is_err());
    }

    #[test]
    fn pieces_take_turns() {
        let of = |bytes: &[u8]| source(bytes.to_vec(), &[bytes.len() as u64], GgmlType::I8);
        let turns = InTurns { parts: vec![(of(b"aabbcc"), 2), (of(b"AABBCC"), 2)] };
        assert_eq!(read(&turns, 12), b"aaAAbbBBccCC");
        let turns = InTurns { parts: vec![(of(b"aaabbb"), 3), (of(b"AB"), 1)] };
        assert_eq!(read(&turns, 8), b"aaaAbbbB");
        // Longer than what is read at once.
        let [left, right] = [1u8, 2].map(|value| vec![value; 300_000]);
        let turns = InTurns { parts: vec![(of(&left), 3), (of(&right), 3)] };
        let mut all = vec![0; 600_000];
        turns.fill_at(&mut all, 0).unwrap();
        assert!(all.chunks(6).all(|six| six == [1, 1, 1, 2, 2, 2]));
    }

    #[test]
    fn zeros_come_before() {
        let of = source(b"abcd".to_vec(), &[4], GgmlType::I8);
        assert_eq!(read(&AfterZeros { zeros: 3, source: of }, 7), b"\0\0\0abcd");
    }

    #[test]
    fn each_matrix_is_transposed() {
        // Two matrices of 2 rows and 3 columns.
        let of = source(b"aAbBcCdDeEfFgGhHiIjJkKlL".to_vec(), &[3, 2, 2], GgmlType::I16);
        let transposed = Transposed::new(of, 2, 3, 2).unwrap();
        assert_eq!(read(&transposed, 24), b"aAdDbBeEcCfFgGjJhHkKiIlL");
        let wide: Vec<u8> = (0..70u32 * 40).flat_map(u32::to_le_bytes).collect();
        let there = Transposed::new(source(wide.clone(), &[40, 70], GgmlType::F32), 70, 40, 4).unwrap();
        let mut turned = vec![0; wide.len()];
        there.fill_at(&mut turned, 0).unwrap();
        let back = Transposed::new(source(turned, &[70, 40], GgmlType::F32), 40, 70, 4).unwrap();
        let mut again = vec![0; wide.len()];
        back.fill_at(&mut again, 0).unwrap();
        assert!(again == wide);
    }

    #[test]
    fn one_is_added_in_single_precision() {
        let halves: Vec<u8> =
            [0x3c00u16, 0x0001, 0xbc00].iter().flat_map(|half| half.to_le_bytes()).collect();
        let Shared(source) = source(halves, &[3], GgmlType::F16);
        let plus = Floats { source, add: Some(1.0), finite: None };
        let wanted = [2.0f32, 1.0 + 2f32.powi(-24), 0.0];
        assert_eq!(read(&plus, 12), wanted.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>());
    }
}
