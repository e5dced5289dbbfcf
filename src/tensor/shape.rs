//! [`Shape`]: a tensor's extents in GGUF order.

use core::fmt;

use crate::arithmetic::is_countable;

/// Up to four extents in GGUF order: the first is the *innermost*, the length of a row.
///
/// A matrix that PyTorch calls `[rows, columns]` is `[columns, rows]` here. No extents at all is a scalar, of
/// one element; an extent may be 0.
///
/// ```
/// use gguf_codec::Shape;
/// let shape = Shape::new(&[576, 1536]).unwrap(); // 1536 rows of 576 values
/// assert_eq!((shape.row_len(), shape.row_count(), shape.element_count()), (576, 1536, 884_736));
/// assert_eq!(shape.to_string(), "[576, 1536]");
/// assert_eq!(Shape::new(&[1; 5]), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[doc(alias = "ne")]
pub struct Shape {
    extents: [u64; 4],
    len: u8,
}

impl Shape {
    /// The most extents that a GGUF tensor can have.
    pub const MAX_DIMS: usize = 4;

    const MAX_EXTENT: u64 = i64::MAX as u64;

    /// A shape from its extents, innermost first, or `None` where there are more than four or their product
    /// is beyond what ggml can count (63 bits).
    pub fn new(extents: &[u64]) -> Option<Self> {
        let mut shape = Shape { extents: [1; 4], len: u8::try_from(extents.len()).ok()? };
        shape.extents.get_mut(..extents.len())?.copy_from_slice(extents);
        // ggml's bound, without its overflow.
        is_countable(shape.extents, Self::MAX_EXTENT).then_some(shape)
    }

    /// The extents, innermost first.
    pub fn dims(&self) -> &[u64] {
        &self.extents[..usize::from(self.len)]
    }

    /// The same without extents of 1 behind all others, as ggml has every shape and llama.cpp writes it. At least one extent
    /// is left.
    #[must_use]
    pub fn counted_by_ggml(self) -> Self {
        let last = self.extents.iter().rposition(|&extent| extent != 1).unwrap_or(0);
        Shape { len: last as u8 + 1, ..self }
    }

    /// Whether two are the same to ggml.
    #[cfg(any(feature = "std", test))]
    pub(crate) fn counts_as(self, other: Self) -> bool {
        self.extents == other.extents
    }

    /// Values in a row: the first extent, or 1 for a scalar.
    pub fn row_len(&self) -> u64 {
        self.extents[0]
    }

    /// Rows: the product of all extents but the first. At most 2^63 - 1, the largest extent there can be; more
    /// are possible only where there are no elements.
    pub fn row_count(&self) -> u64 {
        let rows = self.extents[1..].iter().fold(1, |product: u64, &extent| product.saturating_mul(extent));
        rows.min(Self::MAX_EXTENT)
    }

    /// Values in all.
    pub fn element_count(&self) -> u64 {
        if self.extents.contains(&0) { 0 } else { self.extents.iter().product() }
    }
}

impl fmt::Display for Shape {
    /// As `[576, 1536]`, innermost first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.dims()).finish()
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shape{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_elements_and_rows() {
        let shape = Shape::new(&[576, 1536, 2]).unwrap();
        assert_eq!((shape.row_len(), shape.row_count(), shape.element_count()), (576, 3072, 576 * 3072));
        assert_eq!(shape.to_string(), "[576, 1536, 2]");
        let scalar = Shape::new(&[]).unwrap();
        assert_eq!((scalar.row_len(), scalar.row_count(), scalar.element_count()), (1, 1, 1));
    }

    #[test]
    fn extents_of_one_at_the_end_do_not_count() {
        for (extents, counted) in [
            (&[][..], &[1][..]),
            (&[1, 1], &[1]),
            (&[256, 1], &[256]),
            (&[1, 256, 1, 1], &[1, 256]),
            (&[256, 0, 1], &[256, 0]),
            (&[2, 1, 1, 3], &[2, 1, 1, 3]),
        ] {
            let shape = Shape::new(extents).unwrap();
            assert_eq!(shape.counted_by_ggml().dims(), counted);
            assert!(shape.counts_as(shape.counted_by_ggml()));
        }
        assert!(!Shape::new(&[1, 2]).unwrap().counts_as(Shape::new(&[2]).unwrap()));
    }

    #[test]
    fn zero_extents_count_as_nothing_whatever_stands_beside_them() {
        for dims in [&[0, 5][..], &[5, 0], &[1 << 62, 0, 1 << 62, 1 << 62], &[0]] {
            assert_eq!(Shape::new(dims).unwrap().element_count(), 0, "{dims:?}");
        }
    }

    #[test]
    fn rows_are_at_most_what_an_extent_can_be() {
        let shape = Shape::new(&[0, 1 << 62, 1 << 62]).unwrap();
        assert!(Shape::new(&[shape.row_len(), shape.row_count()]).is_some());
        assert_eq!(Shape::new(&[1 << 62, 1 << 62, 1 << 62, 0]).unwrap().row_count(), 0);
    }

    #[test]
    fn products_that_ggml_lets_wrap_are_refused() {
        let max = i64::MAX as u64;
        assert!(Shape::new(&[max - 1]).is_some());
        assert!(Shape::new(&[max]).is_none());
        assert!(Shape::new(&[1 << 32, 1 << 32]).is_none());
        assert!(Shape::new(&[(1 << 31) - 1, (1 << 32) - 1]).is_some());
        // Countable, but ggml's division refuses it too.
        assert!(Shape::new(&[1 << 31, (1 << 32) - 1]).is_none());
        assert!(Shape::new(&[1 << 31, 1 << 32]).is_none());
        assert!(Shape::new(&[1 << 21, 1 << 21, 1 << 21, 1]).is_none());
        assert!(Shape::new(&[u64::MAX, 0]).is_none());
        assert!(Shape::new(&[1; 5]).is_none());
    }
}
