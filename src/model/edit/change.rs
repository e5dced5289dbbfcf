//! [`EditChange`]: a change to a file's header, and its one-line description.

use std::fmt::{self, Display};

use crate::byte_order::ByteOrder;
use crate::gguf::value::Value;

/// A change to a file's header. It is displayed as one line: `llama.context_length: 8192 → 16384 (u32)`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum EditChange {
    /// A key has another value. The types differ only if that was requested.
    Set {
        /// The key's name in the output.
        key: String,
        /// Its value before.
        from: Value,
        /// Its value after.
        to: Value,
    },
    /// An element of an array has another value.
    SetElement {
        /// The key's name in the output.
        key: String,
        /// The element's position, from 0.
        index: usize,
        /// The element before.
        from: Value,
        /// The element after.
        to: Value,
    },
    /// A key is new.
    Added {
        /// The key.
        key: String,
        /// Its value.
        value: Value,
    },
    /// A key was removed.
    Removed {
        /// The key.
        key: String,
        /// The value that it had.
        value: Value,
    },
    /// A key has another name.
    KeyRenamed {
        /// The name before.
        from: String,
        /// The name after.
        to: String,
    },
    /// A tensor has another name.
    TensorRenamed {
        /// The name before.
        from: String,
        /// The name after.
        to: String,
    },
    /// A tensor was removed.
    TensorRemoved {
        /// Its name.
        name: String,
    },
    /// The numbers in the file were converted to the other byte order.
    ByteOrder {
        /// The order before.
        from: ByteOrder,
        /// The order after.
        to: ByteOrder,
    },
}

impl Display for EditChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let change =
            |f: &mut fmt::Formatter<'_>, from: &Value, to: &Value| match [from, to].map(Value::value_type) {
                [kind, _] if from == to => write!(f, "{from} ({kind}), as it was"),
                [a, b] if a == b => write!(f, "{from} → {to} ({b})"),
                [a, b] => write!(f, "{from} ({a}) → {to} ({b})"),
            };
        match self {
            EditChange::Set { key, from, to } => {
                write!(f, "{}: ", Name(key))?;
                change(f, from, to)
            }
            EditChange::SetElement { key, index, from, to } => {
                write!(f, "{}[{index}]: ", Name(key))?;
                change(f, from, to)
            }
            EditChange::Added { key, value } => {
                write!(f, "{}: added, {value} ({})", Name(key), value.value_type())
            }
            EditChange::Removed { key, value } => {
                write!(f, "{}: removed, was {value} ({})", Name(key), value.value_type())
            }
            EditChange::KeyRenamed { from, to } => write!(f, "{}: renamed to {}", Name(from), Name(to)),
            EditChange::TensorRenamed { from, to } => {
                write!(f, "tensor {}: renamed to {}", Name(from), Name(to))
            }
            EditChange::TensorRemoved { name } => write!(f, "tensor {}: removed", Name(name)),
            EditChange::ByteOrder { from, to } => write!(f, "byte order: {from} → {to}"),
        }
    }
}

/// A name within a line, escaped and cut if it is long.
pub(super) struct Name<'a>(pub(super) &'a str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(256) {
            Some((end, _)) => write!(f, "{}…", self.0[..end].escape_debug()),
            None => self.0.escape_debug().fmt(f),
        }
    }
}
