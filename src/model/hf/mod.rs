//! Models of Hugging Face: from safetensors to GGUF, as llama.cpp's converter makes them, and back.
//!
//! [`Import`] plans a GGUF from a [`Checkpoint`](crate::safetensors::Checkpoint) and its [`Description`]: names, types,
//! metadata, the tokenizer, and the order of rows that llama.cpp wants of Llama's queries and keys. [`Export`] plans
//! safetensors files from a GGUF, and puts its metadata into them, so that the way back gives the same model. Both are carried
//! out by [`Convert`](super::Convert); `FromSafetensors` and `ToSafetensors` are the whole job in one call. A [`NameMap`], or any function, adds names to those of the families that are known: Llama
//! (with Mistral and Mixtral), Qwen2 and 3, Gemma 2 and 3, Phi-3, gpt-oss, DeepSeek V2 and V3, SmolLM3, Granite, StarCoder2, BERT,
//! XLM-RoBERTa and ModernBERT.

mod adapter;
mod adapter_checks;
mod adapter_names;
mod adapter_settings;
mod back;
mod carried;
mod charsmap;
mod class;
mod composed;
mod compressed;
mod config;
mod config_of;
mod description;
mod export;
mod export_plan;
mod families;
#[cfg(all(feature = "std", any(unix, windows)))]
mod from_safetensors;
mod groups;
mod heads;
mod import;
mod import_metadata;
mod import_plan;
mod json;
mod label;
mod names;
mod per_layer;
mod pieces;
mod planned;
mod pre_tokenizer;
mod quantized;
mod required;
mod reranker;
mod reranker_keys;
mod rope;
mod rows;
mod sentencepiece;
mod special_tokens;
mod steps;
mod stored;
#[cfg(all(feature = "std", any(unix, windows)))]
mod to_safetensors;
mod tokenizer;
mod unigram;
mod written;
mod yarn;

pub use carried::{CarriedWeight, Fidelity};
pub use description::Description;
pub use export::Export;
pub use export_plan::{ExportPlan, Shard};
#[cfg(all(feature = "std", any(unix, windows)))]
pub use from_safetensors::{FromSafetensors, ImportReport};
pub use import::Import;
#[cfg(all(feature = "std", any(unix, windows)))]
pub use import_plan::Converted;
pub use import_plan::ImportPlan;
pub use names::{NameMap, Renamed};
#[cfg(all(feature = "std", any(unix, windows)))]
pub use to_safetensors::{ExportReport, ToSafetensors};
pub use written::{tokenizer_config_json, tokenizer_json};
