//! Tests that need a hand-made [`Tensor`]. Public behaviour is tested in `tests/`.

use super::*;
use crate::codec::swap_byte_order;
use crate::tensor::Tensor;

fn copy(tensor: &Tensor<'_>, order: ByteOrder) -> Result<Vec<u8>> {
    let mut writer = Writer::new(Vec::new());
    writer.set_byte_order(order).declare_tensor(tensor.name(), tensor.shape().dims(), tensor.ggml_type())?;
    let mut data = writer.write_header()?;
    data.copy_tensor(tensor)?;
    data.finish()
}

#[test]
fn copies_keep_the_bytes_or_swap_them_whole() {
    // More than fits in the buffer at once, and not a multiple of it for blocks of any type.
    let shape = Shape::new(&[768, 201]).unwrap();
    for ty in [GgmlType::F16, GgmlType::F32, GgmlType::F64, GgmlType::I8, GgmlType::Q4_0, GgmlType::Q6_K] {
        let len = ty.bytes_for(shape.element_count()).unwrap() as usize;
        let bytes: Vec<u8> = (0..len).map(|i| (i * 31 % 251) as u8).collect();
        let mut swapped = bytes.clone();
        swap_byte_order(ty, &mut swapped);
        for from in [ByteOrder::Little, ByteOrder::Big] {
            for to in [ByteOrder::Little, ByteOrder::Big] {
                let file = copy(&Tensor::new("t", shape, ty, from, &bytes).unwrap(), to).unwrap();
                let expected = if from == to { &bytes } else { &swapped };
                // The header takes 24 bytes and the tensor's entry 45, padded to 96.
                assert!(file[96..][..len] == *expected, "{ty} from {from:?} to {to:?}");
            }
        }
    }
}

#[test]
fn copies_must_be_as_declared_and_otherwise_leave_the_file_as_it_was() {
    let shape = Shape::new(&[2, 3]).unwrap();
    let other = Shape::new(&[3, 2]).unwrap();
    let tensor = |shape, ty, bytes| Tensor::new("t", shape, ty, ByteOrder::Little, bytes).unwrap();
    let mut writer = Writer::new(Vec::new());
    writer.declare_tensor("t", &[2, 3], GgmlType::F16).unwrap();
    let mut data = writer.write_header().unwrap();
    for wrong in [tensor(other, GgmlType::F16, &[0; 12]), tensor(shape, GgmlType::BF16, &[0; 12])] {
        let message = data.copy_tensor(&wrong).unwrap_err().to_string();
        for part in ["'t'", "declared as F16 of shape [2, 3]"] {
            assert!(message.contains(part), "{message}");
        }
    }
    data.copy_tensor(&tensor(shape, GgmlType::F16, &[0; 12])).unwrap();
    data.finish().unwrap();
}

#[test]
fn values_of_another_file_are_checked_and_written_like_ones_own() {
    let mut owned = Writer::new(Vec::new());
    owned.set_metadata("name", Value::String(b"x".to_vec())).unwrap().set_alignment(64).unwrap();
    let mut copied = Writer::new(Vec::new());
    copied.set_metadata_ref("name", ValueRef::String(b"x")).unwrap();
    copied.set_metadata_ref(ALIGNMENT_KEY, ValueRef::U32(64)).unwrap();
    let file = |writer: Writer<Vec<u8>>| writer.write_header().unwrap().finish().unwrap();
    assert_eq!(file(owned), file(copied));

    let mut writer = Writer::new(Vec::new());
    for wrong in [ValueRef::U32(33), ValueRef::U16(32)] {
        assert!(
            writer.set_metadata_ref(ALIGNMENT_KEY, wrong).unwrap_err().to_string().contains(ALIGNMENT_KEY)
        );
    }
}

#[test]
fn values_are_swapped_on_their_way_into_a_big_endian_file() {
    // More than is quantized at once.
    let shape = Shape::new(&[768, 401]).unwrap();
    let values: Vec<f32> = (0..768 * 401).map(|i| (i as f32 * 0.37).sin()).collect();
    for ty in [GgmlType::F16, GgmlType::F32, GgmlType::Q8_0, GgmlType::Q4_K] {
        let mut bytes = vec![0; ty.bytes_for(shape.element_count()).unwrap() as usize];
        crate::quantize(ty, &values, 768, None, &mut bytes).unwrap();
        for order in [ByteOrder::Little, ByteOrder::Big] {
            let mut writer = Writer::new(Vec::new());
            writer.set_byte_order(order).declare_tensor("t", shape.dims(), ty).unwrap();
            let mut data = writer.write_header().unwrap();
            let mut tensor = data.begin("t").unwrap();
            tensor.write_values(&values, None).unwrap();
            tensor.finish().unwrap();
            let copied =
                copy(&Tensor::new("t", shape, ty, ByteOrder::Little, &bytes).unwrap(), order).unwrap();
            assert!(data.finish().unwrap() == copied, "{ty} {order:?}");
        }
    }
}

#[test]
fn the_index_of_a_refused_value_counts_from_the_callers_first() {
    let error = |index| Error::NonFinite { what: "value", index, value: f32::NAN };
    assert_eq!(values::counted_from(error(3), 4096).to_string(), error(4099).to_string());
    // Weights are the same for every piece.
    let error = |index| Error::NonFinite { what: "importance weight", index, value: f32::NAN };
    assert_eq!(values::counted_from(error(3), 4096).to_string(), error(3).to_string());
}

#[test]
fn a_removed_key_moves_no_other() {
    let mut writer = Writer::new(Vec::new());
    let set = |writer: &mut Writer<Vec<u8>>, key: &str| {
        writer.set_metadata(key, 1u8).unwrap();
    };
    for key in ["a", "b", "c", "d"] {
        set(&mut writer, key);
    }
    assert!(writer.remove_metadata("b"));
    // Only the end of the list changes, so a removal need not walk it.
    assert_eq!(writer.header.position("c"), Some(2));
    assert!(writer.remove_metadata("c") && writer.remove_metadata("d"));
    set(&mut writer, "e");
    assert_eq!((writer.header.position("a"), writer.header.position("e")), (Some(0), Some(1)));
}
