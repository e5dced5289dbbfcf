//! Views of tensors: rows, blocks and slices without copying, in both byte orders.

use crate::common;
use gguf_codec::blocks::*;
use gguf_codec::*;

const ROW: usize = 512;

fn values() -> Vec<f32> {
    (0..3 * ROW).map(|i| ((i * 31 % 257) as f32 - 128.0) / 100.0).collect()
}

fn blocks(ty: GgmlType) -> Vec<u8> {
    let mut blocks = vec![0; 3 * ROW / ty.block_len() * ty.block_bytes()];
    quantize(ty, &values(), ROW, Some(&[1.0; ROW]), &mut blocks).unwrap();
    blocks
}

fn tensor(ty: GgmlType, order: ByteOrder, bytes: &[u8]) -> Tensor<'_> {
    Tensor::new("t", Shape::new(&[ROW as u64, 3]).unwrap(), ty, order, bytes).unwrap()
}

#[test]
fn rows_and_ranges_of_rows_are_what_the_whole_tensor_holds_there() {
    for ty in GgmlType::ALL.iter().copied().filter(|ty| ty.can_quantize()) {
        let bytes = blocks(ty);
        let tensor = tensor(ty, ByteOrder::Little, &bytes);
        assert_eq!((tensor.row_len(), tensor.row_count(), tensor.len()), (ROW, 3, 3 * ROW));
        let all: Vec<f32> = tensor.dequantize().unwrap();
        for row in 0..3 {
            let one: Vec<f32> = tensor.row(row).unwrap().dequantize().unwrap();
            assert_eq!(one, all[row * ROW..(row + 1) * ROW], "{ty}");
        }
        assert_eq!(tensor.rows(1..).unwrap().dequantize::<f32>().unwrap(), all[ROW..]);
        assert_eq!(tensor.rows(..=1).unwrap().shape().dims(), [ROW as u64, 2]);
        assert!(tensor.rows(3..3).unwrap().is_empty());
        for (values, sizes) in
            [(1, &[1, 1, 1][..]), (2 * ROW, &[2, 1]), (2 * ROW - 1, &[1, 1, 1]), (usize::MAX, &[3])]
        {
            let chunks: Vec<_> = tensor.row_chunks(values).collect();
            assert_eq!(chunks.iter().map(Tensor::row_count).collect::<Vec<_>>(), sizes);
            let joined: Vec<f32> =
                chunks.iter().flat_map(|chunk| chunk.dequantize::<f32>().unwrap()).collect();
            assert_eq!(joined, all);
        }
        let mut gathered = vec![0.0f32; 4 * ROW];
        tensor.dequantize_rows(&[2, 0, 2, 1], &mut gathered).unwrap();
        for (row, gathered) in [2, 0, 2, 1].into_iter().zip(gathered.chunks(ROW)) {
            assert_eq!(gathered, &all[row * ROW..(row + 1) * ROW], "{ty}");
        }
        assert!(tensor.dequantize_rows(&[0], &mut gathered).is_err());
        assert!(tensor.dequantize_rows(&[3], &mut gathered[..ROW]).is_err());
        let error = tensor.row(3).unwrap_err().to_string();
        assert_eq!(error, "row 3 is out of range: there are 3");
        assert!(tensor.rows(2..5).is_err());
        #[allow(clippy::reversed_empty_ranges, reason = "that is what is tested")]
        let backwards = tensor.rows(2..1);
        let error = backwards.unwrap_err().to_string();
        assert_eq!(error, "the range of rows 2..1 is reversed: it ends before it begins");
        assert!(tensor.row(usize::MAX).is_err());
    }
}

#[test]
fn big_endian_tensors_have_the_same_values() {
    for ty in GgmlType::ALL.iter().copied().filter(|ty| ty.can_quantize()) {
        let little = blocks(ty);
        let mut big = little.clone();
        common::layout::swap(ty, &mut big);
        let want: Vec<f32> = tensor(ty, ByteOrder::Little, &little).dequantize().unwrap();
        let tensor = tensor(ty, ByteOrder::Big, &big);
        assert_eq!(tensor.dequantize::<f32>().unwrap(), want, "{ty}");
        assert_eq!(tensor.row(1).unwrap().dequantize::<f32>().unwrap(), want[ROW..2 * ROW], "{ty}");
    }
}

#[test]
#[cfg(feature = "rayon")]
fn all_cores_read_the_same_values_in_both_byte_orders() {
    for ty in GgmlType::ALL.iter().copied() {
        // Several pieces, the last one shorter.
        let shape = Shape::new(&[256, 301]).unwrap();
        let len = ty.bytes_for(shape.element_count()).unwrap() as usize;
        let bytes: Vec<u8> = (0..len).map(|i| (i * 7 % 59) as u8).collect();
        for order in [ByteOrder::Little, ByteOrder::Big] {
            let tensor = Tensor::new("t", shape, ty, order, &bytes).unwrap();
            let mut all = vec![0.0f32; tensor.len()];
            tensor.par_dequantize_into(&mut all).unwrap();
            assert!(tensor.par_dequantize::<f32>().unwrap() == all);
            assert!(all == tensor.dequantize::<f32>().unwrap(), "{ty} {order:?}");
        }
    }
}

#[test]
fn a_length_that_does_not_fit_is_named() {
    for order in [ByteOrder::Little, ByteOrder::Big] {
        let shape = Shape::new(&[32, 2]).unwrap();
        type Into = fn(&Tensor<'_>, &mut [f32]) -> Result<()>;
        let ways: &[Into] = &[
            |tensor, out| tensor.dequantize_into(out),
            #[cfg(feature = "rayon")]
            |tensor, out| tensor.par_dequantize_into(out),
        ];
        for into in ways {
            let tensor = Tensor::new("blk.0\n", shape, GgmlType::Q8_0, order, &[0; 68]).unwrap();
            let error = into(&tensor, &mut [0.0; 5]).unwrap_err().to_string();
            assert_eq!(
                error,
                "the output, in values, is 5 long, and must be 64, as many as tensor 'blk.0\\n' has"
            );
        }
    }
}

#[test]
fn typed_views_are_the_bytes_themselves() {
    let bytes = blocks(GgmlType::Q4_K);
    let tensor = tensor(GgmlType::Q4_K, ByteOrder::Little, &bytes);
    let typed = tensor.typed::<Q4_K>().unwrap();
    let blocks: &[BlockQ4_K] = typed.blocks();
    assert_eq!(blocks.len(), 6);
    assert_eq!(blocks.as_ptr().cast::<u8>(), bytes.as_ptr());
    assert_eq!(typed.row(2).unwrap().blocks(), &blocks[4..]);
    assert_eq!(typed.rows(..2).unwrap().blocks(), &blocks[..4]);
    let mut row = vec![0.0f32; ROW];
    typed.row(1).unwrap().dequantize_into(&mut row).unwrap();
    assert_eq!(row, tensor.row(1).unwrap().dequantize::<f32>().unwrap());

    let error = tensor.typed::<Q6_K>().unwrap_err().to_string();
    assert_eq!(error, "tensor 't' is Q4_K, not Q6_K");
    let big = Tensor::new("t", tensor.shape(), GgmlType::Q4_K, ByteOrder::Big, &bytes).unwrap();
    assert!(matches!(big.typed::<Q4_K>(), Err(Error::NotViewable { .. })));
}

#[test]
fn plain_tensors_are_slices_where_memory_allows() {
    let floats = values();
    let bytes: &[u8] = bytemuck::cast_slice(&floats);
    let shape = Shape::new(&[ROW as u64, 3]).unwrap();
    let native = Tensor::new("t", shape, GgmlType::F32, ByteOrder::NATIVE, bytes).unwrap();
    assert_eq!(native.as_slice::<f32>().unwrap(), floats);
    assert!(matches!(native.as_slice::<i32>(), Err(Error::WrongType { .. })));
    let other = if ByteOrder::NATIVE == ByteOrder::Little { ByteOrder::Big } else { ByteOrder::Little };
    let foreign = Tensor::new("t", shape, GgmlType::F32, other, bytes).unwrap();
    assert!(matches!(foreign.as_slice::<f32>(), Err(Error::NotViewable { .. })));

    let shape = Shape::new(&[100]).unwrap();
    let odd = Tensor::new("t", shape, GgmlType::F32, ByteOrder::NATIVE, &bytes[1..401]).unwrap();
    let error = odd.as_slice::<f32>().unwrap_err().to_string();
    assert!(error.contains("not aligned"), "{error}");
    let bytes_tensor = Tensor::new("t", shape, GgmlType::I8, other, &bytes[1..101]).unwrap();
    assert_eq!(bytes_tensor.as_slice::<i8>().unwrap().len(), 100);
}

#[test]
fn a_tensor_is_as_long_as_its_shape_says() {
    let new = |dims: &[u64], ty, len: usize| {
        Tensor::new("t", Shape::new(dims).unwrap(), ty, ByteOrder::Little, &[0; 300][..len]).map(|_| ())
    };
    assert!(new(&[256, 2], GgmlType::Q4_K, 288).is_ok());
    let error = new(&[256, 2], GgmlType::Q4_K, 287).unwrap_err().to_string();
    assert!(error.contains("must be 288, what the shape [256, 2] takes in Q4_K"), "{error}");
    let error = new(&[128, 2], GgmlType::Q4_K, 144).unwrap_err().to_string();
    assert!(error.contains("multiple of 256"), "{error}");
    assert!(new(&[0, 1 << 60], GgmlType::F32, 0).is_ok());
    assert!(new(&[], GgmlType::F64, 8).is_ok());
    assert!(new(&[1 << 62], GgmlType::F64, 8).is_err());
    let shape = Shape::new(&[0, 1 << 60]).unwrap();
    let empty = Tensor::new("t", shape, GgmlType::F32, ByteOrder::Little, &[]).unwrap();
    assert!(empty.row(7).unwrap().is_empty());
    assert!(empty.rows(..).unwrap().dequantize::<f32>().unwrap().is_empty());
    // More rows than fit an extent.
    let shape = Shape::new(&[0, 1 << 62, 1 << 62]).unwrap();
    let empty = Tensor::new("t", shape, GgmlType::F32, ByteOrder::Little, &[]).unwrap();
    assert!(empty.rows(..).unwrap().is_empty() && empty.row(7).unwrap().is_empty());
    assert_eq!(empty.row_chunks(100).count(), 0);
}

#[test]
fn ranges_of_rows_into_a_slice() {
    let sample = include_bytes!("../../examples/sample.gguf");
    let gguf = gguf_codec::Gguf::parse(&sample[..]).unwrap();
    for tensor in gguf.tensors().map(|info| info.tensor().unwrap()) {
        let (rows, len) = (tensor.row_count(), tensor.row_len());
        for range in [0..rows, 0..0, rows..rows, rows / 2..rows, 0..1] {
            let mut out = vec![0.0f32; range.len() * len];
            tensor.rows_into(range.clone(), &mut out).unwrap();
            assert_eq!(out, tensor.rows(range).unwrap().dequantize::<f32>().unwrap(), "{}", tensor.name());
        }
        let mut out = vec![0.0f32; len];
        let error = tensor.rows_into(rows..=rows, &mut out).unwrap_err();
        assert_eq!(error.to_string(), format!("row {rows} is out of range: there are {rows}"));
        #[allow(clippy::reversed_empty_ranges, reason = "what is refused")]
        let error = tensor.rows_into(1..0, &mut out).unwrap_err();
        assert!(error.to_string().contains("reversed"), "{error}");
        let error = tensor.rows_into(0..1, &mut out[1..]).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("the output, in values, is {} long, and must be {len}: 1 rows of {len}", len - 1)
        );
    }
}

#[test]
fn what_the_header_says_of_a_tensor_is_what_the_tensor_says() {
    let model = Gguf::parse(include_bytes!("../../examples/sample.gguf")).unwrap();
    for info in model.tensors() {
        let tensor = model.tensor(info.name()).unwrap();
        assert_eq!((info.shape(), info.ggml_type()), (tensor.shape(), tensor.ggml_type()));
        assert_eq!((info.row_len(), info.row_count()), (tensor.row_len(), tensor.row_count()));
        assert_eq!((info.len(), info.is_empty()), (tensor.len(), tensor.is_empty()));
        assert_eq!((info.byte_order(), info.name()), (tensor.byte_order(), tensor.name()));
        assert_eq!(info.byte_len(), tensor.bytes().unwrap().len() as u64);
    }
}
