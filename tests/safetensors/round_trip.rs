//! Round trip: a GGUF is converted to safetensors and back to the same GGUF.

use gguf_codec::model::Origin;
use gguf_codec::model::hf::{Description, Export, Import};
use gguf_codec::safetensors::{Dtype, SafeTensors};
use gguf_codec::{Array, GgmlType, Gguf, Limits, ShardedGguf, TensorInfo, Value, Writer};
use proptest::prelude::*;

use super::{checkpoint, exported, exported_shard, imported};
use crate::common::property;

fn name() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "token_embd.weight",
        "output_norm.weight",
        "blk.0.attn_q.weight",
        "blk.1.attn_k.weight",
        "blk.1.attn_q.bias",
        "blk.12.ffn_down.weight",
        "blk.3.attn_q.scale",
        "rope_freqs.weight",
    ]);
    prop_oneof![known.prop_map(str::to_owned), "[a-z.\u{e9}\"0-9]{1,12}"]
}

fn array(depth: u32) -> BoxedStrategy<Array> {
    let len = 0..4usize;
    use prop::collection::vec;
    let plain = prop_oneof![
        vec(any::<u8>(), len.clone()).prop_map(Array::U8),
        vec(any::<i8>(), len.clone()).prop_map(Array::I8),
        vec(any::<u64>(), len.clone()).prop_map(Array::U64),
        vec(any::<i64>(), len.clone()).prop_map(Array::I64),
        vec(any::<bool>(), len.clone()).prop_map(Array::Bool),
        vec(float32(), len.clone()).prop_map(Array::F32),
        vec(float64(), len.clone()).prop_map(Array::F64),
        vec(vec(any::<u8>(), 0..5), len.clone()).prop_map(Array::String),
        vec(".{0,4}".prop_map(String::into_bytes), len.clone()).prop_map(Array::String),
    ];
    if depth == 0 {
        plain.boxed()
    } else {
        prop_oneof![4 => plain, 1 => vec(array(depth - 1), 0..3).prop_map(Array::Array)].boxed()
    }
}

/// All values except NaN, which equals no value.
fn float32() -> impl Strategy<Value = f32> {
    any::<u32>().prop_map(f32::from_bits).prop_filter("a number", |float| !float.is_nan())
}

fn float64() -> impl Strategy<Value = f64> {
    any::<u64>().prop_map(f64::from_bits).prop_filter("a number", |float| !float.is_nan())
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u16>().prop_map(Value::U16),
        any::<i32>().prop_map(Value::I32),
        any::<u64>().prop_map(Value::U64),
        any::<i64>().prop_map(Value::I64),
        any::<bool>().prop_map(Value::Bool),
        float32().prop_map(Value::F32),
        float64().prop_map(Value::F64),
        ".{0,8}".prop_map(|text| Value::String(text.into_bytes())),
        prop::collection::vec(any::<u8>(), 0..8).prop_map(Value::String),
        array(3).prop_map(Value::Array),
    ]
}

/// A model of plain types whose queries and keys are in two heads, or one.
fn model() -> impl Strategy<Value = Vec<u8>> {
    let plain = [GgmlType::F32, GgmlType::F16, GgmlType::BF16, GgmlType::F64, GgmlType::I8, GgmlType::I64];
    let tensor = (name(), prop::sample::select(plain.to_vec()), 1..5u64, 0..4u64, 0..3usize);
    let tensors = prop::collection::vec(tensor, 0..8);
    let keys = prop::collection::vec(("[a-z.\u{e9}]{1,9}", value()), 0..6);
    let architecture = prop::sample::select(vec!["llama", "qwen2", "bert", "other"]);
    (tensors, keys, architecture, any::<u8>()).prop_map(|(tensors, keys, architecture, seed)| {
        let mut writer = Writer::new(Vec::new());
        writer.set_metadata("general.architecture", architecture).unwrap();
        for (key, value) in keys {
            writer.set_metadata(&key, value).unwrap();
        }
        writer.set_metadata("llama.attention.head_count", 2u32).unwrap();
        writer.set_metadata("llama.attention.head_count_kv", 1u32).unwrap();
        let mut declared: Vec<(String, GgmlType)> = Vec::new();
        for (name, ty, quarter, len, dims) in tensors {
            // A number of rows that two heads can share.
            let extents = match dims {
                _ if name.ends_with("bias") => vec![4 * quarter],
                0 => vec![len, 4 * quarter],
                1 => vec![len, 2, 2 * quarter],
                _ => vec![1, 4 * quarter],
            };
            if !declared.iter().any(|(known, _)| *known == name) {
                writer.declare_tensor(&name, &extents, ty).unwrap();
                declared.push((name, ty));
            }
        }
        // Larger values first, so that no tensor has to move for its alignment.
        let mut data = writer.write_header().unwrap();
        for (name, _) in &declared {
            let mut out = data.begin(name).unwrap();
            let bytes: Vec<u8> = (0..out.remaining()).map(|at| (at as u8).wrapping_mul(31) ^ seed).collect();
            out.write_bytes(&bytes).unwrap();
            out.finish().unwrap();
        }
        data.finish().unwrap()
    })
}

/// Every tensor by name.
fn content(gguf: &[u8]) -> Vec<(String, GgmlType, Vec<u64>, Vec<u8>)> {
    let model = Gguf::parse(gguf).unwrap();
    let tensor = |tensor: gguf_codec::TensorInfo<'_>| {
        let bytes = tensor.tensor().unwrap().bytes().unwrap().to_vec();
        (tensor.name().to_owned(), tensor.ggml_type(), tensor.shape().dims().to_vec(), bytes)
    };
    let mut tensors: Vec<_> = model.tensors().map(tensor).collect();
    tensors.sort();
    tensors
}

proptest! {
    #![proptest_config(property(300))]

    /// The metadata in order, and every tensor, are the same, in one file or several.
    #[test]
    fn a_model_comes_back_as_it_was(gguf in model(), max_bytes in prop::option::of(1..200u64)) {
        let files = exported(&gguf, max_bytes).unwrap();
        for file in &files {
            safetensors::SafeTensors::deserialize(file).unwrap();
            // A program that maps the file finds each value at a multiple of its size.
            for tensor in SafeTensors::parse(file).unwrap().tensors() {
                prop_assert!(tensor.file_offset().is_multiple_of(tensor.dtype().bits() / 8));
            }
        }
        let files = checkpoint(files).unwrap();
        let back = imported(Import::new(&files, &Description::default())).unwrap();
        prop_assert_eq!(content(&back), content(&gguf));
        let (a, b) = (Gguf::parse(&gguf).unwrap(), Gguf::parse(&back).unwrap());
        prop_assert!(a.metadata().iter().eq(b.metadata().iter()), "{:?}\n{:?}", a.metadata(), b.metadata());
    }
}

/// A model of one block: the rows of a query are in four heads, and halves of each become neighbours.
fn small(ty: GgmlType, names: [&str; 2]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    writer.set_metadata("general.architecture", "llama").unwrap();
    writer.set_metadata("llama.attention.head_count", 2u32).unwrap();
    writer.set_metadata("general.file_type", 7u32).unwrap();
    for name in names {
        writer.declare_tensor(name, &[32, 8], ty).unwrap();
    }
    let mut data = writer.write_header().unwrap();
    for name in names {
        let mut out = data.begin(name).unwrap();
        let values: Vec<f32> = (0..256).map(|i| (i / 32) as f32).collect();
        out.write_values(&values, None).unwrap();
        out.finish().unwrap();
    }
    data.finish().unwrap()
}

#[test]
fn a_plain_model_in_order_comes_back_to_the_byte() {
    let gguf = small(GgmlType::F16, ["blk.0.attn_q.weight", "blk.0.ffn_up.weight"]);
    let files = exported(&gguf, None).unwrap();
    let header = SafeTensors::parse(&files[0]).unwrap();
    let names: Vec<_> = header.tensors().map(|tensor| tensor.name()).collect();
    assert_eq!(names, ["model.layers.0.self_attn.q_proj.weight", "model.layers.0.mlp.up_proj.weight"]);
    let start = header.tensor(names[0]).unwrap().file_offset() as usize;
    let first_of_row = |row: usize| {
        half::f16::from_le_bytes([files[0][start + row * 64], files[0][start + row * 64 + 1]]).to_f32()
    };
    assert_eq!([0, 1, 2, 3, 4].map(first_of_row), [0.0, 2.0, 1.0, 3.0, 4.0]);
    let files = checkpoint(files).unwrap();
    assert_eq!(imported(Import::new(&files, &Description::default())).unwrap(), gguf);
}

/// The same model in files of one tensor each.
fn shards(gguf: &[u8]) -> Vec<Vec<u8>> {
    let model = Gguf::parse(gguf).unwrap();
    let count = model.tensor_count() as u16;
    let shard = |(no, tensor): (usize, TensorInfo<'_>)| {
        let mut writer = Writer::new(Vec::new());
        if no == 0 {
            writer.copy_metadata_from(&model).unwrap();
        }
        writer.set_shard(no as u16, count, count.into()).unwrap();
        writer.declare_tensor(tensor.name(), tensor.shape().dims(), tensor.ggml_type()).unwrap();
        let mut data = writer.write_header().unwrap();
        data.write_tensor(tensor.name(), tensor.tensor().unwrap().bytes().unwrap()).unwrap();
        data.finish().unwrap()
    };
    model.tensors().enumerate().map(shard).collect()
}

#[test]
fn shards_become_what_the_whole_becomes() {
    let gguf = small(GgmlType::F16, ["blk.0.attn_q.weight", "blk.0.ffn_up.weight"]);
    let files = shards(&gguf);
    assert_eq!(files.len(), 2);
    let model = ShardedGguf::new(files.iter().map(|file| Gguf::parse(file).unwrap())).unwrap();
    assert!(model.metadata().contains("split.count"));
    let origin = |tensor: &TensorInfo<'_>| Ok(Origin::of(&files[model.shard_of(tensor.name())?], tensor));
    let plan = Export::sharded(&model, origin).unwrap().plan().unwrap();
    let file = exported_shard(&plan, &plan.shards(None)[0]).unwrap();
    assert!(file == exported(&gguf, None).unwrap()[0]);
    // A single file contains its keys, whatever its name.
    let alone = &files[1];
    let metadata = exported(alone, None).unwrap();
    let keys = SafeTensors::parse(&metadata[0]).unwrap();
    assert!(keys.metadata().any(|(key, _)| key == "gguf:split.no"));
    // The function that finds the data is called for each tensor, and its error is reported.
    let error = Export::sharded(&model, |_| Err(gguf_codec::Error::Interrupted)).unwrap_err();
    assert!(matches!(error, gguf_codec::Error::Interrupted));
}

#[test]
fn blocks_become_floats_and_the_file_says_so() {
    let gguf = small(GgmlType::Q8_0, ["blk.0.attn_q.weight", "other.weight"]);
    let model = Gguf::parse(&gguf).unwrap();
    for (ty, dtype, file_type) in
        [(GgmlType::F16, "F16", 1), (GgmlType::F32, "F32", 0), (GgmlType::BF16, "BF16", 32)]
    {
        let plan = Export::new(&model, &gguf).ggml_type(ty).plan().unwrap();
        let file = exported_shard(&plan, &plan.shards(None)[0]).unwrap();
        let header = SafeTensors::parse(&file).unwrap();
        assert!(header.tensors().all(|tensor| tensor.dtype().name() == dtype));
        assert!(
            header.metadata().any(|pair| pair == ("gguf:general.file_type", &format!("u32:{file_type}")))
        );
        let files = checkpoint([file]).unwrap();
        let back = imported(Import::new(&files, &Description::default()).ggml_type(GgmlType::Q8_0)).unwrap();
        let shown =
            |gguf| content(gguf).into_iter().map(|(name, ty, dims, _)| (name, ty, dims)).collect::<Vec<_>>();
        assert_eq!(shown(&back), shown(&gguf));
        assert_eq!(Gguf::parse(&back).unwrap().metadata().require::<u32>("general.file_type").unwrap(), 7);
    }
    let error = Export::new(&model, &gguf).ggml_type(GgmlType::Q4_0).plan().unwrap_err().to_string();
    assert!(error.contains("not Q4_0"), "{error}");
}

#[test]
fn names_and_rows_stay_where_the_user_wants_them() {
    let gguf = small(GgmlType::F32, ["blk.0.attn_q.weight", "b"]);
    let model = Gguf::parse(&gguf).unwrap();
    let plan = Export::new(&model, &gguf).names(|name| Some(name.to_owned())).plan().unwrap();
    let file = exported_shard(&plan, &plan.shards(None)[0]).unwrap();
    let header = SafeTensors::parse(&file).unwrap();
    let tensor = header.tensor("blk.0.attn_q.weight").unwrap();
    let start = tensor.file_offset() as usize;
    let own = model.tensor("blk.0.attn_q.weight").unwrap();
    assert_eq!(&file[start..start + tensor.byte_len() as usize], own.bytes().unwrap());
    let files = checkpoint([file]).unwrap();
    assert_eq!(imported(Import::new(&files, &Description::default())).unwrap(), gguf);
    let plan = Export::new(&model, &gguf).names(|_| Some("same".to_owned())).plan().unwrap();
    let error = exported_shard(&plan, &plan.shards(None)[0]).unwrap_err().to_string();
    assert!(error.contains("'same' is declared twice"), "{error}");
}

#[test]
fn heads_that_rows_do_not_have_are_an_error() {
    for (key, value, part) in [
        (
            "llama.attention.head_count",
            Value::U32(3),
            "'blk.0.attn_q.weight' has 8 rows, which are not 3 heads",
        ),
        ("llama.attention.head_count", Value::U32(0), "0 heads"),
        (
            "llama.attention.head_count",
            Value::from(["a", "b"]),
            "key 'llama.attention.head_count' must be a number, or a number for each layer",
        ),
        ("other", Value::U32(0), "no key 'llama.attention.head_count'"),
    ] {
        let mut writer = Writer::new(Vec::new());
        writer.set_metadata("general.architecture", "llama").unwrap().set_metadata(key, value).unwrap();
        writer.declare_tensor("blk.0.attn_q.weight", &[1, 8], GgmlType::I8).unwrap();
        let mut data = writer.write_header().unwrap();
        data.write_tensor("blk.0.attn_q.weight", &[0; 8]).unwrap();
        let error = exported(&data.finish().unwrap(), None).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn metadata_that_no_gguf_wrote_is_told_by_key() {
    for (text, part) in [
        ("llama", "'k' of the metadata is 'llama', and must be TYPE:VALUE"),
        ("u32:-1", "TYPE:VALUE"),
        ("u32[]:[1,-1]", "TYPE:VALUE"),
        ("u32[]:[1", "TYPE:VALUE"),
        ("bytes:xyz", "TYPE:VALUE"),
        (
            "array[]:[\"array[]:[\\\"array[]:[\\\\\\\"array[]:[\\\\\\\\\\\\\\\"array[]:[]\\\\\\\\\\\\\\\"]\\\\\\\"]\\\"]\"]",
            "TYPE:VALUE",
        ),
    ] {
        let mut writer = gguf_codec::safetensors::Writer::new(Vec::new());
        writer.set_metadata("gguf:k", text);
        let files = checkpoint([writer.write_header().unwrap().finish().unwrap()]).unwrap();
        let error = Import::new(&files, &Description::default()).plan().unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}

/// Each tensor is padded to it, so a few bytes per tensor could cause any number of zeros.
#[test]
fn a_file_may_ask_for_no_more_padding_than_a_gguf() {
    let with = |alignment: u32| {
        let mut writer = gguf_codec::safetensors::Writer::new(Vec::new());
        writer.set_metadata("gguf:general.alignment", &format!("u32:{alignment}"));
        writer.declare_tensor("a", &[1], Dtype::I8).unwrap();
        let mut data = writer.write_header().unwrap();
        data.write_tensor("a", &[7]).unwrap();
        let files = checkpoint([data.finish().unwrap()]).unwrap();
        imported(Import::new(&files, &Description::default()))
    };
    let most = Limits::default().max_alignment;
    assert_eq!(Gguf::parse(with(most).unwrap()).unwrap().alignment(), most);
    let error = with(2 * most).unwrap_err().to_string();
    assert!(error.contains("'general.alignment' of the metadata is 131072, and may be 65536"), "{error}");
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Blocks of NVFP4, and their values.
fn nvfp4(count: usize, step: usize) -> (Vec<u8>, Vec<f32>) {
    let blocks: Vec<u8> = (0..count * 36 / 64).map(|i| (i * step % 113) as u8).collect();
    let mut values = vec![0.0f32; count];
    gguf_codec::dequantize(GgmlType::NVFP4, &blocks, &mut values).unwrap();
    (blocks, values)
}

/// The only tensor of a safetensors file, in F32, that becomes of a model of these tensors.
fn only_tensor(architecture: &str, tensors: &[(&str, &[u64], GgmlType, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    writer.set_metadata("general.architecture", architecture).unwrap();
    writer.set_metadata("llama.attention.head_count", 1u32).unwrap();
    for (name, dims, ty, _) in tensors {
        writer.declare_tensor(name, dims, *ty).unwrap();
    }
    let mut data = writer.write_header().unwrap();
    for (name, _, _, bytes) in tensors {
        data.write_tensor(name, bytes).unwrap();
    }
    let gguf = data.finish().unwrap();
    let model = Gguf::parse(&gguf).unwrap();
    let plan = Export::new(&model, &gguf).ggml_type(GgmlType::F32).plan().unwrap();
    let notes = plan.notes();
    assert!(notes.iter().any(|note| note.contains("multiplied by the factors beside")), "{notes:?}");
    let file = exported_shard(&plan, &plan.shards(None)[0]).unwrap();
    let header = SafeTensors::parse(&file).unwrap();
    assert_eq!(header.tensors().len(), 1, "{architecture}");
    let start = header.tensors().next().unwrap().file_offset() as usize;
    file[start..].to_vec()
}

#[test]
fn weights_are_exported_times_the_factors_beside_them() {
    use GgmlType::{F32, NVFP4};
    let (blocks, mut values) = nvfp4(128, 29);
    let plain = floats(&values);
    // Two rows of a head have the same order in both arrangements of pairs.
    values.iter_mut().for_each(|value| *value *= 0.3);
    // One with rows in the original order, and one whose rows are reordered. Plain values come of converting such a model.
    for (architecture, name, ty, bytes) in [
        ("other", "blk.0.w", NVFP4, &blocks),
        ("llama", "blk.0.attn_q", NVFP4, &blocks),
        ("llama", "blk.0.attn_q", F32, &plain),
    ] {
        let named = |ending: &str| format!("{name}.{ending}");
        let found = only_tensor(
            architecture,
            &[
                (&named("weight"), &[64, 2], ty, bytes.clone()),
                (&named("scale"), &[1], F32, floats(&[0.3])),
                (&named("input_scale"), &[1], F32, floats(&[9.0])),
            ],
        );
        assert!(found == floats(&values), "{name} of {ty}");
    }
}

#[test]
fn weights_that_take_turns_are_times_their_own_factors() {
    use GgmlType::{F32, NVFP4};
    let [(gate, gates), (up, ups)] = [nvfp4(256, 29), nvfp4(256, 31)];
    let found = only_tensor(
        "gpt-oss",
        &[
            ("blk.0.ffn_gate_exps.weight", &[64, 2, 2], NVFP4, gate),
            ("blk.0.ffn_gate_exps.scale", &[2], F32, floats(&[0.5, 3.0])),
            ("blk.0.ffn_up_exps.weight", &[64, 2, 2], NVFP4, up),
            ("blk.0.ffn_up_exps.scale", &[1], F32, floats(&[7.0])),
        ],
    );
    // Columns and rows are exchanged there, and gate and up are alternating rows.
    let mut wanted = Vec::new();
    for (expert, factor) in [(0, 0.5), (1, 3.0)] {
        for column in 0..64 {
            for row in 0..2 {
                let at = expert * 128 + row * 64 + column;
                wanted.extend([gates[at] * factor, ups[at] * 7.0]);
            }
        }
    }
    assert!(found == floats(&wanted));
}

#[test]
fn five_dimensions_become_four_and_five_again() {
    let bytes: Vec<u8> = (0..48).collect();
    let file = super::tensors(&[("patch_embedding.weight", &[2, 3, 1, 2, 2], Dtype::F16, bytes.clone())]);
    let model = checkpoint([file]).unwrap();
    let none = Description::default();
    let plan = Import::new(&model, &none).plan().unwrap();
    assert!(
        plan.notes().iter().any(|note| note.contains("1 tensor has more than 4 dimensions")),
        "{:?}",
        plan.notes()
    );
    let gguf = imported(Import::new(&model, &none)).unwrap();
    let model = Gguf::parse(&gguf).unwrap();
    let tensor = model.tensor("patch_embedding.weight").unwrap();
    assert_eq!((tensor.shape().dims(), tensor.bytes().unwrap()), (&[2, 2, 1, 6][..], &bytes[..]));
    let key = "comfy.gguf.orig_shape.patch_embedding.weight";
    assert_eq!(model.metadata().require::<Vec<i32>>(key).unwrap(), [2, 3, 1, 2, 2]);
    let back = exported(&gguf, None).unwrap();
    let header = SafeTensors::parse(&back[0]).unwrap();
    assert_eq!(header.tensor("patch_embedding.weight").unwrap().shape(), [2, 3, 1, 2, 2]);
    // And back to the same GGUF.
    let model = checkpoint(back).unwrap();
    assert_eq!(imported(Import::new(&model, &none)).unwrap(), gguf);
}
