//! Missing, wrong or absurd parts, and their errors.

use super::*;

#[test]
fn what_is_missing_or_wrong_is_named() {
    let q = |parts: &[Part], config: &str| problem(config, parts);
    let int4 = |shape: [u64; 2], scale: [u64; 2], config: &str| {
        let bytes = |shape: [u64; 2], of: u64| vec![0; (shape[0] * shape[1] * of) as usize];
        let extents = [8u64, 64].iter().flat_map(|extent| extent.to_le_bytes()).collect();
        q(
            &[
                ("w.weight_packed", shape.to_vec(), Dtype::I32, bytes(shape, 4)),
                ("w.weight_shape", vec![2], Dtype::I64, extents),
                ("w.weight_scale", scale.to_vec(), Dtype::BF16, bytes(scale, 2)),
            ],
            config,
        )
    };
    let group = |bits: u32, width: i64| {
        compressed(&format!(
            r#"{{"a": {{"weights": {{"num_bits": {bits}, "type": "int", "group_size": {width}}}}}}}"#
        ))
    };
    for (error, wanted) in [
        (int4([8, 8], [8, 2], &group(8, 32)), "of 2 to 8 bits"),
        (int4([8, 8], [8, 2], &group(4, 16)), "in a group of the configuration"),
        (int4([8, 8], [7, 2], &group(4, 32)), "of 8 rows"),
        (int4([9, 8], [9, 2], &group(4, 32)), "the first of them 9"),
        (int4([8, 8], [8, 2], &group(4, 4_000_000_000)), "in a group of the configuration"),
        (
            int4(
                [8, 8],
                [8, 2],
                r#"{"quantization_config": {"quant_method": "compressed-tensors", "format": "marlin-24"}}"#,
            ),
            "'marlin-24', and pack-quantized",
        ),
        (
            int4(
                [8, 8],
                [8, 2],
                r#"{"quantization_config": {"quant_method": "compressed-tensors", "sparsity_config": {"format": "sparse-24-bitmask"}}}"#,
            ),
            "sparse",
        ),
        (
            int4([8, 8], [8, 2], r#"{"quantization_config": {"quant_method": "aqlm"}}"#),
            "AQLM, which is not read",
        ),
    ] {
        assert!(error.contains(wanted) && error.contains("w.weight"), "{error}");
    }
    // Integers of ModelOpt's that look like its floats.
    let parts = [
        ("w.weight", vec![4, 128], Dtype::U8, vec![0; 512]),
        ("w.weight_scale", vec![8, 1], Dtype::F8_E4M3, vec![0x38; 8]),
        ("w.weight_scale_2", vec![1], Dtype::F32, floats([1.0])),
    ];
    let config = r#"{"quantization_config": {"quant_method": "modelopt", "quant_algo": "W4A8_AWQ"}}"#;
    let error = q(&parts, config);
    assert!(
        error.contains("'w.weight', quantized by ModelOpt, W4A8_AWQ") && error.contains("not read"),
        "{error}"
    );
    // A scale that is not a number is found when it is read.
    let parts = [
        ("w.weight", vec![2, 32], Dtype::I8, vec![1; 64]),
        ("w.weight_scale", vec![2, 1], Dtype::F32, floats([1.0, f32::NAN])),
    ];
    let error = q(&parts, &group(8, 0));
    assert!(error.contains("'w.weight'") && error.contains("of row 1 is NaN"), "{error}");
    // Groups of columns that do not exist.
    let parts = |index: [u32; 32], zeros: u64| {
        vec![
            ("w.qweight", vec![4, 8], Dtype::I32, vec![0; 128]),
            ("w.qzeros", vec![2, zeros], Dtype::I32, vec![0; 8 * zeros as usize]),
            ("w.scales", vec![2, 8], Dtype::F16, vec![0; 32]),
            ("w.g_idx", vec![32], Dtype::I32, word_bytes(index)),
        ]
    };
    let config =
        r#"{"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 16, "desc_act": true}}"#;
    let mut index = [1; 32];
    values(config, &parts(index, 1), "w.weight").unwrap();
    for wrong in [2, u32::MAX] {
        index[31] = wrong;
        assert!(q(&parts(index, 1), config).contains("below 2"));
    }
    assert!(q(&parts([0; 32], 2), config).contains("'w.qzeros'"));
    for part in 0..4 {
        let mut rest = parts([0; 32], 1);
        let (name, ..) = rest.remove(part);
        // Without zero points it is symmetric.
        if name != "w.qzeros" {
            let error = q(&rest, config);
            assert!(error.contains(name) && error.contains("missing") || name == "w.qweight", "{error}");
        }
    }
    // A tensor that already has the weight's name.
    let mut twice = parts([0; 32], 1);
    twice.push(("w.weight", vec![8, 32], Dtype::F32, vec![0; 1024]));
    assert!(q(&twice, config).contains("the same weight quantized"));
}

#[test]
fn names_are_given_to_weights_and_not_to_their_parts() {
    let own = tensors(&[
        ("a.weight", &[2, 32], Dtype::I8, vec![1; 64]),
        ("a.weight_scale", &[2, 1], Dtype::F32, floats([1.0, 2.0])),
        ("b.weight", &[2, 32], Dtype::I8, vec![1; 64]),
        ("b.weight_scale", &[1], Dtype::F32, floats([1.0])),
    ]);
    let (files, description) = (checkpoint([own]).unwrap(), Description::default());
    let import = Import::new(&files, &description).ggml_type(GgmlType::F32).names(|name| match name {
        "b.weight" | "b.weight_scale" => Some(Renamed::LeftOut),
        _ => name.strip_prefix("a.").map(|rest| Renamed::To(format!("blk.0.{rest}"))),
    });
    let plan = Import::new(&files, &description).plan().unwrap();
    assert!(plan.left_out().is_empty());
    let model = imported(import).unwrap();
    let model = Gguf::parse(&model).unwrap();
    let names: Vec<_> = model.tensors().map(|tensor| tensor.name()).collect();
    assert_eq!(names, ["blk.0.weight"]);
}

/// Converts a model of a file and a configuration, with codes kept and values computed; only panics are checked.
fn become_anything(config: &str, file: &[u8]) {
    let Ok(files) = checkpoint([file.to_vec()]) else { return };
    let Ok(description) = Description::from_config(config) else { return };
    for ty in [None, Some(GgmlType::F32)] {
        let import = || match ty {
            Some(ty) => Import::new(&files, &description).ggml_type(ty),
            None => Import::new(&files, &description),
        };
        if let Ok(written) = imported(import()) {
            Gguf::parse(&written).unwrap();
        }
    }
}

#[test]
fn any_change_of_a_checkpoint_is_an_error_or_a_model() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(SLICES);
    let mut seed = 1u64;
    let mut next = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let config = fs::read_to_string(&path).unwrap();
        let file = fs::read(path.with_extension("safetensors")).unwrap();
        let header = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
        let shown = path.file_stem().unwrap().to_string_lossy().into_owned();
        for round in 0..60 {
            eprintln!("{shown}, round {round}");
            // Digits and letters of the header, which stays valid; bytes of data; numbers and words of the configuration.
            let (mut file, mut config) = (file.clone(), config.clone().into_bytes());
            for _ in 0..1 + next(3) {
                let at = 8 + next(header);
                if file[at].is_ascii_digit() {
                    file[at] = b'0' + next(10) as u8;
                } else if file[at].is_ascii_lowercase() && next(4) == 0 {
                    file[at] = b'a' + next(26) as u8;
                }
                let at = 8 + header + next(file.len() - 8 - header);
                file[at] = next(256) as u8;
                let at = next(config.len());
                if config[at].is_ascii_digit() {
                    config[at] = b'0' + next(10) as u8;
                } else if config[at].is_ascii_lowercase() && next(4) == 0 {
                    config[at] = b'a' + next(26) as u8;
                }
            }
            become_anything(&String::from_utf8(config).unwrap(), &file);
        }
    }
}

#[test]
fn absurd_sizes_take_neither_memory_nor_time() {
    // Shapes that a header without data can have, and parts that claim more than exists.
    let config = |text: &str| format!(r#"{{"quantization_config": {text}}}"#);
    let empty = |name, shape: &[u64], dtype| (name, shape.to_vec(), dtype, Vec::new());
    for (config, parts) in [
        (
            config(r#"{"quant_method": "gptq", "bits": 4, "group_size": 9223372036854775807}"#),
            vec![
                empty("w.qweight", &[0, 1 << 40], Dtype::I32),
                empty("w.scales", &[0, 1 << 40], Dtype::F16),
                empty("w.qzeros", &[0, 1 << 37], Dtype::I32),
            ],
        ),
        (
            config(r#"{"quant_method": "fp8", "weight_block_size": [0, 18446744073709551615]}"#),
            vec![
                ("w.weight", vec![2, 2], Dtype::F8_E4M3, vec![0; 4]),
                ("w.weight_scale_inv", vec![1, 2], Dtype::F32, vec![0; 8]),
            ],
        ),
        (
            compressed(
                r#"{"a": {"weights": {"num_bits": 8, "type": "int", "group_size": 0, "block_structure": [18446744073709551615, 0]}}}"#,
            ),
            vec![
                ("w.weight", vec![2, 2], Dtype::I8, vec![0; 4]),
                ("w.weight_scale", vec![1, 2], Dtype::F32, vec![0; 8]),
            ],
        ),
        (
            config(r#"{"quant_method": "mxfp4"}"#),
            vec![
                empty("w_blocks", &[1 << 40, 0, 16], Dtype::U8),
                empty("w_scales", &[1 << 40, 0], Dtype::U8),
            ],
        ),
        (
            config(r#"{"quant_method": "hqq"}"#),
            vec![
                ("w.W_q", vec![1], Dtype::U8, vec![0]),
                ("w.scale", vec![1], Dtype::F32, vec![0; 4]),
                ("w.zero", vec![1], Dtype::F32, vec![0; 4]),
                ("w.nbits", vec![], Dtype::I32, vec![4, 0, 0, 0]),
                (
                    "w.shape",
                    vec![2],
                    Dtype::I64,
                    [1u64 << 40, 1 << 22].iter().flat_map(|e| e.to_le_bytes()).collect(),
                ),
                ("w.group_size", vec![], Dtype::I32, vec![1, 0, 0, 0]),
            ],
        ),
    ] {
        let error = format!("{:?}", values(&config, &parts, "w.weight").unwrap_err());
        assert!(error.contains("the weight 'w"), "{error}");
    }
}
