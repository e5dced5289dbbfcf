//! Written files: their bytes, their order, and errors.

use gguf_codec::Error;
use gguf_codec::safetensors::{Dtype, SafeTensors, Writer};

use super::{floats, tensors};

#[test]
fn files_are_read_by_the_formats_library() {
    let (a, b) = (floats([1.0, -2.5]), vec![1, 2, 3]);
    let mut writer = Writer::new(Vec::new());
    writer.set_metadata("format", "np").set_metadata("q\"\n", "\u{1f600}").set_metadata("format", "pt");
    writer
        .declare_tensor("a", &[1, 2], Dtype::F32)
        .unwrap()
        .declare_tensor("b\"\u{e9}", &[3], Dtype::U8)
        .unwrap();
    writer
        .declare_tensor("none", &[0, 7], Dtype::F16)
        .unwrap()
        .declare_tensor("scalar", &[], Dtype::I16)
        .unwrap();
    let mut data = writer.write_header().unwrap();
    data.write_tensor("a", &a).unwrap();
    let mut pieces = data.begin("b\"\u{e9}").unwrap();
    b.chunks(2).for_each(|piece| pieces.write_bytes(piece).unwrap());
    pieces.finish().unwrap();
    data.write_tensor("none", &[]).unwrap();
    data.write_tensor("scalar", &[5, 0]).unwrap();
    let file = data.finish().unwrap();

    let theirs = safetensors::SafeTensors::deserialize(&file).unwrap();
    assert_eq!(theirs.len(), 4);
    assert_eq!(theirs.tensor("a").unwrap().data(), a);
    assert_eq!(theirs.tensor("b\"\u{e9}").unwrap().data(), b);
    assert_eq!(theirs.tensor("none").unwrap().shape(), [0, 7]);
    let (length, metadata) = safetensors::SafeTensors::read_metadata(&file).unwrap();
    assert_eq!(length % 8, 0, "data is not aligned");
    assert_eq!(metadata.metadata().as_ref().unwrap()["q\"\n"], "\u{1f600}");
    let ours = SafeTensors::parse(&file).unwrap();
    assert_eq!(ours.metadata().collect::<Vec<_>>(), [("format", "pt"), ("q\"\n", "\u{1f600}")]);
    assert!(ours.tensors().map(|tensor| tensor.name()).eq(["a", "b\"\u{e9}", "none", "scalar"]));
}

fn says(result: Result<impl Sized, Error>, part: &str) {
    let error = result.err().expect("refused").to_string();
    assert!(error.contains(part), "{error}");
}

#[test]
fn what_cannot_be_a_file_is_refused() {
    let mut writer = Writer::new(Vec::new());
    writer.declare_tensor("a", &[2], Dtype::U8).unwrap();
    says(writer.declare_tensor("a", &[1], Dtype::U8).map(drop), "tensor 'a' is declared twice");
    says(
        writer.declare_tensor("__metadata__", &[1], Dtype::U8).map(drop),
        "no tensor can be called '__metadata__'",
    );
    says(writer.declare_tensor("b", &[u64::MAX, 2], Dtype::U8).map(drop), "64 bits count");
    says(writer.declare_tensor("b", &[3], Dtype::F4).map(drop), "no whole number of bytes");
    writer.declare_tensor("b", &[u64::MAX], Dtype::U8).unwrap();
    says(writer.write_header().map(drop), "with tensor 'b' the file is longer");
}

#[test]
fn tensors_come_in_their_order_and_whole() {
    let begun = || {
        let mut writer = Writer::new(Vec::new());
        writer.declare_tensor("a", &[2], Dtype::U8).unwrap().declare_tensor("b", &[0], Dtype::U8).unwrap();
        writer.write_header().unwrap()
    };
    let mut data = begun();
    says(data.write_tensor("b", &[]), "tensor 'b' cannot be written yet: 'a' was declared before it");
    says(begun().finish().map(drop), "tensor 'a' was declared and is not written");
    data.write_tensor("a", &[1, 2]).unwrap();
    says(data.write_tensor("a", &[1, 2]), "'a' is written already");
    data.write_tensor("b", &[]).unwrap();
    says(data.write_tensor("c", &[]), "was not declared");
    data.finish().unwrap();

    let mut data = begun();
    says(data.write_tensor("a", &[1]), "ends too early: 1 of its 2 bytes are missing");
    says(data.write_tensor("a", &[1, 2]), "given up");
    says(data.finish().map(drop), "given up");
    let mut data = begun();
    says(data.write_tensor("a", &[1, 2, 3]), "was given 3 more bytes, and only 2 of its 2 remain");
    says(data.finish().map(drop), "given up");
    let mut data = begun();
    drop(data.begin("a").unwrap());
    says(data.finish().map(drop), "given up");
}

#[test]
fn a_file_appears_when_it_is_whole() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("model.safetensors");
    std::fs::write(&path, "what was there").unwrap();
    let mut writer = Writer::create(&path).unwrap();
    writer.declare_tensor("a", &[1], Dtype::U8).unwrap();
    let mut data = writer.write_header().unwrap();
    says(data.write_tensor("a", &[]), "ends too early");
    drop(data);
    assert_eq!(std::fs::read(&path).unwrap(), b"what was there");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let whole = tensors(&[("a", &[1], Dtype::U8, vec![7])]);
    let mut writer = Writer::create(&path).unwrap();
    writer.declare_tensor("a", &[1], Dtype::U8).unwrap();
    let mut data = writer.write_header().unwrap();
    data.write_tensor("a", &[7]).unwrap();
    data.finish().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), whole);
}
