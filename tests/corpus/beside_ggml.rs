//! Compares with ggml on the corpus: a file that ggml refuses must be refused here, except for those named below. Files that
//! ggml reads and this crate refuses are named too.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::all;
use crate::common::ggml::Ggml;
use crate::common::raw::agree;
use crate::common::{needs, say};
use gguf_codec::{Error, Gguf, Limits, Place};

/// Set in the child process that runs ggml.
const CHILD: &str = "GGUF_CODEC_TEST_ASK_GGML";

/// Files that this crate reads and ggml does not: the prefix of the cases' names, and the reason.
const READ_HERE_ALONE: &[(&str, &str)] = &[
    ("rule-07-bools/in-an-array-in-an-array", NESTED),
    ("rule-03-array-counts/type-9-", NESTED),
    ("rule-06-arrays/empty-of-type-9", NESTED),
    ("rule-06-arrays/two-of-type-9", NESTED),
    ("rule-06-arrays/ragged", NESTED),
    ("rule-06-arrays/of-empty-arrays", NESTED),
    ("rule-06-arrays/of-arrays-of-strings", NESTED),
    ("rule-15-17-ends/everything", NESTED),
    ("limits/depth-4-", NESTED),
    ("rule-09-names/64-bytes", NAME_OF_64),
    ("rule-09-names/32-characters-of-2-bytes", NAME_OF_64),
    (
        "rule-08-alignment/not-its-key-general.alignment\\u{0}",
        "ggml's keys end at a NUL when they are looked up",
    ),
    ("llama.cpp/HEADER_BAD_VERSION_1", "ggml reads no version 1"),
];
const NESTED: &str = "the specification allows arrays in arrays";
const NAME_OF_64: &str = "the specification allows names of 64 bytes";

/// Files that ggml reads, or crashes on, and that this crate refuses.
const READ_THERE_ALONE: &[(&str, &str)] = &[
    ("rule-04-strings/key-", NO_UTF8),
    ("rule-09-names/", NO_UTF8),
    ("rule-08-alignment/beyond-", "`Limits::max_alignment` bounds what is padded"),
    ("rule-11-sizes/", WRAPS),
    ("rule-11-sums/2-of-2^63-32", WRAPS),
    ("llama.cpp/DATA_MEM_SIZE_OVERFLOW", WRAPS),
];
const NO_UTF8: &str = "keys and names are UTF-8";
const WRAPS: &str = "ggml's product or sum wraps, or does once the header stands before the data";

#[test]
fn no_header_is_read_that_ggml_refuses_but_those_named() {
    if needs("GGML_BASE_SO", "the corpus beside ggml").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (mut files, mut wrong, mut read) = (Vec::new(), Vec::new(), 0);
    for format in [(2, false), (3, false)] {
        for case in all(format).into_iter().filter(|case| case.limits == Limits::default()) {
            let path = folder.path().join(format!("{}.gguf", files.len()));
            std::fs::write(&path, &case.bytes).unwrap();
            files.push((path, case, format));
        }
    }
    let verdicts = ask(&files.iter().map(|(path, ..)| path.as_path()).collect::<Vec<_>>());
    for ((_, case, format), there) in files.iter().zip(&verdicts) {
        // When it reads only the header, ggml requires the padding after it, but no data.
        let padded = !matches!(Gguf::parse(&case.bytes), Err(Error::Malformed { place: Place::Padding, .. }));
        let here = padded && agree(&case.bytes, case.limits).is_ok();
        let named = |list: &[(&str, &str)]| list.iter().any(|(start, _)| case.name.starts_with(start));
        let (excused, what) = match (here, there.as_str()) {
            (true, "reads") | (false, "refuses") => (true, ""),
            (true, _) => (named(READ_HERE_ALONE), "is read here alone"),
            (false, _) => (named(READ_THERE_ALONE), "is refused here alone"),
        };
        read += u32::from(there == "reads");
        if !excused {
            wrong.push(format!("{} in {format:?} {what}: ggml {there}", case.name));
        }
    }
    say(&format!("ggml reads {read} of {} files of the corpus", files.len()));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// ggml's verdict on each file, from a child process, which restarts after a file that crashed it.
fn ask(paths: &[&Path]) -> Vec<String> {
    let mut verdicts = Vec::new();
    while verdicts.len() < paths.len() {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "beside_ggml::child_that_asks_ggml", "--nocapture"])
            .env(CHILD, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let left = &paths[verdicts.len()..];
        std::thread::scope(|scope| {
            // It may crash before it has read everything.
            scope.spawn(move || left.iter().try_for_each(|path| writeln!(stdin, "{}", path.display())));
            let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
            verdicts.extend(lines.filter_map(|line| line.strip_prefix("ggml ").map(str::to_owned)));
        });
        child.wait().unwrap();
        if verdicts.len() < paths.len() {
            verdicts.push("dies".to_owned());
        }
    }
    verdicts
}

#[test]
fn child_that_asks_ggml() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let ggml = Ggml::load("the corpus beside ggml").unwrap();
    println!();
    for path in std::io::stdin().lines() {
        let verdict = ggml.open_header(Path::new(&path.unwrap())).map_or("refuses", |_| "reads");
        println!("ggml {verdict}");
    }
}
