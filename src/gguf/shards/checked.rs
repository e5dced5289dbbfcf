//! [`Checked`]: the shards of a set, each checked against those before it.

use std::path::{Path, PathBuf};

use super::keys::{COUNT, NO, ShardKeys, TENSORS};
use super::names::ShardPaths;
use crate::error::{Error, Result, ShardProblem};
use crate::gguf::index::Gguf;
use crate::gguf::layout::{ALIGNMENT_KEY, to_u64};
use crate::gguf::name_index::{Duplicate, NameIndex};

/// If a shard is missing, this many more are probed, so that the error can list other missing shards.
const LOOKED_FOR: u16 = 1000;

/// The shards so far. Each is checked when it is added, so that no files are opened past the first that does not fit.
pub(super) struct Checked<B> {
    pub(super) count: u16,
    /// The expected number of tensors, which a set of one file need not declare.
    tensors: Option<i32>,
    pub(super) shards: Vec<Gguf<B>>,
    before: Vec<usize>,
    paths: Vec<PathBuf>,
}

/// A whole set.
pub(super) struct Set<B> {
    pub(super) shards: Vec<Gguf<B>>,
    /// The number of tensors before each shard.
    pub(super) before: Vec<usize>,
    pub(super) paths: Vec<PathBuf>,
    pub(super) index: NameIndex,
}

impl<B: AsRef<[u8]>> Checked<B> {
    pub(super) fn begin(first: Gguf<B>, path: Option<PathBuf>) -> Result<Self> {
        let name = path.as_deref().map_or_else(|| "the first shard".to_owned(), shown);
        let wrong = |problem| Err(Error::Shard { shard: name.clone(), problem });
        let ShardKeys { no, count, tensors } = match ShardKeys::of(&first) {
            Ok(keys) => keys,
            Err(problem) => return wrong(problem),
        };
        let count = count.unwrap_or(1).max(1);
        if count > 1 {
            match no {
                Some(0) => {}
                Some(no) => return wrong(ShardProblem::NotFirst { no, count }),
                None => return wrong(ShardProblem::MissingKey { key: NO }),
            }
            match tensors {
                Some(0..) => {}
                Some(tensors) => return wrong(ShardProblem::Negative { tensors }),
                None => return wrong(ShardProblem::MissingKey { key: TENSORS }),
            }
        }
        let tensors = tensors.filter(|_| count > 1);
        let mut set = Checked { count, tensors, shards: Vec::new(), before: Vec::new(), paths: Vec::new() };
        set.push(first, path);
        Ok(set)
    }

    fn push(&mut self, shard: Gguf<B>, path: Option<PathBuf>) {
        self.before.push(self.held());
        self.shards.push(shard);
        self.paths.extend(path);
    }

    /// Returns the number of tensors in the shards so far.
    fn held(&self) -> usize {
        self.before.last().zip(self.shards.last()).map_or(0, |(before, last)| before + last.tensor_count())
    }

    /// Like [`held`](Self::held), including unreadable tensors.
    fn declared(&self) -> usize {
        self.shards.iter().map(declared).sum()
    }

    pub(super) fn add(&mut self, shard: Gguf<B>, path: Option<PathBuf>) -> Result<()> {
        let name = path.as_deref().map_or_else(|| numbered(self.shards.len()), shown);
        self.check(&shard).map_err(|problem| Error::Shard { shard: name, problem })?;
        self.push(shard, path);
        Ok(())
    }

    /// Checks that this can be the next shard.
    fn check(&self, shard: &Gguf<B>) -> Result<(), ShardProblem> {
        let first = &self.shards[0];
        let no = self.shards.len();
        if no >= usize::from(self.count) {
            return Err(ShardProblem::Surplus { count: self.count });
        }
        let keys = ShardKeys::of(shard)?;
        let wanted = |key, found: i64, wanted: i64| match found == wanted {
            true => Ok(()),
            false => Err(ShardProblem::Key { key, found, wanted }),
        };
        let its = keys.no.ok_or(ShardProblem::MissingKey { key: NO })?;
        wanted(NO, its.into(), i64::try_from(no).unwrap_or(i64::MAX))?;
        // A writer that stores the number stores these as well, but llama.cpp does not check them.
        wanted(COUNT, keys.count.unwrap_or(self.count).into(), self.count.into())?;
        if let Some(total) = self.tensors {
            wanted(TENSORS, keys.tensors.unwrap_or(total).into(), total.into())?;
            let held = self.declared().saturating_add(declared(shard));
            if usize::try_from(total).is_ok_and(|total| held > total) {
                return Err(ShardProblem::Tensors { found: to_u64(held), total });
            }
        }
        if shard.byte_order() != first.byte_order() {
            return Err(ShardProblem::ByteOrder);
        }
        // A shard that does not specify an alignment may still have been padded to the default: llama.cpp's splitter
        // writes the key only to the first file, and always pads to 32.
        if shard.alignment() != first.alignment() && shard.metadata().contains(ALIGNMENT_KEY) {
            return Err(ShardProblem::Alignment { found: shard.alignment(), wanted: first.alignment() });
        }
        let architecture = "general.architecture";
        let of = |file: &Gguf<B>| file.metadata().get(architecture).map(|value| value.to_string());
        match (of(shard), of(first)) {
            (Some(found), Some(wanted)) if found != wanted => {
                Err(ShardProblem::Architecture { found, wanted })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn finish(self) -> Result<Set<B>> {
        let (held, declared) = (self.held(), self.declared());
        let Checked { count, tensors, shards, before, paths } = self;
        let name_of = |no: usize| paths.get(no).map_or_else(|| numbered(no), |path| shown(path));
        let wrong = |no, problem| Err(Error::Shard { shard: name_of(no), problem });
        if shards.len() < usize::from(count) {
            return wrong(shards.len(), ShardProblem::Missing { others: String::new() });
        }
        if let Some(total) = tensors
            && usize::try_from(total) != Ok(declared)
        {
            return wrong(shards.len() - 1, ShardProblem::Tensors { found: to_u64(declared), total });
        }
        if shards.len() == 1 {
            return Ok(Set { shards, before, paths, index: NameIndex::default() });
        }
        // At most `i32::MAX`.
        let index = match NameIndex::build(held, |at| name_at(&shards, &before, at)) {
            Ok(Ok(index)) => index,
            Ok(Err(Duplicate { first, second })) => {
                let name = String::from_utf8_lossy(name_at(&shards, &before, second)).into_owned();
                let first = name_of(holder(&before, first));
                return wrong(holder(&before, second), ShardProblem::DuplicateTensor { name, first });
            }
            Err(_) => return wrong(0, ShardProblem::TooMany { found: to_u64(held) }),
        };
        Ok(Set { shards, before, paths, index })
    }
}

/// Returns the number of tensors in a file's table.
fn declared<B: AsRef<[u8]>>(shard: &Gguf<B>) -> usize {
    shard.tensor_count().saturating_add(shard.foreign_tensors().len())
}

/// Returns the index of the shard that contains the tensor at this position among all tensors.
pub(super) fn holder(before: &[usize], at: usize) -> usize {
    // If several begin at the same position, all but the last are empty.
    before.partition_point(|&before| before <= at).saturating_sub(1)
}

pub(super) fn name_at<'a, B: AsRef<[u8]>>(shards: &'a [Gguf<B>], before: &[usize], at: usize) -> &'a [u8] {
    let no = holder(before, at);
    let within = before.get(no).map_or(0, |before| at.saturating_sub(*before));
    shards.get(no).map_or(&[], |shard| shard.tensor_name(within))
}

/// Names a shard without a path by its number, counted from 1 as in file names.
fn numbered(no: usize) -> String {
    format!("shard {}", no.saturating_add(1))
}

pub(super) fn shown(path: &Path) -> String {
    format!("'{}'", path.display())
}

/// Returns the error that shard `no` is missing. It also lists others that are.
pub(super) fn missing(paths: &ShardPaths, no: u16) -> Error {
    let until = paths.count().min(no.saturating_add(LOOKED_FOR));
    let others: Vec<u16> =
        (no + 1..until).filter(|&other| matches!(paths.path(other).try_exists(), Ok(false))).collect();
    let shard = shown(&paths.path(no));
    Error::Shard { shard, problem: ShardProblem::Missing { others: listed(&others) } }
}

/// Formats shards by the numbers in their names: `2, 4 to 6, 9`. Empty if there are none.
fn listed(shards: &[u16]) -> String {
    const MOST: usize = 8;
    let runs: Vec<_> = shards.chunk_by(|one, next| next - one == 1).collect();
    let mut text: Vec<String> = runs
        .iter()
        .take(MOST)
        .map(|run| match run {
            [one] => format!("{}", u32::from(*one) + 1),
            [first, .., last] => format!("{} to {}", u32::from(*first) + 1, u32::from(*last) + 1),
            [] => String::new(),
        })
        .collect();
    if runs.len() > MOST {
        text.push("…".to_owned());
    }
    text.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_shards_are_listed_in_runs() {
        assert_eq!(listed(&[]), "");
        assert_eq!(listed(&[1]), "2");
        assert_eq!(listed(&[1, 3, 4, 5, 7, 8, 65534]), "2, 4 to 6, 8 to 9, 65535");
        let scattered: Vec<u16> = (0..20).map(|i| 2 * i).collect();
        assert_eq!(listed(&scattered[..8]), "1, 3, 5, 7, 9, 11, 13, 15");
        assert_eq!(listed(&scattered), "1, 3, 5, 7, 9, 11, 13, 15, …");
    }

    #[test]
    fn empty_shards_hold_no_position() {
        // 0, 2, 0, 1 and 0 tensors.
        let before = [0, 0, 2, 2, 3];
        assert_eq!([0, 1, 2].map(|at| holder(&before, at)), [1, 1, 3]);
    }
}
