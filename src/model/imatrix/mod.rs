//! [`Imatrix`]: how much each column of each matrix matters, as llama.cpp's `imatrix` measures it.

mod binary;
mod collect;
#[cfg(feature = "std")]
mod files;
mod gguf;

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

pub use collect::ImatrixCollector;

use crate::error::{Error, Result};
use crate::gguf::edit_marker::is_marked;
use crate::gguf::index::Gguf;

/// Returns `true` if a file that begins so is meant to be a GGUF.
fn is_gguf(bytes: &[u8]) -> bool {
    bytes.starts_with(b"GGUF") || is_marked(bytes)
}

/// Tokens in a chunk where a file does not say: what `imatrix` takes without `--ctx-size`.
const CHUNK_SIZE: u32 = 512;

/// An importance matrix: for each tensor, the sums of the squares of what its columns were multiplied with while a model
/// read a text.
///
/// Read from and written in either form that llama.cpp has had, the GGUF of today and the binary file before it, which
/// ik_llama.cpp still has.
///
/// ```
/// use gguf_codec::model::Imatrix;
/// use gguf_codec::{GgmlType, Writer};
///
/// let mut writer = Writer::new(Vec::new());
/// writer.set_metadata("general.type", "imatrix")?;
/// writer.set_metadata("imatrix.datasets", vec!["wiki.train.raw".to_owned()])?;
/// writer.set_metadata("imatrix.chunk_count", 1u32)?.set_metadata("imatrix.chunk_size", 512u32)?;
/// writer.declare_tensor("blk.0.ffn_up.weight.in_sum2", &[2, 1], GgmlType::F32)?;
/// writer.declare_tensor("blk.0.ffn_up.weight.counts", &[1, 1], GgmlType::F32)?;
/// let mut data = writer.write_header()?;
/// for (name, values) in [("in_sum2", &[6.0f32, 3.0][..]), ("counts", &[512.0])] {
///     let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
///     data.write_tensor(&format!("blk.0.ffn_up.weight.{name}"), &bytes)?;
/// }
/// let file = data.finish()?;
///
/// let imatrix = Imatrix::parse(&file)?;
/// assert_eq!(imatrix.weights("blk.0.ffn_up.weight"), Some(vec![6.0 / 512.0, 3.0 / 512.0]));
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[doc(alias = "importance matrix")]
pub struct Imatrix {
    entries: Vec<ImatrixEntry>,
    by_name: BTreeMap<String, usize>,
    /// The texts that it was measured with.
    pub datasets: Vec<String>,
    /// Chunks of them that were read.
    pub chunk_count: u32,
    /// Tokens in a chunk.
    pub chunk_size: u32,
}

/// What an [`Imatrix`] knows of a tensor.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ImatrixEntry {
    /// The tensor's name.
    pub name: String,
    /// The sum of squares for each column: of one matrix, or of each that the tensor stacks, one after the other.
    pub sums: Vec<f32>,
    /// Over how many tokens: one number for all of `sums`, or one for each matrix. 0 where no token came by.
    pub counts: Vec<f32>,
    /// The sums themselves, without squares, which newer files have beside them.
    pub activations: Option<Vec<f32>>,
}

impl ImatrixEntry {
    /// The mean square for each column: the importance that [`quantize`](crate::quantize) takes. 1 for every column of a
    /// matrix that no token came by.
    pub fn weights(&self) -> Vec<f32> {
        let columns = (self.sums.len() / self.counts.len().max(1)).max(1);
        let means = self.sums.chunks(columns).zip(&self.counts).flat_map(|(sums, &count)| {
            sums.iter().map(move |&sum| if count > 0.0 { sum / count } else { 1.0 })
        });
        means.collect()
    }
}

impl Imatrix {
    /// Nothing known yet.
    pub fn new() -> Self {
        Imatrix {
            entries: Vec::new(),
            by_name: BTreeMap::new(),
            datasets: Vec::new(),
            chunk_count: 0,
            chunk_size: CHUNK_SIZE,
        }
    }

    /// Reads either form from its bytes.
    ///
    /// # Errors
    /// [`Error::Imatrix`] where the file is neither, or its parts do not fit each other, or a number is not finite. Of a
    /// GGUF also those of [`Gguf::parse`](crate::Gguf::parse) and of its typed values.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        if is_gguf(bytes) { gguf::parse(&Gguf::parse(bytes)?) } else { binary::parse(bytes) }
    }

    /// The binary form. It has for each tensor as many chunks as the most that any of its matrices was asked in, only the last
    /// dataset's name, and no sums without squares. Reading it gives the same weights.
    ///
    /// ```
    /// use gguf_codec::model::Imatrix;
    ///
    /// let mut imatrix = Imatrix::new();
    /// imatrix.add("output.weight", vec![8.0, 2.0], vec![512.0], None)?;
    /// let again = Imatrix::parse(&imatrix.to_binary()?)?;
    /// assert_eq!(again.weights("output.weight"), imatrix.weights("output.weight"));
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Imatrix`] where a number is beyond the 31 bits that this form has for it, or there is no tensor at all.
    pub fn to_binary(&self) -> Result<Vec<u8>> {
        binary::encode(self)
    }

    /// Adds what another matrix of the same model was measured with: sums and counts of tensors that both know are added, the
    /// others and the datasets come behind.
    ///
    /// ```
    /// use gguf_codec::model::Imatrix;
    ///
    /// let (mut code, mut prose) = (Imatrix::new(), Imatrix::new());
    /// code.add("output.weight", vec![8.0, 2.0], vec![4.0], None)?;
    /// prose.add("output.weight", vec![1.0, 7.0], vec![5.0], None)?;
    /// code.merge(&prose)?;
    /// assert_eq!(code.weights("output.weight"), Some(vec![1.0, 1.0]));
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Imatrix`] where a tensor has another number of columns or matrices, or a sum is too large; then nothing is
    /// added.
    pub fn merge(&mut self, other: &Imatrix) -> Result<()> {
        let mut merged = self.clone();
        for entry in &other.entries {
            let Some(&index) = merged.by_name.get(&entry.name) else {
                let ImatrixEntry { name, sums, counts, activations } = entry.clone();
                merged.add(&name, sums, counts, activations)?;
                continue;
            };
            let own = &mut merged.entries[index];
            let wrong =
                |message| Err(wrong(None, format!("tensor '{}': {message}", entry.name.escape_debug())));
            let shapes = [&*own, entry].map(|entry| (entry.sums.len(), entry.counts.len()));
            if shapes[0] != shapes[1] {
                let [a, b] =
                    shapes.map(|(sums, matrices)| format!("{matrices} × {} columns", sums / matrices.max(1)));
                return wrong(format!(
                    "has {a} in one matrix and {b} in the other, which are not of one model"
                ));
            }
            let add = |own: &mut [f32], other: &[f32]| own.iter_mut().zip(other).for_each(|(a, b)| *a += b);
            add(&mut own.sums, &entry.sums);
            add(&mut own.counts, &entry.counts);
            own.activations = match (own.activations.take(), &entry.activations) {
                (Some(mut own), Some(other)) => {
                    add(&mut own, other);
                    Some(own)
                }
                _ => None,
            };
            let all = own.sums.iter().chain(own.activations.iter().flatten());
            if all.chain(&own.counts).any(|value| !value.is_finite()) {
                return wrong("has sums that are too large together".to_owned());
            }
        }
        for dataset in &other.datasets {
            if !merged.datasets.contains(dataset) {
                merged.datasets.push(dataset.clone());
            }
        }
        merged.chunk_count = merged.chunk_count.saturating_add(other.chunk_count);
        *self = merged;
        Ok(())
    }

    /// All entries, in the file's order.
    pub fn entries(&self) -> &[ImatrixEntry] {
        &self.entries
    }

    /// What is known of a tensor.
    pub fn entry(&self, tensor: &str) -> Option<&ImatrixEntry> {
        self.by_name.get(tensor).map(|&index| &self.entries[index])
    }

    /// A tensor's importance: see [`ImatrixEntry::weights`].
    pub fn weights(&self, tensor: &str) -> Option<Vec<f32>> {
        self.entry(tensor).map(ImatrixEntry::weights)
    }

    /// Adds what is known of a tensor: `sums` of squares over so many tokens as `counts` says, for each of as many
    /// matrices as it has.
    ///
    /// ```
    /// use gguf_codec::model::Imatrix;
    ///
    /// let mut imatrix = Imatrix::new();
    /// imatrix.add("blk.0.ffn_up.weight", vec![8.0, 2.0, 4.0], vec![4.0], None)?; // three columns, four tokens
    /// assert_eq!(imatrix.weights("blk.0.ffn_up.weight"), Some(vec![2.0, 0.5, 1.0]));
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Imatrix`] where the tensor is known already, `sums` cannot be shared among the `counts`, `activations` are
    /// not as many as `sums`, a number is not finite, a sum of squares or a count is negative, or a count not whole.
    pub fn add(
        &mut self,
        name: &str,
        sums: Vec<f32>,
        counts: Vec<f32>,
        activations: Option<Vec<f32>>,
    ) -> Result<()> {
        let wrong =
            |message: String| Err(wrong(None, format!("tensor '{}': {message}", name.escape_debug())));
        if self.by_name.contains_key(name) {
            return wrong("is there twice".into());
        }
        if counts.is_empty() || sums.is_empty() || !sums.len().is_multiple_of(counts.len()) {
            return wrong(format!("{} sums cannot be shared among {} counts", sums.len(), counts.len()));
        }
        if let Some(len) = activations.as_ref().map(Vec::len).filter(|&len| len != sums.len()) {
            return wrong(format!(
                "has {len} sums and {} sums of squares, and must have as many",
                sums.len()
            ));
        }
        let is_bad = |value: &f32| !value.is_finite() || *value < 0.0;
        for (what, values) in [("sum of squares", &sums), ("count", &counts)] {
            if let Some(at) = values.iter().position(is_bad) {
                return wrong(format!("{what} {at} is {}, and must be a number from 0 up", values[at]));
            }
        }
        if let Some(at) = counts.iter().position(|count| count % 1.0 != 0.0) {
            return wrong(format!("count {at} is {}, and must be a whole number of tokens", counts[at]));
        }
        if let Some(at) = activations.iter().flatten().position(|value| !value.is_finite()) {
            return wrong(format!("sum {at} is not finite"));
        }
        self.by_name.insert(name.to_owned(), self.entries.len());
        self.entries.push(ImatrixEntry { name: name.to_owned(), sums, counts, activations });
        Ok(())
    }
}

impl Default for Imatrix {
    fn default() -> Self {
        Self::new()
    }
}

fn wrong(offset: Option<u64>, message: String) -> Error {
    Error::Imatrix { file: None, offset, message }
}
