//! [`Place`]: the part of a header in which an error occurred.

use alloc::string::String;
use core::fmt;

/// The part of a header in which an error occurred.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// The fixed fields at the start.
    Start,
    /// A key-value pair, counted from 0.
    Key {
        /// Its position.
        index: u64,
        /// Its key, if it was read. A key longer than 256 bytes is cut and ends with `…`.
        key: Option<String>,
    },
    /// A tensor's description or data, counted from 0.
    Tensor {
        /// Its position.
        index: u64,
        /// Its name, if it was read.
        name: Option<String>,
    },
    /// The padding between the header and the tensor data.
    Padding,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Start => f.write_str("in the start of the header"),
            Place::Key { index, key: None } => write!(f, "in key {index}"),
            Place::Key { index, key: Some(key) } => write!(f, "in key {index} '{}'", key.escape_debug()),
            Place::Tensor { index, name: None } => write!(f, "in tensor {index}"),
            Place::Tensor { index, name: Some(name) } => {
                write!(f, "in tensor {index} '{}'", name.escape_debug())
            }
            Place::Padding => f.write_str("in the padding before the tensors' data"),
        }
    }
}
