//! The rules of docs/format.md about where the tensors' data are, one test for each.

use crate::common;
use common::raw::*;
use gguf_codec::{Error, Gguf, Place, Problem};

#[test]
fn rule_13_data_begins_at_the_alignment_from_the_start_of_the_gguf() {
    every_format(|format| {
        let header = Raw::new(format, 1, 0).tensor("t", &[0], 0, 0);
        let len = header.at();
        let padded = header.clone().pad(32);
        assert_ne!(padded.at(), len);
        assert_eq!(padded.ok().data_offset(), padded.at());
        let mut short = padded.clone();
        short.bytes.pop();
        let (needed, remaining) = (padded.at() - len, padded.at() - len - 1);
        let place = short.data_fails(len, Problem::Truncated { what: "padding", needed, remaining });
        assert_eq!(place, Place::Padding);
        // Without tensors, no padding is needed.
        assert_eq!(Raw::new(format, 0, 1).key("k", U8).u8(0).ok().tensor_count(), 0);

        // Inside a larger buffer, at an address that is not a multiple of the alignment.
        let inner = Raw::new(format, 1, 0).tensor("t", &[3], 24, 0).pad(32).raw(&[1, 2, 3]);
        for start in [0, 1, 31, 32, 100] {
            let outer = [vec![0xee; start], inner.bytes.clone(), vec![0xee; 9]].concat();
            let gguf = Gguf::options().offset(start as u64).parse(&outer).unwrap();
            assert_eq!(gguf.tensor("t").unwrap().bytes().unwrap(), [1, 2, 3]);
            assert_eq!(gguf.tensor_info("t").unwrap().file_offset(), gguf.data_offset());
            #[cfg(feature = "std")]
            {
                let read = Gguf::options().offset(start as u64).read_header(&outer[..]).unwrap();
                assert_eq!(read.header_len(), gguf.header_len());
            }
            Gguf::parse(&outer).map(|_| assert_eq!(start, 0)).ok();
        }
        for offset in [inner.at(), inner.at() + 1, u64::MAX] {
            let parsed = Gguf::options().offset(offset).parse(&inner.bytes).unwrap_err().to_string();
            let (len, wanted) = (inner.at(), format!("more than {offset}, where the GGUF is to begin"));
            assert_eq!(parsed, format!("the input, in bytes, is {len} long, and must be {wanted}"));
            #[cfg(feature = "std")]
            {
                let read = Gguf::options().offset(offset).read_header(&inner.bytes[..]);
                assert_eq!(parsed, read.unwrap_err().to_string());
            }
        }
    });
}

#[test]
fn rule_14_offsets_are_the_running_sum() {
    every_format(|format| {
        let raw = |second| {
            let raw = Raw::new(format, 2, 0).tensor("a", &[5], 0, 0).tensor("b", &[1], 0, second);
            raw.pad(32).zeros(68)
        };
        raw(32).ok();
        let offset_at = Raw::new(format, 2, 0).tensor("a", &[5], 0, 0).tensor("b", &[1], 0, 0).at() - 8;
        for found in [0, 20, 31, 33, 64, u64::MAX] {
            let place = raw(found).fails(offset_at, Problem::Offset { found, expected: 32 });
            assert_eq!(place, Place::Tensor { index: 1, name: Some("b".into()) });
        }
        let first = Raw::new(format, 1, 0).tensor("a", &[5], 0, 32);
        first.fails(first.at() - 8, Problem::Offset { found: 32, expected: 0 });
    });
}

#[test]
fn rules_15_to_17_the_end_of_the_file() {
    every_format(|format| {
        let head = Raw::new(format, 2, 0).tensor("a", &[8], 0, 0).tensor("b", &[3], 24, 32);
        let offset_at = head.at() - 8;
        let start = head.clone().pad(32);
        // No final padding, part of it, all of it, and further bytes after it.
        for (count, padded) in [(35, false), (63, false), (64, true), (99, true)] {
            let raw = start.clone().zeros(count);
            let gguf = raw.ok();
            assert_eq!(gguf.tensor("b").unwrap().bytes().unwrap(), [0; 3]);
            assert_eq!(gguf.has_final_padding(), padded, "{count}");
        }
        assert!(!start.clone().zeros(40).u8(1).zeros(60).ok().has_final_padding());
        assert!(start.clone().zeros(64).raw(b"behind").ok().has_final_padding());
        let short = start.clone().zeros(34);
        let place = short.data_fails(
            offset_at,
            Problem::DataBeyondEnd { end: start.at() + 35, file_len: start.at() + 34 },
        );
        assert_eq!(place, Place::Tensor { index: 1, name: Some("b".into()) });
        // The error names the first truncated tensor, not the last.
        let place = start.clone().zeros(31).data_fails(
            Raw::new(format, 1, 0).tensor("a", &[8], 0, 0).at() - 8,
            Problem::DataBeyondEnd { end: start.at() + 32, file_len: start.at() + 31 },
        );
        assert_eq!(place, Place::Tensor { index: 0, name: Some("a".into()) });

        // The header alone does not show it.
        let gguf = header_of(&short.bytes).unwrap();
        assert!(gguf.is_header_only() && gguf.has_final_padding());
        assert!(matches!(gguf.tensor("b"), Err(Error::HeaderOnly { tensor }) if tensor == "b"));
        assert!(matches!(gguf.tensor("c"), Err(Error::MissingTensor { name }) if name == "c"));
        let info = gguf.tensor_info("b").unwrap();
        assert_eq!((info.offset(), info.file_offset(), info.byte_len()), (32, start.at() + 32, 3));
        assert_eq!(info.with_data(&[1, 2, 3]).unwrap().bytes().unwrap(), [1, 2, 3]);
        assert!(matches!(info.with_data(&[1, 2]), Err(Error::Length { found: 2, .. })));

        let bare = Raw::new(format, 0, 1).key("k", U8).u8(0);
        assert!(!bare.ok().has_final_padding());
        assert!(bare.pad(32).ok().has_final_padding());
    });
}
