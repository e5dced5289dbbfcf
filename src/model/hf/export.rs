//! [`Export`]: what a GGUF becomes as safetensors.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use super::back::{experts, heads, in_turns, leads_back};
use super::compressed;
use super::config::{RopeTensors, config, padding};
use super::export_plan::ExportPlan;
use super::families::{Back, Family, Origins, Step, Turn, Turns};
use super::per_layer::common;
use super::planned::{Planned, Source, most};
use super::rope::MAX_DIM;
use super::stored::{self, ORIGINAL_SHAPE};
use crate::error::{Error, Result};
use crate::file::read_at::ReadAt;
use crate::ggml_type::GgmlType;
use crate::gguf::TensorInfo;
use crate::gguf::index::Gguf;
use crate::gguf::metadata::Metadata;
use crate::gguf::shards::ShardedGguf;
use crate::gguf::value::Array;
use crate::model::file_type::FileType;
use crate::model::job::Origin;
use crate::model::scaled::scales;
use crate::safetensors::folded;
use crate::tensor::Shape;

type Names<'a> = Box<dyn Fn(&str) -> Option<String> + Send + Sync + 'a>;

/// Plans safetensors files from a GGUF.
///
/// Plain values stay as they are; blocks become floats. The names of known families become those of Hugging Face. All
/// metadata goes along, so that [`Import`](super::Import) makes the same model of it again.
///
/// ```no_run
/// use gguf_codec::model::{Convert, hf};
/// use gguf_codec::{Gguf, safetensors};
///
/// let (model, file) = (Gguf::open("model.gguf")?, std::fs::File::open("model.gguf").unwrap());
/// let plan = hf::Export::new(&model, &file).plan()?;
/// for shard in plan.shards(Some(5_000_000_000)) {
///     let mut writer = safetensors::Writer::create(&shard.file_name)?;
///     plan.declare(&shard, &mut writer)?;
///     let mut data = writer.write_header()?;
///     let outcomes = Convert::new().run(&plan.jobs(&shard)?, &mut data)?;
///     // F16 has a smaller range than the blocks of most types.
///     assert!(outcomes.iter().all(|outcome| outcome.overflowed == 0), "ask for BF16 or F32");
///     data.finish()?;
/// }
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[must_use = "nothing is planned before `plan`"]
pub struct Export<'a> {
    metadata: Metadata<'a>,
    /// What the metadata says of the file that it was in, and of no other.
    left_out: &'static [&'static str],
    tensors: Vec<(TensorInfo<'a>, Origin<'a>)>,
    ty: GgmlType,
    compressed: bool,
    names: Option<Names<'a>>,
}

impl<'a> Export<'a> {
    /// Of this model, whose tensors are read from `source`, which begins where the GGUF begins.
    pub fn new<B: AsRef<[u8]>>(model: &'a Gguf<B>, source: &'a dyn ReadAt) -> Self {
        let tensors = model.tensors().map(|tensor| (tensor, Origin::of(source, &tensor))).collect();
        Export {
            metadata: model.metadata(),
            left_out: &[],
            tensors,
            ty: GgmlType::F16,
            compressed: false,
            names: None,
        }
    }

    /// Of this model in one file or several, each of whose tensors `origin` finds. What the metadata of several says of
    /// shards is left out.
    ///
    /// ```no_run
    /// use gguf_codec::model::{Input, hf::Export};
    /// let input = Input::open("model-00001-of-00003.gguf")?;
    /// let plan = Export::sharded(input.model(), |tensor| input.origin(tensor))?.plan()?;
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of `origin`.
    pub fn sharded<B: AsRef<[u8]>>(
        model: &'a ShardedGguf<B>,
        origin: impl Fn(&TensorInfo<'a>) -> Result<Origin<'a>>,
    ) -> Result<Self> {
        let tensors = model.tensors().map(|tensor| Ok((tensor, origin(&tensor)?))).collect::<Result<_>>()?;
        let left_out = model.keys_of_shards();
        Ok(Export {
            metadata: model.metadata(),
            left_out,
            tensors,
            ty: GgmlType::F16,
            compressed: false,
            names: None,
        })
    }

    /// What blocks become: F16 if this is not called, F32 or BF16.
    pub fn ggml_type(mut self, ty: GgmlType) -> Self {
        self.ty = ty;
        self
    }

    /// Whether the matrices of layers in Q4_0, Q4_1, Q8_0, MXFP4 and NVFP4 keep their codes, as a compressed-tensors checkpoint that
    /// vLLM and the transformers library read. Q4_1 does so where each minimum is a whole multiple of its scale, as in what was
    /// imported. Other blocks become floats.
    pub fn compressed_tensors(mut self, compressed: bool) -> Self {
        self.compressed = compressed;
        self
    }

    /// Names that come before the built-in ones: the function gets a name in the GGUF, and `None` leaves it to them.
    pub fn names(mut self, names: impl Fn(&str) -> Option<String> + Send + Sync + 'a) -> Self {
        self.names = Some(Box::new(names));
        self
    }

    /// Looks at every tensor's name, type and shape, and at the metadata. Of data, only the factors of rotary embeddings are
    /// read, and norms from which one is subtracted.
    ///
    /// # Errors
    /// [`Error::Write`] where the type for blocks is none of plain floats, two tensors get the same name, or the rows of one
    /// are not in the heads that the metadata speaks of; [`Error::WrongValue`] where their number is none; [`Error::Io`].
    pub fn plan(self) -> Result<ExportPlan<'a>> {
        if !matches!(self.ty, GgmlType::F16 | GgmlType::F32 | GgmlType::BF16) {
            return Err(Error::write(format!("blocks become F16, F32 or BF16, not {}", self.ty)));
        }
        let metadata = self.metadata;
        let architecture = metadata.optional::<&str>("general.architecture").ok().flatten();
        let has = |name: &str| metadata.contains(name) || self.origin_of(name).is_some();
        let family = architecture.and_then(|name| Family::of_architecture(name, has));
        let classifier =
            family.and_then(|family| family.classifier(|_, tensor| self.origin_of(tensor).is_some()));
        let mut tensors = Vec::with_capacity(self.tensors.len());
        let mut scales = scales(self.tensors.iter().map(|(tensor, origin)| (tensor.name, *origin)))?;
        // Plain values that keep their names stay as they are, and so do the factors beside them. Under a family's names nothing
        // would look for factors.
        let plain = self.tensors.iter().filter(|(_, origin)| !origin.ggml_type().is_quantized());
        plain
            .filter(|(tensor, _)| family.and_then(|family| family.back(tensor.name())).is_none())
            .for_each(|(tensor, _)| drop(scales.remove(tensor.name())));
        let beside: HashSet<String> = scales
            .keys()
            .filter_map(|name| name.strip_suffix(".weight"))
            .flat_map(|stem| [format!("{stem}.scale"), format!("{stem}.input_scale")])
            .collect();
        let (mut modules, mut dequantized_instead) = (BTreeMap::new(), 0);
        let mut multiplied = scales.len();
        let mut kept = 0;
        for (tensor, origin) in self.tensors.iter().filter(|(tensor, _)| !beside.contains(tensor.name())) {
            let gguf_name = tensor.name();
            let given = self.names.as_ref().and_then(|names| names(gguf_name));
            let back = family.and_then(|family| family.back(gguf_name));
            let back = match back {
                // All of them, or none.
                Some(Back { name: Origins::Turns(turns), .. }) if !self.has_all(family, &turns) => {
                    kept += 1;
                    None
                }
                Some(back) if !leads_back(&back, *origin)? => {
                    kept += 1;
                    None
                }
                back => back,
            };
            if let Some(Origins::Stack(pattern)) = back.as_ref().map(|back| &back.name)
                && given.is_none()
            {
                dequantized_instead += usize::from(self.compressed && origin.ggml_type().is_quantized());
                let scales = scales.remove(gguf_name).unwrap_or_default();
                tensors.extend(experts(pattern, *origin, &scales, self.ty)?);
                continue;
            }
            if let Some(Origins::Turns(turns)) = back.as_ref().map(|back| &back.name)
                && given.is_none()
            {
                dequantized_instead += usize::from(self.compressed && origin.ggml_type().is_quantized());
                let with_scales = |(part, _): &(String, bool)| {
                    let source = Source::File(self.origin_of(part)?);
                    Some(source.scaled(scales.get(part.as_str()).cloned()))
                };
                let parts = turns.parts.iter().filter_map(with_scales).collect();
                let ty = if origin.ggml_type().is_quantized() { self.ty } else { origin.ggml_type() };
                tensors.extend(in_turns(turns.clone(), gguf_name, parts, ty)?);
                continue;
            }
            let (built_in, steps) = match back.map(|back| (back.name, back.steps)) {
                Some((Origins::One(name), steps)) => (
                    Some(classifier.map_or_else(|| name.clone(), |classifier| classifier.named(&name))),
                    steps,
                ),
                _ => (None, &[][..]),
            };
            let name = given.or(built_in).unwrap_or_else(|| gguf_name.to_owned());
            let mut source = Source::File(*origin);
            for step in steps.iter().filter(|_| name != gguf_name) {
                source = match step {
                    Step::RotaryRows(of) => {
                        let (heads, kv_heads) = heads(family, metadata, gguf_name)?;
                        source.in_heads(gguf_name, of.either(heads, kv_heads), false)?
                    }
                    Step::AddOne => Arc::new(source).floats(Some(-1.0)),
                    Step::Squeeze => {
                        let dims: Vec<u64> = source.shape().dims().iter().copied().chain([1]).collect();
                        let shape = Shape::new(&dims).unwrap_or(source.shape());
                        source.reshaped(shape)?
                    }
                    Step::From(_) => source.after_zeros(gguf_name, u64::from(padding(metadata)) + 1)?,
                    _ => source,
                };
            }
            if self.compressed {
                let factor = match scales.get(gguf_name).map(Vec::as_slice) {
                    None => Some(None),
                    Some([factor]) => Some(Some(*factor)),
                    // Each matrix has its own.
                    Some(_) => None,
                };
                if let Some(factor) = factor {
                    match compressed::parts(&name, source, factor)? {
                        Ok(parts) => {
                            let module = name.strip_suffix(".weight").unwrap_or(&name).to_owned();
                            let own = tensor.ggml_type();
                            modules.entry(own.name()).or_insert_with(|| (own, Vec::new())).1.push(module);
                            scales.remove(gguf_name);
                            tensors.extend(parts);
                            continue;
                        }
                        Err(same) => source = same,
                    }
                }
                dequantized_instead += usize::from(tensor.ggml_type().is_quantized());
            }
            let source = source.scaled(scales.remove(gguf_name));
            let own = tensor.ggml_type();
            let original =
                metadata.optional::<Vec<u64>>(&format!("{ORIGINAL_SHAPE}{gguf_name}")).ok().flatten();
            let original = original.filter(|shape| folded(shape) == Some(tensor.shape()));
            let ty = if own.is_quantized() { self.ty } else { own };
            tensors.push(Planned { name, source, ty, original, dtype: None });
        }
        let any_dequantized = self.tensors.iter().any(|(tensor, _)| tensor.ggml_type().is_quantized());
        multiplied -= modules
            .values()
            .filter(|(ty, _)| *ty == GgmlType::NVFP4)
            .map(|(_, own)| own.len())
            .sum::<usize>()
            .min(multiplied);
        let (config, mut notes) = match family {
            Some(family) => {
                let quantization = (!modules.is_empty()).then(|| compressed::config(&modules));
                let rope = RopeTensors {
                    freqs: self.factors("rope_freqs.weight")?,
                    long: self.factors("rope_factors_long.weight")?,
                    short: self.factors("rope_factors_short.weight")?,
                };
                config(family, classifier.as_ref(), metadata, &tensors, &rope, quantization)
            }
            None => (None, Vec::new()),
        };
        let config = config.filter(|_| kept == 0);
        if kept > 0 {
            notes.push(format!(
                "{kept} {} its name in GGUF, since its values or its shape would not come back as they were: there is no config.json",
                if kept == 1 { "tensor keeps" } else { "tensors keep" }
            ));
        }
        if self.compressed && dequantized_instead > 0 {
            notes.push(format!(
                "{dequantized_instead} {} not the codes of a compressed-tensors checkpoint, or not in a layer: blocks became {}",
                if dequantized_instead == 1 { "tensor has" } else { "tensors have" },
                self.ty
            ));
        }
        if multiplied > 0 {
            notes.push(format!(
                "{multiplied} {} multiplied by the factors beside, which are left out, as are those of activations",
                if multiplied == 1 { "tensor is" } else { "tensors are" }
            ));
        }
        let dequantized = most(&tensors).filter(|_| any_dequantized && modules.is_empty());
        Ok(ExportPlan { metadata: text(metadata, self.left_out, dequantized), config, notes, tensors })
    }

    fn origin_of(&self, gguf_name: &str) -> Option<Origin<'a>> {
        self.tensors.iter().find(|(tensor, _)| tensor.name() == gguf_name).map(|(_, origin)| *origin)
    }

    /// Whether all that take turns are there, fit each other, and have no names of their own.
    fn has_all(&self, family: Option<&Family>, turns: &Turns) -> bool {
        let parts = turns.parts.iter().map(|(part, _)| self.origin_of(part));
        let Some(parts) = parts.collect::<Option<Vec<_>>>() else { return false };
        let named =
            |(part, _): &(String, bool)| self.names.as_ref().is_some_and(|names| names(part).is_some());
        if turns.parts.iter().any(named)
            || parts.windows(2).any(|two| two[0].ggml_type() != two[1].ggml_type())
        {
            return false;
        }
        let (Turn::Matrices, Some(family)) = (turns.turn, family) else {
            return parts.windows(2).all(|two| two[0].shape() == two[1].shape());
        };
        // The rows of a head, by which they are parted again, are those that the metadata says.
        let number = |key: &str| common(self.metadata, &format!("{}.{key}", family.architecture)).flatten();
        let rows = family.rows_of_heads(turns);
        let fits = |((part, (_, is_transposed)), rows): ((&Origin<'_>, &(String, bool)), &&str)| {
            let shape = part.shape();
            let [len, own, heads] = *shape.dims() else { return None };
            let (len, own) = if *is_transposed { (own, len) } else { (len, own) };
            (family.number_of(rows, number).map(u64::from) == Some(own)).then_some((len, heads))
        };
        let shapes: Option<Vec<_>> = parts.iter().zip(&turns.parts).zip(&rows).map(fits).collect();
        shapes.is_some_and(|shapes| {
            shapes.len() == parts.len() && shapes.windows(2).all(|two| two[0] == two[1])
        })
    }

    /// The factors by which pairs turn slower; none where the tensor has anything else.
    fn factors(&self, name: &str) -> Result<Option<Vec<f32>>> {
        let named = self.tensors.iter().find(|(tensor, _)| tensor.name() == name);
        let Some(&(_, origin)) = named else { return Ok(None) };
        if origin.ggml_type() != GgmlType::F32 || origin.shape().element_count() > MAX_DIM.into() {
            return Ok(Some(Vec::new()));
        }
        let mut bytes = vec![0; origin.byte_len() as usize];
        let reading = |error| Error::io(format!("read tensor '{name}'"), error);
        origin.fill_little_endian(&mut bytes, 0).map_err(reading)?;
        let (singles, _) = bytes.as_chunks();
        Ok(Some(singles.iter().map(|single| f32::from_le_bytes(*single)).collect()))
    }
}

impl fmt::Debug for Export<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export").field("type", &self.ty).finish_non_exhaustive()
    }
}

/// The metadata as text, its order, and a type of file that is true of dequantized tensors.
fn text(metadata: Metadata<'_>, left_out: &[&str], dequantized: Option<GgmlType>) -> Vec<(String, String)> {
    let stays = metadata.iter().filter(|(key, _)| !left_out.contains(key));
    let mut pairs: Vec<_> = stays.map(|(key, value)| (key.to_owned(), stored::to_text(value))).collect();
    if let Some(file_type) = dequantized.and_then(FileType::mostly)
        && let Some((_, text)) = pairs.iter_mut().find(|(key, _)| key == "general.file_type")
    {
        *text = format!("u32:{}", file_type.id());
    }
    let order = Array::String(pairs.iter().map(|(key, _)| key.clone().into_bytes()).collect());
    pairs.push((stored::ORDER.to_owned(), stored::array_to_text(&order)));
    for (key, _) in &mut pairs {
        key.insert_str(0, stored::PREFIX);
    }
    pairs
}
