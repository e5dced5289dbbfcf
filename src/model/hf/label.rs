//! What a model's name says of it: `Llama-3.2-1B-Instruct` is a Llama 3.2 of a billion parameters that was tuned to answer.

/// Parts of a name as `general.*` keys have them.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Label {
    pub(super) version: Option<String>,
    pub(super) finetune: Option<String>,
    pub(super) basename: Option<String>,
    pub(super) size: Option<String>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Basename,
    Version,
    /// A type of quantization, which no key has.
    Type,
    Size,
    Finetune,
}

/// The parts of the name of a model with so many parameters. Names with spaces are titles, and say nothing.
pub(super) fn label(name: &str, parameters: u128) -> Label {
    if name.contains(' ') {
        return Label::default();
    }
    let parts = name.split('-').filter(|part| !part.is_empty()).enumerate();
    let mut parts: Vec<(String, Option<Kind>)> =
        parts.map(|(at, part)| kind(part, at > 0, parameters)).collect();
    let has_digit = |(part, kind): &(String, Option<Kind>)| {
        *kind == Some(Kind::Size) && part.contains(|letter: char| letter.is_ascii_digit())
    };
    // Words are sizes only where no number is.
    if parts.iter().any(has_digit) {
        for (part, kind) in &mut parts {
            if *kind == Some(Kind::Size) && part.chars().all(char::is_alphabetic) {
                *kind = None;
            }
        }
    }
    let mut start = 0;
    for (part, kind) in &parts {
        let is_word = kind.is_none() && part.starts_with(char::is_alphabetic);
        if !is_word && *kind != Some(Kind::Version) {
            break;
        }
        start += 1;
    }
    // A version at the end of the whole name is one.
    if start == parts.len() {
        let is_version = |(_, kind): &&(String, Option<Kind>)| *kind == Some(Kind::Version);
        start -= parts.iter().rev().take_while(is_version).count();
    }
    for (at, (_, kind)) in parts.iter_mut().enumerate() {
        match kind {
            _ if at < start => *kind = Some(Kind::Basename),
            None => *kind = Some(Kind::Finetune),
            Some(_) => {}
        }
    }
    let joined = |wanted: Kind| {
        let mut found: Vec<&str> = Vec::new();
        for (part, _) in parts.iter().filter(|(_, kind)| *kind == Some(wanted)) {
            if wanted != Kind::Size || !found.contains(&part.as_str()) {
                found.push(part);
            }
        }
        (!found.is_empty()).then(|| found.join("-"))
    };
    let (version, finetune, size) = (joined(Kind::Version), joined(Kind::Finetune), joined(Kind::Size));
    // A name alone may be anything.
    let is_told = version.is_some() || finetune.is_some() || size.is_some();
    Label { version, finetune, basename: joined(Kind::Basename).filter(|_| is_told), size }
}

/// What a part is, where that is plain, and how it is written.
fn kind(part: &str, is_later: bool, parameters: u128) -> (String, Option<Kind>) {
    let lower = part.to_ascii_lowercase();
    let own = |kind| (part.to_owned(), Some(kind));
    if is_version(&lower) {
        return own(Kind::Version);
    }
    if is_type(&lower) {
        return (part.to_uppercase(), Some(Kind::Type));
    }
    if is_later && matches!(lower.as_str(), "small" | "mini" | "medium" | "large" | "xl" | "xxl") {
        return own(Kind::Size);
    }
    if is_later && let Some((size, count)) = size(part) {
        let parameters = parameters as f64;
        // Far from the model's size it is something else, such as a number of positions.
        return match count
            .filter(|count| parameters > 0.0 && (count - parameters).abs() > parameters * 7.0 / 8.0)
        {
            Some(_) => (size.to_ascii_lowercase(), Some(Kind::Finetune)),
            None => (size, Some(Kind::Size)),
        };
    }
    if is_later && matches!(lower.as_str(), "chat" | "instruct" | "vision" | "lora") {
        return own(Kind::Finetune);
    }
    (part.to_owned(), None)
}

/// Numbers with points between, perhaps behind a `v`.
fn is_version(part: &str) -> bool {
    let part = part.strip_prefix("iter").or_else(|| part.strip_prefix('v')).unwrap_or(part);
    part.split('.').all(is_number)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Types such as `q4_k_m`, `iq2_xs`, `f16` and `bf16`.
fn is_type(part: &str) -> bool {
    if matches!(part, "f16" | "f32" | "fp16" | "fp32" | "bf16" | "bf32" | "bfp16" | "bfp32") {
        return true;
    }
    let digits = part.strip_prefix('i').unwrap_or(part).strip_prefix('q');
    let Some((digit, rest)) = digits.and_then(|digits| digits.split_at_checked(1)) else { return false };
    let steps = rest.as_bytes().chunks(2);
    is_number(digit)
        && steps.clone().all(|step| matches!(step, [b'_', letter] if *letter != b'_' && letter.is_ascii()))
}

/// A size such as `7B`, `1.5b`, `8x7B` and `A3B`, as it is written, and the number where it is one.
fn size(part: &str) -> Option<(String, Option<f64>)> {
    let part = part.replace('_', ".");
    let unit_at = part.rfind(|letter: char| "kmbtKMBT".contains(letter))?;
    let (before, unit) = part.split_at(unit_at);
    let (unit, tenth) = unit.split_at(1);
    let (start, number) = match before.split_once(['x', 'X']) {
        Some((experts, number)) if is_number(experts) => (format!("{experts}x"), number),
        Some(_) => return None,
        None => match before.strip_prefix(['A', 'a']) {
            Some(number) => (before[..1].to_owned(), number),
            None => (String::new(), before),
        },
    };
    let (whole, fraction) =
        number.split_once('.').map_or((number, None), |(whole, part)| (whole, Some(part)));
    if !is_number(whole)
        || !fraction.is_none_or(is_number)
        || !(tenth.is_empty() || tenth.len() == 1 && is_number(tenth))
    {
        return None;
    }
    let unit = unit.to_uppercase();
    let power = 1 + "KMBT".find(&unit)? as i32;
    // As in bloom-7b1.
    let number = if tenth.is_empty() { number.to_owned() } else { format!("{number}.{tenth}") };
    let count = number.parse::<f64>().ok().filter(|_| start.is_empty());
    Some((format!("{start}{number}{unit}"), count.map(|count| count * 1000f64.powi(power))))
}

/// A name with spaces, and capitals where words have none.
pub(super) fn title(name: &str) -> String {
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
    name.replace('-', " ").split_whitespace().map(title).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(name: &str, parameters: u128) -> [String; 4] {
        let Label { version, finetune, basename, size } = label(name, parameters);
        [basename, size, version, finetune].map(Option::unwrap_or_default)
    }

    #[test]
    fn names_are_cut_into_what_they_say() {
        const B: u128 = 1_000_000_000;
        for (name, parameters, parts) in [
            ("phi4-mini", 100_000, ["phi4", "mini", "", ""]),
            ("phi3-4k", 308_000, ["phi3", "", "", "4k"]),
            ("llama3-rope", 341_000, ["", "", "", ""]),
            ("gpt_oss", 188_000, ["", "", "", ""]),
            ("Llama-3.2-1B-Instruct", 12 * B / 10, ["Llama-3.2", "1B", "", "Instruct"]),
            ("Mistral-7B-v0.1", 7 * B, ["Mistral", "7B", "v0.1", ""]),
            ("Mixtral-8x7B-Instruct-v0.1", 46 * B, ["Mixtral", "8x7B", "v0.1", "Instruct"]),
            ("Qwen3-30B-A3B", 30 * B, ["Qwen3", "30B-A3B", "", ""]),
            ("Phi-3-mini-128k-instruct", 4 * B, ["Phi-3", "mini", "", "128k-instruct"]),
            ("granite-3.1", B, ["granite", "", "3.1", ""]),
            ("bloom-7b1", 7 * B, ["bloom", "7.1B", "", ""]),
            ("SmolLM2-135M", 134_515_008, ["SmolLM2", "135M", "", ""]),
            ("a title of words", B, ["", "", "", ""]),
            ("model-Q4_K_M", B, ["", "", "", ""]),
        ] {
            assert_eq!(shown(name, parameters), parts, "{name}");
        }
        for name in ["", "-", "x-7é", "é-B", "x-AB", "x-_B", "x-9x9x9B", "q", "iq", "q4_é"] {
            let _ = label(name, 1);
        }
    }
}
