//! [`Gguf`]: one type over files, buffers, slices and headers alone.

use alloc::borrow::ToOwned;
#[cfg(feature = "std")]
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

#[cfg(feature = "std")]
use super::file_data::FileData;
use super::foreign::ForeignTensor;
use super::from_value::FromValue;
use super::header::Header;
use super::layout::{FinalPadding, align_up, to_u64};
use super::metadata::Metadata;
use super::tensor_info::{TensorData, TensorInfo};
use super::tensor_iter::TensorIter;
use crate::byte_order::ByteOrder;
use crate::error::{Error, Result};
#[cfg(feature = "std")]
use crate::file::read_at::ReadAt;
use crate::tensor::Tensor;

/// A GGUF: an index over the bytes `B`, which it owns or borrows.
///
/// | made by | `B` | a tensor's bytes |
/// |---|---|---|
/// | [`open`](Self::open) | `Vec<u8>`, the header | are read from the file on request |
/// | [`read`](Self::read) | `Vec<u8>`, the file | are in memory |
/// | [`parse`](Self::parse) | the argument: a slice, a vector, … | are in memory |
/// | `unsafe` [`map`](Self::map) | [`Mapped`](crate::Mapped) | are read by the operating system on first access |
/// | [`read_header`](Self::read_header) | `Vec<u8>`, the header | are unavailable |
///
/// Opening reads the header once and keeps 24 bytes plus a few per key and tensor. No string, array or tensor is copied.
///
/// ```
/// use gguf_codec::Gguf;
///
/// # let file = b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0k\x04\0\0\0\x2a\0\0\0";
/// let model = Gguf::parse(file)?;
/// let answer: u64 = model.metadata().require("k")?;
/// assert_eq!((answer, model.tensor_count()), (42, 0));
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[doc(alias("gguf_context", "gguf_init_from_file", "GGUFReader"))]
pub struct Gguf<B> {
    pub(crate) bytes: B,
    /// Where the GGUF begins in `bytes`.
    start: usize,
    pub(super) header: Header,
    data: Data,
}

/// Where tensor data is.
enum Data {
    /// Only the header was read.
    Absent,
    /// In `bytes`.
    InBytes,
    /// In a file; `bytes` are the header.
    #[cfg(feature = "std")]
    InFile(Box<FileData>),
}

impl<B: AsRef<[u8]>> Gguf<B> {
    pub(super) fn whole(bytes: B, start: usize, header: Header) -> Self {
        Gguf { bytes, start, header, data: Data::InBytes }
    }

    #[cfg(feature = "std")]
    pub(super) fn with_file(self, file: FileData) -> Self {
        Gguf { data: Data::InFile(Box::new(file)), ..self }
    }

    pub(super) fn header_only(bytes: B, header: Header) -> Self {
        Gguf { bytes, start: 0, header, data: Data::Absent }
    }

    /// Returns the name of the tensor at this position, or nothing if there is none.
    #[cfg(feature = "std")]
    pub(super) fn tensor_name(&self, index: usize) -> &[u8] {
        self.header.name_bytes(self.gguf(), index)
    }

    /// Returns all bytes from the start of the GGUF. `AsRef` may return other bytes than when they were parsed, so
    /// nothing may be assumed about them.
    fn gguf(&self) -> &[u8] {
        self.bytes.as_ref().get(self.start..).unwrap_or_default()
    }

    /// Returns the key-value pairs.
    pub fn metadata(&self) -> Metadata<'_> {
        Metadata { header: &self.header, bytes: self.gguf() }
    }

    /// Returns the model's architecture: see [`Metadata::architecture`].
    pub fn architecture(&self) -> Option<&str> {
        self.metadata().architecture()
    }

    /// Returns the value of a key that begins with the architecture's name: see [`Metadata::require_arch`].
    ///
    /// # Errors
    /// The errors of [`Metadata::require_arch`].
    pub fn require_arch<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<T> {
        self.metadata().require_arch(key)
    }

    /// Returns an iterator over the tensors in file order.
    pub fn tensors(&self) -> TensorIter<'_> {
        let range = 0..self.tensor_count();
        TensorIter { header: &self.header, bytes: self.gguf(), data: self.tensor_data(), range }
    }

    /// Returns the number of tensors.
    pub fn tensor_count(&self) -> usize {
        self.header.tensors.len()
    }

    /// Returns an iterator over the tensors of the table that are not among [`tensors`](Self::tensors), in file order.
    /// It is empty unless [`GgufOptions::foreign_tensors`](crate::GgufOptions::foreign_tensors) requests them.
    ///
    /// ```
    /// use gguf_codec::Gguf;
    ///
    /// # let mut writer = gguf_codec::Writer::new(Vec::new());
    /// # writer.declare_tensor("t", &[8], gguf_codec::GgmlType::I8)?;
    /// # let mut data = writer.write_header()?;
    /// # data.write_tensor("t", &[0; 8])?;
    /// # let mut file = data.finish()?;
    /// # let at = file.windows(9).position(|bytes| bytes == b"\x01\0\0\0\0\0\0\0t").unwrap() + 9 + 4 + 8;
    /// # file[at] = 139;
    /// let model = Gguf::options().foreign_tensors(true).parse(&file)?; // a model of a fork
    /// let tensor = model.foreign_tensors().next().unwrap();
    /// assert_eq!((tensor.name(), tensor.type_id(), tensor.extents()), ("t", 139, &[8][..]));
    /// assert!(Gguf::parse(&file).is_err());
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    pub fn foreign_tensors(&self) -> impl ExactSizeIterator<Item = ForeignTensor<'_>> {
        let bytes = self.gguf();
        let indexes = 0..self.header.foreign.len();
        let mut list: Vec<_> = indexes.filter_map(|index| self.header.foreign(bytes, index)).collect();
        let len = match &self.data {
            Data::Absent => None,
            Data::InBytes => Some(to_u64(bytes.len())),
            #[cfg(feature = "std")]
            Data::InFile(file) => Some(file.end().len),
        };
        if let (Some(len), Some(last)) = (len, list.last_mut()) {
            last.byte_len.get_or_insert(len.saturating_sub(last.file_offset));
        }
        list.into_iter()
    }

    /// Returns the header's description of a tensor. Takes constant time.
    ///
    /// # Errors
    /// [`Error::MissingTensor`]; [`Error::Foreign`] for one of [`foreign_tensors`](Self::foreign_tensors).
    pub fn tensor_info(&self, name: &str) -> Result<TensorInfo<'_>> {
        let bytes = self.gguf();
        let index = self.header.find_tensor(bytes, name);
        if let Some(foreign) = index.and_then(|index| index.checked_sub(self.header.tensors.len())) {
            let tensor = self.header.foreign(bytes, foreign);
            let tensor = tensor.ok_or_else(|| Error::MissingTensor { name: name.to_owned() })?;
            return Err(Error::Foreign { tensor: name.to_owned(), problem: tensor.problem });
        }
        let info = index.and_then(|index| self.header.tensor(bytes, index));
        let info = info.ok_or_else(|| Error::MissingTensor { name: name.to_owned() })?;
        Ok(TensorInfo { data: self.tensor_data(), ..info })
    }

    /// Returns a tensor with its data. Takes constant time. Nothing is read from a file until values are requested.
    ///
    /// # Errors
    /// [`Error::MissingTensor`], and [`Error::HeaderOnly`] if only the header was read.
    pub fn tensor(&self, name: &str) -> Result<Tensor<'_>> {
        self.tensor_info(name)?.tensor()
    }

    /// Returns the position of a readable tensor.
    #[cfg(feature = "std")]
    pub(crate) fn index_of(&self, name: &str) -> Option<usize> {
        self.header.find_tensor(self.gguf(), name).filter(|&index| index < self.header.tensors.len())
    }

    /// Returns `true` if the table contains this tensor, readable or not.
    #[cfg(all(feature = "std", any(unix, windows)))]
    pub(crate) fn has_tensor(&self, name: &str) -> bool {
        self.header.find_tensor(self.gguf(), name).is_some()
    }

    /// Returns every tensor of the table in order: its name, and the bytes after the name: extents, type, offset.
    #[cfg(all(feature = "std", any(unix, windows)))]
    pub(crate) fn table(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.header.table(self.gguf())
    }

    fn tensor_data(&self) -> TensorData<'_> {
        match &self.data {
            Data::Absent => TensorData::Absent,
            Data::InBytes => TensorData::InBytes(self.gguf()),
            #[cfg(feature = "std")]
            Data::InFile(file) => TensorData::InSource(&**file),
        }
    }

    /// Returns the source that tensors are read from: the file, or the bytes if there is no file.
    #[cfg(feature = "std")]
    #[cfg_attr(not(any(unix, windows)), allow(dead_code, reason = "whole models are read at offsets"))]
    pub(crate) fn source(&self) -> &dyn ReadAt
    where
        B: ReadAt,
    {
        match &self.data {
            Data::InFile(file) => &*file.source,
            _ => &self.bytes,
        }
    }

    /// Returns the source that [`tensor`](Self::tensor) reads from, if it is not the bytes.
    #[cfg(feature = "std")]
    #[cfg_attr(not(any(unix, windows)), allow(dead_code, reason = "whole models are read at offsets"))]
    pub(crate) fn file_data(&self) -> Option<&FileData> {
        match &self.data {
            Data::InFile(file) => Some(file),
            _ => None,
        }
    }

    /// Returns `true` if the padding after the last tensor, or after a header without tensors, is complete and zero.
    /// Files without it are valid too, but a writer that reproduces a file needs to know. Returns `true` if no
    /// padding is needed, and if only the header was read, because ggml and gguf-py write it.
    pub fn has_final_padding(&self) -> bool {
        self.final_padding() == FinalPadding::Whole
    }

    /// Returns the range of bytes after the data and its padding that belong to no tensor, from the start of the GGUF. The
    /// range is nearly always empty, and it is empty if only the header was read. If shards were joined with `cat`, the next
    /// one begins there.
    ///
    /// ```
    /// use gguf_codec::Gguf;
    ///
    /// let mut bytes = std::fs::read("examples/sample.gguf")?;
    /// let len = bytes.len() as u64;
    /// assert!(Gguf::parse(&bytes)?.trailing().is_empty());
    /// bytes.extend(b"signed");
    /// assert_eq!(Gguf::parse(&bytes)?.trailing(), len..len + 6);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn trailing(&self) -> Range<u64> {
        match &self.data {
            Data::Absent => return 0..0,
            Data::InBytes => {}
            #[cfg(feature = "std")]
            Data::InFile(file) => return file.end().trailing.clone(),
        }
        let gguf = self.gguf();
        let len = to_u64(gguf.len());
        let Some(end) = self.header.data_end(gguf) else { return len..len };
        let padding = match self.final_padding() {
            FinalPadding::Whole => align_up(end, self.header.alignment()).unwrap_or(end) - end,
            FinalPadding::Zeros(zeros) => zeros,
        };
        end.saturating_add(padding).min(len)..len
    }

    /// Returns `true` if another GGUF begins where this one ends, as after joining shards with `cat`.
    pub fn is_joined(&self) -> bool {
        match &self.data {
            Data::Absent => false,
            Data::InBytes => {
                let start = usize::try_from(self.trailing().start).unwrap_or(usize::MAX);
                self.gguf().get(start..).is_some_and(|trailing| trailing.starts_with(b"GGUF"))
            }
            #[cfg(feature = "std")]
            Data::InFile(file) => file.end().is_joined,
        }
    }

    /// Returns how much of the final padding exists: the zeros that follow the data, up to the alignment.
    #[cfg_attr(not(feature = "std"), allow(dead_code))]
    pub(crate) fn final_padding(&self) -> FinalPadding {
        match &self.data {
            Data::Absent => return FinalPadding::Whole,
            Data::InBytes => {}
            #[cfg(feature = "std")]
            Data::InFile(file) => return file.end().final_padding,
        }
        let gguf = self.gguf();
        let Some(end) = self.header.data_end(gguf) else { return FinalPadding::Zeros(0) };
        let wanted = align_up(end, self.header.alignment()).unwrap_or(end) - end;
        let behind = usize::try_from(end).ok().and_then(|end| gguf.get(end..)).unwrap_or_default();
        let wanted_here = usize::try_from(wanted).unwrap_or(usize::MAX);
        let zeros = to_u64(behind.iter().take(wanted_here).take_while(|&&byte| byte == 0).count());
        if zeros == wanted { FinalPadding::Whole } else { FinalPadding::Zeros(zeros) }
    }
}

impl<B> Gguf<B> {
    /// Returns the version of the format: 1, 2 or 3.
    pub fn version(&self) -> u32 {
        self.header.version
    }

    /// Returns the byte order of the header and of the numbers in the tensors.
    pub fn byte_order(&self) -> ByteOrder {
        self.header.encoding.order
    }

    /// Returns the alignment. Every tensor's data begins at a multiple of this many bytes from the start of the GGUF.
    pub fn alignment(&self) -> u32 {
        self.header.alignment()
    }

    /// Returns the number of bytes from the start of the GGUF to the end of the tensor table.
    pub fn header_len(&self) -> u64 {
        self.header.len
    }

    /// Returns where tensor data begins, in bytes from the start of the GGUF: [`header_len`](Self::header_len)
    /// rounded up to the alignment. A file without tensors may end earlier.
    pub fn data_offset(&self) -> u64 {
        self.header.data_offset
    }

    /// Returns `true` if only the header was read and tensors have no data.
    pub fn is_header_only(&self) -> bool {
        matches!(self.data, Data::Absent)
    }

    /// Lends the bytes that were given, mapped or read. For [`open`](Gguf::open) and [`read_header`](Gguf::read_header), these are
    /// the header's bytes.
    ///
    /// ```
    /// let file = std::fs::read("examples/sample.gguf")?;
    /// let model = gguf_codec::Gguf::parse(file)?;
    /// let data = &model.get_ref()[model.data_offset() as usize..];
    /// assert!(data.starts_with(model.tensor("token_embd.weight")?.bytes()?));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_ref(&self) -> &B {
        &self.bytes
    }

    /// Returns the bytes that [`get_ref`](Self::get_ref) lends.
    pub fn into_inner(self) -> B {
        self.bytes
    }
}

impl<B> fmt::Debug for Gguf<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gguf")
            .field("version", &self.version())
            .field("byte_order", &self.byte_order())
            .field("alignment", &self.alignment())
            .field("keys", &self.header.keys.len())
            .field("tensors", &self.header.tensors.len())
            .finish_non_exhaustive()
    }
}
