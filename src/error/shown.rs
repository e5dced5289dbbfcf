//! [`Shown`]: formats a name from a file for messages.

use core::fmt;

/// The most bytes of a name that a message shows.
pub(crate) const MAX_SHOWN_BYTES: usize = 256;

/// An untrusted name. It is escaped, so that it cannot control a terminal, and cut with `…` if it is longer than 256 bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = MAX_SHOWN_BYTES;
        for character in self.0.chars() {
            // Characters that reverse or hide the surrounding text are not control characters in Unicode's table.
            let is_format = matches!(
                character,
                '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            );
            let escaped = character.escape_debug();
            let bytes = if is_format {
                character.escape_unicode().count()
            } else {
                escaped.clone().map(char::len_utf8).sum()
            };
            left = match left.checked_sub(bytes) {
                Some(left) => left,
                None => return f.write_str("…"),
            };
            if is_format { write!(f, "{}", character.escape_unicode())? } else { write!(f, "{escaped}")? }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn names_are_escaped_and_cut() {
        assert_eq!(Shown("a'\n\u{202e}é").to_string(), "a\\'\\n\\u{202e}é");
        assert_eq!(Shown(&"n".repeat(256)).to_string().len(), 256);
        for long in ["n".repeat(257), "é".repeat(200), "\x1b".repeat(1000)] {
            let shown = Shown(&long).to_string();
            assert!(shown.len() <= MAX_SHOWN_BYTES + '…'.len_utf8() && shown.ends_with('…'), "{shown}");
        }
    }
}
