//! The memory bound: opening takes less than ten times the header's size, whatever the header claims.

#![cfg(feature = "codecs")]
#![cfg(feature = "std")]

mod common;

use common::counting::{Counting, measure};
use common::raw::*;
use gguf_codec::{Gguf, Limits};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes allocated at one time.
fn peak<T>(work: impl FnOnce() -> T) -> usize {
    measure(work).1.peak
}

/// The most that opening allocated in any way, for each byte of the file.
fn factor(name: &str, bytes: &[u8], limits: Limits) -> f64 {
    let mut options = Gguf::options();
    options.limits(limits);
    let parsed = peak(|| options.parse(bytes));
    let read = peak(|| options.read_header(bytes));
    let factor = parsed.max(read) as f64 / bytes.len() as f64;
    println!("{name}: {} bytes, parse {parsed}, read_header {read}: {factor:.2} times", bytes.len());
    factor
}

/// A different three-byte name for each number below 357,911.
fn name(i: usize) -> [u8; 3] {
    [i % 71, i / 71 % 71, i / 71 / 71].map(|digit| digit as u8 + b'0')
}

#[test]
fn opening_takes_less_than_ten_times_the_header() {
    let v1 = (1, false);
    for limits in [Limits::default(), ANY] {
        // Minimum-size entries, in numbers at and around the steps at which lists grow.
        for count in [1, 2, 5, 9, 100, 1000, 1500, 4096, 4097, 20_000, 100_000] {
            let keys = (0..count).fold(Raw::new(v1, 0, count as u64), |raw, i| raw.key(name(i), U8).u8(0));
            assert!(factor("keys", &keys.bytes, limits) < 10.0);
            let same = (0..count).fold(Raw::new(v1, 0, count as u64), |raw, _| raw.key("k", U8).u8(0));
            assert!(factor("the same key", &same.bytes, limits) < 10.0);
            let tensors = (0..count)
                .fold(Raw::new(v1, count as u64, 0), |raw, i| raw.tensor(name(i), &[], 24, 32 * i as u64));
            assert!(factor("tensors", &tensors.bytes, limits) < 10.0);
            let nameless =
                (0..count).fold(Raw::new(v1, count as u64, 0), |raw, _| raw.tensor("", &[], 24, 0));
            assert!(factor("nameless", &nameless.bytes, limits) < 10.0);
        }
        // Claims without data.
        for format in FORMATS {
            let most = if format.0 == 1 { u32::MAX.into() } else { u64::MAX };
            for count in [1 << 20, 1 << 30, most] {
                assert!(factor("key count", &Raw::new(format, 0, count).bytes, limits) < 10.0);
                assert!(factor("tensor count", &Raw::new(format, count, 0).bytes, limits) < 10.0);
                for element in 0..13 {
                    let array = Raw::new(format, 0, 1).array("k", element, count);
                    assert!(factor("array", &array.bytes, limits) < 10.0);
                }
                if format.0 > 1 {
                    let string = Raw::new(format, 0, 1).key("k", STRING).len(count);
                    assert!(factor("string", &string.bytes, limits) < 10.0);
                }
            }
            let nested =
                (0..1000).fold(Raw::new(format, 0, 1).key("k", ARRAY), |raw, _| raw.u32(ARRAY).len(1));
            assert!(factor("nested", &nested.bytes, limits) < 10.0);
            assert!(factor("everything", &everything(format).bytes, limits) < 10.0);
        }
    }
    // With tensor data after the header, its claims seem to be met; still, only what was read is remembered.
    for (tensors, keys) in [(0, 1 << 20), (1 << 20, 0)] {
        let raw = Raw::new((3, false), tensors, keys).zeros(40 << 20);
        assert!(peak(|| Gguf::parse(&raw.bytes).unwrap_err()) < 1000);
    }
    // Elements and strings take no memory.
    let mut raw = Raw::new((3, false), 0, 1).array("tokens", STRING, 100_000);
    for i in 0..100_000 {
        raw = raw.string(name(i));
    }
    assert!(peak(|| Gguf::parse(&raw.bytes)) < 1000);
}
