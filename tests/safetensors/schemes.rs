//! Quantized checkpoints: what the real libraries wrote, and every scheme in every variant against its formula.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use gguf_codec::model::hf::{Description, Export, Fidelity, Import, Renamed};
use gguf_codec::model::{Convert, Job};
use gguf_codec::safetensors::{Dtype, SafeTensors};
use gguf_codec::{GgmlType, Gguf, Result};

use super::common::compare;
use super::{checkpoint, exported_shard, floats, imported, tensors};

/// Slices of checkpoints that bitsandbytes, compressed-tensors, AutoRound, torchao and transformers wrote; the hashes are those
/// of the values that their formulas give.
const SLICES: &str = "tests/safetensors/checkpoints";

type Part = (&'static str, Vec<u64>, Dtype, Vec<u8>);

/// The values of a tensor of a model of these parts.
fn values(config: &str, parts: &[Part], name: &str) -> Result<(Vec<u64>, Vec<f32>)> {
    let own: Vec<_> = parts
        .iter()
        .map(|(name, shape, dtype, bytes)| (*name, shape.as_slice(), *dtype, bytes.clone()))
        .collect();
    read(config, tensors(&own), name)
}

fn read(config: &str, file: Vec<u8>, name: &str) -> Result<(Vec<u64>, Vec<f32>)> {
    let (files, description) = (checkpoint([file])?, Description::from_config(config)?);
    let file = imported(Import::new(&files, &description).ggml_type(GgmlType::F32))?;
    let model = Gguf::parse(&file)?;
    let tensor = model.tensor(name)?;
    let mut values = vec![0.0; tensor.shape().element_count() as usize];
    tensor.dequantize_into(&mut values)?;
    Ok((tensor.shape().dims().iter().rev().copied().collect(), values))
}

/// The message of what is wrong with a model of these parts: in its plan, or when it is read.
fn problem(config: &str, parts: &[Part]) -> String {
    format!("{:?}", values(config, parts, "w.weight").unwrap_err())
}

#[test]
fn slices_of_real_checkpoints_have_the_values_that_their_libraries_give() {
    let mut seen = 0;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(SLICES);
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let config = fs::read_to_string(&path).unwrap();
        let about: serde_json::Value = serde_json::from_str(&config).unwrap();
        for (name, hash) in about["expected"].as_object().unwrap() {
            let file = fs::read(path.with_extension("safetensors")).unwrap();
            let (_, values) = read(&config, file, name).unwrap();
            let found = format!("{:016x}", compare::hash(&values));
            assert_eq!(found, hash.as_str().unwrap(), "{} {name}", path.display());
            seen += 1;
        }
    }
    assert_eq!(seen, 18);
}

/// What a model of these parts becomes without a type: its weight's type and fate, and the largest error of a value, relative to
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
            // The same bytes as in the file, in any pieces.
            let mut writer = gguf_codec::Writer::new(Vec::new());
            writer.declare_tensor("w", tensor.shape().dims(), tensor.ggml_type()).unwrap();
            let mut data = writer.write_header().unwrap();
            let jobs = [Job::copy("w", origin)];
            Convert::new().run(&jobs, &mut data, |_| ControlFlow::Continue(())).unwrap();
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
    // gpt-oss's names have no end of their own. A type that has the same codes keeps them, and another is computed.
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
    // Scales that an f16 cannot hold: values are computed.
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

/// Numbers that look random and are always the same.
fn codes(count: usize, bits: u32) -> Vec<u32> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64 ^ count as u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32 & ((1 << bits) - 1)
    };
    (0..count).map(|_| next()).collect()
}

/// Scales that every float type has.
fn scales(count: usize) -> Vec<f32> {
    codes(count, 6).iter().map(|code| (*code as f32 + 1.0) / 1024.0).collect()
}

fn f16s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| gguf_codec::f16::from_f32(*value).to_le_bytes()).collect()
}

fn bf16s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| gguf_codec::bf16::from_f32(*value).to_le_bytes()).collect()
}

/// A stream of codes in words, the lowest bits first.
fn stream(codes: &[u32], bits: u32) -> Vec<u32> {
    let mut words = vec![0u32; (codes.len() * bits as usize).div_ceil(32)];
    for (index, code) in codes.iter().enumerate() {
        for bit in 0..bits as usize {
            let at = index * bits as usize + bit;
            words[at / 32] |= (code >> bit & 1) << (at % 32);
        }
    }
    words
}

fn word_bytes(words: impl IntoIterator<Item = u32>) -> Vec<u8> {
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

fn transposed<T: Copy>(values: &[T], rows: usize) -> Vec<T> {
    let cols = values.len() / rows;
    (0..values.len()).map(|at| values[at % rows * cols + at / rows]).collect()
}

/// The matrix that was packed and is read.
struct Wanted {
    rows: usize,
    cols: usize,
}

impl Wanted {
    fn check(&self, config: &str, parts: &[Part], wanted: impl Fn(usize, usize) -> f32) {
        let (shape, found) =
            values(config, parts, "w.weight").unwrap_or_else(|error| panic!("{config}: {error}"));
        assert_eq!(shape, [self.rows as u64, self.cols as u64], "{config}");
        for (at, found) in found.iter().enumerate() {
            let (row, col) = (at / self.cols, at % self.cols);
            let wanted = wanted(row, col);
            assert_eq!(found.to_bits(), wanted.to_bits(), "{config}: {found} at {row}, {col}, not {wanted}");
        }
    }
}

fn gptq(bits: u32, rows: usize, cols: usize, width: usize, v2: bool, order: bool) {
    let groups = cols.div_ceil(width);
    let (q, z, s) = (codes(rows * cols, bits), codes(rows * groups, bits), scales(rows * groups));
    let index: Vec<usize> = (0..cols).map(|col| if order { col * 7 % groups } else { col / width }).collect();
    let down: Vec<Vec<u32>> = q.chunks(cols).map(|row| stream(row, bits)).collect();
    let qweight = transposed(&down.concat(), rows);
    let qzeros: Vec<u32> = transposed(&z, rows).chunks(rows).flat_map(|row| stream(row, bits)).collect();
    let (words, zero_words) = (qweight.len() / rows, qzeros.len() / groups);
    let mut parts = vec![
        ("w.qweight", vec![words as u64, rows as u64], Dtype::I32, word_bytes(qweight)),
        ("w.qzeros", vec![groups as u64, zero_words as u64], Dtype::I32, word_bytes(qzeros)),
        ("w.scales", vec![groups as u64, rows as u64], Dtype::F16, f16s(&transposed(&s, rows))),
    ];
    if order {
        let index = word_bytes(index.iter().map(|&group| group as u32));
        parts.push(("w.g_idx", vec![cols as u64], Dtype::I32, index));
    }
    let group_size = if width == cols { -1 } else { width as i64 };
    let config = format!(
        r#"{{"quantization_config": {{"quant_method": "gptq", "bits": {bits}, "group_size": {group_size}, "desc_act": {order},
            "checkpoint_format": "{}"}}}}"#,
        if v2 { "gptq_v2" } else { "gptq" }
    );
    Wanted { rows, cols }.check(&config, &parts, |row, col| {
        let group = index[col];
        let zero = z[row * groups + group] as f32 + if v2 { 0.0 } else { 1.0 };
        (q[row * cols + col] as f32 - zero) * s[row * groups + group]
    });
}

#[test]
fn gptq_is_read_in_all_its_bits_and_orders() {
    for bits in [2, 3, 4, 8] {
        for (rows, cols, width) in [(32, 64, 32), (64, 96, 96), (1056, 64, 16)] {
            gptq(bits, rows, cols, width, false, false);
            gptq(bits, rows, cols, width, true, false);
            gptq(bits, rows, cols, width, false, true);
        }
    }
}

#[test]
fn awq_is_read_with_and_without_zero_points() {
    let order = [0, 2, 4, 6, 1, 3, 5, 7];
    for (rows, cols, width) in [(16, 32, 16), (1064, 24, 24)] {
        let groups = cols / width;
        let (q, z, s) = (codes(rows * cols, 4), codes(rows * groups, 4), scales(rows * groups));
        let pack = |codes: &[u32]| -> Vec<u32> {
            let rows_of = transposed(codes, rows);
            rows_of.chunks(8).map(|eight| (0..8).map(|i| eight[order[i]] << (4 * i)).sum()).collect()
        };
        let across = (rows / 8) as u64;
        let mut parts = vec![
            ("w.qweight", vec![cols as u64, across], Dtype::I32, word_bytes(pack(&q))),
            ("w.scales", vec![groups as u64, rows as u64], Dtype::F16, f16s(&transposed(&s, rows))),
        ];
        let config = |zero_point| {
            format!(
                r#"{{"quantization_config": {{"quant_method": "awq", "bits": 4, "group_size": {width}, "zero_point": {zero_point},
                    "version": "gemm"}}}}"#
            )
        };
        let at = |row: usize, col: usize| (row * cols + col, row * groups + col / width);
        Wanted { rows, cols }.check(&config(false), &parts, |row, col| {
            let (value, group) = at(row, col);
            (q[value] as f32 - 8.0) * s[group]
        });
        assert!(problem(&config(true), &parts).contains("'w.qzeros' is missing"));
        parts.push(("w.qzeros", vec![groups as u64, across], Dtype::I32, word_bytes(pack(&z))));
        Wanted { rows, cols }.check(&config(true), &parts, |row, col| {
            let (value, group) = at(row, col);
            (q[value] as f32 - z[group] as f32) * s[group]
        });
    }
}

fn compressed(groups: &str) -> String {
    format!(
        r#"{{"quantization_config": {{"quant_method": "compressed-tensors", "config_groups": {groups}}}}}"#
    )
}

/// Two groups that differ in nothing but their zero points: only the name tells which one a module is of.
#[test]
fn a_module_is_quantized_as_the_group_that_means_it_by_name() {
    let (rows, cols, width, bits) = (8usize, 64usize, 32usize, 4u32);
    let across = cols / width;
    let (q, s) = (codes(rows * cols, bits), scales(rows * across));
    let words: Vec<u32> = q.chunks(cols).flat_map(|row| stream(row, bits)).collect();
    let shape = [rows as u64, cols as u64].iter().flat_map(|extent| extent.to_le_bytes()).collect();
    let parts = vec![
        ("w.weight_packed", vec![rows as u64, (words.len() / rows) as u64], Dtype::I32, word_bytes(words)),
        ("w.weight_shape", vec![2], Dtype::I64, shape),
        ("w.weight_scale", vec![rows as u64, across as u64], Dtype::BF16, bf16s(&s)),
    ];
    let config = |of_asymmetric: &str, of_symmetric: &str| {
        let group = |target: &str, symmetric: bool| {
            format!(
                r#"{{"targets": ["{target}"], "weights": {{"num_bits": {bits}, "type": "int", "symmetric": {symmetric}, "group_size": {width}}}}}"#
            )
        };
        compressed(&format!(
            r#"{{"a": {}, "b": {}}}"#,
            group(of_asymmetric, false),
            group(of_symmetric, true)
        ))
    };
    for (asymmetric, symmetric) in [("re:other.*", "w"), ("other", "re:w"), ("Linear", "re:[a-w]$")] {
        Wanted { rows, cols }.check(&config(asymmetric, symmetric), &parts, |row, col| {
            (q[row * cols + col] as f32 - 8.0) * s[row * across + col / width]
        });
        assert!(problem(&config(symmetric, asymmetric), &parts).contains("'w.weight_zero_point' is missing"));
    }
}

#[test]
fn packed_integers_are_read_in_any_bits_and_by_the_group_that_fits() {
    for bits in 2..=8u32 {
        for (rows, cols, width) in [(7usize, 100usize, 32), (40, 64, 64), (33, 96, 16)] {
            let across = cols.div_ceil(width);
            let (q, z, s) = (codes(rows * cols, bits), codes(rows * across, bits), scales(rows * across));
            let rows_of: Vec<u32> = q.chunks(cols).flat_map(|row| stream(row, bits)).collect();
            let words = (rows_of.len() / rows) as u64;
            let shape = [rows as u64, cols as u64].iter().flat_map(|extent| extent.to_le_bytes()).collect();
            let columns: Vec<Vec<u32>> =
                transposed(&z, rows).chunks(rows).map(|column| stream(column, bits)).collect();
            let down = columns[0].len();
            let zeros = transposed(&columns.concat(), across);
            let mut parts = vec![
                ("w.weight_packed", vec![rows as u64, words], Dtype::I32, word_bytes(rows_of)),
                ("w.weight_shape", vec![2], Dtype::I64, shape),
                ("w.weight_scale", vec![rows as u64, across as u64], Dtype::BF16, bf16s(&s)),
            ];
            let config = |symmetric: bool| {
                compressed(&format!(
                    r#"{{"a": {{"weights": {{"num_bits": 8, "type": "float", "strategy": "channel"}}}},
                        "b": {{"weights": {{"num_bits": {bits}, "type": "int", "symmetric": {symmetric}, "group_size": {width}}}}}}}"#
                ))
            };
            let half = (1 << (bits - 1)) as f32;
            Wanted { rows, cols }.check(&config(true), &parts, |row, col| {
                (q[row * cols + col] as f32 - half) * s[row * across + col / width]
            });
            assert!(problem(&config(false), &parts).contains("'w.weight_zero_point' is missing"));
            parts.push((
                "w.weight_zero_point",
                vec![down as u64, across as u64],
                Dtype::I32,
                word_bytes(zeros),
            ));
            Wanted { rows, cols }.check(&config(false), &parts, |row, col| {
                let group = row * across + col / width;
                (q[row * cols + col] as f32 - z[group] as f32) * s[group]
            });
        }
    }
}

#[test]
fn bytes_are_read_with_scales_of_any_shape() {
    let (rows, cols) = (6, 40);
    let q: Vec<u8> = codes(rows * cols, 8).iter().map(|code| *code as u8).collect();
    let weight = ("w.weight", vec![rows as u64, cols as u64], Dtype::I8, q.clone());
    let signed = |row: usize, col: usize| f32::from(q[row * cols + col] as i8);
    let config = compressed(
        r#"{"a": {"weights": {"num_bits": 8, "type": "int", "group_size": 16, "block_structure": [4, 32]}}}"#,
    );
    type By = fn(usize, usize) -> usize;
    let cases: [(Vec<u64>, By); 5] = [
        (vec![], |_, _| 0),
        (vec![1], |_, _| 0),
        (vec![6, 1], |row, _| row),
        (vec![6, 3], |row, col| row * 3 + col / 16),
        (vec![2, 2], |row, col| row / 4 * 2 + col / 32),
    ];
    for (shape, by) in cases {
        let count = shape.iter().product::<u64>() as usize;
        let s = scales(count);
        let parts = [weight.clone(), ("w.weight_scale", shape.clone(), Dtype::F32, floats(s.clone()))];
        Wanted { rows, cols }.check(&config, &parts, |row, col| signed(row, col) * s[by(row, col)]);
        let z: Vec<u8> = codes(count, 3).iter().map(|code| *code as u8).collect();
        let [weight, scale] = parts;
        let parts = [weight, scale, ("w.weight_zero_point", shape, Dtype::I8, z.clone())];
        Wanted { rows, cols }.check(&config, &parts, |row, col| {
            (signed(row, col) - f32::from(z[by(row, col)])) * s[by(row, col)]
        });
    }
    // Of stacked matrices, each has its own blocks, and edges are parts of blocks.
    let s = scales(2 * 2 * 3);
    let q: Vec<u8> = codes(2 * 130 * 300, 6).iter().map(|code| *code as u8).collect();
    let parts = [
        ("w.weight", vec![2, 130, 300], Dtype::F8_E4M3, q.clone()),
        ("w.weight_scale_inv", vec![2, 2, 3], Dtype::F32, floats(s.clone())),
    ];
    let config = r#"{"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}"#;
    let (shape, found) = values(config, &parts, "w.weight").unwrap();
    assert_eq!(shape, [2, 130, 300]);
    for (at, found) in found.iter().enumerate() {
        let (matrix, row, col) = (at / 39000, at / 300 % 130, at % 300);
        assert_eq!(*found, e4m3(q[at]) * s[matrix * 6 + row / 128 * 3 + col / 128], "{at}");
    }
    let q: Vec<u8> = codes(rows * cols, 7).iter().map(|code| *code as u8 & 0x77).collect();
    for (end, shape) in
        [("w.weight_scale", vec![1]), ("w.qscale_weight", vec![]), ("w.weight_scale", vec![6])]
    {
        let s = scales(shape.iter().product::<u64>() as usize);
        let parts = [
            ("w.weight", vec![6, 40], Dtype::F8_E4M3, q.clone()),
            (end, shape, Dtype::BF16, bf16s(&s)),
            ("w.input_scale", vec![], Dtype::F32, vec![0; 4]),
            ("w.qscale_act", vec![], Dtype::F32, vec![0; 4]),
        ];
        Wanted { rows, cols }.check(
            r#"{"quantization_config": {"quant_method": "fp8"}}"#,
            &parts,
            |row, col| e4m3(q[row * cols + col]) * s[row % s.len()],
        );
    }
}

fn e4m3(code: u8) -> f32 {
    let (exponent, mantissa) = (i32::from(code >> 3 & 15), f32::from(code & 7));
    let magnitude = if exponent == 0 {
        mantissa * 2f32.powi(-9)
    } else {
        (1.0 + mantissa / 8.0) * 2f32.powi(exponent - 7)
    };
    if code & 0x80 == 0 { magnitude } else { -magnitude }
}

const E2M1: [f32; 16] =
    [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0];

fn nibbles(codes: &[u32]) -> Vec<u8> {
    codes.chunks(2).map(|pair| (pair[0] | pair[1] << 4) as u8).collect()
}

#[test]
fn floats_of_four_and_eight_bits_are_read_in_blocks() {
    let (rows, cols) = (5, 64);
    let q = codes(rows * cols, 4);
    let packed = nibbles(&q);
    let powers: Vec<u8> = codes(rows * 2, 3).iter().map(|code| *code as u8 + 120).collect();
    let power = |row: usize, col: usize| 2f32.powi(i32::from(powers[row * 2 + col / 32]) - 127);
    let wanted = |row: usize, col: usize| E2M1[q[row * cols + col] as usize] * power(row, col);
    // gpt-oss: the name has no end of its own.
    let parts = [
        ("w.weight_blocks", vec![5, 2, 16], Dtype::U8, packed.clone()),
        ("w.weight_scales", vec![5, 2], Dtype::U8, powers.clone()),
    ];
    Wanted { rows, cols }.check(r#"{"quantization_config": {"quant_method": "mxfp4"}}"#, &parts, wanted);
    let parts = [
        ("w.weight_packed", vec![5, 32], Dtype::U8, packed.clone()),
        ("w.weight_scale", vec![5, 2], Dtype::U8, powers.clone()),
    ];
    Wanted { rows, cols }.check(&compressed("{}"), &parts, wanted);
    let eight: Vec<u8> = codes(rows * cols, 6).iter().map(|code| *code as u8).collect();
    let parts = [
        ("w.weight", vec![5, 64], Dtype::F8_E4M3, eight.clone()),
        ("w.weight_scale", vec![5, 2], Dtype::U8, powers.clone()),
    ];
    Wanted { rows, cols }
        .check(&compressed("{}"), &parts, |row, col| e4m3(eight[row * cols + col]) * power(row, col));
    // NVFP4: a factor of ModelOpt, a divisor of compressed-tensors.
    let s: Vec<u8> = codes(rows * 4, 6).iter().map(|code| *code as u8 + 16).collect();
    let scale = |row: usize, col: usize| e4m3(s[row * 4 + col / 16]);
    let parts = [
        ("w.weight", vec![5, 32], Dtype::U8, packed.clone()),
        ("w.weight_scale", vec![5, 4], Dtype::F8_E4M3, s.clone()),
        ("w.weight_scale_2", vec![], Dtype::F32, floats([0.3])),
        ("w.input_scale", vec![], Dtype::F32, floats([0.1])),
    ];
    let config = r#"{"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}}"#;
    Wanted { rows, cols }
        .check(config, &parts, |row, col| E2M1[q[row * cols + col] as usize] * (scale(row, col) * 0.3));
    let parts = [
        ("w.weight_packed", vec![5, 32], Dtype::U8, packed),
        ("w.weight_scale", vec![5, 4], Dtype::F8_E4M3, s.clone()),
        ("w.weight_global_scale", vec![1], Dtype::F32, floats([700.0])),
    ];
    Wanted { rows, cols }.check(&compressed("{}"), &parts, |row, col| {
        E2M1[q[row * cols + col] as usize] * (scale(row, col) / 700.0)
    });
}

#[test]
fn bitsandbytes_is_read_from_any_storage_and_with_nested_scales() {
    let (rows, cols) = (3, 50);
    let q = codes(rows * cols, 4);
    let packed: Vec<u8> = q.chunks(2).map(|pair| (pair[0] << 4 | pair.get(1).unwrap_or(&0)) as u8).collect();
    let map: Vec<f32> = (0..16).map(|code| (code as f32 - 7.5) / 7.5).collect();
    let state = r#"{"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [3, 50]"#;
    let absmax = scales(3);
    // 75 bytes are an odd number of them; with another column they are halves as well.
    let parts = |storage: (Vec<u64>, Dtype), state: &str, scales: Vec<Part>| {
        let mut parts = vec![
            ("w.weight", storage.0, storage.1, packed.clone()),
            ("w.weight.quant_map", vec![16], Dtype::F32, floats(map.clone())),
            (
                "w.weight.quant_state.bitsandbytes__nf4",
                vec![state.len() as u64],
                Dtype::U8,
                state.as_bytes().to_vec(),
            ),
        ];
        parts.extend(scales);
        parts
    };
    let config = r#"{"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": true}}"#;
    let stored = vec![("w.weight.absmax", vec![3], Dtype::F32, floats(absmax.clone()))];
    for storage in [(vec![75, 1], Dtype::U8), (vec![1, 75], Dtype::I8), (vec![25, 3], Dtype::U8)] {
        let parts = parts(storage, &format!("{state}}}"), stored.clone());
        Wanted { rows, cols }.check(config, &parts, |row, col| {
            let at = row * cols + col;
            map[q[at] as usize] * absmax[at / 64]
        });
    }
    let outer = scales(2);
    let nested_map: Vec<f32> = (0..256).map(|code| code as f32 / 256.0 - 0.5).collect();
    let nested = vec![
        ("w.weight.absmax", vec![3], Dtype::U8, vec![3, 200, 77]),
        ("w.weight.nested_absmax", vec![2], Dtype::F32, floats(outer.clone())),
        ("w.weight.nested_quant_map", vec![256], Dtype::F32, floats(nested_map.clone())),
    ];
    let more = r#", "nested_blocksize": 2, "nested_dtype": "float32", "nested_offset": 0.25}"#;
    let whole = parts((vec![75, 1], Dtype::U8), &format!("{state}{more}"), nested);
    Wanted { rows, cols }.check(config, &whole, |row, col| {
        let at = row * cols + col;
        let block = at / 64;
        map[q[at] as usize] * (nested_map[[3, 200, 77][block]] * outer[block / 2] + 0.25)
    });
    // Absurd and missing ones.
    for (from, to, wanted) in [
        ("\"blocksize\": 64", "\"blocksize\": 0", "'blocksize', from 1"),
        ("\"blocksize\": 64", "\"blocksize\": 4611686018427387904", "'blocksize', from 1"),
        ("[3, 50]", "[3, 51]", "77 bytes"),
        ("[3, 50]", "[4294967296, 4294967296]", "extents"),
        ("[3, 50]", "[-3, 50]", "'shape'"),
        ("\"shape\"", "\"shame\"", "'shape'"),
    ] {
        let parts = parts((vec![75, 1], Dtype::U8), &format!("{state}}}").replace(from, to), stored.clone());
        let error = problem(config, &parts);
        assert!(error.contains(wanted) && error.contains("bitsandbytes 4 bit"), "{error}");
    }
    let q: Vec<u8> = codes(rows * cols, 8).iter().map(|code| *code as u8).collect();
    let scb = [1.5f32, 0.3, 127.0];
    let mut parts = vec![
        ("w.weight", vec![3, 50], Dtype::I8, q.clone()),
        ("w.SCB", vec![3], Dtype::F32, floats(scb)),
        ("w.weight_format", vec![], Dtype::U8, vec![0]),
    ];
    Wanted { rows, cols }
        .check(config, &parts, |row, col| f32::from(q[row * cols + col] as i8) * (scb[row] / 127.0));
    parts[2].3 = vec![1];
    assert!(problem(config, &parts).contains("'w.weight_format'"));
}

#[test]
fn planes_of_rows_are_read() {
    // BitNet: four planes.
    let (rows, cols) = (8, 12);
    let q: Vec<u32> = codes(rows * cols, 4).iter().map(|code| code % 3).collect();
    let packed: Vec<u8> = (0..2 * cols)
        .map(|at| (0..4).map(|plane| q[plane * 2 * cols + at] << (2 * plane)).sum::<u32>() as u8)
        .collect();
    let parts = |scale: f32| {
        [
            ("w.weight", vec![2, 12], Dtype::U8, packed.clone()),
            ("w.weight_scale", vec![1], Dtype::BF16, bf16s(&[scale])),
        ]
    };
    let config = |class: &str| format!(r#"{{"quantization_config": {{"quant_method": "bitnet"{class}}}}}"#);
    Wanted { rows, cols }
        .check(&config(""), &parts(3.0), |row, col| (q[row * cols + col] as f32 - 1.0) / 3.0);
    Wanted { rows, cols }.check(&config(r#", "linear_class": "autobitlinear""#), &parts(3.0), |row, col| {
        (q[row * cols + col] as f32 - 1.0) * 3.0
    });
    assert!(problem(&config(""), &parts(0.0)).contains("another number than 0"));
    assert!(problem(&config(""), &parts(f32::NAN)).contains("finite"));

    // HQQ: halves, quarters, … of the rows of groups.
    for (bits, per, unit) in [(8u32, 1, 1), (4, 2, 1), (3, 10, 4), (2, 4, 1), (1, 8, 1)] {
        for (axis, group) in [(0, 16), (1, 16), (1, 0)] {
            let (rows, cols) = (8, 48);
            let (down, across) = match (axis, group) {
                (_, 0) => (rows, cols),
                (0, _) => (group, rows * cols / group),
                _ => (rows * cols / group, group),
            };
            let q = codes(rows * cols, bits);
            let planes = down.div_ceil(per);
            let words: Vec<u32> = (0..planes * across)
                .map(|at| {
                    let of_plane = |plane: usize| q.get(plane * planes * across + at).copied().unwrap_or(0);
                    let top = if bits == 3 { 27 } else { 8 - bits };
                    (0..per).map(|plane| of_plane(plane) << (top - bits * plane as u32)).sum()
                })
                .collect();
            let stored = match unit {
                1 => words.iter().map(|word| *word as u8).collect(),
                _ => word_bytes(words),
            };
            let count = if axis == 1 { down } else { across };
            let (s, z) = (scales(count), scales(count + 1)[..count].to_vec());
            let text = if bits == 3 { "3bit_32".to_owned() } else { format!("{bits}bit_u8") };
            let int = |number: u32| number.to_le_bytes().to_vec();
            let mut parts = vec![
                (
                    "w.W_q",
                    vec![planes as u64, across as u64],
                    if unit == 1 { Dtype::U8 } else { Dtype::I32 },
                    stored,
                ),
                ("w.scale", vec![count as u64], Dtype::F16, f16s(&s)),
                ("w.zero", vec![count as u64], Dtype::F32, floats(z.clone())),
                ("w.nbits", vec![], Dtype::I32, int(bits)),
                ("w.axis", vec![], Dtype::I32, int(axis)),
                (
                    "w.shape",
                    vec![2],
                    Dtype::I64,
                    [8u64, 48].iter().flat_map(|extent| extent.to_le_bytes()).collect(),
                ),
                ("w.packing", vec![text.len() as u64], Dtype::U8, text.as_bytes().to_vec()),
                ("w.view_as_float", vec![], Dtype::U8, vec![0]),
                ("w.quant_scale", vec![], Dtype::U8, vec![0]),
            ];
            if group > 0 {
                parts.push(("w.group_size", vec![], Dtype::I32, int(group as u32)));
            }
            let config = r#"{"quantization_config": {"quant_method": "hqq"}}"#;
            Wanted { rows, cols }.check(config, &parts, |row, col| {
                let at = row * cols + col;
                let group = if axis == 1 { at / across } else { at % across };
                (q[at] as f32 - z[group]) * s[group]
            });
            parts[8].3 = vec![1];
            assert!(problem(config, &parts).contains("quantized themselves"));
        }
    }

    // quanto: low bits first.
    let config = r#"{"quantization_config": {"quant_method": "quanto"}, "hidden_size": 48}"#;
    for (bits, per) in [(4, 2), (2, 4)] {
        let (rows, cols, groups, width) = (6, 48, 18, 16);
        let q = codes(rows * cols, bits);
        let planes = groups / per + usize::from(groups % per != 0);
        let packed = (0..planes * width)
            .map(|at| {
                let of_plane = |plane: usize| q.get(plane * planes * width + at).copied().unwrap_or(0);
                (0..per).map(|plane| of_plane(plane) << (bits * plane as u32)).sum::<u32>() as u8
            })
            .collect::<Vec<u8>>();
        let (s, z) = (scales(groups), scales(groups + 1)[..groups].to_vec());
        let integers: Vec<u8> = codes(groups, 3).iter().map(|code| *code as u8).collect();
        let name = "a.q_proj.weight";
        let parts = |shift: Part| {
            [
                ("a.q_proj.weight._data._data", vec![planes as u64, width as u64], Dtype::U8, packed.clone()),
                ("a.q_proj.weight._scale", vec![groups as u64, 1], Dtype::F32, floats(s.clone())),
                shift,
                ("a.q_proj.input_scale", vec![], Dtype::F32, vec![0; 4]),
            ]
        };
        let shift = |dtype, bytes| ("a.q_proj.weight._shift", vec![groups as u64, 1], dtype, bytes);
        let (shape, found) = values(config, &parts(shift(Dtype::F32, floats(z.clone()))), name).unwrap();
        assert_eq!(shape, [6, 48]);
        let wanted: Vec<f32> =
            (0..rows * cols).map(|at| q[at] as f32 * s[at / width] - z[at / width]).collect();
        assert_eq!(found, wanted);
        let (_, found) = values(config, &parts(shift(Dtype::I8, integers.clone())), name).unwrap();
        let wanted: Vec<f32> = (0..rows * cols)
            .map(|at| (q[at] as f32 - f32::from(integers[at / width])) * s[at / width])
            .collect();
        assert_eq!(found, wanted);
    }
    let q: Vec<u8> = codes(40, 8).iter().map(|code| *code as u8).collect();
    let s = scales(4);
    let parts = [
        ("w.weight._data", vec![4, 10], Dtype::I8, q.clone()),
        ("w.weight._scale", vec![4, 1], Dtype::F32, floats(s.clone())),
    ];
    Wanted { rows: 4, cols: 10 }
        .check(config, &parts, |row, col| f32::from(q[row * 10 + col] as i8) * s[row]);

    // ModelOpt's INT4: two rows in a byte, and a factor for each column.
    let (rows, cols) = (6, 8);
    let q = codes(rows * cols, 4);
    let packed: Vec<u8> = (0..3 * cols)
        .map(|at| {
            (q[at / cols * 2 * cols + at % cols] | q[(at / cols * 2 + 1) * cols + at % cols] << 4) as u8
        })
        .collect();
    let (s, pre) = (scales(12), scales(8));
    let parts = [
        ("w.weight", vec![3, 8], Dtype::U8, packed),
        ("w.weight_scale", vec![6, 2], Dtype::F32, floats(s.clone())),
        ("w.pre_quant_scale", vec![8], Dtype::F32, floats(pre.clone())),
    ];
    let config = r#"{"quantization_config": {"quant_method": "modelopt", "quant_algo": "W4A16_AWQ", "group_size": 4}}"#;
    Wanted { rows, cols }.check(config, &parts, |row, col| {
        let code = q[row * cols + col] as i32;
        (code - if code > 7 { 16 } else { 0 }) as f32 * s[row * 2 + col / 4] * pre[col]
    });
}

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
    // A scale that is no number is found where it is read.
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
    // What has the name of the weight already.
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

/// What a model of a file and a configuration becomes, kept and computed: only whether that panics is looked at.
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
            // Digits and letters of the header, so that it stays one; bytes of data; numbers and words of the configuration.
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
    // Shapes that a header of no data can have, and parts that say more than there is.
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
