//! The real files, and processes that die at any step.

use std::process::{Command, Stdio};

use super::*;

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
        child.args(["--exact", "--ignored", "file::journal::tests::files::patches_and_dies"]);
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
