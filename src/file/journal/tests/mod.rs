//! A patch that fails, is interrupted or loses power at any step leaves a GGUF that is the old one or the new one, or a file
//! that is not a GGUF and that recovery restores to the old one.

mod files;
mod records;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::error::Problem;
use crate::gguf::index::Gguf;

const LATER: &[u8] = b" and what comes behind it";

/// A disk in memory. Until they are synced, writes may be lost, in any part. The disk fails at a chosen step.
#[derive(Clone)]
struct Simulated {
    durable: Vec<u8>,
    cached: Vec<u8>,
    records: BTreeMap<PathBuf, Vec<u8>>,
    steps_left: Cell<u32>,
    /// Whether all following steps fail as well.
    stays_broken: bool,
    /// How many bytes of the failing write arrive.
    arrives: usize,
}

impl Simulated {
    fn new(bytes: Vec<u8>) -> Self {
        Simulated {
            cached: bytes.clone(),
            durable: bytes,
            records: BTreeMap::new(),
            steps_left: Cell::new(u32::MAX),
            stays_broken: false,
            arrives: 0,
        }
    }

    fn failing_at(mut self, step: u32, stays_broken: bool, arrives: usize) -> Self {
        (self.steps_left, self.stays_broken, self.arrives) = (Cell::new(step), stays_broken, arrives);
        self
    }

    fn step(&self) -> Result<()> {
        match self.steps_left.get() {
            0 => {
                self.steps_left.set(if self.stays_broken { 0 } else { u32::MAX });
                Err(Error::io("take the step", std::io::Error::other("on purpose")))
            }
            left => {
                self.steps_left.set(left - 1);
                Ok(())
            }
        }
    }

    /// Returns the same disk after a crash. Of the bytes that were not synced, those survive for whose position
    /// `survives` is true.
    fn restarted(&self, mut survives: impl FnMut(usize) -> bool) -> Self {
        let pairs = self.durable.iter().zip(&self.cached).enumerate();
        let bytes =
            pairs.map(|(at, (&durable, &cached))| if survives(at) { cached } else { durable }).collect();
        Simulated { records: self.records.clone(), ..Simulated::new(bytes) }
    }

    /// Checks what readers see: a GGUF only if it is complete.
    fn check_readers(&self, old: &[u8], new: &[u8]) {
        if self.cached.starts_with(b"GGUF") {
            assert!(self.cached == old || self.cached == new, "half edited: {:?}", self.cached);
        } else {
            let error = Gguf::parse(&self.cached).unwrap_err();
            assert!(matches!(error, Error::Malformed { problem: Problem::UnfinishedEdit, .. }), "{error}");
        }
    }
}

fn name(number: &Number) -> PathBuf {
    format!("record {number:?}").into()
}

impl Disk for Simulated {
    fn len(&self) -> Result<u64> {
        Ok(self.cached.len() as u64)
    }

    fn read(&mut self, buffer: &mut [u8], offset: u64) -> Result<()> {
        buffer.copy_from_slice(&self.cached[offset as usize..][..buffer.len()]);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8], offset: u64) -> Result<()> {
        assert!(!self.records.is_empty(), "written without a record");
        let stepped = self.step();
        let written = if stepped.is_ok() { bytes.len() } else { bytes.len().min(self.arrives) };
        self.cached[offset as usize..][..written].copy_from_slice(&bytes[..written]);
        stepped
    }

    fn sync(&mut self) -> Result<()> {
        self.step()?;
        self.durable = self.cached.clone();
        Ok(())
    }

    fn records(&mut self) -> Result<Vec<(PathBuf, Number)>> {
        // The number in the name is that of the record.
        let number = |bytes: &[u8]| bytes.get(16..32).map_or([0; 16], |its| its.try_into().unwrap());
        Ok(self.records.iter().map(|(path, bytes)| (path.clone(), number(bytes))).collect())
    }

    fn own_records(&mut self) -> Vec<PathBuf> {
        self.records.keys().cloned().collect()
    }

    fn read_record(&mut self, path: &Path) -> Result<Vec<u8>> {
        Ok(self.records[path].clone())
    }

    fn keep_record(&mut self, number: &Number, bytes: &[u8]) -> Result<PathBuf> {
        let stepped = self.step();
        let written = if stepped.is_ok() { bytes.len() } else { bytes.len().min(self.arrives) };
        self.records.insert(name(number), bytes[..written].to_vec());
        stepped.map(|()| name(number))
    }

    fn drop_record(&mut self, path: &Path) -> Result<()> {
        self.step()?;
        assert!(self.durable == self.cached, "the record is dropped before the bytes are safe");
        self.records.remove(path);
        Ok(())
    }

    fn file_name(&self) -> String {
        "the file".into()
    }
}

/// Returns starts of files that differ in their first bytes, and twice after them.
fn two_starts() -> (Vec<u8>, Vec<u8>) {
    let old = b"GGUF\x03\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0one two three four five six seven eight nine ten eleven twelve";
    let mut new = old.to_vec();
    (new[16], new[8]) = (7, 9);
    new[24..27].copy_from_slice(b"ONE");
    let end = new.len();
    new[end - 6..].copy_from_slice(b"TWELVE");
    (old.to_vec(), new)
}

/// Returns pseudo-random bits.
fn coins(seed: u64) -> impl FnMut() -> bool {
    let mut state = seed | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state & 1 == 1
    }
}

/// Returns which of the first bytes may survive: none and all, up to each and from each, each alone and all but each,
/// and random ones.
fn surviving(seed: u64) -> Vec<[bool; MARKER]> {
    let mut coin = coins(seed);
    let mut all = Vec::new();
    for at in 0..=MARKER {
        all.extend([std::array::from_fn(|its| its < at), std::array::from_fn(|its| its >= at)]);
        all.extend([std::array::from_fn(|its| its == at), std::array::from_fn(|its| its != at)]);
    }
    all.extend((0..100).map(|_| std::array::from_fn(|_| coin())));
    all
}

#[test]
fn power_may_fail_at_every_step_and_leave_any_of_the_first_bytes() {
    let (old, new) = two_starts();
    let (old_file, new_file) = ([&old, LATER].concat(), [&new, LATER].concat());
    let (mut undone, mut kept) = (0, 0);
    for step in 0.. {
        let mut disk = Simulated::new(old_file.clone()).failing_at(step, true, 1000);
        let patched = patch(&mut disk, &new);
        if patched.is_ok() {
            assert_eq!(step, 12, "a record, five times a write and a sync, the record again");
            break;
        }
        let mut coin = coins(u64::from(step) * 77 + 5);
        for survives in surviving(u64::from(step)) {
            let crashed = disk.restarted(|at| if at < MARKER { survives[at] } else { coin() });
            crashed.check_readers(&old_file, &new_file);
            let complete = crashed.cached == new_file;
            // Recovery is interrupted too, at each of its steps.
            for again in 0.. {
                let mut disk = crashed.clone().failing_at(again, true, 3);
                let recovered = recover_file(&mut disk);
                let mut disk = disk.restarted(|_| coin());
                disk.check_readers(&old_file, &new_file);
                assert!(recover_file(&mut disk).is_ok());
                assert!(disk.cached == if complete { &new_file } else { &old_file }[..], "{step} {again}");
                assert!(disk.durable == disk.cached && disk.records.is_empty(), "{step} {again}");
                // Leftovers that cannot be removed are not an error.
                if recovered.is_ok() && (again > 0 || !edit_marker::is_marked(&crashed.cached)) {
                    break;
                }
            }
            if complete { kept += 1 } else { undone += 1 }
        }
    }
    assert!(undone > 1000 && kept > 100, "{undone} {kept}");
}

#[test]
fn a_step_that_fails_leaves_the_file_as_it_was_or_the_message_says_what_it_is() {
    let (old, new) = two_starts();
    let (old_file, new_file) = ([&old, LATER].concat(), [&new, LATER].concat());
    for arrives in [0, 1, 5, 1000] {
        for step in 0..12 {
            // Fails once, so the file can be restored.
            let mut disk = Simulated::new(old_file.clone()).failing_at(step, false, arrives);
            let error = format!("{:?}", patch(&mut disk, &new).unwrap_err());
            assert!(error.contains("on purpose"), "{error}");
            let is_complete = error.contains("the edit of the file is complete");
            assert_eq!(is_complete, step == 11, "{error}");
            assert!(disk.cached == if is_complete { &new_file } else { &old_file }[..], "{step}: {error}");
            assert!(disk.durable == disk.cached, "{step}");
            // A record may be left if its creation or removal failed.
            assert_eq!(disk.records.len(), usize::from(step == 0 || step == 11));
            assert!(!recover_file(&mut disk).unwrap() && disk.records.is_empty());

            // Fails from then on: the message must be true.
            let mut disk = Simulated::new(old_file.clone()).failing_at(step, true, arrives);
            let error = format!("{:?}", patch(&mut disk, &new).unwrap_err());
            let is_marked = edit_marker::is_marked(&disk.cached);
            assert_eq!(
                error.contains("is changed in part, and no program opens it"),
                is_marked,
                "{step}: {error}"
            );
            let is_new = disk.cached == new_file;
            assert_eq!(
                error.contains("has the new header, but perhaps") || error.contains("is complete"),
                is_new,
                "{step}: {error}"
            );
            assert!(is_marked || is_new || disk.cached == old_file, "{step}: {error}");
            assert_eq!(
                error.contains("`Edit::recover`"),
                is_marked || is_new && step < 11,
                "{step}: {error}"
            );
            disk.steps_left = Cell::new(u32::MAX);
            assert_eq!(recover_file(&mut disk).unwrap(), is_marked);
            assert!(disk.records.is_empty() && disk.cached == if is_new { &new_file } else { &old_file }[..]);
        }
    }
}

/// Generates two starts of a file with equal stretches.
fn starts() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let stretch = (1..60usize, any::<bool>(), any::<u8>());
    let first = prop::array::uniform20(any::<u8>());
    (first, first, any::<bool>(), proptest::collection::vec(stretch, 0..12)).prop_map(
        |(first, other, is_same, stretches)| {
            let mut old = [&b"GGUF"[..], &first].concat();
            let mut new = if is_same { old.clone() } else { [&b"GGUF"[..], &other].concat() };
            for (len, differs, byte) in stretches {
                old.extend(vec![byte; len]);
                new.extend(vec![byte ^ u8::from(differs); len]);
            }
            (old, new)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn power_may_fail_before_any_step((old, new) in starts(), step in 0..14u32, again in 0..14u32, seed in any::<u64>(), arrives in 0..200usize) {
        let mut coin = coins(seed);
        let (old_file, new_file) = ([&old, LATER].concat(), [&new, LATER].concat());
        let mut disk = Simulated::new(old_file.clone()).failing_at(step, true, arrives);
        let patched = patch(&mut disk, &new);
        let mut disk = disk.restarted(|_| coin());
        disk.check_readers(&old_file, &new_file);
        prop_assert!(patched.is_err() || disk.cached == new_file);
        let complete = disk.cached == new_file;
        // Recovery is interrupted too.
        disk = disk.failing_at(again, true, arrives);
        let _ = recover_file(&mut disk);
        let mut disk = disk.restarted(|_| coin());
        disk.check_readers(&old_file, &new_file);
        recover_file(&mut disk).unwrap();
        prop_assert!(disk.records.is_empty());
        prop_assert_eq!(disk.cached, if complete { new_file } else { old_file });
    }
}

#[test]
fn where_the_number_is_lost_the_record_is_the_one_that_fits() {
    let (old, new) = two_starts();
    let record = |number, old: &[u8], new: &[u8], len: usize| {
        Record::between(&[number; 16], old, new, len as u64).unwrap()
    };
    let mut disk = Simulated::new(old.clone());
    // Its first byte was written, and no more.
    disk.cached[0] = edit_marker::MAGIC[0];
    let mut other = old.clone();
    other[30] ^= 1;
    let mut other_new = new.clone();
    other_new[30] ^= 1;
    let others = [
        record(1, &old, &new, old.len() + 1),
        record(2, &other, &other_new, old.len()),
        b"GGUFUNDO".to_vec(),
        vec![],
    ];
    for (number, bytes) in (1..).zip(&others) {
        disk.records.insert(name(&[number; 16]), bytes.clone());
    }
    let error = recover_file(&mut disk.clone()).unwrap_err().to_string();
    assert!(error.contains("is not beside it: look for '.*.*.undo'"), "{error}");
    for number in [7, 8] {
        disk.records.insert(name(&[number; 16]), record(number, &old, &new, old.len()));
        let recovered = recover_file(&mut disk.clone());
        if number == 7 {
            assert!(recovered.unwrap());
        } else {
            let error = format!("{:?}", recovered.unwrap_err());
            assert!(error.contains("more than one undo record fits it") && error.contains("recover_with"));
        }
    }
    // If the number is there, it decides.
    disk.cached[1..MARKER].copy_from_slice(&record::marker(&[8; 16])[1..]);
    assert!(recover_file(&mut disk).unwrap());
    assert!(disk.cached == old && !disk.records.contains_key(&name(&[8; 16])) && disk.records.len() == 5);
}

#[test]
fn records_without_use_are_removed_and_others_stay() {
    let (old, new) = two_starts();
    let mut third = old.clone();
    third[40] ^= 1;
    let len = old.len() as u64;
    let between = |old: &[u8], new: &[u8]| Record::between(&[1; 16], old, new, len).unwrap();
    let whole = between(&old, &new);
    for (bytes, goes) in [
        // Of an edit of this file that had not begun, or was complete.
        (whole.clone(), true),
        (between(&third, &old), true),
        // Of another edit.
        (between(&third, &new), false),
        (Record::between(&[1; 16], &old, &new, len + 1).unwrap(), false),
        // Partly written.
        (vec![], true),
        (whole[..5].to_vec(), true),
        (whole[..90].to_vec(), true),
        (vec![0; 90], true),
        (b"what somebody keeps".to_vec(), false),
    ] {
        let mut disk = Simulated::new(old.clone());
        disk.records.insert("record".into(), bytes);
        assert!(!recover_file(&mut disk).unwrap());
        assert_eq!((disk.records.is_empty(), &disk.cached), (goes, &old));
    }
}
