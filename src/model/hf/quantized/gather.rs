//! Bands of rows whose values lie all over a tensor.

use std::io;

use super::grid::{Grid, Layout};

/// Columns that are turned into rows together.
const TILE: usize = 64;
/// Words of a stream that are written together: a line of the cache.
const WORDS: usize = 16;
/// Values between the parts of a tile beside their own, so that the caches hold parts that lie a power of two apart.
const APART: usize = 64;

impl Grid<'_> {
    /// A band of rows that lie all over the tensor. `first` is a multiple of 32.
    pub(super) fn gather(&self, first: u64, end: u64) -> io::Result<Vec<u8>> {
        let (rows, cols, unit) = ((end - first) as usize, self.cols as usize, self.number.unit());
        let mut band = vec![0; rows * cols * unit];
        match self.layout {
            Layout::WordsDown => self.words_down(first, rows, &mut band)?,
            Layout::Columns { width } => self.columns(first, end, width, &mut band)?,
            _ => {
                let bits = u64::from(self.bits);
                let (start, stop) = (first * bits / 32, (end * bits).div_ceil(32));
                let mut stored = vec![0; (stop - start) as usize * cols * 4];
                self.source.fill_at(&mut stored, self.offset + start * cols as u64 * 4)?;
                let mut column = vec![0; rows];
                for col in 0..cols {
                    let words = stored.chunks(4).skip(col).step_by(cols);
                    let stream: Vec<u8> = words.flatten().copied().collect();
                    self.packing.unpack_from(self.bits, &stream, 0, &mut column);
                    for (row, &code) in band.chunks_mut(cols).zip(&column) {
                        row[col] = code;
                    }
                }
            }
        }
        Ok(band)
    }

    /// Words below each other become streams of rows.
    fn words_down(&self, first: u64, rows: usize, band: &mut [u8]) -> io::Result<()> {
        let cols = self.cols as usize;
        let words = (cols * self.bits as usize).div_ceil(32);
        let apart = (rows + APART) * 4;
        let (mut streams, mut lines) = (vec![0; rows * words * 4], vec![0; WORDS * apart]);
        for first_word in (0..words).step_by(WORDS) {
            let count = WORDS.min(words - first_word);
            for (word, line) in (first_word..words).zip(lines.chunks_mut(apart)) {
                let at = self.offset + (word as u64 * self.rows + first) * 4;
                self.source.fill_at(&mut line[..rows * 4], at)?;
            }
            let lines = lines.as_chunks::<4>().0;
            for (row, stream) in streams.chunks_mut(words * 4).enumerate() {
                let out = stream[first_word * 4..][..count * 4].as_chunks_mut::<4>().0;
                for (out, word) in out.iter_mut().zip(lines[row..].iter().step_by(apart / 4)) {
                    *out = *word;
                }
            }
        }
        for (row, stream) in band.chunks_mut(cols).zip(streams.chunks(words * 4)) {
            self.packing.unpack_from(self.bits, stream, 0, row);
        }
        Ok(())
    }

    /// Stored rows, each of a column, become columns.
    fn columns(&self, first: u64, end: u64, width: u64, band: &mut [u8]) -> io::Result<()> {
        let (rows, cols, unit) = ((end - first) as usize, self.cols as usize, self.number.unit());
        let (values, bytes) = self.chunk();
        let start = first / values * bytes;
        let mut stored = vec![0; ((end.div_ceil(values) * bytes).min(width) - start) as usize];
        // Some columns at a time, so that their values go to a row together.
        let apart = (rows + APART) * unit;
        let mut tile = vec![0; TILE * apart];
        for first_col in (0..cols).step_by(TILE) {
            let across = TILE.min(cols - first_col);
            for (col, column) in tile.chunks_mut(apart).enumerate().take(across) {
                let at = (first_col + col) as u64 * width + start;
                self.source.fill_at(&mut stored, self.offset + at)?;
                let column = &mut column[..rows * unit];
                match self.number.is_code() {
                    true => self.packing.unpack_from(self.bits, &stored, 0, column),
                    false => column.copy_from_slice(&stored[..rows * unit]),
                }
            }
            if unit == 1 {
                turn(&tile, apart, rows, across, &mut band[first_col..], cols);
                continue;
            }
            for (row, out) in band.chunks_mut(cols * unit).enumerate() {
                let out = &mut out[first_col * unit..][..across * unit];
                for (col, value) in out.chunks_mut(unit).enumerate() {
                    value.copy_from_slice(&tile[col * apart + row * unit..][..unit]);
                }
            }
        }
        Ok(())
    }
}

/// Columns of `rows` bytes, `apart` from each other, become rows of `across` bytes, of which each begins `cols` after the last.
fn turn(columns: &[u8], apart: usize, rows: usize, across: usize, out: &mut [u8], cols: usize) {
    let (whole_rows, whole_across) = (rows / 8 * 8, across / 8 * 8);
    for row in (0..whole_rows).step_by(8) {
        for col in (0..whole_across).step_by(8) {
            let mut square = [0; 8];
            for (at, number) in square.iter_mut().enumerate() {
                if let Some(bytes) = columns[(col + at) * apart + row..].first_chunk() {
                    *number = u64::from_le_bytes(*bytes);
                }
            }
            turn_square(&mut square);
            for (at, number) in square.iter().enumerate() {
                out[(row + at) * cols + col..][..8].copy_from_slice(&number.to_le_bytes());
            }
        }
    }
    for row in 0..rows {
        let done = if row < whole_rows { whole_across } else { 0 };
        for col in done..across {
            out[row * cols + col] = columns[col * apart + row];
        }
    }
}

/// Byte i of number j becomes byte j of number i.
#[inline]
fn turn_square(square: &mut [u64; 8]) {
    for (step, mask) in [(4, 0xffff_ffff), (2, 0xffff_0000_ffff), (1, 0xff_00ff_00ff_00ff)] {
        for at in 0..8 {
            if at & step == 0 {
                let swapped = (square[at] >> (8 * step) ^ square[at + step]) & mask;
                square[at + step] ^= swapped;
                square[at] ^= swapped << (8 * step);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::turn;

    #[test]
    fn columns_become_rows() {
        for (rows, across) in [(8, 8), (1, 1), (7, 9), (16, 24), (33, 12), (9, 64)] {
            let (apart, cols) = (rows + 3, across + 5);
            let byte = |row: usize, col: usize| (row * 31 + col * 7 + 1) as u8;
            let mut columns = vec![0; apart * across];
            for (col, column) in columns.chunks_mut(apart).enumerate() {
                column.iter_mut().enumerate().for_each(|(row, out)| *out = byte(row, col));
            }
            let mut out = vec![0xaa; rows * cols];
            turn(&columns, apart, rows, across, &mut out, cols);
            for (row, out) in out.chunks(cols).enumerate() {
                assert!(
                    out[..across].iter().enumerate().all(|(col, found)| *found == byte(row, col)),
                    "{rows} {across}"
                );
                assert!(out[across..].iter().all(|byte| *byte == 0xaa), "{rows} {across}");
            }
        }
    }
}
