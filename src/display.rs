//! [`pad`]: width handling for all `Display` implementations.

use alloc::string::ToString;
use core::fmt;

/// Writes `text`, padded as a whole to the formatter's width, as `{:<20}` requests.
///
/// `write!` alone would ignore the width, and a list would apply it to each element.
pub(crate) fn pad(f: &mut fmt::Formatter<'_>, text: fmt::Arguments<'_>) -> fmt::Result {
    match (f.width(), f.precision()) {
        (None, None) => f.write_fmt(text),
        _ => f.pad(&text.to_string()),
    }
}
