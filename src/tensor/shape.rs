//! [`Shape`]: a tensor's extents in GGUF order.

use core::fmt;
use core::ops::Index;

use crate::arithmetic::is_countable;
use crate::display::pad;

/// Up to four extents in GGUF order: the first is the *innermost*, the length of a row.
///
/// A matrix that is `[rows, columns]` in PyTorch is `[columns, rows]` here. A shape without extents is a scalar, with
/// one element. An extent may be 0.
///
/// ```
/// use gguf_codec::Shape;
/// let shape = Shape::new(&[576, 1536]).unwrap(); // 1536 rows of 576 values
/// assert_eq!((shape.row_len(), shape.row_count(), shape.element_count()), (576, 1536, 884_736));
/// assert_eq!((shape.len(), shape[0], shape.iter().max()), (2, 576, Some(1536)));
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
    /// The maximum number of extents of a GGUF tensor.
    pub const MAX_DIMS: usize = 4;

    const MAX_EXTENT: u64 = i64::MAX as u64;

    /// Creates a shape from its extents, innermost first. Returns `None` if there are more than four, or if their
    /// product exceeds what ggml can count (63 bits).
    pub fn new(extents: &[u64]) -> Option<Self> {
        let mut shape = Shape { extents: [1; 4], len: u8::try_from(extents.len()).ok()? };
        shape.extents.get_mut(..extents.len())?.copy_from_slice(extents);
        // The same bound as in ggml, without its overflow.
        is_countable(shape.extents, Self::MAX_EXTENT).then_some(shape)
    }

    /// Returns the extents, innermost first.
    pub fn dims(&self) -> &[u64] {
        &self.extents[..usize::from(self.len)]
    }

    /// Returns the number of extents: 2 for a matrix.
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Returns `true` if there are no extents, as for a scalar.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns an iterator over the extents, innermost first.
    pub fn iter(&self) -> core::iter::Copied<core::slice::Iter<'_, u64>> {
        self.dims().iter().copied()
    }

    /// Returns the shape without trailing extents of 1, as llama.cpp writes it. To ggml both are the same. Keeps at least
    /// one extent.
    #[must_use]
    pub fn trim_trailing_ones(self) -> Self {
        let last = self.extents.iter().rposition(|&extent| extent != 1).unwrap_or(0);
        Shape { len: last as u8 + 1, ..self }
    }

    /// Returns `true` if ggml treats the two shapes as the same.
    #[cfg(any(feature = "std", test))]
    pub(crate) fn counts_as(self, other: Self) -> bool {
        self.extents == other.extents
    }

    /// Returns the number of values in a row: the first extent, or 1 for a scalar.
    pub fn row_len(&self) -> u64 {
        self.extents[0]
    }

    /// Returns the number of rows: the product of all extents but the first. The result is at most 2^63 - 1, the
    /// largest possible extent. A larger product is possible only if there are no elements.
    pub fn row_count(&self) -> u64 {
        let rows = self.extents[1..].iter().fold(1, |product: u64, &extent| product.saturating_mul(extent));
        rows.min(Self::MAX_EXTENT)
    }

    /// Returns the number of values.
    pub fn element_count(&self) -> u64 {
        if self.extents.contains(&0) { 0 } else { self.extents.iter().product() }
    }
}

/// Returns the extent at this position, innermost first.
///
/// # Panics
/// Panics past the last extent, like a slice. [`dims`](Shape::dims) returns the slice.
impl Index<usize> for Shape {
    type Output = u64;

    fn index(&self, index: usize) -> &u64 {
        &self.dims()[index]
    }
}

impl<'a> IntoIterator for &'a Shape {
    type Item = u64;
    type IntoIter = core::iter::Copied<core::slice::Iter<'a, u64>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Shape {
    type Item = u64;
    type IntoIter = core::iter::Take<core::array::IntoIter<u64, 4>>;

    fn into_iter(self) -> Self::IntoIter {
        self.extents.into_iter().take(self.len())
    }
}

impl fmt::Display for Shape {
    /// Formats the shape as `[576, 1536]`, innermost first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        pad(f, format_args!("{:?}", self.dims()))
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shape{:?}", self.dims())
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
    fn a_shape_is_a_list_of_its_extents() {
        for extents in [&[][..], &[7], &[576, 1536, 0, 2]] {
            let shape = Shape::new(extents).unwrap();
            assert_eq!((shape.len(), shape.is_empty()), (extents.len(), extents.is_empty()));
            assert!(shape.iter().eq(extents.iter().copied()) && shape.into_iter().eq(shape.iter()));
            for (i, extent) in (&shape).into_iter().enumerate() {
                assert_eq!(shape[i], extent);
            }
        }
    }

    #[test]
    #[should_panic = "index out of bounds"]
    fn there_is_no_extent_beyond_the_last() {
        // There is no fifth extent, nor a third one in a matrix.
        let _ = Shape::new(&[2, 3]).unwrap()[2];
    }

    #[test]
    fn a_width_pads_the_whole() {
        let shape = Shape::new(&[2, 3]).unwrap();
        assert_eq!(format!("{shape:<10}|{shape:>8}|{shape:^8}|"), "[2, 3]    |  [2, 3]| [2, 3] |");
        assert_eq!(format!("{shape:12?}"), "Shape[2, 3]");
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
            assert_eq!(shape.trim_trailing_ones().dims(), counted);
            assert!(shape.counts_as(shape.trim_trailing_ones()));
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
        // Countable, but ggml's check by division rejects it too.
        assert!(Shape::new(&[1 << 31, (1 << 32) - 1]).is_none());
        assert!(Shape::new(&[1 << 31, 1 << 32]).is_none());
        assert!(Shape::new(&[1 << 21, 1 << 21, 1 << 21, 1]).is_none());
        assert!(Shape::new(&[u64::MAX, 0]).is_none());
        assert!(Shape::new(&[1; 5]).is_none());
    }
}
