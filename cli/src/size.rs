//! Numbers of bytes: parsed from arguments and formatted, in units of 1000.

const UNITS: [(&str, u64); 5] = [
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("PB", 1_000_000_000_000_000),
];

/// Parses a number of bytes such as `50M`, `50 MB`, `1.5GB` or `2GiB`. kB, MB, GB and TB, with or without the B, are powers of 1000;
/// KiB, MiB, GiB and TiB are powers of 1024.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    parsed(text).filter(|&size| size > 0).ok_or_else(|| {
        "a size is a number above 0, perhaps with a unit after it, such as 50M, 50MB or 48MiB".to_owned()
    })
}

fn parsed(text: &str) -> Option<u64> {
    let end =
        text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim_start().to_ascii_lowercase();
    let (letter, base) = match unit.strip_suffix("ib") {
        Some(letter) => (letter, 1024u64),
        None => (unit.strip_suffix('b').unwrap_or(&unit), 1000),
    };
    let power = match letter {
        "" if base == 1000 => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return None,
    };
    let unit = base.pow(power);
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || number.ends_with('.') || part.len() > 9 {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    // Fractions of a byte are dropped.
    let part = if part.is_empty() {
        0
    } else {
        part.parse::<u64>().ok()? as u128 * u128::from(unit) / 10u128.pow(part.len() as u32)
    };
    whole.checked_add(u64::try_from(part).ok()?)
}

/// Formats a number of bytes with three digits: `576 B`, `207 kB`, `98.4 MB`.
pub(crate) fn shown(bytes: u64) -> String {
    scaled(bytes, &UNITS).unwrap_or_else(|| format!("{bytes} B"))
}

/// Formats a number of bytes in the unit of the largest of several: `0.5 MB` next to `269.0 MB`.
pub(crate) fn in_unit_of(bytes: u64, most: u64) -> String {
    match UNITS.iter().rev().find(|(_, unit)| most >= *unit) {
        Some((name, unit)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} B"),
    }
}

/// Formats a number of parameters: `135 M`, `7.24 B`.
pub(crate) fn parameters(count: u64) -> String {
    let units = [("k", UNITS[0].1), ("M", UNITS[1].1), ("B", UNITS[2].1), ("T", UNITS[3].1)];
    let digits = |value: f64| {
        if value >= 1000.0 {
            0
        } else if value >= 9.995 {
            1
        } else {
            2
        }
    };
    // A number that rounds to 1000 takes the next unit.
    match units.iter().rev().find(|(_, unit)| count as f64 >= *unit as f64 * 0.99995) {
        Some((name, unit)) => {
            let value = count as f64 / *unit as f64;
            format!("{value:.*} {name}", digits(value))
        }
        None => count.to_string(),
    }
}

fn scaled(number: u64, units: &[(&str, u64)]) -> Option<String> {
    let digits = |value: f64| {
        if value >= 99.95 {
            0
        } else if value >= 9.995 {
            1
        } else {
            2
        }
    };
    // A number that rounds to 1000 takes the next unit.
    let (name, unit) = units.iter().rev().find(|(_, unit)| number as f64 >= *unit as f64 * 0.9995)?;
    let value = number as f64 / *unit as f64;
    Some(format!("{value:.*} {name}", digits(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [
            ("1", 1),
            ("50M", 50_000_000),
            ("50MB", 50_000_000),
            ("50 mb", 50_000_000),
            ("2GiB", 2 << 30),
            ("48MiB", 48 << 20),
            ("1.5k", 1500),
            ("1.5 KiB", 1536),
            ("0.5GB", 500_000_000),
            ("3b", 3),
            ("1T", 1_000_000_000_000),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "0",
            "M",
            "-1",
            "1.",
            ".5k",
            "1..5k",
            "1 XB",
            "1i",
            "1ib",
            "1e3",
            "99999999999999999999",
            "9999999999T",
            "0.0M",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_with_three_digits() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (207_360, "207 kB"),
            (30_081_024, "30.1 MB"),
            (98_400_000, "98.4 MB"),
            (999_499, "999 kB"),
            (999_600, "1.00 MB"),
            (9_996_000, "10.0 MB"),
            (u64::MAX, "18447 PB"),
        ] {
            assert_eq!(shown(bytes), text, "{bytes}");
        }
        assert_eq!(
            [999, 134_515_008, 7_241_732_096, 139_584].map(parameters),
            ["999", "134.5 M", "7.24 B", "139.6 k"]
        );
    }
}
