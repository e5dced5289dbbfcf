//! Any finite floats become blocks of every type, the same bytes in every instruction set, with importance
//! weights and, where the type can do without, without. NaN and infinity are errors for quantized types. The blocks are
//! valid where the values are neither too large nor too small for a scale, and no weight is negative.
#![no_main]

use gguf_codec::{Codec, Error, GgmlType, Isa, dequantize};
use libfuzzer_sys::fuzz_target;

/// Below this magnitude no scale of any type overflows: f16 holds numbers up to 65504, and the sum of 32 values that
/// Q8_1 keeps is the greatest of them.
const SAFE_MAGNITUDE: f32 = 65504.0 / 33.0;

/// MXFP4 has no exponent for a block of less than this; ggml writes one that wraps.
const LEAST_OF_MXFP4: f32 = f32::MIN_POSITIVE * 2.0;

fuzz_target!(|data: &[u8]| {
    let Some((&choice, data)) = data.split_first() else { return };
    let types: Vec<_> = GgmlType::ALL.iter().copied().filter(|ty| ty.can_quantize()).collect();
    let ty = types[usize::from(choice & 0x3f) % types.len()];
    let weighted = choice & 0x40 != 0 || ty.needs_importance();
    let floats: Vec<f32> =
        data.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
    if floats.is_empty() {
        return;
    }
    // Rows of one block or two, as many as the floats fill, the last one filled up with the first floats again.
    let row_len = ty.block_len() * if choice & 0x80 != 0 { 2 } else { 1 };
    let values: Vec<f32> =
        floats.iter().copied().cycle().take(floats.len().next_multiple_of(row_len)).collect();
    let importance = weighted.then(|| &values[..row_len]);

    let run = |isa| {
        let mut out = vec![0; values.len() / ty.block_len() * ty.block_bytes()];
        Codec::new(ty).isa(isa).importance(importance).quantize(&values, row_len, &mut out).map(|()| out)
    };
    let scalar = run(Isa::SCALAR);
    for isa in Isa::available() {
        match (&scalar, run(isa)) {
            (Ok(scalar), Ok(bytes)) => assert!(*scalar == bytes, "{ty} in {isa:?} and scalar differ"),
            (Err(scalar), Err(error)) => assert_eq!(scalar.to_string(), error.to_string()),
            (scalar, result) => panic!("{scalar:?} and {result:?} in {isa:?}"),
        }
    }
    let bad = |values: &[f32]| values.iter().any(|value| !value.is_finite());
    let refused = (ty.is_quantized() && bad(&values)) || importance.is_some_and(bad);
    match scalar {
        Ok(bytes) => {
            assert!(!refused);
            let fits = |block: &[f32]| {
                let is_great = |value: &f32| value.abs() >= LEAST_OF_MXFP4;
                let is_zero = block.iter().all(|value| *value == 0.0);
                block.iter().all(|value| value.abs() < SAFE_MAGNITUDE)
                    && (ty != GgmlType::MXFP4 || is_zero || block.iter().any(is_great))
            };
            let makes_sense = importance.is_none_or(|weights| weights.iter().all(|weight| *weight >= 0.0));
            if makes_sense && values.chunks(ty.block_len()).all(fits) {
                ty.validate(&bytes).unwrap();
            }
            dequantize(ty, &bytes, &mut vec![0.0f32; values.len()]).unwrap();
        }
        Err(Error::NonFinite { .. }) => assert!(refused),
        Err(error) => panic!("{error}"),
    }
});
