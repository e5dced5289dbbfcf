//! [`Map`]: maps any point to its index on a grid, or to the grid's points near it.

use alloc::vec;
use alloc::vec::Vec;
#[cfg(feature = "std")]
use std::sync::OnceLock;

#[cfg(not(feature = "std"))]
use super::once::OnceLock;
use super::{bits, points};
use crate::simd::MAX_LANES;

/// The map that a quantizer queries for points. Points are packed like those of a grid.
pub(in crate::codec) struct Map<const N: usize> {
    /// For each point a number of 9 bits, and another above it. For a point on the grid these are 0 and its index. For
    /// any other point they are the number of its neighbours and where they begin, in units of [`UNIT`].
    places: Vec<u32>,
    near: Vec<[u8; 2]>,
}

/// The position of a point relative to the grid.
#[derive(Debug, Clone, Copy)]
pub(in crate::codec) enum Place<'a> {
    /// On the grid, with its index.
    On(u16),
    /// Off the grid.
    Off(Near<'a>),
}

/// The grid's points near another point.
#[derive(Debug, Clone, Copy)]
pub(in crate::codec) struct Near<'a> {
    /// Little-endian, padded with copies of the first to a multiple of [`UNIT`].
    points: &'a [[u8; 2]],
    count: usize,
}

impl<'a> Near<'a> {
    /// Returns all of them.
    #[inline(always)]
    pub(super) fn all(self) -> &'a [[u8; 2]] {
        &self.points[..self.count]
    }

    /// Returns all of them, padded with the first to fill vectors of `lanes`, a divisor of [`UNIT`].
    #[inline(always)]
    pub(super) fn vectors(self, lanes: usize) -> &'a [[u8; 2]] {
        &self.points[..self.count.next_multiple_of(lanes)]
    }
}

/// Neighbours begin at multiples of this, so that no vector that is not wide contains another point's neighbours.
const UNIT: usize = MAX_LANES / 2;
/// No point has more than 292 neighbours.
const COUNT_BITS: u32 = 9;

impl<const N: usize> Map<N> {
    /// The neighbours of a point off the grid are all grid points at the `shells` least distances from it. They are
    /// ordered by distance and then by index, so a search for the best of them keeps ggml's order.
    fn new(grid: &'static [u16], shells: u32) -> Self {
        let levels: u16 = if N == 8 { 3 } else { 8 };
        let last = (0..N).fold(0, |point, i| point | usize::from(levels - 1) << (bits::<N>() * i));
        let mut map = Map { places: vec![0; last + 1], near: Vec::new() };
        let mut distances = vec![0u8; grid.len()];
        for (point, place) in map.places.iter_mut().enumerate() {
            let point = point as u16;
            if N == 8 && point & point >> 1 & 0x5555 != 0 {
                continue; // A coordinate of 3, which is never queried.
            }
            if let Ok(index) = grid.binary_search(&point) {
                *place = (index as u32) << COUNT_BITS;
                continue;
            }
            // Squared distances are at most 4 * 7², so a bit set of the distances that occur yields the least.
            let mut there = [0u64; 4];
            for (distance, &other) in distances.iter_mut().zip(grid) {
                *distance = squared_distance::<N>(point, other);
                there[usize::from(*distance / 64)] |= 1 << (*distance % 64);
            }
            let start = map.near.len();
            let shells = (0..=u8::MAX)
                .filter(|&d| there[usize::from(d / 64)] >> (d % 64) & 1 == 1)
                .take(shells as usize);
            for shell in shells {
                let at_distance = grid.iter().zip(&distances).filter(|&(_, &distance)| distance == shell);
                map.near.extend(at_distance.map(|(other, _)| other.to_le_bytes()));
            }
            let (first, count) = (map.near[start], map.near.len() - start);
            map.near.resize(map.near.len().next_multiple_of(UNIT), first);
            *place = ((start / UNIT) as u32) << COUNT_BITS | count as u32;
        }
        map
    }

    /// Returns the position of a point whose coordinates are all below the number of levels.
    #[inline(always)]
    pub(in crate::codec) fn place(&self, point: u16) -> Place<'_> {
        let place = self.places[usize::from(point)];
        let (at, count) = (place >> COUNT_BITS, (place & ((1 << COUNT_BITS) - 1)) as usize);
        if count == 0 {
            return Place::On(at as u16);
        }
        let points = &self.near[at as usize * UNIT..][..count.next_multiple_of(UNIT)];
        Place::Off(Near { points, count })
    }
}

/// Squared distances by the exclusive or of four coordinates of 0, 1 or 2. A coordinate's exclusive or is odd if the
/// two differ by one, and 2 if they differ by two.
const OF_DIFFERENT: [u8; 256] = {
    let mut squares = [0; 256];
    let mut differ = 0;
    while differ < 256 {
        let by_one = differ & 0x55;
        let by_two = differ >> 1 & !differ & 0x55;
        squares[differ] = (by_one.count_ones() + 4 * by_two.count_ones()) as u8;
        differ += 1;
    }
    squares
};

/// Returns the sum of the squared differences of the coordinates.
fn squared_distance<const N: usize>(a: u16, b: u16) -> u8 {
    if N == 8 {
        return (a ^ b).to_le_bytes().iter().map(|&differ| OF_DIFFERENT[usize::from(differ)]).sum();
    }
    let square = |i| {
        let (a, b) = (super::coordinate::<N>(a, i) as i32, super::coordinate::<N>(b, i) as i32);
        (a - b) * (a - b)
    };
    (0..N).map(square).sum::<i32>() as u8
}

macro_rules! maps {
    ($($(#[$doc:meta])* $name:ident: $dimensions:literal, $points:ident, $shells:literal;)*) => {$(
        $(#[$doc])*
        pub(in crate::codec) fn $name() -> &'static Map<$dimensions> {
            static MAP: OnceLock<Map<$dimensions>> = OnceLock::new();
            MAP.get_or_init(|| Map::new(const { &points::$points }, $shells))
        }
    )*};
}

// Created on a quantizer's first use, and kept.
maps! {
    iq2_xxs: 8, IQ2_XXS, 2;
    iq2_xs: 8, IQ2_XS, 2;
    iq2_s: 8, IQ2_S, 1;
    iq3_xxs: 4, IQ3_XXS, 2;
    iq3_s: 4, IQ3_S, 3;
    iq1: 8, IQ1, 3;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks some points of each grid against the definition, by sorting.
    fn check<const N: usize>(map: &Map<N>, grid: &[u16], levels: usize, shells: usize) {
        assert!(grid.is_sorted(), "the search for a point halves its range");
        let coordinate = |point: u16, i| super::super::coordinate::<N>(point, i) as i32;
        for number in (0..levels.pow(N as u32)).step_by(7) {
            let digit = |i: usize| number / levels.pow(i as u32) % levels;
            let point = (0..N).fold(0, |point, i| point | (digit(i) as u16) << (bits::<N>() * i));
            let distance = |other: u16| -> i32 {
                (0..N).map(|i| (coordinate(point, i) - coordinate(other, i)).pow(2)).sum()
            };
            match map.place(point) {
                Place::On(index) => assert_eq!(grid[usize::from(index)], point),
                Place::Off(near) => {
                    let mut wanted: Vec<u16> = grid.to_vec();
                    wanted.sort_by_key(|&other| distance(other));
                    let mut distances: Vec<i32> = wanted.iter().map(|&other| distance(other)).collect();
                    distances.dedup();
                    assert!(distances[0] > 0, "{point:#06x} is on the grid");
                    wanted.retain(|&other| distances[..shells].contains(&distance(other)));
                    let numbers = |points: &[[u8; 2]]| -> Vec<u16> {
                        points.iter().map(|&point| u16::from_le_bytes(point)).collect()
                    };
                    assert_eq!(numbers(near.all()), wanted, "{point:#06x}");
                    for lanes in [1, 4, 8, 16] {
                        wanted.resize(wanted.len().next_multiple_of(lanes), wanted[0]);
                        assert_eq!(numbers(near.vectors(lanes)), wanted, "{point:#06x}");
                    }
                }
            }
        }
    }

    #[test]
    fn neighbours_are_the_nearest_points_in_order() {
        check(iq2_xxs(), &points::IQ2_XXS, 3, 2);
        check(iq2_xs(), &points::IQ2_XS, 3, 2);
        check(iq2_s(), &points::IQ2_S, 3, 1);
        check(iq3_xxs(), &points::IQ3_XXS, 8, 2);
        check(iq3_s(), &points::IQ3_S, 8, 3);
        check(iq1(), &points::IQ1, 3, 3);
    }
}
