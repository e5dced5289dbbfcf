//! The first byte chooses a type, and all further bytes are blocks of it. Blocks that are reported as valid contain no NaN, and
//! the first invalid block is the one that the error names.
#![no_main]

use gguf_codec::{ByteOrder, Error, GgmlType, Shape, Tensor, dequantize};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&choice, data)) = data.split_first() else { return };
    let ty = GgmlType::ALL[usize::from(choice) % GgmlType::ALL.len()];
    let size = ty.block_bytes();
    let (whole, rest) = data.split_at(data.len() / size * size);
    let tensor = |order| {
        let shape = Shape::new(&[(whole.len() / size * ty.block_len()) as u64]).unwrap();
        Tensor::new("t", shape, ty, order, whole).unwrap()
    };
    let _ = tensor(ByteOrder::Big).validate();
    let validated = ty.validate(whole);
    let in_tensor = tensor(ByteOrder::Little).validate();
    assert_eq!(validated.as_ref().err().is_some(), in_tensor.is_err());
    let valid = match validated {
        Ok(()) => whole,
        Err(Error::InvalidBlock { block, .. }) => {
            let at = block as usize * size;
            ty.validate(&whole[at..at + size]).unwrap_err();
            ty.validate(&whole[..at]).unwrap();
            &whole[..at]
        }
        Err(error) => panic!("{error}"),
    };
    let mut values = vec![0.0f32; valid.len() / size * ty.block_len()];
    dequantize(ty, valid, &mut values).unwrap();
    let nan = values.iter().position(|value| value.is_nan());
    assert_eq!(nan, None, "{ty}: valid blocks hold NaN");
    assert!(rest.is_empty() || matches!(ty.validate(data), Err(Error::Length { .. })));
});
