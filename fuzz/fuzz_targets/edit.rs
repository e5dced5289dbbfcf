//! Editing a file in place gives the same result as editing into another file, or both fail. The input is unchanged, nothing is
//! left behind, and tensors keep their bytes.
#![no_main]

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use common::Rng;
use gguf_codec::model::Edit;
use gguf_codec::{ByteOrder, Gguf, Value};
use libfuzzer_sys::fuzz_target;

/// The folder of this process, below TMPDIR.
fn folder() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("fuzz-edit-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    })
}

fn model<B: AsRef<[u8]>>(bytes: B) -> Gguf<B> {
    Gguf::options().foreign_tensors(true).parse(bytes).unwrap()
}

/// The bytes of every tensor that can be read, in the file's byte order.
fn tensors(model: &Gguf<&[u8]>) -> Vec<(String, String, Vec<u8>)> {
    let tensor = |info: gguf_codec::TensorInfo<'_>| {
        let described = format!("{} {}", info.ggml_type(), info.shape());
        (info.name().to_owned(), described, info.tensor().unwrap().bytes().unwrap().to_vec())
    };
    model.tensors().map(tensor).collect()
}

fuzz_target!(|data: &[u8]| {
    let Ok(before) = Gguf::options().foreign_tensors(true).parse(data) else { return };
    let mut rng = Rng::new(data);
    let mut keys: Vec<String> = before.metadata().iter().map(|(key, _)| key.to_owned()).collect();
    let mut names: Vec<String> = before.tensors().map(|tensor| tensor.name().to_owned()).collect();
    let take = |list: &mut Vec<String>, rng: &mut Rng| match list.len() {
        0 => "absent".to_owned(),
        len => list.swap_remove(rng.below(len)),
    };
    let (mut edit, mut renamed, mut removed) = (Edit::new(), HashMap::new(), Vec::new());
    let mut turned = false;
    for _ in 0..=rng.below(4) {
        let len = rng.below(200);
        match rng.below(10) {
            0 => edit.add(format!("new.{len}"), "x".repeat(len)),
            1 => edit.remove(take(&mut keys, &mut rng)),
            2 => edit.rename_key(take(&mut keys, &mut rng), "k".repeat(len % 70)),
            3 => edit.replace(take(&mut keys, &mut rng), Value::U8(len as u8)),
            4 => edit.set(take(&mut keys, &mut rng), len as i32),
            5 => edit.set_element(take(&mut keys, &mut rng), len % 3, "element"),
            6 => edit.replace("general.alignment", 1u32 << (len % 18)),
            7 => {
                let (from, to) = (take(&mut names, &mut rng), "t".repeat(len % 66));
                renamed.insert(from.clone(), to.clone());
                edit.rename_tensor(from, to)
            }
            8 => {
                let name = take(&mut names, &mut rng);
                removed.push(name.clone());
                edit.remove_tensor(name)
            }
            _ => {
                let orders = [ByteOrder::Little, ByteOrder::Big];
                let order = orders[rng.below(2)];
                turned = order != before.byte_order();
                edit.byte_order(order)
            }
        };
    }
    if rng.below(2) == 0 {
        edit.drop_trailing();
    }

    let folder = folder();
    let [input, placed, written] = ["input", "placed", "written"].map(|name| folder.join(name));
    let _ = fs::remove_file(&written);
    fs::write(&input, data).unwrap();
    fs::write(&placed, data).unwrap();
    let (apart, in_place) = (edit.write(&input, &written), edit.in_place(&placed));
    assert!(fs::read(&input).unwrap() == data, "the input changed");
    let names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2 + usize::from(apart.is_ok()), "{names:?}");
    // Bytes after the data are kept if the data does not move, and give an error if it moves.
    let trailing = !before.trailing().is_empty();
    assert!(apart.is_ok() == in_place.is_ok() || trailing, "{apart:?} {in_place:?}");
    if in_place.is_err() {
        assert!(fs::read(&placed).unwrap() == data, "an edit that failed changed the file");
    }
    let (Ok(_), Ok(_)) = (&apart, &in_place) else { return };

    let (written, placed) = (fs::read(&written).unwrap(), fs::read(&placed).unwrap());
    let (written, placed) = (model(&written[..]), model(&placed[..]));
    let header = |model: &Gguf<&[u8]>, bytes: &[u8]| bytes[..model.header_len() as usize].to_vec();
    let (a, b) = (written.into_inner(), placed.into_inner());
    let (written, placed) = (model(a), model(b));
    assert!(header(&written, a) == header(&placed, b), "the headers differ");
    assert!(tensors(&written) == tensors(&placed), "the tensors differ");
    let kept = tensors(&before).into_iter().filter(|(name, ..)| !removed.contains(name));
    let wanted =
        kept.map(|(name, described, bytes)| (renamed.get(&name).cloned().unwrap_or(name), described, bytes));
    if !turned {
        assert!(wanted.eq(tensors(&written)), "tensors are not what they were");
    }
});
