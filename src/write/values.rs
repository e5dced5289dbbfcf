//! Quantizes values while writing them, available with the feature `codecs`.

use super::data::DataWriter;
use super::stream::wrong;
use super::tensor::TensorWriter;
use crate::byte_order::ByteOrder;
use crate::codec::swap_byte_order;
use crate::codec::values::Codec;
use crate::error::{Error, Result, TensorProblem};
use crate::file::sink::Sink;

/// The number of bytes that values are quantized into at a time, or one row if that is more. It is enough to keep all cores busy.
const QUANTIZE_BYTES: usize = 1024 * 1024;

impl<S: Sink> DataWriter<S> {
    /// Writes the next tensor from all of its values, row after row. They are quantized or, for plain types,
    /// converted, as by [`TensorWriter::write_values`].
    ///
    /// ```
    /// # use gguf_codec::{GgmlType, Writer};
    /// # let mut writer = Writer::new(Vec::new());
    /// writer.declare_tensor("w", &[32, 2], GgmlType::Q8_0)?.declare_tensor("b", &[3], GgmlType::F32)?;
    /// let mut data = writer.write_header()?;
    /// data.write_values("w", &[0.5; 64], None)?;
    /// data.write_values("b", &[1.0, 2.0, 3.0], None)?;
    /// # data.finish()?;
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`begin`](Self::begin), and [`Error::Write`](crate::Error::Write) if the number of values is not the
    /// tensor's. These leave the file unchanged. Those of [`TensorWriter::write_values`] abandon it.
    pub fn write_values(&mut self, name: &str, values: &[f32], importance: Option<&[f32]>) -> Result<()> {
        let shape = self.stream.expect(0, name)?.kind.shape();
        if shape.element_count() != values.len() as u64 {
            return Err(wrong(name, TensorProblem::Values { found: values.len() as u64, shape }));
        }
        let mut tensor = self.begin(name)?;
        tensor.write_values(values, importance)?;
        tensor.finish()
    }
}

impl<S: Sink> TensorWriter<'_, S> {
    /// Quantizes rows of values and writes them. For plain types, converts them. The bytes are those of
    /// [`quantize`](crate::quantize), in the file's byte order.
    ///
    /// `values` must be whole rows, no more than remain. `importance` has a weight for each value of a row and
    /// applies to every row; plain types ignore it. Uses 1 MiB of memory, or one row if that is more. With the
    /// feature `rayon`, quantizes on all cores.
    ///
    /// # Errors
    /// [`Error::Write`], naming the tensor, if `values` are not whole rows or are more than remain, if earlier pieces
    /// ended within a row, if `importance` is not as long as a row, or if `quantize` rejects the type or a value that
    /// is not finite. [`Error::Io`].
    pub fn write_values(&mut self, values: &[f32], importance: Option<&[f32]>) -> Result<()> {
        self.guarded(|tensor| tensor.put_values(values, importance))
    }

    fn put_values(&mut self, values: &[f32], importance: Option<&[f32]>) -> Result<()> {
        let stream = &mut self.file.stream;
        let layout = stream.current().kind;
        let (ty, shape) = (layout.ggml_type(), layout.shape());
        // A row beyond the address space is longer than any slice of whole rows.
        let row_len = usize::try_from(shape.row_len()).unwrap_or(usize::MAX);
        let row_bytes = ty.bytes_for(shape.row_len()).unwrap_or(0);
        if let Some(weights) = importance.map(<[f32]>::len).filter(|&weights| weights != row_len) {
            return Err(stream.wrong(TensorProblem::Weights { row_len, found: weights }));
        }
        if !values.len().is_multiple_of(row_len) {
            return Err(stream.wrong(TensorProblem::PartialRow { found: values.len(), row_len }));
        }
        stream.expect_boundary("row", row_bytes)?;
        let bytes_of = |values: usize| ty.bytes_in(values);
        stream.expect_room(bytes_of(values.len()) as u64)?;

        // Plain types have no rows to keep together, so any piece can serve as one.
        let (unit, importance) = if ty.is_quantized() { (row_len, importance) } else { (1, None) };
        let at_once = (QUANTIZE_BYTES / bytes_of(unit).max(1)).max(1) * unit;
        let codec = Codec::new(ty).importance(importance).all_cores(true);
        let mut buffer = std::mem::take(&mut self.file.buffer);
        for (index, rows) in values.chunks(at_once.max(1)).enumerate() {
            buffer.resize(bytes_of(rows.len()), 0);
            let row_len = if ty.is_quantized() { row_len } else { rows.len() };
            codec.quantize(rows, row_len, &mut buffer).map_err(|error| {
                stream.wrong(TensorProblem::Quantize(Box::new(counted_from(error, index * at_once))))
            })?;
            if self.file.order == ByteOrder::Big {
                swap_byte_order(ty, &mut buffer);
            }
            stream.put(&buffer)?;
        }
        self.file.buffer = buffer;
        Ok(())
    }
}

/// Returns the same error with a value's index counted from the start of the caller's slice, which began `offset`
/// values before the quantized piece.
pub(super) fn counted_from(error: Error, offset: usize) -> Error {
    match error {
        Error::NonFinite { what: "value", index, value } => {
            Error::NonFinite { what: "value", index: index + offset, value }
        }
        error => error,
    }
}
