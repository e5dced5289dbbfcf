//! Codes that a GGUF format also has are kept.

use super::*;

/// The result for a model of these parts without a type: its weight's type and fidelity, and the largest error of a value, relative to
/// the largest value of its block.
fn kept(config: &str, file: Vec<u8>, name: &str) -> (GgmlType, Fidelity, f32) {
    let (_, wanted) = read(config, file.clone(), name).unwrap();
    let (files, description) = (checkpoint([file]).unwrap(), Description::from_config(config).unwrap());
    let plan = Import::new(&files, &description).plan().unwrap();
    let of_weight = plan.carried_weights().iter().find(|weight| weight.name == name).unwrap().clone();
    let file = imported(Import::new(&files, &description)).unwrap();
    let model = Gguf::parse(&file).unwrap();
    let tensor = model.tensor(name).unwrap();
    assert_eq!(tensor.ggml_type(), of_weight.ggml_type);
    let mut found = vec![0.0; wanted.len()];
    tensor.dequantize_into(&mut found).unwrap();
    if let Some(stem) = name.strip_suffix(".weight")
        && let Ok(scale) = model.tensor(&format!("{stem}.scale"))
    {
        let mut factor = [0.0];
        scale.dequantize_into(&mut factor).unwrap();
        found.iter_mut().for_each(|value| *value *= factor[0]);
    }
    let error = wanted.chunks(16).zip(found.chunks(16)).map(|(wanted, found)| {
        let largest = wanted.iter().fold(1e-9f32, |largest, value| largest.max(value.abs()));
        wanted
            .iter()
            .zip(found)
            .fold(0.0f32, |error, (wanted, found)| error.max((wanted - found).abs() / largest))
    });
    (of_weight.ggml_type, of_weight.fidelity, error.fold(0.0, f32::max))
}

#[test]
fn codes_that_a_format_has_are_kept() {
    use GgmlType::{BF16, F16, MXFP4, NVFP4, Q4_0, Q4_1, Q8_0};
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(SLICES);
    for (slice, ty, most) in [
        ("awq-4bit-g128", Q4_1, 4e-3),
        ("bnb-fp4", F16, 1e-3),
        ("bnb-int8", Q8_0, 1e-3),
        ("bnb-nf4-double", BF16, 4e-3),
        ("ct-fp8-channel", BF16, 4e-3),
        ("ct-mxfp4", MXFP4, 0.0),
        ("ct-nvfp4", NVFP4, 1e-6),
        ("ct-w4a16-g128-asym", Q4_1, 4e-3),
        ("ct-w4a16-g32", Q4_0, 0.0),
        ("ct-w8a16-channel", Q8_0, 0.0),
        ("fp8-block", BF16, 4e-3),
        ("gptq-4bit-asym-g64", Q4_1, 4e-3),
        ("gptq-4bit-sym-g128", Q4_0, 0.0),
        ("gptq-8bit-g128", Q8_0, 0.0),
        ("torchao-int8", Q8_0, 1e-3),
    ] {
        let path = folder.join(slice);
        let config = fs::read_to_string(path.with_extension("json")).unwrap();
        let file = fs::read(path.with_extension("safetensors")).unwrap();
        let (found, fidelity, error) = kept(&config, file, "model.layers.0.self_attn.k_proj.weight");
        assert_eq!(found, ty, "{slice}");
        assert!(error <= most, "{slice}: {error}");
        match fidelity {
            Fidelity::Exact => assert!(error <= 1e-6, "{slice}: {error}"),
            Fidelity::ScalesRounded { largest } => {
                assert!(largest < 5e-4 && ty != BF16, "{slice}: {largest}")
            }
            _ => assert!(!ty.is_quantized(), "{slice}"),
        }
    }
}

#[test]
fn kept_codes_become_a_compressed_checkpoint_and_the_same_model_again() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(SLICES);
    for slice in ["ct-w4a16-g32", "awq-4bit-g128", "gptq-8bit-g128", "ct-mxfp4", "ct-nvfp4", "bnb-int8"] {
        let path = folder.join(slice);
        let config = fs::read_to_string(path.with_extension("json")).unwrap();
        let file = fs::read(path.with_extension("safetensors")).unwrap();
        let (files, description) = (checkpoint([file]).unwrap(), Description::from_config(&config).unwrap());
        let gguf = imported(Import::new(&files, &description)).unwrap();
        let model = Gguf::parse(&gguf).unwrap();
        let plan = Export::new(&model, &gguf).compressed_tensors(true).plan().unwrap();
        let shards = plan.shards(None);
        let back = exported_shard(&plan, &shards[0]).unwrap();
        let header = SafeTensors::parse(&back).unwrap();
        let names: Vec<_> = header.tensors().map(|tensor| tensor.name().to_owned()).collect();
        assert!(names.iter().any(|name| name.ends_with(".weight_packed")), "{slice}: {names:?}");
        let compressed = r#"{"quantization_config": {"quant_method": "compressed-tensors"}}"#;
        let (files, description) =
            (checkpoint([back]).unwrap(), Description::from_config(compressed).unwrap());
        let again = imported(Import::new(&files, &description)).unwrap();
        let (again, first) = (Gguf::parse(&again).unwrap(), Gguf::parse(&gguf).unwrap());
        assert_eq!(again.tensor_count(), first.tensor_count(), "{slice}");
        for tensor in first.tensors() {
            let (one, other) = (first.tensor(tensor.name()).unwrap(), again.tensor(tensor.name()).unwrap());
            assert_eq!(one.ggml_type(), other.ggml_type(), "{slice}");
            assert!(one.bytes().unwrap() == other.bytes().unwrap(), "{slice}: {}", tensor.name());
        }
    }
}

#[test]
fn minima_that_are_no_zero_points_become_floats() {
    let mut values: Vec<f32> = (0..256).map(|at| (at as f32 * 0.71).sin() + 0.3).collect();
    values[3] = 2.0;
    let mut writer = gguf_codec::Writer::new(Vec::new());
    writer.declare_tensor("blk.0.w.weight", &[64, 4], GgmlType::Q4_1).unwrap();
    let mut data = writer.write_header().unwrap();
    let mut tensor = data.begin("blk.0.w.weight").unwrap();
    tensor.write_values(&values, None).unwrap();
    tensor.finish().unwrap();
    let gguf = data.finish().unwrap();
    let model = Gguf::parse(&gguf).unwrap();
    let plan = Export::new(&model, &gguf).compressed_tensors(true).plan().unwrap();
    assert!(plan.notes().iter().any(|note| note.contains("blocks became F16")), "{:?}", plan.notes());
    let back = exported_shard(&plan, &plan.shards(None)[0]).unwrap();
    assert_eq!(SafeTensors::parse(&back).unwrap().tensor("blk.0.w.weight").unwrap().dtype(), Dtype::F16);
}

#[test]
fn a_plan_stands_for_the_model_that_it_would_write() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(SLICES);
    for (slice, ty) in [
        ("fp8-block", None),
        ("bnb-fp4", None),
        ("ct-w4a16-g32", None),
        ("awq-4bit-g128", Some(GgmlType::Q5_1)),
    ] {
        let path = folder.join(slice);
        let config = fs::read_to_string(path.with_extension("json")).unwrap();
        let file = fs::read(path.with_extension("safetensors")).unwrap();
        let (files, description) = (checkpoint([file]).unwrap(), Description::from_config(&config).unwrap());
        let import = || match ty {
            Some(ty) => Import::new(&files, &description).ggml_type(ty),
            None => Import::new(&files, &description),
        };
        let (plan, written) = (import().plan().unwrap(), imported(import()).unwrap());
        let (header, written) = (plan.header().unwrap(), Gguf::parse(&written).unwrap());
        assert!(header.metadata().iter().eq(written.metadata().iter()));
        for tensor in written.tensors() {
            let origin = plan.origin(tensor.name()).unwrap();
            assert_eq!((origin.ggml_type(), origin.shape()), (tensor.ggml_type(), tensor.shape()));
            assert_eq!(header.tensor_info(tensor.name()).unwrap().file_offset(), tensor.file_offset());
            plan.validate(tensor.name()).unwrap();
            // The same bytes as in the file, whatever the pieces.
            let mut writer = gguf_codec::Writer::new(Vec::new());
            writer.declare_tensor("w", tensor.shape().dims(), tensor.ggml_type()).unwrap();
            let mut data = writer.write_header().unwrap();
            let jobs = [Job::copy("w", origin)];
            Convert::new().run(&jobs, &mut data).unwrap();
            let copied = data.finish().unwrap();
            let copied = Gguf::parse(&copied).unwrap();
            assert!(
                copied.tensor("w").unwrap().bytes().unwrap()
                    == written.tensor(tensor.name()).unwrap().bytes().unwrap(),
                "{slice}"
            );
        }
        assert!(plan.origin("none").is_err());
    }
}

#[test]
fn columns_in_another_order_are_kept_where_blocks_have_one_scale() {
    let config =
        r#"{"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": true}}"#;
    for (by, ty) in [(32, GgmlType::Q4_0), (16, GgmlType::BF16)] {
        let index = word_bytes((0..96).map(|col| (95 - col) as u32 / by * by / 32));
        let index = if by == 32 { index } else { word_bytes((0..96).map(|col| col / 16 % 3)) };
        let q = codes(12 * 8, 32 - 1);
        let file = tensors(&[
            ("w.qweight", &[12, 8], Dtype::I32, word_bytes(q)),
            ("w.qzeros", &[3, 1], Dtype::I32, vec![0x77; 12]),
            ("w.scales", &[3, 8], Dtype::BF16, bf16s(&scales(24))),
            ("w.g_idx", &[96], Dtype::I32, index),
        ]);
        let (found, _, error) = kept(config, file, "w.weight");
        assert_eq!(found, ty);
        assert!(error < 4e-3, "{error}");
    }
    // gpt-oss's names have no suffix. A type that has the same codes keeps them; for another type, values are computed.
    let file = || {
        let q = codes(2 * 4 * 32, 4);
        let powers = codes(2 * 4, 3).iter().map(|code| *code as u8 + 120).collect();
        tensors(&[
            ("e.gate_up_proj_blocks", &[2, 4, 1, 16], Dtype::U8, nibbles(&q)),
            ("e.gate_up_proj_scales", &[2, 4, 1], Dtype::U8, powers),
        ])
    };
    let config = r#"{"quantization_config": {"quant_method": "mxfp4"}}"#;
    assert_eq!(kept(config, file(), "e.gate_up_proj"), (GgmlType::MXFP4, Fidelity::Exact, 0.0));
    let (files, description) = (checkpoint([file()]).unwrap(), Description::from_config(config).unwrap());
    for (ty, fidelity) in [
        (GgmlType::MXFP4, Fidelity::Exact),
        (GgmlType::Q8_0, Fidelity::Requantized),
        (GgmlType::F32, Fidelity::Exact),
    ] {
        let plan = Import::new(&files, &description).ggml_type(ty).plan().unwrap();
        let weight = &plan.carried_weights()[0];
        assert_eq!((weight.ggml_type, weight.fidelity), (ty, fidelity));
    }
    // An f16 cannot represent the scales, so values are computed.
    for (scale, ty) in [(1e-3, GgmlType::Q8_0), (1e9, GgmlType::BF16), (1e-9, GgmlType::BF16)] {
        let q = codes(64, 8).iter().map(|code| *code as u8).collect();
        let file = tensors(&[
            ("w.weight", &[2, 32], Dtype::I8, q),
            ("w.weight_scale", &[2, 1], Dtype::F32, floats([1.0, scale])),
        ]);
        assert_eq!(kept("{}", file, "w.weight").0, ty, "{scale}");
    }
    // Three values in two bits, and one scale.
    let q = codes(4 * 256, 4).iter().map(|code| ((code % 3) | (code % 2) << 2 | 1 << 4) as u8).collect();
    let file = tensors(&[
        ("w.weight", &[4, 256], Dtype::U8, q),
        ("w.weight_scale", &[1], Dtype::F32, floats([4.0])),
    ]);
    let config = r#"{"quantization_config": {"quant_method": "bitnet"}}"#;
    assert_eq!(kept(config, file, "w.weight"), (GgmlType::TQ2_0, Fidelity::Exact, 0.0));
}
