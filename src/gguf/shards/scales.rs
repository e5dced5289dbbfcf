//! Factors beside tensors, which the feature `codecs` adds.

use super::set::ShardedGguf;
use crate::error::Result;
use crate::model::scaled::{check, is_scaled, name_of_scale};

impl<B: AsRef<[u8]>> ShardedGguf<B> {
    /// The factors of a tensor `X.weight`, which llama.cpp has as `X.scale` beside it where the model was NVFP4: one for all of its
    /// values, or one for each of the matrices that it stacks. None where there are none.
    ///
    /// The values are those of [`Tensor::dequantize`](crate::Tensor::dequantize) times these.
    ///
    /// # Errors
    /// As [`tensor`](Self::tensor), and [`Error::Scale`](crate::Error::Scale) where that tensor does not hold factors.
    pub fn scales(&self, name: &str) -> Result<Option<Vec<f32>>> {
        let tensor = self.tensor_info(name)?;
        let Some(beside) = name_of_scale(name) else { return Ok(None) };
        let Ok(factors) = self.tensor(&beside) else { return Ok(None) };
        let elements = factors.shape().element_count();
        let fits = check(&beside, factors.ggml_type(), elements, name, tensor.shape().dims());
        if !is_scaled(tensor.ggml_type(), fits)? {
            return Ok(None);
        }
        factors.dequantize().map(Some)
    }
}
