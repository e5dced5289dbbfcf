//! [`SafeTensors`]: the validated header of a safetensors file.

use std::fmt;

use super::dtype::Dtype;
use super::json::{self, Entry};
use crate::byte_order::ByteOrder;
use crate::error::{Error, Result, Shown};
use crate::file::read_at::ReadAt;
use crate::limits::Limits;
use crate::model::Origin;
use crate::tensor::Shape;

/// The longest header that the format's own library accepts.
const MAX_HEADER_BYTES: u64 = 100_000_000;
/// The size of the header's length field, which precedes it.
const LENGTH_BYTES: u64 = 8;

/// The header of a safetensors file: its metadata and its tensors, in the order of their data.
///
/// A file is a 64-bit length, a JSON header of that many bytes, and the tensors' data. Reading checks every rule of the
/// format: names are unique, the size of each tensor matches its shape and type, and together they cover the data without a
/// gap or an overlap. Memory is bounded by the header's length, which cannot exceed the file's, and by the number of
/// tensors and pairs of metadata that [`Limits`] allow.
///
/// ```
/// use gguf_codec::safetensors::{Dtype, SafeTensors};
/// let json = r#"{"w":{"dtype":"F16","shape":[2,3],"data_offsets":[0,12]}}"#;
/// let mut file = (json.len() as u64).to_le_bytes().to_vec();
/// file.extend(json.as_bytes());
/// file.extend([0; 12]);
///
/// let header = SafeTensors::parse(&file)?;
/// let tensor = header.tensor("w").unwrap();
/// assert_eq!((tensor.dtype(), tensor.shape()), (Dtype::F16, &[2, 3][..]));
/// assert_eq!(tensor.file_offset(), file.len() as u64 - 12);
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct SafeTensors {
    metadata: Vec<(String, String)>,
    entries: Vec<Entry>,
    /// Indices of `entries` by name.
    by_name: Vec<u32>,
    /// Where the data begins in the file.
    data: u64,
}

impl SafeTensors {
    /// Reads the header of a complete file in memory.
    ///
    /// # Errors
    /// The errors of [`read`](Self::read).
    pub fn parse(file: &[u8]) -> Result<Self> {
        Self::read(&file, file.len() as u64)
    }

    /// Reads only the header of a file of `file_len` bytes.
    ///
    /// # Errors
    /// [`Error::Io`] if reading fails, and [`Error::Safetensors`] if a rule of the format is broken.
    pub fn read(source: &dyn ReadAt, file_len: u64) -> Result<Self> {
        Self::read_with(source, file_len, Limits::default())
    }

    /// Like [`read`](Self::read), within these limits: [`max_header_bytes`](Limits::max_header_bytes),
    /// [`max_tensors`](Limits::max_tensors) and, for pairs of metadata, [`max_keys`](Limits::max_keys). In addition the format
    /// limits a header to 100 MB.
    ///
    /// # Errors
    /// The errors of [`read`](Self::read).
    pub fn read_with(source: &dyn ReadAt, file_len: u64, limits: Limits) -> Result<Self> {
        let io = |error| Error::io("read the header", error);
        let wrong = |offset, message| Err(Error::Safetensors { file: None, offset: Some(offset), message });
        let Some(left) = file_len.checked_sub(LENGTH_BYTES) else {
            return wrong(
                0,
                format!("a file of {file_len} bytes has no room for the 8 of a header's length"),
            );
        };
        let mut length = [0; LENGTH_BYTES as usize];
        source.fill_at(&mut length, 0).map_err(io)?;
        let length = u64::from_le_bytes(length);
        let limit = MAX_HEADER_BYTES.min(limits.max_header_bytes);
        if length > limit {
            return wrong(0, format!("the header is {length} bytes long, and may have {limit}"));
        }
        if length > left {
            return wrong(0, format!("the header is {length} bytes long, and {left} follow"));
        }
        // At most 100 MB, and within the file.
        let mut header = vec![0; length as usize];
        source.fill_at(&mut header, LENGTH_BYTES).map_err(io)?;
        if header.first() != Some(&b'{') {
            return wrong(LENGTH_BYTES, "the header must begin with '{'".to_owned());
        }
        match json::parse(&header, limits) {
            Err(error) => wrong(LENGTH_BYTES + error.at, format!("in the header: {}", error.message)),
            Ok(parsed) => Self::check(parsed, LENGTH_BYTES + length, left - length),
        }
    }

    /// Sorts what was parsed, and checks it against the available bytes.
    fn check(parsed: json::Parsed, data: u64, data_len: u64) -> Result<Self> {
        let json::Parsed { mut metadata, mut entries } = parsed;
        metadata.sort();
        // For claims past the file's end, the end is the nearest byte.
        let wrong = |at: u64, message: String| Error::Safetensors {
            file: None,
            offset: Some(data + at.min(data_len)),
            message,
        };
        if let Some(twice) = metadata.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            let message = format!("key '{}' of the metadata occurs twice", Shown(&twice[0].0));
            return Err(Error::Safetensors { file: None, offset: Some(LENGTH_BYTES), message });
        }
        entries.sort_by(|a, b| (a.start, a.end, &a.name).cmp(&(b.start, b.end, &b.name)));
        let mut by_name: Vec<u32> = (0..entries.len() as u32).collect();
        by_name.sort_by(|&a, &b| entries[a as usize].name.cmp(&entries[b as usize].name));
        if let Some(twice) =
            by_name.windows(2).find(|pair| entries[pair[0] as usize].name == entries[pair[1] as usize].name)
        {
            let message = format!("tensor '{}' occurs twice", Shown(&entries[twice[0] as usize].name));
            return Err(Error::Safetensors { file: None, offset: Some(LENGTH_BYTES), message });
        }
        let mut end = 0;
        for (index, entry) in entries.iter().enumerate() {
            let Entry { name, dtype, shape, start, end: entry_end } = entry;
            let shown = Shown(name);
            let Some(bytes) = byte_len(*dtype, shape) else {
                let message = format!(
                    "tensor '{shown}': {dtype} of shape {} is no whole number of bytes that 64 bits count",
                    Extents(shape)
                );
                return Err(wrong(*start, message));
            };
            if entry_end.checked_sub(*start) != Some(bytes) {
                let message = format!(
                    "tensor '{shown}': {dtype} of shape {} takes {bytes} bytes, and its data_offsets are {start} and {entry_end}",
                    Extents(shape)
                );
                return Err(wrong(*start, message));
            }
            if *start != end {
                let before = match index.checked_sub(1) {
                    Some(before) => format!("where tensor '{}' ends", Shown(&entries[before].name)),
                    None => "where the data begins".to_owned(),
                };
                let message = format!(
                    "tensor '{shown}' begins at byte {start} of the data, and must at {end}, {before}: no gap and no overlap is allowed"
                );
                return Err(wrong(*start, message));
            }
            end = *entry_end;
        }
        if end != data_len {
            let message = format!(
                "the tensors end at byte {end} of the data, and the file holds {data_len} bytes of it"
            );
            return Err(wrong(end, message));
        }
        Ok(SafeTensors { metadata, entries, by_name, data })
    }

    /// Returns an iterator over the keys and values of `__metadata__`, by key.
    pub fn metadata(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Returns an iterator over the tensors, in the order of their data.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = TensorInfo<'_>> {
        self.entries.iter().map(|entry| TensorInfo { entry, data: self.data })
    }

    /// Returns the tensor of this name.
    pub fn tensor(&self, name: &str) -> Option<TensorInfo<'_>> {
        let at = self
            .by_name
            .binary_search_by(|&index| self.entries[index as usize].name.as_str().cmp(name))
            .ok()?;
        Some(TensorInfo { entry: &self.entries[self.by_name[at] as usize], data: self.data })
    }
}

/// The header's description of a tensor.
#[derive(Debug, Clone, Copy)]
pub struct TensorInfo<'a> {
    entry: &'a Entry,
    data: u64,
}

impl<'a> TensorInfo<'a> {
    /// Returns the tensor's name.
    pub fn name(&self) -> &'a str {
        &self.entry.name
    }

    /// Returns the type in which values are stored.
    pub fn dtype(&self) -> Dtype {
        self.entry.dtype
    }

    /// Returns the extents as in PyTorch: outermost first, in the reverse order of [`Shape::dims`].
    pub fn shape(&self) -> &'a [u64] {
        &self.entry.shape
    }

    /// Returns where the data begins in the file.
    pub fn file_offset(&self) -> u64 {
        self.data + self.entry.start
    }

    /// Returns the size of the data in bytes.
    pub fn byte_len(&self) -> u64 {
        self.entry.end - self.entry.start
    }

    /// Returns the values as input for [`Convert`](crate::model::Convert), from the file whose header was read. GGUF has at
    /// most four dimensions. If there are more, the outermost are combined.
    ///
    /// # Errors
    /// [`Error::Write`], naming the tensor, if GGUF does not support its type or number of elements.
    pub fn origin<'s>(&self, source: &'s dyn ReadAt) -> Result<Origin<'s>> {
        let wrong = |problem: String| Error::write(format!("tensor '{}' {problem}", Shown(self.name())));
        let dtype = self.dtype();
        let Some(ty) = dtype.ggml_type() else {
            let known: Vec<_> = Dtype::ALL
                .iter()
                .filter(|dtype| dtype.ggml_type().is_some())
                .map(|dtype| dtype.name())
                .collect();
            let what_to_do = match dtype.name().starts_with('F') {
                true => ". Where it is a weight, dequantize the model with its scales and save it in BF16",
                false => "",
            };
            return Err(wrong(format!(
                "is {dtype}, which GGUF does not have; it has {}{what_to_do}",
                known.join(", ")
            )));
        };
        let Some(shape) = folded(self.shape()) else {
            return Err(wrong(format!(
                "has the shape {}, and GGUF has less than 2^63 elements",
                Extents(self.shape())
            )));
        };
        Origin::new(source, self.file_offset(), shape, ty, ByteOrder::Little)
    }
}

/// Converts extents to GGUF order, with at most four extents: if there are more, the outermost are combined.
pub(crate) fn folded(shape: &[u64]) -> Option<Shape> {
    let (outer, inner) = shape.split_at(shape.len().saturating_sub(Shape::MAX_DIMS - 1));
    let mut extents: Vec<u64> = inner.iter().rev().copied().collect();
    if !outer.is_empty() {
        let product = outer.iter().try_fold(1u64, |product, &extent| product.checked_mul(extent));
        extents.push(if shape.contains(&0) { product.unwrap_or(0) } else { product? });
    }
    Shape::new(&extents)
}

/// Returns the size in bytes of a tensor, or `None` if it is not an integer or exceeds 64 bits.
pub(super) fn byte_len(dtype: Dtype, shape: &[u64]) -> Option<u64> {
    // Zero first: next to it, no extent is too large.
    let elements = if shape.contains(&0) {
        0
    } else {
        shape.iter().try_fold(1u64, |product, &extent| product.checked_mul(extent))?
    };
    let bits = u128::from(elements) * u128::from(dtype.bits());
    if bits.is_multiple_of(8) { u64::try_from(bits / 8).ok() } else { None }
}

/// Formats a shape for messages, cut if it is long.
pub(crate) struct Extents<'a>(pub(crate) &'a [u64]);

impl fmt::Display for Extents<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 8;
        let shown: Vec<_> = self.0.iter().take(MOST).map(u64::to_string).collect();
        let more = if self.0.len() > MOST { format!(", … {} in all", self.0.len()) } else { String::new() };
        write!(f, "[{}{more}]", shown.join(", "))
    }
}
