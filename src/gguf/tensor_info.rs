//! [`TensorInfo`]: what the header says of a tensor.

use alloc::borrow::ToOwned;
use alloc::format;
use core::fmt;
use core::iter::FusedIterator;
use core::ops::Range;

use super::header::Header;
use super::layout::to_u64;
use crate::error::{Error, Result};
use crate::tensor::{Stored, StoredTensor, TensorSource};
use crate::{ByteOrder, GgmlType, Shape, Tensor};

/// What the header says of a tensor: name, shape, type, and where its data lies.
///
/// ```
/// # use gguf_codec::{GgmlType, Gguf, Writer};
/// # let mut writer = Writer::new(Vec::new());
/// # writer.declare_tensor("output_norm.weight", &[2], GgmlType::F32)?;
/// # let mut data = writer.write_header()?;
/// # data.write_tensor("output_norm.weight", &[0, 0, 0x80, 0x3f, 0, 0, 0, 0x40])?;
/// # let file = data.finish()?;
/// let header = Gguf::read_header(file.as_slice())?;
/// let info = header.tensor_info("output_norm.weight")?;
/// assert_eq!((info.ggml_type(), info.byte_len()), (GgmlType::F32, 8));
/// // Its data comes another way, such as by a range request.
/// let data = &file[info.file_offset() as usize..][..info.byte_len() as usize];
/// assert_eq!(info.with_data(data)?.dequantize::<f32>()?, [1.0, 2.0]);
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct TensorInfo<'a> {
    pub(crate) name: &'a str,
    pub(crate) shape: Shape,
    pub(crate) ty: GgmlType,
    pub(crate) order: ByteOrder,
    pub(crate) offset: u64,
    pub(crate) file_offset: u64,
    pub(crate) byte_len: u64,
    /// Its position in the table.
    pub(crate) index: usize,
    pub(crate) data: TensorData<'a>,
}

/// Where the data of all tensors is.
#[derive(Clone, Copy)]
pub(crate) enum TensorData<'a> {
    /// Only the header was read.
    Absent,
    /// In the whole GGUF.
    InBytes(&'a [u8]),
    #[cfg_attr(not(feature = "std"), allow(dead_code, reason = "files need std"))]
    InSource(&'a dyn TensorSource),
}

impl<'a> TensorInfo<'a> {
    /// Its name.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Its extents, innermost first.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// How its values are stored.
    pub fn ggml_type(&self) -> GgmlType {
        self.ty
    }

    /// Where its data begins, in bytes from the start of all tensors' data: the number in the header.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Where its data begins, in bytes from the start of the GGUF.
    pub fn file_offset(&self) -> u64 {
        self.file_offset
    }

    /// The byte order of its numbers: the file's.
    pub fn byte_order(&self) -> ByteOrder {
        self.order
    }

    /// Values in a row: the first extent, as [`Tensor::row_len`].
    pub fn row_len(&self) -> usize {
        usize::try_from(self.shape.row_len()).unwrap_or(usize::MAX)
    }

    /// Rows: the product of the other extents, as [`Tensor::row_count`].
    pub fn row_count(&self) -> usize {
        usize::try_from(self.shape.row_count()).unwrap_or(usize::MAX)
    }

    /// Values in all, as [`Tensor::len`]. Saturates at `usize::MAX`; [`Shape::element_count`] does not.
    pub fn len(&self) -> usize {
        usize::try_from(self.shape.element_count()).unwrap_or(usize::MAX)
    }

    /// Whether it has no values: one of its extents is 0.
    pub fn is_empty(&self) -> bool {
        self.shape.element_count() == 0
    }

    /// Bytes of its data, the padding after it not counted.
    pub fn byte_len(&self) -> u64 {
        self.byte_len
    }

    /// Returns the tensor with its data. Nothing is read from a file before values are asked for.
    ///
    /// # Errors
    /// [`Error::HeaderOnly`] where only the header was read. [`Error::Length`] where `B`'s `AsRef` gives fewer bytes
    /// than when they were parsed.
    pub fn tensor(&self) -> Result<Tensor<'a>> {
        let gguf = match self.data {
            TensorData::Absent => return Err(Error::HeaderOnly { tensor: self.name.to_owned() }),
            TensorData::InBytes(gguf) => gguf,
            TensorData::InSource(source) => {
                let (index, offset, len) = (self.index, self.file_offset, self.byte_len);
                let tensor = StoredTensor { name: self.name, index, offset, len };
                let stored = Stored { source, tensor, at: 0, len };
                return Ok(Tensor::of_stored(self.shape, self.ty, self.order, stored));
            }
        };
        let end = self.file_offset.saturating_add(self.byte_len);
        let range = usize::try_from(self.file_offset).ok().zip(usize::try_from(end).ok());
        match range.and_then(|(start, end)| gguf.get(start..end)) {
            Some(data) => self.with_data(data),
            // Parsing has checked this.
            None => Err(Error::Length {
                what: "what is left of the GGUF, in bytes,",
                found: to_u64(gguf.len()),
                wanted: format!(
                    "at least {end}, where tensor '{}' ends, as it was when it was parsed",
                    self.name.escape_debug()
                ),
            }),
        }
    }

    /// The tensor with data that came another way: after a header-only read, by a range request for
    /// [`byte_len`](Self::byte_len) bytes at [`file_offset`](Self::file_offset).
    ///
    /// # Errors
    /// [`Error::Length`] where the data is not as long as the header says.
    pub fn with_data(&self, data: &'a [u8]) -> Result<Tensor<'a>> {
        Tensor::new(self.name, self.shape, self.ty, self.order, data)
    }
}

impl fmt::Debug for TensorInfo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TensorInfo")
            .field("name", &self.name)
            .field("shape", &self.shape)
            .field("type", &self.ty)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

/// The tensors of a [`Gguf`](crate::Gguf), in the file's order.
#[derive(Clone)]
pub struct TensorIter<'a> {
    pub(crate) header: &'a Header,
    /// From the start of the GGUF.
    pub(crate) bytes: &'a [u8],
    pub(crate) data: TensorData<'a>,
    pub(crate) range: Range<usize>,
}

impl<'a> TensorIter<'a> {
    /// `None`, and the end, only in bytes that changed since they were parsed.
    fn info(&self, index: usize) -> Option<TensorInfo<'a>> {
        let info = self.header.tensor(self.bytes, index)?;
        Some(TensorInfo { data: self.data, ..info })
    }
}

impl<'a> Iterator for TensorIter<'a> {
    type Item = TensorInfo<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.range.next()?;
        self.info(index)
    }

    fn nth(&mut self, n: usize) -> Option<Self::Item> {
        let index = self.range.nth(n)?;
        self.info(index)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.range.size_hint()
    }
}

impl DoubleEndedIterator for TensorIter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let index = self.range.next_back()?;
        self.info(index)
    }
}

impl ExactSizeIterator for TensorIter<'_> {}
impl FusedIterator for TensorIter<'_> {}

impl fmt::Debug for TensorIter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}
