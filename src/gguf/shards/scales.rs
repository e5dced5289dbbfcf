//! Scale factors beside tensors, available with the feature `codecs`.

use super::set::ShardedGguf;
use crate::error::Result;
use crate::model::scaled::{check, is_scaled, name_of_scale};

impl<B: AsRef<[u8]>> ShardedGguf<B> {
    /// Returns the scale factors of a tensor `X.weight`, which llama.cpp stores beside it as `X.scale` for models converted from
    /// NVFP4. There is one factor for all values, or one for each of the stacked matrices. Returns `None` if there are none.
    ///
    /// The tensor's values are those of [`Tensor::dequantize`](crate::Tensor::dequantize) times these factors.
    ///
    /// # Errors
    /// The errors of [`tensor`](Self::tensor), and [`Error::Scale`](crate::Error::Scale) if that tensor does not contain
    /// scale factors.
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
