//! The memory that a model needs where it is run.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use gguf_codec::model::{Memory, MemoryEstimate};
use gguf_codec::{GgmlType, ShardedGguf};

use crate::numbers::counted;
use crate::size;

/// The types of keys and values that llama.cpp has a cache of.
const KV_TYPES: [GgmlType; 9] = [
    GgmlType::F32,
    GgmlType::F16,
    GgmlType::BF16,
    GgmlType::Q8_0,
    GgmlType::Q4_0,
    GgmlType::Q4_1,
    GgmlType::IQ4_NL,
    GgmlType::Q5_0,
    GgmlType::Q5_1,
];

/// Parses a type of keys and values.
pub(crate) fn kv_type() -> impl TypedValueParser<Value = GgmlType> {
    PossibleValuesParser::new(KV_TYPES.map(GgmlType::name)).try_map(|name| name.parse::<GgmlType>())
}

/// Parses a number of tokens such as `32768`, `32k` or `1M`, where k is 1024, as in the names of models.
pub(crate) fn tokens(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1 << 10),
        Some((at, 'm' | 'M')) => (&text[..at], 1 << 20),
        _ => (text, 1),
    };
    let number = digits.parse::<u64>().ok().filter(|_| !digits.starts_with('+'));
    number.and_then(|number| number.checked_mul(unit)).filter(|&tokens| tokens > 0).ok_or_else(|| {
        "a number of tokens is 1 or more, perhaps with k for 1024 or M for 1024 · 1024, such as 32768 or 32k".to_owned()
    })
}

/// How the model would be run, as far as this affects its memory.
#[derive(Clone, Copy, Default)]
pub(crate) struct Run {
    /// Number of tokens; `None` means the context that the model was trained for.
    pub(crate) context: Option<u64>,
    /// The type of keys and values; `None` means F16.
    pub(crate) kv_type: Option<GgmlType>,
}

impl Run {
    /// Whether the user asked for the memory.
    pub(crate) fn is_asked(self) -> bool {
        self.context.is_some() || self.kv_type.is_some()
    }

    pub(crate) fn kv_type(self) -> GgmlType {
        self.kv_type.unwrap_or(GgmlType::F16)
    }

    /// The memory that the model needs in this context, or why it is unknown; `None` if no context length is known
    /// either.
    pub(crate) fn memory<B: AsRef<[u8]>>(
        self,
        model: &ShardedGguf<B>,
    ) -> Option<(u64, gguf_codec::Result<MemoryEstimate>)> {
        let context =
            self.context.or_else(|| model.require_arch::<u64>("context_length").ok().filter(|&n| n > 0))?;
        let memory = Memory::at(context).kv_type(self.kv_type());
        Some((context, memory.estimate(model.metadata(), model.tensors())))
    }
}

pub(super) fn memory_line(context: u64, memory: MemoryEstimate, run: Run) -> String {
    let mut parts = vec![format!("{} weights", size::shown(memory.weights))];
    if memory.kv_cache > 0 {
        parts.push(format!(
            "{} KV cache ({})",
            size::shown(memory.kv_cache),
            run.kv_type().name().to_lowercase()
        ));
    }
    if memory.state > 0 {
        parts.push(format!("{} state", size::shown(memory.state)));
    }
    // The total comes first, because a narrow screen cuts the end.
    let total = match parts.len() {
        1 => String::new(),
        _ => format!("{} = ", size::shown(memory.total())),
    };
    format!("memory at {}: {total}{}", counted(context, "token"), parts.join(" + "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_counted_in_units_of_1024() {
        for (text, number) in [("1", 1), ("32768", 32768), ("32k", 32768), ("128K", 131_072), ("1M", 1 << 20)]
        {
            assert_eq!(tokens(text), Ok(number), "{text}");
        }
        for text in [
            "",
            "k",
            "0",
            "0k",
            "-1",
            "+1",
            "1.5k",
            "32kB",
            "1G",
            "99999999999999999999",
            "18446744073709551615k",
        ] {
            assert!(tokens(text).is_err(), "{text}");
        }
    }
}
