//! [`Diff`]: the differences between two models.

mod metadata;
mod tensors;

use std::fmt;
use std::ops::ControlFlow;

#[cfg(all(feature = "std", any(unix, windows)))]
use super::input::Input;
use super::job::Origin;
use crate::codec::values::QuantError;
use crate::error::Result;
use crate::file::read_at::ReadAt;
use crate::gguf::index::Gguf;
use crate::gguf::metadata::Metadata;
use crate::gguf::value_ref::ValueRef;

/// One of two models: its metadata, and where its tensors are.
#[derive(Debug, Clone)]
pub struct Side<'a> {
    metadata: Metadata<'a>,
    /// Keys that are ignored in the comparison.
    left_out: &'static [&'static str],
    tensors: Vec<(&'a str, Origin<'a>)>,
}

impl<'a> Side<'a> {
    /// Returns the side for a GGUF that begins at the start of `source`. Only its header is needed: tensors are read
    /// from the source.
    pub fn of<B: AsRef<[u8]>>(model: &'a Gguf<B>, source: &'a dyn ReadAt) -> Self {
        let tensor = |tensor: crate::TensorInfo<'a>| (tensor.name(), Origin::of(source, &tensor));
        Side { metadata: model.metadata(), left_out: &[], tensors: model.tensors().map(tensor).collect() }
    }

    /// Returns the side for a model in one or more files. The division into files is not a difference.
    ///
    /// # Errors
    /// None for an [`Input`] that was opened successfully.
    #[cfg(all(feature = "std", any(unix, windows)))]
    pub fn of_input(input: &'a Input) -> Result<Self> {
        let tensor = |tensor: crate::TensorInfo<'a>| Ok((tensor.name(), input.origin(&tensor)?));
        let tensors = input.tensors().map(tensor).collect::<Result<_>>()?;
        Ok(Side { metadata: input.metadata(), left_out: input.model().keys_of_shards(), tensors })
    }

    /// Returns the side for a model whose tensors come from anywhere, such as from several files. Names must be unique.
    pub fn new(metadata: Metadata<'a>, tensors: Vec<(&'a str, Origin<'a>)>) -> Self {
        Side { metadata, left_out: &[], tensors }
    }

    fn pairs(&self) -> impl Iterator<Item = (&'a str, ValueRef<'a>)> {
        let left_out = self.left_out;
        self.metadata.iter().filter(move |(key, _)| !left_out.contains(key))
    }

    fn value(&self, key: &str) -> Option<ValueRef<'a>> {
        self.metadata.get(key).filter(|_| !self.left_out.contains(&key))
    }
}

/// Something that is not the same in both models.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(clippy::exhaustive_enums, reason = "there are no other ways to differ")]
pub enum Change<T> {
    /// The second model does not have it.
    OnlyInA(T),
    /// The first model does not have it.
    OnlyInB(T),
    /// The versions in the first and in the second model.
    Both(T, T),
}

impl<T> Change<T> {
    /// Returns the version in the first model.
    pub fn a(&self) -> Option<&T> {
        match self {
            Change::OnlyInA(a) | Change::Both(a, _) => Some(a),
            Change::OnlyInB(_) => None,
        }
    }

    /// Returns the version in the second model.
    pub fn b(&self) -> Option<&T> {
        match self {
            Change::OnlyInB(b) | Change::Both(_, b) => Some(b),
            Change::OnlyInA(_) => None,
        }
    }
}

/// A key that is not the same in both models.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct KeyDiff<'a> {
    /// The key.
    pub key: &'a str,
    /// Its value.
    pub value: Change<ValueRef<'a>>,
    /// How much of the values differs, if both are arrays with the same element type.
    pub array: Option<ArrayDiff>,
}

/// How much of two arrays differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArrayDiff {
    /// The position of the first differing element, from 0.
    pub first: u64,
    /// The number of differing elements. If one of the arrays is longer, the excess counts too.
    pub differing: u64,
}

/// A tensor that is not the same in both models.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct TensorDiff<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its type, shape and location.
    pub tensor: Change<Origin<'a>>,
    /// The difference between its values. `None` if they cannot be compared, because only one model has the tensor or
    /// the shapes differ in more than trailing extents of 1, and if their bytes are the same.
    pub values: Option<ValueDiff>,
}

/// The difference between the values of two tensors of one shape, as floats.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct ValueDiff {
    /// The number of values that are not equal to the bit when they are dequantized.
    pub differing: u64,
    /// The error of the second's values relative to the first's.
    pub error: QuantError,
}

/// The differences between two models, by value. Versions of the format, byte orders, offsets and padding do not count
/// as differences.
///
/// ```
/// use gguf_codec::model::{Diff, Side};
/// use gguf_codec::{Gguf, Writer};
/// # fn file(layers: u32) -> gguf_codec::Result<Vec<u8>> {
/// #     let mut writer = Writer::new(Vec::new());
/// #     writer.set_metadata("llama.block_count", layers)?;
/// #     writer.write_header()?.finish()
/// # }
/// # let (a, b) = (file(1)?, file(2)?);
/// let (first, second) = (Gguf::parse(&a)?, Gguf::parse(&b)?); // or `Gguf::open`, with a `File` as the source below
///
/// let diff = Diff::between(&Side::of(&first, &a), &Side::of(&second, &b))?;
/// assert_eq!(diff.keys[0].key, "llama.block_count");
/// assert!(diff.tensors.is_empty() && !diff.is_empty());
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Diff<'a> {
    /// Keys that differ in value or type, or exist in only one model: in the first model's order, followed by those that
    /// only the second has. Floats are the same if their bits are.
    pub keys: Vec<KeyDiff<'a>>,
    /// The number of keys that are the same.
    pub same_keys: u64,
    /// Whether the keys that both have are in different orders.
    pub keys_moved: bool,
    /// Tensors that differ in shape, type or bytes, or exist in only one model, ordered like the keys. Bytes are
    /// compared in the same byte order.
    pub tensors: Vec<TensorDiff<'a>>,
    /// The number of tensors that are the same.
    pub same_tensors: u64,
    /// Whether the tensors that both have are in different orders.
    pub tensors_moved: bool,
}

impl<'a> Diff<'a> {
    /// Compares two models.
    ///
    /// Every core reads and compares, and memory does not grow with the models' data (up to 6 MiB for each of `2n +
    /// 1` pieces, where `n` is the number of threads). Tensors of the same type are compared by their bytes, and
    /// those that differ are read again to compare their values.
    ///
    /// # Errors
    /// The errors of [`between_with`](Self::between_with).
    pub fn between(a: &Side<'a>, b: &Side<'a>) -> Result<Self> {
        Self::between_with(a, b, |_, _| ControlFlow::Continue(()))
    }

    /// Like [`between`](Self::between), with progress: `progress` is called with the number of bytes read so far and the total as
    /// far as it is known. Return `Break` to cancel.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io), naming the tensor, if a source cannot be read;
    /// [`Error::Interrupted`](crate::Error::Interrupted) if `progress` breaks.
    pub fn between_with(
        a: &Side<'a>,
        b: &Side<'a>,
        progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Self> {
        let (keys, same_keys) = metadata::compare(a, b);
        let (tensors, same_tensors) = tensors::compare(&a.tensors, &b.tensors, progress)?;
        let key_list = |side: &Side<'a>| side.pairs().map(|(key, _)| key).collect::<Vec<_>>();
        let name_list = |side: &Side<'a>| side.tensors.iter().map(|(name, _)| *name).collect::<Vec<_>>();
        Ok(Diff {
            keys,
            same_keys,
            keys_moved: moved(&key_list(a), &key_list(b)),
            tensors,
            same_tensors,
            tensors_moved: moved(&name_list(a), &name_list(b)),
        })
    }

    /// Returns `true` if nothing differs. Order does not count here.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.tensors.is_empty()
    }
}

impl fmt::Debug for Diff<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Diff")
            .field("keys", &self.keys)
            .field("tensors", &self.tensors)
            .finish_non_exhaustive()
    }
}

/// Returns `true` if the names that both have are in different orders.
fn moved(a: &[&str], b: &[&str]) -> bool {
    let set = |names: &[&'_ str]| {
        names.iter().map(|name| name.to_string()).collect::<std::collections::HashSet<_>>()
    };
    let (in_a, in_b) = (set(a), set(b));
    !a.iter().filter(|name| in_b.contains(**name)).eq(b.iter().filter(|name| in_a.contains(**name)))
}
