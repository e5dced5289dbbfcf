//! [`ByteOrder`]: which end of a number comes first in a file.

use core::fmt;

/// The byte order of a file: of its header, and of the numbers in its tensors.
///
/// ```
/// use gguf_codec::ByteOrder;
/// assert_eq!(ByteOrder::Big.to_string(), "big-endian");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[allow(clippy::exhaustive_enums, reason = "there is no third one")]
pub enum ByteOrder {
    /// Least significant byte first, as in nearly every GGUF.
    #[default]
    Little,
    /// Most significant byte first, as in models for s390x.
    Big,
}

impl fmt::Display for ByteOrder {
    /// Writes `little-endian` or `big-endian`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            ByteOrder::Little => "little-endian",
            ByteOrder::Big => "big-endian",
        })
    }
}

impl ByteOrder {
    /// The byte order of this machine.
    pub const NATIVE: ByteOrder =
        if cfg!(target_endian = "big") { ByteOrder::Big } else { ByteOrder::Little };
}
