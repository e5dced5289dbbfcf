//! Editing and comparing do not hold a model in memory, and editing lets the kernel copy the data.
//!
//! This is the only test of its binary, because it measures the whole process.

#![cfg(feature = "codecs")]
#![cfg(feature = "std")]
#![cfg(target_os = "linux")]

mod common;

use std::fs::{self, File};
use std::ops::ControlFlow;

use common::raw::{Raw, U32};
use gguf_codec::Gguf;
use gguf_codec::model::{Diff, Edit, Edited, Side};

/// Enough data to be visible in the memory figures.
const TENSOR: u64 = 48 << 20;
const MOST: u64 = 40 << 20;

/// A number that the system records for this process.
fn figure(file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/self/{file}")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let number = line.trim_start_matches(':').trim().trim_end_matches(" kB");
    number.parse().unwrap()
}

fn memory() -> u64 {
    figure("status", "RssAnon") << 10
}

#[test]
fn memory_does_not_grow_with_the_model_and_the_kernel_copies() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.gguf"), folder.path().join("out.gguf"));
    // A run of three tensors, the second of which ends in padding.
    let raw = Raw::new((3, false), 3, 1).key("k", U32).u32(1);
    let raw = raw.tensor("a", &[TENSOR], 24, 0).tensor("b", &[TENSOR - 7], 24, TENSOR);
    let raw = raw.tensor("c", &[TENSOR], 24, 2 * TENSOR).pad(32);
    let data = raw.at();
    fs::write(&input, raw.bytes).unwrap();
    let file = File::options().write(true).open(&input).unwrap();
    file.set_len(data + 3 * TENSOR).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"the end", data + 3 * TENSOR - 7).unwrap();

    let before = memory();
    let (mut most, mut steps) = (0, 0);
    let calls = figure("io", "syscr") + figure("io", "syscw");
    let mut edit = Edit::new();
    edit.add("added", "x".repeat(100));
    let edited = edit.write_with(&input, &output, |_, _| {
        most = memory().max(most);
        steps += 1;
        ControlFlow::Continue(())
    });
    let calls = figure("io", "syscr") + figure("io", "syscw") - calls;
    assert!(matches!(edited, Ok(Edited::Written { .. })), "{edited:?}");
    assert!(most - before < MOST && steps > 2, "{most} bytes, {steps} times");
    // Reading and writing in pieces of at most 256 KiB would take more calls.
    assert!(calls < 300, "{calls} calls");

    let (a, b) = (File::open(&input).unwrap(), File::open(&output).unwrap());
    let (model, other) = (Gguf::read_header(&a).unwrap(), Gguf::read_header(&b).unwrap());
    let mut most = 0;
    let diff = Diff::between_with(&Side::of(&model, &a), &Side::of(&other, &b), |_, _| {
        most = memory().max(most);
        ControlFlow::Continue(())
    });
    let diff = diff.unwrap();
    assert_eq!((diff.keys.len(), diff.same_keys, diff.same_tensors), (1, 1, 3));
    assert!(most - before < MOST, "{most} bytes");
    let mut end = [0; 7];
    let last = other.tensor_info("c").unwrap();
    std::os::unix::fs::FileExt::read_exact_at(&b, &mut end, last.file_offset() + TENSOR - 7).unwrap();
    assert_eq!(&end, b"the end");
}
