//! Tests of `model::Edit`: keys and names change, data does not; edits can be undone byte for byte; and
//! editing in place gives the same file as editing into another file.

#![cfg(feature = "std")]
// WebAssembly has no temporary folder.
#![cfg(not(target_family = "wasm"))]

mod foreign;
mod values;

use crate::common;
use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;

use common::raw::{FORMATS, Raw, U32, everything};
use gguf_codec::model::{Edit, Edited};
use gguf_codec::{Array, ByteOrder, Error, Existing, GgmlType, Gguf, Result, Value, ValueType, Writer};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use tempfile::TempDir;

/// A file in a separate folder.
struct File {
    folder: TempDir,
    path: PathBuf,
}

impl File {
    fn new(bytes: &[u8]) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("model.gguf");
        fs::write(&path, bytes).unwrap();
        File { folder, path }
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out.gguf")
    }

    /// The bytes that an edit writes to another file.
    fn edited(&self, edit: &Edit) -> Result<Vec<u8>> {
        let out = self.out();
        edit.write(&self.path, &out)?;
        let bytes = fs::read(&out).unwrap();
        fs::remove_file(&out).unwrap();
        Ok(bytes)
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(&self.path).unwrap()
    }

    fn is_alone(&self) -> bool {
        fs::read_dir(self.folder.path()).unwrap().count() == 1
    }
}

/// Each tensor's type, shape and bytes.
fn tensors(file: &[u8]) -> Vec<(String, GgmlType, Vec<u64>, Vec<u8>)> {
    let model = Gguf::parse(file).unwrap();
    let parts = model.tensors().map(|info| {
        let tensor = info.tensor().unwrap();
        (
            info.name().to_owned(),
            info.ggml_type(),
            info.shape().dims().to_vec(),
            tensor.bytes().unwrap().to_vec(),
        )
    });
    parts.collect()
}

fn pairs(file: &[u8]) -> Vec<(String, Value)> {
    let model = Gguf::parse(file).unwrap();
    model.metadata().iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u8>().prop_map(Value::U8),
        any::<i64>().prop_map(Value::I64),
        (-1e30..1e30f32).prop_map(Value::F32),
        any::<bool>().prop_map(Value::Bool),
        "[a-zé]{0,40}".prop_map(Value::from),
        vec(any::<u16>(), 0..20).prop_map(Value::from),
        vec(vec(any::<u8>(), 0..9), 0..9).prop_map(|strings| Value::Array(Array::String(strings))),
    ]
}

fn model(
    metadata: &[Value],
    lengths: &[u64],
    alignment: Option<u32>,
    order: ByteOrder,
    final_padding: bool,
) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    writer.set_byte_order(order).set_final_padding(final_padding);
    if let Some(alignment) = alignment {
        writer.set_alignment(1 << alignment).unwrap();
    }
    for (i, value) in metadata.iter().enumerate() {
        writer.set_metadata(&format!("key.{i}"), value.clone()).unwrap();
    }
    for (i, len) in lengths.iter().enumerate() {
        writer.declare_tensor(&format!("blk.{i}"), &[*len, 2], GgmlType::F16).unwrap();
    }
    let mut data = writer.write_header().unwrap();
    for (i, len) in lengths.iter().enumerate() {
        // Never zero, so that padding and data cannot be confused.
        data.write_tensor(&format!("blk.{i}"), &vec![i as u8 + 1; *len as usize * 4]).unwrap();
    }
    data.finish().unwrap()
}

proptest! {
    #![proptest_config(common::property(128))]

    #[test]
    fn an_edit_and_its_reverse_give_the_same_bytes(
        metadata in vec(value(), 1..8),
        lengths in vec(0..40u64, 0..6),
        alignment in prop::option::of(0..8u32),
        big in any::<bool>(),
        final_padding in any::<bool>(),
        picked in any::<Index>(),
        new in value(),
        renamed in any::<Index>(),
        tensor in any::<Index>(),
        in_place in any::<bool>(),
    ) {
        let order = if big { ByteOrder::Big } else { ByteOrder::Little };
        let original = model(&metadata, &lengths, alignment, order, final_padding);
        let file = File::new(&original);
        let (picked, renamed) = (picked.index(metadata.len()), renamed.index(metadata.len()));
        let (mut edit, mut reverse) = (Edit::new(), Edit::new());
        // A key that is set and renamed is given by its new name.
        let name = if renamed == picked { "renamed".to_owned() } else { format!("key.{picked}") };
        edit.replace(name, new.clone()).rename_key(format!("key.{renamed}"), "renamed").add("added", 1u32);
        reverse.replace(format!("key.{picked}"), metadata[picked].clone()).rename_key("renamed", format!("key.{renamed}"));
        reverse.remove("added");
        if !lengths.is_empty() {
            let tensor = tensor.index(lengths.len());
            edit.rename_tensor(format!("blk.{tensor}"), "another name");
            reverse.rename_tensor("another name", format!("blk.{tensor}"));
        }

        let edited = file.edited(&edit).unwrap();
        if in_place {
            edit.in_place(&file.path).unwrap();
            prop_assert!(file.bytes() == edited);
        } else {
            fs::write(&file.path, &edited).unwrap();
        }
        let mut expected = metadata.clone();
        expected[picked] = new;
        let skipped = usize::from(alignment.is_some());
        let found = pairs(&edited);
        prop_assert_eq!(found[skipped..][..expected.len()].iter().map(|(_, value)| value.clone()).collect::<Vec<_>>(), expected);
        prop_assert_eq!(&found[skipped + renamed].0, "renamed");
        let data = |file: &[u8]| tensors(file).into_iter().map(|(_, ty, dims, bytes)| (ty, dims, bytes)).collect::<Vec<_>>();
        prop_assert!(data(&edited) == data(&original));

        // If the edited file ends at the alignment, it is unknown whether it was padded; then it is padded.
        let back = file.edited(&reverse).unwrap();
        let is_told = !edited.len().is_multiple_of(1 << alignment.unwrap_or(5));
        let padded = model(&metadata, &lengths, alignment, order, true);
        prop_assert!(back == original || !is_told && back == padded);
        if in_place {
            reverse.in_place(&file.path).unwrap();
            prop_assert!(file.bytes() == original || !is_told && file.bytes() == padded);
        }
        prop_assert!(file.is_alone());
    }
}

#[test]
fn every_version_and_byte_order_keeps_its_data() {
    for format in FORMATS {
        let original = everything(format).bytes;
        let file = File::new(&original);
        // An empty edit changes a file only if its version cannot be written.
        if format.0 > 1 {
            assert!(file.edited(&Edit::new()).unwrap() == original);
            assert_eq!(Edit::new().in_place(&file.path).unwrap(), Edited::Patched { changed: 0 });
        }
        let mut edit = Edit::new();
        edit.add("general.alignment", 128u32)
            .set("i8", Value::I8(-1))
            .remove("nested")
            .rename_key("u8", "byte");
        let edited = file.edited(&edit).unwrap();
        let model = Gguf::parse(&edited).unwrap();
        assert_eq!(
            (model.alignment(), model.byte_order()),
            (128, Gguf::parse(&original).unwrap().byte_order())
        );
        assert_eq!(model.version(), if format.0 == 1 { 3 } else { format.0 });
        assert!(model.tensors().all(|tensor| tensor.file_offset() % 128 == 0));
        assert!(tensors(&edited) == tensors(&original), "{format:?}");
        let mut expected = pairs(&original);
        expected.retain(|(key, _)| key != "nested");
        (expected[0].0, expected[1].1) = ("byte".into(), Value::I8(-1));
        expected.push(("general.alignment".into(), Value::U32(128)));
        assert_eq!(pairs(&edited), expected);
        let done = edit.in_place(&file.path).unwrap();
        assert_eq!(done, Edited::Written { len: edited.len() as u64 });
        assert!(file.bytes() == edited && file.is_alone());
    }
}

#[test]
fn in_place_only_the_bytes_that_differ_change_where_the_data_can_stay() {
    let values = [Value::from("name"), Value::U32(7), Value::from("x".repeat(40).as_str())];
    let mut original = model(&values, &[5, 6], None, ByteOrder::Little, true);
    original.extend(b"what others keep behind the data");
    let header_len = Gguf::parse(&original).unwrap().header_len();
    let data_offset = Gguf::parse(&original).unwrap().data_offset();
    let room = data_offset - header_len;
    let patched = |edit: &Edit| {
        let file = File::new(&original);
        let done = match edit.in_place(&file.path) {
            // If the data must move, bytes after it are not dropped silently.
            Err(error) => {
                assert!(error.to_string().starts_with("32 bytes follow the data"), "{error}");
                assert!(file.bytes() == original && file.is_alone());
                edit.clone().drop_trailing().in_place(&file.path).unwrap()
            }
            done => done.unwrap(),
        };
        let bytes = file.bytes();
        if let Edited::Patched { changed } = done {
            assert_eq!(bytes.len(), original.len());
            assert_eq!(bytes.iter().zip(&original).filter(|(a, b)| a != b).count() as u64, changed);
            assert!(bytes[data_offset as usize..] == original[data_offset as usize..]);
        }
        assert!(tensors(&bytes).iter().map(|its| &its.3).eq(tensors(&original).iter().map(|its| &its.3)));
        assert!(file.is_alone());
        done
    };
    let mut same_len = Edit::new();
    same_len.set("key.1", 8u32);
    assert_eq!(patched(&same_len), Edited::Patched { changed: 1 });
    let mut shorter = Edit::new();
    shorter.set("key.0", "nam");
    assert_eq!(matches!(patched(&shorter), Edited::Patched { .. }), room < 31);
    let mut longer = Edit::new();
    longer.set("key.0", "name".to_owned() + &"!".repeat(room as usize));
    assert!(matches!(patched(&longer), Edited::Patched { .. }));
    longer = Edit::new();
    longer.set("key.0", "name".to_owned() + &"!".repeat(room as usize + 1));
    assert!(matches!(patched(&longer), Edited::Written { .. }));
}

fn deep(levels: usize) -> Value {
    let plain = Array::U8(vec![1]);
    Value::Array((1..levels).fold(plain, |array, _| Array::Array(vec![array])))
}

type Change = fn(&mut Edit) -> &mut Edit;

#[test]
fn contradictions_and_what_is_not_there_are_refused_and_nothing_changes() {
    let original = model(&[Value::U8(1), Value::U8(2)], &[1, 1], None, ByteOrder::Little, true);
    let file = File::new(&original);
    let refused = |change: Change| {
        let mut edit = Edit::new();
        change(&mut edit).existing(Existing::Replace);
        fs::write(file.out(), b"what was there").unwrap();
        let message = edit.write(&file.path, file.out()).unwrap_err().to_string();
        assert_eq!(fs::read(file.out()).unwrap(), b"what was there", "{message}");
        fs::remove_file(file.out()).unwrap();
        assert_eq!(edit.in_place(&file.path).unwrap_err().to_string(), message);
        assert!(file.bytes() == original && file.is_alone(), "{message}");
        message
    };
    let cases: [(Change, &str); 29] = [
        (|edit| edit.remove_tensor("no"), "there is no tensor 'no'"),
        (
            |edit| edit.remove_tensor("blk.0").rename_tensor("blk.0", "b"),
            "tensor 'blk.0' is to be renamed and to be removed",
        ),
        (|edit| edit.remove("no"), "the metadata has no key 'no'"),
        (|edit| edit.rename_key("no", "yes"), "the metadata has no key 'no'"),
        (|edit| edit.rename_tensor("no", "yes"), "there is no tensor 'no'"),
        (|edit| edit.rename_key("key.0", "key.1"), "key 'key.0' cannot become 'key.1', which is another"),
        (|edit| edit.rename_tensor("blk.0", "blk.1"), "tensor 'blk.0' cannot become 'blk.1', which is"),
        (|edit| edit.rename_key("key.0", "n").rename_key("key.1", "n"), "key 'key.1' cannot become 'n'"),
        (|edit| edit.rename_key("key.0", "a").rename_key("key.0", "b"), "is to be renamed twice"),
        (|edit| edit.rename_key("key.0", "a").remove("key.0"), "is to be renamed and to be removed"),
        (|edit| edit.set("key.0", 1u8).remove("key.0"), "is to be set and to be removed"),
        (|edit| edit.add("k", 1u8).add("k", 2u8), "key 'k' is to be set twice"),
        (|edit| edit.add("", 1u8), "key is empty"),
        (|edit| edit.add("general.alignment", 48u32), "must be a u32 that is a power of two"),
        (|edit| edit.rename_tensor("blk.0", "n".repeat(64)), "cannot get a name of 64 bytes"),
        (
            |edit| edit.set("key.1", 256),
            "key 'key.1' is of type u8: 256 (i32) is out of the range of u8, 0 to 255",
        ),
        (|edit| edit.set("key.1", "2"), "key 'key.1' is of type u8: \"2\" (string) cannot become u8"),
        (|edit| edit.set_text("key.1", "u8:2"), "key 'key.1' is of type u8: 'u8:2' is not a whole number"),
        (|edit| edit.set("key.2", 1u8), "the metadata has no key 'key.2'; is it 'key.0' or 'key.1'?"),
        (|edit| edit.replace("key.2", 1u8), "no key 'key.2'"),
        (|edit| edit.retype("key.2", ValueType::U8), "no key 'key.2'"),
        (|edit| edit.rename_tensor("blk.00", "b"), "there is no tensor 'blk.00'; is it 'blk.0'"),
        (|edit| edit.add("key.0", 1u8), "key 'key.0' is there already: 1 (u8)"),
        (|edit| edit.retype("key.0", ValueType::Bool), "1 (u8) cannot become bool"),
        (|edit| edit.set_element("key.0", 0, 1u8), "it has no elements"),
        (|edit| edit.add("general.alignment", 131_072u32), "at most 65536 be read again"),
        (|edit| edit.add("deep", deep(5)), "more than 4 levels deep"),
        (|edit| edit.add("split.count", 2u16), "one of several"),
        (|edit| edit.rename_key("key.0", "split.no"), "one of several"),
    ];
    for (change, message) in cases {
        let found = refused(change);
        assert!(found.contains(message), "{found}, not {message}");
    }
}

#[test]
fn names_can_be_exchanged_and_taken_over() {
    let original = model(&[Value::U8(1), Value::U8(2), Value::U8(3)], &[1, 2], None, ByteOrder::Little, true);
    let mut edit = Edit::new();
    edit.rename_key("key.0", "key.1").rename_key("key.1", "key.0").rename_tensor("blk.0", "blk.1");
    edit.rename_tensor("blk.1", "blk.0").remove("key.2").set("key.0", 9u8);
    let edited = File::new(&original).edited(&edit).unwrap();
    assert_eq!(pairs(&edited), [("key.1".into(), Value::U8(1)), ("key.0".into(), Value::U8(9))]);
    let names: Vec<_> = tensors(&edited).into_iter().map(|(name, _, dims, _)| (name, dims[0])).collect();
    assert_eq!(names, [("blk.1".into(), 1), ("blk.0".into(), 2)]);
    let mut edit = Edit::new();
    edit.remove("key.1").rename_key("key.0", "key.1");
    let edited = File::new(&original).edited(&edit).unwrap();
    assert_eq!(pairs(&edited), [("key.1".into(), Value::U8(1)), ("key.2".into(), Value::U8(3))]);
}

#[test]
fn a_tensor_is_left_out_wherever_it_stands() {
    let original = model(&[Value::U8(1)], &[40, 3, 7], None, ByteOrder::Big, true);
    let all = tensors(&original);
    for removed in [&[0][..], &[1], &[2], &[0, 2], &[0, 1, 2]] {
        let mut edit = Edit::new();
        for &at in removed {
            edit.remove_tensor(all[at].0.as_str());
        }
        let file = File::new(&original);
        let edited = file.edited(&edit).unwrap();
        let left: Vec<_> = (0..3).filter(|at| !removed.contains(at)).map(|at| all[at].clone()).collect();
        assert_eq!(tensors(&edited), left, "{removed:?}");
        assert_eq!(pairs(&edited), pairs(&original));
        // In place, it is the same file.
        edit.in_place(&file.path).unwrap();
        assert!(file.bytes() == edited && file.is_alone(), "{removed:?}");
    }
    // A name that has become free can be reused.
    let mut edit = Edit::new();
    edit.remove_tensor(all[0].0.as_str()).rename_tensor(all[1].0.as_str(), all[0].0.as_str());
    let names: Vec<_> =
        tensors(&File::new(&original).edited(&edit).unwrap()).into_iter().map(|tensor| tensor.0).collect();
    assert_eq!(names, [all[0].0.as_str(), all[2].0.as_str()]);
}

#[test]
fn a_file_that_is_cut_short_is_named_as_such() {
    let raw = Raw::new((3, false), 1, 1).key("k", U32).u32(1).tensor("t", &[64], 0, 0).pad(32).zeros(100);
    let file = File::new(&raw.bytes);
    let mut edit = Edit::new();
    edit.set("k", 2u32);
    for error in [edit.in_place(&file.path), edit.write(&file.path, file.out())] {
        let error = error.unwrap_err().to_string();
        assert!(error.contains("tensor 0 't': the tensor's data ends at byte"), "{error}");
    }
    assert!(file.bytes() == raw.bytes && file.is_alone());
}

#[test]
fn it_stops_when_it_is_told_to() {
    let original = model(&[Value::U8(1)], &[4000], None, ByteOrder::Little, true);
    let file = File::new(&original);
    let mut edit = Edit::new();
    edit.add("added", "x".repeat(100));
    for result in [
        edit.write_with(&file.path, file.out(), |_, _| ControlFlow::Break(())),
        edit.in_place_with(&file.path, |_, _| ControlFlow::Break(())),
    ] {
        assert!(matches!(result, Err(Error::Interrupted)), "{result:?}");
        assert!(file.bytes() == original && file.is_alone());
    }
}

/// The leftovers of an interrupted edit: `file/journal` tests which step leaves what.
#[test]
fn an_edit_that_was_cut_off_stops_every_other_until_its_record_is_there() {
    let original = model(&[Value::U8(1)], &[4], None, ByteOrder::Little, true);
    let half = [&b"\xc7EDITING0123456789abcdef"[..], &original[24..]].concat();
    let file = File::new(&half);
    let edit = Edit::new();
    for result in [
        edit.write(&file.path, file.out()).map(drop),
        edit.in_place(&file.path).map(drop),
        Edit::recover(&file.path).map(drop),
    ] {
        let message = result.unwrap_err().to_string();
        assert!(message.contains("'.*.30313233343536373839616263646566.undo'"), "{message}");
    }
    assert!(file.bytes() == half && file.is_alone());
    // A record next to a complete file has no effect, whatever it contains.
    fs::write(&file.path, &original).unwrap();
    for name in [".model.gguf.undo", ".model.gguf.30313233343536373839616263646566.undo"] {
        fs::create_dir(file.folder.path().join(name)).unwrap();
    }
    assert!(!Edit::recover(&file.path).unwrap());
    edit.in_place(&file.path).unwrap();
    assert!(file.bytes() == original);
}
