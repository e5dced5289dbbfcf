//! A patch that fails, is cut off or loses power at any step leaves the old bytes or the new ones, or what recovery
//! makes the old ones.

use std::cell::Cell;
use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::*;

const LATER: &[u8] = b" and what comes behind it";

/// A disk in memory whose writes may be lost, in any part, until they are synced; its power fails before a step.
struct Simulated {
    durable: Vec<u8>,
    cached: Vec<u8>,
    record: Option<Vec<u8>>,
    steps_left: Cell<u32>,
    /// Every following step fails as well.
    stays_broken: bool,
}

impl Simulated {
    fn new(bytes: Vec<u8>, steps: u32, stays_broken: bool) -> Self {
        Simulated {
            cached: bytes.clone(),
            durable: bytes,
            record: None,
            steps_left: Cell::new(steps),
            stays_broken,
        }
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

    /// The same disk after a crash: of what was not synced, each byte survives that `survives` says.
    fn restarted(self, mut survives: impl FnMut() -> bool) -> Self {
        let pairs = self.durable.iter().zip(&self.cached);
        let bytes = pairs.map(|(&durable, &cached)| if survives() { cached } else { durable }).collect();
        Simulated { record: self.record, ..Simulated::new(bytes, u32::MAX, false) }
    }
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
        self.step()?;
        assert!(self.record.is_some(), "written without a record");
        self.cached[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        self.step()?;
        self.durable = self.cached.clone();
        Ok(())
    }

    fn record(&mut self) -> Result<Option<Vec<u8>>> {
        Ok(self.record.clone())
    }

    fn keep_record(&mut self, bytes: &[u8]) -> Result<()> {
        self.step()?;
        self.record = Some(bytes.to_vec());
        Ok(())
    }

    fn drop_record(&mut self) -> Result<()> {
        self.step()?;
        assert!(self.durable == self.cached, "the record is dropped before the bytes are safe");
        self.record = None;
        Ok(())
    }

    fn record_name(&self) -> String {
        "the record".into()
    }
}

/// Two starts of a file, equal in stretches.
fn starts() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let stretch = (1..60usize, any::<bool>(), any::<u8>());
    proptest::collection::vec(stretch, 0..12).prop_map(|stretches| {
        let (mut old, mut new) = (vec![], vec![]);
        for (len, differs, byte) in stretches {
            old.extend(vec![byte; len]);
            new.extend(vec![byte ^ u8::from(differs); len]);
        }
        (old, new)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn power_may_fail_before_any_step((old, new) in starts(), step in 0..20u32, again in 0..20u32, seed in any::<u64>()) {
        let mut state = seed | 1;
        let mut coin = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state & 1 == 1
        };
        let file = [&old, LATER].concat();
        let mut disk = Simulated::new(file.clone(), step, true);
        let patched = patch(&mut disk, &new);
        let mut disk = disk.restarted(&mut coin);
        // Recovery is cut off as well.
        disk.steps_left = Cell::new(again);
        disk.stays_broken = true;
        let _ = roll_back(&mut disk);
        let mut disk = disk.restarted(&mut coin);
        roll_back(&mut disk).unwrap();
        prop_assert_eq!(disk.record, None);
        match patched {
            Ok(_) => prop_assert_eq!(disk.cached, [&new, LATER].concat()),
            Err(_) => prop_assert_eq!(disk.cached, file),
        }
    }

    #[test]
    fn a_step_that_fails_leaves_the_file_as_it_was((old, new) in starts(), step in 0..20u32) {
        let file = [&old, LATER].concat();
        let mut disk = Simulated::new(file.clone(), step, false);
        match patch(&mut disk, &new) {
            Ok(changed) => {
                prop_assert_eq!(changed, old.iter().zip(&new).filter(|(old, new)| old != new).count() as u64);
                prop_assert_eq!(disk.cached, [&new, LATER].concat());
                prop_assert_eq!(disk.record, None);
            }
            // The last step has failed, and the next edit undoes this one.
            Err(_) if disk.record.is_some() => {
                roll_back(&mut disk).unwrap();
                prop_assert_eq!(disk.cached, file);
            }
            Err(_) => prop_assert_eq!(disk.cached, file),
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written_or_not_at_all((old, new) in starts(), flip in any::<prop::sample::Index>()) {
        let record = Record::between(&old, &new, old.len() as u64 + 5);
        let mut bytes = record.encode();
        prop_assert_eq!(Record::decode(&bytes), Some(record));
        prop_assert_eq!(Record::decode(&bytes[..flip.index(bytes.len())]), None);
        let at = flip.index(bytes.len());
        bytes[at] ^= 0x40;
        prop_assert_eq!(Record::decode(&bytes), None);
    }
}

/// Runs and places that a record claims lie within it and within the file's start, even where its checksum is right.
#[test]
fn a_record_that_claims_too_much_is_none() {
    let valid = Record::between(b"abc", b"axc", 10);
    let sealed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = valid.encode();
        bytes.truncate(bytes.len() - 8);
        change(&mut bytes);
        let sum = bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |sum, &byte| {
            (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        bytes.extend(sum.to_le_bytes());
        Record::decode(&bytes)
    };
    assert_eq!(sealed(&|_| ()), Some(Record::between(b"abc", b"axc", 10)));
    // Version, span, runs, the run's place and its length.
    for field in [8, 24, 40, 48, 56] {
        for value in [u64::MAX, 1 << 40, 11] {
            let put = |bytes: &mut Vec<u8>| bytes[field..field + 8].copy_from_slice(&value.to_le_bytes());
            assert_eq!(sealed(&put), None, "{field} {value}");
        }
    }
    assert_eq!(sealed(&|bytes| bytes.push(0)), None);
}

#[test]
fn a_record_of_another_file_changes_nothing() {
    let (old, new) = (b"aaaabbbbcccc".to_vec(), b"aaaaxxxxcccc".to_vec());
    let left = |file: &[u8]| {
        let mut disk = Simulated::new(old.clone(), 1, true);
        patch(&mut disk, &new).unwrap_err();
        let record = disk.record;
        assert!(record.is_some());
        Simulated { record, ..Simulated::new(file.to_vec(), u32::MAX, false) }
    };
    for (file, why) in [
        (&b"aaaabbbbcccc."[..], "another length"),
        (b"aaaabbbbcccd", "was changed"),
        (b"aaaabbybcccc", "was changed"),
    ] {
        let mut disk = left(file);
        let error = roll_back(&mut disk).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("the record"), "{error}");
        assert_eq!((disk.cached.as_slice(), disk.record.is_some()), (file, true));
    }
    for file in [&b"aaaabbbbcccc"[..], b"aaaaxbxbcccc", b"aaaaxxxxcccc"] {
        let mut disk = left(file);
        assert!(roll_back(&mut disk).unwrap());
        assert_eq!((disk.cached, disk.record), (old.clone(), None));
    }
}

/// The real files, with a process that ends at a step.
struct Mortal {
    files: Files,
    steps_left: u32,
}

impl Mortal {
    fn step(&mut self) {
        if self.steps_left == 0 {
            let id = std::process::id().to_string();
            let _ = Command::new("kill").args(["-KILL", &id]).status();
            std::process::abort();
        }
        self.steps_left -= 1;
    }
}

impl Disk for Mortal {
    fn len(&self) -> Result<u64> {
        self.files.len()
    }

    fn read(&mut self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.files.read(buffer, offset)
    }

    fn write(&mut self, bytes: &[u8], offset: u64) -> Result<()> {
        // In two halves, so that it can end within.
        let (first, second) = bytes.split_at(bytes.len() / 2);
        self.step();
        self.files.write(first, offset)?;
        self.step();
        self.files.write(second, offset + first.len() as u64)
    }

    fn sync(&mut self) -> Result<()> {
        self.step();
        self.files.sync()
    }

    fn record(&mut self) -> Result<Option<Vec<u8>>> {
        self.files.record()
    }

    fn keep_record(&mut self, bytes: &[u8]) -> Result<()> {
        self.step();
        self.files.keep_record(bytes)
    }

    fn drop_record(&mut self) -> Result<()> {
        self.step();
        self.files.drop_record()
    }

    fn record_name(&self) -> String {
        self.files.record_name()
    }
}

const OLD: &[u8] = b"one two three four five six seven eight nine ten eleven twelve";
const NEW: &[u8] = b"ONE two three four five six seven eight nine ten eleven TWELVE";

/// Not a test of its own: what [`a_killed_process_leaves_what_can_be_mended`] starts and lets die.
#[test]
#[ignore = "run by another test"]
fn patches_and_dies() {
    let path = std::env::var("PATCHED_FILE").unwrap();
    let steps_left = std::env::var("STEPS").unwrap().parse().unwrap();
    let mut disk = Mortal { files: Files::open(Path::new(&path)).unwrap(), steps_left };
    patch(&mut disk, NEW).unwrap();
}

#[cfg(unix)]
#[test]
fn a_killed_process_leaves_what_can_be_mended() {
    use std::os::unix::process::ExitStatusExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let (mut died, mut records) = (0, 0);
    for steps in 0.. {
        std::fs::write(&path, [OLD, LATER].concat()).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "--ignored", "container::patch::tests::patches_and_dies"]);
        child.env("PATCHED_FILE", &path).env("STEPS", steps.to_string()).stdout(Stdio::null());
        let status = child.status().unwrap();
        let recovered = recover(&path).unwrap();
        let file = std::fs::read(&path).unwrap();
        let names: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["model.gguf"]);
        records += u32::from(recovered);
        if status.success() {
            assert!(file == [NEW, LATER].concat() && !recovered);
            break;
        }
        assert_eq!(status.signal(), Some(9), "{status:?}");
        assert!(file == [OLD, LATER].concat(), "step {steps}");
        died += 1;
    }
    // The record, two writes in halves, the sync, the record again; it is there for all but the first.
    assert_eq!((died, records), (7, 6));
}

#[test]
fn a_file_is_edited_by_one_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, OLD).unwrap();
    let first = Files::open(&path).unwrap();
    let error = Files::open(&path).map(drop).unwrap_err().to_string();
    assert!(error.contains("another process") && error.contains("model.gguf"), "{error}");
    drop(first);
    Files::open(&path).unwrap();
}

#[cfg(unix)]
#[test]
fn the_record_of_a_private_file_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, OLD).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    Files::open(&path).unwrap().keep_record(b"record").unwrap();
    let record = std::fs::metadata(folder.path().join(".model.gguf.undo")).unwrap();
    assert_eq!(record.permissions().mode() & 0o777, 0o600);
}
