//! [`TensorInfo`]: the header's description of a tensor.

use alloc::borrow::ToOwned;
use alloc::format;
use core::fmt;

use super::layout::to_u64;
use crate::byte_order::ByteOrder;
use crate::error::{Error, Measured, Result};
use crate::ggml_type::GgmlType;
use crate::tensor::{Shape, Stored, StoredTensor, Tensor, TensorLayout, TensorSource};

/// The header's description of a tensor: name, shape, type, and the position of its data.
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
    pub(crate) layout: TensorLayout,
    pub(crate) order: ByteOrder,
    pub(crate) offset: u64,
    pub(crate) file_offset: u64,
    /// Its position in the table.
    pub(crate) index: usize,
    pub(crate) data: TensorData<'a>,
}

/// Where tensor data is.
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
    /// Returns the tensor's name.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Returns the extents, innermost first.
    pub fn shape(&self) -> Shape {
        self.layout.shape()
    }

    /// Returns the type in which values are stored.
    pub fn ggml_type(&self) -> GgmlType {
        self.layout.ggml_type()
    }

    /// Returns where the data begins, in bytes from the start of all tensor data: the number in the header.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns where the data begins, in bytes from the start of the GGUF.
    pub fn file_offset(&self) -> u64 {
        self.file_offset
    }

    /// Returns the byte order of the tensor's numbers, which is that of the file.
    pub fn byte_order(&self) -> ByteOrder {
        self.order
    }

    /// Returns the number of values in a row: the first extent, as [`Tensor::row_len`].
    pub fn row_len(&self) -> usize {
        usize::try_from(self.shape().row_len()).unwrap_or(usize::MAX)
    }

    /// Returns the number of rows: the product of the other extents, as [`Tensor::row_count`].
    pub fn row_count(&self) -> usize {
        usize::try_from(self.shape().row_count()).unwrap_or(usize::MAX)
    }

    /// Returns the number of values, as [`Tensor::len`]. Saturates at `usize::MAX`; [`Shape::element_count`] does not.
    pub fn len(&self) -> usize {
        usize::try_from(self.shape().element_count()).unwrap_or(usize::MAX)
    }

    /// Returns `true` if the tensor has no values because one of its extents is 0.
    pub fn is_empty(&self) -> bool {
        self.shape().element_count() == 0
    }

    /// Returns the size of the data in bytes, excluding the padding after it.
    pub fn byte_len(&self) -> u64 {
        self.layout.byte_len()
    }

    /// Returns the tensor with its data. Nothing is read from a file until values are requested.
    ///
    /// # Errors
    /// [`Error::HeaderOnly`] if only the header was read. [`Error::Length`] if `B`'s `AsRef` returns fewer bytes than
    /// when they were parsed.
    pub fn tensor(&self) -> Result<Tensor<'a>> {
        let gguf = match self.data {
            TensorData::Absent => return Err(Error::HeaderOnly { tensor: self.name.to_owned() }),
            TensorData::InBytes(gguf) => gguf,
            TensorData::InSource(source) => {
                let (index, offset, len) = (self.index, self.file_offset, self.byte_len());
                let tensor = StoredTensor { name: self.name, index, offset, len };
                let stored = Stored { source, tensor, at: 0, len };
                return Ok(Tensor::of_stored(self.layout, self.order, stored));
            }
        };
        let end = self.file_offset.saturating_add(self.byte_len());
        let range = usize::try_from(self.file_offset).ok().zip(usize::try_from(end).ok());
        match range.and_then(|(start, end)| gguf.get(start..end)) {
            Some(data) => self.with_data(data),
            // Parsing has checked this.
            None => Err(Error::Length {
                what: Measured::GgufBytes,
                found: to_u64(gguf.len()),
                wanted: format!(
                    "at least {end}, where tensor '{}' ends, as it was when it was parsed",
                    self.name.escape_debug()
                ),
            }),
        }
    }

    /// Returns the tensor with data from elsewhere. After a header-only read, fetch [`byte_len`](Self::byte_len)
    /// bytes at [`file_offset`](Self::file_offset), for example by a range request.
    ///
    /// # Errors
    /// [`Error::Length`] if the data is not as long as the header says.
    pub fn with_data(&self, data: &'a [u8]) -> Result<Tensor<'a>> {
        Tensor::new(self.name, self.shape(), self.ggml_type(), self.order, data)
    }
}

impl fmt::Debug for TensorInfo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TensorInfo")
            .field("name", &self.name)
            .field("shape", &self.shape())
            .field("type", &self.ggml_type())
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}
