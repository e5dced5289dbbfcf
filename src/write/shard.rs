//! [`Writer::set_shard`]: makes a file one of several.

use super::{Sink, Writer};
use crate::error::{Result, WriteProblem};
use crate::gguf::layout::DEFAULT_ALIGNMENT;
use crate::gguf::shards::{COUNT, NO, SHARD_KEYS, ShardedGguf, TENSORS};
use crate::gguf::value::Value;

impl<S: Sink> Writer<S> {
    /// Makes the file one of a sharded model: number `no`, from 0, of `count` files with `tensors` tensors in total.
    ///
    /// The first shard keeps all keys set so far, followed by `split.no`, `split.tensors.count` and `split.count` in
    /// the order of llama.cpp's splitter. The other shards have only these keys, and `general.alignment` if it is not
    /// 32. So set the model's metadata before calling this. [`ShardPaths`](crate::ShardPaths) provides the file name.
    ///
    /// ```
    /// use gguf_codec::{GgmlType, Gguf, ShardedGguf, Writer};
    ///
    /// let mut shards = Vec::new();
    /// for (no, name) in [(0, "first"), (1, "second")] {
    ///     let mut writer = Writer::new(Vec::new());
    ///     writer.set_metadata("general.name", "two shards")?.set_shard(no, 2, 2)?;
    ///     writer.declare_tensor(name, &[1], GgmlType::I8)?;
    ///     let mut data = writer.write_header()?;
    ///     data.write_tensor(name, &[7])?;
    ///     shards.push(Gguf::parse(data.finish()?)?);
    /// }
    /// assert!(!shards[1].metadata().contains("general.name"));
    /// let model = ShardedGguf::new(shards)?;
    /// assert_eq!((model.tensor_count(), model.shard_of("second")?), (2, 1));
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Write`](crate::Error::Write) if `no` is not below `count`, or if the number of tensors does not fit the
    /// key, an i32. The writer is unchanged.
    pub fn set_shard(&mut self, no: u16, count: u16, tensors: usize) -> Result<&mut Self> {
        if no >= count {
            return Err(WriteProblem::ShardIndex { index: no, count }.error());
        }
        let Ok(total) = i32::try_from(tensors) else {
            return Err(WriteProblem::ShardTensors { found: tensors as u64 }.error());
        };
        self.unshard();
        if no > 0 {
            let alignment = self.header.alignment();
            self.header.clear_metadata();
            if alignment != DEFAULT_ALIGNMENT {
                self.set_alignment(alignment)?;
            }
        }
        self.set_metadata(NO, Value::U16(no))?;
        self.set_metadata(TENSORS, Value::I32(total))?;
        self.set_metadata(COUNT, Value::U16(count))
    }

    /// Removes the three keys of [`set_shard`](Self::set_shard). Returns whether any existed.
    pub fn unshard(&mut self) -> bool {
        SHARD_KEYS.map(|key| self.remove_metadata(key)).contains(&true)
    }

    /// Like [`copy_metadata_from`](Self::copy_metadata_from), for a sharded model that becomes one file or other shards.
    /// Copies the first shard's metadata without the keys that make it a shard, and the last one's padding.
    ///
    /// # Errors
    /// The errors of [`copy_metadata_from`](Self::copy_metadata_from).
    pub fn copy_sharded_metadata_from<B: AsRef<[u8]>>(
        &mut self,
        model: &ShardedGguf<B>,
    ) -> Result<&mut Self> {
        self.copy_metadata_from(model.first())?;
        self.header.final_padding = model.last().final_padding();
        self.unshard();
        Ok(self)
    }
}
