//! A file that is read and written again without a change is byte-identical, also after conversion to the other byte order and
//! back.

#![cfg(feature = "std")]

use std::io;
use std::path::Path;

use anyhow::Result;
use gguf_codec::blocks::{F32, Q8_0};
use gguf_codec::{ByteOrder, DataWriter, Error, GgmlType, Gguf, ReadAt, Shape, Sink, Tensor, Value, Writer};

fn copy(file: &[u8], order: Option<ByteOrder>) -> Result<Vec<u8>> {
    let model = Gguf::parse(file)?;
    let mut writer = Writer::new(Vec::new());
    writer.copy_header_from(&model)?;
    if let Some(order) = order {
        writer.set_byte_order(order);
    }
    let mut data = writer.write_header()?;
    for tensor in model.tensors() {
        data.copy_tensor(&tensor.tensor()?)?;
    }
    Ok(data.finish()?)
}

#[test]
fn files_of_gguf_py_come_out_as_they_went_in() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/gguf_py");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let file = std::fs::read(&path).unwrap();
        assert!(copy(&file, None).unwrap() == file, "{name}");

        // gguf-py does not swap quantized blocks; all other files must become their counterpart.
        let (other, order) = match name.strip_suffix(".le.gguf") {
            Some(stem) => (format!("{stem}.be.gguf"), ByteOrder::Big),
            None => (name.replace(".be.", ".le."), ByteOrder::Little),
        };
        let swapped = copy(&file, Some(order)).unwrap();
        if !name.starts_with("tensors.") {
            assert!(swapped == std::fs::read(path.with_file_name(other)).unwrap(), "{name}");
        }
        let back = if order == ByteOrder::Big { ByteOrder::Little } else { ByteOrder::Big };
        assert!(copy(&swapped, Some(back)).unwrap() == file, "{name} and back");
        seen += 1;
    }
    assert_eq!(seen, 22);
}

#[test]
fn the_end_of_a_file_is_kept_as_it_is() {
    let mut writer = Writer::new(Vec::new());
    writer.declare_tensor("t", &[3], GgmlType::I8).unwrap();
    writer.set_final_padding(false);
    let mut data = writer.write_header().unwrap();
    data.write_tensor("t", &[1, 2, 3]).unwrap();
    let bare = data.finish().unwrap();
    assert_eq!(bare.len() % 32, 3);
    assert_eq!(copy(&bare, None).unwrap(), bare);

    // Keeps the existing zeros, up to the alignment; drops everything from another byte on.
    let headers_only = Writer::new(Vec::new()).write_header().unwrap().finish().unwrap()[..24].to_vec();
    for (bare, padding) in [(bare, 29), (headers_only, 8)] {
        for zeros in 0..=padding {
            let padded = [&bare[..], &vec![0; zeros]].concat();
            assert!(copy(&padded, None).unwrap() == padded, "{zeros} zeros");
            let followed = [&padded[..], b"\x01\0\0"].concat();
            assert!(copy(&followed, None).unwrap() == padded, "{zeros} zeros and more");
        }
        let padded = [&bare[..], &vec![0; padding]].concat();
        let followed = [&padded[..], &[0; 5]].concat();
        assert!(copy(&followed, None).unwrap() == padded, "more zeros than padding");
    }
}

#[test]
fn padding_before_the_end_becomes_zeros() {
    let mut writer = Writer::new(Vec::new());
    writer.declare_tensor("a", &[3], GgmlType::I8).unwrap().declare_tensor("b", &[1], GgmlType::I8).unwrap();
    let mut data = writer.write_header().unwrap();
    data.write_tensor("a", &[1, 2, 3]).unwrap();
    data.write_tensor("b", &[4]).unwrap();
    let file = data.finish().unwrap();
    let model = Gguf::parse(&file).unwrap();
    let (header_end, data_at) = (model.header_len() as usize, model.data_offset() as usize);
    for at in (header_end..data_at).chain(data_at + 3..data_at + 32) {
        let mut dirty = file.clone();
        dirty[at] = 7;
        assert!(copy(&dirty, None).unwrap() == file, "{at}");
    }
}

#[test]
fn version_1_becomes_version_3() {
    let mut file = b"GGUF\x01\0\0\0\x01\0\0\0\x02\0\0\0".to_vec();
    file.extend(b"\x04\0\0\0name\x08\0\0\0\x02\0\0\0v1");
    file.extend(b"\x03\0\0\0all\x09\0\0\0\x08\0\0\0\x02\0\0\0\x01\0\0\0a\x00\0\0\0");
    file.extend(b"\x01\0\0\0t\x01\0\0\0\x02\0\0\0\x18\0\0\0\0\0\0\0\0\0\0\0");
    file.resize(file.len().next_multiple_of(32), 0);
    file.extend([7, 8]);

    let mut writer = Writer::new(Vec::new());
    let all = Value::from(vec!["a", ""]);
    writer.set_metadata("name", "v1").unwrap().set_metadata("all", all).unwrap();
    writer.declare_tensor("t", &[2], GgmlType::I8).unwrap().set_final_padding(false);
    let mut data = writer.write_header().unwrap();
    data.write_tensor("t", &[7, 8]).unwrap();
    assert_eq!(copy(&file, None).unwrap(), data.finish().unwrap());
}

#[test]
fn a_copied_header_can_be_changed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/gguf_py");
    let file = std::fs::read(folder.join("alignment_64.le.gguf")).unwrap();
    let model = Gguf::parse(&file).unwrap();
    let mut writer = Writer::new(Vec::new());
    writer.copy_header_from(&model).unwrap().set_metadata("after", 3u32).unwrap();
    assert!(writer.remove_metadata("before"));
    writer.set_alignment(8).unwrap();
    let mut data = writer.write_header().unwrap();
    for tensor in model.tensors() {
        data.copy_tensor(&tensor.tensor().unwrap()).unwrap();
    }
    let changed = data.finish().unwrap();
    let changed = Gguf::parse(&changed).unwrap();
    let keys: Vec<_> = changed.metadata().iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["general.architecture", "general.alignment", "after"]);
    assert_eq!((changed.alignment(), changed.metadata().require::<u32>("after").unwrap()), (8, 3));
    for (before, after) in model.tensors().zip(changed.tensors()) {
        assert_eq!(before.tensor().unwrap().bytes().unwrap(), after.tensor().unwrap().bytes().unwrap());
    }

    let mut writer = Writer::new(Vec::new());
    writer.declare_tensor("blk.1.weight", &[1], GgmlType::I8).unwrap();
    let error = writer.copy_header_from(&model).unwrap_err().to_string();
    assert!(error.contains("'blk.1.weight'") && error.contains("declared twice"), "{error}");
}

#[test]
fn blocks_are_written_in_the_byte_order_of_the_file() {
    let bytes: Vec<u8> = (0..34 * 4000).map(|i| (i % 253) as u8).collect();
    let shape = Shape::new(&[32, 4000]).unwrap();
    let tensor = Tensor::new("t", shape, GgmlType::Q8_0, ByteOrder::Little, &bytes).unwrap();
    let blocks = tensor.typed::<Q8_0>().unwrap().blocks();
    for order in [ByteOrder::Little, ByteOrder::Big] {
        let mut writer = Writer::new(Vec::new());
        writer.set_byte_order(order).declare_tensor("t", &[32, 4000], GgmlType::Q8_0).unwrap();
        let mut data = writer.write_header().unwrap();
        let mut writing = data.begin("t").unwrap();
        writing.write_blocks::<Q8_0>(&blocks[..1500]).unwrap();
        writing.write_blocks::<Q8_0>(&blocks[1500..]).unwrap();
        writing.finish().unwrap();
        let file = data.finish().unwrap();
        let mut expected = bytes.clone();
        if order == ByteOrder::Big {
            // The scale is the only multi-byte number.
            expected.chunks_mut(34).for_each(|block| block[..2].reverse());
        }
        let model = Gguf::parse(&file).unwrap();
        assert!(model.tensor("t").unwrap().bytes().unwrap() == expected, "{order:?}");
    }
}

/// Three tensors, the second of which takes several of the pieces that are copied through memory at a time.
const SIZES: [u64; 3] = [1000, (3 << 20) + 77, 5];

fn of_sizes<S: Sink>(mut writer: Writer<S>) -> DataWriter<S> {
    for (name, size) in ["a", "b", "c"].into_iter().zip(SIZES) {
        writer.declare_tensor(name, &[size], GgmlType::I8).unwrap();
    }
    writer.write_header().unwrap()
}

/// Writes the tensors out of `source`, each from two places that are not adjacent.
fn copied<S: Sink>(mut data: DataWriter<S>, source: &dyn ReadAt) -> S::Output {
    for (name, size) in ["a", "b", "c"].into_iter().zip(SIZES) {
        let mut tensor = data.begin(name).unwrap();
        tensor.copy_from(source, 3, size / 3).unwrap();
        assert_eq!(tensor.remaining(), size - size / 3);
        tensor.copy_from(source, 7, size - size / 3).unwrap();
        tensor.finish().unwrap();
    }
    data.finish().unwrap()
}

#[test]
fn data_comes_from_any_place_of_any_source() {
    let source: Vec<u8> = (0..4u32 << 20).map(|i| (i % 251) as u8).collect();
    let mut direct = of_sizes(Writer::new(Vec::new()));
    for (name, size) in ["a", "b", "c"].into_iter().zip(SIZES.map(|size| size as usize)) {
        let (first, rest) = (&source[3..][..size / 3], &source[7..][..size - size / 3]);
        direct.write_tensor(name, &[first, rest].concat()).unwrap();
    }
    let direct = direct.finish().unwrap();
    assert!(copied(of_sizes(Writer::new(Vec::new())), &source) == direct);
    assert!(copied(of_sizes(Writer::new(Vec::new())), &&source[..]) == direct);

    #[cfg(all(any(unix, windows), not(target_family = "wasm")))]
    {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        std::fs::write(&from, &source).unwrap();
        let file = std::fs::File::open(&from).unwrap();
        assert!(copied(of_sizes(Writer::new(Vec::new())), &file) == direct);
        for from in [&file as &dyn ReadAt, &&file, &source] {
            copied(of_sizes(Writer::create(&to).unwrap()), from);
            assert!(std::fs::read(&to).unwrap() == direct);
        }
    }
}

#[test]
fn copies_of_too_much_or_too_little_are_refused_and_named() {
    let source = vec![1; 900];
    let mut data = of_sizes(Writer::new(Vec::new()));
    let error = data.begin("a").unwrap().copy_from(&source, 0, 1001).unwrap_err();
    assert!(matches!(error, Error::Write { .. }), "{error}");
    assert!(error.to_string().contains("'a'"), "{error}");
    data.finish().unwrap_err();

    let mut data = of_sizes(Writer::new(Vec::new()));
    let error = data.begin("a").unwrap().copy_from(&source, 1, 900).unwrap_err().to_string();
    assert!(error.contains("read 900 bytes from byte 1, for tensor 'a'"), "{error}");
    data.finish().unwrap_err();

    // A source that fails by itself is not reported as truncated.
    struct Broken;
    impl ReadAt for Broken {
        fn fill_at(&self, _: &mut [u8], _: u64) -> io::Result<()> {
            Err(io::Error::other("the line is dead"))
        }
    }
    let mut data = of_sizes(Writer::new(Vec::new()));
    let error = format!("{:?}", data.begin("a").unwrap().copy_from(&Broken, 0, 1).unwrap_err());
    assert!(error.contains("the line is dead") && !error.contains("from byte"), "{error}");
}

#[test]
fn blocks_of_another_type_or_within_a_block_are_refused() {
    let begin = || {
        let mut writer = Writer::new(Vec::new());
        writer.declare_tensor("t", &[64], GgmlType::Q8_0).unwrap();
        writer.write_header().unwrap()
    };
    let mut data = begin();
    let error = data.begin("t").unwrap().write_blocks::<F32>(&[]).unwrap_err();
    assert_eq!(error.to_string(), "tensor 't' is Q8_0, not F32");
    data.finish().unwrap_err();

    let mut data = begin();
    let mut tensor = data.begin("t").unwrap();
    tensor.write_bytes(&[0; 33]).unwrap();
    let error = tensor.write_blocks::<Q8_0>(&[]).unwrap_err().to_string();
    assert!(error.contains("'t'") && error.contains("33 bytes within a block of 34"), "{error}");
}

#[test]
fn values_that_blocks_cannot_hold_are_named_by_their_index() {
    let mut writer = Writer::new(Vec::new());
    writer.declare_tensor("t", &[256, 1000], GgmlType::Q4_K).unwrap();
    let mut data = writer.write_header().unwrap();
    let mut values = vec![1.0; 256 * 1000];
    values[200_001] = f32::NAN;
    let error = data.begin("t").unwrap().write_values(&values, None).unwrap_err().to_string();
    assert!(error.contains("'t'") && error.contains("value 200001 is NaN"), "{error}");
    assert!(data.finish().unwrap_err().to_string().contains("'t'"));
}
