//! candle: plain tensors of the same type, blocks dequantized or as candle's own quantized tensors.

use std::borrow::Cow;

use anyhow::{Result, bail};
use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{DType, Device};
use gguf_codec::{ByteOrder, GgmlType, Sink, Tensor, TensorWriter};

use crate::extents;

/// A tensor as candle's: plain floats and integers that candle has keep their type, everything else becomes F32.
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

/// A tensor of blocks as candle's quantized one, for its own kernels: the bytes are the same.
pub(crate) fn quantized(tensor: &Tensor<'_>, device: &Device) -> Result<QTensor> {
    let dtype = match tensor.ggml_type() {
        GgmlType::Q4_0 => GgmlDType::Q4_0,
        GgmlType::Q4_1 => GgmlDType::Q4_1,
        GgmlType::Q5_0 => GgmlDType::Q5_0,
        GgmlType::Q5_1 => GgmlDType::Q5_1,
        GgmlType::Q8_0 => GgmlDType::Q8_0,
        GgmlType::Q2_K => GgmlDType::Q2K,
        GgmlType::Q3_K => GgmlDType::Q3K,
        GgmlType::Q4_K => GgmlDType::Q4K,
        GgmlType::Q5_K => GgmlDType::Q5K,
        GgmlType::Q6_K => GgmlDType::Q6K,
        ty => bail!("candle has no quantized tensors of {ty}"),
    };
    if tensor.byte_order() == ByteOrder::Big {
        bail!("candle's blocks are little-endian");
    }
    let storage = QStorage::from_data(Cow::Borrowed(tensor.bytes()?), device, dtype)?;
    Ok(QTensor::new(storage, extents(tensor)?)?)
}

/// Writes candle's tensor as the next one, in whatever type that was declared.
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
        for ty in [GgmlType::F32, GgmlType::F16, GgmlType::BF16, GgmlType::Q8_0, GgmlType::Q4_K] {
            let row = if ty == GgmlType::Q4_K { 256 } else { 128 };
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
            assert!(restored.iter().zip(&values).all(|(a, b)| (a - b).abs() < 0.7), "{ty}");
            assert_eq!(restored, own.dequantize::<f32>().unwrap(), "{ty}");
            if ty.is_quantized() {
                let blocks = quantized(&own, &device).unwrap();
                let theirs =
                    blocks.dequantize(&device).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
                assert_eq!(theirs, restored, "{ty}");
            }
        }
    }
}
