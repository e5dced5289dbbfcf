//! [`Weight`]: a tensor that keeps its model alive.

use std::fmt;
use std::sync::Arc;

use crate::error::Result;
use crate::ggml_type::GgmlType;
use crate::gguf::TensorInfo;
use crate::gguf::index::Gguf;
use crate::gguf::shards::ShardedGguf;
use crate::tensor::{Shape, Tensor};

/// A tensor with shared ownership of its model. It borrows nothing, so a struct can contain the model's weights and be sent to
/// another thread.
///
/// Cloning only increments the model's reference count. No values are copied: [`tensor`](Self::tensor) returns a view of the
/// model's, in constant time.
///
/// ```
/// use std::sync::Arc;
/// use gguf_codec::Gguf;
/// use gguf_codec::model::Weight;
///
/// struct Layer {
///     query: Weight<Vec<u8>>,
///     key: Weight<Vec<u8>>,
/// }
///
/// let model = Arc::new(Gguf::read("examples/sample.gguf")?.into()); // or `ShardedGguf::open`
/// let layers: Vec<Layer> = (0..2)
///     .map(|i| {
///         let weight = |name| Weight::new(&model, &format!("blk.{i}.{name}.weight"));
///         Ok(Layer { query: weight("attn_q")?, key: weight("attn_k")? })
///     })
///     .collect::<Result<_, gguf_codec::Error>>()?;
/// drop(model);
///
/// let first = std::thread::spawn(move || layers[1].query.tensor()?.row(0)?.dequantize::<f32>()).join().unwrap()?;
/// assert_eq!(first.len(), 64);
/// # Ok::<(), gguf_codec::Error>(())
/// ```
pub struct Weight<B> {
    model: Arc<ShardedGguf<B>>,
    shard: usize,
    index: usize,
    ty: GgmlType,
    shape: Shape,
}

impl<B: AsRef<[u8]>> Weight<B> {
    /// Returns the tensor of a model with this name.
    ///
    /// # Errors
    /// [`Error::MissingTensor`](crate::Error::MissingTensor), and [`Error::HeaderOnly`](crate::Error::HeaderOnly) if only the
    /// header was read.
    pub fn new(model: &Arc<ShardedGguf<B>>, name: &str) -> Result<Self> {
        let info = model.tensor_info(name)?;
        info.tensor()?;
        let shard = model.shard_of(name)?;
        let index = model.shards().get(shard).and_then(|shard| shard.index_of(name)).unwrap_or(usize::MAX);
        Ok(Weight { model: Arc::clone(model), shard, index, ty: info.ggml_type(), shape: info.shape() })
    }

    /// Returns the tensor: a view of the model's bytes.
    ///
    /// # Errors
    /// None beyond those of [`new`](Self::new), as long as the bytes are those that were parsed.
    pub fn tensor(&self) -> Result<Tensor<'_>> {
        self.info()?.tensor()
    }

    /// Returns the header's description of it.
    fn info(&self) -> Result<TensorInfo<'_>> {
        let shard = self.model.shards().get(self.shard);
        let info = shard.and_then(|shard: &Gguf<B>| shard.tensors().nth(self.index));
        info.ok_or_else(|| crate::Error::MissingTensor { name: String::new() })
    }

    /// Returns its name, or an empty string if the model's bytes are not those that were parsed.
    pub fn name(&self) -> &str {
        self.info().map_or("", |info| info.name())
    }

    /// Returns its type.
    pub fn ggml_type(&self) -> GgmlType {
        self.ty
    }

    /// Returns its shape.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Returns the index of the shard that contains it.
    pub(super) fn shard(&self) -> usize {
        self.shard
    }

    /// Returns its position in the table of its shard.
    pub(super) fn index(&self) -> usize {
        self.index
    }

    /// Returns its model.
    pub fn model(&self) -> &Arc<ShardedGguf<B>> {
        &self.model
    }
}

impl<B> Clone for Weight<B> {
    fn clone(&self) -> Self {
        Weight { model: Arc::clone(&self.model), ..*self }
    }
}

impl<B: AsRef<[u8]>> fmt::Debug for Weight<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Weight")
            .field("name", &self.name())
            .field("type", &self.ty)
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}
