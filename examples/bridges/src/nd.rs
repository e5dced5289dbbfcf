//! ndarray: a view of values that are stored as plain floats, and arrays of dequantized values.

use anyhow::{Context, Result, ensure};
use gguf_codec::{GgmlType, Sink, Tensor, TensorWriter};
use ndarray::{Array2, ArrayD, ArrayView2, ArrayViewD};

use crate::extents;

/// The values of an F32 tensor in place: nothing is copied.
pub(crate) fn view<'a>(tensor: &Tensor<'a>) -> Result<ArrayViewD<'a, f32>> {
    Ok(ArrayViewD::from_shape(extents(tensor)?, tensor.as_slice::<f32>()?)?)
}

/// The values of a tensor of any type.
pub(crate) fn array(tensor: &Tensor<'_>) -> Result<ArrayD<f32>> {
    Ok(ArrayD::from_shape_vec(extents(tensor)?, tensor.dequantize()?)?)
}

/// Some rows of a matrix, such as the embeddings of a text.
pub(crate) fn rows(tensor: &Tensor<'_>, indices: &[usize]) -> Result<Array2<f32>> {
    let mut array = Array2::zeros((indices.len(), tensor.row_len()));
    tensor.dequantize_rows(indices, array.as_slice_mut().context("a new array is contiguous")?)?;
    Ok(array)
}

/// Writes a matrix as the next tensor, in its declared type; the array may be a transposed or cut view.
pub(crate) fn write<S: Sink>(
    matrix: ArrayView2<'_, f32>,
    mut writer: TensorWriter<'_, S>,
    ty: GgmlType,
) -> Result<()> {
    ensure!(ty.can_quantize(), "floats cannot become {ty}");
    for row in matrix.rows() {
        match row.as_slice() {
            Some(values) => writer.write_values(values, None)?,
            None => writer.write_values(&row.to_vec(), None)?,
        }
    }
    Ok(writer.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gguf_codec::{Gguf, Writer};
    use ndarray::{Array2, s};

    #[test]
    fn a_matrix_goes_there_and_back() {
        let matrix = Array2::from_shape_fn((3, 64), |(row, column)| (row * 64 + column) as f32 / 8.0);
        for ty in [GgmlType::F32, GgmlType::Q8_0] {
            let mut writer = Writer::new(Vec::new());
            writer
                .declare_tensor("w", &[64, 3], ty)
                .unwrap()
                .declare_tensor("t", &[3, 64], GgmlType::F32)
                .unwrap();
            let mut data = writer.write_header().unwrap();
            write(matrix.view(), data.begin("w").unwrap(), ty).unwrap();
            // Rows of a transposed view are not contiguous.
            write(matrix.t(), data.begin("t").unwrap(), GgmlType::F32).unwrap();
            let file = data.finish().unwrap();
            let model = Gguf::parse(&file).unwrap();
            let tensor = model.tensor("w").unwrap();
            let back = array(&tensor).unwrap().into_dimensionality::<ndarray::Ix2>().unwrap();
            assert!((&back - &matrix).iter().all(|error| error.abs() < 0.1));
            assert_eq!(rows(&tensor, &[2, 0]).unwrap().row(1), back.slice(s![0, ..]));
            assert_eq!(array(&model.tensor("t").unwrap()).unwrap().shape(), [64, 3]);
        }
    }

    #[test]
    fn a_view_is_the_files_own_bytes() {
        let mut writer = Writer::new(Vec::new());
        writer.declare_tensor("w", &[2, 3], GgmlType::F32).unwrap();
        let mut data = writer.write_header().unwrap();
        let values: Vec<u8> = (0..6).flat_map(|value| (value as f32).to_le_bytes()).collect();
        data.write_tensor("w", &values).unwrap();
        let file = data.finish().unwrap();
        let model = Gguf::parse(&file).unwrap();
        // A view needs values at a multiple of four bytes, which holds in mapped files, and usually in memory.
        let view = view(&model.tensor("w").unwrap()).unwrap();
        assert_eq!(view, ndarray::arr2(&[[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]).into_dyn());
    }
}
