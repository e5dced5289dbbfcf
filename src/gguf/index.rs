//! [`Gguf`]: one type over mapped files, buffers and slices, and over headers alone.

use alloc::borrow::ToOwned;
use alloc::vec::Vec;
use core::fmt;

use super::foreign::ForeignTensor;
use super::from_value::FromValue;
use super::header::Header;
use super::layout::{FinalPadding, align_up, to_u64};
use super::metadata::Metadata;
use super::options::GgufOptions;
use super::tensor_info::{TensorInfo, TensorIter};
use crate::error::{Error, Result};
use crate::{ByteOrder, Tensor};

/// A GGUF: an index over the bytes `B`, which it owns or borrows.
///
/// `B` is [`Mapped`](crate::Mapped) for [`open`](Self::open), `Vec<u8>` for [`read`](Self::read) and
/// [`read_header`](Self::read_header), and whatever was given for [`parse`](Self::parse). Opening reads the header
/// once, and keeps 24 bytes and a few for each key and tensor: no string, no array and no tensor is copied.
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
    /// Whether the tensors' data is there, and not the header alone.
    whole: bool,
}

impl Gguf<Vec<u8>> {
    /// Options, for limits other than the default or a GGUF inside a larger file.
    pub fn options() -> GgufOptions {
        GgufOptions::default()
    }
}

impl<B: AsRef<[u8]>> Gguf<B> {
    /// Parses a GGUF that is whole in memory. Bytes behind it are ignored.
    ///
    /// # Errors
    /// Those of [`GgufOptions::parse`].
    pub fn parse(bytes: B) -> Result<Self> {
        GgufOptions::default().parse(bytes)
    }

    pub(super) fn whole(bytes: B, start: usize, header: Header) -> Self {
        Gguf { bytes, start, header, whole: true }
    }

    pub(super) fn header_only(bytes: B, header: Header) -> Self {
        Gguf { bytes, start: 0, header, whole: false }
    }

    /// The name of the tensor at this position; nothing where there is none.
    #[cfg(feature = "std")]
    pub(super) fn tensor_name(&self, index: usize) -> &[u8] {
        self.header.name_bytes(self.gguf(), index)
    }

    /// All bytes from the start of the GGUF. `AsRef` may answer differently than when it was parsed, so
    /// nothing is taken for granted about them.
    fn gguf(&self) -> &[u8] {
        self.bytes.as_ref().get(self.start..).unwrap_or_default()
    }

    /// The key-value pairs.
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
    /// Those of [`Metadata::require_arch`].
    pub fn require_arch<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<T> {
        self.metadata().require_arch(key)
    }

    /// The tensors in the order of the file.
    pub fn tensors(&self) -> TensorIter<'_> {
        let range = 0..self.tensor_count();
        TensorIter { header: &self.header, bytes: self.gguf(), gguf: self.whole_gguf(), range }
    }

    /// How many tensors there are.
    pub fn tensor_count(&self) -> usize {
        self.header.tensors.len()
    }

    /// The tensors of the table that are not among [`tensors`](Self::tensors), in the order of the file: none but where
    /// [`GgufOptions::foreign_tensors`] asks for them.
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
        if self.whole
            && let Some(last) = list.last_mut()
        {
            let rest = to_u64(bytes.len()).saturating_sub(last.file_offset);
            last.byte_len.get_or_insert(rest);
        }
        list.into_iter()
    }

    /// What the header says of a tensor, found in constant time.
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
        Ok(TensorInfo { gguf: self.whole_gguf(), ..info })
    }

    /// A tensor with its data, found in constant time.
    ///
    /// # Errors
    /// [`Error::MissingTensor`], and [`Error::HeaderOnly`] where only the header was read.
    pub fn tensor(&self, name: &str) -> Result<Tensor<'_>> {
        self.tensor_info(name)?.tensor()
    }

    /// The position of a tensor that can be read.
    #[cfg(feature = "std")]
    pub(crate) fn index_of(&self, name: &str) -> Option<usize> {
        self.header.find_tensor(self.gguf(), name).filter(|&index| index < self.header.tensors.len())
    }

    /// Whether the table has such a tensor, which can be read or not.
    #[cfg(all(feature = "std", any(unix, windows)))]
    pub(crate) fn has_tensor(&self, name: &str) -> bool {
        self.header.find_tensor(self.gguf(), name).is_some()
    }

    /// Every tensor of the table in its order: its name, and the bytes behind that: extents, type, offset.
    #[cfg(all(feature = "std", any(unix, windows)))]
    pub(crate) fn table(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.header.table(self.gguf())
    }

    fn whole_gguf(&self) -> Option<&[u8]> {
        self.whole.then(|| self.gguf())
    }

    /// Whether the padding behind the last tensor, or behind a header without tensors, is all there, and zero.
    /// Files without it are as valid, and a writer that reproduces a file needs to know. `true` where none is
    /// needed, and where only the header was read: ggml and gguf-py write it.
    pub fn has_final_padding(&self) -> bool {
        self.final_padding() == FinalPadding::Whole
    }

    /// The bytes behind the data and its padding, which belong to no tensor: nearly always none, and none where only the
    /// header was read. Where shards were joined with `cat`, the next one begins there.
    ///
    /// ```
    /// use gguf_codec::Gguf;
    ///
    /// let mut bytes = std::fs::read("examples/sample.gguf")?;
    /// assert!(Gguf::parse(&bytes)?.trailing().is_empty());
    /// bytes.extend(b"signed");
    /// assert_eq!(Gguf::parse(&bytes)?.trailing(), b"signed");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn trailing(&self) -> &[u8] {
        if !self.whole {
            return &[];
        }
        let gguf = self.gguf();
        let Some(end) = self.header.data_end(gguf) else { return &[] };
        let padding = match self.final_padding() {
            FinalPadding::Whole => align_up(end, self.header.alignment()).unwrap_or(end) - end,
            FinalPadding::Zeros(zeros) => zeros,
        };
        let start = usize::try_from(end.saturating_add(padding)).unwrap_or(usize::MAX);
        gguf.get(start..).unwrap_or_default()
    }

    /// Where another GGUF begins behind the data, as `cat` leaves it.
    #[cfg(feature = "std")]
    pub(super) fn follower(&self) -> Option<u64> {
        let trailing = self.trailing();
        trailing.starts_with(b"GGUF").then(|| to_u64(self.gguf().len() - trailing.len()))
    }

    /// How much of the final padding is there: the zeros that follow the data, up to the alignment.
    #[cfg_attr(not(feature = "std"), allow(dead_code))]
    pub(crate) fn final_padding(&self) -> FinalPadding {
        if !self.whole {
            return FinalPadding::Whole;
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
    /// The version of the format: 1, 2 or 3.
    pub fn version(&self) -> u32 {
        self.header.version
    }

    /// The byte order of the header, and of the numbers inside the tensors.
    pub fn byte_order(&self) -> ByteOrder {
        self.header.encoding.order
    }

    /// Every tensor's data begins at a multiple of this many bytes from the start of the GGUF.
    pub fn alignment(&self) -> u32 {
        self.header.alignment()
    }

    /// Bytes from the start of the GGUF to the end of the tensor table.
    pub fn header_len(&self) -> u64 {
        self.header.len
    }

    /// Where the tensors' data begins, in bytes from the start of the GGUF: [`header_len`](Self::header_len)
    /// rounded up to the alignment. A file without tensors may end before.
    pub fn data_offset(&self) -> u64 {
        self.header.data_offset
    }

    /// Whether only the header was read, and tensors have no data here.
    pub fn is_header_only(&self) -> bool {
        !self.whole
    }

    /// The bytes that were given, mapped or read.
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
