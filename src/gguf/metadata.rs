//! [`Metadata`]: the key-value pairs of a file, in file order, with constant-time look-up.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use alloc::{format, vec};
use core::fmt;
use core::iter::FusedIterator;
use core::ops::Range;

use super::array::ArrayIterAs;
use super::from_value::FromValue;
use super::header::Header;
use super::value_ref::{ArrayRef, ValueRef};
use crate::error::{Error, Result};

/// The key of a model's architecture.
pub(crate) const ARCHITECTURE: &str = "general.architecture";

/// The key-value pairs of a file, in file order. This is a cheap view: pass it by value.
///
/// [`get`](Self::get) returns a value as stored, or `None`. [`require`](Self::require) converts the value of a key that must
/// exist. [`optional`](Self::optional) converts the value of a key that may be absent. Both fail if the value does not convert.
///
/// ```no_run
/// let model = gguf_codec::Gguf::read("model.gguf")?;
/// let metadata = model.metadata();
/// let name: &str = metadata.require("general.name")?;
/// let layers: u32 = metadata.require("llama.block_count")?;
/// let theta: Option<f32> = metadata.optional("llama.rope.freq_base")?;
/// let tokens: Vec<&str> = metadata.require("tokenizer.ggml.tokens")?;
/// for (key, value) in metadata {
///     println!("{key} = {value}");
/// }
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[derive(Clone, Copy)]
#[doc(alias = "kv")]
pub struct Metadata<'a> {
    pub(crate) header: &'a Header,
    /// From the start of the GGUF.
    pub(crate) bytes: &'a [u8],
}

impl<'a> Metadata<'a> {
    /// Returns the number of pairs.
    pub fn len(self) -> usize {
        self.header.keys.len()
    }

    /// Returns `true` if there are no pairs.
    pub fn is_empty(self) -> bool {
        self.header.keys.is_empty()
    }

    /// Returns `true` if the key exists.
    pub fn contains(self, key: &str) -> bool {
        self.header.find_key(self.bytes, key).is_some()
    }

    /// Returns the value of a key as stored, or `None` if the key is absent.
    pub fn get(self, key: &str) -> Option<ValueRef<'a>> {
        let index = self.header.find_key(self.bytes, key)?;
        self.header.pair(self.bytes, index).map(|(_, value)| value)
    }

    /// Returns the value of a key that must exist, converted to `T`. [`FromValue`] lists the conversions: between integers
    /// of all widths if the value fits, and between floats if the value is exact.
    ///
    /// # Errors
    /// [`Error::MissingKey`]; [`Error::WrongValue`] if the value does not convert without loss;
    /// [`Error::WrongElement`] if an element of a `Vec` does not.
    pub fn require<T: FromValue<'a>>(self, key: &str) -> Result<T> {
        self.optional(key)?.ok_or_else(|| Error::MissingKey { key: key.to_owned() })
    }

    /// Like [`require`](Self::require), for a key that may be absent.
    ///
    /// # Errors
    /// [`Error::WrongValue`] and [`Error::WrongElement`] if the key exists and its value does not convert without loss.
    pub fn optional<T: FromValue<'a>>(self, key: &str) -> Result<Option<T>> {
        self.get(key).map(|value| T::from_value_of(value, key)).transpose()
    }

    /// Returns an iterator over the elements of an array that must exist. Each is converted to the requested type or is an error
    /// that names the key and the element. This is [`require`](Self::require) of a `Vec` without the `Vec`.
    ///
    /// ```no_run
    /// let model = gguf_codec::Gguf::read("model.gguf")?;
    /// for token in model.metadata().require_array::<&str>("tokenizer.ggml.tokens")?.take(10) {
    ///     println!("{}", token?);
    /// }
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::MissingKey`], and [`Error::WrongValue`] if the value is not an array. Each element that does not
    /// convert is [`Error::WrongElement`].
    pub fn require_array<T: FromValue<'a>>(self, key: &str) -> Result<ArrayIterAs<'a, T>> {
        self.optional_array(key)?.ok_or_else(|| Error::MissingKey { key: key.to_owned() })
    }

    /// Like [`require_array`](Self::require_array), for a key that may be absent.
    ///
    /// # Errors
    /// [`Error::WrongValue`] if the key exists and its value is not an array. Each element that does not convert is
    /// [`Error::WrongElement`].
    pub fn optional_array<T: FromValue<'a>>(self, key: &str) -> Result<Option<ArrayIterAs<'a, T>>> {
        let Some(array) = self.optional::<ArrayRef<'a>>(key)? else { return Ok(None) };
        // The file's own copy of the key, which lives as long as the elements.
        let index = self.header.find_key(self.bytes, key);
        let key = index.and_then(|index| core::str::from_utf8(self.header.key_bytes(self.bytes, index)).ok());
        let mut elements = array.iter_as();
        elements.key = key;
        Ok(Some(elements))
    }

    /// Returns the model's architecture, the value of `general.architecture`: `llama`, `qwen3moe` and so on. Returns `None`
    /// if the key is absent or not text, as in importance matrices.
    pub fn architecture(self) -> Option<&'a str> {
        self.get(ARCHITECTURE).and_then(<&str>::from_value)
    }

    /// Returns the value of a key prefixed with the architecture's name: `block_count` is `llama.block_count` in a Llama
    /// model and `qwen3.block_count` in a Qwen 3 model.
    ///
    /// ```
    /// let model = gguf_codec::Gguf::read("examples/sample.gguf")?;
    /// let metadata = model.metadata();
    /// assert_eq!(metadata.architecture(), Some("llama"));
    /// assert_eq!(metadata.require_arch::<u32>("block_count")?, metadata.require::<u32>("llama.block_count")?);
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`require`](Self::require) for `general.architecture` and for the key.
    pub fn require_arch<T: FromValue<'a>>(self, key: &str) -> Result<T> {
        self.require(&self.full_key(key)?)
    }

    /// Like [`require_arch`](Self::require_arch), for a key that may be absent.
    ///
    /// # Errors
    /// The errors of [`optional`](Self::optional); [`Error::MissingKey`] if there is no architecture.
    pub fn optional_arch<T: FromValue<'a>>(self, key: &str) -> Result<Option<T>> {
        self.optional(&self.full_key(key)?)
    }

    /// Returns one value of an architecture key for each of `layers` layers. Files store a single value if all layers are alike
    /// and an array if they are not (`feed_forward_length`, `attention.head_count_kv`). Returns `None` if the key is absent.
    ///
    /// ```
    /// let model = gguf_codec::Gguf::read("examples/sample.gguf")?;
    /// let widths = model.metadata().per_layer::<u64>("feed_forward_length", 2)?;
    /// assert_eq!(widths, Some(vec![256, 256]));
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`optional_arch`](Self::optional_arch); [`Error::WrongValue`] for an array of another length.
    pub fn per_layer<T: FromValue<'a> + Clone>(self, key: &str, layers: usize) -> Result<Option<Vec<T>>> {
        let key = self.full_key(key)?;
        match self.get(&key) {
            None => Ok(None),
            Some(ValueRef::Array(array)) if array.len() == layers => self.require(&key).map(Some),
            Some(value @ ValueRef::Array(_)) => Err(Error::WrongValue {
                key,
                found: value.describe(),
                wanted: format!("{} or an array of {layers}", T::WANTED),
            }),
            Some(value) => Ok(Some(vec![T::from_value_of(value, &key)?; layers])),
        }
    }

    fn full_key(self, key: &str) -> Result<String> {
        Ok(format!("{}.{key}", self.require::<&str>(ARCHITECTURE)?))
    }

    /// Returns the byte of a bool.
    #[cfg(feature = "std")]
    pub(crate) fn bool_byte(self, key: &str) -> Option<u8> {
        let entry = self.header.keys.get(self.header.find_key(self.bytes, key)?)?;
        // After the key and the type.
        let [byte] = self.bytes.get(entry.key_end.checked_add(4)?..entry.value_end)? else { return None };
        Some(*byte)
    }

    /// Returns an iterator over all pairs in file order.
    pub fn iter(self) -> MetadataIter<'a> {
        MetadataIter { metadata: self, range: 0..self.len() }
    }

    /// Returns an iterator over all keys in file order.
    ///
    /// ```
    /// let model = gguf_codec::Gguf::read("examples/sample.gguf")?;
    /// let metadata = model.metadata();
    /// assert!(metadata.keys().any(|key| key == "general.architecture"));
    /// assert_eq!(metadata.keys().len(), metadata.len());
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    pub fn keys(self) -> impl DoubleEndedIterator<Item = &'a str> + ExactSizeIterator + Clone + use<'a> {
        self.iter().map(|(key, _)| key)
    }
}

impl<'a> IntoIterator for &Metadata<'a> {
    type Item = (&'a str, ValueRef<'a>);
    type IntoIter = MetadataIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a> IntoIterator for Metadata<'a> {
    type Item = (&'a str, ValueRef<'a>);
    type IntoIter = MetadataIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Debug for Metadata<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// An iterator over the pairs of [`Metadata`], in file order.
#[derive(Debug, Clone)]
pub struct MetadataIter<'a> {
    metadata: Metadata<'a>,
    range: Range<usize>,
}

impl<'a> MetadataIter<'a> {
    /// Every pair was read when the file was parsed. A pair that cannot be read now is in bytes that have changed since.
    fn pair(&self, index: usize) -> (&'a str, ValueRef<'a>) {
        self.metadata.header.pair(self.metadata.bytes, index).unwrap_or(("", ValueRef::String(b"")))
    }
}

impl<'a> Iterator for MetadataIter<'a> {
    type Item = (&'a str, ValueRef<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.range.next().map(|index| self.pair(index))
    }

    fn nth(&mut self, n: usize) -> Option<Self::Item> {
        self.range.nth(n).map(|index| self.pair(index))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.range.size_hint()
    }
}

impl DoubleEndedIterator for MetadataIter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.range.next_back().map(|index| self.pair(index))
    }
}

impl ExactSizeIterator for MetadataIter<'_> {}
impl FusedIterator for MetadataIter<'_> {}
