//! [`Import`]: what a model of Hugging Face becomes as a GGUF.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::adapter_names::is_lora;
use super::carried::{CarriedWeight, Fidelity};
use super::class::tells_classes_apart;
use super::description::Description;
use super::families::{Classifier, Family, Fate, Step, Target};
use super::groups::{Group, Groups, Part, Settled, Values};
use super::heads::Heads;
use super::import_plan::ImportPlan;
use super::names::Renamed;
use super::planned::{Planned, Source};
use super::quantized::{Quantized, Weight, is_quantized, weights};
use super::required::{Listed, Present};
use super::reranker_keys::{self, ANSWERS};
use super::rope::check_rope;
use super::steps::applied;
use super::stored::{ORIGINAL_SHAPE, carried, original_shape};
use crate::error::{Error, Result, Shown};
use crate::ggml_type::GgmlType;
use crate::gguf::layout::GGML_MAX_NAME_BYTES;
use crate::gguf::value::Value;
use crate::model::scaled::name_of_scale;
use crate::safetensors::{Checkpoint, folded};
use crate::tensor::Shape;

type Names<'a> = Box<dyn Fn(&str) -> Option<Renamed> + Send + Sync + 'a>;

/// Plans a GGUF from safetensors files.
///
/// ```no_run
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
/// let outcomes = Convert::new().run(&plan.jobs()?, &mut data)?;
/// assert!(outcomes.iter().all(|outcome| outcome.overflowed == 0), "F16 has a smaller range than BF16");
/// data.finish()?;
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[must_use = "nothing is planned before `plan`"]
pub struct Import<'a> {
    pub(super) checkpoint: &'a Checkpoint,
    pub(super) description: &'a Description,
    pub(super) ty: Option<GgmlType>,
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
    /// A LoRA adapter of PEFT becomes an adapter, as llama.cpp's converter makes it: F32 unless a type is asked for. Its description has
    /// `adapter_config.json` and the configuration of the base model.
    ///
    /// # Errors
    /// [`Error::Safetensors`] where a file of the description lacks a value, or has a wrong one, such as a number of layers
    /// of which one has no tensor; [`Error::Write`], naming the tensor, where a name of a known family is unknown, or GGUF has
    /// no such type or shape.
    pub fn plan(self) -> Result<ImportPlan<'a>> {
        let adapter = self.description.adapter.as_ref().map(|adapter| adapter.root());
        if let Some(adapter) = adapter.filter(|adapter| is_lora(adapter, self.checkpoint.tensors())) {
            return self.adapter(&adapter);
        }
        let carried = carried(self.checkpoint)?;
        let config = self.description.config.as_ref().map(|config| config.root());
        let class = match config.as_ref().and_then(|config| config.get("architectures")) {
            Some(classes) => classes.array()?.next().map(|class| class.str()).transpose()?,
            None => None,
        };
        let family = match carried.get("general.architecture") {
            Some(Value::String(architecture)) => {
                let architecture = std::str::from_utf8(architecture).ok();
                let has = |name: &str| carried.contains_key(name) || self.checkpoint.tensor(name).is_some();
                architecture.and_then(|name| Family::of_architecture(name, has))
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
        let drops_head = match config.as_ref().zip(family).filter(|_| carried.is_empty()) {
            Some((config, family)) => family.drops_tied_head && family.is_tied_by(config, class)?,
            None => false,
        };
        for weight in found {
            if later.is_some_and(|first| layer_of_hf(&weight.name) >= Some(first)) {
                fates.push((weight, Fate::LeftOut));
                continue;
            }
            let is_named = || self.names.as_ref().is_some_and(|names| names(&weight.name).is_some());
            let fate = self.fate(&weight.name, weight.quantized.is_some(), family, !carried.is_empty())?;
            let is_head =
                matches!(&fate, Fate::To(targets) if targets.iter().any(|to| to.name == "output.weight"));
            let drops = drops_head && is_head && !is_named();
            fates.push((weight, if drops { Fate::LeftOut } else { fate }));
        }
        let mut rows = None;
        if let Some((config, family)) = config.as_ref().zip(family).filter(|_| carried.is_empty()) {
            let present = self.present(&fates, family);
            family.check_activations(config)?;
            family.check_fixed(config)?;
            check_rope(config)?;
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
        let mut labels = None;
        if let Some((config, family)) = config.as_ref().zip(family).filter(|_| carried.is_empty()) {
            if class.is_some_and(tells_classes_apart) {
                labels = self.answers(config, family, &mut tensors)?;
            } else if self.is_reranker(family) {
                self.add_answers(config, family, &parts, &mut tensors)?;
                labels = Some(Some(ANSWERS.map(str::to_owned).to_vec()));
            }
        }
        let rows = rows.as_ref().map(|(rows, name)| (*rows, name.as_str()));
        let (mut metadata, mut notes) =
            self.metadata(carried, family, config.as_ref(), class, &tensors, rows)?;
        if let Some((labels, family)) = labels.zip(family) {
            reranker_keys::put_keys(family, labels, self.is_reranker(family), &mut metadata);
        }
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
            let named = |classifier: &Classifier, tensor: &str| {
                let name = family.to_hf(tensor);
                name.is_some_and(|name| self.checkpoint.tensor(&classifier.named(&name)).is_some())
            };
            let classifier = family.classifier(named);
            let bare = classifier.map_or(Some(name), |classifier| classifier.bare(name));
            let fate = bare.and_then(|name| family.carried_fate(name));
            return Ok(fate.unwrap_or_else(|| one(name.to_owned(), &[])));
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
            Some(ty) if ty.fits_rows(shape.row_len()) => ty,
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
}

impl fmt::Debug for Import<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Import").field("type", &self.ty).finish_non_exhaustive()
    }
}

/// The layer of a decoder's tensor in safetensors.
fn layer_of_hf(name: &str) -> Option<u32> {
    name.strip_prefix("model.layers.")?.split('.').next()?.parse().ok()
}

/// The start of a sentence about so many tensors.
fn have(tensors: usize) -> String {
    if tensors == 1 { "1 tensor has".to_owned() } else { format!("{tensors} tensors have") }
}
