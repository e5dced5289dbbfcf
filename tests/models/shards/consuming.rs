//! Merging that removes shards: the cases that are refused, and recovery from an interrupted merge.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use gguf_codec::model::{Input, Merge, Split};
use gguf_codec::{Error, Existing, OutputProblem};

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/sample.gguf");

/// A folder with the sample in three shards, and the path of the merged file.
struct Set {
    folder: tempfile::TempDir,
    shards: Vec<PathBuf>,
    out: PathBuf,
}

impl Set {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shards =
            Split::by_tensors(7).run(&Input::open(SAMPLE).unwrap(), folder.path().join("m")).unwrap();
        let out = folder.path().join("out.gguf");
        Set { shards: shards.into_iter().map(|shard| shard.path).collect(), out, folder }
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn consume(&self) -> gguf_codec::Result<u64> {
        Merge::new().consume(&self.shards[0], &self.out)
    }

    /// Interrupts the work once this many shards are gone.
    fn cut_off(&self, gone: usize) {
        let stop = |_, _| match self.shards.iter().filter(|shard| !shard.exists()).count() >= gone {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        let error = Merge::new().consume_with(&self.shards[0], &self.out, stop).unwrap_err();
        assert!(matches!(error, Error::Interrupted), "{error}");
    }

    #[track_caller]
    fn is_refused(&self, why: &str) {
        let (before, error) = (self.names(), self.consume().unwrap_err());
        assert!(format!("{error:?}").contains(why), "{error:?}");
        assert_eq!(self.names(), before);
    }

    #[track_caller]
    fn ends_well(&self) {
        let sample = fs::read(SAMPLE).unwrap();
        assert_eq!(self.consume().unwrap(), sample.len() as u64);
        assert!(fs::read(&self.out).unwrap() == sample);
        assert_eq!(self.names(), ["out.gguf"]);
    }
}

fn flip(path: &Path, at: u64) {
    let mut bytes = fs::read(path).unwrap();
    let at = usize::try_from(bytes.len() as u64 - at).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn shards_become_one_file_and_are_gone() {
    let set = Set::new();
    set.ends_well();
    let set = Set::new();
    fs::write(&set.out, "old").unwrap();
    let error = set.consume().unwrap_err();
    assert!(matches!(error, Error::Output { problem: OutputProblem::Exists { .. }, .. }), "{error}");
    assert_eq!(set.names().len(), 4);
    Merge::new().existing(Existing::Replace).consume(&set.shards[0], &set.out).unwrap();
    assert_eq!(set.names(), ["out.gguf"]);
}

#[test]
fn what_is_cut_off_before_a_shard_is_gone_leaves_nothing() {
    let set = Set::new();
    set.cut_off(0);
    assert_eq!(set.names().len(), 3);
    set.ends_well();
}

#[test]
fn what_is_cut_off_later_is_finished_by_the_same_call() {
    for gone in 1..=3 {
        let set = Set::new();
        set.cut_off(gone);
        let unfinished = Merge::new().unfinished_path(&set.out);
        assert_eq!(set.names().len(), 4 - gone);
        let error = Input::open(&unfinished).unwrap_err().to_string();
        assert!(error.contains("`Merge::consume` with the same paths finishes it"), "{error}");
        set.ends_well();
    }
}

#[test]
fn a_shard_that_comes_back_goes_only_where_it_is_the_same() {
    let set = Set::new();
    let copy = fs::read(&set.shards[0]).unwrap();
    set.cut_off(1);
    fs::write(&set.shards[0], &copy).unwrap();
    flip(&set.shards[0], 40);
    set.is_refused("has other data than the shard that was merged");
    fs::write(&set.shards[0], &copy[..copy.len() - 1]).unwrap();
    set.is_refused("is not the shard that it was when");
    fs::write(&set.shards[0], &copy).unwrap();
    set.ends_well();
}

#[test]
fn shards_that_are_missing_or_others_are_refused() {
    let set = Set::new();
    set.cut_off(1);
    let (second, away) = (&set.shards[1], set.folder.path().join("away"));
    fs::rename(second, &away).unwrap();
    set.is_refused("cannot open");
    fs::copy(&set.shards[2], second).unwrap();
    set.is_refused("is not the shard that it was when");
    fs::rename(&away, second).unwrap();
    set.ends_well();

    let set = Set::new();
    fs::remove_file(&set.shards[1]).unwrap();
    set.is_refused("is missing");
}

#[test]
fn nothing_is_lost_that_the_merged_file_would_lack() {
    let set = Set::new();
    let mut bytes = fs::read(&set.shards[2]).unwrap();
    bytes.extend([7; 64]);
    fs::write(&set.shards[2], bytes).unwrap();
    set.is_refused("bytes after its data");

    let set = Set::new();
    let keyed = set.folder.path().join("keyed");
    gguf_codec::model::Edit::new().add("own.key", 1u32).write(&set.shards[1], &keyed).unwrap();
    fs::rename(&keyed, &set.shards[1]).unwrap();
    set.is_refused("the key 'own.key', which the first shard has not");
}

#[test]
fn what_is_no_unfinished_merge_is_left_alone() {
    let set = Set::new();
    let unfinished = Merge::new().unfinished_path(&set.out);
    for bytes in [&b""[..], b"g", b"gGUF", &fs::read(SAMPLE).unwrap()] {
        fs::write(&unfinished, bytes).unwrap();
        let error = set.consume().unwrap_err();
        assert!(error.to_string().contains(".merging"), "{error}");
        assert!(fs::read(&unfinished).unwrap() == bytes);
        assert_eq!(set.names().len(), 4);
    }
    fs::remove_file(&unfinished).unwrap();
    let error = Merge::new().consume(SAMPLE, &set.out).unwrap_err();
    assert!(error.to_string().contains("is not named like one of several shards"), "{error}");
    let error = Merge::new().existing(Existing::Replace).consume(&set.shards[0], &set.shards[2]).unwrap_err();
    assert!(matches!(error, Error::Output { problem: OutputProblem::Input { .. }, .. }), "{error}");
    set.ends_well();
}

#[test]
#[cfg(unix)]
fn links_are_not_consumed() {
    let set = Set::new();
    let real = set.folder.path().join("blob");
    fs::rename(&set.shards[1], &real).unwrap();
    std::os::unix::fs::symlink(&real, &set.shards[1]).unwrap();
    set.is_refused("is a symbolic link");
}

#[test]
fn two_cannot_merge_the_same() {
    let set = Set::new();
    let mut seen = None;
    Merge::new()
        .consume_with(&set.shards[0], &set.out, |_, _| {
            if seen.is_none() {
                seen = Some(set.consume().unwrap_err().to_string());
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(seen.as_ref().unwrap().contains("another process is merging into"), "{seen:?}");
    assert_eq!(set.names(), ["out.gguf"]);
}
