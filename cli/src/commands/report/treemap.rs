//! Rectangles with given areas: squarified treemaps (Bruls, Huizing and van Wijk, 2000).

/// The position and size of an element, in the picture's units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rect {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

impl Rect {
    /// The rectangle without a margin on each side, and without a separate one at the top.
    pub(crate) fn inside(self, margin: f64, top: f64) -> Rect {
        Rect {
            x: self.x + margin,
            y: self.y + margin + top,
            width: (self.width - 2.0 * margin).max(0.0),
            height: (self.height - 2.0 * margin - top).max(0.0),
        }
    }
}

/// A rectangle for each size, in the order of the sizes; together they fill the whole. Those of size 0 are empty.
pub(crate) fn squarify(sizes: &[u64], whole: Rect) -> Vec<Rect> {
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(sizes[i]));
    let total: f64 = sizes.iter().map(|&size| size as f64).sum();
    let scale = if total > 0.0 { whole.width * whole.height / total } else { 0.0 };
    let area = |i: usize| sizes[i] as f64 * scale;

    let mut rects = vec![Rect { width: 0.0, height: 0.0, ..whole }; sizes.len()];
    let (mut rest, mut left) = (&order[..], whole);
    while !rest.is_empty() {
        // A row along the shorter side takes further tensors as long as this makes its longest rectangle squarer.
        let side = left.width.min(left.height);
        let (mut count, mut row_area, mut best) = (0, 0.0, f64::INFINITY);
        while let Some(&next) = rest.get(count) {
            let with = row_area + area(next);
            let aspect = worst_aspect(area(rest[0]), area(next), with, side);
            if count > 0 && aspect > best {
                break;
            }
            (count, row_area, best) = (count + 1, with, aspect);
        }
        let (row, others) = rest.split_at(count);
        left = lay(row, row_area, left, area, &mut rects);
        rest = others;
    }
    rects
}

/// The worst aspect ratio of the rectangles in a row.
fn worst_aspect(greatest: f64, least: f64, row_area: f64, side: f64) -> f64 {
    if least <= 0.0 || row_area <= 0.0 {
        return f64::INFINITY;
    }
    let square = (side / row_area).powi(2);
    (greatest * square).max(1.0 / (least * square))
}

/// Places a row along the shorter side, and returns the remaining area.
fn lay(row: &[usize], row_area: f64, left: Rect, area: impl Fn(usize) -> f64, rects: &mut [Rect]) -> Rect {
    let upright = left.width >= left.height;
    let side = if upright { left.height } else { left.width };
    let depth = if side > 0.0 { row_area / side } else { 0.0 };
    let mut along = 0.0;
    for &i in row {
        let len = if depth > 0.0 { area(i) / depth } else { 0.0 };
        rects[i] = if upright {
            Rect { x: left.x, y: left.y + along, width: depth, height: len }
        } else {
            Rect { x: left.x + along, y: left.y, width: len, height: depth }
        };
        along += len;
    }
    if upright {
        Rect { x: left.x + depth, width: (left.width - depth).max(0.0), ..left }
    } else {
        Rect { y: left.y + depth, height: (left.height - depth).max(0.0), ..left }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WHOLE: Rect = Rect { x: 10.0, y: 20.0, width: 300.0, height: 200.0 };

    proptest! {
        #[test]
        fn areas_are_as_given_and_nothing_overlaps(sizes in prop::collection::vec(0u64..1000, 1..40)) {
            let total: u64 = sizes.iter().sum();
            prop_assume!(total > 0);
            let rects = squarify(&sizes, WHOLE);
            for (i, (rect, &size)) in rects.iter().zip(&sizes).enumerate() {
                let area = size as f64 / total as f64 * 300.0 * 200.0;
                prop_assert!((rect.width * rect.height - area).abs() < 1e-6, "{:?}", rect);
                prop_assert!(rect.x > 9.999 && rect.x + rect.width < 310.001, "{:?}", rect);
                prop_assert!(rect.y > 19.999 && rect.y + rect.height < 220.001, "{:?}", rect);
                for other in &rects[..i] {
                    let apart = rect.x + rect.width <= other.x + 1e-6 || other.x + other.width <= rect.x + 1e-6
                        || rect.y + rect.height <= other.y + 1e-6 || other.y + other.height <= rect.y + 1e-6;
                    prop_assert!(apart || size == 0 || other.width * other.height == 0.0, "{:?} {:?}", rect, other);
                }
            }
        }
    }

    #[test]
    fn four_equal_ones_are_not_stripes() {
        let rects = squarify(&[5; 4], WHOLE);
        assert!(rects.iter().all(|rect| (rect.width, rect.height) == (150.0, 100.0)), "{rects:?}");
    }

    #[test]
    fn nothing_is_nothing() {
        assert!(squarify(&[], WHOLE).is_empty());
        assert_eq!(squarify(&[0], WHOLE)[0].width, 0.0);
    }
}
