//! The metadata of a GGUF that is made of a model of Hugging Face.

use std::collections::BTreeMap;

use super::families::{Family, Parameters, file_type_of};
use super::import::Import;
use super::import_plan::Pairs;
use super::json::Node;
use super::label::{Label, label, title};
use super::planned::{Planned, most};
use super::stored::carried_in_order;
use super::tokenizer::tokenizer;
use crate::error::{Result, Shown};
use crate::ggml_type::GgmlType;
use crate::gguf::value::Value;
use crate::model::file_type::QUANTIZATION_VERSION;
use crate::model::size_label::size_label;

impl Import<'_> {
    pub(super) fn metadata(
        &self,
        carried: BTreeMap<String, Value>,
        family: Option<&'static Family>,
        config: Option<&Node<'_>>,
        class: Option<&str>,
        tensors: &[Planned<'_>],
        rows: Option<(u64, &str)>,
    ) -> Result<(Pairs, Vec<String>)> {
        // A model without matrices is as good as any.
        let keeps = family.is_some_and(|family| family.keeps_codes);
        let kept = |tensor: &&Planned<'_>| keeps && tensor.ty == GgmlType::MXFP4;
        let kept = tensors.iter().find(kept).map(|tensor| tensor.ty);
        let file_type = kept.or(most(tensors)).or(self.ty).and_then(file_type_of);
        let mut notes = Vec::new();
        notes.extend(self.ty.and_then(|ty| fallen(ty, tensors)));
        if !carried.is_empty() {
            let mut pairs = carried_in_order(carried);
            if self.ty.is_some() {
                let versions = [
                    ("general.file_type", file_type),
                    ("general.quantization_version", Some(QUANTIZATION_VERSION)),
                ];
                for (key, value) in versions {
                    pairs.retain(|(known, _)| known != key);
                    pairs.extend(value.map(|value| (key.to_owned(), Value::U32(value))));
                }
            }
            return Ok((pairs, notes));
        }
        let mut pairs = Vec::new();
        let mut push = |key: &str, value: Value| pairs.push((key.to_owned(), value));
        let model_type = config.and_then(|config| config.get("model_type"));
        let architecture = match (family, model_type) {
            (Some(family), _) => Some(family.architecture),
            (None, Some(model_type)) => Some(model_type.str()?),
            (None, None) => None,
        };
        if let Some(architecture) = architecture {
            push("general.architecture", architecture.into());
        }
        let of = config.map(|config| Parameters {
            config,
            description: self.description,
            file_type,
            rows: rows.and_then(|(rows, _)| u32::try_from(rows).ok()),
        });
        if let Some((family, of)) = family.zip(of.as_ref()) {
            pairs.extend(family.first_parameters(of)?);
        }
        let mut push = |key: &str, value: Value| pairs.push((key.to_owned(), value));
        push("general.type", "model".into());
        if let Some(generation) = self.description.generation.as_ref().map(|document| document.root()) {
            // It is advice: what cannot be kept does not end the conversion.
            let mut left_out = |node: &Node<'_>, wanted: &str| {
                notes.push(format!("{}; it is left out", node.wrong(wanted)));
            };
            if let Some(top_k) = generation.get("top_k") {
                // A number below 0 means all tokens, as 0 does.
                match top_k.value.as_i64().and_then(|number| i32::try_from(number).ok()) {
                    Some(number) => push("general.sampling.top_k", Value::I32(number)),
                    None => left_out(&top_k, "must be an integer below 2^31"),
                }
            }
            for (name, key) in [("top_p", "general.sampling.top_p"), ("temperature", "general.sampling.temp")]
            {
                if let Some(node) = generation.get(name) {
                    match node.f64() {
                        Ok(number) => push(key, Value::F32(number as f32)),
                        Err(_) => left_out(&node, "must be a number of single precision"),
                    }
                }
            }
        }
        let id = self.id();
        if let Some(id) = &id {
            push("general.name", title(id).into());
        }
        let parameters: u128 = tensors.iter().map(|tensor| u128::from(tensor.element_count())).sum();
        let Label { version, finetune, basename, size } =
            id.as_deref().map(|id| label(id, parameters)).unwrap_or_default();
        for (key, said) in [("version", version), ("finetune", finetune), ("basename", basename)] {
            if let Some(said) = said {
                push(&format!("general.{key}"), said.into());
            }
        }
        let experts = family.zip(config).map_or(Ok(None), |(family, config)| family.experts(config))?;
        let shapes = tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.source.shape()));
        push("general.size_label", size.unwrap_or_else(|| size_label(shapes, experts)).into());
        match family.zip(of.as_ref()) {
            Some((family, of)) => {
                pairs.extend(family.parameters(of, &mut notes)?);
            }
            None => {
                pairs.extend(
                    file_type.map(|file_type| ("general.file_type".to_owned(), Value::U32(file_type))),
                );
                notes.push(match class {
                    Some(class) => format!("{} is none of the families that are known: names stay, and parameters are not carried over. llama.cpp does not load the file", Shown(class)),
                    None => "there is no config.json that names the model's class: names stay, and parameters are not carried over. llama.cpp does not load the file".to_owned(),
                });
            }
        }
        pairs.push(("general.quantization_version".to_owned(), Value::U32(QUANTIZATION_VERSION)));
        let tokenizer = tokenizer(self.description, family, rows)?;
        if let Some(((rows, name), size)) = rows.zip(config.and_then(|config| config.get("vocab_size")))
            && u64::from(size.u32()?) != rows
        {
            return Err(size.wrong(&format!(
                "is {}, and tensor '{}' has {rows} rows: set it to {rows}",
                size.u32()?,
                Shown(name)
            )));
        }
        pairs.extend(tokenizer.pairs);
        notes.extend(tokenizer.notes);
        Ok((pairs, notes))
    }

    /// What the model is called: where it is published, or else as its folder.
    pub(super) fn id(&self) -> Option<String> {
        // The configuration beside an adapter is that of another model.
        let own = self.description.config.as_ref().filter(|_| self.description.adapter.is_none());
        let config = own.map(|config| config.root());
        let published = config.as_ref().and_then(|config| config.get("_name_or_path")?.value.as_str());
        let published = published.filter(|path| {
            !path.is_empty() && path.matches('/').count() <= 1 && !path.starts_with(['.', '/'])
        });
        let name = published.map(|path| path.rsplit('/').next().unwrap_or(path));
        name.or(self.description.name.as_deref()).map(str::to_owned)
    }
}

/// What became of matrices that cannot be of the type that was asked for.
fn fallen(ty: GgmlType, tensors: &[Planned<'_>]) -> Option<String> {
    let len = ty.block_len() as u64;
    let has_fallen = |tensor: &&Planned<'_>| {
        let shape = tensor.source.shape();
        tensor.ty == GgmlType::F16 && shape.dims().len() >= 2 && !ty.fits_rows(shape.row_len())
    };
    let mut fallen = tensors.iter().filter(has_fallen);
    let name = Shown(&fallen.next()?.name);
    let (are, first) = match fallen.count() {
        0 => ("1 tensor is".to_owned(), ""),
        more => (format!("{} tensors are", more + 1), "the first is "),
    };
    Some(format!(
        "{are} F16 instead of {ty}, since rows are not whole blocks of {len} values: {first}'{name}'"
    ))
}
