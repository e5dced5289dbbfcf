//! [`EditChange`]: a change to a file's header, and the line that tells it.

use std::fmt::{self, Display};

use crate::{ByteOrder, Value};

/// A change to a file's header. Displayed it is a line: `llama.context_length: 8192 → 16384 (u32)`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum EditChange {
    /// A key has another value; the types differ only where that was asked for.
    Set {
        /// The key's name in the file that is written.
        key: String,
        /// Its value before.
        from: Value,
        /// And after.
        to: Value,
    },
    /// One element of an array is another.
    SetElement {
        /// The key's name in the file that is written.
        key: String,
        /// The element's position, from 0.
        index: usize,
        /// The element before.
        from: Value,
        /// And after.
        to: Value,
    },
    /// A key is new.
    Added {
        /// The key.
        key: String,
        /// Its value.
        value: Value,
    },
    /// A key is gone.
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
        /// And after.
        to: String,
    },
    /// A tensor has another name.
    TensorRenamed {
        /// The name before.
        from: String,
        /// And after.
        to: String,
    },
    /// A tensor is left out.
    TensorRemoved {
        /// Its name.
        name: String,
    },
    /// The numbers of the file are in the other byte order.
    ByteOrder {
        /// The order before.
        from: ByteOrder,
        /// And after.
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

/// A name within a line: escaped, and cut where it is long.
pub(super) struct Name<'a>(pub(super) &'a str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(256) {
            Some((end, _)) => write!(f, "{}…", self.0[..end].escape_debug()),
            None => self.0.escape_debug().fmt(f),
        }
    }
}
