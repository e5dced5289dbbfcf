//! Models are split into shards and merged again.

use std::fs;
use std::path::Path;

use gguf_codec::{ByteOrder, GgmlType, Gguf, Result, ShardPaths, ShardPlan, ShardedGguf, Writer};
use proptest::collection::vec;
use proptest::prelude::*;

use super::read;
use crate::common;

/// The shards of a model, written one after the other.
fn split<B: AsRef<[u8]>>(model: &ShardedGguf<B>, plan: &ShardPlan) -> Result<Vec<Vec<u8>>> {
    let tensors: Vec<_> = model.tensors().collect();
    let shards = (0..).zip(plan.shards()).map(|(no, range)| {
        let mut writer = Writer::new(Vec::new());
        writer.copy_sharded_metadata_from(model)?.set_shard(no, plan.count(), tensors.len())?;
        for tensor in &tensors[range.clone()] {
            writer.declare_tensor(tensor.name(), tensor.shape().dims(), tensor.ggml_type())?;
        }
        let mut data = writer.write_header()?;
        for tensor in &tensors[range.clone()] {
            data.copy_tensor(&tensor.tensor()?)?;
        }
        data.finish()
    });
    shards.collect()
}

fn merge<B: AsRef<[u8]>>(model: &ShardedGguf<B>) -> Result<Vec<u8>> {
    let mut writer = Writer::new(Vec::new());
    writer.copy_sharded_metadata_from(model)?;
    for tensor in model.tensors() {
        writer.declare_tensor(tensor.name(), tensor.shape().dims(), tensor.ggml_type())?;
    }
    let mut data = writer.write_header()?;
    for tensor in model.tensors() {
        data.copy_tensor(&tensor.tensor()?)?;
    }
    data.finish()
}

fn parse_all(shards: &[Vec<u8>]) -> Result<ShardedGguf<&[u8]>> {
    let parsed: Result<Vec<_>> = shards.iter().map(|bytes| Gguf::parse(bytes.as_slice())).collect();
    ShardedGguf::new(parsed?)
}

/// Any model: keys, alignment, byte order, version, final padding, and tensors of plain types.
fn model() -> impl Strategy<Value = Vec<u8>> {
    let ty = prop::sample::select(vec![GgmlType::I8, GgmlType::F16, GgmlType::F32, GgmlType::Q8_0]);
    let tensor = (ty, 0u64..5, 0u64..40);
    let order = prop::sample::select(vec![ByteOrder::Little, ByteOrder::Big]);
    let alignment = prop::option::of(0u32..9);
    (vec(tensor, 0..12), vec(any::<u32>(), 0..4), alignment, order, 2u32..4, any::<bool>()).prop_map(
        |(tensors, keys, alignment, order, version, padded)| {
            let mut writer = Writer::new(Vec::new());
            writer.set_byte_order(order).set_version(version).unwrap().set_final_padding(padded);
            for (i, value) in keys.iter().enumerate() {
                writer.set_metadata(&format!("key.{i}"), *value).unwrap();
            }
            if let Some(power) = alignment {
                writer.set_alignment(1 << power).unwrap();
            }
            writer.set_metadata("last", "one").unwrap();
            let mut declared = Vec::new();
            for (i, (ty, rows, blocks)) in tensors.into_iter().enumerate() {
                let (name, row) = (format!("t.{i}"), blocks * ty.block_len() as u64);
                writer.declare_tensor(&name, &[row, rows], ty).unwrap();
                let bytes = (rows * row) as usize / ty.block_len() * ty.block_bytes();
                declared.push((name, (0..bytes).map(|at| (at * 31 + i * 7) as u8).collect::<Vec<_>>()));
            }
            let mut data = writer.write_header().unwrap();
            for (name, bytes) in declared {
                data.write_tensor(&name, &bytes).unwrap();
            }
            data.finish().unwrap()
        },
    )
}

#[derive(Debug, Clone)]
enum Limit {
    Tensors(usize),
    Bytes(u64),
    Parts(u16),
}

proptest! {
    #![proptest_config(common::property(256))]

    #[test]
    fn what_is_split_and_merged_is_as_it_was(
        file in model(),
        limit in prop_oneof![
            (1usize..14).prop_map(Limit::Tensors),
            (1u64..3000).prop_map(Limit::Bytes),
            (1u16..14).prop_map(Limit::Parts),
        ],
        empty_first in any::<bool>(),
    ) {
        let model = ShardedGguf::from(Gguf::parse(file.as_slice()).unwrap());
        let bytes: Vec<u64> = model.tensors().map(|tensor| tensor.byte_len()).collect();
        let alignment = model.first().alignment();
        let padded: Vec<u64> = bytes.iter().map(|bytes| bytes.next_multiple_of(alignment.into())).collect();
        let plan = match limit {
            Limit::Tensors(most) => ShardPlan::by_tensors(bytes.len(), most).unwrap(),
            Limit::Bytes(most) => ShardPlan::by_bytes(bytes.iter().copied(), alignment, most).unwrap(),
            Limit::Parts(count) => ShardPlan::balanced(&bytes, count).unwrap(),
        };
        // Each tensor once and in order, and no shard above its limit.
        let all: Vec<usize> = plan.shards().iter().cloned().flatten().collect();
        prop_assert_eq!(all, (0..bytes.len()).collect::<Vec<_>>());
        for range in plan.shards() {
            match limit {
                Limit::Tensors(most) => prop_assert!(range.len() <= most),
                Limit::Bytes(most) => {
                    prop_assert!(range.len() <= 1 || padded[range.clone()].iter().sum::<u64>() <= most);
                }
                Limit::Parts(_) => {}
            }
        }
        if let Limit::Parts(count) = limit {
            prop_assert_eq!(plan.count(), count);
            prop_assert!(plan.shards().iter().filter(|range| range.is_empty()).count()
                <= usize::from(count).saturating_sub(bytes.len()));
        }
        let plan = if empty_first { plan.with_empty_first().unwrap() } else { plan };

        let shards = split(&model, &plan).unwrap();
        let set = parse_all(&shards).unwrap();
        prop_assert_eq!(set.shards().len(), usize::from(plan.count()));
        for shard in set.shards() {
            prop_assert_eq!(shard.alignment(), alignment);
        }
        for tensor in model.tensors() {
            let (one, other) = (set.tensor(tensor.name()).unwrap(), tensor.tensor().unwrap());
            prop_assert_eq!((one.shape(), one.bytes().unwrap()), (other.shape(), other.bytes().unwrap()));
        }
        let merged = merge(&set).unwrap();
        let whole_padding = model.first().has_final_padding();
        let set_padding = set.shards().last().unwrap().has_final_padding();
        // An empty last shard ends with its header, and cannot record how the model ended.
        if plan.shards().last().is_some_and(|range| !range.is_empty()) || whole_padding == set_padding {
            prop_assert!(merged == file, "merged again the file differs");
        }
        // Shards can be divided again.
        let again = split(&set, &ShardPlan::by_tensors(bytes.len(), 2).unwrap()).unwrap();
        let again = merge(&parse_all(&again).unwrap()).unwrap();
        if merged == file && !bytes.is_empty() {
            prop_assert!(again == file, "divided anew and merged again the file differs");
        }
    }
}

#[test]
fn a_shard_has_the_keys_of_gguf_split_in_its_order() {
    // The output of llama.cpp's `gguf-split` for a file with these keys.
    let mut writer = Writer::new(Vec::new());
    writer.set_metadata("split.count", 0u16).unwrap().set_metadata("a", 1u8).unwrap();
    writer.set_shard(0, 2, 7).unwrap();
    let first = Gguf::parse(writer.write_header().unwrap().finish().unwrap()).unwrap();
    let shown = format!("{:?}", first.metadata());
    assert_eq!(
        shown,
        r#"{"a": U8(1), "split.no": U16(0), "split.tensors.count": I32(7), "split.count": U16(2)}"#
    );
    // All other files: the alignment is needed to read them, and is written if it is not the default.
    for (alignment, wanted) in [
        (32, r#"{"split.no": U16(1), "split.tensors.count": I32(7), "split.count": U16(2)}"#),
        (
            64,
            r#"{"general.alignment": U32(64), "split.no": U16(1), "split.tensors.count": I32(7), "split.count": U16(2)}"#,
        ),
    ] {
        let mut writer = Writer::new(Vec::new());
        writer.set_metadata("a", 1u8).unwrap().set_alignment(alignment).unwrap();
        writer.set_shard(1, 2, 7).unwrap();
        let other = Gguf::parse(writer.write_header().unwrap().finish().unwrap()).unwrap();
        assert_eq!(format!("{:?}", other.metadata()), wanted);
    }
}

#[test]
fn shards_that_cannot_be_are_refused_and_leave_the_writer_as_it_was() {
    let mut writer = Writer::new(Vec::new());
    writer.set_metadata("a", 1u8).unwrap();
    assert!(writer.set_shard(2, 2, 1).unwrap_err().to_string().contains("a set of 2 shards has no number 2"));
    assert!(writer.set_shard(0, 0, 1).is_err());
    #[cfg(target_pointer_width = "64")]
    assert!(writer.set_shard(0, 1, 1 << 31).unwrap_err().to_string().contains("2147483647"));
    let file = Gguf::parse(writer.write_header().unwrap().finish().unwrap()).unwrap();
    assert_eq!(format!("{:?}", file.metadata()), r#"{"a": U8(1)}"#);
}

/// gguf-py writes a model in one file and in shards. Splitting the former here gives the latter's names, tensors and bytes, except
/// for the order of two keys, in which gguf-py and `gguf-split` differ.
#[test]
fn shards_are_those_of_gguf_py() {
    let Some(python) = common::needs("GGUF_PY_PYTHON", "the comparison with gguf-py's shards") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gguf_py/write_shards.py");
    let run = std::process::Command::new(python).arg(script).arg(folder.path()).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let whole = fs::read(folder.path().join("whole.gguf")).unwrap();
    let model = ShardedGguf::from(Gguf::parse(whole.as_slice()).unwrap());
    let bytes = || model.tensors().map(|tensor| tensor.byte_len());
    for (name, plan) in [
        ("tensors", ShardPlan::by_tensors(model.tensor_count(), 3).unwrap()),
        ("bytes", ShardPlan::by_bytes(bytes(), 32, 4096).unwrap()),
    ] {
        let paths = ShardPaths::new(folder.path().join(name), plan.count());
        let theirs = read(&paths.path(0)).unwrap();
        assert_eq!(theirs.shards().len(), usize::from(plan.count()), "{name}");
        assert!(merge(&theirs).unwrap() == whole, "{name}: gguf-py's shards do not become its whole");
        for (no, ours) in (0..).zip(split(&model, &plan).unwrap()) {
            let theirs = fs::read(paths.path(no)).unwrap();
            let (ours, parsed) =
                (Gguf::parse(ours.as_slice()).unwrap(), Gguf::parse(theirs.as_slice()).unwrap());
            let sorted = |file: &Gguf<&[u8]>| {
                let mut pairs: Vec<_> = file.metadata().iter().map(|pair| format!("{pair:?}")).collect();
                pairs.sort();
                pairs
            };
            assert_eq!(sorted(&ours), sorted(&parsed), "{name} {no}");
            assert_eq!(format!("{:?}", ours.tensors()), format!("{:?}", parsed.tensors()), "{name} {no}");
            let data = |file: Gguf<&'_ [u8]>| {
                let at = file.data_offset() as usize;
                file.into_inner()[at..].to_vec()
            };
            assert!(data(ours) == data(parsed), "{name} {no}");
        }
    }
}
