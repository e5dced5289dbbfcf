//! Models in several files are opened as one if they belong together, and refused with the name of a file if they do not. They are
//! split and merged without changing a byte.

#![cfg(feature = "std")]
// WebAssembly has no temporary folder.
#![cfg(not(target_family = "wasm"))]

use crate::common;
#[cfg(feature = "mmap")]
mod consuming;
mod dividing;
mod staging;

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

use common::raw::*;
use gguf_codec::{Error, Gguf, Result, ShardPaths, ShardProblem, ShardedGguf};

const LITTLE: (u32, bool) = (3, false);

/// A shard made by hand: its keys, and tensors of 32 bytes that contain their names.
fn shard(no: u16, count: u16, total: u32, tensors: &[&str]) -> Vec<u8> {
    with_keys(LITTLE, 3, tensors, |raw| keys(raw, no, count, total))
}

fn keys(raw: Raw, no: u16, count: u16, total: u32) -> Raw {
    let raw = raw.key("split.no", U16).u16(no).key("split.count", U16).u16(count);
    raw.key("split.tensors.count", I32).u32(total)
}

fn with_keys(format: (u32, bool), count: u64, tensors: &[&str], keys: impl FnOnce(Raw) -> Raw) -> Vec<u8> {
    let mut raw = keys(Raw::new(format, tensors.len() as u64, count));
    for (i, name) in tensors.iter().enumerate() {
        raw = raw.tensor(name, &[32], 24, 32 * i as u64);
    }
    let mut bytes = raw.pad(32).bytes;
    for name in tensors {
        let end = bytes.len() + 32;
        bytes.extend(name.as_bytes());
        bytes.resize(end, b'.');
    }
    bytes
}

fn set(shards: &[Vec<u8>]) -> Result<ShardedGguf<&[u8]>> {
    ShardedGguf::new(shards.iter().map(|bytes| Gguf::parse(bytes.as_slice()).unwrap()))
}

/// The refused file, and the reason.
#[track_caller]
fn refused<B>(opened: Result<ShardedGguf<B>>) -> (String, ShardProblem) {
    match opened {
        Err(Error::Shard { shard, problem }) => (shard, problem),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn of(shards: &[Vec<u8>]) -> (Self, PathBuf) {
        let folder = Folder(tempfile::tempdir().unwrap());
        let paths = ShardPaths::new(folder.0.path().join("m"), shards.len() as u16);
        for (no, bytes) in (0..).zip(shards) {
            fs::write(paths.path(no), bytes).unwrap();
        }
        (folder, paths.path(0))
    }

    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn read(first: &Path) -> Result<ShardedGguf<Vec<u8>>> {
    ShardedGguf::open_with(first, |path| Gguf::read(path))
}

#[test]
fn a_set_is_one_model() {
    let files = [
        with_keys(LITTLE, 4, &[], |raw| keys(raw, 0, 4, 3).key("answer", U8).u8(42)),
        shard(1, 4, 3, &["a", "b"]),
        shard(2, 4, 3, &[]),
        shard(3, 4, 3, &["c"]),
    ];
    let (_folder, first) = Folder::of(&files);
    let model = read(&first).unwrap();
    assert_eq!(model.metadata().require::<u8>("answer").unwrap(), 42);
    assert_eq!((model.tensor_count(), model.shards().len(), model.paths().len()), (3, 4, 4));
    assert_eq!(model.tensors().map(|tensor| tensor.name()).collect::<Vec<_>>(), ["a", "b", "c"]);
    for (name, shard) in [("a", 1), ("b", 1), ("c", 3)] {
        assert_eq!(model.shard_of(name).unwrap(), shard);
        assert_eq!(&model.tensor(name).unwrap().bytes().unwrap()[..2], format!("{name}.").as_bytes());
    }
    assert!(matches!(model.tensor("d"), Err(Error::MissingTensor { .. })));
    assert!(matches!(model.shard_of(""), Err(Error::MissingTensor { .. })));
    let opened = set(&files).unwrap();
    assert_eq!(opened.tensors().len(), 3);
    let shown = format!("{:?}", opened.tensors());
    assert!(["\"a\"", "\"b\"", "\"c\""].iter().all(|name| shown.contains(name)), "{shown}");
    assert_eq!(shown, format!("{:?}", model.tensors()));
    assert!(opened.paths().is_empty());
}

#[cfg(feature = "mmap")]
#[test]
fn a_set_is_opened_and_mapped_like_a_file() {
    use gguf_codec::Advice;

    let (_folder, first) = Folder::of(&[shard(0, 2, 2, &["a"]), shard(1, 2, 2, &["b"])]);
    let opened = ShardedGguf::open(&first).unwrap();
    assert_eq!(&opened.tensor("b").unwrap().bytes().unwrap()[..2], b"b.");
    // SAFETY: no other code uses the files, and nothing writes to them.
    let mapped = unsafe { ShardedGguf::map(&first) }.unwrap();
    assert_eq!(&mapped.tensor("b").unwrap().bytes().unwrap()[..2], b"b.");
    mapped.advise("b", Advice::Random).unwrap();
    assert!(matches!(mapped.advise("c", Advice::Random), Err(Error::MissingTensor { .. })));
}

#[test]
fn one_file_is_a_set_of_its_own() {
    // As in llama.cpp: without the key, with one shard, or with none, as after its own merge.
    let plain = with_keys(LITTLE, 0, &["a"], |raw| raw);
    for file in [plain, shard(0, 1, 1, &["a"]), shard(0, 0, 9, &["a"]), shard(7, 1, 9, &["a"])] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("any name");
        fs::write(&path, &file).unwrap();
        let model = read(&path).unwrap();
        assert_eq!((model.tensor_count(), model.shard_of("a").unwrap()), (1, 0));
        assert_eq!(model.paths(), [path]);
        assert!(matches!(model.tensor("b"), Err(Error::MissingTensor { .. })));
    }
    // A shard can be opened separately, to inspect it.
    let model = ShardedGguf::from(Gguf::parse(shard(2, 3, 9, &["a"])).unwrap());
    assert_eq!((model.tensor_count(), model.shard_of("a").unwrap()), (1, 0));
}

#[test]
fn shards_that_do_not_belong_together_are_named() {
    let two = || [shard(0, 2, 2, &["a"]), shard(1, 2, 2, &["b"])];
    set(&two()).unwrap();
    let first = |bytes| [bytes, two()[1].clone()];
    let second = |bytes| [two()[0].clone(), bytes];
    let keyed = |count, keys: fn(Raw) -> Raw| with_keys(LITTLE, count, &["b"], keys);
    let cases: [([Vec<u8>; 2], &str); 20] = [
        (
            first(shard(1, 2, 2, &["a"])),
            "the first shard: this is shard 2 of 2 (its key 'split.no' is 1); open the first",
        ),
        (
            first(keyed(1, |raw| raw.key("split.count", U16).u16(2))),
            "the first shard: the shard has no key 'split.no'",
        ),
        (
            first(keyed(2, |raw| raw.key("split.count", U16).u16(2).key("split.no", U16).u16(0))),
            "the first shard: the shard has no key 'split.tensors.count'",
        ),
        (
            first(keyed(1, |raw| raw.key("split.count", U32).u32(2))),
            "the first shard: key 'split.count' is of type u32, and must be u16",
        ),
        (
            first(shard(0, 2, u32::MAX, &["a"])),
            "the first shard: key 'split.tensors.count' is -1, and cannot be negative",
        ),
        (first(shard(0, 3, 2, &["a"])), "shard 2: key 'split.count' is 2, and must be 3"),
        (first(shard(0, 2, 3, &["a"])), "shard 2: key 'split.tensors.count' is 2, and must be 3"),
        (
            first(shard(0, 1, 1, &["a"])),
            "shard 2: there is one shard too many: by the first one's key 'split.count' there are 1",
        ),
        (second(keyed(0, |raw| raw)), "shard 2: the shard has no key 'split.no'"),
        (second(shard(0, 2, 2, &["b"])), "shard 2: key 'split.no' is 0, and must be 1"),
        (second(shard(2, 2, 2, &["b"])), "shard 2: key 'split.no' is 2, and must be 1"),
        (second(shard(1, 3, 2, &["b"])), "shard 2: key 'split.count' is 3, and must be 2"),
        (second(shard(1, 0, 2, &["b"])), "shard 2: key 'split.count' is 0, and must be 2"),
        (second(shard(1, 2, 1, &["b"])), "shard 2: key 'split.tensors.count' is 1, and must be 2"),
        (
            second(shard(1, 2, 2, &["b", "c"])),
            "shard 2: with this shard there are 3 tensors, and by the key 'split.tensors.count' there are 2 in all",
        ),
        (
            second(shard(1, 2, 2, &[])),
            "shard 2: with this shard there are 1 tensors, and by the key 'split.tensors.count' there are 2 in all",
        ),
        (second(shard(1, 2, 2, &["a"])), "shard 2: tensor 'a' is in shard 1 already"),
        (
            second(with_keys((3, true), 3, &["b"], |raw| keys(raw, 1, 2, 2))),
            "shard 2: the shard is in the other byte order than the first",
        ),
        (
            second(keyed(1, |raw| raw.key("split.no", U8).u8(1))),
            "shard 2: key 'split.no' is of type u8, and must be u16",
        ),
        (
            second(keyed(2, |raw| raw.key("split.no", U16).u16(1).key("split.tensors.count", U32).u32(2))),
            "shard 2: key 'split.tensors.count' is of type u32, and must be i32",
        ),
    ];
    for (files, wanted) in cases {
        let (shard, problem) = refused(set(&files));
        assert_eq!(format!("{shard}: {problem}"), wanted);
        // The same by path, and the error's name is the path.
        let (_folder, path) = Folder::of(&files);
        if !matches!(problem, ShardProblem::Surplus { .. } | ShardProblem::Key { key: "split.count", .. }) {
            let (named, again) = refused(read(&path));
            let file = if shard == "shard 2" { "m-00002-of-00002.gguf'" } else { "m-00001-of-00002.gguf'" };
            assert!(named.ends_with(file), "{named}");
            if !matches!(problem, ShardProblem::DuplicateTensor { .. }) {
                assert_eq!(again.to_string(), problem.to_string());
            }
        }
    }
    // The error names the tensor that occurs twice.
    let (_, problem) = refused(set(&[shard(0, 2, 4, &["a", "b"]), shard(1, 2, 4, &["c", "b"])]));
    assert_eq!(problem.to_string(), "tensor 'b' is in shard 1 already");
    // A shard that has only its number is accepted, as by llama.cpp.
    set(&second(keyed(1, |raw| raw.key("split.no", U16).u16(1)))).unwrap();
    // One shard too few; no shard at all.
    assert!(matches!(refused(set(&two()[..1])).1, ShardProblem::Missing { .. }));
    assert!(matches!(set(&[]), Err(Error::Length { found: 0, .. })));
}

#[test]
fn shards_of_different_models_do_not_mix() {
    let of = |no, architecture: &str, tensor: &str| {
        with_keys(LITTLE, 4, &[tensor], |raw| {
            keys(raw.key("general.architecture", STRING).string(architecture), no, 2, 2)
        })
    };
    set(&[of(0, "llama", "a"), of(1, "llama", "b")]).unwrap();
    set(&[of(0, "llama", "a"), shard(1, 2, 2, &["b"])]).unwrap();
    let (_, problem) = refused(set(&[of(0, "llama", "a"), of(1, "bert", "b")]));
    assert!(problem.to_string().contains("bert") && problem.to_string().contains("llama"), "{problem}");
}

/// A merge pads every tensor with the first shard's alignment, so a first shard without tensors could claim any alignment at no cost.
#[test]
fn shards_that_are_aligned_otherwise_do_not_belong_together() {
    let of = |no, alignment: Option<u32>, tensors: &[&str]| {
        with_keys(LITTLE, 3 + u64::from(alignment.is_some()), tensors, |raw| {
            keys(alignment.into_iter().fold(raw, Raw::alignment), no, 2, 1)
        })
    };
    for (first, second, wanted) in [
        (Some(64), Some(32), Err((32, 64))),
        (None, Some(16), Err((16, 32))),
        (Some(1 << 16), Some(8), Err((8, 1 << 16))),
        (Some(8), Some(8), Ok(())),
        (Some(32), None, Ok(())),
        (None, Some(32), Ok(())),
        // The output of llama.cpp's splitter for a model whose alignment is 64.
        (Some(64), None, Ok(())),
    ] {
        let files = [of(0, first, &[]), of(1, second, &["a"])];
        let opened = set(&files);
        match wanted {
            Ok(()) => assert_eq!(opened.unwrap().first().alignment(), first.unwrap_or(32)),
            Err((found, wanted)) => match refused(opened) {
                (shard, ShardProblem::Alignment { found: its, wanted: firsts }) => {
                    assert_eq!((shard.as_str(), its, firsts), ("shard 2", found, wanted));
                }
                other => panic!("{other:?}"),
            },
        }
    }
    // `Limits` bound a claim that no shard can prove with data.
    let claims = of(0, Some(1 << 31), &[]);
    assert!(matches!(
        Gguf::parse(claims.as_slice()),
        Err(Error::Limit { found: 0x8000_0000, limit: 0x1_0000, .. })
    ));
}

#[test]
fn a_set_has_the_names_that_its_keys_ask_for() {
    let file = shard(0, 3, 1, &["a"]);
    let folder = tempfile::tempdir().unwrap();
    for name in ["m.gguf", "m-00001-of-00002.gguf", "m-00002-of-00003.gguf", "-00001-of-00003.ggu"] {
        let path = folder.path().join(name);
        fs::write(&path, &file).unwrap();
        let (shard, problem) = refused(read(&path));
        assert!(shard.contains(name) && problem.to_string().contains("'-00001-of-00003.gguf'"), "{problem}");
    }
}

#[test]
fn missing_shards_are_named_and_broken_ones_too() {
    let files: Vec<_> = (0..9).map(|no| shard(no, 9, 9, &[&format!("t{no}")])).collect();
    let (folder, first) = Folder::of(&files);
    read(&first).unwrap();
    let path = |number: u16| folder.0.path().join(format!("m-{number:05}-of-00009.gguf"));
    fs::remove_file(path(9)).unwrap();
    let (shard, problem) = refused(read(&first));
    assert!(shard.ends_with("m-00009-of-00009.gguf'"), "{shard}");
    assert_eq!(problem.to_string(), "the shard is missing");
    for number in [3, 5, 6] {
        fs::remove_file(path(number)).unwrap();
    }
    let (shard, problem) = refused(read(&first));
    assert!(shard.ends_with("m-00003-of-00009.gguf'"), "{shard}");
    assert_eq!(problem.to_string(), "the shard is missing; others missing: 5 to 6, 9");
    fs::write(path(2), &files[1][..40]).unwrap();
    let (shard, problem) = refused(read(&first));
    assert!(shard.ends_with("m-00002-of-00009.gguf'"), "{shard}");
    assert!(matches!(problem, ShardProblem::File(error) if error.offset().is_some()));
    let error = read(&first).unwrap_err().to_string();
    assert_eq!(error.matches("m-00002-of-00009").count(), 1, "{error}");
    // A file that exists but cannot be read is not reported as missing.
    fs::remove_file(path(2)).unwrap();
    fs::create_dir(path(2)).unwrap();
    assert!(matches!(refused(read(&first)).1, ShardProblem::File(_)));
    fs::remove_file(path(1)).unwrap();
    assert!(matches!(read(&first), Err(Error::Io { .. })));
}

/// Its shards would fit together: both sets have the same number of files, with the same names.
#[cfg(unix)]
#[test]
fn a_set_that_is_replaced_while_it_is_opened_is_an_error() {
    let files: Vec<_> = (0..2).map(|no| shard(no, 2, 2, &[&format!("t{no}")])).collect();
    let (folder, first) = Folder::of(&files);
    let replaced_before = |no: usize| {
        let mut opened = 0;
        ShardedGguf::open_with(&first, |path| {
            if opened == no {
                let new = folder.0.path().join("new");
                fs::write(&new, &files[0]).unwrap();
                fs::rename(&new, &first).unwrap();
            }
            opened += 1;
            Gguf::read(path)
        })
    };
    replaced_before(2).unwrap();
    assert!(matches!(refused(replaced_before(1)).1, ShardProblem::Replaced));
}

#[test]
fn nothing_is_opened_behind_the_first_shard_that_does_not_fit() {
    let (folder, _) = Folder::of(&[]);
    let first = folder.0.path().join("m-00001-of-65535.gguf");
    fs::write(&first, shard(0, 65_535, i32::MAX as u32, &[])).unwrap();
    let opened = Cell::new(0);
    let counted = |path: &Path| {
        opened.set(opened.get() + 1);
        Gguf::read(path)
    };
    let (shard, problem) = refused(ShardedGguf::open_with(&first, counted));
    assert!(shard.ends_with("m-00002-of-65535.gguf'"), "{shard}");
    assert_eq!(
        (opened.get(), problem.to_string().as_str()),
        (2, "the shard is missing; others missing: 3 to 1001")
    );
    // More tensors than the set has.
    fs::write(&first, shard_of_many(0, 65_535, 3)).unwrap();
    fs::write(folder.0.path().join("m-00002-of-65535.gguf"), shard_of_many(1, 65_535, 3)).unwrap();
    opened.set(0);
    assert!(matches!(refused(ShardedGguf::open_with(&first, counted)).1, ShardProblem::Tensors { .. }));
    assert_eq!(opened.get(), 2);
}

fn shard_of_many(no: u16, count: u16, total: u32) -> Vec<u8> {
    shard(no, count, total, &[&format!("{no}a"), &format!("{no}b")])
}

#[test]
fn every_key_flipped_in_a_set_is_survived() {
    let files = [shard(0, 2, 2, &["a"]), shard(1, 2, 2, &["b"])];
    for broken in 0..2 {
        for at in 0..files[broken].len() {
            for bit in [1, 0x80] {
                let mut files = files.clone();
                files[broken][at] ^= bit;
                let parsed: Result<Vec<_>> = files.iter().map(Gguf::parse).collect();
                let Ok(model) = parsed.and_then(ShardedGguf::new) else { continue };
                for tensor in model.tensors() {
                    let shard = model.shard_of(tensor.name()).unwrap();
                    assert!(model.shards()[shard].tensor(tensor.name()).is_ok());
                }
            }
        }
    }
}
