//! Sets whose files appear together.

use std::fs;
use std::path::Path;

use gguf_codec::{GgmlType, ShardPaths, StagedFile, Writer};

use super::{Folder, read};

/// A set whose files are complete and not yet renamed.
fn staged(folder: &Path, count: u16, content: i8) -> Vec<StagedFile> {
    let paths = ShardPaths::new(folder.join("m"), count);
    let stage = |no: u16| {
        let mut writer = Writer::create(paths.path(no)).unwrap();
        writer
            .set_shard(no, count, count.into())
            .unwrap()
            .declare_tensor(&format!("t{no}"), &[32], GgmlType::I8)
            .unwrap();
        let mut data = writer.write_header().unwrap();
        data.write_tensor(&format!("t{no}"), &[content as u8; 32]).unwrap();
        data.stage().unwrap()
    };
    (0..count).map(stage).collect()
}

fn content(folder: &Path) -> Vec<u8> {
    let model = read(&folder.join("m-00001-of-00002.gguf")).unwrap();
    model.tensors().map(|tensor| tensor.tensor().unwrap().bytes().unwrap()[0]).collect()
}

#[test]
fn a_set_appears_as_a_whole() {
    let (folder, _) = Folder::of(&[]);
    let path = folder.0.path();
    let waiting = staged(path, 2, 1);
    assert!(folder.names().iter().all(|name| name.ends_with(".tmp")), "{:?}", folder.names());
    drop(waiting);
    assert!(folder.names().is_empty());

    for generation in [2, 3] {
        let waiting = staged(path, 2, generation);
        assert_eq!(folder.names().iter().filter(|name| name.ends_with(".tmp")).count(), 2);
        StagedFile::commit_all(waiting).unwrap();
        assert_eq!(folder.names(), ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"]);
        assert_eq!(content(path), [generation as u8; 2]);
    }
    // If the set is dropped, the existing files stay.
    drop(staged(path, 2, 4));
    assert_eq!(content(path), [3, 3]);
    StagedFile::commit_all([]).unwrap();
}

#[test]
fn a_set_of_which_one_cannot_be_placed_is_not_there_at_all() {
    let names: [String; 3] = std::array::from_fn(|no| format!("m-0000{}-of-00003.gguf", no + 1));
    for (blocked, name) in names.iter().enumerate() {
        for old in [false, true] {
            let (folder, _) = Folder::of(&[]);
            let path = folder.0.path();
            let others: Vec<_> = names.iter().filter(|other| old && *other != name).collect();
            others.iter().for_each(|name| fs::write(path.join(name), "old").unwrap());
            let waiting = staged(path, 3, 1);
            // If a folder has appeared at a file's place, the file cannot be moved there.
            fs::create_dir(path.join(name)).unwrap();
            let error = StagedFile::commit_all(waiting).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
            // No new shard exists, and none that could be opened under an old shard's name.
            for other in names.iter().filter(|other| *other != name) {
                assert!(!fs::read(path.join(other)).is_ok_and(|bytes| bytes.starts_with(b"GGUF")), "{other}");
            }
            assert!(folder.names().iter().all(|name| !name.ends_with(".tmp")), "{:?}", folder.names());
            // The first is tried before any other file is touched.
            if blocked == 0 {
                assert!(error.contains("replace '"), "{error}");
                assert!(others.iter().all(|name| fs::read(path.join(name)).unwrap() == b"old"));
            }
        }
    }
}

#[test]
fn a_file_alone_waits_for_its_place_too() {
    let (folder, _) = Folder::of(&[]);
    let mut waiting = staged(folder.0.path(), 1, 5);
    assert!(folder.names().iter().all(|name| name.ends_with(".tmp")), "{:?}", folder.names());
    waiting.pop().unwrap().commit().unwrap();
    assert_eq!(folder.names(), ["m-00001-of-00001.gguf"]);
}

#[test]
fn a_file_that_is_not_whole_cannot_be_staged() {
    let (folder, _) = Folder::of(&[]);
    let mut writer = Writer::create(folder.0.path().join("m.gguf")).unwrap();
    writer.declare_tensor("t", &[32], GgmlType::I8).unwrap();
    let error = writer.write_header().unwrap().stage().unwrap_err().to_string();
    assert!(error.contains("tensor 't' was declared and is not written"), "{error}");
    assert!(folder.names().is_empty());
}
