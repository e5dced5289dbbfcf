//! Tests of `Writer::create`: the target is the old file or the complete new one, never anything else.

#![cfg(feature = "std")]
// WebAssembly has no temporary folder, and a panic there ends the program.
#![cfg(not(target_family = "wasm"))]

use std::fs;
use std::path::Path;

use anyhow::Result;
use gguf_codec::{
    AtomicFile, DataWriter, Error, Existing, GgmlType, Inputs, OutputProblem, StagedFile, Writer,
};

const OLD: &[u8] = b"the old file";

fn declared(path: &Path) -> Result<DataWriter<AtomicFile>> {
    let mut writer = Writer::create(path)?;
    writer.declare_tensor("t", &[100_000], GgmlType::I8)?;
    Ok(writer.write_header()?)
}

fn written(path: &Path) -> Result<DataWriter<AtomicFile>> {
    let mut data = declared(path)?;
    data.write_tensor("t", &[7; 100_000])?;
    Ok(data)
}

fn is_new(path: &Path) -> bool {
    let bytes = fs::read(path).unwrap();
    bytes.starts_with(b"GGUF") && bytes[..100_064].ends_with(&[7; 100_000]) && bytes.len() == 100_064
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn the_target_changes_at_finish_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    for old in [false, true] {
        if old {
            fs::write(&path, OLD).unwrap();
        }
        let data = written(&path).unwrap();
        let temporary =
            names(folder.path()).into_iter().find(|name| name.starts_with(".model.gguf.")).unwrap();
        assert!(temporary.ends_with(".tmp"), "{temporary}");
        assert_eq!(fs::read(&path).ok().as_deref(), old.then_some(OLD));
        data.finish().unwrap();
        assert!(is_new(&path));
        assert_eq!(names(folder.path()), ["model.gguf"]);
    }
}

#[test]
fn what_is_dropped_or_not_whole_leaves_the_old_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    fs::write(&path, OLD).unwrap();
    let check = || {
        assert_eq!(fs::read(&path).unwrap(), OLD);
        assert_eq!(names(folder.path()), ["model.gguf"]);
    };
    drop(Writer::create(&path).unwrap());
    check();
    drop(declared(&path).unwrap());
    check();
    drop(written(&path).unwrap());
    check();
    declared(&path).unwrap().finish().unwrap_err();
    check();
    let mut data = declared(&path).unwrap();
    data.begin("t").unwrap().write_bytes(&[0; 100_001]).unwrap_err();
    data.finish().unwrap_err();
    check();
    // A header that cannot be written.
    let mut writer = Writer::create(&path).unwrap();
    for name in ["a", "b"] {
        writer.declare_tensor(name, &[i64::MAX as u64 - 1], GgmlType::I8).unwrap();
    }
    writer.write_header().unwrap_err();
    check();
    let unwound = std::panic::catch_unwind(|| {
        let _data = written(&path).unwrap();
        panic!("the caller fails, which this test expects");
    });
    unwound.unwrap_err();
    check();
}

#[test]
fn two_writers_of_one_target_do_not_meet() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let (first, second) = (written(&path).unwrap(), declared(&path).unwrap());
    assert_eq!(names(folder.path()).len(), 2);
    first.finish().unwrap();
    drop(second);
    assert!(is_new(&path));
    assert_eq!(names(folder.path()), ["model.gguf"]);
}

#[test]
fn long_names_are_written_too() {
    let folder = tempfile::tempdir().unwrap();
    let name = "n".repeat(250);
    written(&folder.path().join(&name)).unwrap().finish().unwrap();
    assert_eq!(names(folder.path()), [name]);
}

#[test]
fn paths_that_cannot_be_files_are_refused_at_once_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("no such folder/model.gguf");
    let (slash, dot) = (folder.path().join("new/"), folder.path().join("new/."));
    for path in [folder.path(), &missing, &slash, &dot, Path::new(""), Path::new("/")] {
        let error = Writer::create(path).unwrap_err();
        assert!(matches!(&error, Error::Io { .. }), "{error}");
        assert!(error.to_string().contains(&format!("create '{}'", path.display())), "{error}");
    }
    assert!(names(folder.path()).is_empty());
}

#[test]
fn a_failing_finish_is_an_error_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let data = written(&path).unwrap();
    // A folder cannot be replaced by a file.
    fs::create_dir(&path).unwrap();
    let error = data.finish().unwrap_err().to_string();
    assert!(error.contains("put the finished file at") && error.contains("model.gguf"), "{error}");
    assert_eq!(names(folder.path()), ["model.gguf"]);
    assert!(path.is_dir());
}

/// Like `declared`, for a file that replaces no other.
fn new(path: &Path) -> Result<DataWriter<AtomicFile>> {
    let mut writer = Writer::create_with(path, Existing::Refuse)?;
    writer.declare_tensor("t", &[4], GgmlType::I8)?;
    let mut data = writer.write_header()?;
    data.write_tensor("t", &[7; 4])?;
    Ok(data)
}

fn exists(error: &Error) -> bool {
    matches!(error, Error::Output { problem: OutputProblem::Exists { leads_to: None }, .. })
}

#[test]
fn what_appears_while_a_file_is_written_is_not_replaced_without_permission() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let data = new(&path).unwrap();
    fs::write(&path, OLD).unwrap();
    assert!(exists(&data.finish().unwrap_err()));
    assert_eq!(fs::read(&path).unwrap(), OLD);
    assert!(exists(new(&path).unwrap_err().downcast_ref().unwrap()));
    assert_eq!(names(folder.path()), ["model.gguf"]);

    // If any file of a set is in the way, none is left.
    let set: Vec<_> = (0..3).map(|n| folder.path().join(format!("{n}.gguf"))).collect();
    for late in &set {
        let staged: Vec<StagedFile> = set.iter().map(|path| new(path).unwrap().stage().unwrap()).collect();
        fs::write(late, OLD).unwrap();
        assert!(exists(&StagedFile::commit_all(staged).unwrap_err()));
        assert_eq!(fs::read(late).unwrap(), OLD);
        fs::remove_file(late).unwrap();
        assert_eq!(names(folder.path()), ["model.gguf"]);
    }
}

#[test]
fn outputs_of_one_job_are_different_files() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = ["a.gguf", "b.gguf"].map(|name| folder.path().join(name));
    let again = folder.path().join(".").join("a.gguf");
    Inputs::new().check_all([&a, &b], Existing::Refuse).unwrap();
    let error = Inputs::new().check_all([&a, &b, &again], Existing::Refuse).unwrap_err();
    assert!(matches!(error, Error::Output { problem: OutputProblem::Same { .. }, .. }), "{error}");
    let error = Inputs::new().add(&b).check_all([&a, &b], Existing::Replace).unwrap_err();
    assert!(matches!(error, Error::Output { problem: OutputProblem::Input { .. }, .. }), "{error}");
}

#[test]
fn files_of_any_kind_are_written_the_same_way() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    for content in [OLD, b"", b"another"] {
        AtomicFile::write(&path, content).unwrap();
        assert_eq!(fs::read(&path).unwrap(), content);
        assert_eq!(names(folder.path()), ["notes.txt"]);
    }
    let error = AtomicFile::write(folder.path(), OLD).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_replaced_file_hands_on_its_permissions() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        // 0o666 shows that the umask removes nothing, 0o600 that nothing is added.
        for permissions in [0o600, 0o666, 0o640] {
            fs::write(&path, OLD).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(permissions)).unwrap();
            let data = written(&path).unwrap();
            let temporary = names(folder.path()).remove(0);
            assert_eq!(mode(&folder.path().join(temporary)), permissions, "while it is written");
            data.finish().unwrap();
            assert_eq!(mode(&path), permissions);
        }
        let (new, plain) = (folder.path().join("new"), folder.path().join("plain"));
        written(&new).unwrap().finish().unwrap();
        fs::write(&plain, OLD).unwrap();
        assert_eq!(mode(&new), mode(&plain), "a new file is as any other");
    }

    #[test]
    fn folders_that_cannot_be_read_take_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        let set = |mode| fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
        // Opening the folder to sync it fails, except for root.
        set(0o300);
        let finished = written(&path).unwrap().finish();
        set(0o700);
        finished.unwrap();
        assert!(is_new(&path));
    }

    #[test]
    fn links_stay_and_what_they_point_to_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (store, links) = (folder.path().join("store"), folder.path().join("links"));
        fs::create_dir(&store).unwrap();
        fs::create_dir(&links).unwrap();
        let (file, link, outer) = (store.join("file"), links.join("link"), links.join("outer"));
        symlink("../store/file", &link).unwrap();
        symlink(&link, &outer).unwrap();
        // The first time, the links are dangling.
        for _ in 0..2 {
            let data = written(&outer).unwrap();
            assert_eq!(names(&links).len(), 2, "the temporary file is beside the target");
            data.finish().unwrap();
            assert!(is_new(&file) && link.is_symlink() && outer.is_symlink());
            fs::write(&file, OLD).unwrap();
        }
        symlink("round", folder.path().join("round")).unwrap();
        let error = format!("{:?}", Writer::create(folder.path().join("round")).unwrap_err());
        assert!(error.contains("too many symbolic links"), "{error}");
    }

    #[test]
    fn devices_are_not_replaced() {
        let error = format!("{:?}", Writer::create("/dev/null").unwrap_err());
        assert!(error.contains("'/dev/null'") && error.contains("Writer::new"), "{error}");
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
