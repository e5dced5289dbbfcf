//! `tokenizer.json` and its like, written from the metadata of a GGUF.

mod merges;
mod settings;
mod template;
mod tokenizer_json;
mod vocabulary;

pub use settings::tokenizer_config_json;
pub use tokenizer_json::tokenizer_json;

#[cfg(all(feature = "std", any(unix, windows)))]
pub(super) use settings::generation_config_json;
