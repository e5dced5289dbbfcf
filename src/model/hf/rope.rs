//! Rotary embeddings: what `config.json` asks for, and what llama.cpp's keys and factors say of it.

use serde_json::{Value as Json, json};

use super::config::Parameters;
use super::families::{Factors, Family, Keys};
use super::json::Node;
use crate::error::{Error, Result, Shown};
use crate::gguf::value::Value;

/// That of rotary embeddings where neither the configuration nor the class says another.
pub(super) const USUAL_ROPE_BASE: f64 = 10_000.0;

/// What `config.json` calls it, newest first.
const SCALING: [&str; 2] = ["rope_parameters", "rope_scaling"];
/// What newer configurations call kinds of layers there.
const LAYERS: [&str; 3] = ["full_attention", "sliding_attention", "chunked_attention"];
/// What bases are called.
const BASES: [&str; 4] = ["rope_theta", "rope_local_base_freq", "global_rope_theta", "local_rope_theta"];
/// What YaRN's numbers are called in GGUF and in `config.json`, where the first name is the one that is written.
const YARN: [(&str, &[&str]); 4] = [
    ("rope.scaling.yarn_ext_factor", &["extrapolation_factor"]),
    ("rope.scaling.yarn_attn_factor", &["attention_factor", "attn_factor"]),
    ("rope.scaling.yarn_beta_fast", &["beta_fast"]),
    ("rope.scaling.yarn_beta_slow", &["beta_slow"]),
];
/// Values of a head: far above any model's, and little memory.
pub(super) const MAX_DIM: u32 = 1 << 16;
/// How far factors that other programs made may be from those made here, as a part of them: sines of another library, and
/// what subtracting makes of their last bits.
const NEARLY: f32 = 1e-3;

/// What the configuration says of scaling: that of layers which see all of a text, where layers differ.
pub(super) fn scaling<'a>(config: &Node<'a>) -> Option<Node<'a>> {
    let rope = config.any(&SCALING)?;
    Some(rope.get("full_attention").unwrap_or(rope))
}

/// Refuses a scaling that is no object, in which nothing would be found, and bases and factors that no embedding has.
pub(super) fn check_rope(config: &Node<'_>) -> Result<()> {
    check_numbers(config, &BASES)?;
    for rope in SCALING.iter().filter_map(|key| config.get(key)) {
        check_scaling(&rope)?;
        // Those of kinds of layers.
        for layers in LAYERS.iter().filter_map(|key| rope.get(key)) {
            check_scaling(&layers)?;
        }
    }
    Ok(())
}

fn check_scaling(rope: &Node<'_>) -> Result<()> {
    if !rope.value.is_object() {
        return Err(
            rope.wrong("must be an object, such as {\"rope_type\": \"yarn\", \"factor\": 4.0}, or null")
        );
    }
    check_numbers(rope, &BASES)?;
    check_numbers(rope, &["factor"])
}

fn check_numbers(of: &Node<'_>, keys: &[&str]) -> Result<()> {
    for number in keys.iter().filter_map(|key| of.get(key)) {
        let value = number.f64()?;
        // As GGUF has it.
        if value as f32 <= 0.0 {
            return Err(number.wrong(&format!("is {value:?}, and must be more than 0")));
        }
    }
    Ok(())
}

/// The base of rotary embeddings.
pub(super) fn rope_base(config: &Node<'_>) -> Result<Option<f64>> {
    let of_rope = scaling(config).and_then(|rope| rope.get("rope_theta"));
    of_rope.or_else(|| config.get("rope_theta")).map(|theta| theta.f64()).transpose()
}

/// How many values of a head are turned, where that is a part of them.
pub(super) fn rotary_dimensions(config: &Node<'_>) -> Result<u32> {
    let heads = config.required("num_attention_heads")?;
    let width = config.required("hidden_size")?.u32()?;
    let key = "partial_rotary_factor";
    let part = config.get(key).or_else(|| scaling(config)?.get(key));
    let part = part.map_or(Ok(1.0), |part| part.f64())?;
    let turned = (part * f64::from(width)) as u32;
    turned.checked_div(heads.u32()?).ok_or_else(|| heads.wrong("must not be 0"))
}

/// Positions before long texts were learnt.
pub(super) fn original_context(config: &Node<'_>) -> Result<Option<u32>> {
    let key = "original_max_position_embeddings";
    let context = config.get(key).or_else(|| scaling(config)?.get(key));
    context.map(|context| context.u32()).transpose()
}

/// Whether pairs have factors of their own in short and in long texts.
fn is_long_rope(config: &Node<'_>) -> Result<bool> {
    let kind = scaling(config).and_then(|rope| rope.any(&["rope_type", "type"]));
    Ok(matches!(kind.map(|kind| kind.str()).transpose()?, Some("longrope" | "su" | "yarn")))
}

/// What attention is multiplied by where texts may be longer than those of the start.
pub(super) fn long_rope_factor(config: &Node<'_>) -> Result<Option<f64>> {
    let context = config.required("max_position_embeddings")?;
    let Some(original) = original_context(config)?.filter(|_| is_long_rope(config).is_ok_and(|is| is)) else {
        return Ok(None);
    };
    if original < 2 {
        return Err(config.about("'original_max_position_embeddings' must be more than 1"));
    }
    let (context, original) = (f64::from(context.u32()?), f64::from(original));
    let scale = context / original;
    Ok(Some(if scale <= 1.0 { 1.0 } else { (1.0 + scale.ln() / original.ln()).sqrt() }))
}

fn long_rope(config: &Node<'_>) -> Result<Vec<(&'static str, Vec<f32>)>> {
    let Some(rope) = scaling(config).filter(|_| is_long_rope(config).is_ok_and(|is| is)) else {
        return Ok(Vec::new());
    };
    let pairs = rotary_dimensions(config)? / 2;
    let factors = |key: &str| -> Result<Vec<f32>> {
        let node = rope.required(key)?;
        let factors: Vec<f32> =
            node.array()?.map(|factor| Ok(factor.f64()? as f32)).collect::<Result<_>>()?;
        match factors.len() == pairs as usize {
            true => Ok(factors),
            false => Err(node
                .wrong(&format!("has {} factors, and a head turns {pairs} pairs of values", factors.len()))),
        }
    };
    Ok(vec![
        ("rope_factors_long.weight", factors("long_factor")?),
        ("rope_factors_short.weight", factors("short_factor")?),
    ])
}

impl Family {
    /// The keys of rotary embeddings, and a note of a scaling that has none.
    pub(super) fn rope(&self, config: &Node<'_>, keys: &mut Keys, notes: &mut Vec<String>) -> Result<()> {
        let rope = scaling(config);
        let of_rope = |names: &[&str]| rope.as_ref().and_then(|rope| rope.any(names));
        let kind = of_rope(&["rope_type", "type"]).map(|kind| kind.str()).transpose()?;
        let factor = of_rope(&["factor"]);
        let mut left_out = |why: &str| {
            let kind = kind.map_or("without a type".to_owned(), |kind| format!("'{}'", Shown(kind)));
            notes.push(format!("the rope scaling {kind} of config.json is left out: {why}"));
        };
        match (kind, &factor) {
            (Some(kind @ ("linear" | "yarn")), Some(factor)) => {
                keys.push("rope.scaling.type", Value::String(kind.into()));
                keys.f32("rope.scaling.factor", factor.f64()?);
            }
            (Some("linear" | "yarn"), None) | (None, Some(_)) => left_out("it needs a type and a factor"),
            (Some("llama3"), _) if self.factors == Some(Factors::Llama3) => {}
            (Some("default") | None, _) => {}
            (Some("dynamic"), _) => {
                left_out(
                    "llama.cpp has no such, and texts longer than max_position_embeddings are not scaled",
                );
            }
            (Some(_), _) => {
                left_out("GGUF has no key for it, and values may be wrong in texts of any length");
            }
        }
        if kind == Some("yarn") {
            if let Some((rope, factor)) = rope.as_ref().zip(factor) {
                self.note_yarn(rope, factor.f64()?, notes)?;
            }
            if let Some(length) = of_rope(&["original_max_position_embeddings"]) {
                keys.u32("rope.scaling.original_context_length", length.u32()?);
            }
            for (key, names) in YARN {
                if let Some(value) = of_rope(names) {
                    keys.f32(key, value.f64()?);
                }
            }
        }
        if let Some(theta) = rope_base(config)? {
            keys.f32("rope.freq_base", theta);
        }
        Ok(())
    }

    /// Tensors of factors by which pairs turn slower, where the configuration asks for them.
    pub(super) fn rope_factors(&self, config: &Node<'_>) -> Result<Vec<(&'static str, Vec<f32>)>> {
        Ok(match self.factors {
            Some(Factors::Llama3) => {
                Self::llama3(config)?.map(|factors| ("rope_freqs.weight", factors)).into_iter().collect()
            }
            Some(Factors::LongRope) => long_rope(config)?,
            None => Vec::new(),
        })
    }

    /// The factors by which Llama 3.1 slows the turning of each pair, where the configuration asks for it.
    fn llama3(config: &Node<'_>) -> Result<Option<Vec<f32>>> {
        let Some(rope) = scaling(config) else { return Ok(None) };
        match rope.any(&["rope_type", "type"]) {
            Some(kind) if kind.str()? == "llama3" => {}
            _ => return Ok(None),
        }
        let base = rope_base(config)?.unwrap_or(USUAL_ROPE_BASE) as f32;
        let heads = config.required("num_attention_heads")?;
        let dim = match config.get("head_dim") {
            Some(dim) => dim.u32()?,
            None => config
                .required("hidden_size")?
                .u32()?
                .checked_div(heads.u32()?)
                .ok_or_else(|| heads.wrong("must not be 0"))?,
        };
        if dim > MAX_DIM {
            return Err(heads.wrong(&format!("leaves {dim} values for a head, and {MAX_DIM} is the most")));
        }
        let context = "original_max_position_embeddings";
        // The class has no defaults for them.
        let number = |node: Result<Node<'_>>| Ok::<_, Error>(node?.f64()? as f32);
        let scaling = Llama3 {
            factor: number(rope.required("factor"))?,
            low: number(rope.required("low_freq_factor"))?,
            high: number(rope.required("high_freq_factor"))?,
            context: number(config.get(context).map_or_else(|| rope.required(context), Ok))?,
        };
        Ok(Some(scaling.factors(base, dim)))
    }

    /// `rope_scaling` of `config.json` for a model that is exported, whose `rope_freqs.weight` has these factors.
    pub(super) fn rope_scaling(
        &self,
        parameters: &Parameters<'_>,
        factors: Option<&[f32]>,
        notes: &mut Vec<String>,
    ) -> Option<Json> {
        if self.factors == Some(Factors::Llama3)
            && let Some(factors) = factors
        {
            let base = parameters.f32("rope.freq_base").unwrap_or(10000.0);
            match Llama3::of_factors(factors, base) {
                Some(scaling) => return scaling.to_json(),
                None => notes.push(
                    "config.json has no rope_scaling that says what rope_freqs.weight does: its factors are not those of \
                     Llama 3.1, which low_freq_factor 1, high_freq_factor 4 and 8192 positions before scaling give"
                        .to_owned(),
                ),
            }
        }
        // Files older than the key have another, and those without a type are linear, as llama.cpp reads them.
        let factor =
            parameters.number("rope.scaling.factor").or_else(|| parameters.number("rope.scale_linear"));
        let kind = parameters.str("rope.scaling.type").unwrap_or("linear");
        match (kind, factor) {
            ("linear" | "yarn", Some(factor)) if factor != 0.0 => {
                // Until 2024 the transformers library knew it by the second name alone.
                let mut scaling = json!({ "rope_type": kind, "type": kind, "factor": factor });
                if kind == "yarn" {
                    if let Some(length) = parameters.u32("rope.scaling.original_context_length") {
                        scaling["original_max_position_embeddings"] = length.into();
                    }
                    for (key, names) in YARN {
                        if let Some(value) = parameters.number(key) {
                            scaling[names[0]] = value.into();
                        }
                    }
                }
                Some(scaling)
            }
            ("linear" | "yarn" | "none", _) => None,
            (kind, _) => {
                let kind = Shown(kind);
                notes.push(format!(
                    "config.json lacks the rope scaling '{kind}', which is known here to GGUF alone"
                ));
                None
            }
        }
    }
}

/// How Llama 3.1 slows the turning of pairs.
struct Llama3 {
    factor: f32,
    low: f32,
    high: f32,
    /// Positions before scaling.
    context: f32,
}

impl Llama3 {
    /// Of 3.1; later ones differ in the factor alone.
    const USUAL: Self = Llama3 { factor: 8.0, low: 1.0, high: 4.0, context: 8192.0 };

    /// A factor for each pair of a head of `dim` values.
    fn factors(&self, base: f32, dim: u32) -> Vec<f32> {
        let Llama3 { factor, low, high, context } = *self;
        let of_pair = |pair: u32| {
            let frequency = 1.0 / base.powf((2 * pair) as f32 / dim as f32);
            let wavelength = (2.0 * std::f64::consts::PI) as f32 / frequency;
            if wavelength < context / high {
                1.0
            } else if wavelength > context / low {
                factor
            } else {
                let smooth = (context / wavelength - low) / (high - low);
                1.0 / ((1.0 - smooth) / factor + smooth)
            }
        };
        (0..dim.div_ceil(2)).map(of_pair).collect()
    }

    /// The scaling whose factors these are, where it is the usual one but for its factor: the slowest pair's.
    fn of_factors(factors: &[f32], base: f32) -> Option<Self> {
        let dim =
            u32::try_from(factors.len()).ok()?.checked_mul(2).filter(|dim| (2..=MAX_DIM).contains(dim))?;
        let scaling = Llama3 { factor: *factors.last()?, ..Self::USUAL };
        let made = scaling.factors(base, dim);
        let alike =
            factors.iter().zip(made).all(|(factor, made)| (factor - made).abs() <= NEARLY * made.abs());
        alike.then_some(scaling)
    }

    /// `None` where nothing is slowed.
    fn to_json(&self) -> Option<Json> {
        (self.factor != 1.0).then(|| {
            json!({ "rope_type": "llama3", "factor": self.factor, "low_freq_factor": self.low,
                "high_freq_factor": self.high, "original_max_position_embeddings": self.context as u32 })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scaling_is_told_from_its_factors() {
        for factor in [8.0, 32.0] {
            let made = Llama3 { factor, ..Llama3::USUAL }.factors(500_000.0, 128);
            assert_eq!(Llama3::of_factors(&made, 500_000.0).map(|scaling| scaling.factor), Some(factor));
            // With another base the same factors say something else.
            assert!(Llama3::of_factors(&made, 10_000.0).is_none());
            let mut other = made;
            other[40] *= 1.01;
            assert!(Llama3::of_factors(&other, 500_000.0).is_none());
        }
        for factors in [&[][..], &[f32::NAN], &[1.0, f32::INFINITY]] {
            assert!(Llama3::of_factors(factors, 500_000.0).is_none());
        }
        let none = Llama3::of_factors(&[1.0; 4], 10_000.0).unwrap();
        assert!(none.to_json().is_none());
    }
}
