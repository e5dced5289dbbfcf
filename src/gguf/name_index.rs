//! [`NameIndex`]: maps names to positions in a list, without owning the names.

use alloc::collections::TryReserveError;

#[cfg(feature = "std")]
pub(crate) use hashed::NameIndex;
#[cfg(not(feature = "std"))]
pub(crate) use sorted::NameIndex;

/// Two positions with the same name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Duplicate {
    pub(crate) first: usize,
    pub(crate) second: usize,
}

impl NameIndex {
    /// The most names that can be indexed.
    pub(crate) const MAX_LEN: u64 = 0xFFFF_FFFF;
}

/// Converts a position back. Positions were `usize` when they were inserted.
fn to_usize(position: u32) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

#[cfg(feature = "std")]
mod hashed {
    use std::hash::{BuildHasher, RandomState};

    use super::{Duplicate, TryReserveError, to_usize};

    /// Marks an empty slot. Lists are kept shorter than this.
    const EMPTY: u32 = u32::MAX;

    /// An open-addressing table of positions in a list of names. The names are not copied.
    ///
    /// Hashes are randomly keyed, so no file can be crafted whose names all collide.
    #[derive(Debug, Clone, Default)]
    pub(crate) struct NameIndex {
        pub(super) slots: Vec<u32>,
        hasher: RandomState,
    }

    impl NameIndex {
        /// Indexes the names at positions 0 to `len`, or returns the first name that repeats an earlier one.
        pub(crate) fn build<'a>(
            len: usize,
            name: impl Fn(usize) -> &'a [u8],
        ) -> Result<Result<Self, Duplicate>, TryReserveError> {
            let mut index = NameIndex::default();
            if len == 0 {
                return Ok(Ok(index));
            }
            // The table is at most three quarters full, so probes are short, and never has more than 8/3 slots per name.
            let slots = (len + len.div_ceil(3)).next_power_of_two();
            index.slots.try_reserve_exact(slots)?;
            index.slots.resize(slots, EMPTY);
            for second in 0..len {
                let wanted = name(second);
                for slot in index.probe(wanted) {
                    match index.slots.get(slot).copied() {
                        Some(EMPTY) => {
                            if let (Some(slot), Ok(position)) = (index.slots.get_mut(slot), second.try_into())
                            {
                                *slot = position;
                            }
                            break;
                        }
                        Some(first) if name(to_usize(first)) == wanted => {
                            return Ok(Err(Duplicate { first: to_usize(first), second }));
                        }
                        _ => {}
                    }
                }
            }
            Ok(Ok(index))
        }

        /// Returns the position of `wanted`. `name` returns the name at a position.
        pub(crate) fn find<'a>(&self, wanted: &[u8], name: impl Fn(usize) -> &'a [u8]) -> Option<usize> {
            for slot in self.probe(wanted) {
                match self.slots.get(slot).copied()? {
                    EMPTY => return None,
                    position if name(to_usize(position)) == wanted => return Some(to_usize(position)),
                    _ => {}
                }
            }
            None
        }

        /// Visits every slot once, beginning with the one that `name` hashes to.
        fn probe(&self, name: &[u8]) -> impl Iterator<Item = usize> + use<> {
            let mask = self.slots.len().wrapping_sub(1);
            // The mask has at most 32 bits, so only these matter.
            let start = usize::try_from(self.hasher.hash_one(name) & u64::from(u32::MAX)).unwrap_or(0);
            (0..self.slots.len()).map(move |step| start.wrapping_add(step) & mask)
        }
    }
}

/// Without std there is no randomness to key a hash, so a file could be crafted whose names all collide. Comparisons
/// cannot collide: their number is bounded for any names.
#[cfg(any(not(feature = "std"), test))]
mod sorted {
    use alloc::vec::Vec;

    use super::{Duplicate, TryReserveError, to_usize};

    /// Positions in a list of names, sorted by name. The names are not copied.
    #[derive(Debug, Clone, Default)]
    pub(crate) struct NameIndex {
        pub(super) slots: Vec<u32>,
    }

    impl NameIndex {
        /// Indexes the names at positions 0 to `len`, or returns the first name that repeats an earlier one.
        pub(crate) fn build<'a>(
            len: usize,
            name: impl Fn(usize) -> &'a [u8],
        ) -> Result<Result<Self, Duplicate>, TryReserveError> {
            let mut slots: Vec<u32> = Vec::new();
            slots.try_reserve_exact(len)?;
            slots.extend((0..len).map_while(|position| u32::try_from(position).ok()));
            let named = |position: u32| name(to_usize(position));
            slots.sort_unstable_by(|&a, &b| named(a).cmp(named(b)).then(a.cmp(&b)));
            // Equal names are adjacent, in the order of their positions.
            let pairs = slots.windows(2).filter_map(|pair| <[u32; 2]>::try_from(pair).ok());
            let repeated = pairs.filter(|&[first, second]| named(first) == named(second));
            match repeated.min_by_key(|&[_, second]| second) {
                Some([first, second]) => {
                    Ok(Err(Duplicate { first: to_usize(first), second: to_usize(second) }))
                }
                None => Ok(Ok(NameIndex { slots })),
            }
        }

        /// Returns the position of `wanted`. `name` returns the name at a position.
        pub(crate) fn find<'a>(&self, wanted: &[u8], name: impl Fn(usize) -> &'a [u8]) -> Option<usize> {
            let found = self.slots.binary_search_by(|&position| name(to_usize(position)).cmp(wanted));
            found.ok().and_then(|slot| self.slots.get(slot)).map(|&position| to_usize(position))
        }
    }
}

#[cfg(test)]
mod tests {
    /// Tests an index. `$looks` is how many times on average it may read a name, for a given number of names.
    macro_rules! promises {
        ($index:ident, $looks:expr) => {
            mod $index {
                use super::super::{Duplicate, $index::NameIndex};

                #[test]
                fn finds_each_name_and_no_other() {
                    let names: Vec<String> = (0..1000).map(|i| format!("blk.{i}.weight")).collect();
                    for len in [0, 1, 2, 3, 4, 7, 1000] {
                        let name = |i: usize| names[i].as_bytes();
                        let index = NameIndex::build(len, name).unwrap().unwrap();
                        assert!(index.slots.len() * 3 <= len * 8, "{} slots for {len}", index.slots.len());
                        for (i, wanted) in names.iter().enumerate() {
                            assert_eq!(index.find(wanted.as_bytes(), name), (i < len).then_some(i));
                        }
                        assert_eq!(index.find(b"", name), None);
                    }
                }

                #[test]
                fn names_are_compared_a_few_times_each_however_many_there_are() {
                    // The fullest possible table and an ordinary one.
                    for len in [24_576, 40_000] {
                        let names: Vec<String> = (0..len).map(|i| format!("blk.{i}.weight")).collect();
                        let looks = core::cell::Cell::new(0);
                        let name = |i: usize| {
                            looks.set(looks.get() + 1);
                            names[i].as_bytes()
                        };
                        let most = $looks(len) * len;
                        let index = NameIndex::build(len, name).unwrap().unwrap();
                        assert!(looks.get() < most, "{} looks to build {len}", looks.get());
                        looks.set(0);
                        for (i, wanted) in names.iter().enumerate() {
                            assert_eq!(index.find(wanted.as_bytes(), name), Some(i));
                        }
                        assert!(looks.get() < most, "{} looks to find {len}", looks.get());
                    }
                }

                #[test]
                fn the_first_repetition_is_reported() {
                    let names: [&[u8]; 6] = [b"a", b"b", b"c", b"b", b"a", b"b"];
                    let index = NameIndex::build(6, |i| names[i]).unwrap();
                    assert_eq!(index.unwrap_err(), Duplicate { first: 1, second: 3 });
                }
            }
        };
    }

    // At three quarters full the mean is 2.5. Comparing each name with all others would take thousands.
    #[cfg(feature = "std")]
    promises!(hashed, |_| 8);
    // Two for each comparison. Sorting needs a logarithmic number of comparisons per name.
    promises!(sorted, |len: usize| 4 * len.ilog2() as usize);
}
