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
        // Of what does not differ no record is made.
        prop_assert_eq!(Record::decode(&bytes), (!record.is_empty()).then_some(record));
        prop_assert_eq!(Record::decode(&bytes[..flip.index(bytes.len())]), None);
        let at = flip.index(bytes.len());
        bytes[at] ^= 0x40;
        prop_assert_eq!(Record::decode(&bytes), None);
    }
}

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

/// A GGUF with one key, of a byte.
fn gguf(value: u8) -> Vec<u8> {
    let mut writer = crate::Writer::new(Vec::new());
    writer.metadata("key", value).unwrap().metadata("name", vec![value; 300]).unwrap();
    writer.write_header().unwrap().finish().unwrap()
}

#[cfg(unix)]
#[test]
fn a_file_that_an_edit_was_cut_off_in_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let (path, link) = (folder.path().join("model.gguf"), folder.path().join("link.gguf"));
    std::os::unix::fs::symlink("model.gguf", &link).unwrap();
    let (old, new) = (gguf(1), gguf(2));
    let ways: &[fn(&Path) -> Result<u8>] = &[
        |path| crate::Gguf::read(path)?.metadata().get("key"),
        #[cfg(feature = "mmap")]
        |path| crate::Gguf::open(path)?.metadata().get("key"),
    ];
    let key = old.iter().zip(&new).position(|(old, new)| old != new).unwrap();
    for written in [0, key + 1, old.len() - 100, old.len()] {
        let file = [&new[..written], &old[written..]].concat();
        std::fs::write(&path, &file).unwrap();
        Files::open(&path)
            .unwrap()
            .keep_record(&Record::between(&old, &new, old.len() as u64).encode())
            .unwrap();
        for open in ways {
            for path in [&path, &link] {
                let error = open(path).unwrap_err().to_string();
                let name = path.display().to_string();
                assert!(error.contains(&name) && error.contains("an edit in place was cut off"), "{error}");
            }
        }
        // A record of another file is no reason: another may have been put in its place.
        let longer = [&file[..], &[0]].concat();
        let mut other = file.clone();
        *other.last_mut().unwrap() ^= 4;
        for changed in [longer, other] {
            std::fs::write(&path, changed).unwrap();
            for open in ways {
                open(&link).unwrap();
            }
        }
        std::fs::write(&path, &file).unwrap();
        assert!(recover(&link).unwrap());
        for open in ways {
            assert_eq!(open(&path).unwrap(), 1);
        }
    }
    let record = folder.path().join(".model.gguf.undo");
    for junk in [&b""[..], b"GGUFUNDO", &[7; 500]] {
        std::fs::write(&record, junk).unwrap();
        for open in ways {
            open(&path).unwrap();
        }
    }
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
fn a_file_that_is_never_the_one_opened_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, OLD).unwrap();
    let tries = Cell::new(0);
    let error = Files::open_where(&path, |_, _| {
        tries.set(tries.get() + 1);
        Ok(false)
    });
    let error = error.map(drop).unwrap_err().to_string();
    assert!(error.contains("another file is there each time") && error.contains("model.gguf"), "{error}");
    assert_eq!(tries.get(), 100);
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
