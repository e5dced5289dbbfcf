//! Edits beside tensors that cannot be read.

use gguf_codec::model::{Edit, Edited};
use gguf_codec::{ByteOrder, Gguf};

use super::File;
use crate::common::raw::{FORMATS, Raw, U32};

/// A model with a tensor of an unknown type in the middle, one of five dimensions, and one with a long name at the end, and its data.
fn foreign(format: (u32, bool), value: u32, long: &str) -> Vec<u8> {
    let raw = Raw::new(format, 4, 1).key("k", U32).u32(value).tensor("plain", &[4], 24, 0);
    let raw = raw.tensor("forked", &[256, 2], 139, 32).tensor("folded", &[1, 2, 1, 2, 1], 24, 32 + 96);
    let raw = raw.tensor(long, &[3], 24, 32 + 96 + 32).pad(32);
    raw.raw(&[1, 2, 3, 4]).pad(32).raw(&[7; 90]).pad(32).raw(&[9; 4]).pad(32).raw(&[5, 6, 7]).bytes
}

#[test]
fn keys_are_edited_beside_tensors_that_cannot_be_read() {
    let long = "n".repeat(127);
    for format in FORMATS.into_iter().filter(|(version, _)| *version > 1) {
        let file = File::new(&foreign(format, 1, &long));
        let mut edit = Edit::new();
        edit.set("k", 2);
        assert_eq!(file.edited(&edit).unwrap(), foreign(format, 2, &long));
        let edited = edit.in_place(&file.path).unwrap();
        assert!(matches!(edited, Edited::Patched { .. }), "{edited:?}");
        assert_eq!(file.bytes(), foreign(format, 2, &long));

        // The data moves in one piece.
        let mut edit = Edit::new();
        edit.rename_tensor(&long, "short").add("more", "x".repeat(100));
        let bytes = file.edited(&edit).unwrap();
        let model = Gguf::options().foreign_tensors(true).parse(&bytes).unwrap();
        assert_eq!(model.tensor("short").unwrap().bytes().unwrap(), [5, 6, 7]);
        assert_eq!(model.tensor("plain").unwrap().bytes().unwrap(), [1, 2, 3, 4]);
        let data = |bytes: &[u8], offset: u64| bytes[usize::try_from(offset).unwrap()..].to_vec();
        let before = Gguf::options().foreign_tensors(true).parse(file.bytes()).unwrap();
        assert_eq!(data(&bytes, model.data_offset()), data(&file.bytes(), before.data_offset()));

        for (what, edit) in [
            ("a tensor cannot be removed", Edit::new().remove_tensor("plain")),
            ("the alignment cannot be changed", Edit::new().add("general.alignment", 64u32)),
            (
                "the byte order cannot be changed",
                Edit::new().byte_order(match format.1 {
                    true => ByteOrder::Little,
                    false => ByteOrder::Big,
                }),
            ),
        ] {
            let error = file.edited(edit).unwrap_err().to_string();
            assert!(error.contains(what) && error.contains("nnnn"), "{error}");
        }
        assert!(file.is_alone());
    }
}
