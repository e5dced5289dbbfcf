//! Helpers of the fuzz targets: random pieces, and the contents of a file as text.

use std::fmt::Write;
use std::io::{self, ErrorKind, Read};

use gguf_codec::{Error, Gguf, Result, ValueRef};

/// Xorshift, seeded with the input, so that the input alone reproduces a failure and any file can be a seed.
pub struct Rng(u64);

impl Rng {
    pub fn new(data: &[u8]) -> Self {
        let hash = data.iter().fold(0xCBF2_9CE4_8422_2325, |hash: u64, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3)
        });
        Rng(hash | 1)
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end.max(1)
    }
}

/// Returns bytes in pieces of random size, with interruptions.
pub struct ShortReads<'a> {
    pub data: &'a [u8],
    pub rng: Rng,
}

impl Read for ShortReads<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.rng.below(8) == 0 {
            return Err(ErrorKind::Interrupted.into());
        }
        let most = into.len().min(self.data.len());
        let count = if most == 0 { 0 } else { 1 + self.rng.below(most) };
        let (now, later) = self.data.split_at(count);
        into[..count].copy_from_slice(now);
        self.data = later;
        Ok(count)
    }
}

/// The whole contents of a header as text, or the error with all its fields.
pub fn describe<B: AsRef<[u8]>>(result: &Result<Gguf<B>>) -> Result<String, String> {
    let gguf = result.as_ref().map_err(|error| {
        assert!(!error.to_string().is_empty());
        format!("{error:?}")
    })?;
    let mut text = format!("{gguf:?} {} {}\n", gguf.header_len(), gguf.data_offset());
    for (key, value) in gguf.metadata() {
        touch(value);
        writeln!(text, "{key:?} {:?}", value.to_owned()).unwrap();
        assert_eq!(format!("{:?}", gguf.metadata().get(key)), format!("{:?}", Some(value)));
    }
    for info in gguf.tensors() {
        writeln!(text, "{info:?} {} {}", info.file_offset(), info.byte_len()).unwrap();
        assert_eq!(gguf.tensor_info(info.name()).unwrap().offset(), info.offset());
        match info.tensor() {
            Ok(tensor) => {
                assert_eq!(tensor.bytes().unwrap().len() as u64, info.byte_len());
                let all: Vec<f32> = tensor.dequantize().unwrap();
                let rows = tensor.row_chunks(100).map(|rows| rows.dequantize::<f32>().unwrap().len());
                assert_eq!(rows.sum::<usize>(), all.len());
                assert!(tensor.rows(..).unwrap().bytes().unwrap() == tensor.bytes().unwrap());
            }
            Err(error) => assert!(gguf.is_header_only() && matches!(error, Error::HeaderOnly { .. })),
        }
    }
    Ok(text)
}

/// Formats a value and visits each element of an array, in several ways that must agree.
fn touch(value: ValueRef<'_>) {
    assert!(value.to_string().len() < 10_000);
    let _ = (value.get::<u64>(), value.get::<f32>(), value.get::<&str>(), value.get::<bool>());
    if let ValueRef::Array(array) = value {
        assert_eq!(array.iter().len(), array.len());
        let mut count = 0;
        for (index, element) in array.iter().enumerate() {
            assert_eq!(element.value_type().stored_type(), array.element_type());
            if index < 8 || index + 1 == array.len() {
                assert_eq!(format!("{:?}", array.iter().nth(index)), format!("{:?}", Some(element)));
            }
            touch(element);
            count += 1;
        }
        assert_eq!(count, array.len());
        assert_eq!(array.iter_as::<ValueRef<'_>>().filter(Result::is_ok).count(), count);
    }
}
