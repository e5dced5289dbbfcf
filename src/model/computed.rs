//! [`Computed`]: values that are computed when they are read.

use std::fmt;
use std::io;
use std::ops::Range;

use super::job::{Origin, in_memory, write_floats};
use crate::byte_order::ByteOrder;
use crate::error::Result;
use crate::file::read_at::{ReadAt, Units};
use crate::ggml_type::GgmlType;
use crate::tensor::Shape;

/// Values that are computed when a [`Job`](super::Job) reads them, some rows at a time and on all cores: merged adapters,
/// averaged models, pruned weights. They never need to be in memory all at once, or in a file.
///
/// ```
/// use gguf_codec::model::{Computed, Convert, Job};
/// use gguf_codec::{GgmlType, Gguf, Writer};
///
/// let model = Gguf::open("examples/sample.gguf")?;
/// let (up, gate) = (model.tensor("blk.0.ffn_up.weight")?, model.tensor("blk.0.ffn_gate.weight")?);
///
/// // The mean of two tensors of one shape.
/// let mean = Computed::new(up.shape(), |rows, out| {
///     let mut other = vec![0.0; out.len()];
///     up.rows_into(rows.clone(), out)?;
///     gate.rows_into(rows, &mut other)?;
///     out.iter_mut().zip(other).for_each(|(value, other)| *value = (*value + other) / 2.0);
///     Ok(())
/// });
/// let job = Job::new("mean", mean.origin()?, GgmlType::Q8_0);
///
/// let mut writer = Writer::new(Vec::new());
/// writer.declare_tensor(job.name(), job.shape().dims(), job.ggml_type())?;
/// let mut data = writer.write_header()?;
/// let outcomes = Convert::new().measure(true).run(&[job], &mut data)?;
/// assert!(outcomes[0].error.unwrap().snr_db() > 30.0);
/// let file = data.finish()?;
/// # assert_eq!(Gguf::parse(&file)?.tensor("mean")?.shape(), up.shape());
/// # Ok::<(), gguf_codec::Error>(())
/// ```
pub struct Computed<F> {
    shape: Shape,
    rows: F,
}

/// The number of values that are computed at a time, or one row if that is longer.
const PART: u64 = 16 * 1024;

impl<F: Fn(Range<usize>, &mut [f32]) -> Result<()> + Send + Sync> Computed<F> {
    /// Creates a tensor of this shape. `rows` fills its argument with the values of consecutive rows, which continue across
    /// matrices. It is called by several threads, in any order, and possibly more than once for some rows.
    pub fn new(shape: Shape, rows: F) -> Self {
        Computed { shape, rows }
    }

    /// Returns the input of a job: the values as F32.
    ///
    /// # Errors
    /// [`Error::Length`](crate::Error::Length) if the position of the last byte overflows.
    pub fn origin(&self) -> Result<Origin<'_>> {
        Origin::new(self, 0, self.shape, GgmlType::F32, ByteOrder::Little)
    }
}

impl<F: Fn(Range<usize>, &mut [f32]) -> Result<()> + Send + Sync> ReadAt for Computed<F> {
    fn fill_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let row_len = self.shape.row_len().max(1);
        let units = Units { bytes: 4 * row_len, count: self.shape.row_count(), at_once: PART / row_len };
        let mut values = Vec::new();
        units.fill(buffer, offset, |first, out| {
            values.clear();
            values.resize(out.len() / 4, 0.0f32);
            let end = first + (out.len() / 4) as u64 / row_len;
            let end = in_memory(end).map_err(io::Error::other)?;
            (self.rows)(first as usize..end, &mut values).map_err(io::Error::other)?;
            write_floats(&values, out);
            Ok(())
        })
    }
}

impl<F> fmt::Debug for Computed<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Computed").field("shape", &self.shape).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn any_bytes_are_those_of_the_rows() {
        for dims in [&[7, 5][..], &[40_000, 2], &[3, 2, 4], &[1, 9]] {
            let shape = Shape::new(dims).unwrap();
            let row_len = dims[0];
            let computed = Computed::new(shape, |rows, out| {
                let first = rows.start as u64 * row_len;
                assert_eq!(out.len() as u64, rows.len() as u64 * row_len);
                out.iter_mut().zip(first..).for_each(|(value, at)| *value = at as f32);
                Ok(())
            });
            let all: Vec<u8> = (0..shape.element_count()).flat_map(|at| (at as f32).to_le_bytes()).collect();
            for (offset, len) in [
                (0, all.len()),
                (0, 1),
                (5, 30),
                (all.len() - 3, 3),
                (4 * row_len as usize, 4),
                (2, all.len() - 2),
            ] {
                let mut bytes = vec![0; len];
                computed.fill_at(&mut bytes, offset as u64).unwrap();
                assert!(bytes == all[offset..offset + len], "{dims:?} {offset} {len}");
            }
            let end = computed.fill_at(&mut [0; 4], all.len() as u64 - 2).unwrap_err();
            assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
        }
        let failing =
            Computed::new(Shape::new(&[4, 1]).unwrap(), |_, _| Err(Error::write("no such adapter")));
        assert_eq!(failing.fill_at(&mut [0; 4], 0).unwrap_err().to_string(), "no such adapter");
    }
}
