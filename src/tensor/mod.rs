//! Views of tensors: [`Tensor`], whose type is known at run time, and [`TypedTensor`], whose type is known at compile time.

mod data;
mod layout;
#[cfg(feature = "compute")]
mod matrix;
mod shape;
mod typed;
#[cfg(feature = "codecs")]
mod values;

use alloc::format;
use alloc::vec::Vec;
use core::ops::{Bound, RangeBounds};

use data::Data;
pub(crate) use data::{Stored, StoredTensor, TensorSource};
pub(crate) use layout::{Misfit, TensorLayout, bytes_of_rows};
pub use shape::Shape;
pub use typed::TypedTensor;

use crate::byte_order::ByteOrder;
use crate::codec::{self, BlockFormat};
use crate::error::{Error, Measured, Result};
use crate::ggml_type::GgmlType;

/// A tensor's description and the location of its bytes. This is a view and cheap to copy.
///
/// Rows are along the first extent, as everywhere in GGUF. A range of rows is a tensor too.
///
/// A tensor of [`Gguf::open`](crate::Gguf::open) is stored in a file. [`dequantize`](Self::dequantize) and
/// [`dequantize_into`](Self::dequantize_into), of one row or of all, and [`validate`](Self::validate) read from the file each
/// time. The methods that return slices, [`bytes`](Self::bytes), [`as_slice`](Self::as_slice), [`typed`](Self::typed) and
/// [`matrix`](Self::matrix), read the whole tensor into memory the first time and keep it there as long as the
/// [`Gguf`](crate::Gguf) lives. [`read_bytes`](Self::read_bytes) copies bytes and keeps nothing.
///
/// ```
/// # use gguf_codec::{Gguf, Result};
/// # fn show(model: &Gguf<Vec<u8>>) -> Result<()> {
/// let tensor = model.tensor("token_embd.weight")?;
/// let mut row = vec![0.0f32; tensor.row_len()];
/// tensor.row(3)?.dequantize_into(&mut row)?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy)]
#[doc(alias = "ggml_tensor")]
pub struct Tensor<'a> {
    name: &'a str,
    shape: Shape,
    ty: GgmlType,
    order: ByteOrder,
    data: Data<'a>,
}

/// The number of bytes that are read from a file at a time when a whole tensor is processed.
pub(crate) const READ_BYTES: usize = 512 * 1024;

impl<'a> Tensor<'a> {
    /// Creates a tensor from its parts, for data that does not come from a GGUF file.
    ///
    /// # Errors
    /// [`Error::Length`] if rows are not whole blocks of `ty` or `bytes` does not have the length that `shape` requires.
    pub fn new(name: &'a str, shape: Shape, ty: GgmlType, order: ByteOrder, bytes: &'a [u8]) -> Result<Self> {
        let layout = TensorLayout::new(shape, ty).map_err(|misfit| misfit.error(shape, ty))?;
        if layout.byte_len() != bytes.len() as u64 {
            return Err(Error::Length {
                what: Measured::TensorBytes,
                found: bytes.len() as u64,
                wanted: format!("{}, what the shape {shape} takes in {ty}", layout.byte_len()),
            });
        }
        Ok(Tensor { name, shape, ty, order, data: Data::Bytes(bytes) })
    }

    /// Creates a whole tensor that is read when its values are requested. Its header has been checked.
    pub(crate) fn of_stored(layout: TensorLayout, order: ByteOrder, stored: Stored<'a>) -> Self {
        let (shape, ty) = (layout.shape(), layout.ggml_type());
        Tensor { name: stored.tensor.name, shape, ty, order, data: Data::Stored(stored) }
    }

    /// Returns the name, as in the file.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Returns the extents, innermost first.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Returns the type in which values are stored.
    pub fn ggml_type(&self) -> GgmlType {
        self.ty
    }

    /// Returns the byte order of the numbers in [`bytes`](Self::bytes), which is that of the file.
    pub fn byte_order(&self) -> ByteOrder {
        self.order
    }

    /// Returns the bytes as stored in the file, without the padding after them. If the tensor is in a file, the whole tensor
    /// is read into memory the first time and kept there as long as the [`Gguf`](crate::Gguf) lives.
    ///
    /// # Errors
    /// For a tensor in a file, `Error::Io` if it cannot be read, and [`Error::OutOfMemory`].
    pub fn bytes(&self) -> Result<&'a [u8]> {
        self.data.load()
    }

    /// Returns the length of [`bytes`](Self::bytes).
    pub fn byte_len(&self) -> u64 {
        self.data.len()
    }

    /// Fills `buffer` with the tensor's bytes, starting at byte `at`, and keeps nothing in memory. This is for processing a
    /// tensor in pieces.
    ///
    /// ```
    /// let model = gguf_codec::Gguf::read("examples/sample.gguf")?;
    /// let tensor = model.tensor("token_embd.weight")?;
    /// let mut last = [0; 16];
    /// tensor.read_bytes(tensor.byte_len() - 16, &mut last)?;
    /// assert!(tensor.bytes()?.ends_with(&last));
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if the tensor ends before the buffer is full; for a tensor in a file, `Error::Io` if it
    /// cannot be read.
    pub fn read_bytes(&self, at: u64, buffer: &mut [u8]) -> Result<()> {
        let end = at.saturating_add(buffer.len() as u64);
        if end > self.byte_len() {
            return Err(Error::OutOfRange { what: "byte", found: end - 1, count: self.byte_len() });
        }
        self.data.read(at, buffer)
    }

    /// Visits all bytes: those in memory at once, others in chunks of this length.
    #[cfg(feature = "std")]
    pub(crate) fn for_each_chunk(
        &self,
        chunk: usize,
        mut visit: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        match self.data.in_memory() {
            Some(bytes) => visit(bytes),
            None => self.data.for_each_chunk(chunk as u64, &mut Vec::new(), |bytes| visit(bytes)),
        }
    }

    /// Returns the number of values in a row: the first extent. Saturates at `usize::MAX`, only for a tensor without bytes.
    pub fn row_len(&self) -> usize {
        usize::try_from(self.shape.row_len()).unwrap_or(usize::MAX)
    }

    /// Returns the number of rows: the product of the other extents, as [`Shape::row_count`]. Saturates at
    /// `usize::MAX`, only for a tensor without bytes.
    pub fn row_count(&self) -> usize {
        usize::try_from(self.shape.row_count()).unwrap_or(usize::MAX)
    }

    /// Returns the number of values. Saturates at `usize::MAX`, for a tensor too large for any memory.
    pub fn len(&self) -> usize {
        usize::try_from(self.shape.element_count()).unwrap_or(usize::MAX)
    }

    /// Returns `true` if the tensor has no values because one of its extents is 0.
    pub fn is_empty(&self) -> bool {
        self.data.len() == 0
    }

    /// Returns one row, as a tensor of one dimension.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] past the last row.
    pub fn row(&self, row: usize) -> Result<Tensor<'a>> {
        let range = self.row_data(row, row.saturating_add(1))?;
        self.part(&[self.shape.row_len()], range)
    }

    /// Returns a range of rows, as a tensor of two dimensions.
    ///
    /// ```
    /// # let file = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/sample.gguf"));
    /// # let model = gguf_codec::Gguf::parse(file)?;
    /// let embeddings = model.tensor("token_embd.weight")?;
    /// let some = embeddings.rows(10..13)?;
    /// assert_eq!((some.row_count(), some.row_len()), (3, 64));
    /// assert_eq!(some.row(0)?.bytes()?, embeddings.row(10)?.bytes()?);
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if the range ends past the last row; [`Error::Reversed`] if it ends before it begins.
    pub fn rows(&self, range: impl RangeBounds<usize>) -> Result<Tensor<'a>> {
        let (start, end) = self.bounds(range);
        let data = self.row_data(start, end)?;
        self.part(&[self.shape.row_len(), (end - start) as u64], data)
    }

    fn bounds(&self, range: impl RangeBounds<usize>) -> (usize, usize) {
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&end) => end.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => self.row_count(),
        };
        (start, end)
    }

    /// Returns an iterator over the whole tensor in ranges of rows. Each range has at most `values` values, or is a
    /// single row. This is for work that must not keep a whole tensor's floats in memory.
    ///
    /// ```
    /// # let file = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/sample.gguf"));
    /// # let model = gguf_codec::Gguf::parse(file)?;
    /// let mut largest = 0.0f32;
    /// for rows in model.tensor("token_embd.weight")?.row_chunks(1000) {
    ///     let values: Vec<f32> = rows.dequantize()?; // 15 rows of 64
    ///     largest = values.iter().fold(largest, |largest, value| largest.max(value.abs()));
    /// }
    /// assert!(largest > 0.0);
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    pub fn row_chunks(&self, values: usize) -> impl Iterator<Item = Tensor<'a>> + use<'a> {
        let tensor = *self;
        let rows = if tensor.is_empty() { 0 } else { tensor.row_count() };
        let step = (values / tensor.row_len().max(1)).max(1);
        (0..rows)
            .step_by(step)
            .filter_map(move |start| tensor.rows(start..rows.min(start.saturating_add(step))).ok())
    }

    fn part(&self, dims: &[u64], data: Data<'a>) -> Result<Tensor<'a>> {
        let too_large = || Error::Length {
            what: Measured::RowRange,
            found: dims.iter().copied().max().unwrap_or(0),
            wanted: "a shape that 63 bits can count".into(),
        };
        Ok(Tensor { shape: Shape::new(dims).ok_or_else(too_large)?, data, ..*self })
    }

    fn row_data(&self, start: usize, end: usize) -> Result<Data<'a>> {
        let rows = self.row_count();
        if start > end {
            return Err(Error::Reversed { what: "rows", start: start as u64, end: end as u64 });
        }
        if end > rows {
            let found = end.saturating_sub(1).max(start) as u64;
            return Err(Error::OutOfRange { what: "row", found, count: rows as u64 });
        }
        let row = self.data.len() / rows.max(1) as u64;
        Ok(self.data.slice(start as u64 * row, end as u64 * row))
    }

    /// Returns the same tensor with its format known at compile time, so that blocks are accessible without copying. If the
    /// tensor is in a file, the whole tensor is read into memory the first time, as by [`bytes`](Self::bytes).
    ///
    /// # Errors
    /// [`Error::WrongType`] if it is of another type; [`Error::NotViewable`] for multi-byte numbers in a big-endian
    /// file, since blocks are little-endian on every machine; those of [`bytes`](Self::bytes).
    pub fn typed<F: BlockFormat>(&self) -> Result<TypedTensor<'a, F>> {
        TypedTensor::new(*self)
    }

    /// Returns the values of a plain tensor without copying, as the Rust type that corresponds to the tensor's type: `f32`,
    /// `f64`, [`f16`](crate::f16), [`bf16`](crate::bf16) or a signed integer. If the tensor is in a file, the whole tensor is
    /// read into aligned memory the first time, as by [`bytes`](Self::bytes).
    ///
    /// # Errors
    /// [`Error::WrongType`] if the tensor is of another type; [`Error::NotViewable`] if the bytes are not in this
    /// machine's byte order or not aligned for `T` in memory; those of [`bytes`](Self::bytes).
    pub fn as_slice<T: Plain>(&self) -> Result<&'a [T]> {
        if self.ty != T::TYPE {
            return Err(Error::WrongType { tensor: self.name.into(), found: self.ty, wanted: T::TYPE });
        }
        let not_viewable = |why| Error::NotViewable { tensor: self.name.into(), why };
        if self.order != ByteOrder::NATIVE && size_of::<T>() > 1 {
            return Err(not_viewable("its numbers are in the other byte order than this machine's"));
        }
        bytemuck::try_cast_slice(self.bytes()?)
            .map_err(|_| not_viewable("its bytes are not aligned in memory"))
    }

    /// Checks for NaN and infinite scales, and for such values in plain types, like [`GgmlType::validate`] but in
    /// both byte orders.
    ///
    /// ```
    /// # use gguf_codec::{GgmlType, Gguf, Writer};
    /// # let mut writer = Writer::new(Vec::new());
    /// # writer.declare_tensor("norm", &[2], GgmlType::F32)?;
    /// # let mut data = writer.write_header()?;
    /// # data.write_tensor("norm", &[0, 0, 0x80, 0x3f, 0, 0, 0xc0, 0x7f])?;
    /// # let file = data.finish()?;
    /// # let model = Gguf::parse(&file)?;
    /// let error = model.tensor("norm")?.validate().unwrap_err(); // [1.0, NaN]
    /// assert_eq!(error.to_string(), "block 1 of F32: the value is NaN");
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidBlock`] names the first invalid block. For a tensor in a file, `Error::Io` if it cannot be read.
    pub fn validate(&self) -> Result<()> {
        if let Some(bytes) = self.data.in_memory() {
            return codec::validate(self.ty, self.order, bytes);
        }
        let blocks_at_once = (READ_BYTES / self.ty.block_bytes()).max(1) as u64;
        let mut buffer = Vec::new();
        let mut first = 0;
        self.data.for_each_chunk(blocks_at_once * self.ty.block_bytes() as u64, &mut buffer, |bytes| {
            codec::validate(self.ty, self.order, bytes).map_err(|error| match error {
                Error::InvalidBlock { ty, block, what } => {
                    Error::InvalidBlock { ty, block: first + block, what }
                }
                error => error,
            })?;
            first += blocks_at_once;
            Ok(())
        })
    }
}

/// A Rust type that corresponds to a plain tensor type: see [`Tensor::as_slice`].
pub trait Plain: bytemuck::Pod + sealed::Sealed {
    /// The tensor type.
    const TYPE: GgmlType;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! plain {
    ($($rust:ty: $ty:ident),*) => {$(
        impl sealed::Sealed for $rust {}
        impl Plain for $rust {
            const TYPE: GgmlType = GgmlType::$ty;
        }
    )*};
}

plain!(f32: F32, half::f16: F16, half::bf16: BF16, f64: F64, i8: I8, i16: I16, i32: I32, i64: I64);
