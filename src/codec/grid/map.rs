//! [`Map`]: from any point to its index on a grid, or to the points of the grid near it.

use std::sync::OnceLock;

use super::{bits, points};
use crate::simd::MAX_LANES;

/// What a quantizer asks for points, packed as those of a grid are.
pub(in crate::codec) struct Map<const N: usize> {
    /// For each point four bytes: its index on the grid above a byte of 0, or where its neighbours begin above how many
    /// there are, both in units of [`UNIT`].
    places: Vec<u32>,
    near: Vec<[u8; 2]>,
}

/// Where a point is.
#[derive(Debug, Clone, Copy)]
pub(in crate::codec) enum Place<'a> {
    /// On the grid: its index.
    On(u16),
    /// Off it: its neighbours, little-endian, the first of them repeated until they fill vectors of any length.
    Off(&'a [[u8; 2]]),
}

/// Neighbours are a multiple of as many, so that vectors of any length that is not wide hold no other point's.
const UNIT: usize = MAX_LANES / 2;

impl<const N: usize> Map<N> {
    /// Of each point off the grid, the neighbours are all points of the grid at the `shells` least distances from it,
    /// the nearest first and the least index first among equals: a search for the best of them keeps ggml's order.
    fn new(grid: &'static [u16], shells: u32) -> Self {
        let levels: u16 = if N == 8 { 3 } else { 8 };
        let last = (0..N).fold(0, |point, i| point | usize::from(levels - 1) << (bits::<N>() * i));
        let mut map = Map { places: vec![0; last + 1], near: Vec::new() };
        let mut distances = vec![0u8; grid.len()];
        for (point, place) in map.places.iter_mut().enumerate() {
            let point = point as u16;
            if N == 8 && point & point >> 1 & 0x5555 != 0 {
                continue; // A coordinate of 3, which nothing asks for.
            }
            if let Ok(index) = grid.binary_search(&point) {
                *place = (index as u32) << 8;
                continue;
            }
            // Squared distances are small numbers, 4 * 7² at most: a bit for each that is there finds the least.
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
            let first = map.near[start];
            map.near.resize(map.near.len().next_multiple_of(UNIT), first);
            *place = ((start / UNIT) as u32) << 8 | ((map.near.len() - start) / UNIT) as u32;
        }
        map
    }

    /// Where a point is whose coordinates are all below the number of levels.
    #[inline(always)]
    pub(in crate::codec) fn place(&self, point: u16) -> Place<'_> {
        let place = self.places[usize::from(point)];
        let (at, units) = (place >> 8, place as u8);
        if units == 0 {
            return Place::On(at as u16);
        }
        Place::Off(&self.near[at as usize * UNIT..][..usize::from(units) * UNIT])
    }
}

/// The sum of the coordinates' squared differences.
fn squared_distance<const N: usize>(a: u16, b: u16) -> u8 {
    if N == 8 {
        // Of levels 0, 1 and 2 the exclusive or is odd where they differ by one, and 2 where by two.
        let differ = a ^ b;
        let by_one = differ & 0x5555;
        return (by_one.count_ones() + 4 * (differ >> 1 & !differ & 0x5555).count_ones()) as u8;
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

// Made when a quantizer first asks, and kept.
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

    /// By the definition, with sorting: for some points of each grid.
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
                    let near: Vec<u16> = near.iter().map(|&point| u16::from_le_bytes(point)).collect();
                    assert_eq!(near[..wanted.len()], wanted, "{point:#06x}");
                    assert!(near.len().is_multiple_of(UNIT) && near.len() < wanted.len() + UNIT);
                    assert!(near[wanted.len()..].iter().all(|&point| point == wanted[0]));
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
