//! A file that can be read is written again with the bytes that `docs/format.md` promises, and is unchanged
//! after conversion to the other byte order and back.
#![no_main]

use gguf_codec::{ByteOrder, Gguf, Result, Writer};
use libfuzzer_sys::fuzz_target;

fn copy(file: &[u8], order: Option<ByteOrder>) -> Result<Vec<u8>> {
    let model = Gguf::parse(file)?;
    let mut writer = Writer::new(Vec::new());
    writer.copy_header_from(&model)?;
    writer.set_byte_order(order.unwrap_or(model.byte_order()));
    let len = writer.file_len()?;
    let mut data = writer.write_header()?;
    for tensor in model.tensors() {
        data.copy_tensor(&tensor.tensor()?)?;
    }
    let copy = data.finish()?;
    assert_eq!(copy.len() as u64, len);
    Ok(copy)
}

/// The expected copy of a file of version 2 or 3, by the list of exceptions in `docs/format.md`.
fn promised(file: &[u8]) -> Vec<u8> {
    let model = Gguf::parse(file).unwrap();
    let alignment = model.alignment() as usize;
    let mut bytes = file[..model.header_len() as usize].to_vec();
    for tensor in model.tensors() {
        bytes.resize(bytes.len().next_multiple_of(alignment), 0);
        bytes.extend(tensor.tensor().unwrap().bytes().unwrap());
    }
    let end = bytes.len();
    let zeros = file[end..].iter().take(end.next_multiple_of(alignment) - end).take_while(|&&byte| byte == 0);
    bytes.resize(end + zeros.count(), 0);
    bytes
}

fuzz_target!(|data: &[u8]| {
    let Ok(model) = Gguf::parse(data) else { return };
    let written = copy(data, None).unwrap();
    if model.version() > 1 {
        assert!(written == promised(data), "written {written:?}");
    }
    let rewritten = Gguf::parse(&written).unwrap();
    assert!(rewritten.version() == model.version().max(2) || rewritten.version() == 3);
    assert_eq!(format!("{:?}", model.metadata()), format!("{:?}", rewritten.metadata()));
    for (before, after) in model.tensors().zip(rewritten.tensors()) {
        assert_eq!(format!("{before:?}"), format!("{after:?}"));
    }
    assert!(copy(&written, None).unwrap() == written);

    let (here, there) = match model.byte_order() {
        ByteOrder::Little => (ByteOrder::Little, ByteOrder::Big),
        ByteOrder::Big => (ByteOrder::Big, ByteOrder::Little),
    };
    let turned = copy(&written, Some(there)).unwrap();
    let turned_model = Gguf::parse(&turned).unwrap();
    assert_eq!(turned_model.byte_order(), there);
    assert_eq!(format!("{:?}", model.metadata()), format!("{:?}", turned_model.metadata()));
    assert!(copy(&turned, Some(here)).unwrap() == written);
});
