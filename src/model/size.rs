//! [`Size`]: the size of some tensors of a model.

use core::iter::Sum;
use core::ops::AddAssign;

use crate::gguf::TensorInfo;

/// The number of tensors, of their values, and of their bytes.
///
/// ```
/// use std::collections::BTreeMap;
/// use gguf_codec::model::Size;
/// use gguf_codec::{GgmlType, Gguf};
/// # fn show(model: &Gguf<Vec<u8>>) {
/// let all: Size = model.tensors().map(|tensor| Size::of(&tensor)).sum();
/// println!("{} bytes, {:.2} bits per weight", all.bytes, all.bits_per_weight());
/// let mut by_type = BTreeMap::<GgmlType, Size>::new();
/// for tensor in model.tensors() {
///     *by_type.entry(tensor.ggml_type()).or_default() += Size::of(&tensor);
/// }
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Size {
    /// The number of tensors.
    pub tensors: u64,
    /// The number of their values.
    pub parameters: u64,
    /// The size of their data in bytes, excluding the padding between them.
    pub bytes: u64,
}

impl Size {
    /// Returns the size of one tensor.
    pub fn of(tensor: &TensorInfo<'_>) -> Self {
        Size { tensors: 1, parameters: tensor.shape().element_count(), bytes: tensor.byte_len() }
    }

    /// Returns the size of several tensors.
    #[cfg(all(feature = "codecs", feature = "std", any(unix, windows)))]
    pub(super) fn sum_of(tensors: &[TensorInfo<'_>]) -> Self {
        tensors.iter().map(Self::of).sum()
    }

    /// Returns the average number of bits per value, including scales. 0 if there are no values.
    pub fn bits_per_weight(&self) -> f64 {
        if self.parameters == 0 { 0.0 } else { self.bytes as f64 * 8.0 / self.parameters as f64 }
    }
}

/// Saturates: a header can declare more, tensor by tensor, than 64 bits can count.
impl AddAssign for Size {
    fn add_assign(&mut self, other: Self) {
        self.tensors = self.tensors.saturating_add(other.tensors);
        self.parameters = self.parameters.saturating_add(other.parameters);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

impl Sum for Size {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |mut all, part| {
            all += part;
            all
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_of_all_values_together() {
        let sizes =
            [(1, 32, 18), (1, 8, 32)].map(|(tensors, parameters, bytes)| Size { tensors, parameters, bytes });
        let all: Size = sizes.into_iter().sum();
        assert_eq!((all.tensors, all.parameters, all.bytes, all.bits_per_weight()), (2, 40, 50, 10.0));
        assert_eq!(Size::default().bits_per_weight(), 0.0);
    }

    #[test]
    fn sums_stay_at_the_greatest_count() {
        let huge = Size { tensors: 1, parameters: u64::MAX, bytes: u64::MAX };
        let all: Size = [huge, huge].into_iter().sum();
        assert_eq!((all.parameters, all.bytes), (u64::MAX, u64::MAX));
    }
}
