//! [`Import`]: what a model of Hugging Face becomes as a GGUF.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::carried::{CarriedWeight, Fidelity};
use super::description::Description;
use super::families::{Family, Fate, Parameters, Step, Target, file_type_of, layer};
use super::groups::{Group, Groups, Part, Settled, Values};
use super::json::Node;
use super::names::Renamed;
use super::per_layer::of_layer;
use super::planned::{Planned, Source, most};
use super::quantized::{Quantized, Weight, is_quantized, weights};
use super::required::{Listed, Present};
use super::steps::{Numbers, applied};
use super::stored::{ORIGINAL_SHAPE, carried, carried_in_order, original_shape};
use super::tokenizer::tokenizer;
use crate::codec::swap_byte_order;
use crate::error::{Error, Result, Shown};
use crate::gguf::layout::GGML_MAX_NAME_BYTES;
use crate::model::scaled::name_of_scale;
use crate::model::{Job, Origin, QUANTIZATION_VERSION};
use crate::safetensors::{Checkpoint, folded};
use crate::{ByteOrder, GgmlType, Gguf, Shape, Sink, Value, Writer};

/// Keys and values, in the order in which they are written.
type Pairs = Vec<(String, Value)>;
type Names<'a> = Box<dyn Fn(&str) -> Option<Renamed> + Send + Sync + 'a>;

/// Plans a GGUF from safetensors files.
///
/// ```no_run
/// use std::ops::ControlFlow;
/// use gguf_codec::model::{Convert, hf};
/// use gguf_codec::safetensors::Checkpoint;
/// use gguf_codec::{GgmlType, Writer};
///
/// let checkpoint = Checkpoint::open("SmolLM2-135M")?;
/// let description = hf::Description::read("SmolLM2-135M")?;
/// let plan = hf::Import::new(&checkpoint, &description).ggml_type(GgmlType::F16).plan()?;
///
/// let mut writer = Writer::create("smollm2.gguf")?;
/// plan.declare(&mut writer)?;
/// let mut data = writer.write_header()?;
/// let outcomes = Convert::new().run(&plan.jobs()?, &mut data, |_| ControlFlow::Continue(()))?;
/// assert!(outcomes.iter().all(|outcome| outcome.overflowed == 0), "F16 has a smaller range than BF16");
/// data.finish()?;
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[must_use = "nothing is planned before `plan`"]
pub struct Import<'a> {
    checkpoint: &'a Checkpoint,
    description: &'a Description,
    ty: Option<GgmlType>,
    names: Option<Names<'a>>,
}

impl<'a> Import<'a> {
    /// Of this model. Tensors keep their types, as far as GGUF and llama.cpp have a use for them.
    pub fn new(checkpoint: &'a Checkpoint, description: &'a Description) -> Self {
        Import { checkpoint, description, ty: None, names: None }
    }

    /// The type of the matrices; F16 for those whose rows are not whole blocks. Vectors, norms and tables of positions are
    /// F32 in every model of a known family.
    pub fn ggml_type(mut self, ty: GgmlType) -> Self {
        self.ty = Some(ty);
        self
    }

    /// Names that come before the built-in ones: the function gets a name in safetensors, and `None` leaves it to them.
    pub fn names(mut self, names: impl Fn(&str) -> Option<Renamed> + Send + Sync + 'a) -> Self {
        self.names = Some(Box::new(names));
        self
    }

    /// Looks at every tensor's name, type and shape, and at the description. Data is not read.
    ///
    /// # Errors
    /// [`Error::Safetensors`] where a file of the description lacks a value, or has a wrong one, such as a number of layers
    /// of which one has no tensor; [`Error::Write`], naming the tensor, where a name of a known family is unknown, or GGUF has
    /// no such type or shape.
    pub fn plan(self) -> Result<ImportPlan<'a>> {
        let carried = carried(self.checkpoint)?;
        let config = self.description.config.as_ref().map(|config| config.root());
        let class = match config.as_ref().and_then(|config| config.get("architectures")) {
            Some(classes) => classes.array()?.next().map(|class| class.str()).transpose()?,
            None => None,
        };
        let family = match carried.get("general.architecture") {
            Some(Value::String(architecture)) => {
                let architecture = std::str::from_utf8(architecture).ok();
                architecture.and_then(|name| Family::of_architecture(name, |key| carried.contains_key(key)))
            }
            _ => class.and_then(Family::of_class),
        };
        // What the class assumes where the file is silent, for the part that is about text.
        let document = self.description.config.as_ref().zip(family);
        let document =
            document.map(|(document, family)| document.with_defaults("text_config", family.defaults));
        let config = document.as_ref().map(|document| document.root()).or(config);
        // What `Export` made of a GGUF may be quantized as well.
        let (found, beside) = if carried.is_empty() || is_quantized(self.description) {
            let named = |name: &str| self.names.as_ref().and_then(|names| names(name));
            let is_left_out = |name: &str| named(name) == Some(Renamed::LeftOut);
            weights(self.checkpoint, self.description, is_left_out, |name| named(name).is_some())?
        } else {
            (self.checkpoint.tensors().map(Weight::plain).collect(), Vec::new())
        };
        let heads = Heads { carried: &carried, config: config.as_ref(), family };

        let mut left_out = beside;
        let (mut tensors, mut carried_weights) = (Vec::new(), Vec::new());
        let factors = match config.as_ref().zip(family) {
            Some((config, family)) if carried.is_empty() => family.rope_factors(config)?,
            _ => Vec::new(),
        };
        for (name, factors) in factors {
            if let Some(shape) = Shape::new(&[factors.len() as u64])
                && self.checkpoint.tensor(name).is_none()
            {
                let bytes = factors.iter().flat_map(|factor| factor.to_le_bytes()).collect();
                let (name, source) = (name.to_owned(), Source::Made(bytes, shape));
                tensors.push(Planned { name, source, ty: GgmlType::F32, original: None, dtype: None });
            }
        }
        let mut fates = Vec::new();
        let later = match config.as_ref().zip(family).filter(|_| carried.is_empty()) {
            Some((config, family)) if family.drops_later_layers => {
                Some(config.required("num_hidden_layers")?.u32()?)
            }
            _ => None,
        };
        for weight in found {
            if later.is_some_and(|first| layer_of_hf(&weight.name) >= Some(first)) {
                fates.push((weight, Fate::LeftOut));
                continue;
            }
            let fate = self.fate(&weight.name, weight.quantized.is_some(), family, !carried.is_empty())?;
            fates.push((weight, fate));
        }
        let mut rows = None;
        if let Some((config, family)) = config.as_ref().zip(family).filter(|_| carried.is_empty()) {
            let present = self.present(&fates, family);
            family.check(config, class, &present)?;
            rows = present.vocabulary().map(|(rows, name)| (rows, name.to_owned()));
        }
        let (mut original_shapes, mut any_folded) = (Vec::new(), 0);
        let (mut groups, mut parts) = (Groups::default(), Vec::new());
        for (weight, fate) in fates {
            match fate {
                Fate::LeftOut => left_out.push(weight.tensor.info().name()),
                Fate::To(targets) => {
                    if weight.shape.len() > Shape::MAX_DIMS {
                        original_shapes.extend(targets.iter().map(|target| {
                            (format!("{ORIGINAL_SHAPE}{}", target.name), original_shape(&weight.shape))
                        }));
                    }
                    parts.push(self.part(weight, &targets, family)?);
                    groups.add(parts.len() - 1, targets);
                }
            }
        }
        let parts = groups.settled(parts);
        for group in groups.in_order() {
            let (planned, carried_weight) =
                self.planned(group, &parts, family, &heads, !carried.is_empty())?;
            carried_weights.extend(carried_weight);
            tensors.extend(planned);
        }
        if family.is_some_and(|family| family.keeps_codes) && carried.is_empty() {
            // Where the converter writes them.
            tensors.sort_by_key(|tensor| tensor.ty != GgmlType::MXFP4);
        }
        let rows = rows.as_ref().map(|(rows, name)| (*rows, name.as_str()));
        let (mut metadata, mut notes) =
            self.metadata(carried, family, config.as_ref(), class, &tensors, rows)?;
        for (key, shape) in original_shapes {
            if metadata.iter().all(|(known, _)| *known != key) {
                metadata.push((key, shape));
            }
            any_folded += 1;
        }
        if any_folded > 0 {
            notes.push(format!(
                "{} more than 4 dimensions: the outermost are one now, and their shapes are kept as ComfyUI-GGUF \
                 keeps them, in {ORIGINAL_SHAPE}NAME",
                have(any_folded)
            ));
        }
        let too_long = tensors.iter().filter(|tensor| tensor.name.len() > GGML_MAX_NAME_BYTES);
        if let Some(first) = too_long.clone().next() {
            notes.push(format!(
                "{} names of more than {GGML_MAX_NAME_BYTES} bytes, which ggml does not read, such as '{}': a file of names \
                 can give them others",
                have(too_long.count()),
                Shown(&first.name)
            ));
        }
        Ok(ImportPlan { metadata, tensors, left_out, notes, carried_weights })
    }

    /// What the family's tables are held against.
    fn present<'t>(&self, fates: &'t [(Weight<'a>, Fate)], family: &Family) -> Present<'t> {
        let mut present = Present { tensors: BTreeMap::new(), taken: BTreeSet::new() };
        for (weight, fate) in fates {
            let name = weight.name.as_str();
            if self.names.as_ref().is_some_and(|names| names(name).is_some())
                && let Some(Fate::To(usual)) =
                    family.fate(&family.usual_name(name), weight.quantized.is_some())
            {
                present.taken.extend(usual.into_iter().map(|target| target.name));
            }
            if let Fate::To(targets) = fate {
                for Target { name, member, steps } in targets {
                    let (member, steps) = (*member, *steps);
                    let listed = Listed {
                        name: &weight.name,
                        dtype: weight.dtype,
                        shape: &weight.shape,
                        member,
                        steps,
                    };
                    present.tensors.entry(name.clone()).or_default().push(listed);
                }
            }
        }
        present
    }

    fn fate(
        &self,
        name: &str,
        is_quantized: bool,
        family: Option<&'static Family>,
        carried: bool,
    ) -> Result<Fate> {
        let one = |name: String, steps| Fate::To(vec![Target { name, member: None, steps }]);
        match self.names.as_ref().and_then(|names| names(name)) {
            Some(Renamed::LeftOut) => return Ok(Fate::LeftOut),
            Some(Renamed::To(gguf_name)) => {
                let steps = family
                    .filter(|_| gguf_name != name)
                    .map_or(&[][..], |family| family.steps_of(&gguf_name));
                return Ok(one(gguf_name, steps));
            }
            None => {}
        }
        let Some(family) = family else { return Ok(one(name.to_owned(), &[])) };
        if carried {
            // Only what `Export` renamed is renamed back: a GGUF may have names that no family knows.
            return Ok(family.carried_fate(name).unwrap_or_else(|| one(name.to_owned(), &[])));
        }
        family.fate(&family.usual_name(name), is_quantized).ok_or_else(|| {
            Error::write(format!(
                "tensor '{}' has no name in the {} family; a file of names can give it one, or leave it out",
                Shown(name),
                family.architecture
            ))
        })
    }

    /// What is known of a weight before it is known what becomes of the others beside it.
    fn part(
        &self,
        weight: Weight<'a>,
        targets: &[Target],
        family: Option<&'static Family>,
    ) -> Result<Part<'a>> {
        let Some(quantized) = weight.quantized else {
            let origin = weight.tensor.origin()?;
            let own = origin.ggml_type();
            return Ok(Part { name: weight.name, own, method: None, values: Values::Plain(origin) });
        };
        let shape = folded(&weight.shape).ok_or_else(|| {
            Error::write(format!("tensor '{}' has more elements than GGUF counts", Shown(&weight.name)))
        })?;
        let method = Some(quantized.method.clone());
        // What is computed is kept instead where it was to become the type that has the same codes.
        let dims = shape.dims().len();
        let may_be = |target: &Target| {
            !family.is_some_and(|family| family.wants_f32(&target.name, dims))
                && (name_of_scale(&target.name).is_some() || !quantized.has_factor())
                && target.steps.iter().all(|step| step.keeps_blocks())
        };
        let keeps = |ty: GgmlType| {
            let is_half = matches!(ty, GgmlType::F16 | GgmlType::BF16);
            ty.is_quantized() || is_half && family.is_some_and(|family| family.keeps_codes)
        };
        let may_keep = self.ty.is_none_or(keeps) && targets.iter().all(may_be);
        let own = weight.dtype.ggml_type().unwrap_or(GgmlType::BF16);
        let kept = if may_keep { quantized.kept(shape)? } else { Err(quantized) };
        let values = match kept {
            Ok(kept) if self.ty.is_none_or(|asked| asked == kept.ty || !asked.is_quantized()) => {
                Values::Kept(Box::new(kept), shape)
            }
            Ok(kept) => Values::Computed(Box::new(kept.blocks.into_matrix()), shape),
            Err(Quantized { matrix, .. }) => Values::Computed(Box::new(matrix), shape),
        };
        Ok(Part { name: weight.name, own, method, values })
    }

    fn planned(
        &self,
        group: Group,
        parts: &[Settled<'a>],
        family: Option<&'static Family>,
        heads: &Heads<'_>,
        carried: bool,
    ) -> Result<(Vec<Planned<'a>>, Option<CarriedWeight>)> {
        let Group { name, steps, members, is_stack, .. } = group;
        let members: Vec<&Settled<'a>> = members.values().filter_map(|&part| parts.get(part)).collect();
        let Some(first) = members.first() else { return Ok((Vec::new(), None)) };
        let mut source = match is_stack {
            true => Source::stacked(&name, members.iter().map(|part| part.source.clone()).collect())?,
            false => first.source.again(),
        };
        for &step in steps {
            source = match (step, heads.of(step, &name)?) {
                (Step::RotaryRows(_), Some(heads)) => source.in_heads(&first.name, heads, true)?,
                (step, _) => applied(step, source, &first.name, heads)?,
            };
        }
        let (own, method) = (first.own, first.method.clone());
        let shape = source.shape();
        let ty = match self.ty {
            _ if own.is_integer() => own,
            None if carried => own,
            _ if family.is_some_and(|family| family.wants_f32(&name, shape.dims().len())) => GgmlType::F32,
            Some(_) if first.rounded.is_some() => own,
            Some(_) if shape.dims().len() < 2 => own,
            Some(ty) if shape.row_len().is_multiple_of(ty.block_len() as u64) => ty,
            Some(_) => GgmlType::F16,
            // llama.cpp has no use for doubles.
            None if own == GgmlType::F64 && family.is_some() => GgmlType::F32,
            None => own,
        };
        let fidelity =
            members.iter().map(|part| part.rounded).try_fold(0.0f32, |most, of| Some(most.max(of?)));
        let carried_weight = method.map(|method| CarriedWeight {
            name: name.clone(),
            method,
            ggml_type: ty,
            fidelity: match fidelity {
                Some(0.0) => Fidelity::Exact,
                Some(largest) => Fidelity::ScalesRounded { largest },
                None if ty == GgmlType::F32 => Fidelity::Exact,
                None => Fidelity::Requantized,
            },
        });
        // One for all, or one for each that is stacked.
        let any = members.iter().any(|part| part.factor.is_some_and(|factor| factor != 1.0));
        let factors: Vec<f32> =
            members.iter().map(|part| part.factor.unwrap_or(1.0)).filter(|_| any).collect();
        let beside = name_of_scale(&name).zip(Shape::new(&[factors.len() as u64])).filter(|_| any);
        let beside = beside.map(|(name, shape)| Planned {
            name,
            source: Source::Made(factors.iter().flat_map(|factor| factor.to_le_bytes()).collect(), shape),
            ty: GgmlType::F32,
            original: None,
            dtype: None,
        });
        let planned = Planned { name, source, ty, original: None, dtype: None };
        Ok(([planned].into_iter().chain(beside).collect(), carried_weight))
    }

    fn metadata(
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
            if let Some(top_k) = generation.get("top_k") {
                let kept = i32::try_from(top_k.u32()?).map_err(|_| top_k.wrong("must be below 2^31"))?;
                push("general.sampling.top_k", Value::I32(kept));
            }
            for (name, key) in [("top_p", "general.sampling.top_p"), ("temperature", "general.sampling.temp")]
            {
                if let Some(number) = generation.get(name) {
                    push(key, Value::F32(number.f64()? as f32));
                }
            }
        }
        if let Some(name) = self.name() {
            push("general.name", name.into());
        }
        let experts = family.zip(config).map_or(Ok(None), |(family, config)| family.experts(config))?;
        push("general.size_label", size_label(tensors, experts).into());
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
    fn name(&self) -> Option<String> {
        let config = self.description.config.as_ref().map(|config| config.root());
        let published = config.as_ref().and_then(|config| config.get("_name_or_path")?.value.as_str());
        let published = published.filter(|path| {
            !path.is_empty() && path.matches('/').count() <= 1 && !path.starts_with(['.', '/'])
        });
        let name = published
            .map(|path| path.rsplit('/').next().unwrap_or(path))
            .or(self.description.name.as_deref())?;
        let title = |word: &str| {
            let is_number = word.trim_start_matches('v').starts_with(|first: char| first.is_ascii_digit());
            if is_number || word.chars().any(char::is_uppercase) {
                return word.to_owned();
            }
            // As Python writes titles: each letter that follows none is a capital.
            let mut out = String::with_capacity(word.len());
            for letter in word.chars() {
                match out.chars().last().is_some_and(char::is_alphabetic) {
                    true => out.push(letter),
                    false => out.extend(letter.to_uppercase()),
                }
            }
            out
        };
        Some(name.replace('-', " ").split_whitespace().map(title).collect::<Vec<_>>().join(" "))
    }
}

impl fmt::Debug for Import<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Import").field("type", &self.ty).finish_non_exhaustive()
    }
}

/// How many heads the rows of a tensor are in.
struct Heads<'a> {
    carried: &'a BTreeMap<String, Value>,
    config: Option<&'a Node<'a>>,
    family: Option<&'static Family>,
}

impl Numbers for Heads<'_> {
    fn of(&self, key: &str) -> Result<u64> {
        match self.config {
            Some(config) => config.of(key),
            None => Err(Error::write(format!("there is no config.json, which has '{key}'"))),
        }
    }
}

impl Heads<'_> {
    /// `None` where rows stay in their order.
    fn of(&self, step: Step, gguf_name: &str) -> Result<Option<u32>> {
        let (Some(family), Step::RotaryRows(of)) = (self.family, step) else { return Ok(None) };
        if let Some(config) = self.config.filter(|_| self.carried.is_empty()) {
            let heads = config.required("num_attention_heads")?.u32()?;
            let kv_heads = config.get("num_key_value_heads").map_or(Ok(heads), |heads| heads.u32())?;
            return Ok(Some(of.either(heads, kv_heads)));
        }
        let layer = layer(gguf_name).unwrap_or_default();
        let number = |key: &str| {
            let key = format!("{}.attention.{key}", family.architecture);
            match self.carried.get(&key) {
                Some(Value::U32(heads)) => Ok(Some(*heads)),
                Some(Value::Array(array)) => of_layer(&key, array, layer).map(Some),
                _ => Ok(None),
            }
        };
        let heads = number("head_count")?.ok_or_else(|| {
            Error::write(format!(
                "tensor '{}' is in heads, and the metadata does not say in one number how many",
                Shown(gguf_name)
            ))
        })?;
        Ok(Some(of.either(heads, number("head_count_kv")?.unwrap_or(heads))))
    }
}

/// The layer of a decoder's tensor in safetensors.
fn layer_of_hf(name: &str) -> Option<u32> {
    name.strip_prefix("model.layers.")?.split('.').next()?.parse().ok()
}

/// What became of matrices that cannot be of the type that was asked for.
fn fallen(ty: GgmlType, tensors: &[Planned<'_>]) -> Option<String> {
    let len = ty.block_len() as u64;
    let has_fallen = |tensor: &&Planned<'_>| {
        let shape = tensor.source.shape();
        tensor.ty == GgmlType::F16 && shape.dims().len() >= 2 && !shape.row_len().is_multiple_of(len)
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

/// The number of parameters as `general.size_label` gives it; of a mixture, that of its experts times what a model of one has.
fn size_label(tensors: &[Planned<'_>], experts: Option<u32>) -> String {
    let is_stack =
        |tensor: &&Planned<'_>| tensor.name.contains("_exps.") && tensor.source.shape().dims().len() == 3;
    let count = |tensor: &Planned<'_>| u128::from(tensor.element_count());
    match experts.filter(|&experts| experts > 0) {
        Some(experts) => {
            let stacked: u128 = tensors.iter().filter(is_stack).map(count).sum();
            let others: u128 = tensors.iter().filter(|tensor| !is_stack(tensor)).map(count).sum();
            format!("{experts}x{}", rounded(others + stacked / u128::from(experts)))
        }
        None => rounded(tensors.iter().map(count).sum()),
    }
}

/// A number with two digits or more, such as `1.1B` and `135M`.
fn rounded(parameters: u128) -> String {
    let parameters = parameters as f64;
    let (scaled, unit) = match parameters {
        p if p > 1e12 => (p * 1e-12, 'T'),
        p if p > 1e9 => (p * 1e-9, 'B'),
        p if p > 1e6 => (p * 1e-6, 'M'),
        p => (p * 1e-3, 'K'),
    };
    let digits = format!("{scaled:.0}").trim_start_matches('0').len();
    format!("{scaled:.*}{unit}", 2usize.saturating_sub(digits))
}

/// A GGUF that is planned.
pub struct ImportPlan<'a> {
    metadata: Pairs,
    tensors: Vec<Planned<'a>>,
    left_out: Vec<&'a str>,
    notes: Vec<String>,
    carried_weights: Vec<CarriedWeight>,
}

impl<'a> ImportPlan<'a> {
    /// Keys and values, in the order in which they are written.
    pub fn metadata(&self) -> &[(String, Value)] {
        &self.metadata
    }

    /// Tensors that have no place in the GGUF.
    pub fn left_out(&self) -> &[&'a str] {
        &self.left_out
    }

    /// What could not be carried over, a sentence each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What becomes of the weights that another program quantized, in the order of tensors.
    pub fn carried_weights(&self) -> &[CarriedWeight] {
        &self.carried_weights
    }

    /// Declares metadata and tensors.
    ///
    /// # Errors
    /// [`Error::Write`] where a name is too long for GGUF, or two tensors get the same.
    pub fn declare<S: Sink>(&self, writer: &mut Writer<S>) -> Result<()> {
        for (key, value) in &self.metadata {
            writer.set_metadata(key, value.clone())?;
        }
        for Planned { name, source, ty, .. } in &self.tensors {
            writer.declare_tensor(name, source.shape().dims(), *ty)?;
        }
        Ok(())
    }

    /// Returns the header that the GGUF would have. With [`origin`](Self::origin) it stands for the converted model, and
    /// `converted` gives both.
    ///
    /// # Errors
    /// As [`declare`](Self::declare).
    pub fn header(&self) -> Result<Gguf<Vec<u8>>> {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        self.declare(&mut writer)?;
        drop(writer.write_header()?);
        Gguf::read_header(bytes.as_slice())
    }

    /// Returns the model that the GGUF would be, for a job that reads it without a file between, such as
    /// [`Quantize`](crate::model::Quantize):
    ///
    /// ```no_run
    /// use gguf_codec::model::{Quantize, Recipe, hf};
    /// use gguf_codec::safetensors::Checkpoint;
    ///
    /// let checkpoint = Checkpoint::open("SmolLM2-135M")?;
    /// let description = hf::Description::read("SmolLM2-135M")?;
    /// let plan = hf::Import::new(&checkpoint, &description).plan()?;
    /// let quantize = Quantize::recipe(Recipe::Q4_K_M);
    /// quantize.run(&plan.converted()?, "smollm2-Q4_K_M.gguf")?;
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`declare`](Self::declare).
    #[cfg(all(feature = "std", any(unix, windows)))]
    pub fn converted(&self) -> Result<Converted<'_>> {
        Ok(Converted { model: self.header()?.into(), plan: self })
    }

    /// Reads a tensor of the GGUF and checks that its values and scales are finite.
    ///
    /// # Errors
    /// As [`origin`](Self::origin), [`Error::Io`], and [`Error::InvalidBlock`] for a block of which a reader can make no numbers.
    pub fn validate(&self, name: &str) -> Result<()> {
        /// Blocks at a time.
        const BLOCKS: u64 = 16 * 1024;
        let origin = self.origin(name)?;
        let block_bytes = origin.ggml_type().block_bytes() as u64;
        let blocks = origin.byte_len() / block_bytes;
        let mut bytes = Vec::new();
        for first in (0..blocks).step_by(BLOCKS as usize) {
            bytes.resize((BLOCKS.min(blocks - first) * block_bytes) as usize, 0);
            let reading = |error| Error::io(format!("read tensor '{}'", Shown(name)), error);
            origin.source.fill_at(&mut bytes, origin.offset + first * block_bytes).map_err(reading)?;
            if origin.order == ByteOrder::Big {
                swap_byte_order(origin.ty, &mut bytes);
            }
            origin.ggml_type().validate(&bytes).map_err(|error| match error {
                Error::InvalidBlock { ty, block, what } => {
                    Error::InvalidBlock { ty, block: block + first, what }
                }
                error => error,
            })?;
        }
        Ok(())
    }

    /// Returns where the values of a tensor of the GGUF are read from, as it would store them.
    ///
    /// # Errors
    /// [`Error::MissingTensor`] where none of its tensors has that name.
    pub fn origin(&self, name: &str) -> Result<Origin<'_>> {
        match self.tensors.iter().find(|tensor| tensor.name == name) {
            Some(tensor) => tensor.stored(),
            None => Err(Error::MissingTensor { name: name.to_owned() }),
        }
    }

    /// The tensors for [`Convert`](crate::model::Convert), in the order in which they are declared.
    ///
    /// # Errors
    /// [`Error::Length`] for a tensor whose end cannot be counted.
    pub fn jobs(&self) -> Result<Vec<Job<'_>>> {
        self.tensors.iter().map(Planned::job).collect()
    }
}

/// The model that a GGUF of an [`ImportPlan`] would be. It is made where it is read.
#[cfg(all(feature = "std", any(unix, windows)))]
#[derive(Debug)]
pub struct Converted<'a> {
    model: crate::ShardedGguf<Vec<u8>>,
    plan: &'a ImportPlan<'a>,
}

#[cfg(all(feature = "std", any(unix, windows)))]
impl crate::model::Source for Converted<'_> {
    type Bytes = Vec<u8>;

    fn model(&self) -> &crate::ShardedGguf<Vec<u8>> {
        &self.model
    }

    fn origin(&self, tensor: &crate::TensorInfo<'_>) -> Result<Origin<'_>> {
        self.plan.origin(tensor.name())
    }

    fn validate(&self, tensor: &crate::TensorInfo<'_>) -> Result<()> {
        self.plan.validate(tensor.name())
    }

    /// None: a checkpoint does not know them all.
    fn paths(&self) -> impl Iterator<Item = &std::path::Path> {
        std::iter::empty()
    }
}

impl fmt::Debug for ImportPlan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportPlan")
            .field("keys", &self.metadata.len())
            .field("tensors", &self.tensors.len())
            .field("left_out", &self.left_out)
            .field("notes", &self.notes)
            .finish()
    }
}

/// The start of a sentence about so many tensors.
fn have(tensors: usize) -> String {
    if tensors == 1 { "1 tensor has".to_owned() } else { format!("{tensors} tensors have") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_labelled_as_gguf_py_does() {
        for (parameters, label) in [
            (22_565_376, "23M"),
            (134_515_008, "135M"),
            (1_100_048_384, "1.1B"),
            (0, "0.00K"),
            (1500, "1.5K"),
            (999_999, "1000K"),
        ] {
            assert_eq!(rounded(parameters), label);
        }
    }
}
