//! Any finite floats become blocks of every type, with the same bytes on every instruction set, with importance
//! weights and, if the type allows it, without. NaN and infinity are errors for quantized types. The blocks are
//! valid if the values are neither too large nor too small for a scale, and no weight is negative.
#![no_main]

use gguf_codec::{Codec, Error, GgmlType, Isa, dequantize};
use libfuzzer_sys::fuzz_target;

/// Below this magnitude no scale of any type overflows: f16 represents numbers up to 65504, and the largest number that a type stores
/// as f16 is Q8_1's sum of 32 values.
const SAFE_MAGNITUDE: f32 = 65504.0 / 33.0;

/// MXFP4 has no exponent for a block of smaller values; ggml writes one that wraps.
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
    // Rows of one or two blocks, as many as the floats fill. The last one is completed with the first floats.
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
