//! What works without the feature `codecs`: files are read, checked, written, copied, edited, split and merged, and their
//! blocks can be viewed. `.ci/run` runs this without the feature; with it, the results are the same.

#![cfg(all(feature = "std", any(unix, windows), not(target_family = "wasm")))]

use std::path::Path;

use gguf_codec::blocks::{BlockQ4_0, BlockQ8_0, Q4_0, Q8_0};
use gguf_codec::model::{Edit, Input, Merge, Split};
use gguf_codec::{ByteOrder, Error, GgmlType, Gguf, ShardedGguf, Writer, bf16, f16};

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/sample.gguf");

/// Tensors of blocks and of plain numbers, in either byte order.
fn model(order: ByteOrder) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    writer.set_byte_order(order).set_metadata("general.architecture", "llama").unwrap();
    writer.declare_tensor("blocks", &[32, 2], GgmlType::Q8_0).unwrap();
    writer.declare_tensor("pieces", &[64], GgmlType::Q4_0).unwrap();
    writer.declare_tensor("halves", &[3], GgmlType::F16).unwrap();
    writer.declare_tensor("bfloats", &[1], GgmlType::BF16).unwrap();
    let mut data = writer.write_header().unwrap();
    let mut tensor = data.begin("blocks").unwrap();
    tensor.write_blocks::<Q8_0>(&[BlockQ8_0 { d: [0, 0x3c], qs: [7; 32] }; 2]).unwrap();
    tensor.finish().unwrap();
    let mut tensor = data.begin("pieces").unwrap();
    tensor.write_blocks::<Q4_0>(&[BlockQ4_0 { d: [1, 0x3c], qs: [0x21; 16] }]).unwrap();
    tensor.write_blocks::<Q4_0>(&[BlockQ4_0 { d: [2, 0x3c], qs: [0x43; 16] }]).unwrap();
    tensor.finish().unwrap();
    let halves = [0x3c00u16, 0x4000, 0x4200];
    let big = order == ByteOrder::Big;
    let bytes = |half: u16| if big { half.to_be_bytes() } else { half.to_le_bytes() };
    data.write_tensor("halves", halves.map(bytes).as_flattened()).unwrap();
    data.write_tensor("bfloats", &bytes(0x3f80)).unwrap();
    data.finish().unwrap()
}

#[test]
fn blocks_are_written_and_seen() {
    let file = model(ByteOrder::Little);
    let model = Gguf::parse(&file).unwrap();
    let blocks = model.tensor("blocks").unwrap().typed::<Q8_0>().unwrap();
    assert_eq!(blocks.row(1).unwrap().blocks(), [BlockQ8_0 { d: [0, 0x3c], qs: [7; 32] }]);
    let pieces = model.tensor("pieces").unwrap().typed::<Q4_0>().unwrap().blocks();
    assert_eq!((pieces[0].d, pieces[1].qs), ([1, 0x3c], [0x43; 16]));
    if ByteOrder::NATIVE == ByteOrder::Little {
        // Tensors begin at multiples of 32 bytes; the vector's memory may begin anywhere relative to those.
        let halves = model.tensor("halves").unwrap();
        if halves.bytes().unwrap().as_ptr().addr().is_multiple_of(2) {
            assert_eq!(halves.as_slice::<f16>().unwrap(), [1.0, 2.0, 3.0].map(f16::from_f32));
            let bfloats = model.tensor("bfloats").unwrap();
            assert_eq!(bfloats.as_slice::<bf16>().unwrap(), [bf16::from_f32(1.0)]);
        }
    }
    assert!(GgmlType::Q4_K.can_quantize() && !GgmlType::I8.can_quantize());
    assert!(GgmlType::IQ1_S.needs_importance());
}

#[test]
fn scales_are_checked() {
    let mut file = model(ByteOrder::Little);
    let model = Gguf::parse(&file).unwrap();
    model.tensors().for_each(|tensor| tensor.tensor().unwrap().validate().unwrap());
    let info = model.tensor_info("pieces").unwrap();
    let second = info.file_offset() as usize + size_of::<BlockQ4_0>();
    file[second..second + 2].copy_from_slice(&[0x00, 0x7c]);
    let error = Gguf::parse(&file).unwrap().tensor("pieces").unwrap().validate().unwrap_err();
    assert!(matches!(error, Error::InvalidBlock { ty: GgmlType::Q4_0, block: 1, .. }), "{error}");
}

#[test]
fn tensors_are_copied_into_the_other_byte_order() {
    let [little, big] = [ByteOrder::Little, ByteOrder::Big].map(model);
    for (from, to, order) in [(&little, &big, ByteOrder::Big), (&big, &little, ByteOrder::Little)] {
        let from = Gguf::parse(from).unwrap();
        let mut writer = Writer::new(Vec::new());
        writer.copy_metadata_from(&from).unwrap().set_byte_order(order);
        for tensor in from.tensors() {
            writer.declare_tensor(tensor.name(), tensor.shape().dims(), tensor.ggml_type()).unwrap();
        }
        let mut data = writer.write_header().unwrap();
        for tensor in from.tensors() {
            data.copy_tensor(&tensor.tensor().unwrap()).unwrap();
        }
        assert!(data.finish().unwrap() == *to, "into {order:?}");
    }
}

#[test]
fn files_are_edited() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("little"), model(ByteOrder::Little)).unwrap();

    // Tensors are copied in pieces, and swapped if the byte order changes.
    let mut turn = Edit::new();
    turn.byte_order(ByteOrder::Big);
    turn.write(path("little"), path("big")).unwrap();
    assert!(std::fs::read(path("big")).unwrap() == model(ByteOrder::Big));

    let mut edit = Edit::new();
    edit.add("general.name", "edited").rename_tensor("blocks", "renamed");
    edit.write(path("little"), path("edited")).unwrap();
    let edited = Gguf::read(path("edited")).unwrap();
    assert_eq!(edited.metadata().require::<&str>("general.name").unwrap(), "edited");
    let model = Gguf::read(path("little")).unwrap();
    let [before, after] = [model.tensor("blocks"), edited.tensor("renamed")].map(Result::unwrap);
    assert_eq!(before.bytes().unwrap(), after.bytes().unwrap());

    let mut edit = Edit::new();
    edit.set("general.architecture", "qwen2");
    edit.in_place(path("little")).unwrap();
    let architecture = Gguf::read(path("little")).unwrap();
    assert_eq!(architecture.metadata().require::<&str>("general.architecture").unwrap(), "qwen2");
}

#[test]
fn a_model_is_split_and_merged() {
    let folder = tempfile::tempdir().unwrap();
    let sample = Input::open(SAMPLE).unwrap();
    let shards = Split::by_tensors(7).run(&sample, folder.path().join("m")).unwrap();
    let first: &Path = &shards[0].path;
    assert_eq!(ShardedGguf::open_with(first, |path| Gguf::read(path)).unwrap().tensors().count(), 20);
    let merged = folder.path().join("merged.gguf");
    Merge::new().run(&Input::open(first).unwrap(), &merged).unwrap();
    assert!(std::fs::read(merged).unwrap() == std::fs::read(SAMPLE).unwrap());
}
