//! Records that nobody here made: whole or none, and no memory on their word.

#[cfg(unix)]
use std::process::Command;

use super::*;

/// With the checksum that makes it a record, as a stranger can make one.
fn sealed(mut body: Vec<u8>) -> Vec<u8> {
    let sum = body.iter().fold(0xcbf2_9ce4_8422_2325u64, |sum, &byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    body.extend(sum.to_le_bytes());
    body
}

/// The fields of a record, without its checksum.
fn body(version: u64, file_len: u64, span: u64, rest: u64, runs: u64, more: &[u8]) -> Vec<u8> {
    let numbers = [version, file_len, span, rest, runs].into_iter().flat_map(u64::to_le_bytes);
    b"GGUFUNDO".iter().copied().chain(numbers).chain(more.iter().copied()).collect()
}

/// Runs and places that a record claims lie within it and within the file's start, even where its checksum is right.
#[test]
fn a_record_that_claims_too_much_is_none() {
    let valid = Record::between(b"abc", b"axc", 10).encode();
    let valid = &valid[..valid.len() - 8];
    assert_eq!(Record::decode(&sealed(valid.into())), Some(Record::between(b"abc", b"axc", 10)));
    // Version, span, runs, the run's place and its length.
    for field in [8, 24, 40, 48, 56] {
        for value in [u64::MAX, 1 << 40, 11, 0] {
            let mut bytes = valid.to_vec();
            bytes[field..field + 8].copy_from_slice(&value.to_le_bytes());
            // The run may begin at 0.
            let is_one = (field, value) == (48, 0);
            assert_eq!(Record::decode(&sealed(bytes)).is_some(), is_one, "{field} {value}");
        }
    }
    assert_eq!(Record::decode(&sealed([valid, &[0]].concat())), None);
    // A start that is longer than any header.
    let run = [1u64.to_le_bytes(), 1u64.to_le_bytes()].concat();
    let run = [run.as_slice(), b"ab"].concat();
    let most = (1 << 30) + (1 << 16);
    assert!(Record::decode(&sealed(body(1, u64::MAX, most, 0, 1, &run))).is_some());
    assert_eq!(Record::decode(&sealed(body(1, u64::MAX, most + 1, 0, 1, &run))), None);
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![6 => 0..40u64, 2 => (0..64u32).prop_map(|bit| 1 << bit), 1 => any::<u64>()]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(20_000) })]

    /// Any bytes behind a right checksum: what is taken for a record is one that can be written, lies within the file, and
    /// is no longer than the file allows.
    #[test]
    fn records_from_strangers_are_whole_or_none(
        (version, file_len, span, rest) in (prop_oneof![9 => Just(1), 1 => number()], number(), number(), number()),
        runs in prop::collection::vec((number(), 0..6usize, any::<bool>()), 0..4),
        count in prop::option::weighted(0.1, number()),
        junk in prop_oneof![9 => Just(vec![]), 1 => prop::collection::vec(any::<u8>(), 0..20)],
    ) {
        let mut more = vec![];
        for &(at, len, lies) in &runs {
            more.extend(at.to_le_bytes());
            more.extend((len as u64 + u64::from(lies && len == 5)).to_le_bytes());
            more.extend(vec![1; 2 * len]);
        }
        more.extend(junk);
        let bytes = sealed(body(version, file_len, span, rest, count.unwrap_or(runs.len() as u64), &more));
        if let Some(record) = Record::decode(&bytes) {
            prop_assert_eq!(&record.encode(), &bytes);
            let ends = record.old_runs().map(|(at, old)| at + old.len() as u64);
            let starts = record.new_runs().map(|(at, _)| at).skip(1).chain([span]);
            prop_assert!(ends.zip(starts).all(|(end, next)| end <= next) && span <= file_len);
            if span > 1 << 20 {
                return Ok(());
            }
            // Whatever the file: it is looked at where it is, and nowhere else.
            let fits = record.fits(|buffer, offset| {
                assert!(offset + buffer.len() as u64 <= file_len && buffer.len() <= 65_536);
                buffer.fill(1);
                Ok(())
            });
            prop_assert_eq!(fits.unwrap(), record.fits(|buffer, _| { buffer.fill(1); Ok(()) }).unwrap());
        }
    }

    #[test]
    fn a_record_is_no_longer_than_its_file_allows((old, new) in starts()) {
        let len = Record::between(&old, &new, old.len() as u64).encode().len() as u64;
        prop_assert!(len <= Record::most_bytes(old.len() as u64), "{len} for {}", old.len());
    }
}

/// Runs and what is between them are read in pieces.
#[test]
fn long_starts_are_compared_piece_by_piece() {
    let old: Vec<u8> = (0..400_000u32).map(|at| (at * 7 / 3) as u8).collect();
    let mut new = old.clone();
    new[70_000..270_000].iter_mut().for_each(|byte| *byte ^= 0x55);
    let record = Record::between(&old, &new, 400_000);
    let fits = |file: &[u8]| {
        record.fits(|buffer, at| {
            buffer.copy_from_slice(&file[at as usize..][..buffer.len()]);
            Ok(())
        })
    };
    let mixed = [&new[..150_000], &old[150_000..]].concat();
    for file in [&old, &new, &mixed] {
        assert!(fits(file).unwrap());
        for at in [0, 65_535, 65_536, 69_999, 70_000, 135_536, 269_999, 270_000, 399_999] {
            let mut other = file.clone();
            other[at] ^= 0x0f;
            assert!(!fits(&other).unwrap(), "{at}");
        }
    }
}

/// 56 bytes beside a sparse file may not ask for its length in memory.
#[cfg(unix)]
#[test]
fn a_record_that_speaks_of_a_terabyte_takes_no_memory() {
    const LEN: u64 = 1 << 40;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.gguf");
    std::fs::File::create(&path).unwrap().set_len(LEN).unwrap();
    let record = folder.path().join(".x.gguf.undo");
    for span in [LEN, (1 << 30) + (1 << 16) + 1] {
        std::fs::write(&record, sealed(body(1, LEN, span, 0, 0, &[]))).unwrap();
        let error = recover(&path).unwrap_err().to_string();
        assert!(error.contains("it is damaged, or no undo record"), "{error}");
        refuse_half_edited(&path).unwrap();
    }
    // Nor may its own length, or what is there instead of it.
    std::fs::File::create(&record).unwrap().set_len(LEN).unwrap();
    let error = recover(&path).unwrap_err().to_string();
    assert!(error.contains(".x.gguf.undo': the file is longer than 2147614792 bytes"), "{error}");
    refuse_half_edited(&path).unwrap();
    std::fs::remove_file(&record).unwrap();
    assert!(Command::new("mkfifo").arg(&record).status().unwrap().success());
    let error = recover(&path).unwrap_err().to_string();
    assert!(error.contains("it is not a regular file"), "{error}");
    refuse_half_edited(&path).unwrap();
}
