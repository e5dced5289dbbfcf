//! Finds models in the stores of other programs, by the names that these programs use.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value as Json;

/// Where a model is found.
pub(crate) enum Place {
    File(PathBuf),
    Url(String),
}

/// Resolves a name: `ollama:model:tag` in Ollama's store, `hf:org/repo/file.gguf` in the cache of Hugging Face's programs or else on
/// the hub, or a URL. Any other name is a path, and so is the name of an existing file.
pub(crate) fn resolved(name: &Path) -> Result<Place> {
    let text = name.to_string_lossy();
    if name.exists() {
        return Ok(Place::File(name.to_owned()));
    }
    if text.contains("://") {
        return Ok(Place::Url(text.into_owned()));
    }
    let place = match text.split_once(':') {
        Some(("ollama", model)) => ollama(model).map(Place::File),
        Some(("hf", file)) => hugging_face(file),
        _ => return Ok(Place::File(name.to_owned())),
    };
    place.with_context(|| format!("'{text}'"))
}

const HUB: &str = "https://huggingface.co";

fn home() -> Result<PathBuf> {
    let home = std::env::var_os("HOME").or_else(|| std::env::var_os("USERPROFILE"));
    home.map(PathBuf::from).context("there is no home folder")
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Whether a name is a single path component.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['\\', '\0'])
}

/// `[host/][namespace/]model[:tag]`.
fn ollama(model: &str) -> Result<PathBuf> {
    let (model, tag) = match model.rsplit_once(':') {
        Some((model, tag)) if !tag.contains('/') => (model, tag),
        _ => (model, "latest"),
    };
    let parts: Vec<_> = model.split('/').collect();
    let (host, namespace, model) = match parts.as_slice() {
        [model] => ("registry.ollama.ai", "library", *model),
        [namespace, model] => ("registry.ollama.ai", *namespace, *model),
        [host, namespace, model] => (*host, *namespace, *model),
        _ => bail!("a model in Ollama's store is called [HOST/][NAMESPACE/]MODEL[:TAG]"),
    };
    ensure!([host, namespace, model, tag].into_iter().all(is_plain), "a part of the name is none");
    let root = match variable("OLLAMA_MODELS") {
        Some(root) => root,
        None => home()?.join(".ollama").join("models"),
    };
    let manifest =
        [host, namespace, model, tag].iter().fold(root.join("manifests"), |path, part| path.join(part));
    let text = std::fs::read_to_string(&manifest)
        .with_context(|| format!("Ollama's store has no such model: cannot read '{}'", manifest.display()))?;
    let json: Json = serde_json::from_str(&text).with_context(|| format!("'{}'", manifest.display()))?;
    let layers = json["layers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_model = |layer: &&Json| layer["mediaType"] == "application/vnd.ollama.image.model";
    let digest = layers.iter().find(is_model).and_then(|layer| layer["digest"].as_str());
    let digest = digest.with_context(|| format!("'{}' names no model", manifest.display()))?;
    let hash =
        digest.strip_prefix("sha256:").filter(|hash| hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let hash = hash.with_context(|| format!("'{}' has a digest that is none", manifest.display()))?;
    Ok(root.join("blobs").join(format!("sha256-{hash}")))
}

/// `org/repo/file`, in the cached snapshot of the branch `main`, or else on the hub.
fn hugging_face(file: &str) -> Result<Place> {
    let parts: Vec<_> = file.split('/').collect();
    let [org, repo, path @ ..] = parts.as_slice() else { bail!("a file is called hf:ORG/REPO/FILE") };
    ensure!(!path.is_empty(), "a file is called hf:ORG/REPO/FILE");
    ensure!(parts.iter().all(|part| is_plain(part)), "a part of the name is none");
    let cache = match (variable("HF_HUB_CACHE"), variable("HF_HOME")) {
        (Some(cache), _) => cache,
        (None, Some(root)) => root.join("hub"),
        (None, None) => home()?.join(".cache").join("huggingface").join("hub"),
    };
    let folder = cache.join(format!("models--{org}--{repo}"));
    // If nothing was fetched, use the hub.
    if let Ok(commit) = std::fs::read_to_string(folder.join("refs").join("main")) {
        let commit = commit.trim();
        ensure!(is_plain(commit) && !commit.contains('/'), "the cache has a branch that is none");
        let found = path.iter().fold(folder.join("snapshots").join(commit), |folder, part| folder.join(part));
        if found.exists() {
            return Ok(Place::File(found));
        }
    }
    let hub =
        variable("HF_ENDPOINT").map_or_else(|| HUB.to_owned(), |hub| hub.to_string_lossy().into_owned());
    let parts = [org, repo].into_iter().chain(&["resolve", "main"]).chain(path);
    Ok(Place::Url(
        parts.fold(hub.trim_end_matches('/').to_owned(), |url, part| url + "/" + &percent_encoded(part)),
    ))
}

/// Whether a URL belongs to the hub that [`resolved`] uses, which may get the user's token.
pub(crate) fn is_of_hub(url: &str) -> bool {
    let hub =
        variable("HF_ENDPOINT").map_or_else(|| HUB.to_owned(), |hub| hub.to_string_lossy().into_owned());
    url.strip_prefix(hub.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'))
}

fn percent_encoded(part: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    part.bytes().map(encode).collect()
}
