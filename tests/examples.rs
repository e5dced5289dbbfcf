//! The examples as a user runs them: exit codes, one line for a failure, hostile files, and what conversions leave
//! behind. Cargo builds the examples for `cargo test`, in the folder beside this test's own.

mod common;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::raw::{F32 as F32_VALUE, F64 as F64_VALUE, Raw, U32 as U32_VALUE};
use common::{layout, say};
use gguf_codec::{ByteOrder, FileType, GgmlType, Gguf, Writer, quantize};
use tempfile::TempDir;

/// Longer than any run here takes, and short enough to see that one hangs.
const PATIENCE: Duration = Duration::from_secs(120);

const LITTLE: (u32, bool) = (3, false);

fn example(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join("examples").join(name);
    let path = path.with_extension(std::env::consts::EXE_EXTENSION);
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified());
    let built = modified(&path).unwrap_or_else(|error| {
        panic!("{}: {error}; `cargo test` builds it, or `cargo build --examples`", path.display())
    });
    // Beside it lies what it was built from.
    let sources = fs::read_to_string(path.with_extension("d")).unwrap().replace("\\ ", "\0");
    for source in sources.split_once(": ").map_or("", |(_, sources)| sources).split_whitespace() {
        let source = source.replace('\0', " ");
        let is_older = modified(Path::new(&source)).is_ok_and(|changed| changed <= built);
        assert!(is_older, "{source} was changed since; run `cargo build --examples`");
    }
    Command::new(path)
}

/// Waits for the end, or ends it and fails.
fn finish(mut command: Command) -> Output {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (id, start) = (child.id(), Instant::now());
    std::thread::scope(|scope| {
        let mut pipes = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let out = scope.spawn(move || read(&mut pipes.0));
        let err = scope.spawn(move || read(&mut pipes.1));
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if start.elapsed() > PATIENCE {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("process {id} hangs: {command:?}");
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        Output { status, stdout: out.join().unwrap(), stderr: err.join().unwrap() }
    })
}

fn read(from: &mut impl std::io::Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).unwrap();
    bytes
}

/// What it prints; it must succeed, and say nothing on standard error.
fn works(name: &str, args: &[&str]) -> String {
    let mut command = example(name);
    command.args(args);
    let output = finish(command);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), errors.as_str()), (Some(0), ""), "{name} {args:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The one line on standard error of a run that must fail with exit code 1, without the program's name.
fn fails(name: &str, args: &[&str]) -> String {
    let mut command = example(name);
    command.args(args);
    let output = finish(command);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{name} {args:?}: {errors}");
    assert!(output.stdout.is_empty(), "{name} {args:?}");
    let line = errors.strip_suffix('\n').unwrap_or_else(|| panic!("{name} {args:?}: no line: {errors:?}"));
    assert!(!line.contains(char::is_control), "{name} {args:?}: more than a line: {errors:?}");
    let line = line.strip_prefix(name).and_then(|line| line.strip_prefix(": "));
    line.unwrap_or_else(|| panic!("{name} {args:?}: {errors}")).to_owned()
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Folder(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn names(&self) -> Vec<PathBuf> {
        let mut names: Vec<_> =
            fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        names
    }

    /// Converts, which must fail, leave what was at OUT, and leave nothing else.
    fn conversion_fails(&self, input: &str, ty: &str) -> String {
        let out = self.file("out.gguf", "what was there");
        let before = self.names();
        let line = fails("convert", &[input, &out, "--type", ty]);
        assert_eq!(fs::read(&out).unwrap(), b"what was there", "{line}");
        assert_eq!(self.names(), before, "{line}");
        line
    }
}

/// A file of tensors, each from its bytes in the file's byte order.
fn model(order: ByteOrder, tensors: &[(&str, &[u64], GgmlType, &[u8])]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    writer.byte_order(order);
    for (name, dims, ty, _) in tensors {
        writer.tensor(name, dims, *ty).unwrap();
    }
    let mut data = writer.write_header().unwrap();
    for (name, .., bytes) in tensors {
        data.write_tensor(name, bytes).unwrap();
    }
    data.finish().unwrap()
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn doubles(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn wave(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 31 % 257) as f32 - 128.0) / 100.0).collect()
}

#[test]
fn the_sample_is_shown_without_an_argument() {
    let text = works("inspect", &[]);
    assert!(text.contains("the sample model: GGUF version 3") && text.contains("20 tensors"), "{text}");
    assert!(text.contains("(64 strings)"), "{text}");
    assert_eq!(works("inspect", &["--key", "llama.block_count"]), "2\n");
    assert!(works("inspect", &["--check"]).contains("Check: no NaN and no infinity in 20 tensors"));
    for name in ["inspect", "convert"] {
        assert!(works(name, &["--help"]).contains("Usage"));
    }
}

#[test]
fn arguments_that_are_missing_or_wrong_are_named() {
    let line = fails("convert", &[]);
    for part in ["<IN>", "<OUT>", "--type <TYPE>", "(see --help)"] {
        assert!(line.contains(part), "{line}");
    }
    let line = fails("convert", &["a", "b", "--type", "Q9_Z"]);
    assert!(line.contains("Q9_Z") && line.contains("[possible values: F32, F16, Q4_0"), "{line}");
    let line = fails("convert", &["a", "b", "--type", "I32"]);
    assert!(line.contains("I32"), "{line}");
    assert!(fails("inspect", &["--nonsense"]).contains("--nonsense"));
    assert!(fails("inspect", &["--key", "no.such"]).contains("no key 'no.such'"));
    assert!(fails("inspect", &["--tensor", "nothing"]).contains("no tensor 'nothing'"));
}

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

#[cfg(unix)]
#[test]
fn the_file_is_named_and_its_control_characters_are_escaped() {
    let folder = Folder::new();
    let missing = folder.path("no-such.gguf");
    for line in [fails("inspect", &[&missing]), fails("convert", &[&missing, "x", "--type", "F16"])] {
        assert_eq!(line.matches("no-such.gguf").count(), 1, "{line}");
    }
    let junk = folder.file("a\u{1b}[31m\nb.gguf", b"junk");
    for line in [fails("inspect", &[&junk]), folder.conversion_fails(&junk, "F16")] {
        assert!(line.contains("a\\u{1b}[31m\\nb.gguf': byte 0"), "{line}");
    }
    let mut bad = vec![0; 64];
    bad[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    let file = model(ByteOrder::Little, &[("w\u{1b}[31m", &[16], GgmlType::F32, &bad)]);
    let input = folder.file("a\u{7}.gguf", &file);
    assert!(fails("inspect", &[&input, "--check"]).contains("a\\u{7}.gguf': tensor 'w\\u{1b}[31m': block 0"));
    assert!(!works("inspect", &[&input]).contains(['\u{7}', '\u{1b}']));
    let out = folder.path("o\u{7}.gguf");
    assert!(!works("convert", &[&input, &out, "--type", "F16"]).contains(['\u{7}', '\u{1b}']));
}

#[test]
fn headers_that_claim_too_much_fail_at_once() {
    let folder = Folder::new();
    let header = |dims: &[u64]| Raw::new(LITTLE, 1, 0).tensor("w", dims, 0, 0).pad(32).bytes;
    for (name, dims) in [
        ("hugeclaim1d.gguf", &[1 << 42][..]),
        ("hugeclaim2d.gguf", &[1 << 42, 2]),
        ("hugerows32.gguf", &[32, 1 << 45]),
        ("truncated.gguf", &[8, 8]),
    ] {
        let input = folder.file(name, header(dims));
        for ty in ["Q4_0", "F32"] {
            let line = folder.conversion_fails(&input, ty);
            assert!(
                line.contains(name) && line.contains("in tensor 0 'w': the tensor's data ends at"),
                "{line}"
            );
            assert_eq!(line, fails("inspect", &[&input]));
        }
    }
    // No data at all, and as many rows as can be counted.
    let input = folder.file("empty.gguf", header(&[0, 1 << 60]));
    works("convert", &[&input, &folder.path("empty-out.gguf"), "--type", "Q4_0"]);
    assert!(works("inspect", &[&input, "--check", "--json"]).contains("\"tensors\": 1"));
    assert!(works("inspect", &[&input, "--tensor", "w"]).contains("no values"));
}

#[test]
fn a_value_that_blocks_cannot_hold_is_found_in_its_tensor() {
    let folder = Folder::new();
    let mut values = wave(64 * 20_000);
    values[1_200_005] = f32::NAN;
    let bytes = floats(&values);
    let file = model(
        ByteOrder::Little,
        &[("first", &[8], GgmlType::F32, &bytes[..32]), ("w", &[64, 20_000], GgmlType::F32, &bytes)],
    );
    let input = folder.file("nan.gguf", file);
    assert_eq!(
        folder.conversion_fails(&input, "Q4_0"),
        "tensor 'w': value 1200005 (row 18750, column 5) is NaN, and a block of Q4_0 cannot hold that"
    );
    // A plain type can.
    let summary = works("convert", &[&input, &folder.path("f16.gguf"), "--type", "F16"]);
    assert!(summary.contains("1 tensor became F16") && !summary.contains("WARNING"), "{summary}");
    let line = fails("inspect", &[&input, "--check"]);
    assert!(line.ends_with("tensor 'w': block 1200005 of F32, in row 18750: the value is NaN"), "{line}");
    let line = fails("inspect", &[&folder.path("f16.gguf"), "--check"]);
    assert!(line.ends_with("tensor 'w': block 1200005 of F16, in row 18750: the value is NaN"), "{line}");
}

#[test]
fn values_beyond_a_types_range_are_counted() {
    let folder = Folder::new();
    let mut values = vec![1.0f64; 128];
    values[40] = 1e300;
    let input = folder
        .file("f64.gguf", model(ByteOrder::Little, &[("w", &[64, 2], GgmlType::F64, &doubles(&values))]));
    let out = folder.path("out.gguf");
    works("inspect", &[&input, "--check"]);
    for ty in ["F32", "F16", "BF16"] {
        let summary = works("convert", &[&input, &out, "--type", ty]);
        assert!(
            summary.contains(&format!("WARNING: 1 value beyond the range of {ty} is infinite now: w\n")),
            "{summary}"
        );
    }
    fs::remove_file(&out).unwrap();
    let line = folder.conversion_fails(&input, "Q8_0");
    assert!(line.contains("value 40 (row 0, column 40) is inf as an f32"), "{line}");

    // One value was infinite before and is not counted, one becomes so, one is just within.
    let mut values = vec![1.0f32; 128];
    (values[3], values[70], values[71]) = (f32::NEG_INFINITY, -3e38, 65_504.0);
    let bytes = floats(&values);
    let file = model(
        ByteOrder::Little,
        &[("w", &[64, 2], GgmlType::F32, &bytes), ("z.1", &[64, 1], GgmlType::F32, &bytes[256..])],
    );
    let input = folder.file("f32.gguf", file);
    let summary = works("convert", &[&input, &out, "--type", "F16"]);
    assert!(
        summary.contains("WARNING: 2 values beyond the range of F16 are infinite now: w, z.1\n"),
        "{summary}"
    );
    let summary = works("convert", &[&input, &out, "--type", "BF16"]);
    assert!(!summary.contains("WARNING"), "{summary}");

    values[3] = 0.0;
    let input = folder
        .file("f32.gguf", model(ByteOrder::Little, &[("w", &[64, 2], GgmlType::F32, &floats(&values))]));
    let summary = works("convert", &[&input, &out, "--type", "Q4_0"]);
    assert!(summary.contains("WARNING: 1 block beyond the range of Q4_0 is infinite now: w\n"), "{summary}");
    assert!(
        fails("inspect", &[&out, "--check"])
            .ends_with("tensor 'w': block 2 of Q4_0, in row 1: a scale is infinite")
    );
}

#[test]
fn every_type_is_checked_and_shown_in_both_byte_orders() {
    let folder = Folder::new();
    for (&ty, order) in GgmlType::ALL.iter().flat_map(|ty| [(ty, ByteOrder::Little), (ty, ByteOrder::Big)]) {
        let (row, size) = (2 * ty.block_len(), ty.block_bytes());
        let mut bytes = vec![0; 6 * size];
        let write = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            if order == ByteOrder::Big {
                layout::swap(ty, &mut bytes);
            }
            let dims = [row as u64, 3];
            folder.file(
                "t.gguf",
                model(order, &[("good", &dims, ty, &vec![0; bytes.len()]), ("w", &dims, ty, &bytes)]),
            )
        };
        let input = write(&bytes);
        let checked = works("inspect", &[&input, "--check"]);
        assert!(checked.contains("Check: no NaN and no infinity in 2 tensors"), "{checked}");
        let shown = works("inspect", &[&input, "--tensor", "w"]);
        let json = works("inspect", &[&input, "--tensor", "w", "--json"]);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["bytes"], 6 * size);
        assert!(shown.contains("values are ") && json["not_finite"] == 0, "{shown}");
        bytes[3 * size..4 * size].fill(0xff);
        let input = write(&bytes);
        // Integers have no scale, and every scale code of NVFP4 is a number.
        if (ty.name().starts_with('I') && !ty.is_quantized()) || ty == GgmlType::NVFP4 {
            works("inspect", &[&input, "--check"]);
        } else {
            let line = fails("inspect", &[&input, "--check"]);
            assert!(line.contains(&format!("tensor 'w': block 3 of {ty}, in row 1: ")), "{line}");
        }
    }
}

#[test]
fn further_bad_tensors_are_counted() {
    let folder = Folder::new();
    let bad = floats(&[f32::INFINITY]);
    let one = model(ByteOrder::Little, &[("a", &[1], GgmlType::F32, &bad), ("b", &[1], GgmlType::F32, &bad)]);
    let line = fails("inspect", &[&folder.file("two.gguf", one), "--check"]);
    assert!(
        line.ends_with(
            "tensor 'a': block 0 of F32, in row 0: the value is infinite; 1 tensor more not valid"
        ),
        "{line}"
    );
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
    let raw = Raw::new(LITTLE, 1, 1).key("general.file_type", U32_VALUE).u32(1);
    let input = folder.file("in.gguf", raw.tensor("t", &[8], 0, 0).pad(32).zeros(32).bytes);
    let out = folder.path("out.gguf");
    works("convert", &[&input, &out, "--type", "Q8_0"]);
    assert_eq!(fs::read(&out).unwrap(), fs::read(&input).unwrap());
}

#[test]
fn numbers_in_json_are_the_files_own() {
    let folder = Folder::new();
    let values = [1e-5f32, 0.1, f32::MAX, f32::NAN, f32::NEG_INFINITY, 3.0];
    let raw = Raw::new(LITTLE, 1, 4)
        .key("eps", F32_VALUE)
        .f32(1e-5)
        .key("nan", F32_VALUE)
        .f32(f32::NAN)
        .key("inf", F64_VALUE)
        .f64(f64::INFINITY)
        .key("tenth", F64_VALUE)
        .f64(0.1);
    let raw = raw.tensor("t", &[6], 0, 0).pad(32).raw(&floats(&values));
    let input = folder.file("in.gguf", raw.bytes);
    let json = works("inspect", &[&input, "--json"]);
    for part in ["\"eps\": 0.00001,", "\"nan\": \"NaN\"", "\"inf\": \"inf\"", "\"tenth\": 0.1"] {
        assert!(json.contains(part), "{part} in {json}");
    }
    let json = works("inspect", &[&input, "--tensor", "t", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["first"], serde_json::json!([1e-5, 0.1, 3.4028235e38, "NaN", "-inf", 3.0]));
    assert_eq!((json["min"].as_f64(), json["max"].as_f64()), (Some(1e-5), Some(3.4028235e38)));
    assert_eq!(json["not_finite"], 2);
}

#[test]
fn statistics_are_readable_at_every_magnitude() {
    let folder = Folder::new();
    let shown = |values: &[f32]| {
        let file = model(ByteOrder::Little, &[("t", &[values.len() as u64], GgmlType::F32, &floats(values))]);
        works("inspect", &[&folder.file("t.gguf", file), "--tensor", "t"])
    };
    let text = shown(&[3e38, -3e38, 1.5, 0.25]);
    assert!(
        text.contains("min -3e38  max 3e38  mean") && text.contains("first values: 3e38, -3e38, 1.5, 0.25"),
        "{text}"
    );
    assert!(text.lines().all(|line| line.chars().count() < 110), "{text}");
    let text = shown(&[1e-9, 3e-9]);
    assert!(text.contains("min 1e-9  max 3e-9  mean 2e-9  standard deviation 1e-9"), "{text}");
    let text = shown(&[0.5; 40]);
    assert!(text.contains("all values are 0.5\n") && !text.contains('█'), "{text}");
    let text = shown(&[0.5, f32::NAN, 0.5]);
    assert!(text.contains("not finite 1") && text.contains("all finite values are 0.5\n"), "{text}");
    assert!(shown(&[f32::NAN; 3]).contains("not finite 3: all values"));
    assert!(shown(&[]).ends_with("no values\n"));
    let text = shown(&wave(257));
    assert!(text.contains("min -1.28  max 1.28  mean 0") && text.matches('█').count() > 16, "{text}");
}

#[test]
fn one_of_anything_is_not_many() {
    let folder = Folder::new();
    let raw = Raw::new(LITTLE, 1, 1).key("k", U32_VALUE).u32(1).tensor("t", &[8], 0, 0).pad(32).zeros(32);
    let text = works("inspect", &[&folder.file("one.gguf", raw.bytes), "--check"]);
    for part in ["Metadata: 1 key\n", "\n1 tensor, shapes", "in 1 tensor\n"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    for args in [&["--json"][..], &[], &["--key", "tokenizer.ggml.tokens"]] {
        let mut command = example("inspect");
        let mut child = command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{args:?}");
    }
}

#[test]
fn a_file_can_be_converted_in_its_place() {
    let folder = Folder::new();
    let file = model(ByteOrder::Little, &[("w", &[64, 4], GgmlType::F32, &floats(&wave(256)))]);
    let (input, apart) = (folder.file("in.gguf", &file), folder.path("apart.gguf"));
    works("convert", &[&input, &apart, "--type", "Q8_0"]);
    works("convert", &[&input, &input, "--type", "Q8_0"]);
    assert_eq!(fs::read(&input).unwrap(), fs::read(&apart).unwrap());
    assert_eq!(folder.names().len(), 2);
}

#[test]
fn pieces_join_to_what_the_whole_would_be_in_both_byte_orders() {
    let folder = Folder::new();
    // More values than are converted at a time, whose rows end nowhere near that.
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
            // The copied one is longer than what is copied at a time, and ends within.
            let file = model(
                order,
                &[("kept", &[(row * rows) as u64], GgmlType::F32, bytes), ("w", &dims, GgmlType::F32, bytes)],
            );
            works("convert", &[&folder.file("in.gguf", file), &out, "--type", ty.name()]);
            let file = fs::read(&out).unwrap();
            let model = Gguf::parse(&file).unwrap();
            assert_eq!(model.byte_order(), order);
            assert!(model.tensor("kept").unwrap().bytes() == &bytes[..], "{ty} {order:?}");
            let mut got = model.tensor("w").unwrap().bytes().to_vec();
            if order == ByteOrder::Big {
                layout::swap(ty, &mut got);
            }
            assert!(got == wanted, "{ty} {order:?}");
        }
    }
}

/// A header, and zeros behind it that take no space on disk.
fn sparse(folder: &Folder, raw: Raw, data_bytes: u64) -> String {
    let path = folder.path("sparse.gguf");
    let raw = raw.pad(32);
    let len = raw.at() + data_bytes;
    fs::write(&path, raw.bytes).unwrap();
    File::options().write(true).open(&path).unwrap().set_len(len).unwrap();
    path
}

#[test]
fn memory_does_not_grow_with_a_rows_length() {
    if !cfg!(target_os = "linux") {
        say("left out: the memory of convert is measured in /proc, which is Linux's");
        return;
    }
    let folder = Folder::new();
    // Rows of 64 MiB, one to be copied and two to be converted.
    let row = 1u64 << 24;
    let raw = Raw::new(LITTLE, 2, 0).tensor("kept", &[row], 0, 0).tensor("w", &[row, 2], 0, 4 * row);
    let input = sparse(&folder, raw, 3 * 4 * row);
    let mut command = example("convert");
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

#[cfg(unix)]
#[test]
fn an_interruption_leaves_what_was_there() {
    let folder = Folder::new();
    // Long enough to be met at work.
    let len = 1u64 << 32;
    let input = sparse(&folder, Raw::new(LITTLE, 1, 0).tensor("kept", &[len], 24, 0), len);
    for signal in ["INT", "TERM"] {
        let out = folder.file("out.gguf", "what was there");
        let before = folder.names();
        let mut command = example("convert");
        command.args([&input, &out, "--type", "F16"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let start = Instant::now();
        while folder.names() == before {
            assert!(start.elapsed() < PATIENCE && child.try_wait().unwrap().is_none());
            std::thread::sleep(Duration::from_millis(1));
        }
        let sent = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(errors, format!("convert: interrupted: '{out}' is as it was\n"));
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
        assert_eq!(fs::read(&out).unwrap(), b"what was there");
        assert_eq!(folder.names(), before);
    }
}
