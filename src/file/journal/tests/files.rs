//! Tests with real files, and with processes that die at any step.

use std::fs;
use std::path::Path;
#[cfg(unix)]
use std::process::{Command, Stdio};

use super::*;

/// Returns a GGUF with one key, of a byte.
fn gguf(value: u8) -> Vec<u8> {
    let mut writer = crate::Writer::new(Vec::new());
    writer.set_metadata("key", value).unwrap().set_metadata("name", vec![value; 300]).unwrap();
    writer.write_header().unwrap().finish().unwrap()
}

const NUMBER: Number = *b"0123456789abcdef";

/// Leaves the file like an edit that was interrupted after writing this part of the new header.
fn cut_off(path: &Path, written: usize) {
    let (old, new) = (gguf(1), gguf(2));
    fs::write(path, &old).unwrap();
    let record = Record::between(&NUMBER, &old, &new, old.len() as u64).unwrap();
    Files::open(path).unwrap().keep_record(&NUMBER, &record).unwrap();
    let file = [&record::marker(&NUMBER), &new[MARKER..MARKER + written], &old[MARKER + written..]].concat();
    fs::write(path, file).unwrap();
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

type Reader = fn(&Path) -> Result<u8>;

const READERS: &[Reader] = &[
    |path| crate::Gguf::read(path)?.metadata().require("key"),
    |path| crate::Gguf::read_header(fs::File::open(path).unwrap())?.metadata().require("key"),
    |path| crate::Gguf::parse(fs::read(path).unwrap())?.metadata().require("key"),
    #[cfg(feature = "codecs")]
    |path| crate::model::Imatrix::read(path).map(|_| 0),
    |path| crate::Gguf::open(path)?.metadata().require("key"),
];

fn is_refused(path: &Path) {
    for reader in READERS {
        let error = reader(path).unwrap_err();
        assert!(matches!(error, Error::Malformed { problem: Problem::UnfinishedEdit, .. }), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn a_file_that_an_edit_was_cut_off_in_is_refused_and_recovered_under_each_of_its_names() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for recovered in ["model.gguf", "link.gguf", "hard.gguf", "renamed.gguf"] {
        for written in [0, 10, gguf(1).len() - MARKER] {
            cut_off(&at("model.gguf"), written);
            std::os::unix::fs::symlink("model.gguf", at("link.gguf")).unwrap();
            fs::hard_link(at("model.gguf"), at("hard.gguf")).unwrap();
            for name in ["model.gguf", "link.gguf", "hard.gguf"] {
                is_refused(&at(name));
            }
            if recovered == "renamed.gguf" {
                fs::rename(at("model.gguf"), at(recovered)).unwrap();
                is_refused(&at(recovered));
            }
            assert!(recover(&at(recovered)).unwrap());
            assert!(fs::read(at("hard.gguf")).unwrap() == gguf(1));
            assert!(!recover(&at(recovered)).unwrap());
            for name in ["link.gguf", "hard.gguf", "model.gguf", "renamed.gguf"] {
                let _ = fs::remove_file(at(name));
            }
            assert!(names(folder.path()).is_empty());
        }
    }
}

#[test]
fn a_file_that_was_moved_away_from_its_record_is_recovered_with_it() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    cut_off(&folder.path().join("model.gguf"), 10);
    let moved = other.path().join("m.gguf");
    fs::rename(folder.path().join("model.gguf"), &moved).unwrap();
    let error = recover(&moved).unwrap_err().to_string();
    let digits = "30313233343536373839616263646566";
    assert!(error.contains(&format!("'.*.{digits}.undo'")) && error.contains("m.gguf'"), "{error}");
    is_refused(&moved);
    // A record of another edit is rejected.
    let record = folder.path().join(format!(".model.gguf.{digits}.undo"));
    let bytes = fs::read(&record).unwrap();
    let another = Record::between(&[7; 16], &gguf(1), &gguf(2), gguf(1).len() as u64).unwrap();
    fs::write(&record, another).unwrap();
    let error = recover_with(&moved, &record).unwrap_err().to_string();
    assert!(error.contains("it is of another edit"), "{error}");
    is_refused(&moved);
    fs::write(&record, bytes).unwrap();
    assert!(recover_with(&moved, &record).unwrap());
    assert!(fs::read(&moved).unwrap() == gguf(1) && names(folder.path()).is_empty());
    assert!(!recover_with(&moved, &record).unwrap());
}

/// Tests what may be found where a record is looked for, or where one might be expected to be created.
#[cfg(unix)]
#[test]
fn what_came_with_a_file_is_not_followed_or_written_and_stops_no_edit() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let digits = disk::hexadecimal(NUMBER);
    let crafted = Record::between(&NUMBER, &gguf(3), &gguf(1), gguf(1).len() as u64).unwrap();
    type Make<'a> = &'a dyn Fn(&Path);
    let kinds: &[Make<'_>] = &[
        &|path| symlink("victim", path).unwrap(),
        &|path| symlink("missing", path).unwrap(),
        &|path| symlink("model.gguf", path).unwrap(),
        &|path| fs::create_dir(path).unwrap(),
        &|path| fs::hard_link(at("victim"), path).unwrap(),
        &|path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
        &|path| fs::write(path, "text").unwrap(),
        // Crafted for this very file, as anyone who knows the file can do.
        &|path| fs::write(path, &crafted).unwrap(),
    ];
    for name in [".model.gguf.undo".to_owned(), format!(".model.gguf.{digits}.undo")] {
        for (kind, make) in kinds.iter().enumerate() {
            fs::write(at("model.gguf"), gguf(1)).unwrap();
            fs::write(at("victim"), "precious").unwrap();
            make(&at(&name));
            assert_eq!(READERS[0](&at("model.gguf")).unwrap(), 1);
            assert!(!recover(&at("model.gguf")).unwrap());
            assert!(fs::read(at("model.gguf")).unwrap() == gguf(1), "{kind}");
            let mut files = Files::open(&at("model.gguf")).unwrap();
            assert!(!recover_file(&mut files).unwrap());
            patch(&mut files, &gguf(2)).unwrap();
            drop(files);
            assert!(fs::read(at("model.gguf")).unwrap() == gguf(2), "{kind}");
            assert_eq!(fs::read(at("victim")).unwrap(), b"precious");
            assert!(!at("missing").exists());
            // A useless record is removed, and nothing else.
            let is_orphan = kind == 7 && name.len() > 20;
            assert_eq!(fs::symlink_metadata(at(&name)).is_err(), is_orphan, "{kind} {name}");
            assert_eq!(names(folder.path()).len(), if is_orphan { 2 } else { 3 });
            let _ = fs::remove_file(at(&name)).or_else(|_| fs::remove_dir(at(&name)));
        }
    }
    // If the marker is present, links and pipes are not read either, and the file is unchanged.
    for make in &kinds[..7] {
        cut_off(&at("model.gguf"), 10);
        let half = fs::read(at("model.gguf")).unwrap();
        let record = at(&format!(".model.gguf.{digits}.undo"));
        fs::remove_file(&record).unwrap();
        make(&record);
        recover(&at("model.gguf")).unwrap_err();
        assert!(fs::read(at("model.gguf")).unwrap() == half);
        let _ = fs::remove_file(&record).or_else(|_| fs::remove_dir(&record));
    }
}

/// A few bytes beside a sparse file must not cause its length to be allocated.
#[cfg(unix)]
#[test]
fn a_record_that_speaks_of_a_terabyte_takes_no_memory() {
    const LEN: u64 = 1 << 40;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.gguf");
    fs::write(&path, record::marker(&NUMBER)).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_len(LEN).unwrap();
    let record = folder.path().join(format!(".x.gguf.{}.undo", disk::hexadecimal(NUMBER)));
    fs::File::create(&record).unwrap().set_len(LEN).unwrap();
    let error = format!("{:?}", recover(&path).unwrap_err());
    assert!(error.contains(".undo': the file is longer than 2147614848 bytes"), "{error}");
}

#[cfg(unix)]
#[test]
fn names_of_any_length_are_edited() {
    let folder = tempfile::tempdir().unwrap();
    for len in [1, 199, 200, 201, 250, 255] {
        let path = folder.path().join("é".repeat(len / 2) + &"x".repeat(len % 2));
        fs::write(&path, gguf(1)).unwrap();
        patch(&mut Files::open(&path).unwrap(), &gguf(2)).unwrap();
        assert!(fs::read(&path).unwrap() == gguf(2));
        cut_off(&path, 10);
        assert!(recover(&path).unwrap());
        fs::remove_file(&path).unwrap();
        assert!(names(folder.path()).is_empty());
    }
    // Two files whose names start alike do not remove each other's records.
    let (one, two) = (folder.path().join("x".repeat(254)), folder.path().join("x".repeat(255)));
    cut_off(&one, 10);
    fs::write(&two, gguf(1)).unwrap();
    assert!(!recover(&two).unwrap() && recover(&one).unwrap());
}

/// The real files, with a process that ends at a step.
#[cfg(unix)]
struct Mortal {
    files: Files,
    steps_left: u32,
}

#[cfg(unix)]
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

#[cfg(unix)]
impl Disk for Mortal {
    fn len(&self) -> Result<u64> {
        self.files.len()
    }

    fn read(&mut self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.files.read(buffer, offset)
    }

    fn write(&mut self, bytes: &[u8], offset: u64) -> Result<()> {
        // In two halves, so that the process can end within a write.
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

    fn records(&mut self) -> Result<Vec<(PathBuf, Number)>> {
        self.files.records()
    }

    fn own_records(&mut self) -> Vec<PathBuf> {
        self.files.own_records()
    }

    fn read_record(&mut self, path: &Path) -> Result<Vec<u8>> {
        self.files.read_record(path)
    }

    fn keep_record(&mut self, number: &Number, bytes: &[u8]) -> Result<PathBuf> {
        self.step();
        self.files.keep_record(number, bytes)
    }

    fn drop_record(&mut self, path: &Path) -> Result<()> {
        self.step();
        self.files.drop_record(path)
    }

    fn file_name(&self) -> String {
        self.files.file_name()
    }
}

/// Not a test of its own: [`a_killed_process_leaves_what_can_be_undone`] starts this and lets it die.
#[cfg(unix)]
#[test]
#[ignore = "run by another test"]
fn patches_and_dies() {
    let path = std::env::var("PATCHED_FILE").unwrap();
    let steps_left = std::env::var("STEPS").unwrap().parse().unwrap();
    let mut disk = Mortal { files: Files::open(Path::new(&path)).unwrap(), steps_left };
    patch(&mut disk, &two_starts().1).unwrap();
}

#[cfg(unix)]
#[test]
fn a_killed_process_leaves_what_can_be_undone() {
    use std::os::unix::process::ExitStatusExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let (old, new) = two_starts();
    let (old, new) = ([&old, LATER].concat(), [&new, LATER].concat());
    let (mut undone, mut kept) = (0, 0);
    for steps in 0.. {
        fs::write(&path, &old).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "--ignored", "file::journal::tests::files::patches_and_dies"]);
        child.env("PATCHED_FILE", &path).env("STEPS", steps.to_string()).stdout(Stdio::null());
        let status = child.status().unwrap();
        Simulated::new(fs::read(&path).unwrap()).check_readers(&old, &new);
        let recovered = recover(&path).unwrap();
        assert_eq!(names(folder.path()), ["model.gguf"]);
        let is_new = fs::read(&path).unwrap() == new;
        assert!(is_new || fs::read(&path).unwrap() == old, "step {steps}");
        if status.success() {
            assert!(is_new && !recovered);
            break;
        }
        assert_eq!(status.signal(), Some(9), "{status:?}");
        undone += u32::from(recovered);
        kept += u32::from(is_new);
    }
    // From the first byte's second half to before the last write's, which are one byte. Then the last sync and the record.
    assert_eq!((undone, kept), (12, 2));
}

#[test]
fn a_file_that_is_never_the_one_opened_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    fs::write(&path, "GGUF").unwrap();
    let tries = Cell::new(0);
    let error = Files::open_where(&path, |_, _| {
        tries.set(tries.get() + 1);
        Ok(false)
    });
    let error = format!("{:?}", error.map(drop).unwrap_err());
    assert!(error.contains("another file is there each time") && error.contains("model.gguf"), "{error}");
    assert_eq!(tries.get(), 100);
}

#[test]
fn a_file_is_edited_by_one_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    cut_off(&path, 10);
    let first = Files::open(&path).unwrap();
    for error in [Files::open(&path).map(drop), recover(&path).map(drop)] {
        let error = format!("{:?}", error.unwrap_err());
        assert!(error.contains("another process") && error.contains("model.gguf"), "{error}");
    }
    drop(first);
    assert!(recover(&path).unwrap());
    // The record of an edit that is about to begin is not taken for an orphan.
    let mut first = Files::open(&path).unwrap();
    let record = Record::between(&NUMBER, &gguf(1), &gguf(2), gguf(1).len() as u64).unwrap();
    let record = first.keep_record(&NUMBER, &record).unwrap();
    assert!(!recover(&path).unwrap() && record.exists());
    drop(first);
    assert!(!recover(&path).unwrap() && !record.exists());
}

#[cfg(unix)]
#[test]
fn the_record_of_a_private_file_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    fs::write(&path, gguf(1)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o6700)).unwrap();
    let record = Files::open(&path).unwrap().keep_record(&NUMBER, b"record").unwrap();
    assert_eq!(fs::metadata(record).unwrap().permissions().mode() & 0o7777, 0o600);
}
