//! Access to the elements of an array as values.

use alloc::boxed::Box;

use crate::gguf::value::{Array, Value};

impl Array {
    /// Returns the elements as values.
    pub(crate) fn into_values(self) -> Box<dyn Iterator<Item = Value>> {
        macro_rules! values {
            ($($ty:ident)*) => {
                match self {
                    $(Array::$ty(elements) => Box::new(elements.into_iter().map(Value::$ty)),)*
                }
            };
        }
        values!(U8 I8 U16 I16 U32 I32 F32 Bool String Array U64 I64 F64)
    }

    /// Returns one element.
    #[cfg(all(feature = "std", any(unix, windows)))]
    pub(crate) fn element(&self, index: usize) -> Option<Value> {
        macro_rules! element {
            ($($ty:ident)*) => {
                match self {
                    $(Array::$ty(elements) => elements.get(index).cloned().map(Value::$ty),)*
                }
            };
        }
        element!(U8 I8 U16 I16 U32 I32 F32 Bool String Array U64 I64 F64)
    }

    /// Keeps the elements whose positions satisfy `is_kept`.
    #[cfg(all(feature = "std", any(unix, windows)))]
    pub(crate) fn filtered(self, is_kept: impl Fn(usize) -> bool) -> Self {
        macro_rules! filtered {
            ($($ty:ident)*) => {
                match self {
                    $(Array::$ty(elements) => {
                        let kept = elements.into_iter().enumerate().filter(|(index, _)| is_kept(*index));
                        Array::$ty(kept.map(|(_, element)| element).collect())
                    })*
                }
            };
        }
        filtered!(U8 I8 U16 I16 U32 I32 F32 Bool String Array U64 I64 F64)
    }

    /// Replaces an element with a value of the same type. Returns `false` if there is no such element or the type differs.
    #[cfg(all(feature = "std", any(unix, windows)))]
    pub(crate) fn replace_element(&mut self, index: usize, value: Value) -> bool {
        macro_rules! replace {
            ($($ty:ident)*) => {
                match (self, value) {
                    $((Array::$ty(elements), Value::$ty(value)) => {
                        elements.get_mut(index).map(|element| *element = value).is_some()
                    })*
                    _ => false,
                }
            };
        }
        replace!(U8 I8 U16 I16 U32 I32 F32 Bool String Array U64 I64 F64)
    }
}
