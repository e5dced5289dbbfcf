//! Properties of the codecs that need no reference: the same bits on every instruction set, in every float type, on
//! any number of threads; clear errors; no panics.

use crate::common;
use gguf_codec::*;
use half::{bf16, f16};
use proptest::prelude::*;

fn quantizing() -> impl Iterator<Item = GgmlType> {
    GgmlType::ALL.iter().copied().filter(|ty| ty.can_quantize())
}

/// Without importance and with it, or only with it if a type needs it.
fn ways(ty: GgmlType, importance: &[f32]) -> impl Iterator<Item = Option<&[f32]>> {
    [None, Some(importance)].into_iter().filter(move |way| way.is_some() || !ty.needs_importance())
}

/// Floats of every exponent, with occasional whole blocks of one kind.
fn values(len: usize) -> impl Strategy<Value = Vec<f32>> {
    let finite = any::<u32>().prop_map(|bits| {
        let value = f32::from_bits(bits);
        if value.is_finite() { value } else { f32::from_bits(bits & 0x00ff_ffff) }
    });
    let near = (-4.0f32..4.0).prop_map(|x| x * x * x);
    let coarse = (-8i8..8).prop_map(|x| f32::from(x) / 4.0);
    prop_oneof![
        prop::collection::vec(near, len),
        prop::collection::vec(coarse, len),
        prop::collection::vec(finite, len),
    ]
}

fn bits<T: Float>(values: &[T]) -> Vec<u32> {
    // NaNs count as equal, because their payload depends on the processor.
    let bits = |value: &T| if value.to_f32().is_nan() { u32::MAX } else { value.to_f32().to_bits() };
    values.iter().map(bits).collect()
}

/// ggml's minimum starts with the block's first value and is replaced only by smaller ones, so that of equal zeros
/// the first one's sign is stored.
#[test]
fn the_least_value_of_a_block_may_be_zero_of_either_sign() {
    for (ty, levels, min_at) in [(GgmlType::Q4_1, 15.0, 2), (GgmlType::Q5_1, 31.0, 2)] {
        for (first, zeros) in [(0.0f32, [0, 7]), (-0.0, [0, 7]), (0.0, [9, 31]), (-0.0, [9, 31])] {
            let mut values: Vec<f32> = (0..32).map(|i| 0.5 + (i * 7 % 32) as f32 / 8.0).collect();
            (values[zeros[0]], values[zeros[1]]) = (first, -first);
            let mut block = vec![0; ty.block_bytes()];
            quantize(ty, &values, 32, None, &mut block).unwrap();
            let sign = if first.is_sign_negative() { 0x80 } else { 0 };
            assert_eq!(block[min_at..min_at + 2], [0, sign], "{ty}, {first:?} at {zeros:?}");
            let mut back = [0.0f32; 32];
            dequantize(ty, &block, &mut back).unwrap();
            let step = values.iter().copied().fold(0.0, f32::max) / levels;
            for (value, back) in values.iter().zip(back) {
                assert!((value - back).abs() <= 0.51 * step, "{ty}: {value} became {back}");
            }
        }
    }
}

#[test]
fn floats_become_every_type_but_integers() {
    use GgmlType::{I8, I16, I32, I64};
    let cannot: Vec<_> = GgmlType::ALL.iter().copied().filter(|ty| !ty.can_quantize()).collect();
    assert_eq!(cannot, [I8, I16, I32, I64]);
    assert!(Isa::available().contains(&Isa::detect()), "{:?}", Isa::detect());
}

#[test]
fn the_types_with_the_fewest_bits_ask_for_importance() {
    use GgmlType::{IQ1_S, IQ2_XS, IQ2_XXS};
    let asking: Vec<_> = GgmlType::ALL.iter().copied().filter(|ty| ty.needs_importance()).collect();
    assert_eq!(asking, [IQ2_XXS, IQ2_XS, IQ1_S]);
    for ty in asking {
        let error = quantize(ty, &[0.5; 256], 256, None, &mut vec![0; ty.block_bytes()]).unwrap_err();
        assert!(matches!(error, Error::NeedsImportance { ty: named } if named == ty), "{error}");
    }
}

/// Instructions that round to bfloats treat subnormal numbers as zeros.
#[test]
fn subnormal_values_stay_what_they_are_as_bfloats() {
    // The types whose scale can be that small: MXFP4's is a power of two from 2^-127 on, Q8_K's an f32.
    let mxfp4 = [[0; 17], [1; 17]].map(|mut block: [u8; 17]| {
        block[1..].copy_from_slice(&0x0123_4567_89ab_cdef_0fed_cba9_8765_4321u128.to_le_bytes());
        block
    });
    let mut q8_k = [3; 292];
    q8_k[..4].copy_from_slice(&1e-39f32.to_le_bytes());
    for (ty, blocks) in [(GgmlType::MXFP4, mxfp4.as_flattened()), (GgmlType::Q8_K, &q8_k)] {
        let len = blocks.len() / ty.block_bytes() * ty.block_len();
        for isa in Isa::available() {
            let (mut floats, mut bfloats) = (vec![0.0f32; len], vec![bf16::ZERO; len]);
            Codec::new(ty).isa(isa).dequantize(blocks, &mut floats).unwrap();
            Codec::new(ty).isa(isa).dequantize(blocks, &mut bfloats).unwrap();
            assert!(floats.iter().any(|value| value.is_subnormal()), "{ty}");
            let rounded: Vec<_> = floats.iter().map(|&x| bf16::from_f32(x)).collect();
            assert_eq!(bits(&bfloats), bits(&rounded), "{ty} on {isa:?}");
        }
    }
}

proptest! {
    #![proptest_config(common::property(64))]

    #[test]
    fn every_instruction_set_dequantizes_any_bytes_alike(
        // 27 blocks: not a multiple of any number of lanes.
        bytes in prop::collection::vec(any::<u8>(), 27 * 292),
    ) {
        for &ty in GgmlType::ALL {
            let blocks = &bytes[..27 * ty.block_bytes()];
            let mut want = vec![0.0f32; 27 * ty.block_len()];
            Codec::new(ty).isa(Isa::SCALAR).dequantize(blocks, &mut want).unwrap();
            for isa in Isa::available() {
                let mut got = vec![0.0f32; want.len()];
                Codec::new(ty).isa(isa).dequantize(blocks, &mut got).unwrap();
                prop_assert_eq!(bits(&got), bits(&want), "{} on {:?}", ty, isa);

                let mut halves = vec![f16::ZERO; want.len()];
                Codec::new(ty).isa(isa).dequantize(blocks, &mut halves).unwrap();
                let rounded: Vec<_> = want.iter().map(|&x| f16::from_f32(x)).collect();
                prop_assert_eq!(bits(&halves), bits(&rounded), "{} to f16 on {:?}", ty, isa);

                let mut bfloats = vec![bf16::ZERO; want.len()];
                Codec::new(ty).isa(isa).dequantize(blocks, &mut bfloats).unwrap();
                let rounded: Vec<_> = want.iter().map(|&x| bf16::from_f32(x)).collect();
                prop_assert_eq!(bits(&bfloats), bits(&rounded), "{} to bf16 on {:?}", ty, isa);
            }
        }
    }

    #[test]
    fn every_instruction_set_quantizes_alike(
        // Three rows of three super-blocks: sub-blocks that do not fill vectors evenly.
        values in values(3 * 768),
        importance in prop::collection::vec(prop_oneof![Just(0.0f32), 0.0f32..10.0], 768),
    ) {
        for ty in quantizing() {
            for importance in ways(ty, &importance) {
                let len = values.len() / ty.block_len() * ty.block_bytes();
                let mut want = vec![0; len];
                Codec::new(ty).isa(Isa::SCALAR).importance(importance).quantize(&values, 768, &mut want).unwrap();
                for isa in Isa::available() {
                    let mut got = vec![0xaa; len];
                    Codec::new(ty).isa(isa).importance(importance).quantize(&values, 768, &mut got).unwrap();
                    prop_assert!(got == want, "{ty} on {isa:?}, importance: {}", importance.is_some());
                }
            }
        }
    }

    #[test]
    fn a_row_is_quantized_the_same_alone_and_among_others(
        values in values(4 * 512),
        importance in prop::collection::vec(0.0f32..10.0, 512),
    ) {
        for ty in quantizing() {
            for importance in ways(ty, &importance) {
                let row_bytes = 512 / ty.block_len() * ty.block_bytes();
                let mut together = vec![0; 4 * row_bytes];
                quantize(ty, &values, 512, importance, &mut together).unwrap();
                for (values, together) in values.chunks(512).zip(together.chunks(row_bytes)) {
                    let mut alone = vec![0; row_bytes];
                    quantize(ty, values, 512, importance, &mut alone).unwrap();
                    prop_assert!(alone == together, "{ty}, importance: {}", importance.is_some());
                }
            }
        }
    }

    #[test]
    fn measuring_and_faking_give_what_quantizing_and_dequantizing_give(
        values in values(3 * 768),
        importance in prop::collection::vec(0.0f32..10.0, 768),
    ) {
        for ty in quantizing() {
            for importance in ways(ty, &importance) {
                let mut blocks = vec![0; values.len() / ty.block_len() * ty.block_bytes()];
                let mut back = vec![0.0f32; values.len()];
                quantize(ty, &values, 768, importance, &mut blocks).unwrap();
                dequantize(ty, &blocks, &mut back).unwrap();
                let want = QuantError::between(&values, &back).unwrap();

                let mut measured = vec![0; blocks.len()];
                let error = Codec::new(ty).importance(importance).quantize_measured(&values, 768, &mut measured).unwrap();
                prop_assert!(measured == blocks, "{ty}");
                // Compared as text: NaN is not equal to itself.
                prop_assert_eq!(format!("{:?}", error), format!("{:?}", want), "{}", ty);
                let error = QuantError::of(ty, &values, 768, importance).unwrap();
                prop_assert_eq!(format!("{:?}", error), format!("{:?}", want), "{}", ty);
                let mut faked = values.clone();
                Codec::new(ty).importance(importance).fake_quantize(&mut faked, 768).unwrap();
                prop_assert_eq!(bits(&faked), bits(&back), "{}", ty);
            }
        }
    }

    #[test]
    fn what_is_quantized_comes_back_within_a_step(values in prop::collection::vec(-1.0f32..1.0, 512)) {
        // The largest step between neighbouring quants of values in -1..1, plus half as much for the rounding
        // of scales.
        let steps = [
            ("F32", 0.0),
            ("F16", 0.001),
            ("Q4_0", 0.2),
            ("Q4_1", 0.2),
            ("Q5_0", 0.1),
            ("Q5_1", 0.1),
            ("Q8_0", 0.012),
            ("Q8_1", 0.012),
            ("Q2_K", 1.0),
            ("Q3_K", 0.5),
            ("Q4_K", 0.2),
            ("Q5_K", 0.1),
            ("Q6_K", 0.1),
            ("Q8_K", 0.012),
            ("IQ4_NL", 0.3),
            ("IQ4_XS", 0.3),
            ("F64", 0.0),
            ("BF16", 0.008),
            ("TQ1_0", 0.51),
            ("TQ2_0", 0.51),
            ("MXFP4", 0.3),
            ("NVFP4", 0.3),
            // The scale is the mean magnitude, which may be far from every value's magnitude.
            ("Q1_0", 1.01),
            ("Q2_0", 0.51),
        ];
        for (name, step) in steps {
            let ty: GgmlType = name.parse().unwrap();
            let mut blocks = vec![0; 512 / ty.block_len() * ty.block_bytes()];
            quantize(ty, &values, 512, None, &mut blocks).unwrap();
            let mut back = vec![0.0f32; 512];
            dequantize(ty, &blocks, &mut back).unwrap();
            for (value, back) in values.iter().zip(&back) {
                prop_assert!((value - back).abs() <= step, "{ty}: {value} came back as {back}");
            }
        }
    }

    #[test]
    fn one_value_that_is_not_finite_is_named(at in 0usize..40_000, which in 0usize..3) {
        let bad = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][which];
        let mut values = vec![0.5f32; 40_960];
        values[at] = bad;
        for ty in quantizing() {
            let mut out = vec![0; values.len() / ty.block_len() * ty.block_bytes()];
            let result = quantize(ty, &values, 4096, Some(&[1.0; 4096]), &mut out);
            if ty.is_quantized() {
                let Err(Error::NonFinite { index, value, .. }) = result else { panic!("{ty}: {result:?}") };
                prop_assert_eq!(index, at);
                prop_assert_eq!(value.to_bits(), bad.to_bits());
            } else {
                prop_assert!(result.is_ok());
                let mut back = vec![0.0f32; values.len()];
                dequantize(ty, &out, &mut back).unwrap();
                prop_assert_eq!(bits(&back[at..=at]), bits(&[bad]));
            }
        }
    }
}

/// Outputs of 16 MiB and more are written by separate kernels.
#[test]
fn large_outputs_are_written_wherever_they_lie() {
    // Not a multiple of the size of the pieces that are written at once.
    const PERIOD: usize = 256 * 37;
    /// `blocks` are those of `PERIOD` values, repeated.
    fn check<T: Float>(isa: Isa, ty: GgmlType, blocks: &[u8], first: usize) {
        let bytes = |values: usize| values / ty.block_len() * ty.block_bytes();
        let values = (16 << 20) / size_of::<T>() + 256 * 3;
        let mut want = vec![T::default(); PERIOD];
        Codec::new(ty).isa(Isa::SCALAR).dequantize(&blocks[..bytes(PERIOD)], &mut want).unwrap();
        let mut out = vec![T::default(); first + values + 1];
        Codec::new(ty)
            .isa(isa)
            .dequantize(&blocks[..bytes(values)], &mut out[first..first + values])
            .unwrap();
        // As bytes, so that zeros have signs.
        for (i, part) in out[first..first + values].chunks(PERIOD).enumerate() {
            let [part, want] = [part, &want[..part.len()]].map(bytemuck::cast_slice::<T, u8>);
            assert!(part == want, "{ty} as {} from {first} on {isa:?}: part {i}", std::any::type_name::<T>());
        }
        assert!(out[..first].iter().chain(&out[first + values..]).all(|&value| value == T::default()));
    }
    let values: Vec<f32> = (0..PERIOD).map(|i| ((i * 31 % 1009) as f32 - 500.0) / 100.0).collect();
    for &ty in GgmlType::ALL {
        let mut blocks: Vec<u8> =
            (0..PERIOD / ty.block_len() * ty.block_bytes()).map(|i| (i * 7919 % 251) as u8).collect();
        if ty.can_quantize() {
            let importance = ty.needs_importance().then(|| vec![1.0; PERIOD]);
            quantize(ty, &values, PERIOD, importance.as_deref(), &mut blocks).unwrap();
        }
        let blocks = blocks.repeat((8 << 20) / PERIOD + 2);
        for isa in Isa::available() {
            check::<f32>(isa, ty, &blocks, 1);
            check::<f16>(isa, ty, &blocks, 3);
            check::<bf16>(isa, ty, &blocks, 5);
        }
        check::<f32>(Isa::detect(), ty, &blocks, 0);
    }
}

/// A name that is misspelt, or that this machine does not support, selects nothing: otherwise a test run for one instruction
/// set would silently test another.
#[test]
fn the_instruction_set_asked_for_is_the_one_in_use() {
    if let Ok(name) = std::env::var("GGUF_CODEC_ISA") {
        assert_eq!(Isa::detect().name(), name, "there are {:?}", Isa::available());
    }
}

/// A grid has no largest step, so the total error of all values is bounded instead.
#[test]
fn what_is_quantized_in_few_bits_comes_back_on_the_whole() {
    let values: Vec<f32> = (0..4096).map(|i| ((i * 7919 % 4093) as f32 - 2046.0) / 2046.0).collect();
    let squares: f32 = values.iter().map(|x| x * x).sum();
    for (name, most) in [
        ("IQ3_S", 0.02),
        ("IQ3_XXS", 0.045),
        ("IQ2_S", 0.06),
        ("IQ2_XS", 0.09),
        ("IQ2_XXS", 0.12),
        ("IQ1_M", 0.15),
        ("IQ1_S", 0.17),
        // Above that, steps as large as the values themselves would allow zeros.
        ("Q2_K", 0.1),
        ("Q1_0", 0.26),
    ] {
        let ty: GgmlType = name.parse().unwrap();
        let mut blocks = vec![0; values.len() / ty.block_len() * ty.block_bytes()];
        quantize(ty, &values, 1024, Some(&[1.0; 1024]), &mut blocks).unwrap();
        let mut back = vec![0.0f32; values.len()];
        dequantize(ty, &blocks, &mut back).unwrap();
        let lost: f32 = values.iter().zip(&back).map(|(x, y)| (x - y) * (x - y)).sum();
        assert!(lost / squares < most, "{ty}: {}", lost / squares);
    }
}

#[cfg(feature = "rayon")]
#[test]
fn all_cores_give_what_one_gives() {
    let values: Vec<f32> =
        (0..300_000 / 768 * 768).map(|i| ((i % 1009 * 7919 % 1009) as f32 - 500.0) / 300.0).collect();
    let importance: Vec<f32> = (0..768).map(|i| (i % 13) as f32).collect();
    for ty in quantizing() {
        for importance in ways(ty, &importance) {
            let mut one = vec![0; values.len() / ty.block_len() * ty.block_bytes()];
            let mut all = one.clone();
            quantize(ty, &values, 768, importance, &mut one).unwrap();
            Codec::new(ty).importance(importance).all_cores(true).quantize(&values, 768, &mut all).unwrap();
            assert!(one == all, "{ty}");
            assert!(
                one == Codec::new(ty).importance(importance).quantize_to_vec(&values, 768).unwrap(),
                "{ty}"
            );
            let mut one_back = vec![0.0f32; values.len()];
            let mut all_back = one_back.clone();
            dequantize(ty, &one, &mut one_back).unwrap();
            Codec::new(ty).all_cores(true).dequantize(&one, &mut all_back).unwrap();
            assert!(one_back == all_back, "{ty}");
            let mut faked = values.clone();
            Codec::new(ty).importance(importance).all_cores(true).fake_quantize(&mut faked, 768).unwrap();
            assert!(faked == one_back, "{ty}");
            let error = Codec::new(ty)
                .importance(importance)
                .all_cores(true)
                .quantize_measured(&values, 768, &mut all)
                .unwrap();
            assert!(one == all, "{ty}");
            assert_eq!(
                error,
                Codec::new(ty).importance(importance).quantize_measured(&values, 768, &mut one).unwrap(),
                "{ty}"
            );
        }
    }
    let mut bad = values;
    (bad[250_000], bad[30_001]) = (f32::NAN, f32::INFINITY);
    let mut out = vec![0; bad.len() / 32 * 34];
    let error = Codec::new(GgmlType::Q8_0).all_cores(true).quantize(&bad, 768, &mut out).unwrap_err();
    assert!(matches!(error, Error::NonFinite { index: 30_001, .. }), "{error}");
    let error =
        Codec::new(GgmlType::Q8_0).all_cores(true).quantize_measured(&bad, 768, &mut out).unwrap_err();
    assert!(matches!(error, Error::NonFinite { index: 30_001, .. }), "{error}");
    let error = Codec::new(GgmlType::Q8_0).all_cores(true).fake_quantize(&mut bad, 768).unwrap_err();
    assert!(matches!(error, Error::NonFinite { index: 30_001, .. }), "{error}");
}

#[test]
fn lengths_that_do_not_fit_are_errors_that_say_so() {
    let values = [0.0f32; 512];
    let check = |ty, len: usize, row_len, importance: Option<&[f32]>, out: usize, part: &str| {
        let message =
            quantize(ty, &values[..len], row_len, importance, &mut vec![0; out]).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    };
    check(GgmlType::Q4_K, 512, 128, None, 288, "multiple of 256, the values in a block of Q4_K");
    check(GgmlType::Q4_K, 512, 0, None, 288, "multiple of 256");
    check(GgmlType::Q8_0, 96, 64, None, 102, "whole rows of 64");
    check(GgmlType::Q8_0, 96, 32, None, 101, "must be 102, the bytes of 96 values in Q8_0");
    check(GgmlType::Q4_0, 64, 32, Some(&[1.0; 31]), 36, "must be 32, a weight for each value");
    check(GgmlType::Q4_0, 32, 32, Some(&[f32::NAN; 32]), 18, "importance weight 0 is NaN");
    check(GgmlType::I32, 32, 32, None, 128, "cannot quantize to I32");
    let mut three_blocks = [0.5f32; 96];
    let message = Codec::new(GgmlType::Q8_0).fake_quantize(&mut three_blocks, 64).unwrap_err().to_string();
    assert!(message.contains("whole rows of 64"), "{message}");
    let message = QuantError::of(GgmlType::Q8_0, &three_blocks, 31, None).unwrap_err().to_string();
    assert!(message.contains("multiple of 32"), "{message}");
    let message = Codec::new(GgmlType::Q8_0)
        .quantize_measured(&three_blocks, 32, &mut [0; 101])
        .unwrap_err()
        .to_string();
    assert!(message.contains("must be 102"), "{message}");

    let mut out = [0.0f32; 32];
    let message = dequantize(GgmlType::Q8_0, &[0; 35], &mut out).unwrap_err().to_string();
    assert!(message.contains("multiple of 34"), "{message}");
    let message = dequantize(GgmlType::Q8_0, &[0; 68], &mut out).unwrap_err().to_string();
    assert!(message.contains("must be 64"), "{message}");

    quantize(GgmlType::Q4_K, &[], 0, None, &mut []).unwrap();
    quantize(GgmlType::Q4_0, &[], 0, Some(&[]), &mut []).unwrap();
    dequantize::<f32>(GgmlType::Q4_K, &[], &mut []).unwrap();
}

#[test]
fn integers_and_doubles_become_the_nearest_float() {
    let mut out = [0.0f32; 3];
    let doubles: Vec<u8> = [1.0f64, -0.1, 1e300].iter().flat_map(|x| x.to_le_bytes()).collect();
    dequantize(GgmlType::F64, &doubles, &mut out).unwrap();
    assert_eq!(out, [1.0, -0.1, f32::INFINITY]);
    let longs: Vec<u8> = [i64::MIN, 16_777_217, -3].iter().flat_map(|x| x.to_le_bytes()).collect();
    dequantize(GgmlType::I64, &longs, &mut out).unwrap();
    assert_eq!(out, [-9.223_372e18, 16_777_216.0, -3.0]);
    dequantize(GgmlType::I8, &[0x80, 0xff, 0x7f], &mut out).unwrap();
    assert_eq!(out, [-128.0, -1.0, 127.0]);
    let shorts: Vec<u8> = [i16::MIN, -1, 300].iter().flat_map(|x| x.to_le_bytes()).collect();
    dequantize(GgmlType::I16, &shorts, &mut out).unwrap();
    assert_eq!(out, [-32768.0, -1.0, 300.0]);
}
