//! LoRA adapters of PEFT: what `adapter_config.json` and `adapter_model.safetensors` become as a GGUF.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::adapter_checks::{Made, Ranks, check_numbers, finite, fits, norm_fits, ranks_agree, twice};
use super::adapter_names::{Side, side};
use super::adapter_settings::{MERGE_INSTEAD, check_settings};
use super::families::{Family, Fate, Step, Target};
use super::heads::Heads;
use super::import::Import;
use super::import_plan::{ImportPlan, Pairs};
use super::json::{Document, Node};
use super::label::{Label, label, title};
use super::planned::{Planned, Source, unfit};
use super::steps::applied;
use crate::error::{Error, Result, Shown};
use crate::ggml_type::GgmlType;
use crate::gguf::value::{Array, Value};
use crate::model::file_type::QUANTIZATION_VERSION;
use crate::model::layer::TOKEN_EMBEDDING;

/// The two factors of what is added to a weight: A has a row for each rank, B a column.
#[derive(Default)]
struct Pair<'a> {
    a: Option<Factor<'a>>,
    b: Option<Factor<'a>>,
}

struct Factor<'a> {
    /// Of the tensor.
    name: &'a str,
    source: Arc<Source<'a>>,
}

/// The factors of the experts of a stack.
#[derive(Default)]
struct Stack<'a> {
    /// By their places.
    members: BTreeMap<u64, (Source<'a>, Source<'a>)>,
    /// The pair that was met last.
    last: usize,
}

impl<'a> Import<'a> {
    /// The adapter that `adapter_config.json` describes.
    pub(super) fn adapter(&self, adapter: &Node<'_>) -> Result<ImportPlan<'a>> {
        let (document, family, class) = self.base(adapter)?;
        let ranks = Ranks::read(adapter)?;
        let config = document.root();
        let mut pairs: Vec<(String, Pair<'a>)> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        let (mut tensors, mut left_out, mut made) = (Vec::new(), Vec::new(), Made::default());
        let heads = Heads { carried: &BTreeMap::new(), config: Some(&config), family: Some(family) };
        for tensor in self.checkpoint.tensors() {
            let name = tensor.info().name();
            check_numbers(name)?;
            if let Some((weight, side)) = side(name) {
                let factor = Factor { name, source: Arc::new(finite(&tensor)?) };
                let at = *places.entry(weight.clone()).or_insert(pairs.len());
                if at == pairs.len() {
                    pairs.push((weight, Pair::default()));
                }
                let other = match side {
                    Side::A => pairs[at].1.a.replace(factor),
                    Side::B => pairs[at].1.b.replace(factor),
                };
                if let Some(other) = other {
                    return Err(twice(other.name, name));
                }
            } else if name.contains(".base_layer.weight") {
                left_out.push(name);
            } else if (name.contains("_layernorm") || name.contains(".norm")) && !name.ends_with(".bias") {
                // What some tools put beside the factors; llama.cpp passes over them.
                for target in targets(family, name)? {
                    made.once(&target, name)?;
                    let mut source = finite(&tensor)?;
                    norm_fits(family, &config, name, &target, &source)?;
                    let Target { name: to, steps, .. } = target;
                    for &step in steps {
                        source = applied(step, source, name, &heads)?;
                    }
                    tensors.push(planned(to, source, GgmlType::F32));
                }
            } else {
                let what = match name.contains(".lora_magnitude_vector") {
                    true => "is a magnitude of DoRA, which has",
                    false => {
                        "is none of the factors of a LoRA adapter, which are called X.lora_A.weight and X.lora_B.weight: whole \
                         weights ('modules_to_save') and biases have"
                    }
                };
                return Err(unfit(name, &format!("{what} no place in a GGUF adapter{MERGE_INSTEAD}")));
            }
        }
        let experts = family.experts(&config)?.map(u64::from);
        let mut stacks: BTreeMap<String, Stack<'a>> = BTreeMap::new();
        // Each behind the pair that completes it.
        let mut placed: Vec<(usize, [Planned<'a>; 2])> = Vec::new();
        for (place, (name, pair)) in pairs.into_iter().enumerate() {
            let (Some(a), Some(b)) = (&pair.a, &pair.b) else {
                let missing = if pair.a.is_none() { "lora_A" } else { "lora_B" };
                return Err(unfit(
                    &name,
                    &format!("has no {missing}, which every weight of a LoRA adapter has"),
                ));
            };
            let (a, b) = (&a.source, &b.source);
            ranks.check(&name, ranks_agree(&name, a, b)?)?;
            let targets = targets(family, &name)?;
            let is_head = name.ends_with("lm_head.weight");
            if is_head && family.is_tied_by(&config, Some(class))? {
                return Err(unfit(
                    &name,
                    "is adapted, and the base model has its token embedding in its place ('tie_word_embeddings')",
                ));
            }
            if targets.is_empty() {
                left_out.extend([&pair.a, &pair.b].into_iter().flatten().map(|factor| factor.name));
            }
            for target in targets {
                made.once(&target, &name)?;
                let (a, b) = factors(&name, &target, a.again(), b.again(), &heads)?;
                fits(family, &config, &name, &target, &a, &b)?;
                match target.member {
                    None => placed.push((place, self.pair(target.name, a, b))),
                    Some(member) => {
                        if let Some(count) = experts.filter(|&count| member >= count) {
                            return Err(config.about(&format!(
                                "'{}' is of expert {member}, and the model has {count}",
                                Shown(&name)
                            )));
                        }
                        let stack = stacks.entry(target.name).or_default();
                        stack.last = place;
                        stack.members.insert(member, (a, b));
                    }
                }
            }
        }
        for (name, Stack { members, last }) in stacks {
            let count = experts.unwrap_or(members.len() as u64);
            if let Some(missing) = (0..count).find(|member| !members.contains_key(member)) {
                return Err(unfit(
                    &name,
                    &format!(
                        "has {count} experts, of which number {missing} is not adapted: all are, or none"
                    ),
                ));
            }
            let (a, b): (Vec<_>, Vec<_>) =
                members.into_values().map(|(a, b)| (Arc::new(a), Arc::new(b))).unzip();
            let (a, b) = (Source::stacked(&name, a)?, Source::stacked(&name, b)?);
            placed.push((last, self.pair(name, a, b)));
        }
        placed.sort_by_key(|(place, _)| *place);
        tensors.extend(placed.into_iter().flat_map(|(_, pair)| pair));
        let metadata = self.adapter_metadata(adapter, family, &tensors)?;
        Ok(ImportPlan { metadata, tensors, left_out, notes: Vec::new(), carried_weights: Vec::new() })
    }

    /// The base model's configuration, its family and class.
    fn base<'n>(&self, adapter: &Node<'n>) -> Result<(Document, &'static Family, &'a str)> {
        check_settings(adapter)?;
        let saved = adapter.get("modules_to_save").map(|saved| saved.array()).transpose()?;
        if let Some(module) = saved.and_then(|mut saved| saved.next()) {
            return Err(module.about(&format!(
                "'{}' was trained as a whole, and whole weights have no place in a GGUF adapter{MERGE_INSTEAD}",
                Shown(module.str()?)
            )));
        }
        let Some(config) = &self.description.config else {
            return Err(adapter.about(
                "the configuration of the base model is missing, which says what its tensors are called and how many heads it has: give \
                 its folder (`FromSafetensors::base`)",
            ));
        };
        let root = config.root();
        let class = match root.required("architectures")?.array()?.next() {
            Some(class) => class.str()?,
            None => return Err(root.wrong("names no class in 'architectures'")),
        };
        match Family::of_class(class) {
            Some(family) => Ok((config.with_defaults("text_config", family.defaults), family, class)),
            None => Err(root.about(&format!(
                "the base model is a {}, which is none of the families that are known",
                Shown(class)
            ))),
        }
    }

    /// The two tensors of a weight, in the type that was asked for where their rows are whole blocks of it.
    fn pair(&self, name: String, a: Source<'a>, b: Source<'a>) -> [Planned<'a>; 2] {
        let ty = self.ty.unwrap_or(GgmlType::F32);
        [("lora_a", a), ("lora_b", b)].map(|(end, source)| {
            let fits = ty.fits_rows(source.shape().row_len());
            planned(format!("{name}.{end}"), source, if fits { ty } else { GgmlType::F16 })
        })
    }

    /// Keys and values, as llama.cpp's converter writes them.
    fn adapter_metadata(
        &self,
        adapter: &Node<'_>,
        family: &Family,
        tensors: &[Planned<'_>],
    ) -> Result<Pairs> {
        let mut pairs: Pairs = Vec::new();
        let mut push = |key: &str, value: Value| pairs.push((key.to_owned(), value));
        push("general.architecture", family.architecture.into());
        push("general.type", "adapter".into());
        push("adapter.type", "lora".into());
        if let Some(id) = self.id() {
            push("general.name", title(&id).into());
            let parts: Vec<&str> = id.split('-').filter(|part| !part.eq_ignore_ascii_case("lora")).collect();
            let Label { version, finetune, basename, size } = label(&parts.join("-"), 0);
            for (key, said) in
                [("version", version), ("finetune", finetune), ("basename", basename), ("size_label", size)]
            {
                if let Some(said) = said {
                    push(&format!("general.{key}"), said.into());
                }
            }
        }
        let node = adapter.required("lora_alpha")?;
        let mut alpha = node.f64()?;
        if adapter.get("use_rslora").is_some_and(|flag| flag.value.as_bool() == Some(true)) {
            // The scale is alpha / √rank then, and readers take alpha / rank.
            alpha *= (rank(adapter, tensors)? as f64).sqrt();
        }
        match alpha as f32 {
            0.0 => {
                return Err(node.wrong(&format!(
                    "is {alpha}, with which an adapter adds nothing: those who read a GGUF take an alpha of 0 for none, and add the factors"
                )));
            }
            single if !single.is_finite() => {
                return Err(
                    node.wrong(&format!("makes an alpha of {alpha:e}, beyond the range of single precision"))
                );
            }
            single => push("adapter.lora.alpha", Value::F32(single)),
        }
        if let Some(tokens) = adapter.get("alora_invocation_tokens") {
            let tokens = tokens.array()?.map(|token| token.u32()).collect::<Result<Vec<u32>>>()?;
            push("adapter.alora.invocation_tokens", Value::Array(Array::U32(tokens)));
        }
        push("general.quantization_version", Value::U32(QUANTIZATION_VERSION));
        Ok(pairs)
    }
}

fn planned(name: String, source: Source<'_>, ty: GgmlType) -> Planned<'_> {
    Planned { name, source, ty, original: None, dtype: None }
}

/// What becomes of a weight of the base model.
fn targets(family: &'static Family, name: &str) -> Result<Vec<Target>> {
    let usual = family.usual_name(&name.replace("base_model.model.", ""));
    match family.fate(&usual, false) {
        Some(Fate::To(targets)) => Ok(targets),
        Some(Fate::LeftOut) => Ok(Vec::new()),
        None => Err(Error::write(format!(
            "'{}', which the adapter changes, has no name in the {} family: it is of another model",
            Shown(name),
            family.architecture
        ))),
    }
}

/// The factors as they belong to a tensor of the GGUF: what is done to the rows of a weight is done to those of B.
fn factors<'a>(
    name: &str,
    target: &Target,
    mut a: Source<'a>,
    mut b: Source<'a>,
    heads: &Heads<'_>,
) -> Result<(Source<'a>, Source<'a>)> {
    for &step in target.steps {
        match (step, heads.of(step, &target.name)?) {
            (Step::RotaryRows(_), Some(heads)) => b = b.in_heads(name, heads, true)?,
            (Step::Half(_) | Step::EverySecond(_), _) => b = applied(step, b, name, heads)?,
            (Step::Transpose, _) => {
                let turned = |source| applied(Step::Transpose, source, name, heads);
                (a, b) = (turned(b)?, turned(a)?);
            }
            _ => return Err(unfit(name, "is changed in GGUF in a way that factors of it cannot be")),
        }
    }
    if target.name == TOKEN_EMBEDDING {
        // Rows are looked up, not multiplied.
        a = applied(Step::Transpose, a, name, heads)?;
    }
    Ok((a, b))
}

/// The rank of an adapter, all of whose weights have the same.
fn rank(adapter: &Node<'_>, tensors: &[Planned<'_>]) -> Result<u64> {
    let mut ranks = tensors.iter().filter(|tensor| tensor.name.ends_with(".lora_b"));
    let rank = |tensor: &Planned<'_>| tensor.source.shape().row_len();
    let first = ranks.next().map_or(1, rank);
    match ranks.find(|tensor| rank(tensor) != first) {
        None => Ok(first),
        Some(other) => Err(adapter.about(&format!(
            "'use_rslora' is true, and ranks differ ({first} and {} of '{}'): a GGUF adapter has one alpha for all",
            rank(other),
            Shown(&other.name)
        ))),
    }
}
