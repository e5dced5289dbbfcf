//! [`Import`]: what a model of Hugging Face becomes as a GGUF.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::carried::{CarriedWeight, Fidelity};
use super::description::Description;
use super::family::{Family, file_type_of, layer};
use super::json::Node;
use super::names::{NameMap, Renamed};
use super::per_layer::of_layer;
use super::planned::{Planned, Source, most};
use super::quantized::{Kept, Quantized, Weight, is_quantized, weights};
use super::required::{Listed, Present};
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
                std::str::from_utf8(architecture).ok().and_then(Family::of_architecture)
            }
            _ => class.and_then(Family::of_class),
        };
        // What `Export` made of a GGUF may be quantized as well.
        let (found, beside) = if carried.is_empty() || is_quantized(self.description) {
            let named = |name: &str| self.names.as_ref().and_then(|names| names(name));
            let is_left_out = |name: &str| named(name) == Some(Renamed::LeftOut);
            weights(self.checkpoint, self.description, is_left_out, |name| named(name).is_some())?
        } else {
            (self.checkpoint.tensors().map(Weight::plain).collect(), Vec::new())
        };
        let built_in = family.map(Family::names).unwrap_or_default();
        let heads = Heads { carried: &carried, config: config.as_ref(), family };

        let mut left_out = beside;
        let (mut tensors, mut carried_weights) = (Vec::new(), Vec::new());
        let factors = match config.as_ref().zip(family) {
            Some((config, family)) if carried.is_empty() => family.rope_factors(config)?,
            _ => None,
        };
        if let Some(factors) = factors
            && let Some(shape) = Shape::new(&[factors.len() as u64])
            && self.checkpoint.tensor("rope_freqs.weight").is_none()
        {
            let bytes = factors.iter().flat_map(|factor| factor.to_le_bytes()).collect();
            tensors.push(Planned {
                name: "rope_freqs.weight".to_owned(),
                source: Source::Made(bytes, shape),
                ty: GgmlType::F32,
                original: None,
                dtype: None,
            });
        }
        let mut renamed = Vec::new();
        for weight in found {
            let name = self.renamed(&weight.name, family, &built_in, !carried.is_empty())?;
            renamed.push((weight, name));
        }
        let mut rows = None;
        if let Some((config, family)) = config.as_ref().zip(family).filter(|_| carried.is_empty()) {
            let present = self.present(&renamed, family, &built_in);
            family.check(config, class, &built_in, &present)?;
            rows = present.vocabulary().map(|(rows, name)| (rows, name.to_owned()));
        }
        let (mut original_shapes, mut any_folded) = (Vec::new(), 0);
        for (weight, renamed) in renamed {
            match renamed {
                Renamed::LeftOut => left_out.push(weight.tensor.info().name()),
                Renamed::To(name) => {
                    if weight.shape.len() > Shape::MAX_DIMS {
                        original_shapes
                            .push((format!("{ORIGINAL_SHAPE}{name}"), original_shape(&weight.shape)));
                    }
                    let (planned, fate) = self.planned(weight, name, family, &heads, !carried.is_empty())?;
                    carried_weights.extend(fate);
                    tensors.extend(planned);
                }
            }
        }
        let rows = rows.as_ref().map(|(rows, name)| (*rows, name.as_str()));
        let (mut metadata, mut notes) = self.metadata(carried, family, class, &tensors, rows)?;
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
    fn present<'t>(
        &self,
        renamed: &'t [(Weight<'a>, Renamed)],
        family: Family,
        built_in: &NameMap,
    ) -> Present<'t> {
        let mut present = Present { tensors: BTreeMap::new(), taken: BTreeSet::new() };
        for (weight, renamed) in renamed {
            let name = weight.name.as_str();
            if self.names.as_ref().is_some_and(|names| names(name).is_some())
                && let Some(Renamed::To(usual)) = built_in.to_gguf(&family.usual_name(name))
            {
                present.taken.insert(usual);
            }
            if let Renamed::To(name) = renamed {
                let listed = Listed { name: &weight.name, dtype: weight.dtype, shape: &weight.shape };
                present.tensors.insert(name.clone(), listed);
            }
        }
        present
    }

    fn renamed(
        &self,
        name: &str,
        family: Option<Family>,
        built_in: &NameMap,
        carried: bool,
    ) -> Result<Renamed> {
        if let Some(renamed) = self.names.as_ref().and_then(|names| names(name)) {
            return Ok(renamed);
        }
        let Some(family) = family else { return Ok(Renamed::To(name.to_owned())) };
        if carried {
            // Only what `Export` renamed is renamed back: a GGUF may have names that no family knows.
            let back = built_in.to_gguf(name).filter(|renamed| match renamed {
                Renamed::To(gguf_name) => built_in.to_hf(gguf_name).as_deref() == Some(name),
                Renamed::LeftOut => false,
            });
            return Ok(back.unwrap_or_else(|| Renamed::To(name.to_owned())));
        }
        let renamed = built_in.to_gguf(&family.usual_name(name));
        let is_known = |renamed: &Renamed| match renamed {
            Renamed::To(name) => family.has(name),
            Renamed::LeftOut => true,
        };
        renamed.filter(is_known).ok_or_else(|| Error::Write {
            message: format!(
                "tensor '{}' has no name in the {} family; a file of names can give it one, or leave it out",
                Shown(name),
                family.architecture()
            ),
        })
    }

    fn planned(
        &self,
        weight: Weight<'a>,
        name: String,
        family: Option<Family>,
        heads: &Heads<'_>,
        carried: bool,
    ) -> Result<(Vec<Planned<'a>>, Option<CarriedWeight>)> {
        let is_renamed = name != weight.name;
        let (mut method, mut fidelity, mut factor) = (None, None, None);
        let (source, own) = match weight.quantized {
            None => {
                let origin = weight.tensor.origin()?;
                (Source::File(origin), origin.ggml_type())
            }
            Some(quantized) => {
                let shape = folded(&weight.shape).ok_or_else(|| Error::Write {
                    message: format!("tensor '{}' has more elements than GGUF counts", Shown(&weight.name)),
                })?;
                method = Some(quantized.method.clone());
                // What is computed is kept instead where it was to become the type that has the same codes.
                let may_keep = self.ty.is_none_or(GgmlType::is_quantized)
                    && !family.is_some_and(|family| family.wants_f32(&name, shape.dims().len()))
                    && (name_of_scale(&name).is_some() || !quantized.has_factor());
                let kept = if may_keep { quantized.kept(shape)? } else { Err(quantized) };
                let matrix = match kept {
                    Ok(Kept { blocks, ty, factor: of_all, rounded })
                        if self.ty.is_none_or(|asked| asked == ty) =>
                    {
                        factor = of_all.filter(|&factor| factor != 1.0);
                        fidelity = Some(match rounded {
                            0.0 => Fidelity::Exact,
                            largest => Fidelity::ScalesRounded { largest },
                        });
                        Err((blocks, ty))
                    }
                    Ok(Kept { blocks, .. }) => Ok(blocks.into_matrix()),
                    Err(Quantized { matrix, .. }) => Ok(matrix),
                };
                match matrix {
                    Ok(matrix) => {
                        let own = weight.dtype.ggml_type().unwrap_or(GgmlType::BF16);
                        (Source::Computed { bytes: Box::new(matrix), shape, ty: GgmlType::F32 }, own)
                    }
                    Err((blocks, ty)) => (Source::Computed { bytes: Box::new(blocks), shape, ty }, ty),
                }
            }
        };
        let source = match heads.of(&name)?.filter(|_| is_renamed) {
            Some(heads) => source.in_heads(&weight.name, heads, true)?,
            None => source,
        };
        let shape = source.shape();
        let ty = match self.ty {
            _ if own.is_integer() => own,
            None if carried => own,
            _ if family.is_some_and(|family| family.wants_f32(&name, shape.dims().len())) => GgmlType::F32,
            Some(_) if shape.dims().len() < 2 => own,
            Some(ty) if shape.row_len().is_multiple_of(ty.block_len() as u64) => ty,
            Some(_) => GgmlType::F16,
            // llama.cpp has no use for doubles.
            None if own == GgmlType::F64 && family.is_some() => GgmlType::F32,
            None => own,
        };
        let fate = method.map(|method| CarriedWeight {
            name: name.clone(),
            method,
            ggml_type: ty,
            fidelity: fidelity.unwrap_or(match ty {
                GgmlType::F32 => Fidelity::Exact,
                _ => Fidelity::Requantized,
            }),
        });
        let beside =
            factor.zip(name_of_scale(&name)).zip(Shape::new(&[1])).map(|((factor, name), shape)| Planned {
                name,
                source: Source::Made(factor.to_le_bytes().to_vec(), shape),
                ty: GgmlType::F32,
                original: None,
                dtype: None,
            });
        Ok((
            [Planned { name, source, ty, original: None, dtype: None }].into_iter().chain(beside).collect(),
            fate,
        ))
    }

    fn metadata(
        &self,
        carried: BTreeMap<String, Value>,
        family: Option<Family>,
        class: Option<&str>,
        tensors: &[Planned<'_>],
        rows: Option<(u64, &str)>,
    ) -> Result<(Pairs, Vec<String>)> {
        // A model without matrices is as good as any.
        let file_type = most(tensors).or(self.ty).and_then(file_type_of);
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
        let config = self.description.config.as_ref().map(|config| config.root());
        let model_type = config.as_ref().and_then(|config| config.get("model_type"));
        let architecture = match (family, model_type) {
            (Some(family), _) => Some(family.architecture()),
            (None, Some(model_type)) => Some(model_type.str()?),
            (None, None) => None,
        };
        if let Some(architecture) = architecture {
            push("general.architecture", architecture.into());
        }
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
        if let Some(name) = self.name(config.as_ref()) {
            push("general.name", name.into());
        }
        push(
            "general.size_label",
            size_label(tensors.iter().map(|tensor| u128::from(tensor.element_count())).sum()).into(),
        );
        match family.zip(config.as_ref()) {
            Some((family, config)) => {
                pairs.extend(family.parameters(
                    config,
                    self.description,
                    file_type,
                    rows.and_then(|(rows, _)| u32::try_from(rows).ok()),
                    &mut notes,
                )?);
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
        if let Some(((rows, name), size)) =
            rows.zip(config.as_ref().and_then(|config| config.get("vocab_size")))
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
    fn name(&self, config: Option<&Node<'_>>) -> Option<String> {
        let published = config.and_then(|config| config.get("_name_or_path")?.value.as_str());
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
    family: Option<Family>,
}

impl Heads<'_> {
    /// `None` where rows stay in their order.
    fn of(&self, gguf_name: &str) -> Result<Option<u32>> {
        let Some(family) = self.family.filter(|family| family.rope_heads(gguf_name, 1, 1).is_some()) else {
            return Ok(None);
        };
        if let Some(config) = self.config.filter(|_| self.carried.is_empty()) {
            let heads = config.required("num_attention_heads")?.u32()?;
            let kv_heads = config.get("num_key_value_heads").map_or(Ok(heads), |heads| heads.u32())?;
            return Ok(family.rope_heads(gguf_name, heads, kv_heads));
        }
        let layer = layer(gguf_name).unwrap_or_default();
        let number = |key: &str| {
            let key = format!("{}.attention.{key}", family.architecture());
            match self.carried.get(&key) {
                Some(Value::U32(heads)) => Ok(Some(*heads)),
                Some(Value::Array(array)) => of_layer(&key, array, layer).map(Some),
                _ => Ok(None),
            }
        };
        let heads = number("head_count")?.ok_or_else(|| Error::Write {
            message: format!(
                "tensor '{}' is in heads, and the metadata does not say in one number how many",
                Shown(gguf_name)
            ),
        })?;
        Ok(family.rope_heads(gguf_name, heads, number("head_count_kv")?.unwrap_or(heads)))
    }
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

/// The number of parameters as `general.size_label` gives it: two digits or more, such as `1.1B` and `135M`.
fn size_label(parameters: u128) -> String {
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
            let label = label.to_owned();
            assert_eq!(size_label(parameters), label);
        }
    }
}
