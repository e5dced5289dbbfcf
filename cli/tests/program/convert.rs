//! `convert`: the converted file, and the file that was at OUT before.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use gguf_codec::model::FileType;
use gguf_codec::{ByteOrder, GgmlType, Gguf, quantize};

use crate::common::raw::{Raw, U32};
use crate::common::{layout, say};
use crate::support::*;

#[test]
fn every_type_that_models_are_made_of_can_be_converted_to() {
    let folder = Folder::new();
    let input = folder
        .file("in.gguf", model(ByteOrder::Little, &[("w", &[256, 2], GgmlType::F32, &floats(&wave(512)))]));
    let out = folder.path("out.gguf");
    let is_target =
        |ty: &GgmlType| ty.can_quantize() && !ty.needs_importance() && FileType::mostly(*ty).is_some();
    for ty in GgmlType::ALL.iter().copied().filter(is_target) {
        let summary = works("convert", &[&input, &out, "--type", &ty.name().to_lowercase()]);
        let wanted =
            if ty == GgmlType::F32 { "0 tensors became F32; general.file_type" } else { "1 tensor became" };
        assert!(summary.contains(wanted), "{summary}");
        let file = fs::read(&out).unwrap();
        let model = Gguf::parse(&file).unwrap();
        assert_eq!(model.tensor("w").unwrap().ggml_type(), ty);
        assert_eq!(model.metadata().contains("general.file_type"), ty != GgmlType::F32);
    }
}

#[test]
fn values_beyond_a_types_range_are_an_error_that_names_the_tensors() {
    let folder = Folder::new();
    let mut values = vec![1.0f64; 128];
    values[40] = 1e300;
    let input = folder
        .file("f64.gguf", model(ByteOrder::Little, &[("w", &[64, 2], GgmlType::F64, &doubles(&values))]));
    let out = folder.path("out.gguf");
    assert!(fails("inspect", &["--check", &input]).contains("value 40 of row 0, in F64, is beyond"));
    for ty in ["F32", "F16", "BF16"] {
        let line = folder.conversion_fails(&input, ty);
        assert!(line.starts_with(&format!("tensor 'w': 1 value beyond the range of {ty}")), "{line}");
    }
    let line = folder.conversion_fails(&input, "Q8_0");
    assert!(line.contains("value 40 (row 0, column 40) is inf as an f32"), "{line}");

    // One value was infinite before and does not count, one becomes infinite, and one is just within the range.
    let mut values = vec![1.0f32; 128];
    (values[3], values[70], values[71]) = (f32::NEG_INFINITY, -3e38, 65_504.0);
    let bytes = floats(&values);
    let file = model(
        ByteOrder::Little,
        &[("w", &[64, 2], GgmlType::F32, &bytes), ("z.1", &[64, 1], GgmlType::F32, &bytes[256..])],
    );
    let input = folder.file("f32.gguf", file);
    let line = folder.conversion_fails(&input, "F16");
    assert_eq!(
        line,
        "tensor 'w': 1 value beyond the range of F16, and so in 'z.1' (BF16 and F32 have wider ones)"
    );
    works("convert", &[&input, &out, "--type", "BF16"]);

    values[3] = 0.0;
    let input = folder
        .file("f32.gguf", model(ByteOrder::Little, &[("w", &[64, 2], GgmlType::F32, &floats(&values))]));
    assert_eq!(folder.conversion_fails(&input, "Q4_0"), "tensor 'w': 1 block beyond the range of Q4_0");
}

#[test]
fn the_summary_says_which_tensors_stay() {
    let folder = Folder::new();
    let small = floats(&[1.0; 8]);
    let tensor = |name| (name, &[8][..], GgmlType::F32, &small[..]);
    let tensors =
        ["blk.0.norm", "alone.7", "q*", "q1", "blk.11.norm", "x\u{1}1", "x\u{1}22", "blk.1.norm"].map(tensor);
    let input = folder.file("in.gguf", model(ByteOrder::Little, &tensors));
    let summary = works("convert", &[&input, &folder.path("out.gguf"), "--type", "Q4_0"]);
    let line = summary.lines().find(|line| line.contains("stayed")).unwrap();
    assert_eq!(
        line,
        "  stayed as they were (fewer than two dimensions): blk.*.norm (3), alone.7, q*, q1, x\\u{1}* (2)"
    );
    assert!(summary.contains("0 tensors became Q4_0; general.file_type stays what it was\n"), "{summary}");
}

#[test]
fn a_files_type_changes_only_with_its_tensors() {
    let folder = Folder::new();
    let raw = Raw::new(LITTLE, 1, 1).key("general.file_type", U32).u32(1);
    let input = folder.file("in.gguf", raw.tensor("t", &[8], 0, 0).pad(32).zeros(32).bytes);
    let out = folder.path("out.gguf");
    works("convert", &[&input, &out, "--type", "Q8_0"]);
    assert_eq!(fs::read(&out).unwrap(), fs::read(&input).unwrap());
}

#[test]
fn pieces_join_to_what_the_whole_would_be_in_both_byte_orders() {
    let folder = Folder::new();
    // More values than are converted at a time, in rows that do not end at the same places.
    let (row, rows) = (96 * 7, 2000);
    let values = wave(row * rows);
    let little = floats(&values);
    let mut big = little.clone();
    layout::swap(GgmlType::F32, &mut big);
    let out = folder.path("out.gguf");
    for ty in [GgmlType::Q4_1, GgmlType::F16, GgmlType::Q8_0] {
        let mut wanted = vec![0; values.len() / ty.block_len() * ty.block_bytes()];
        quantize(ty, &values, row, None, &mut wanted).unwrap();
        for (order, bytes) in [(ByteOrder::Little, &little), (ByteOrder::Big, &big)] {
            let dims = [row as u64, rows as u64];
            // The copied tensor is longer than a copied piece, and ends in the middle of one.
            let file = model(
                order,
                &[("kept", &[(row * rows) as u64], GgmlType::F32, bytes), ("w", &dims, GgmlType::F32, bytes)],
            );
            works("convert", &[&folder.file("in.gguf", file), &out, "--type", ty.name()]);
            let file = fs::read(&out).unwrap();
            let model = Gguf::parse(&file).unwrap();
            assert_eq!(model.byte_order(), order);
            assert!(model.tensor("kept").unwrap().bytes().unwrap() == &bytes[..], "{ty} {order:?}");
            let mut got = model.tensor("w").unwrap().bytes().unwrap().to_vec();
            if order == ByteOrder::Big {
                layout::swap(ty, &mut got);
            }
            assert!(got == wanted, "{ty} {order:?}");
        }
    }
}

#[test]
fn memory_does_not_grow_with_a_rows_length() {
    if !cfg!(target_os = "linux") {
        say("left out: the memory of convert is measured in /proc, which is Linux's");
        return;
    }
    let folder = Folder::new();
    // Rows of 64 MiB: one to copy and two to convert.
    let row = 1u64 << 24;
    let raw = Raw::new(LITTLE, 2, 0).tensor("kept", &[row], 0, 0).tensor("w", &[row, 2], 0, 4 * row);
    let input = sparse(&folder, "sparse.gguf", raw, 3 * 4 * row);
    let mut command = gguf("convert");
    command.args([&input, &folder.path("out.gguf"), "--type", "Q4_0"]).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let (mut most, mut seen) = (0, 0);
    let exit = loop {
        if let Some(exit) = child.try_wait().unwrap() {
            break exit;
        }
        let status = fs::read_to_string(&status).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        if let Some(kilobytes) = line.and_then(|line| line.trim().strip_suffix(" kB")) {
            most = most.max(kilobytes.parse::<u64>().unwrap());
            seen += 1;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    assert!(exit.success());
    assert!(seen > 10, "seen only {seen} times");
    assert!(most < 40 << 10, "{most} kB");
}

#[test]
fn a_dry_run_says_what_would_become_of_the_tensors() {
    let folder = Folder::new();
    let out = folder.path("out.gguf");
    let text = works("convert", &[SAMPLE, &out, "--type", "Q8_0", "--allow-requantize", "--dry-run"]);
    assert!(
        text.contains("tensors would become Q8_0\n")
            && !folder.names().iter().any(|name| name.ends_with("out.gguf")),
        "{text}"
    );
    let done = works("convert", &[SAMPLE, &out, "--type", "Q8_0", "--allow-requantize"]);
    let table = |text: &str| {
        text.lines().filter(|line| line.starts_with("  ")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(table(&text), table(&done));
    let bytes = fs::metadata(&out).unwrap().len();
    let grouped = format!("({},{:03} bytes)", bytes / 1000, bytes % 1000);
    assert!(text.contains(&grouped) && done.contains(&grouped), "{text}{done}");
    let line = fails("convert", &[SAMPLE, &out, "--type", "q4_k_m"]);
    assert!(
        line.contains(
            "Q4_K_M is a recipe, which chooses a type for each tensor: gguf quantize IN OUT --recipe Q4_K_M"
        ),
        "{line}"
    );
    assert!(fails("convert", &[SAMPLE, &out, "--type", "Q9"]).contains("possible values: F32, F16"));
}

#[test]
fn what_is_quantized_is_quantized_again_only_when_asked() {
    let folder = Folder::new();
    let out = folder.path("out.gguf");
    for dry_run in [&[][..], &["--dry-run"]] {
        let line = fails("convert", &[&[SAMPLE, &out, "--type", "Q4_K"], dry_run].concat());
        assert!(
            line.contains("already, and quantizing it again to Q4_K")
                && line.ends_with("with --allow-requantize it is done"),
            "{line}"
        );
    }
    // Converting it to floats needs no permission, and the error is measured on request.
    let text = works("convert", &[SAMPLE, &out, "--type", "F32", "--report"]);
    assert!(text.lines().any(|line| line.starts_with(" all ") && line.ends_with("1.000000")), "{text}");
    works("convert", &[SAMPLE, &folder.path("again.gguf"), "--type", "Q4_0", "--allow-requantize"]);
}
