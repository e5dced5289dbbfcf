//! Finding NaN and infinite scales in blocks of every type: by hand, and compared with `ggml_validate_row_data`.

use crate::common;
use std::process::Command;

use common::data::Rng;
use common::ggml::Ggml;
use common::layout;
use gguf_codec::{ByteOrder, Error, GgmlType, Shape, Tensor};

/// Integers have no scale, and in NVFP4 each scale code is a number.
fn is_always_valid(ty: GgmlType) -> bool {
    matches!(ty, GgmlType::I8 | GgmlType::I16 | GgmlType::I32 | GgmlType::I64 | GgmlType::NVFP4)
}

/// The first invalid block, and the reason.
fn first(ty: GgmlType, bytes: &[u8]) -> Option<(u64, &'static str)> {
    match ty.validate(bytes) {
        Ok(()) => None,
        Err(Error::InvalidBlock { ty: found, block, what }) if found == ty => Some((block, what)),
        Err(error) => panic!("{ty}: {error}"),
    }
}

/// The same for a tensor in the other byte order.
fn first_big_endian(ty: GgmlType, little: &[u8]) -> Option<(u64, &'static str)> {
    let mut bytes = little.to_vec();
    layout::swap(ty, &mut bytes);
    let values = little.len() / ty.block_bytes() * ty.block_len();
    let shape = Shape::new(&[values as u64]).unwrap();
    match Tensor::new("t", shape, ty, ByteOrder::Big, &bytes).unwrap().validate() {
        Ok(()) => None,
        Err(Error::InvalidBlock { block, what, .. }) => Some((block, what)),
        Err(error) => panic!("{ty}: {error}"),
    }
}

#[test]
fn zeros_are_valid_and_ones_are_not_in_every_type() {
    for &ty in GgmlType::ALL {
        let mut bytes = vec![0; 5 * ty.block_bytes()];
        assert_eq!(first(ty, &bytes), None);
        assert_eq!(first(ty, &[]), None);
        bytes[3 * ty.block_bytes()..].fill(0xff);
        let what = if ty.is_quantized() { "a scale is NaN" } else { "the value is NaN" };
        let want = (!is_always_valid(ty)).then_some((3, what));
        assert_eq!(first(ty, &bytes), want, "{ty}");
        assert_eq!(first_big_endian(ty, &bytes), want, "{ty}");
        bytes.push(0);
        if ty.block_bytes() > 1 {
            let error = ty.validate(&bytes).unwrap_err();
            assert!(matches!(error, Error::Length { .. }), "{error}");
        }
    }
}

#[test]
fn each_kind_of_scale_is_looked_at_as_it_is_stored() {
    // Type, position in a block, bytes, and the expected finding.
    let cases: &[(GgmlType, usize, &[u8], Option<&str>)] = &[
        (GgmlType::Q4_K, 2, &[0x00, 0x7c], Some("a scale is infinite")),
        (GgmlType::Q4_K, 2, &[0xff, 0x7b], None),
        (GgmlType::Q4_K, 2, &[0x01, 0xfc], Some("a scale is NaN")),
        (GgmlType::Q4_K, 4, &[0x00, 0x7c], None),
        (GgmlType::IQ4_XS, 2, &[0x00, 0x7c], None),
        (GgmlType::Q8_K, 0, &[0, 0, 0x80, 0x7f], Some("a scale is infinite")),
        (GgmlType::Q8_K, 0, &[0, 0, 0x7f, 0x7f], None),
        (GgmlType::BF16, 0, &[0x80, 0xff], Some("the value is infinite")),
        (GgmlType::BF16, 0, &[0x7f, 0xff], None),
        // 1e300, which f32 cannot represent, and the smallest NaN.
        (GgmlType::F64, 0, &1e300f64.to_le_bytes(), None),
        (GgmlType::F64, 0, &0x7ff0_0000_0000_0001u64.to_le_bytes(), Some("the value is NaN")),
        (GgmlType::F64, 0, &f64::NEG_INFINITY.to_le_bytes(), Some("the value is infinite")),
        (GgmlType::MXFP4, 0, &[255], Some("a scale is NaN")),
        (GgmlType::MXFP4, 0, &[254, 255], None),
        (GgmlType::NVFP4, 0, &[0x7e, 0x7f, 0xff, 0xfe, 0x7f], None),
        // 0x7c00, 0xfc01 and 0x7bff, a nibble at the top of each number.
        (GgmlType::IQ1_M, 48, &[0, 0x00, 0, 0x00, 0, 0xc0, 0, 0x70], Some("a scale is infinite")),
        (GgmlType::IQ1_M, 48, &[0, 0x10, 0, 0x00, 0, 0xc0, 0, 0xf0], Some("a scale is NaN")),
        (GgmlType::IQ1_M, 48, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xbf, 0xff, 0x7f], None),
        (GgmlType::I32, 0, &[0xff; 4], None),
    ];
    for &(ty, at, number, want) in cases {
        let mut bytes = vec![0; 3 * ty.block_bytes()];
        let at = ty.block_bytes() + at;
        bytes[at..at + number.len()].copy_from_slice(number);
        let want = want.map(|what| (1, what));
        assert_eq!(first(ty, &bytes), want, "{ty} {number:02x?}");
        assert_eq!(first_big_endian(ty, &bytes), want, "{ty} {number:02x?}, big-endian");
    }
}

/// ggml accepts the codes that mean NaN in UE4M3, so they are valid.
#[test]
fn every_scale_code_of_nvfp4_is_a_number() {
    let mut block = [0x22; 36]; // code 2 stands for 1
    block[..4].copy_from_slice(&[0x7f, 0xff, 0x7e, 0x80]);
    GgmlType::NVFP4.validate(&block).unwrap();
    let mut values = [0.0f32; 64];
    gguf_codec::dequantize(GgmlType::NVFP4, &block, &mut values).unwrap();
    let want = [0.0, 480.0, 448.0, 0.0];
    assert!(values.chunks(16).zip(want).all(|(values, want)| values == [want; 16]), "{values:?}");
}

#[test]
fn of_several_bad_scales_the_first_blocks_is_named() {
    let mut bytes = vec![0; 4 * 20];
    bytes[2 * 20..][..2].copy_from_slice(&[0x00, 0x7c]);
    bytes[20 + 2..][..2].copy_from_slice(&[0x00, 0x7e]);
    assert_eq!(first(GgmlType::Q4_1, &bytes), Some((1, "a scale is NaN")));
}

/// Random blocks, some of which have a NaN or an infinity at a position that may or may not be a scale.
fn poisoned(rng: &mut Rng, ty: GgmlType) -> Vec<u8> {
    let blocks = 1 + rng.below(6);
    if ty == GgmlType::F64 {
        // Within the range of f32, because ggml checks no more than that.
        let value = |rng: &mut Rng| match rng.below(20) {
            0 => f64::NAN,
            1 => f64::NEG_INFINITY,
            _ => rng.normal() * 1e30,
        };
        return (0..blocks).flat_map(|_| value(rng).to_le_bytes()).collect();
    }
    let mut bytes: Vec<u8> = (0..blocks * ty.block_bytes()).map(|_| rng.bits() as u8).collect();
    if rng.below(2) == 0 {
        // Mostly valid: in all types, small bytes give small scales.
        bytes.iter_mut().for_each(|byte| *byte &= 0x3b);
    }
    if rng.below(3) > 0 {
        let poison: [&[u8]; 6] =
            [&[0x00, 0x7c], &[0x01, 0xfc], &[0x80, 0x7f], &[0, 0, 0x80, 0x7f], &[0xff], &[0xff; 4]];
        let poison = poison[rng.below(poison.len())];
        // Scales are at either end of a block.
        let near = rng.below(ty.block_bytes().min(8));
        let block = rng.below(blocks) * ty.block_bytes();
        let at = block + if rng.below(2) == 0 { near } else { ty.block_bytes() - 1 - near };
        for (byte, poison) in bytes[at..].iter_mut().zip(poison) {
            *byte = *poison;
        }
    }
    bytes
}

/// ggml's function does not check blocks of Q8_1; this is what this crate's documentation says of them.
fn is_valid_q8_1(block: &[u8]) -> bool {
    let finite = |at| u16::from_le_bytes([block[at], block[at + 1]]) & 0x7c00 != 0x7c00;
    finite(0) && finite(2)
}

/// ggml prints a line on standard error for each block that it refuses, so the comparison runs in a separate process.
const INNER: &str = "GGUF_CODEC_VALIDATE_SEED";

#[test]
fn same_verdict_as_ggml() {
    if std::env::var_os(INNER).is_some() {
        return;
    }
    if Ggml::load("the comparison with ggml_validate_row_data").is_none() {
        return;
    }
    let seed = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64);
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "validate::inner_same_verdict_as_ggml", "--nocapture"])
        .env(INNER, seed.to_string())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let told: Vec<_> = errors.lines().filter(|line| !line.starts_with("ggml_validate_row_data: ")).collect();
    assert!(output.status.success(), "{INNER}={seed} repeats this run\n{}", told.join("\n"));
}

#[test]
fn inner_same_verdict_as_ggml() {
    let Ok(seed) = std::env::var(INNER) else { return };
    let Some(ggml) = Ggml::load("the comparison with ggml_validate_row_data") else { return };
    let mut rng = Rng::new(seed.parse().unwrap());
    for &ty in GgmlType::ALL {
        let mut verdicts = [0; 2];
        for _ in 0..4000 {
            let bytes = poisoned(&mut rng, ty);
            let size = ty.block_bytes();
            let theirs = |bytes: &[u8]| match ty {
                GgmlType::Q8_1 => bytes.chunks(size).all(is_valid_q8_1),
                _ => ggml.validate(ty, bytes),
            };
            let ours = first(ty, &bytes);
            assert_eq!(ours, first_big_endian(ty, &bytes), "{ty} in the two byte orders: {bytes:02x?}");
            match ours {
                None => assert!(theirs(&bytes), "{ty}: ggml refuses {bytes:02x?}"),
                Some((block, _)) => {
                    let (valid, rest) = bytes.split_at(block as usize * size);
                    assert!(theirs(valid), "{ty}: ggml refuses a block before {block} of {bytes:02x?}");
                    assert!(!theirs(&rest[..size]), "{ty}: ggml allows block {block} of {bytes:02x?}");
                }
            }
            verdicts[usize::from(ours.is_none())] += 1;
        }
        let both = verdicts.iter().all(|&count| count >= 50);
        assert!(
            both || is_always_valid(ty),
            "{ty}: {verdicts:?} refused and allowed: the data shows nothing"
        );
    }
}
