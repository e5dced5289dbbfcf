//! safetensors: untrusted headers, written files, and conversion of models between the formats.
#![cfg(feature = "codecs")]
#![cfg(not(target_family = "wasm"))]

mod adapter;
mod classifiers;
#[path = "../common/mod.rs"]
mod common;
mod config;
mod families;
mod header;
mod import;
mod quantized;
mod required;
mod round_trip;
mod schemes;
mod settings;
mod split;
mod tokenizer;
mod tokenizer_out;
mod writer;

use gguf_codec::model::hf::{Export, ExportPlan, Import};
use gguf_codec::model::{Convert, hf};
use gguf_codec::safetensors::{Checkpoint, Dtype, Writer};
use gguf_codec::{Gguf, Result};

/// A file with this header and a given number of data bytes.
fn file(json: &str, data: usize) -> Vec<u8> {
    let mut file = (json.len() as u64).to_le_bytes().to_vec();
    file.extend(json.as_bytes());
    file.extend((0..data).map(|i| i as u8));
    file
}

/// A file of these tensors, each with its shape outermost first.
fn tensors(tensors: &[(&str, &[u64], Dtype, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (name, shape, dtype, _) in tensors {
        writer.declare_tensor(name, shape, *dtype).unwrap();
    }
    let mut data = writer.write_header().unwrap();
    for (name, .., bytes) in tensors {
        data.write_tensor(name, bytes).unwrap();
    }
    data.finish().unwrap()
}

/// A model of files in memory.
fn checkpoint(files: impl IntoIterator<Item = Vec<u8>>) -> Result<Checkpoint> {
    let file = |(index, bytes): (usize, Vec<u8>)| {
        let len = bytes.len() as u64;
        (format!("file {index}"), Box::new(bytes) as Box<dyn gguf_codec::ReadAt>, len)
    };
    Checkpoint::of(files.into_iter().enumerate().map(file))
}

/// The planned GGUF.
fn imported(import: Import<'_>) -> Result<Vec<u8>> {
    let plan = import.plan()?;
    let mut writer = gguf_codec::Writer::new(Vec::new());
    plan.declare(&mut writer)?;
    let mut data = writer.write_header()?;
    Convert::new().run(&plan.jobs()?, &mut data)?;
    data.finish()
}

fn exported_shard(plan: &ExportPlan<'_>, shard: &hf::Shard) -> Result<Vec<u8>> {
    let mut writer = Writer::new(Vec::new());
    plan.declare(shard, &mut writer)?;
    let mut data = writer.write_header()?;
    Convert::new().run(&plan.jobs(shard)?, &mut data)?;
    data.finish()
}

/// The safetensors files exported from a GGUF.
fn exported(gguf: &Vec<u8>, max_bytes: Option<u64>) -> Result<Vec<Vec<u8>>> {
    let model = Gguf::parse(gguf)?;
    let plan = Export::new(&model, gguf).plan()?;
    plan.shards(max_bytes).iter().map(|shard| exported_shard(&plan, shard)).collect()
}

fn floats(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

/// A tensor: its name, its shape outermost first, its type and its bytes.
type Own<'a> = (&'a str, &'a [u64], Dtype, Vec<u8>);

/// A file of these tensors, and of zeros for the other tensors that the configuration's class has.
fn completed(config: &str, own: &[Own<'_>]) -> Vec<u8> {
    let all = needed(config);
    let mut all: Vec<Own<'_>> = all
        .iter()
        .filter(|(name, _)| {
            let usual = |own: &str| {
                let own = own.strip_prefix("bert.").unwrap_or(own);
                own.replace(".gamma", ".weight").replace(".beta", ".bias")
            };
            own.iter().all(|(own, ..)| usual(own) != *name)
        })
        .map(|(name, shape)| {
            let zeros = vec![0; 4 * shape.iter().product::<u64>() as usize];
            (name.as_str(), shape.as_slice(), Dtype::F32, zeros)
        })
        .collect();
    all.splice(0..0, own.iter().cloned());
    tensors(&all)
}

/// The tensors of the configuration's class, with their shapes.
fn needed(config: &str) -> Vec<(String, Vec<u64>)> {
    let config: serde_json::Value = serde_json::from_str(config).unwrap();
    let number = |key: &str| config[key].as_u64();
    let (width, ff) = (number("hidden_size").unwrap(), number("intermediate_size").unwrap());
    let heads = number("num_attention_heads").unwrap();
    let class = config["architectures"][0].as_str().unwrap();
    let is_starcoder = class.starts_with("Starcoder2");
    let default_dim = if class.starts_with("Qwen3") { 128 } else { width / heads };
    let dim = number("head_dim").unwrap_or(default_dim);
    let (q, kv) = (heads * dim, number("num_key_value_heads").unwrap_or(heads) * dim);
    let rows = number("vocab_size").unwrap();
    let mut all: Vec<(String, Vec<u64>)> = Vec::new();
    let mut add = |name: String, shape: &[u64]| all.push((name, shape.to_vec()));
    if class.starts_with("Bert") {
        let positions = number("max_position_embeddings").unwrap();
        add("embeddings.word_embeddings.weight".into(), &[rows, width]);
        add("embeddings.position_embeddings.weight".into(), &[positions, width]);
        add("embeddings.token_type_embeddings.weight".into(), &[number("type_vocab_size").unwrap(), width]);
        let mut both = |name: String, shape: &[u64]| {
            add(format!("{name}.weight"), shape);
            add(format!("{name}.bias"), &shape[..1]);
        };
        both("embeddings.LayerNorm".into(), &[width]);
        for layer in 0..number("num_hidden_layers").unwrap() {
            let at = format!("encoder.layer.{layer}");
            for part in ["self.query", "self.key", "self.value", "output.dense"] {
                both(format!("{at}.attention.{part}"), &[width, width]);
            }
            both(format!("{at}.attention.output.LayerNorm"), &[width]);
            both(format!("{at}.intermediate.dense"), &[ff, width]);
            both(format!("{at}.output.dense"), &[width, ff]);
            both(format!("{at}.output.LayerNorm"), &[width]);
        }
        return all;
    }
    add("model.embed_tokens.weight".into(), &[rows, width]);
    for layer in 0..number("num_hidden_layers").unwrap() {
        let at = format!("model.layers.{layer}");
        add(format!("{at}.input_layernorm.weight"), &[width]);
        for (part, rows, len) in [("q", q, width), ("k", kv, width), ("v", kv, width), ("o", width, q)] {
            add(format!("{at}.self_attn.{part}_proj.weight"), &[rows, len]);
            if class.starts_with("Qwen3") && matches!(part, "q" | "k") {
                add(format!("{at}.self_attn.{part}_norm.weight"), &[dim]);
            }
            if is_starcoder || class.starts_with("Qwen2") && part != "o" {
                add(format!("{at}.self_attn.{part}_proj.bias"), &[rows]);
            }
        }
        add(format!("{at}.post_attention_layernorm.weight"), &[width]);
        if is_starcoder {
            for norm in ["input_layernorm", "post_attention_layernorm"] {
                add(format!("{at}.{norm}.bias"), &[width]);
            }
            for (part, rows, len) in [("fc", ff, width), ("proj", width, ff)] {
                add(format!("{at}.mlp.c_{part}.weight"), &[rows, len]);
                add(format!("{at}.mlp.c_{part}.bias"), &[rows]);
            }
            continue;
        }
        for (part, rows, len) in [("gate", ff, width), ("up", ff, width), ("down", width, ff)] {
            add(format!("{at}.mlp.{part}_proj.weight"), &[rows, len]);
        }
    }
    add("model.norm.weight".into(), &[width]);
    if is_starcoder {
        add("model.norm.bias".into(), &[width]);
    }
    if config["tie_word_embeddings"] != true {
        add("lm_head.weight".into(), &[rows, width]);
    }
    all
}
