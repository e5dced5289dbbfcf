//! [`ShardPlan`]: assigns tensors to shards.

use alloc::format;
use alloc::vec::Vec;
use core::ops::Range;

use crate::error::{Error, Result};
use crate::gguf::layout::align_up;

/// An assignment of a model's tensors to its shards. Each shard gets a run of consecutive tensors, so that the shards in
/// order are the model.
///
/// ```
/// use gguf_codec::{GgmlType, Gguf, ShardPlan, ShardedGguf, Writer};
///
/// # let mut writer = Writer::new(Vec::new());
/// # for name in ["a", "b", "c"] { writer.declare_tensor(name, &[1], GgmlType::I8)?; }
/// # let mut data = writer.write_header()?;
/// # for name in ["a", "b", "c"] { data.write_tensor(name, &[1])?; }
/// # let file = data.finish()?;
/// let model = ShardedGguf::from(Gguf::parse(&file)?);
/// let tensors: Vec<_> = model.tensors().collect();
/// let plan = ShardPlan::by_tensors(tensors.len(), 2)?;
/// let mut shards = Vec::new();
/// for (no, range) in (0..).zip(plan.shards()) {
///     let mut writer = Writer::new(Vec::new());
///     writer.copy_sharded_metadata_from(&model)?.set_shard(no, plan.count(), tensors.len())?;
///     for tensor in &tensors[range.clone()] {
///         writer.declare_tensor(tensor.name(), tensor.shape().dims(), tensor.ggml_type())?;
///     }
///     let mut data = writer.write_header()?;
///     for tensor in &tensors[range.clone()] {
///         data.copy_tensor(&tensor.tensor()?)?;
///     }
///     shards.push(Gguf::parse(data.finish()?)?);
/// }
/// let model = ShardedGguf::new(shards)?;
/// assert_eq!((model.shards().len(), model.shard_of("c")?), (2, 1));
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[doc(alias = "gguf-split")]
pub struct ShardPlan {
    shards: Vec<Range<usize>>,
}

impl ShardPlan {
    /// Puts at most `most` tensors in each shard.
    ///
    /// # Errors
    /// [`Error::Write`] if `most` is 0, or if there would be more than 65,535 shards.
    pub fn by_tensors(tensors: usize, most: usize) -> Result<Self> {
        if most == 0 {
            return Err(wrong("a shard must be allowed one tensor at least"));
        }
        Self::cut(tensors, |at, _| at % most == 0)
    }

    /// Puts at most `most` bytes of tensors in each shard. As in llama.cpp's splitter, the padding after each tensor
    /// counts and the header does not. Tensors are never split: a tensor longer than `most` gets a shard of its own.
    ///
    /// `bytes` are the tensors' lengths, and `alignment` is that of the model.
    ///
    /// ```
    /// use gguf_codec::ShardPlan;
    ///
    /// // 320 and 640 bytes with their padding are too many for one shard, and 2,000 for any.
    /// let plan = ShardPlan::by_bytes([300, 620, 100, 2000], 32, 900)?;
    /// assert_eq!(plan.shards(), [0..1, 1..3, 3..4]);
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Write`] if `most` is 0, the alignment is not a power of two, the number of bytes overflows, or there would
    /// be more than 65,535 shards.
    pub fn by_bytes(bytes: impl IntoIterator<Item = u64>, alignment: u32, most: u64) -> Result<Self> {
        if most == 0 {
            return Err(wrong("a shard must be allowed one byte at least"));
        }
        if !alignment.is_power_of_two() {
            return Err(wrong(format!("the alignment is {alignment}, and must be a power of two")));
        }
        let padded: Option<Vec<u64>> = bytes.into_iter().map(|bytes| align_up(bytes, alignment)).collect();
        let padded = padded.ok_or_else(|| wrong("a tensor is longer than 64 bits can count"))?;
        let mut held = 0u64;
        Self::cut(padded.len(), |at, _| {
            let with = held.checked_add(padded[at]);
            let full = with.is_none_or(|with| with > most);
            held = if full { padded[at] } else { with.unwrap_or(most) };
            full
        })
    }

    /// Makes the given number of shards, with runs of tensors chosen so that the heaviest shard is as light as possible.
    /// The caller decides what a weight means: bytes, values or processing time. The same weights give the same plan on any
    /// machine. With fewer tensors than shards, the last shards are empty.
    ///
    /// ```
    /// use gguf_codec::ShardPlan;
    ///
    /// let plan = ShardPlan::balanced(&[5, 1, 1, 4, 3], 3)?;
    /// assert_eq!(plan.shards(), [0..2, 2..4, 4..5]); // of weights 6, 5 and 3
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Write`] if `count` is 0.
    pub fn balanced(weights: &[u64], count: u16) -> Result<Self> {
        if count == 0 {
            return Err(wrong("a model cannot be divided into 0 shards"));
        }
        let shards = usize::from(count);
        // No shard may be heavier than this.
        let cap = lightest_cap(weights, shards);
        let mut held = 0u128;
        let mut plan = Self::cut(weights.len(), |at, begun| {
            let with = held + u128::from(weights[at]);
            // The shards not yet begun take one tensor each if only that many tensors are left.
            let full = with > cap || weights.len() - at <= shards - begun.min(shards);
            held = if full { u128::from(weights[at]) } else { with };
            full
        })?;
        plan.shards.resize(shards, weights.len()..weights.len());
        Ok(plan)
    }

    /// Adds an empty first shard: a small file with all of the metadata. llama.cpp's splitter calls this
    /// `--no-tensor-first-split`.
    ///
    /// # Errors
    /// [`Error::Write`] if there would be more than 65,535 shards.
    pub fn with_empty_first(mut self) -> Result<Self> {
        self.shards.insert(0, 0..0);
        self.counted()
    }

    /// Returns the tensors of each shard, as positions in the model's list of tensors.
    pub fn shards(&self) -> &[Range<usize>] {
        &self.shards
    }

    /// Returns the number of shards, which is at least one.
    pub fn count(&self) -> u16 {
        u16::try_from(self.shards.len()).unwrap_or(u16::MAX)
    }

    /// Begins a shard at each tensor for which `begins` returns `true`. It is called for every tensor, with the number of
    /// shards begun so far. A shard begins at the first tensor regardless of the result.
    fn cut(tensors: usize, mut begins: impl FnMut(usize, usize) -> bool) -> Result<Self> {
        let mut plan = ShardPlan { shards: Vec::new() };
        let (mut start, mut begun) = (0, 1);
        for at in 0..tensors {
            if begins(at, begun) && at > 0 {
                plan.shards.push(start..at);
                (start, begun) = (at, begun + 1);
            }
        }
        plan.shards.push(start..tensors);
        plan.counted()
    }

    fn counted(self) -> Result<Self> {
        if self.shards.len() > usize::from(u16::MAX) {
            let (count, most) = (self.shards.len(), u16::MAX);
            return Err(wrong(format!("that makes {count} shards, and there may be {most} at most")));
        }
        Ok(self)
    }
}

/// Returns the smallest possible weight of the heaviest shard.
fn lightest_cap(weights: &[u64], shards: usize) -> u128 {
    let fits = |cap: u128| {
        let (mut begun, mut held) = (1, 0);
        for &weight in weights {
            held += u128::from(weight);
            if held > cap {
                (begun, held) = (begun + 1, weight.into());
            }
        }
        begun <= shards
    };
    // `most` is feasible, since everything fits in one shard. Nothing below the heaviest tensor is.
    let mut least = weights.iter().copied().max().map_or(0, u128::from);
    let mut most = weights.iter().map(|&weight| u128::from(weight)).sum::<u128>().max(least);
    while least < most {
        let middle = least + (most - least) / 2;
        if fits(middle) {
            most = middle;
        } else {
            least = middle + 1;
        }
    }
    most
}

fn wrong(message: impl core::fmt::Display) -> Error {
    Error::write(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(plan: &ShardPlan) -> Vec<usize> {
        plan.shards().iter().map(ExactSizeIterator::len).collect()
    }

    #[test]
    fn tensors_are_counted() {
        let by = |tensors, most| sizes(&ShardPlan::by_tensors(tensors, most).unwrap());
        assert_eq!(by(0, 3), [0]);
        assert_eq!(by(3, 3), [3]);
        assert_eq!(by(7, 3), [3, 3, 1]);
        assert_eq!(by(65_535, 1).len(), 65_535);
        ShardPlan::by_tensors(65_536, 1).unwrap_err();
        ShardPlan::by_tensors(1, 0).unwrap_err();
        let small_first = ShardPlan::by_tensors(4, 2).unwrap().with_empty_first().unwrap();
        assert_eq!(small_first.shards(), [0..0, 0..2, 2..4]);
        ShardPlan::by_tensors(65_535, 1).unwrap().with_empty_first().unwrap_err();
    }

    #[test]
    fn bytes_are_counted_with_their_padding_and_no_tensor_is_cut() {
        let by = |bytes: &[u64], most| sizes(&ShardPlan::by_bytes(bytes.iter().copied(), 32, most).unwrap());
        assert_eq!(by(&[], 1), [0]);
        assert_eq!(by(&[32, 32, 32], 64), [2, 1]);
        assert_eq!(by(&[32, 33, 32], 96), [2, 1]);
        assert_eq!(by(&[32, 33, 32], 95), [1, 1, 1]);
        assert_eq!(by(&[500, 10, 10, 500, 10], 64), [1, 2, 1, 1]);
        assert_eq!(by(&[0, 0, 64, 0], 64), [4]);
        assert_eq!(by(&[u64::MAX - 31, 64], u64::MAX), [1, 1]);
        ShardPlan::by_bytes([1], 32, 0).unwrap_err();
        ShardPlan::by_bytes([1], 33, 1).unwrap_err();
        ShardPlan::by_bytes([u64::MAX], 32, 1).unwrap_err();
    }

    #[test]
    fn the_heaviest_part_is_as_light_as_it_can_be() {
        let by = |weights: &[u64], count| sizes(&ShardPlan::balanced(weights, count).unwrap());
        assert_eq!(by(&[1, 1, 1, 1], 2), [2, 2]);
        assert_eq!(by(&[9, 1, 1, 1], 2), [1, 3]);
        assert_eq!(by(&[1, 1, 1, 9], 3), [2, 1, 1]);
        assert_eq!(by(&[5, 5], 4), [1, 1, 0, 0]);
        assert_eq!(by(&[], 2), [0, 0]);
        assert_eq!(by(&[0, 0, 0], 2), [2, 1]);
        assert_eq!(by(&[u64::MAX; 3], 2), [2, 1]);
        assert_eq!(by(&[7; 10], 10), [1; 10]);
        ShardPlan::balanced(&[1], 0).unwrap_err();
    }
}
