//! [`pad`]: what all `Display` implementations do with a width.

use alloc::string::ToString;
use core::fmt;

/// Writes `text`, padded as a whole to the formatter's width, as `{:<20}` asks for.
///
/// `write!` alone would hand the width to nothing, and a list would hand it to each element.
pub(crate) fn pad(f: &mut fmt::Formatter<'_>, text: fmt::Arguments<'_>) -> fmt::Result {
    match (f.width(), f.precision()) {
        (None, None) => f.write_fmt(text),
        _ => f.pad(&text.to_string()),
    }
}
