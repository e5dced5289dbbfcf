//! Models in several files, with an index that may lie.

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
    // A single file beside an index is what it is.
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
fn a_name_is_in_one_file() {
    let error = checkpoint([one("a"), one("a")]).unwrap_err().to_string();
    assert_eq!(error, "'file 1': tensor 'a' is in 'file 0' too");
}
