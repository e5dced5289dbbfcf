//! `from-safetensors` and `to-safetensors`: the converted files, and files that existed before.

use std::fs;

use gguf_codec::safetensors::{Checkpoint, SafeTensors};
use gguf_codec::{ByteOrder, GgmlType, Gguf, Value, Writer};

use crate::support::*;

/// A Llama of one layer: two matrices and a norm.
fn llama() -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    writer.set_metadata("general.architecture", "llama").unwrap();
    for (key, value) in [
        ("attention.head_count", 2u32),
        ("embedding_length", 32),
        ("feed_forward_length", 64),
        ("block_count", 1),
        ("context_length", 128),
    ] {
        writer.set_metadata(&format!("llama.{key}"), value).unwrap();
    }
    writer.set_metadata("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5)).unwrap();
    writer.set_metadata("tokenizer.ggml.tokens", ["a", "b"]).unwrap();
    let tensors: [(&str, &[u64], GgmlType); 3] = [
        ("token_embd.weight", &[32, 2], GgmlType::F16),
        ("blk.0.attn_q.weight", &[32, 32], GgmlType::F16),
        ("output_norm.weight", &[32], GgmlType::F32),
    ];
    for (name, dims, ty) in tensors {
        writer.declare_tensor(name, dims, ty).unwrap();
    }
    let mut data = writer.write_header().unwrap();
    for (name, dims, _) in tensors {
        let mut out = data.begin(name).unwrap();
        out.write_values(&wave(dims.iter().product::<u64>() as usize), None).unwrap();
        out.finish().unwrap();
    }
    data.finish().unwrap()
}

#[test]
fn a_model_comes_back_to_the_byte_from_a_file_and_from_a_folder() {
    let folder = Folder::new();
    let input = folder.file("in.gguf", llama());
    let (file, shards, back) = (folder.path("m.safetensors"), folder.path("m"), folder.path("back.gguf"));
    let summary = works("to-safetensors", &[&input, &file]);
    assert!(summary.contains("3 tensors in 1 file, 2,304 bytes of data"), "{summary}");
    works("from-safetensors", &[&file, &back]);
    assert_eq!(fs::read(&back).unwrap(), llama());

    let summary = works("to-safetensors", &[&input, &shards, "--max-size", "2K"]);
    assert!(summary.contains("3 tensors in 3 files"), "{summary}");
    let json = works("to-safetensors", &[&input, &folder.path("j"), "--max-size", "2K", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["tensors"], &json["bytes"], &json["files"][2]["bytes"]),
        (&3.into(), &2304.into(), &128.into())
    );
    assert_eq!(json["files"][0]["name"], "model-00001-of-00003.safetensors");
    let mut names: Vec<_> = fs::read_dir(&shards).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    let wanted = [
        "config.json",
        "model-00001-of-00003.safetensors",
        "model-00002-of-00003.safetensors",
        "model-00003-of-00003.safetensors",
        "model.safetensors.index.json",
    ];
    assert_eq!(names, wanted);
    works("from-safetensors", &[&shards, &back]);
    assert_eq!(fs::read(&back).unwrap(), llama());
    let config: serde_json::Value =
        serde_json::from_slice(&fs::read(format!("{shards}/config.json")).unwrap()).unwrap();
    assert_eq!(config["architectures"][0], "LlamaForCausalLM");
    assert_eq!((&config["vocab_size"], &config["rms_norm_eps"]), (&2.into(), &1e-5.into()));
    assert_eq!(config["tie_word_embeddings"], true);

    // An empty folder is accepted like a missing one; a single file has no index.
    let empty = folder.path("empty");
    fs::create_dir(&empty).unwrap();
    works("to-safetensors", &[&input, &empty, "--max-size", "1G"]);
    assert!(fs::exists(format!("{empty}/model.safetensors")).unwrap());
    assert_eq!(Checkpoint::open(&empty).unwrap().file_count(), 1);
}

#[test]
fn a_folder_of_hugging_face_becomes_a_model_and_says_what_it_lacks() {
    let folder = Folder::new();
    let input = folder.file("in.gguf", llama());
    let hf = folder.path("hf");
    works("to-safetensors", &[&input, &hf]);
    // As other programs write it: without the metadata of a GGUF.
    let map = folder.file("map", "other.{}.* o.{}.*\n* *\n");
    let file = fs::read(format!("{hf}/model.safetensors")).unwrap();
    let header = SafeTensors::parse(&file).unwrap();
    let mut writer = gguf_codec::safetensors::Writer::new(Vec::new());
    for tensor in header.tensors() {
        writer.declare_tensor(tensor.name(), tensor.shape(), tensor.dtype()).unwrap();
    }
    // What this small model lacks for a complete one.
    let at = "model.layers.0";
    let others: [(String, &[u64]); 8] = [
        (format!("{at}.self_attn.k_proj.weight"), &[32, 32]),
        (format!("{at}.self_attn.v_proj.weight"), &[32, 32]),
        (format!("{at}.self_attn.o_proj.weight"), &[32, 32]),
        (format!("{at}.mlp.gate_proj.weight"), &[64, 32]),
        (format!("{at}.mlp.up_proj.weight"), &[64, 32]),
        (format!("{at}.mlp.down_proj.weight"), &[32, 64]),
        (format!("{at}.input_layernorm.weight"), &[32]),
        (format!("{at}.post_attention_layernorm.weight"), &[32]),
    ];
    for (name, shape) in &others {
        writer.declare_tensor(name, shape, gguf_codec::safetensors::Dtype::F16).unwrap();
    }
    let mut data = writer.write_header().unwrap();
    for tensor in header.tensors() {
        let start = tensor.file_offset() as usize;
        data.write_tensor(tensor.name(), &file[start..start + tensor.byte_len() as usize]).unwrap();
    }
    for (name, shape) in &others {
        data.write_tensor(name, &vec![0; 2 * shape.iter().product::<u64>() as usize]).unwrap();
    }
    fs::write(format!("{hf}/model.safetensors"), data.finish().unwrap()).unwrap();
    let out = folder.path("out.gguf");
    let summary = works("from-safetensors", &[&hf, &out, "--type", "q8_0"]);
    assert!(
        summary
            .contains("note: there is no tokenizer.json: the model has no tokenizer, and llama.cpp does not"),
        "{summary}"
    );
    let model = Gguf::parse(fs::read(&out).unwrap()).unwrap();
    assert_eq!(model.metadata().require::<&str>("general.name").unwrap(), "Hf");
    assert_eq!(model.tensor("blk.0.attn_q.weight").unwrap().ggml_type(), GgmlType::Q8_0);
    assert_eq!(model.tensor("output_norm.weight").unwrap().ggml_type(), GgmlType::F32);

    works("from-safetensors", &[&hf, &out, "--names", &map]);
    let model = Gguf::parse(fs::read(&out).unwrap()).unwrap();
    assert!(model.tensor("model.norm.weight").is_ok());
    let map = folder.file("map", "model.norm.* -\n");
    let summary = works("from-safetensors", &[&hf, &out, "--names", &map]);
    assert!(summary.contains("10 tensors\n  left out: model.norm.weight\n"), "{summary}");
    let json = works("from-safetensors", &[&hf, &out, "--names", &map, "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["tensors"], &json["left_out"][0]), (&10.into(), &"model.norm.weight".into()));
    assert_eq!(json["bytes"], fs::metadata(&out).unwrap().len());
    assert!(
        json["notes"][0]
            .as_str()
            .unwrap()
            .starts_with("there is no tokenizer.json: the model has no tokenizer")
    );
}

/// Runs a tool, which must fail, leave existing files unchanged, and leave no other file.
fn leaves_everything(folder: &Folder, name: &str, args: &[&str], out: &str) -> String {
    let (before, was) = (folder.names(), fs::read(out).ok());
    let line = fails(name, args);
    assert_eq!(fs::read(out).ok(), was, "{line}");
    assert_eq!(folder.names(), before, "{line}");
    line
}

#[test]
fn shards_become_the_files_and_the_model_that_the_whole_becomes() {
    let folder = Folder::new();
    let (whole, file) = (folder.file("in.gguf", llama()), folder.path("m.safetensors"));
    works("split", &[&whole, &folder.path("shard"), "--max-tensors", "1"]);
    let first = folder.path("shard-00001-of-00003.gguf");
    let summary = works("to-safetensors", &[&first, &file]);
    assert!(summary.contains("3 tensors in 1 file, 2,304 bytes of data"), "{summary}");
    let back = folder.path("back.gguf");
    works("from-safetensors", &[&file, &back]);
    assert_eq!(fs::read(&back).unwrap(), llama());
    let of_whole = folder.path("whole.safetensors");
    works("to-safetensors", &[&whole, &of_whole]);
    assert_eq!(fs::read(&file).unwrap(), fs::read(&of_whole).unwrap());
    let line = fails("to-safetensors", &[&folder.path("shard-00002-of-00003.gguf"), &back]);
    assert!(line.contains("shard-00002-of-00003.gguf"), "{line}");
}

#[test]
fn what_config_json_cannot_say_is_noted() {
    let folder = Folder::new();
    let mut writer = Writer::new(Vec::new());
    let input = llama();
    let model = Gguf::parse(&input).unwrap();
    writer.copy_metadata_from(&model).unwrap();
    writer.set_metadata("llama.rope.scaling.type", "longrope").unwrap();
    for tensor in model.tensors() {
        writer.declare_tensor(tensor.name(), tensor.shape().dims(), tensor.ggml_type()).unwrap();
    }
    let mut data = writer.write_header().unwrap();
    for tensor in model.tensors() {
        data.write_tensor(tensor.name(), tensor.tensor().unwrap().bytes().unwrap()).unwrap();
    }
    let input = folder.file("in.gguf", data.finish().unwrap());
    let summary = works("to-safetensors", &[&input, &folder.path("out")]);
    assert!(summary.contains("\n  note: config.json lacks the rope scaling 'longrope'"), "{summary}");
    let json = works("to-safetensors", &[&input, &folder.path("json"), "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(json["notes"][0].as_str().unwrap().contains("'longrope'"), "{json}");
    // A single file has no config.json next to it.
    let summary = works("to-safetensors", &[&input, &folder.path("out.safetensors")]);
    assert_eq!(summary.lines().count(), 1, "{summary}");
}

#[test]
fn values_beyond_the_range_of_their_type_leave_everything() {
    let folder = Folder::new();
    // Two blocks with a scale of 1000 and a quant of 127 each, whose product F16 cannot represent.
    let mut block = vec![0; 34];
    block[..2].copy_from_slice(&half::f16::from_f32(1000.0).to_le_bytes());
    block[2] = 127;
    let blocks = [&block[..], &block].concat();
    let input = folder.file("in.gguf", model(ByteOrder::Little, &[("w", &[32, 2], GgmlType::Q8_0, &blocks)]));
    let (file, gguf) =
        (folder.file("out.safetensors", "what was there"), folder.file("out.gguf", "what was there"));
    let line = leaves_everything(&folder, "to-safetensors", &[&input, &file], &file);
    let wanted = "tensor 'w': 2 values beyond the range of F16 (BF16 and F32 have wider ones)";
    assert_eq!(line, wanted);
    let out = folder.path("folder");
    assert_eq!(leaves_everything(&folder, "to-safetensors", &[&input, &out], &out), wanted);
    for ty in ["BF16", "F32"] {
        works("to-safetensors", &[&input, &file, "--type", ty]);
        let line = leaves_everything(&folder, "from-safetensors", &[&file, &gguf, "--type", "F16"], &gguf);
        assert_eq!(line, wanted);
    }
    let big = folder
        .file("big.gguf", model(ByteOrder::Little, &[("w", &[32, 2], GgmlType::F32, &floats(&[1e9; 64]))]));
    works("to-safetensors", &[&big, &file]);
    let line = leaves_everything(&folder, "from-safetensors", &[&file, &gguf, "--type", "Q8_0"], &gguf);
    assert_eq!(line, "tensor 'w': 2 blocks beyond the range of Q8_0");
}

#[test]
fn a_part_of_a_model_is_refused() {
    let folder = Folder::new();
    let (input, shards) = (folder.file("in.gguf", llama()), folder.path("m"));
    works("to-safetensors", &[&input, &shards, "--max-size", "2K"]);
    let out = folder.file("out.gguf", "what was there");
    let second = format!("{shards}/model-00002-of-00003.safetensors");
    let line = leaves_everything(&folder, "from-safetensors", &[&second, &out], &out);
    assert!(line.contains("a file of 3 is not the model: open the index"), "{line}");
    fs::remove_file(format!("{shards}/model.safetensors.index.json")).unwrap();
    fs::remove_file(second).unwrap();
    let line = leaves_everything(&folder, "from-safetensors", &[&shards, &out], &out);
    assert!(line.contains("1 is missing, the first of them 'model-00002-of-00003.safetensors'"), "{line}");
}

#[test]
fn bad_input_is_one_line_and_leaves_everything() {
    let folder = Folder::new();
    let (input, junk) = (folder.file("in.gguf", llama()), folder.file("junk.safetensors", "junk"));
    let (out, missing) = (folder.file("out", "what was there"), folder.path("missing"));
    let from = |args: &[&str]| leaves_everything(&folder, "from-safetensors", args, &out);
    let line = from(&[&junk, &out]);
    assert_eq!(line.matches("junk.safetensors").count(), 1, "{line}");
    assert!(line.contains("byte 0: a file of 4 bytes"), "{line}");
    assert_eq!(from(&[&missing, &out]).matches("missing").count(), 1);
    assert!(from(&[&junk]).contains("<OUT>"));
    assert!(from(&[&junk, &out, "--type", "Q9"]).contains("possible values"));
    let map = folder.file("map", "a b c\n");
    let good = folder.path("good.safetensors");
    works("to-safetensors", &[&input, &good]);
    let line = from(&[&good, &out, "--names", &map]);
    assert!(line.contains("map': line 1 of the names, 'a b c', must be two names"), "{line}");
    assert!(from(&[&good, &out, "--names", &missing]).contains("cannot read"));
    // A value that its type cannot represent is found when the file is half written.
    let bad = floats(&[f32::NAN; 64]);
    let nan = folder.file("nan.gguf", model(ByteOrder::Little, &[("w", &[32, 2], GgmlType::F32, &bad)]));
    let file = folder.path("nan.safetensors");
    works("to-safetensors", &[&nan, &file]);
    let line = leaves_everything(&folder, "from-safetensors", &[&file, &out, "--type", "Q8_0"], &out);
    assert!(line.contains("tensor 'w': value 0") && line.contains("is NaN"), "{line}");

    let out = folder.file("out.safetensors", "what was there");
    let to = |args: &[&str]| leaves_everything(&folder, "to-safetensors", args, &out);
    assert!(to(&[&junk, &out]).contains("junk.safetensors"));
    assert!(to(&[&input, &out, "--type", "Q8_0"]).contains("[possible values: F16, F32, BF16]"));
    let line = to(&[&input, &out, "--max-size", "1K"]);
    assert!(line.contains("is one file, and 3 are asked for") && line.contains("give a folder"), "{line}");
    for size in ["0", "-1", "5X", "99999999999G"] {
        let line = to(&[&input, &out, &format!("--max-size={size}")]);
        assert!(line.contains("a size is a number above 0"), "{line}");
    }
    let full = folder.path("full");
    fs::create_dir(&full).unwrap();
    fs::write(format!("{full}/other"), "").unwrap();
    assert!(to(&[&input, &full]).contains("full' is a folder that is not empty"));
    assert!(to(&[&input, &input]).contains("no input is overwritten"));
    assert!(to(&[&input, &format!("{missing}/sub/out")]).contains("there is no folder"));
    let line = to(&[&input, &junk.replace("junk.safetensors", "out")]);
    assert!(line.ends_with("out' is not a folder (the name of a file ends with .safetensors)"), "{line}");
}

/// A Llama of one layer. Its up projection is FP8 with a scale for each row, and its gate is packed 4-bit integers.
pub(crate) fn quantized(folder: &Folder) -> String {
    use gguf_codec::safetensors::Dtype;
    let hf = folder.path("hf");
    fs::create_dir(&hf).unwrap();
    let config = r#"{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 256, "intermediate_size": 512,
        "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
        "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "vocab_size": 64, "tie_word_embeddings": true, "dtype": "bfloat16",
        "quantization_config": {"quant_method": "compressed-tensors"}}"#;
    fs::write(format!("{hf}/config.json"), config).unwrap();
    let at = "model.layers.0";
    let halves = |count: usize| {
        wave(count).iter().flat_map(|value| ((value.to_bits() >> 16) as u16).to_le_bytes()).collect()
    };
    let bytes = |count: usize| (0..count).map(|at| (at * 37 % 119) as u8).collect::<Vec<u8>>();
    let extents = [512u64, 256].iter().flat_map(|extent| extent.to_le_bytes()).collect();
    let mut tensors: Vec<(String, Vec<u64>, Dtype, Vec<u8>)> = vec![
        (format!("{at}.mlp.up_proj.weight"), vec![512, 256], Dtype::F8_E4M3, bytes(512 * 256)),
        (format!("{at}.mlp.up_proj.weight_scale"), vec![512, 1], Dtype::BF16, [0x00, 0x3c].repeat(512)),
        (format!("{at}.mlp.gate_proj.weight_packed"), vec![512, 32], Dtype::I32, bytes(512 * 128)),
        (format!("{at}.mlp.gate_proj.weight_scale"), vec![512, 8], Dtype::BF16, [0x00, 0x3c].repeat(512 * 8)),
        (format!("{at}.mlp.gate_proj.weight_shape"), vec![2], Dtype::I64, extents),
    ];
    let plain: [(&str, &[u64]); 9] = [
        ("model.embed_tokens.weight", &[64, 256]),
        ("model.norm.weight", &[256]),
        ("model.layers.0.input_layernorm.weight", &[256]),
        ("model.layers.0.post_attention_layernorm.weight", &[256]),
        ("model.layers.0.self_attn.q_proj.weight", &[256, 256]),
        ("model.layers.0.self_attn.k_proj.weight", &[128, 256]),
        ("model.layers.0.self_attn.v_proj.weight", &[128, 256]),
        ("model.layers.0.self_attn.o_proj.weight", &[256, 256]),
        ("model.layers.0.mlp.down_proj.weight", &[256, 512]),
    ];
    for (name, shape) in plain {
        let values = halves(shape.iter().product::<u64>() as usize);
        tensors.push((name.to_owned(), shape.to_vec(), Dtype::BF16, values));
    }
    let mut writer = gguf_codec::safetensors::Writer::new(Vec::new());
    for (name, shape, dtype, _) in &tensors {
        writer.declare_tensor(name, shape, *dtype).unwrap();
    }
    let mut data = writer.write_header().unwrap();
    for (name, .., bytes) in &tensors {
        data.write_tensor(name, bytes).unwrap();
    }
    fs::write(format!("{hf}/model.safetensors"), data.finish().unwrap()).unwrap();
    hf
}

#[test]
fn one_pass_makes_the_bytes_of_two_and_of_three() {
    let folder = Folder::new();
    let hf = quantized(&folder);
    let [stored, two, one] = ["stored.gguf", "two.gguf", "one.gguf"].map(|name| folder.path(name));
    let summary = works("from-safetensors", &[&hf, &stored, "--report"]);
    for line in [
        "1 weight to Q4_0, exact",
        "1 weight to BF16, requantized (RMSE",
        "blk.0.ffn_gate.weight: Q4_0, exact",
    ] {
        assert!(summary.contains(line), "{line}: {summary}");
    }
    works("quantize", &[&stored, &two, "--recipe", "Q4_K_M", "--allow-requantize"]);
    works("from-safetensors", &[&hf, &one, "--recipe", "q4_k_m"]);
    assert_eq!(fs::read(&one).unwrap(), fs::read(&two).unwrap());
    works("split", &[&two, &folder.path("two"), "--max-size", "200K"]);
    let summary = works("from-safetensors", &[&hf, &one, "--recipe", "Q4_K_M", "--max-size", "200K"]);
    assert!(summary.contains("one-00001-of-"), "{summary}");
    let mut shards = 0;
    for entry in fs::read_dir(folder.path("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(rest) = name.strip_prefix("two-") {
            assert_eq!(
                fs::read(folder.path(&name)).unwrap(),
                fs::read(folder.path(&format!("one-{rest}"))).unwrap(),
                "{name}"
            );
            shards += 1;
        }
    }
    assert!(shards > 1);
    // The same without a recipe.
    let whole = folder.path("whole.gguf");
    works("from-safetensors", &[&hf, &folder.path("cut.gguf"), "--max-size", "200K"]);
    let first = fs::read_dir(folder.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().unwrap().to_string_lossy().starts_with("cut-00001-of-"));
    works("merge", &[first.unwrap().to_str().unwrap(), &whole]);
    assert_eq!(fs::read(&whole).unwrap(), fs::read(&stored).unwrap());
    // And exported again, with the codes unchanged.
    works("to-safetensors", &[&stored, &folder.path("out"), "--quantized", "compressed-tensors"]);
    let config = fs::read_to_string(folder.path("out/config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    let group = &config["quantization_config"]["config_groups"]["group_0"];
    assert_eq!(group["targets"], serde_json::json!(["model.layers.0.mlp.gate_proj"]));
    works("from-safetensors", &[&folder.path("out"), &folder.path("again.gguf")]);
    assert_eq!(fs::read(folder.path("again.gguf")).unwrap(), fs::read(&stored).unwrap());
}
