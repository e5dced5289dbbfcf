//! `tokenizer.json` and its like, written from the metadata of a GGUF.

mod merges;
mod settings;
mod template;
mod tokenizer_json;
mod vocabulary;

pub use settings::tokenizer_config_json;
pub use tokenizer_json::tokenizer_json;

#[cfg(any(unix, windows))]
use crate::Metadata;
#[cfg(any(unix, windows))]
use crate::error::{Error, Result};

#[cfg(any(unix, windows))]
/// The files beside `config.json`, and a note where there is a tokenizer that they cannot have.
pub(super) fn described(
    metadata: Metadata<'_>,
    notes: &mut Vec<String>,
) -> Result<Vec<(&'static str, String)>> {
    let mut files = Vec::new();
    if metadata.contains("tokenizer.ggml.model") {
        let both = || Ok((tokenizer_json(&metadata)?, tokenizer_config_json(&metadata)?));
        match both() {
            Ok((tokenizer, settings)) => {
                files.extend([("tokenizer.json", tokenizer), ("tokenizer_config.json", settings)]);
            }
            Err::<_, Error>(error) => notes.push(format!("there is no tokenizer.json: {error}")),
        }
    }
    files.extend(settings::generation_config_json(metadata)?.map(|text| ("generation_config.json", text)));
    Ok(files)
}
