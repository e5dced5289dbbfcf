//! The first byte chooses a type. All further bytes are blocks of that type, and every instruction set reads the same values
//! from them, bit for bit. NaNs count as equal, because their sign and payload depend on the processor.
#![no_main]

use gguf_codec::{ByteOrder, Codec, Float, GgmlType, Isa, Shape, Tensor};
use libfuzzer_sys::fuzz_target;

fn check<T: Float>(ty: GgmlType, blocks: &[u8], values: usize, bits: impl Fn(T) -> u32) {
    let read = |isa| {
        let mut out = vec![T::default(); values];
        Codec::new(ty).isa(isa).dequantize(blocks, &mut out).unwrap();
        out.into_iter().map(&bits).collect::<Vec<_>>()
    };
    let scalar = read(Isa::SCALAR);
    for isa in Isa::available() {
        let values = read(isa);
        let differs = scalar.iter().zip(&values).position(|(a, b)| a != b);
        assert_eq!(differs, None, "{ty} in {isa:?} and scalar differ at this value");
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&choice, data)) = data.split_first() else { return };
    let ty = GgmlType::ALL[usize::from(choice) % GgmlType::ALL.len()];
    let blocks = data.len() / ty.block_bytes();
    let (bytes, values) = (&data[..blocks * ty.block_bytes()], blocks * ty.block_len());
    check(ty, bytes, values, |value: f32| if value.is_nan() { u32::MAX } else { value.to_bits() });
    check(
        ty,
        bytes,
        values,
        |value: half::f16| {
            if value.is_nan() { u32::MAX } else { value.to_bits().into() }
        },
    );
    check(
        ty,
        bytes,
        values,
        |value: half::bf16| {
            if value.is_nan() { u32::MAX } else { value.to_bits().into() }
        },
    );
    let shape = Shape::new(&[values as u64]).unwrap();
    let turned = Tensor::new("t", shape, ty, ByteOrder::Big, bytes).unwrap();
    assert_eq!(turned.dequantize::<f32>().unwrap().len(), values);
});
