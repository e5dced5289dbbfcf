//! Standard input and output instead of files, where that is possible.

use std::fs::{self, File};
use std::process::Stdio;

use crate::support::*;

/// The bytes on standard output, and the text on standard error.
fn with_input(name: &str, args: &[&str], input: &str) -> (Vec<u8>, String) {
    let child = gguf(name)
        .args(args)
        .stdin(File::open(input).unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let output = child.unwrap().wait_with_output().unwrap();
    assert!(output.status.success(), "{name} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    (output.stdout, String::from_utf8(output.stderr).unwrap())
}

#[test]
fn models_are_written_to_standard_output() {
    let folder = Folder::new();
    let out = folder.path("out.gguf");
    for (name, args) in [
        ("convert", &["--type", "Q8_0", "--allow-requantize"][..]),
        ("quantize", &["--recipe", "Q4_K_M", "--allow-requantize"]),
    ] {
        let text = works(name, &[&[SAMPLE, &out], args].concat());
        let output = finish({
            let mut command = gguf(name);
            command.args([SAMPLE, "-"]).args(args);
            command
        });
        assert!(output.status.success() && output.stdout == fs::read(&out).unwrap(), "{name}");
        // The summary is there too, on standard error.
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(errors.lines().count(), text.lines().count(), "{errors}");
        assert!(errors.lines().any(|line| line.starts_with("  all")), "{errors}");
    }
    let line = is_refused("quantize", &[SAMPLE, "-", "--recipe", "Q4_K_M"]);
    assert!(line.contains("with --allow-requantize it is done"), "{line}");
}

#[test]
fn a_header_is_read_from_standard_input() {
    let folder = Folder::new();
    let (text, errors) = with_input("inspect", &["-"], SAMPLE);
    assert_eq!(errors, "");
    let of_file = works("inspect", &[SAMPLE]);
    let text = String::from_utf8(text).unwrap();
    assert_eq!(text.split_once('\n').unwrap().1, of_file.split_once('\n').unwrap().1);
    assert!(text.starts_with("standard input   Sample Llama 2 layers\n"));
    let sums = folder.file("sums", works("hash", &[SAMPLE]));
    let (text, _) = with_input("hash", &[SAMPLE, "--check", "-"], &sums);
    assert!(String::from_utf8(text).unwrap().ends_with("are the same\n"));
    let line = is_refused("inspect", &["-", "--check"]);
    assert!(line.contains("--tensor and --check need a file"), "{line}");
}

#[test]
fn elsewhere_a_stream_is_an_error_and_no_file_of_that_name() {
    let folder = Folder::new();
    for line in [
        "convert - OUT --type F16",
        "edit IN - --set general.name=x",
        "edit - OUT --set general.name=x",
        "split - OUT --max-tensors 3",
        "merge - OUT",
        "merge IN -",
        "diff - IN",
        "hash -",
        "report IN -o -",
        "to-safetensors IN -",
        "quantize IN OUT --recipe Q8_0 --imatrix -",
    ] {
        let out = folder.path("out.gguf");
        let words = line.replace("OUT", &out).replace("IN", SAMPLE);
        let words: Vec<_> = words.split(' ').collect();
        let message = is_refused(words[0], &words[1..]);
        assert!(message.contains("standard input and output cannot be used here"), "{line}: {message}");
    }
    assert!(folder.names().is_empty() && !std::path::Path::new("-").exists());
}

#[test]
fn without_a_command_all_are_listed() {
    let output = finish(std::process::Command::new(env!("CARGO_BIN_EXE_gguf")));
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    assert!(text.contains("Usage: gguf <COMMAND>") && text.contains("  quantize "), "{text}");
}
