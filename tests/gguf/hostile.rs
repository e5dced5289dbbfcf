//! Malicious bytes, and bytes that were cut or flipped in transit: they give an error or a header, never a panic, a hang or a
//! disagreement between the ways of reading.

use crate::common;
use std::cell::Cell;

use common::raw::*;
use gguf_codec::{ArrayRef, Error, Gguf, HeaderParser, HeaderProgress, Limits};
use proptest::prelude::*;

#[test]
fn every_prefix_of_a_valid_file_fails_cleanly() {
    every_format(|format| {
        let raw = everything(format);
        let header_len = raw.ok().header_len() as usize;
        for len in 0..raw.bytes.len() {
            let outcome = agree(&raw.bytes[..len], Limits::default());
            assert_eq!(outcome.is_ok(), len >= header_len, "{len}");
            // Only the last tensor's padding may be missing, and the last tensor has no bytes here.
            let error = Gguf::parse(&raw.bytes[..len]).unwrap_err();
            assert!(error.offset().is_some_and(|offset| offset <= len as u64), "{error}");
        }
    });
}

#[test]
fn every_byte_flipped_is_survived_alike() {
    for format in [(1, true), (3, false)] {
        let raw = everything(format);
        let header_len = raw.ok().header_len() as usize;
        for at in 0..header_len {
            for flip in [1, 0x80, 0xff] {
                let mut bytes = raw.bytes.clone();
                bytes[at] ^= flip;
                let _ = agree(&bytes, Limits::default());
            }
        }
    }
}

#[test]
fn what_broke_other_readers() {
    let format = (3, false);
    // A tiny file that declares a huge tensor, huge arrays, huge counts.
    Raw::new(format, 1, 0).tensor("t", &[1 << 40], 0, 0).pad(32).parse().unwrap_err();
    for element in 0..13 {
        for count in [1 << 28, 1 << 30, 1 << 40, u64::MAX] {
            Raw::new(format, 0, 1).array("k", element, count).zeros(100).parse().unwrap_err();
        }
    }
    for count in [1 << 20, 1 << 40, u64::MAX] {
        Raw::new(format, count, 0).zeros(100).parse().unwrap_err();
        Raw::new(format, 0, count).zeros(100).parse().unwrap_err();
    }
    // A hundred thousand nested arrays.
    let start = Raw::new(format, 0, 1).key("k", ARRAY);
    let nested = (0..100_000).fold(start, |raw, _| raw.u32(ARRAY).len(1));
    assert!(matches!(nested.parse(), Err(Error::Limit { limit: 4, .. })));
    let deep = Limits { max_array_depth: u32::MAX, ..Limits::default() };
    Gguf::options().limits(deep).parse(&nested.bytes).unwrap_err();
    // A key of a megabyte does not give a message of a megabyte.
    let raw = Raw::new(format, 0, 1).key("k".repeat(1 << 20), 99).zeros(64);
    assert!(raw.parse().unwrap_err().to_string().len() < 1000);
    let raw = Raw::new(format, 0, 1).key("\n\u{1b}[2J", 99).zeros(64);
    assert!(!raw.parse().unwrap_err().to_string().contains('\u{1b}'));
}

#[test]
fn many_keys_tensors_and_arrays_are_found_however_they_come() {
    const COUNT: u64 = 20_000;
    let format = (3, false);
    let mut raw = Raw::new(format, COUNT, COUNT);
    for i in 0..COUNT {
        raw = raw.key(format!("key.{i}"), U64).u64(i);
    }
    for i in 0..COUNT {
        raw = raw.tensor(format!("blk.{i}.weight"), &[8], 0, i * 32);
    }
    let raw = raw.pad(32).zeros(COUNT as usize * 32);
    let gguf = raw.parse().unwrap();
    for i in 0..COUNT {
        assert_eq!(gguf.metadata().require::<u64>(&format!("key.{i}")).unwrap(), i);
        assert_eq!(gguf.tensor_info(&format!("blk.{i}.weight")).unwrap().offset(), i * 32);
    }

    // Long keys and values, and nested arrays, given one more byte at a time. A parser that started over each time
    // would read a hundred billion bytes, and the test would not end.
    let mut raw = Raw::new(format, 0, 2).key("k".repeat(1 << 17), STRING).string("v".repeat(1 << 17));
    raw = raw.array("nested", ARRAY, 5000);
    for _ in 0..5000 {
        raw = raw.u32(STRING).len(1).string("s");
    }
    let mut parser = HeaderParser::new(Limits::default());
    for len in 0..raw.bytes.len() {
        assert!(matches!(parser.advance(&raw.bytes[..len]).unwrap(), HeaderProgress::NeedMore(_)));
    }
    assert_eq!(parser.advance(&raw.bytes).unwrap(), HeaderProgress::Done);
}

#[cfg(feature = "std")]
#[test]
fn a_large_vocabulary_takes_few_reads() {
    struct Counted<'a>(&'a [u8], usize);
    impl std::io::Read for Counted<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            self.1 += 1;
            self.0.read(into)
        }
    }
    let mut raw = Raw::new((3, false), 1, 1).array("tokens", STRING, 100_000);
    for i in 0..100_000 {
        raw = raw.string(format!("token{i}"));
    }
    let raw = raw.tensor("t", &[1], 0, 0).pad(32).zeros(4);
    let mut reader = Counted(&raw.bytes, 0);
    let gguf = Gguf::read_header(&mut reader).unwrap();
    assert_eq!((raw.bytes.len() - reader.0.len()) as u64, gguf.header_len());
    assert!(reader.1 < 100, "{} reads", reader.1);
    let tokens: ArrayRef = gguf.metadata().require("tokens").unwrap();
    assert_eq!(tokens.iter_as::<&str>().nth(99_999).unwrap().unwrap(), "token99999");
}

#[cfg(feature = "std")]
#[test]
fn a_reader_of_few_bytes_at_a_time_costs_linear_time() {
    /// A pipe that never has more than a few bytes available.
    struct Drip<'a>(&'a [u8]);
    impl std::io::Read for Drip<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            let count = into.len().min(3);
            self.0.read(&mut into[..count])
        }
    }
    // If the work for each read grew with the header, it would be terabytes here, and the test would not end.
    let raw = Raw::new((3, false), 0, 1).key("k", STRING).string("v".repeat(6 << 20));
    let gguf = Gguf::read_header(Drip(&raw.bytes)).unwrap();
    assert_eq!(gguf.metadata().require::<&[u8]>("k").unwrap().len(), 6 << 20);
    Gguf::read_header(Drip(&raw.bytes[..raw.bytes.len() - 1])).unwrap_err();
}

#[test]
fn header_length_is_limited() {
    every_format(|format| {
        let raw = everything(format);
        let len = raw.ok().header_len();
        let limited = |max_header_bytes| Limits { max_header_bytes, ..Limits::default() };
        agree(&raw.bytes, limited(len)).unwrap();
        for max in 0..len {
            let error = agree(&raw.bytes, limited(max)).unwrap_err();
            assert!(error.contains("the limit in force is"), "{max}: {error}");
        }
    });
}

#[test]
fn bytes_that_change_behind_the_index_do_no_harm() {
    /// Returns other bytes from the second access on.
    struct Fickle(Vec<Vec<u8>>, Cell<usize>);
    impl AsRef<[u8]> for Fickle {
        fn as_ref(&self) -> &[u8] {
            let look = self.1.replace(self.1.get() + 1);
            &self.0[if look == 0 { 0 } else { 1 + look % (self.0.len() - 1) }]
        }
    }
    every_format(|format| {
        let good = everything(format).bytes;
        let mut shown = vec![good.clone(), Vec::new(), vec![0xff; good.len()], vec![0; good.len()]];
        shown.extend((0..good.len()).step_by(7).map(|len| good[..len].to_vec()));
        shown.extend((0..good.len()).map(|at| {
            let mut bytes = good.clone();
            bytes[at] ^= 0x41;
            bytes
        }));
        let looks = shown.len();
        let gguf = Gguf::parse(Fickle(shown, Cell::new(0))).unwrap();
        for _ in 0..looks {
            for (key, value) in gguf.metadata() {
                let _ = (key.len(), value.to_string(), value.to_owned());
            }
            for info in gguf.tensors() {
                let _ = info.tensor().map(|tensor| tensor.bytes().unwrap().len());
            }
            let _ = (gguf.tensor("norm").is_ok(), gguf.metadata().require::<f32>("f32").is_ok());
            let _ =
                (gguf.has_final_padding(), format!("{gguf:?} {:?} {:?}", gguf.metadata(), gguf.tensors()));
        }
    });
}

#[test]
fn bytes_that_vanished_are_not_taken_for_a_header_alone() {
    struct Vanishing(Vec<u8>, Cell<bool>);
    impl AsRef<[u8]> for Vanishing {
        fn as_ref(&self) -> &[u8] {
            if self.1.replace(true) { &self.0[..self.0.len() - 4] } else { &self.0 }
        }
    }
    let raw = Raw::new((3, false), 1, 0).tensor("t", &[2], 0, 0).pad(32).zeros(8);
    let len = raw.at();
    let gguf = Gguf::parse(Vanishing(raw.bytes, Cell::new(false))).unwrap();
    let error = gguf.tensor("t").unwrap_err();
    assert!(matches!(error, Error::Length { found, .. } if found == len - 4), "{error}");
    assert!(error.to_string().contains(&format!("at least {len}, where tensor 't' ends")), "{error}");
}

#[test]
fn looking_an_array_up_does_not_walk_through_it() {
    /// After parsing, returns a vocabulary whose second string is longer than the file.
    struct Changing(Vec<u8>, Vec<u8>, Cell<bool>);
    impl AsRef<[u8]> for Changing {
        fn as_ref(&self) -> &[u8] {
            if self.2.replace(true) { &self.1 } else { &self.0 }
        }
    }
    every_format(|format| {
        let vocabulary = |len| {
            let raw = Raw::new(format, 0, 1).array("tokens", STRING, 3).string("a");
            raw.len(len).raw(b"b").string("c").bytes
        };
        let gguf = Gguf::parse(Changing(vocabulary(1), vocabulary(1 << 20), Cell::new(false))).unwrap();
        // A walk through the strings would fail at that string.
        let tokens: ArrayRef = gguf.metadata().require("tokens").unwrap();
        assert_eq!((tokens.len(), tokens.iter().map_while(|token| token.get::<&str>()).count()), (3, 1));
    });
}

#[cfg(feature = "std")]
#[test]
fn a_reader_that_fails_is_reported() {
    struct Failing;
    impl std::io::Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::ConnectionReset.into())
        }
    }
    assert!(matches!(Gguf::read_header(Failing), Err(Error::Io { .. })));
    let missing = Gguf::read("/no/such/file.gguf").unwrap_err();
    assert!(missing.to_string().contains("/no/such/file.gguf"), "{missing}");
}

#[test]
#[cfg(all(feature = "mmap", not(target_family = "wasm")))]
fn files_are_opened_mapped_and_read_alike() {
    use gguf_codec::Advice;

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.gguf");
    let raw = everything((3, false));
    std::fs::write(&path, &raw.bytes).unwrap();
    let (opened, read) = (Gguf::open(&path).unwrap(), Gguf::read(&path).unwrap());
    // SAFETY: no other code uses the file, and it is written again only after the mapping is dropped.
    let mapped = unsafe { Gguf::map(&path) }.unwrap();
    assert!(mapped.metadata().iter().eq(read.metadata()) && opened.metadata().iter().eq(read.metadata()));
    let norm = read.tensor("norm").unwrap().bytes().unwrap();
    assert_eq!(mapped.tensor("norm").unwrap().bytes().unwrap(), norm);
    assert_eq!(opened.tensor("norm").unwrap().bytes().unwrap(), norm);
    for advice in [Advice::Random, Advice::Sequential, Advice::WillNeed, Advice::Normal] {
        mapped.advise("norm", advice).unwrap();
        assert_eq!(mapped.tensor("norm").unwrap().bytes().unwrap(), norm);
        assert!(matches!(mapped.advise("none", advice), Err(Error::MissingTensor { .. })));
    }
    assert_eq!(opened.into_inner(), raw.bytes[..read.header_len() as usize]);
    assert_eq!(mapped.into_inner().as_ref(), raw.bytes);
    std::fs::write(&path, b"").unwrap();
    assert_eq!(Gguf::open(&path).unwrap_err().offset(), Some(0));
    assert!(matches!(Gguf::open(directory.path()), Err(Error::Io { .. })));
}

#[cfg(all(feature = "std", not(target_family = "wasm")))] // There is no folder for temporary files.
#[test]
fn only_regular_files_are_opened_by_path() {
    type Open = fn(&std::path::Path) -> gguf_codec::Result<()>;
    let ways: &[Open] = &[
        |path| Gguf::read(path).map(drop),
        |path| Gguf::open(path).map(drop),
        // SAFETY: nothing is mapped.
        #[cfg(feature = "mmap")]
        |path| unsafe { Gguf::map(path) }.map(drop),
    ];
    let directory = tempfile::tempdir().unwrap();
    for open in ways {
        let error = format!("{:?}", open(directory.path()).unwrap_err());
        assert!(error.ends_with(&format!("'{}': it is a directory", directory.path().display())), "{error}");
    }
    #[cfg(unix)]
    {
        // Opening a pipe without a writer never returns, and neither does reading this device.
        let pipe = directory.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [pipe.as_path(), std::path::Path::new("/dev/zero"), std::path::Path::new("/dev/null")] {
            for open in ways {
                let error = format!("{:?}", open(path).unwrap_err());
                assert!(
                    error.contains("not a regular file; open it and give it to Gguf::read_header"),
                    "{error}"
                );
            }
        }
    }
}

#[cfg(all(feature = "std", not(target_family = "wasm")))] // There is no folder for temporary files.
#[test]
fn what_is_wrong_with_a_file_opened_by_its_path_names_the_path_once() {
    use gguf_codec::ShardedGguf;
    use gguf_codec::model::{Edit, Imatrix, Input};

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.gguf");
    let mut version = everything((3, false)).bytes;
    version[4] = 9;
    let ways: &[fn(&std::path::Path) -> gguf_codec::Result<()>] = &[
        |path| Gguf::read(path).map(drop),
        |path| Gguf::open(path).map(drop),
        |path| ShardedGguf::open(path).map(drop),
        |path| Input::open(path).map(drop),
        |path| Imatrix::read(path).map(drop),
        |path| Edit::new().set("general.name", "x").plan(path).map(drop),
        // SAFETY: nothing changes the file.
        #[cfg(feature = "mmap")]
        |path| unsafe { Gguf::map(path) }.map(drop),
    ];
    std::fs::write(&path, &version).unwrap();
    for (way, open) in ways.iter().enumerate() {
        let error = open(&path).unwrap_err();
        assert_eq!(error.offset(), Some(4), "{way}");
        let start = format!("'{}': byte 4", path.display());
        assert!(error.to_string().starts_with(&start), "{way}: {error}");
    }
    // What was not opened by a path has none.
    let error = Gguf::parse(&version[..]).unwrap_err().to_string();
    assert!(error.starts_with("byte 4"), "{error}");

    let limits = gguf_codec::Limits { max_keys: 1, ..Default::default() };
    std::fs::write(&path, everything((3, false)).bytes).unwrap();
    let error = Gguf::options().limits(limits).open(&path).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("'{}': byte 16", path.display())) && error.contains("limit"),
        "{error}"
    );

    std::fs::write(&path, b"\xff\xff\xff\xff").unwrap();
    let error = Imatrix::read(&path).unwrap_err().to_string();
    assert!(error.starts_with(&format!("'{}': byte", path.display())), "{error}");
}

fn any_format() -> impl Strategy<Value = (u32, bool)> {
    prop::sample::select(FORMATS.to_vec())
}

proptest! {
    #![proptest_config(common::property(256))]

    #[test]
    fn mutated_files_are_read_alike_in_every_way(
        format in any_format(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
        limit in prop::option::of(0u64..1200),
    ) {
        let mut bytes = everything(format).bytes;
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let max_header_bytes = limit.unwrap_or(1 << 30);
        let _ = agree(&bytes, Limits { max_header_bytes, ..Limits::default() });
    }

    #[test]
    fn small_numbers_in_random_places_are_read_alike(
        format in any_format(),
        counts in (0u64..4, 0u64..4),
        body in prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(8), Just(9), any::<u8>()], 0..200),
    ) {
        let raw = Raw::new(format, counts.0, counts.1).raw(&body);
        let _ = agree(&raw.bytes, Limits::default());
    }

    #[test]
    fn read_sizes_make_no_difference(format in any_format(), pieces in prop::collection::vec(1usize..300, 1..9)) {
        let raw = everything(format);
        let (mut len, mut parser) = (0, HeaderParser::new(Limits::default()));
        for piece in pieces.iter().cycle() {
            match parser.advance(&raw.bytes[..len]).unwrap() {
                HeaderProgress::NeedMore(more) => {
                    prop_assert!(len as u64 + more <= raw.parse().unwrap().header_len());
                    len = (len + piece).min(raw.bytes.len());
                }
                HeaderProgress::Done => break,
            }
        }
        let gguf = parser.finish(&raw.bytes[..len]).unwrap();
        prop_assert_eq!(gguf.metadata().len(), 17);
    }
}
