//! Formats numbers and strings for the page.

use gguf_codec::{ArrayRef, Shape, ValueRef};

use crate::numbers::grouped;

/// A number of bytes with three digits, in decimal units.
pub(crate) fn bytes(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "bytes");
    for next in ["kB", "MB", "GB", "TB", "PB", "EB"] {
        if value < 999.5 {
            break;
        }
        (value, unit) = (value / 1000.0, next);
    }
    if unit == "bytes" { format!("{bytes} bytes") } else { format!("{} {unit}", three_digits(value)) }
}

/// A count with three digits: `135 M`.
pub(crate) fn count(count: u64) -> String {
    let (mut value, mut unit) = (count as f64, "");
    for next in ["k", "M", "B", "T"] {
        if value < 999.5 {
            break;
        }
        (value, unit) = (value / 1000.0, next);
    }
    if unit.is_empty() { count.to_string() } else { format!("{} {unit}", three_digits(value)) }
}

fn three_digits(value: f64) -> String {
    let decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.decimals$}")
}

/// A fraction of a whole, in percent.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    let share = if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 100.0 };
    match share {
        0.0 => "0 %".into(),
        0.0..0.01 => "< 0.01 %".into(),
        0.0..1.0 => format!("{share:.2} %"),
        _ => format!("{share:.1} %"),
    }
}

/// A weight's value: four digits, with an exponent where plain digits would be too many.
pub(crate) fn value(value: f64) -> String {
    let shown = match value.abs() {
        0.0 => "0".into(),
        1e-3..1e4 => {
            let before = value.abs().log10().floor() as i32 + 1;
            format!("{value:.*}", (4 - before).clamp(0, 6) as usize)
        }
        _ if value.is_finite() => format!("{value:.2e}"),
        _ => value.to_string(),
    };
    shown.replace('-', "−")
}

/// 1, 2 or 5 times a power of ten, near `step`.
pub(crate) fn round_step(step: f64) -> f64 {
    if step.is_nan() || step <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(step.log10().floor());
    let times = [1.0, 2.0, 5.0].into_iter().find(|times| times * power >= step * 0.7).unwrap_or(10.0);
    times * power
}

/// A signal-to-noise ratio.
pub(crate) fn decibels(snr: f64) -> String {
    if snr == f64::INFINITY {
        "exact".into()
    } else if snr.is_nan() {
        "not a number".into()
    } else {
        format!("{snr:.1} dB").replace('-', "−")
    }
}

pub(crate) fn shape(shape: Shape) -> String {
    let dims: Vec<_> = shape.dims().iter().map(|&dim| grouped(dim)).collect();
    if dims.is_empty() { "scalar".into() } else { dims.join(" × ") }
}

/// Text without characters that control a terminal or change the reading direction; line breaks are kept.
pub(crate) fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        let turns =
            matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if turns || (character.is_control() && character != '\n' && character != '\t') {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

/// A name, on one line.
pub(crate) fn name(name: &str) -> String {
    text(name).replace('\n', "\\n").replace('\t', "\\t")
}

/// The first characters of a text, and whether these are the whole text.
pub(crate) fn first(text: &str, most: usize) -> (&str, bool) {
    match text.char_indices().nth(most) {
        Some((at, _)) => (&text[..at], false),
        None => (text, true),
    }
}

/// A metadata value as text, with strings unquoted; arrays are shown by their first elements and their length.
pub(crate) fn metadata(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::String(bytes) => text(&String::from_utf8_lossy(bytes)),
        ValueRef::Array(array) => elements(array),
        scalar => scalar.to_string(),
    }
}

fn elements(array: ArrayRef<'_>) -> String {
    const MOST: usize = 8;
    let shown: Vec<_> =
        array.iter().take(MOST).map(|element| name(first(&element.to_string(), 80).0)).collect();
    let shown = shown.join(", ");
    if array.len() <= MOST {
        return format!("[{shown}]");
    }
    format!("[{shown}, …] — {} elements of {}", grouped(array.len() as u64), array.element_type())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        for (number, shown) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1000, "1.00 kB"),
            (999_499, "999 kB"),
            (999_500, "1.00 MB"),
            (98_362_432, "98.4 MB"),
        ] {
            assert_eq!(bytes(number), shown);
        }
        assert_eq!((count(134_515_008), count(7)), ("135 M".into(), "7".into()));
        assert_eq!(
            (percent(1, 3), percent(1, 1_000_000), percent(0, 0)),
            ("33.3 %".into(), "< 0.01 %".into(), "0 %".into())
        );
    }

    #[test]
    fn steps_are_round() {
        let steps = [0.9, 1.3, 2.3, 60.0, 0.0].map(round_step);
        assert_eq!(steps, [1.0, 1.0, 2.0, 50.0, 1.0]);
    }

    #[test]
    fn values_keep_four_digits() {
        assert_eq!(
            [0.0, -1.5, 0.0123456, 12345.0, 1e-9].map(value),
            ["0", "−1.500", "0.01235", "1.23e4", "1.00e−9"]
        );
        assert_eq!([f64::INFINITY, 22.04, f64::NAN].map(decibels), ["exact", "22.0 dB", "not a number"]);
    }

    #[test]
    fn text_cannot_turn_its_surroundings() {
        assert_eq!(text("a\u{202e}b\u{0}\nc"), "a\\u{202e}b\\u{0}\nc");
        assert_eq!((first("äöü", 2), first("äöü", 3)), (("äö", false), ("äöü", true)));
    }
}
