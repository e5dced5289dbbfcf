//! Files made by hand; all ways of reading must agree on them.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

use gguf_codec::{Error, Gguf, HeaderParser, HeaderProgress, Limits, Place, Problem, Result};

pub(crate) use super::builder::*;

/// Limited only by the largest numbers that can be counted.
pub(crate) const ANY: Limits = Limits {
    max_header_bytes: u64::MAX,
    max_keys: u64::MAX,
    max_tensors: u64::MAX,
    max_string_bytes: u64::MAX,
    max_array_len: u64::MAX,
    max_array_depth: u32::MAX,
    max_alignment: u32::MAX,
};

impl Raw {
    /// Parses, and checks that all ways of reading agree.
    pub(crate) fn ok(&self) -> Gguf<&[u8]> {
        agree(&self.bytes, Limits::default())
            .unwrap_or_else(|error| panic!("{error} ({} {})", self.version, self.big));
        self.parse().unwrap_or_else(|error| panic!("{error} ({} {})", self.version, self.big))
    }

    /// Fails to parse, in all ways of reading, with this problem at this byte. Returns the place.
    #[track_caller]
    pub(crate) fn fails(&self, at: u64, wanted: Problem) -> Place {
        let format = (self.version, self.big);
        assert!(agree(&self.bytes, Limits::default()).is_err(), "{wanted} {format:?}");
        self.data_fails(at, wanted)
    }

    /// As [`fails`](Self::fails), for problems that the header alone does not show.
    #[track_caller]
    pub(crate) fn data_fails(&self, at: u64, wanted: Problem) -> Place {
        match self.parse() {
            Err(Error::Malformed { offset, place, problem, .. }) => {
                assert_eq!((offset, problem), (at, wanted), "{:?}", (self.version, self.big));
                place
            }
            other => panic!("expected '{wanted}', got {other:?}"),
        }
    }

    /// Exceeds a limit, in all ways of reading. Returns offset, quantity and limit.
    #[track_caller]
    pub(crate) fn exceeds(&self, limits: Limits) -> (u64, u64, u64) {
        agree(&self.bytes, limits).expect_err("a limit");
        match Gguf::options().limits(limits).parse(&self.bytes) {
            Err(Error::Limit { offset, found, limit, .. }) => (offset, found, limit),
            other => panic!("expected a limit, got {other:?}"),
        }
    }
}

/// Runs a test for each version and byte order.
pub(crate) fn every_format(test: impl Fn((u32, bool))) {
    FORMATS.into_iter().for_each(test);
}

/// Reads a header in every way, and checks that the outcome is the same: either everything that can be
/// read from it, or the error in every field. Returns it with the header's length.
pub(crate) fn agree(bytes: &[u8], limits: Limits) -> std::result::Result<(String, u64), String> {
    let whole = outcome(HeaderParser::new(limits).finish(bytes));

    for piece in [1, 7] {
        let (mut at, mut parser) = (0, HeaderParser::new(limits));
        let in_pieces = loop {
            match parser.advance(&bytes[..at]) {
                Ok(HeaderProgress::NeedMore(_)) if at < bytes.len() => at = bytes.len().min(at + piece),
                Ok(_) => break outcome(parser.finish(&bytes[..at])),
                Err(error) => break Err(fields(&error)),
            }
        };
        assert_eq!(whole, in_pieces, "whole and in pieces of {piece}");
        if let (Ok((_, header_len)), 1) = (&whole, piece) {
            assert_eq!(at as u64, *header_len, "no byte too many was asked for");
        }
    }

    #[cfg(feature = "std")]
    {
        let mut reader = Trickle { bytes, at: 0, step: 0 };
        let read = outcome(Gguf::options().limits(limits).read_header(&mut reader));
        assert_eq!(whole, read, "whole and read");
        if let Ok((_, header_len)) = whole {
            assert_eq!(reader.at as u64, header_len, "the reader stops at the header's end");
        }
    }

    let parsed = Gguf::options().limits(limits).parse(bytes);
    #[cfg(feature = "std")]
    {
        // When a file is read at an offset, its contents and errors are the same.
        let opened = Gguf::options().limits(limits).read_at(bytes.to_vec(), bytes.len() as u64);
        match (&opened, &parsed) {
            (Ok(opened), Ok(parsed)) => {
                assert_eq!(opened.trailing(), parsed.trailing());
                assert_eq!(opened.is_joined(), parsed.is_joined());
                assert_eq!(opened.has_final_padding(), parsed.has_final_padding());
                for (opened, parsed) in opened.tensors().zip(parsed.tensors()) {
                    let [opened, parsed] = [opened, parsed].map(|info| info.tensor().unwrap());
                    assert!(opened.bytes().unwrap() == parsed.bytes().unwrap(), "{}", opened.name());
                }
            }
            (Err(opened), Err(parsed)) => assert_eq!(fields(opened), fields(parsed)),
            _ => panic!("opened: {opened:?}, and parsed: {parsed:?}"),
        }
    }
    match parsed {
        // The rules that only a whole file can break.
        Err(Error::Malformed { problem: Problem::DataBeyondEnd { .. }, .. })
        | Err(Error::Malformed { place: Place::Padding, .. })
            if whole.is_ok() => {}
        parsed => assert_eq!(outcome(parsed), whole, "parsed and whole"),
    }
    whole
}

/// An error with all its fields.
fn fields(error: &Error) -> String {
    match error {
        Error::Malformed { offset, place, problem, .. } => format!("{error}: {offset} {place:?} {problem:?}"),
        Error::Limit { offset, place, what, found, limit, .. } => {
            format!("{error}: {offset} {place:?} {what} {found} {limit}")
        }
        error => format!("{error:?}"),
    }
}

/// Only the header.
pub(crate) fn header_of<B: AsRef<[u8]>>(bytes: B) -> Result<Gguf<B>> {
    HeaderParser::new(Limits::default()).finish(bytes)
}

fn outcome<B: AsRef<[u8]>>(result: Result<Gguf<B>>) -> std::result::Result<(String, u64), String> {
    let gguf = result.map_err(|error| fields(&error))?;
    let owned: Vec<_> = gguf.metadata().iter().map(|(key, value)| (key, value.to_owned())).collect();
    let tensors: Vec<_> = gguf.tensors().collect();
    for info in &tensors {
        assert_eq!(gguf.tensor_info(info.name()).unwrap().offset(), info.offset());
    }
    for (key, value) in gguf.metadata() {
        assert!(gguf.metadata().contains(key));
        assert_eq!(gguf.metadata().get(key).unwrap().value_type(), value.value_type());
    }
    Ok((format!("{gguf:?} {owned:?} {tensors:?}"), gguf.header_len()))
}

/// Returns one byte, three, two, an interruption, and so on.
pub(crate) struct Trickle<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) at: usize,
    pub(crate) step: usize,
}

impl std::io::Read for Trickle<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.step += 1;
        if self.step.is_multiple_of(4) {
            return Err(std::io::ErrorKind::Interrupted.into());
        }
        let count = (self.step * 2 % 5 + 1).min(into.len()).min(self.bytes.len() - self.at);
        into[..count].copy_from_slice(&self.bytes[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// A file with one of everything: each value type, arrays, nested arrays, tensors.
pub(crate) fn everything(format: (u32, bool)) -> Raw {
    Raw::new(format, 3, 17)
        .key("u8", U8)
        .u8(255)
        .key("i8", I8)
        .u8(0x80)
        .key("u16", U16)
        .u16(65535)
        .key("i16", I16)
        .u16(0x8000)
        .key("u32", U32)
        .u32(u32::MAX)
        .key("i32", I32)
        .u32(1 << 31)
        .key("f32", F32)
        .f32(0.1)
        .key("yes", BOOL)
        .u8(1)
        .key("no", BOOL)
        .u8(0)
        .key("string", STRING)
        .string("h\u{e9}llo")
        .key("bytes", STRING)
        .string([0xff, 0, 0xfe])
        .key("u64", U64)
        .u64(u64::MAX)
        .key("i64", I64)
        .u64(1 << 63)
        .key("f64", F64)
        .f64(0.1)
        .array("numbers", U16, 3)
        .u16(1)
        .u16(2)
        .u16(3)
        .array("strings", STRING, 3)
        .string("a")
        .string("")
        .string("ccc")
        .array("nested", ARRAY, 3)
        .u32(BOOL)
        .len(2)
        .u8(1)
        .u8(0)
        .u32(STRING)
        .len(1)
        .string("deep")
        .u32(ARRAY)
        .len(2)
        .u32(U8)
        .len(0)
        .u32(I8)
        .len(1)
        .u8(0xff)
        .tensor("token_embd.weight", &[32, 2], 8, 0)
        .tensor("norm", &[5], 0, 96)
        .tensor("empty", &[0, 7], 1, 128)
        .pad(32)
        .zeros(128)
}
