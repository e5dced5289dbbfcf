//! [`Grid`]: a matrix of codes or numbers as a checkpoint stores it, read some rows at a time.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use crate::codec::affine::Packing;
use crate::file::read_at::ReadAt;
use crate::simd::f16_to_f32;

/// What a code or number stands for.
#[derive(Clone)]
pub(super) enum Number {
    /// Codes of up to 8 bits.
    Codes(Arc<[f32; 256]>),
    /// The same that are integers, less an offset.
    Integers(f32),
    F16,
    BF16,
    F32,
    I32,
}

impl Number {
    pub(super) fn of_table(table: impl Fn(usize) -> f32) -> Self {
        Number::Codes(Arc::new(std::array::from_fn(table)))
    }

    /// Whether values are codes, which may be packed.
    pub(super) fn is_code(&self) -> bool {
        matches!(self, Number::Codes(_) | Number::Integers(_))
    }

    /// 8-bit integers in two's complement.
    pub(super) fn signed_bytes() -> Self {
        Number::of_table(|code| f32::from(code as u8 as i8))
    }

    /// Bytes of a value that is not packed.
    pub(super) fn unit(&self) -> usize {
        match self {
            Number::Codes(_) | Number::Integers(_) => 1,
            Number::F16 | Number::BF16 => 2,
            Number::F32 | Number::I32 => 4,
        }
    }

    fn widen(&self, bytes: &[u8], out: &mut [f32]) {
        let (pairs, fours) = (bytes.as_chunks::<2>().0, bytes.as_chunks::<4>().0);
        match self {
            Number::Codes(table) => {
                out.iter_mut().zip(bytes).for_each(|(out, &code)| *out = table[usize::from(code)]);
            }
            Number::Integers(offset) => {
                out.iter_mut().zip(bytes).for_each(|(out, &code)| *out = f32::from(code) - offset);
            }
            Number::F16 => {
                let halves = pairs.iter().map(|&bytes| f16_to_f32(u16::from_le_bytes(bytes)));
                out.iter_mut().zip(halves).for_each(|(out, value)| *out = value);
            }
            Number::BF16 => {
                let singles =
                    pairs.iter().map(|&bytes| f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16));
                out.iter_mut().zip(singles).for_each(|(out, value)| *out = value);
            }
            Number::F32 => {
                let singles = fours.iter().map(|&bytes| f32::from_le_bytes(bytes));
                out.iter_mut().zip(singles).for_each(|(out, value)| *out = value);
            }
            Number::I32 => {
                let integers = fours.iter().map(|&bytes| i32::from_le_bytes(bytes) as f32);
                out.iter_mut().zip(integers).for_each(|(out, value)| *out = value);
            }
        }
    }
}

/// Where the value of a row and column lies. "Above" and "below" are said of the stored matrix.
#[derive(Clone, Copy, Debug)]
pub(super) enum Layout {
    /// A row after the other, beginning every `stride` values.
    Rows { stride: u64 },
    /// A row after the other, beginning every so many bytes.
    Padded { row_bytes: u64 },
    /// 32-bit words, one of each row beside each other; those below each other are a row's stream of codes.
    WordsDown,
    /// A stored row for each column, `width` bytes long, with a value of every row.
    Columns { width: u64 },
    /// 32-bit words, one of each column beside each other; those below each other are a column's stream of codes.
    StreamDown,
    /// A stored row of units of so many bytes holds the rows r, r + `planes`, r + 2 · `planes` …; each further one is higher by
    /// the bits of a code, or lower, from the bit `from` on.
    Planes { unit: u32, planes: u64, from: Option<u32> },
    /// A stored row of bytes holds `per` rows that follow each other, the first in the lowest bits.
    Stacked { per: u64 },
}

pub(super) struct Grid<'a> {
    pub(super) source: &'a dyn ReadAt,
    /// Where its tensor begins in the source, and how long that is.
    pub(super) offset: u64,
    pub(super) byte_len: u64,
    pub(super) rows: u64,
    pub(super) cols: u64,
    /// Of a code; other numbers have their own.
    pub(super) bits: u32,
    pub(super) packing: Packing,
    pub(super) layout: Layout,
    pub(super) number: Number,
    pub(super) bands: Arc<Bands>,
}

/// Where a band is from: the source, the tensor in it, and the first row.
type Key = (usize, u64, u64);
type Slot = Arc<Mutex<Option<Arc<Vec<u8>>>>>;

/// Bands of rows that were gathered from all over a tensor, which the next piece asks for as well. Few are kept, of all
/// tensors together, so that memory does not grow with the model.
#[derive(Default)]
pub(super) struct Bands(Mutex<VecDeque<(Key, Slot)>>);

/// Two of codes, zero points and scales each, while one band ends and the next begins, and two more.
const MOST_BANDS: usize = 8;
/// Values of a band, as far as its rows may be as few,
const BAND_VALUES: u64 = 4 << 20;
/// which are a multiple of 32, so that a band begins with a word whatever the bits are.
const BAND_ROWS: [u64; 2] = [32, 1024];

impl Bands {
    fn get(&self, key: Key, make: impl FnOnce() -> io::Result<Vec<u8>>) -> io::Result<Arc<Vec<u8>>> {
        let mut bands = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = match bands.iter().find(|(known, _)| *known == key) {
            Some((_, slot)) => slot.clone(),
            None => {
                let slot = Slot::default();
                if bands.len() == MOST_BANDS {
                    bands.pop_front();
                }
                bands.push_back((key, slot.clone()));
                slot
            }
        };
        drop(bands);
        // Whoever needs the same band waits for it.
        let mut band = slot.lock().unwrap_or_else(PoisonError::into_inner);
        match &*band {
            Some(band) => Ok(band.clone()),
            None => Ok(band.insert(Arc::new(make()?)).clone()),
        }
    }
}

impl Grid<'_> {
    /// The values of whole rows from `first` on.
    pub(super) fn values(&self, first: u64, out: &mut [f32]) -> io::Result<()> {
        let mut bytes = vec![0; out.len() * self.number.unit()];
        self.raw(first, &mut bytes)?;
        self.number.widen(&bytes, out);
        Ok(())
    }

    /// A run of values of a matrix whose rows follow each other without a gap.
    pub(super) fn flat(&self, first: u64, out: &mut [f32]) -> io::Result<()> {
        let mut bytes = vec![0; out.len() * self.number.unit()];
        self.run(first, out.len(), 1, 0, &mut bytes)?;
        self.number.widen(&bytes, out);
        Ok(())
    }

    /// The codes, a byte each, or the bytes of the numbers of whole rows from `first` on.
    pub(super) fn raw(&self, first: u64, out: &mut [u8]) -> io::Result<()> {
        let row_bytes = self.cols as usize * self.number.unit();
        if row_bytes == 0 {
            return Ok(());
        }
        let end = first + (out.len() / row_bytes) as u64;
        match self.layout {
            Layout::Rows { stride } => {
                self.run(first * stride, self.cols as usize, (end - first) as usize, stride, out)
            }
            Layout::Padded { row_bytes } => {
                let mut stored = vec![0; ((end - first) * row_bytes) as usize];
                self.source.fill_at(&mut stored, self.offset + first * row_bytes)?;
                for (row, out) in stored.chunks(row_bytes as usize).zip(out.chunks_mut(self.cols as usize)) {
                    self.packing.unpack_from(self.bits, row, 0, out);
                }
                Ok(())
            }
            Layout::Planes { unit, planes, from } => self.planes(first, end, out, |row| {
                let (plane, at) = (row / planes, row % planes);
                let lift = self.bits * plane as u32;
                (unit as usize, at, planes - at, from.map_or(lift, |from| from - lift))
            }),
            Layout::Stacked { per } => {
                self.planes(first, end, out, |row| (1, row / per, 1, self.bits * (row % per) as u32))
            }
            Layout::WordsDown | Layout::Columns { .. } | Layout::StreamDown => {
                let rows = (BAND_VALUES / self.cols).clamp(BAND_ROWS[0], BAND_ROWS[1]) / 32 * 32;
                let (mut row, mut out) = (first, out);
                while row < end {
                    let start = row / rows * rows;
                    let band_end = (start + rows).min(self.rows);
                    let key = (std::ptr::from_ref(self.source).cast::<()>() as usize, self.offset, start);
                    let band = self.bands.get(key, || self.gather(start, band_end))?;
                    let part = (end.min(band_end) - row) as usize * row_bytes;
                    let (filled, rest) = out.split_at_mut(part);
                    let at = (row - start) as usize * row_bytes;
                    filled.copy_from_slice(&band[at..at + part]);
                    (row, out) = (band_end, rest);
                }
                Ok(())
            }
        }
    }

    /// How many values begin with a byte together, and the bytes that they take.
    pub(super) fn chunk(&self) -> (u64, u64) {
        match self.packing {
            _ if !self.number.is_code() => (1, self.number.unit() as u64),
            Packing::Words => (u64::from(32 / self.bits), 4),
            Packing::Awq => (8, 4),
            _ => (8, self.bits.into()),
        }
    }

    /// `len` values from number `first` on, and as many again `stride` values further, `rows` times.
    fn run(&self, first: u64, len: usize, rows: usize, stride: u64, out: &mut [u8]) -> io::Result<()> {
        let (values, bytes) = self.chunk();
        let end = first + stride * (rows as u64).saturating_sub(1) + len as u64;
        let start = first / values * bytes;
        let stop = (end.div_ceil(values) * bytes).min(self.byte_len);
        let is_code = self.number.is_code();
        if !is_code && stride == len as u64
            || is_code && self.bits == 8 && (rows == 1 || stride == len as u64)
        {
            return self.source.fill_at(out, self.offset + first * self.number.unit() as u64);
        }
        let mut stored = vec![0; stop.saturating_sub(start) as usize];
        self.source.fill_at(&mut stored, self.offset + start)?;
        let row_bytes = (len * self.number.unit()).max(1);
        for (row, out) in out.chunks_mut(row_bytes).enumerate() {
            let at = (first % values + row as u64 * stride) as usize;
            match is_code {
                true => self.packing.unpack_from(self.bits, &stored, at, out),
                false => {
                    let at = at * self.number.unit();
                    out.copy_from_slice(&stored[at..at + out.len()]);
                }
            }
        }
        Ok(())
    }

    /// Rows of which several share their bytes. `place` gives the bytes of a row's unit, the row of bytes that it is in, how many
    /// rows from it on follow each other there, and how many bits are below its own.
    fn planes(
        &self,
        first: u64,
        end: u64,
        out: &mut [u8],
        place: impl Fn(u64) -> (usize, u64, u64, u32),
    ) -> io::Result<()> {
        let cols = self.cols as usize;
        let mask = (1u32 << self.bits) - 1;
        let mut stored = Vec::new();
        let (mut row, mut out) = (first, out);
        while row < end {
            let (unit, at, most, shift) = place(row);
            let count = most.min(end - row);
            stored.resize(count as usize * cols * unit, 0);
            self.source.fill_at(&mut stored, self.offset + at * (cols * unit) as u64)?;
            let (filled, rest) = out.split_at_mut(count as usize * cols);
            if unit == 1 {
                for (code, byte) in filled.iter_mut().zip(&stored) {
                    *code = byte >> shift & mask as u8;
                }
            } else {
                for (code, word) in filled.iter_mut().zip(stored.as_chunks::<4>().0) {
                    *code = (u32::from_le_bytes(*word) >> shift & mask) as u8;
                }
            }
            (row, out) = (row + count, rest);
        }
        Ok(())
    }
}
