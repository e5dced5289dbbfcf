//! Numbers as people read them.

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

/// As `1 tensor` or `2 tensors`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// A name for a line or a table, whose other rows are all as wide: the start of a long one, and how long it is.
pub(crate) fn short(name: &str) -> String {
    const MOST: usize = 64;
    match name.char_indices().nth(MOST) {
        None => name.escape_debug().to_string(),
        Some((end, _)) => format!("{}… ({} bytes)", name[..end].escape_debug(), grouped(name.len() as u64)),
    }
}
