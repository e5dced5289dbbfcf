//! Formats numbers for people.

/// A number with commas between its thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Formats a count as `1 tensor` or `2 tensors`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// A name for a line or a table whose other rows have a common width: a long name is cut, and its length added.
pub(crate) fn short(name: &str) -> String {
    const MOST: usize = 64;
    match name.char_indices().nth(MOST) {
        None => name.escape_debug().to_string(),
        Some((end, _)) => format!("{}… ({} bytes)", name[..end].escape_debug(), grouped(name.len() as u64)),
    }
}
