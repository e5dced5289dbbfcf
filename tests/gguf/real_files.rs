//! A real model, read in every way, and written again.

#![cfg(feature = "std")]

use crate::common;
use std::fs::File;
use std::io::{self, Write};

use gguf_codec::{Gguf, Writer};

const SMOLLM2: &str = "GGUF_CODEC_SMOLLM2";

/// Accepts only bytes that equal the file's, as they arrive, so that no second copy is held.
struct Same<'a> {
    left: &'a [u8],
    at: usize,
}

impl Write for Same<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(left) = self.left.strip_prefix(bytes) else {
            let same = bytes.iter().zip(self.left).take_while(|(a, b)| a == b).count();
            return Err(io::Error::other(format!("byte {} differs", self.at + same)));
        };
        (self.left, self.at) = (left, self.at + bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn smollm2_comes_out_as_it_went_in() {
    let Some(path) = common::needs(SMOLLM2, "smollm2_comes_out_as_it_went_in") else { return };
    let file = std::fs::read(path).unwrap();
    let model = Gguf::parse(&file).unwrap();
    let mut writer = Writer::new(Same { left: &file, at: 0 });
    writer.copy_header_from(&model).unwrap();
    assert_eq!(writer.file_len().unwrap(), file.len() as u64);
    let mut data = writer.write_header().unwrap();
    for tensor in model.tensors() {
        data.copy_tensor(&tensor.tensor().unwrap()).unwrap();
    }
    let end = data.finish().unwrap();
    assert_eq!((end.left.len(), end.at), (0, file.len()));
}

#[test]
fn smollm2_is_the_same_however_it_is_read() {
    let Some(path) = common::needs(SMOLLM2, "smollm2_is_the_same_however_it_is_read") else { return };
    let read = Gguf::read(&path).unwrap();
    let header = Gguf::read_header(File::open(&path).unwrap()).unwrap();
    agree(&read, &header);
    let opened = Gguf::open(&path).unwrap();
    agree(&read, &opened);
    for (a, b) in read.tensors().zip(opened.tensors()) {
        let [a, b] = [a, b].map(|info| info.tensor().unwrap().bytes().unwrap());
        assert!(a == b);
    }
}

/// Checks that two headers have the same keys and tensors.
fn agree<A: AsRef<[u8]>, B: AsRef<[u8]>>(a: &Gguf<A>, b: &Gguf<B>) {
    assert_eq!(format!("{a:?}"), format!("{b:?}"));
    assert_eq!((a.header_len(), a.data_offset()), (b.header_len(), b.data_offset()));
    assert!(a.metadata().len() > 20 && a.tensor_count() == 272);
    assert!(a.metadata().iter().eq(b.metadata()));
    for (key, value) in a.metadata() {
        assert!(b.metadata().get(key) == Some(value), "{key}");
    }
    for tensor in a.tensors() {
        let other = b.tensor_info(tensor.name()).unwrap();
        assert_eq!(format!("{tensor:?}"), format!("{other:?}"));
        assert_eq!(
            (tensor.file_offset(), tensor.byte_len()),
            (other.file_offset(), other.byte_len()),
            "{}",
            tensor.name()
        );
    }
}
