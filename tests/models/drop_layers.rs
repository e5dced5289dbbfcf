//! Tests of `Edit::drop_layers`: the remaining layers are unchanged, and renumbered without gaps.

#![cfg(all(feature = "std", any(unix, windows)))]

use gguf_codec::model::Edit;
use gguf_codec::{GgmlType, Gguf, Result, Value, Writer};

/// A model whose tensors contain the numbers of their layers.
fn file(architecture: &str, layers: u32, keys: &[(&str, Value)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    writer.set_metadata("general.architecture", architecture).unwrap();
    writer.set_metadata(&format!("{architecture}.block_count"), layers).unwrap();
    for (key, value) in keys {
        // Some keys are called alike in all architectures.
        let prefix = if key.starts_with("xielu.") { String::new() } else { format!("{architecture}.") };
        writer.set_metadata(&format!("{prefix}{key}"), value.clone()).unwrap();
    }
    let names = |layer: u32| [format!("blk.{layer}.a"), format!("v.blk.{layer}.b")];
    let names: Vec<_> = (0..layers).flat_map(|layer| names(layer).map(|name| (name, layer))).collect();
    for (name, _) in &names {
        writer.declare_tensor(name, &[1], GgmlType::I32).unwrap();
    }
    let mut data = writer.write_header().unwrap();
    for (name, layer) in &names {
        data.write_tensor(name, &layer.to_le_bytes()).unwrap();
    }
    data.finish().unwrap()
}

/// The edited file, or the error.
fn without(file: &[u8], layers: &[u32]) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.gguf"), folder.path().join("out.gguf"));
    std::fs::write(&input, file).unwrap();
    let mut edit = Edit::new();
    edit.drop_layers(&Gguf::parse(file)?, layers.iter().copied())?;
    edit.write(&input, &output)?;
    Ok(std::fs::read(&output).unwrap())
}

fn refused(file: &[u8], layers: &[u32]) -> String {
    without(file, layers).unwrap_err().to_string()
}

#[test]
fn the_others_move_up_with_what_belongs_to_them() {
    let keys = [
        ("attention.head_count_kv", Value::from([8u32, 7, 6, 5, 4, 3])),
        ("rope.dimension_sections", [1i32, 2, 3, 4, 5, 6].into()),
        ("other", [1u8, 2, 3].into()),
        ("leading_dense_block_count", 2u32.into()),
        ("nextn_predict_layers", 1u32.into()),
    ];
    let file = file("llama", 6, &keys);
    let edited = without(&file, &[3, 1, 5, 3]).unwrap();
    let model = Gguf::parse(&edited).unwrap();
    assert_eq!(model.require_arch::<u32>("block_count").unwrap(), 3);
    assert_eq!(model.require_arch::<Vec<u32>>("attention.head_count_kv").unwrap(), [8, 6, 4]);
    assert_eq!(model.require_arch::<Vec<u32>>("rope.dimension_sections").unwrap(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(model.require_arch::<Vec<u32>>("other").unwrap(), [1, 2, 3]);
    assert_eq!(model.require_arch::<u32>("leading_dense_block_count").unwrap(), 1);
    assert_eq!(model.require_arch::<u32>("nextn_predict_layers").unwrap(), 0);
    let value = |name: &str| model.tensor(name).unwrap().bytes().unwrap().to_vec();
    assert_eq!([0, 1, 2].map(|layer| value(&format!("blk.{layer}.a"))[0]), [0, 2, 4]);
    // The layers of a vision encoder are different layers.
    assert_eq!(model.tensor_count(), 3 + 6);
    assert_eq!(value("v.blk.5.b")[0], 5);
    // Dropping no layers changes nothing.
    assert_eq!(without(&file, &[]).unwrap(), file);
}

#[test]
fn windows_stay_where_they_were() {
    let windows = |pattern: Option<u32>| {
        let mut keys = vec![("attention.sliding_window", Value::from(512u32))];
        keys.extend(pattern.map(|pattern| ("attention.sliding_window_pattern", pattern.into())));
        file("gemma3", 12, &keys)
    };
    let pattern = |file: Vec<u8>| {
        let model = Gguf::parse(file).unwrap();
        model.metadata().optional_arch::<Vec<bool>>("attention.sliding_window_pattern").unwrap()
    };
    // Every sixth layer attends to the whole context, 5 and 11.
    let wanted = [true, true, true, false, true, true, true, true, true, false];
    assert_eq!(pattern(without(&windows(None), &[0, 3]).unwrap()), Some(wanted.to_vec()));
    assert_eq!(pattern(without(&windows(Some(6)), &[0, 3]).unwrap()), Some(wanted.to_vec()));
    assert_eq!(pattern(without(&windows(None), &[0, 1, 2, 3, 4, 5]).unwrap()), None);
    let line = refused(&file("exaone4", 64, &[("attention.sliding_window", 4096u32.into())]), &[0]);
    assert!(line.contains("63 layers instead of 64, a model of architecture 'exaone4'"), "{line}");
}

#[test]
fn what_depends_on_the_numbers_of_layers_is_refused_or_kept() {
    for (name, period) in
        [("smollm3", 4), ("afmoe", 4), ("llama4", 4), ("modern-bert", 3), ("gemma-embedding", 6)]
    {
        let model = file(name, 12, &[]);
        assert!(refused(&model, &[0]).contains(&format!("repeat every {period}")), "{name}");
        without(&model, &(0..period).collect::<Vec<_>>()).unwrap();
        without(&model, &[11]).unwrap();
    }
    without(&file("llama4", 12, &[("attention.sliding_window", 0u32.into())]), &[0]).unwrap();
    let pictures = file("qwen3vl", 4, &[("n_deepstack_layers", 2u32.into())]);
    assert!(refused(&pictures, &[1]).contains("the first 2"));
    without(&pictures, &[2]).unwrap();
    assert!(refused(&file("gemma2", 46, &[]), &[44, 45]).contains("44 layers instead of 46"));
    assert!(refused(&file("gemma3", 62, &[]), &[61]).contains("61 layers instead of 62"));
    assert!(refused(&file("baichuan", 32, &[]), &[3]).contains("31 layers instead of 32"));
    without(&file("baichuan", 31, &[]), &[3]).unwrap();
    // What no key says, llama.cpp takes for 4.
    assert!(refused(&file("qwen3next", 8, &[]), &[2]).contains("repeat every 4"));
    without(&file("qwen3next", 8, &[("full_attention_interval", 2u32.into())]), &[2, 3]).unwrap();
    let halved = file("rwkv6", 8, &[("rescale_every_n_layers", 2u32.into())]);
    assert!(refused(&halved, &[0, 1]).contains("layer 2 would become 0, and its weights are divided"));
    without(&halved, &[6, 7]).unwrap();
    let edited = without(&file("minicpm", 4, &[]), &[1]).unwrap();
    assert_eq!(Gguf::parse(&edited).unwrap().require_arch::<f32>("residual_scale").unwrap(), 0.7);
}

#[test]
fn several_stacks_of_layers_are_refused() {
    let mut writer = Writer::new(Vec::new());
    writer.set_metadata("general.architecture", "t5").unwrap();
    writer.set_metadata("t5.block_count", 2u32).unwrap();
    for name in ["enc.blk.0.a", "enc.blk.1.a"] {
        writer.declare_tensor(name, &[1], GgmlType::I32).unwrap();
    }
    let mut data = writer.write_header().unwrap();
    for name in ["enc.blk.0.a", "enc.blk.1.a"] {
        data.write_tensor(name, &[0; 4]).unwrap();
    }
    assert!(
        refused(&data.finish().unwrap(), &[1])
            .contains("several stacks of them, such as that of tensor 'enc.blk.0.a'")
    );
}

#[test]
fn only_arrays_of_layers_lose_elements() {
    let labels: Value = ["a", "b", "c", "d"].into();
    let edited = without(&file("bert", 4, &[("classifier.output_labels", labels)]), &[1]).unwrap();
    let model = Gguf::parse(&edited).unwrap();
    assert_eq!(model.require_arch::<Vec<String>>("classifier.output_labels").unwrap().len(), 4);
    assert!(refused(&file("llama", 4, &[("other", [1u8, 2, 3, 4].into())]), &[1]).contains("'llama.other'"));
    let edited =
        without(&file("apertus", 4, &[("xielu.eps", [1.0f32, 2.0, 3.0, 4.0].into())]), &[1]).unwrap();
    let model = Gguf::parse(&edited).unwrap();
    assert_eq!(model.metadata().require::<Vec<f32>>("xielu.eps").unwrap(), [1.0, 3.0, 4.0]);
}

#[test]
fn what_would_be_another_model_is_refused() {
    let plain = file("llama", 4, &[]);
    assert_eq!(refused(&plain, &[4]), "there is no layer 4: the model has 4, numbered from 0");
    assert_eq!(refused(&plain, &[0, 1, 2, 3]), "no layer would be left");
    let mut many = file("llama", 1, &[("x", 1u32.into())]);
    let at = many.windows(11).position(|bytes| bytes == b"block_count").unwrap() + 11 + 4;
    many[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(refused(&many, &[0]).contains("4294967295 layers, and 65536 at most"));
    let hybrid = file("qwen3next", 8, &[("full_attention_interval", 4u32.into())]);
    let line = refused(&hybrid, &[2]);
    assert!(
        line.starts_with(
            "layer 3 would become 2 and be of another kind, since 'full_attention_interval' is 4"
        ),
        "{line}"
    );
    without(&hybrid, &[0, 1, 2, 3]).unwrap();
    // The last layer can always be dropped.
    without(&hybrid, &[7]).unwrap();
    let line = without(
        &Gguf::parse(&plain).map(|_| b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec()).unwrap(),
        &[1],
    );
    assert!(line.unwrap_err().to_string().contains("general.architecture"));
}

#[test]
fn the_size_label_is_that_of_what_is_left() {
    let labelled = |label: Option<&str>| {
        let mut writer = Writer::new(Vec::new());
        writer.set_metadata("general.architecture", "llama").unwrap();
        writer.set_metadata("llama.block_count", 3u32).unwrap();
        writer.set_metadata("llama.expert_count", 2u32).unwrap();
        if let Some(label) = label {
            writer.set_metadata("general.size_label", label).unwrap();
        }
        for layer in 0..3 {
            writer.declare_tensor(&format!("blk.{layer}.attn_q.weight"), &[1000], GgmlType::F32).unwrap();
            let experts = format!("blk.{layer}.ffn_up_exps.weight");
            writer.declare_tensor(&experts, &[100, 10, 2], GgmlType::F32).unwrap();
        }
        let mut data = writer.write_header().unwrap();
        for layer in 0..3 {
            data.write_tensor(&format!("blk.{layer}.attn_q.weight"), &[0; 4000]).unwrap();
            data.write_tensor(&format!("blk.{layer}.ffn_up_exps.weight"), &[0; 8000]).unwrap();
        }
        data.finish().unwrap()
    };
    let label = |file: Vec<u8>| {
        let model = Gguf::parse(file).unwrap();
        model.metadata().optional::<&str>("general.size_label").unwrap().map(str::to_owned)
    };
    assert_eq!(label(without(&labelled(Some("2x6.0K")), &[1]).unwrap()).unwrap(), "2x4.0K");
    assert_eq!(label(without(&labelled(None), &[1]).unwrap()), None);
    // A label that is set at the same time stays what it was set to.
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.gguf"), folder.path().join("out.gguf"));
    std::fs::write(&input, labelled(Some("x"))).unwrap();
    let mut edit = Edit::new();
    edit.set("general.size_label", "mine").drop_layers(&Gguf::read(&input).unwrap(), [0]).unwrap();
    edit.write(&input, &output).unwrap();
    assert_eq!(label(std::fs::read(&output).unwrap()).unwrap(), "mine");
}
