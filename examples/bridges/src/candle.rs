//! candle: plain tensors of the same type, and blocks dequantized or as candle's own quantized tensors.

use std::borrow::Cow;

use anyhow::{Result, bail};
use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{DType, Device};
use gguf_codec::{ByteOrder, GgmlType, Sink, Tensor, TensorWriter};

use crate::extents;

/// A tensor as candle's: floats and integers of types that candle has keep their type; everything else becomes F32.
pub(crate) fn tensor(tensor: &Tensor<'_>, device: &Device) -> Result<candle_core::Tensor> {
    let extents = extents(tensor)?;
    let dtype = match tensor.ggml_type() {
        GgmlType::F16 => DType::F16,
        GgmlType::BF16 => DType::BF16,
        GgmlType::F64 => DType::F64,
        GgmlType::I64 => DType::I64,
        _ => DType::F32,
    };
    if dtype != DType::F32 && tensor.byte_order() == ByteOrder::Little {
        return Ok(candle_core::Tensor::from_raw_buffer(tensor.bytes()?, dtype, &extents, device)?);
    }
    Ok(candle_core::Tensor::from_vec(tensor.dequantize::<f32>()?, extents, device)?)
}

/// A tensor of blocks as candle's quantized one, for its own kernels. Types that candle has keep their bytes. Others (IQ, ternary,
/// MXFP4, NVFP4) become Q8_0, whose own error is about a 250th of a block's largest value: small beside what they have lost before.
pub(crate) fn quantized(tensor: &Tensor<'_>, device: &Device) -> Result<QTensor> {
    let ty = tensor.ggml_type();
    let (dtype, becomes) = match ty {
        GgmlType::Q4_0 => (GgmlDType::Q4_0, ty),
        GgmlType::Q4_1 => (GgmlDType::Q4_1, ty),
        GgmlType::Q5_0 => (GgmlDType::Q5_0, ty),
        GgmlType::Q5_1 => (GgmlDType::Q5_1, ty),
        GgmlType::Q8_0 => (GgmlDType::Q8_0, ty),
        GgmlType::Q2_K => (GgmlDType::Q2K, ty),
        GgmlType::Q3_K => (GgmlDType::Q3K, ty),
        GgmlType::Q4_K => (GgmlDType::Q4K, ty),
        GgmlType::Q5_K => (GgmlDType::Q5K, ty),
        GgmlType::Q6_K => (GgmlDType::Q6K, ty),
        _ if !ty.is_quantized() => bail!("tensor '{}' is {ty}, which is not quantized", tensor.name()),
        _ => (GgmlDType::Q8_0, GgmlType::Q8_0),
    };
    if becomes == ty && tensor.byte_order() == ByteOrder::Big {
        bail!(
            "tensor '{}' has big-endian blocks, and candle's are little-endian: convert the file first",
            tensor.name()
        );
    }
    let blocks = match becomes == ty {
        true => Cow::Borrowed(tensor.bytes()?),
        false => {
            let values = tensor.dequantize::<f32>()?;
            let mut blocks = vec![0; values.len() / becomes.block_len() * becomes.block_bytes()];
            gguf_codec::quantize(becomes, &values, tensor.row_len(), None, &mut blocks)?;
            Cow::Owned(blocks)
        }
    };
    Ok(QTensor::new(QStorage::from_data(blocks, device, dtype)?, extents(tensor)?)?)
}

/// Writes candle's tensor as the next one, in its declared type.
pub(crate) fn write<S: Sink>(tensor: &candle_core::Tensor, mut writer: TensorWriter<'_, S>) -> Result<()> {
    let values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    writer.write_values(&values, None)?;
    Ok(writer.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gguf_codec::{Gguf, Writer};

    #[test]
    fn a_tensor_goes_there_and_back() {
        let device = Device::Cpu;
        let values: Vec<f32> = (0..256).map(|i| i as f32 / 16.0 - 8.0).collect();
        let there = candle_core::Tensor::from_vec(values.clone(), (2, 128), &device).unwrap();
        let plain = [GgmlType::F32, GgmlType::F16, GgmlType::BF16];
        let blocks = [
            GgmlType::Q8_0,
            GgmlType::Q4_K,
            GgmlType::IQ4_NL,
            GgmlType::MXFP4,
            GgmlType::NVFP4,
            GgmlType::IQ4_XS,
        ];
        for ty in plain.into_iter().chain(blocks) {
            let row = if ty.block_len() == 256 { 256 } else { 128 };
            let mut writer = Writer::new(Vec::new());
            writer.declare_tensor("w", &[row, 256 / row], ty).unwrap();
            let mut data = writer.write_header().unwrap();
            write(&there, data.begin("w").unwrap()).unwrap();
            let file = data.finish().unwrap();
            let model = Gguf::parse(&file).unwrap();
            let own = model.tensor("w").unwrap();
            let back = tensor(&own, &device).unwrap();
            assert_eq!(back.dims(), [256 / row as usize, row as usize]);
            let restored =
                back.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            // Floats of 4 bits have nothing between 4 and 6.
            let error = if matches!(ty, GgmlType::MXFP4 | GgmlType::NVFP4) { 2.0 } else { 0.7 };
            assert!(restored.iter().zip(&values).all(|(a, b)| (a - b).abs() < error), "{ty}");
            assert_eq!(restored, own.dequantize::<f32>().unwrap(), "{ty}");
            if ty.is_quantized() {
                let blocks = quantized(&own, &device).unwrap();
                let theirs =
                    blocks.dequantize(&device).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
                // As they are, or in 8 bits.
                let error =
                    if blocks.dtype() == GgmlDType::Q8_0 && ty != GgmlType::Q8_0 { 8.0 / 250.0 } else { 0.0 };
                assert!(theirs.iter().zip(&restored).all(|(a, b)| (a - b).abs() <= error), "{ty}");
            }
        }
    }
}
