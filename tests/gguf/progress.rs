//! How much a header parser requests: always as much as the header is sure to have left, and never a byte more.

use crate::common;
use common::raw::*;
use gguf_codec::{HeaderParser, HeaderProgress, Limits};

/// A header, and the offsets at which it shows that it is longer than its minimum so far.
struct Header {
    raw: Raw,
    told: Vec<Told>,
}

struct Told {
    at: u64,
    more: u64,
    /// Whether the field is a count: the parser continues only if all promised entries could be present.
    waits: bool,
}

impl Header {
    /// Continues the header; its last field says that `more` bytes follow beyond the minimum.
    fn tells(mut self, more: u64, raw: impl FnOnce(Raw) -> Raw) -> Self {
        self.raw = raw(self.raw);
        self.told.push(Told { at: self.raw.at(), more, waits: false });
        self
    }

    /// The same for a count.
    fn promises(self, more: u64, raw: impl FnOnce(Raw) -> Raw) -> Self {
        let mut header = self.tells(more, raw);
        header.told.last_mut().unwrap().waits = true;
        header
    }

    fn then(mut self, raw: impl FnOnce(Raw) -> Raw) -> Self {
        self.raw = raw(self.raw);
        self
    }

    /// Counts that imply the minimum number of bytes of pairs and tensors.
    fn new(format: (u32, bool), tensors: u64, keys: u64) -> Self {
        let raw = Raw::new(format, tensors, keys);
        let length = raw.len_bytes();
        // A pair has a key of one byte and a value of one byte; a tensor may have neither a name nor dimensions.
        let (pairs, table) = (keys * (length + 1 + 4 + 1), tensors * (length + 4 + 4 + 8));
        // Before the version is known, counts may have 32 bits.
        let version = Told { at: 8, more: 2 * (length - 4), waits: false };
        Header { raw, told: vec![version] }.promises(pairs, |raw| raw).promises(table, |raw| raw)
    }

    /// A string of which only the length was expected so far.
    fn string(self, text: &str) -> Self {
        self.tells(text.len() as u64, |raw| raw.len(text.len() as u64)).then(|raw| raw.raw(text.as_bytes()))
    }

    /// A key and its value's type; `least` is the minimum size of such a value.
    fn key(self, key: &str, ty: u32, least: u64) -> Self {
        self.tells(key.len() as u64 - 1, |raw| raw.len(key.len() as u64))
            .then(|raw| raw.raw(key.as_bytes()))
            .tells(least - 1, |raw| raw.u32(ty))
    }

    /// An array's element type and number of elements, each of which takes at least `least` bytes.
    fn array(self, ty: u32, count: u64, least: u64) -> Self {
        self.promises(count * least, |raw| raw.u32(ty).len(count))
    }

    fn check(&self) {
        let (bytes, format) = (&self.raw.bytes, (self.raw.version, self.raw.big));
        let mut parser = HeaderParser::new(Limits::default());
        let (mut told, mut sure, mut waits_for) = (self.told.iter().peekable(), 16, 0);
        for shown in 0..bytes.len() as u64 {
            while let Some(now) = told.next_if(|told| told.at.max(waits_for) <= shown) {
                sure += now.more;
                if now.waits {
                    waits_for = sure;
                }
            }
            let progress = parser.advance(&bytes[..shown as usize]).unwrap();
            assert_eq!(progress, HeaderProgress::NeedMore(sure - shown), "{shown} bytes shown, {format:?}");
        }
        assert_eq!(parser.advance(bytes).unwrap(), HeaderProgress::Done, "{format:?}");
    }
}

#[test]
fn a_parser_asks_for_all_that_is_sure_to_come_and_no_more() {
    every_format(|format| {
        let length = Raw::new(format, 0, 0).len_bytes();
        Header::new(format, 0, 0).check();
        // The first string makes the header longer than everything that the counts promise, so every later field is
        // reached before its bytes are available.
        Header::new(format, 3, 6)
            .key("a", STRING, length)
            .string(&"x".repeat(400))
            .key("long", STRING, length)
            .string("hello")
            .key("number", F64, 8)
            .then(|raw| raw.f64(0.5))
            .key("strings", ARRAY, 4 + length)
            .array(STRING, 3, length)
            .string("")
            .string("xy")
            .string("z")
            .key("nested", ARRAY, 4 + length)
            .array(ARRAY, 3, 4 + length)
            .array(U16, 2, 2)
            .then(|raw| raw.u16(1).u16(2))
            .array(STRING, 2, length)
            .string("v")
            .string("")
            .array(ARRAY, 1, 4 + length)
            .array(BOOL, 1, 1)
            .then(|raw| raw.u8(1))
            .key("b", BOOL, 1)
            .then(|raw| raw.u8(0))
            .string("abc")
            .promises(2 * length, |raw| raw.u32(2))
            .then(|raw| raw.len(4).len(1).u32(0).u64(0))
            .string("de")
            .promises(length, |raw| raw.u32(1))
            .then(|raw| raw.len(1).u32(0).u64(32))
            .string("")
            .then(|raw| raw.u32(0).u32(0).u64(64))
            .check();
    });
}
