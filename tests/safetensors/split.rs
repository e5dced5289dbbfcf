//! Models in several files, with an index that may be wrong.

use std::fs;
use std::path::Path;

use gguf_codec::safetensors::{Checkpoint, Dtype};
use tempfile::TempDir;

use super::{checkpoint, tensors};

const INDEX: &str = "model.safetensors.index.json";

fn one(name: &str) -> Vec<u8> {
    tensors(&[(name, &[2], Dtype::U8, vec![1, 2])])
}

/// A folder with two files, and this `weight_map`.
fn folder(map: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("one.safetensors"), one("a")).unwrap();
    fs::write(folder.path().join("two.safetensors"), one("b")).unwrap();
    fs::write(folder.path().join(INDEX), format!(r#"{{"metadata":{{"total_size":4}},"weight_map":{map}}}"#))
        .unwrap();
    folder
}

fn refused(path: &Path, parts: &[&str]) {
    let error = Checkpoint::open(path).unwrap_err().to_string();
    assert!(parts.iter().all(|part| error.contains(part)), "{error}\nlacks one of {parts:?}");
}

#[test]
fn files_of_an_index_are_one_model() {
    let folder = folder(r#"{"a":"one.safetensors","b":"two.safetensors"}"#);
    for path in [folder.path().to_owned(), folder.path().join(INDEX)] {
        let model = Checkpoint::open(path).unwrap();
        assert!(model.tensors().map(|tensor| tensor.info().name()).eq(["a", "b"]));
        assert_eq!((model.file_count(), model.folder()), (2, Some(folder.path())));
        let mut bytes = [0; 2];
        let origin = model.tensor("b").unwrap().info();
        let file = fs::File::open(folder.path().join("two.safetensors")).unwrap();
        gguf_codec::ReadAt::fill_at(&file, &mut bytes, origin.file_offset()).unwrap();
        assert_eq!(bytes, [1, 2]);
    }
    // A file next to an index can be opened by itself.
    assert_eq!(Checkpoint::open(folder.path().join("one.safetensors")).unwrap().tensors().count(), 1);
}

#[test]
fn an_index_that_lies_is_refused() {
    for (map, parts) in [
        (
            r#"{"a":"one.safetensors","b":"three.safetensors"}"#,
            &[INDEX, "'three.safetensors' is missing, which has 1 of the 2 tensors"][..],
        ),
        (r#"{"a":"one.safetensors","b":"one.safetensors"}"#, &["tensor 'b' is not in 'one.safetensors'"]),
        (
            r#"{"a":"two.safetensors","b":"one.safetensors"}"#,
            &["tensor 'a' is in", "not in 'two.safetensors'"],
        ),
        (r#"{"a":"one.safetensors","c":"two.safetensors"}"#, &["tensor 'b' of", "is not in the index"]),
        (
            r#"{"a":"one.safetensors","b":"two.safetensors","c":"two.safetensors"}"#,
            &["tensor 'c' is not in 'two.safetensors'"],
        ),
        (r#"{"a":"one.safetensors","a":"two.safetensors"}"#, &["a tensor occurs twice in weight_map"]),
        (
            r#"{"a":"../one.safetensors"}"#,
            &["'../one.safetensors' must be the name of a file beside the index"],
        ),
        (r#"{"a":"/etc/passwd"}"#, &["must be the name of a file"]),
        (r#"{"a":".."}"#, &["must be the name of a file"]),
        (r#"{"a":7}"#, &[INDEX, "expected a string"]),
        ("7", &["expected weight_map to be an object of strings"]),
    ] {
        refused(folder(map).path(), parts);
    }
    let without = TempDir::new().unwrap();
    fs::write(without.path().join(INDEX), "{}").unwrap();
    refused(without.path(), &["the index has no weight_map"]);
}

#[test]
fn a_folder_has_one_model() {
    let folder = TempDir::new().unwrap();
    refused(folder.path(), &["the folder has 0 safetensors files"]);
    fs::write(folder.path().join("some.safetensors"), one("a")).unwrap();
    assert_eq!(Checkpoint::open(folder.path()).unwrap().tensors().count(), 1);
    fs::write(folder.path().join("other.safetensors"), one("b")).unwrap();
    refused(folder.path(), &["the folder has 2 safetensors files, and none is called model.safetensors"]);
    fs::write(folder.path().join("model.safetensors"), one("c")).unwrap();
    assert!(Checkpoint::open(folder.path()).unwrap().tensor("c").is_some());
    fs::write(folder.path().join("model.safetensors"), "short").unwrap();
    refused(folder.path(), &["model.safetensors': byte 0: a file of 5 bytes"]);
    refused(&folder.path().join("missing"), &["cannot open", "missing"]);
}

#[test]
fn a_part_of_a_model_is_no_model() {
    let folder = TempDir::new().unwrap();
    let file = |name: &str| folder.path().join(name);
    let [first, second] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    fs::write(file(second), one("b")).unwrap();
    let missing = [
        "of the 2 files of the model 1 is missing, the first of them 'model-00001-of-00002.safetensors', and so is the \
          index 'model.safetensors.index.json'",
    ];
    refused(folder.path(), &missing);
    refused(&file(second), &missing);
    fs::write(file(first), one("a")).unwrap();
    let no_index =
        ["the 2 files of the model are there, and the index 'model.safetensors.index.json' is missing"];
    refused(folder.path(), &no_index);
    refused(&file(first), &no_index);
    // A file that is neither of the two is another model.
    fs::write(file("other.safetensors"), one("c")).unwrap();
    refused(folder.path(), &["the folder has 3 safetensors files"]);
    assert_eq!(Checkpoint::open(file("other.safetensors")).unwrap().file_count(), 1);
    fs::write(file(INDEX), format!(r#"{{"weight_map":{{"a":"{first}","b":"{second}"}}}}"#)).unwrap();
    refused(
        &file(second),
        &[second, "a file of 2 is not the model: open the index 'model.safetensors.index.json' beside it"],
    );
    assert_eq!(Checkpoint::open(folder.path()).unwrap().file_count(), 2);
    // Whatever count and number the name claims.
    let other = TempDir::new().unwrap();
    let file = other.path().join("x-9-of-4294967295.safetensors");
    fs::write(&file, one("a")).unwrap();
    let parts = ["4294967294 are missing, the first of them 'x-1-of-4294967295.safetensors'"];
    refused(other.path(), &parts);
    fs::rename(file, other.path().join("x-0-of-1.safetensors")).unwrap();
    assert_eq!(Checkpoint::open(other.path()).unwrap().file_count(), 1);
}

#[test]
fn a_name_is_in_one_file() {
    let error = checkpoint([one("a"), one("a")]).unwrap_err().to_string();
    assert_eq!(error, "'file 1': tensor 'a' is in 'file 0' too");
}
