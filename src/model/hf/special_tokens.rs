//! Ids of tokens with a meaning, whether they are added to a text, and the chat template.

use super::description::Description;
use super::json::Node;
use super::tokenizer::{Tokenizer, added_tokens};
use crate::error::Result;
use crate::gguf::value::{Array, Value};

/// Meanings as Hugging Face names them, and as the key of the id does, which GGUF misspells.
const MEANINGS: [(&str, Option<&str>); 7] = [
    ("bos", Some("bos")),
    ("eos", Some("eos")),
    ("unk", Some("unknown")),
    ("sep", Some("seperator")),
    ("pad", Some("padding")),
    // GGUF has no key for it.
    ("cls", None),
    ("mask", Some("mask")),
];

/// Tokens that text is put between, by the template of `tokenizer.json`.
#[derive(Default)]
struct Template {
    first: Option<String>,
    last: Option<String>,
    /// The token between two texts, where they have one and none at the end, or one more.
    separator: Option<Option<String>>,
    found: bool,
    /// A kind that adds all of them.
    roberta: bool,
}

pub(super) fn special_tokens(description: &Description, root: &Node<'_>, out: &mut Tokenizer) -> Result<()> {
    let config = description.tokenizer_config.as_ref().map(|config| config.root());
    let template = template(root)?;
    let named = |meaning: &str| -> Option<String> {
        let token = config.as_ref()?.get(&format!("{meaning}_token"))?;
        let text = token.value.as_str().or_else(|| token.value.get("content")?.as_str());
        text.map(str::to_owned)
    };
    // Encoders begin and end with tokens of their own.
    let bos = named("bos").or_else(|| named("cls"));
    let mut eos = named("eos").or_else(|| named("sep"));
    let mut eot = None;
    let (mut adds_bos, mut adds_eos, mut adds_sep) = (None, None, None);
    if template.roberta {
        (adds_bos, adds_eos, adds_sep) = (Some(true), Some(true), Some(true));
    }
    if template.found {
        if let Some(first) = &template.first {
            adds_bos =
                Some(config.is_none() || bos.as_ref() == Some(first) || named("cls").as_ref() == Some(first));
        }
        if let Some(last) = &template.last {
            if config.is_some() && eos.as_ref() != Some(last) {
                eot = eos.replace(last.clone());
            }
            adds_eos = Some(true);
        }
        // llama.cpp adds no other, such as a second bos token.
        let separators = [named("sep"), named("eos")];
        let adds = |token: &Option<String>| token.is_some() && separators.contains(token);
        adds_sep = template.separator.as_ref().map(adds).or(adds_sep);
    }
    let added = added_tokens(root, description)?;
    let id_of = |text: &str| added.iter().rev().find(|(_, content, _)| content == text).map(|(id, ..)| *id);
    let model = description.config.as_ref().map(|config| config.root());
    let mut missing = Vec::new();
    for (meaning, key) in MEANINGS {
        let text = match meaning {
            "bos" => bos.clone(),
            "eos" => eos.clone(),
            meaning => named(meaning),
        };
        let Some(key) = key else { continue };
        match text.as_deref().filter(|_| config.is_some()).and_then(id_of) {
            Some(id) => out.push(&format!("ggml.{key}_token_id"), id),
            None => missing.push((meaning, key)),
        }
    }
    for (meaning, key) in missing {
        let id = model.as_ref().and_then(|model| model.get(&format!("{meaning}_token_id")));
        // A number, where it is not a list of several.
        if let Some(id) = id.and_then(|id| id.u32().ok()) {
            out.push(&format!("ggml.{key}_token_id"), id);
        }
    }
    if let Some(id) = eot.as_deref().and_then(id_of) {
        out.push("ggml.eot_token_id", id);
    }
    // As the converter meets them: those of the template first.
    let mut all = [("bos", adds_bos), ("eos", adds_eos), ("sep", adds_sep)];
    all.sort_by_key(|(_, adds)| adds.is_none());
    for (meaning, adds) in all {
        let said = config.as_ref().and_then(|config| config.get(&format!("add_{meaning}_token")));
        if let Some(adds) = said.and_then(|said| said.value.as_bool()).or(adds) {
            out.push(&format!("ggml.add_{meaning}_token"), adds);
        }
    }
    chat_template(description, config.as_ref(), out)?;
    normalizer(root.get("normalizer").as_ref(), out)
}

fn template(root: &Node<'_>) -> Result<Template> {
    let mut template = Template::default();
    let Some(post) = root.get("post_processor") else { return Ok(template) };
    let processors = match post.get("processors") {
        Some(several) => several.array()?.collect(),
        None => vec![post],
    };
    for processor in processors {
        match processor.required("type")?.str()? {
            "RobertaProcessing" => template.roberta = true,
            "TemplateProcessing" => {
                template.found = true;
                let single: Vec<_> = processor.required("single")?.array()?.collect();
                if let [first, .., last] = &single[..] {
                    template.first = special(first);
                    template.last = special(last);
                }
                let pair: Vec<_> = processor
                    .get("pair")
                    .map(|pair| pair.array())
                    .transpose()?
                    .into_iter()
                    .flatten()
                    .collect();
                let start =
                    usize::from(template.first.is_some() && pair.first().and_then(special) == template.first);
                let end = pair.len()
                    - usize::from(template.last.is_some() && pair.last().and_then(special) == template.last);
                if let Some([_, between @ .., _]) = pair.get(start..end)
                    && !between.is_empty()
                {
                    let is_token = between.iter().all(|node| special(node).is_some());
                    let separates = is_token && (template.last.is_none() || between.len() > 1);
                    template.separator =
                        Some(between.last().filter(|_| separates).and_then(|node| special(node)));
                }
            }
            _ => {}
        }
    }
    Ok(template)
}

/// The token that an element of a template is, where it is one.
fn special(element: &Node<'_>) -> Option<String> {
    Some(element.get("SpecialToken")?.get("id")?.value.as_str()?.to_owned())
}

fn chat_template(description: &Description, config: Option<&Node<'_>>, out: &mut Tokenizer) -> Result<()> {
    const KEY: &str = "chat_template";
    let inside = config.and_then(|config| config.get(KEY));
    let (mut first, mut others) = (None, Vec::new());
    match inside {
        Some(several) if several.value.is_array() => {
            for template in several.array()? {
                let (name, text) = (template.required("name")?.str()?, template.required("template")?.str()?);
                match name {
                    "default" => first = Some(text),
                    name => others.push((name, text)),
                }
            }
        }
        Some(one) => first = Some(one.str()?),
        None => {
            first = description.chat_template.as_deref();
            let files = description.chat_templates.iter();
            others.extend(files.map(|(name, text)| (name.as_str(), text.as_str())));
        }
    }
    if let Some(text) = first {
        out.push(KEY, text);
    }
    // A name is the end of a key, as the converter makes it.
    let ends = |name: &str| name.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_");
    let mut names = Vec::new();
    for (name, text) in others {
        let name = ends(name);
        out.push(&format!("{KEY}.{name}"), text);
        names.push(name.into_bytes());
    }
    if !names.is_empty() {
        out.push("chat_templates", Value::Array(Array::String(names)));
    }
    Ok(())
}

fn normalizer(normalizer: Option<&Node<'_>>, out: &mut Tokenizer) -> Result<()> {
    let Some(normalizer) = normalizer else { return Ok(()) };
    let steps: Vec<Node<'_>> = match normalizer.get("normalizers") {
        Some(several) => several.array()?.collect(),
        None => vec![normalizer.clone()],
    };
    let (mut lowercase, mut strip_accents) = (None, None);
    for step in steps {
        let name = step.required("type")?.str()?;
        if ["NFC", "NFD", "NFKC", "NFKD"].contains(&name) {
            out.notes.push(format!(
                "the normalizer {name} of tokenizer.json is left out: a GGUF has no place for it"
            ));
        }
        match name {
            "Lowercase" => lowercase = Some(true),
            "StripAccents" => strip_accents = Some(true),
            "BertNormalizer" => {
                let flag = |key: &str| step.get(key).map(|flag| flag.bool()).transpose();
                lowercase = flag("lowercase")?.or(lowercase);
                strip_accents = flag("strip_accents")?.or(strip_accents);
            }
            _ => {}
        }
    }
    for (key, value) in [("lowercase", lowercase), ("strip_accents", strip_accents)] {
        if let Some(value) = value {
            out.push(&format!("ggml.normalizer.{key}"), value);
        }
    }
    Ok(())
}
