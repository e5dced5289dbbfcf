//! `tokenizer.json` and its like, written from the metadata of a GGUF.

mod merges;
#[cfg(any(unix, windows))]
mod pooling;
mod settings;
mod template;
mod tokenizer_json;
mod vocabulary;

pub use settings::tokenizer_config_json;
pub use tokenizer_json::tokenizer_json;

#[cfg(any(unix, windows))]
use crate::error::{Error, Result};
#[cfg(any(unix, windows))]
use crate::gguf::metadata::Metadata;

#[cfg(any(unix, windows))]
/// The files beside `config.json`, and notes of what they cannot have. `rows` are those of the token embedding.
pub(super) fn described(
    metadata: Metadata<'_>,
    rows: Option<u64>,
    notes: &mut Vec<String>,
) -> Result<Vec<(&'static str, String)>> {
    let mut files = Vec::new();
    if metadata.contains("tokenizer.ggml.model") {
        let mut own = Vec::new();
        let mut both =
            || Ok((tokenizer_json::written(metadata, &mut own)?, settings::settings(&metadata, &mut own)?));
        match both() {
            Ok((tokenizer, settings)) => {
                notes.append(&mut own);
                files.extend([("tokenizer.json", tokenizer), ("tokenizer_config.json", settings)]);
            }
            Err::<_, Error>(error) => notes.push(format!("there is no tokenizer.json: {error}")),
        }
    }
    files.extend(
        settings::generation_config_json(metadata, rows, notes)?.map(|text| ("generation_config.json", text)),
    );
    files.extend(pooling::files(metadata)?);
    Ok(files)
}
