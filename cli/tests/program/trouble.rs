//! Long work: what it shows in a terminal, and interruptions by signals and a full disk, which give one line and exit code 1,
//! leave the old file unchanged, and leave no temporary file.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;

use gguf_codec::Writer;
use gguf_codec::model::Imatrix;

use crate::common::raw::{Raw, U8};
use crate::support::*;

/// The type of tensors that no tool converts.
const I8_TENSOR: u32 = 24;

/// A run of a tool.
struct Run {
    tool: &'static str,
    args: Vec<String>,
    /// The argument that its messages name.
    output: String,
    /// The number of new files while it is in the middle of its work.
    files: usize,
}

/// Every tool that writes, on models of `len` zeros.
fn runs(inputs: &Folder, out: &Folder, len: u64) -> Vec<Run> {
    let small = 1 << 20;
    let floats = sparse(
        inputs,
        "floats.gguf",
        Raw::new(LITTLE, 1, 0).tensor("w.weight", &[1 << 10, len >> 11], 1, 0),
        len,
    );
    let two = Raw::new(LITTLE, 2, 1).key("k", U8).u8(1).tensor("a", &[small], I8_TENSOR, 0).tensor(
        "b",
        &[len],
        I8_TENSOR,
        small,
    );
    let two = sparse(inputs, "two.gguf", two, len + small);
    let json = format!(r#"{{"kept":{{"dtype":"I8","shape":[{len}],"data_offsets":[0,{len}]}}}}"#);
    let mut tensors = (json.len() as u64).to_le_bytes().to_vec();
    tensors.extend(json.as_bytes());
    let tensors = with_zeros(inputs, "in.safetensors", &tensors, len);

    let mut runs = Vec::new();
    let mut run = |tool, input: &str, output: &str, files, options: &[&str]| {
        let output = out.path(output);
        let args = [input, &output, "--force"].into_iter().chain(options.iter().copied());
        let args = args.map(str::to_owned).collect();
        runs.push(Run { tool, args, output, files });
    };
    run("convert", &floats, "there.gguf", 1, &["--type", "Q4_K"]);
    run("quantize", &floats, "there.gguf", 1, &["--recipe", "Q4_K_M"]);
    run("quantize", &floats, "there.gguf", 1, &["--recipe", "Q8_0", "--json"]);
    run("split", &two, "there", 2, &["--max-tensors", "1"]);
    run("merge", &two, "there.gguf", 1, &[]);
    run("edit", &two, "there.gguf", 1, &["--remove", "k"]);
    run("from-safetensors", &tensors, "there.gguf", 1, &[]);
    run("to-safetensors", &two, "there.safetensors", 1, &[]);
    run("to-safetensors", &two, "new", 1, &[]);
    runs
}

/// It has no temporary file while it works.
fn report(model: &str, out: &Folder) -> Run {
    let output = out.path("there.html");
    let args = [model, "-o", &output, "--sample", "0", "--force"].map(str::to_owned).to_vec();
    Run { tool: "report", args, output, files: 0 }
}

/// A folder with files that no run may change.
fn with_outputs() -> Folder {
    let folder = Folder::new();
    for name in ["there.gguf", "there-00001-of-00002.gguf", "there.safetensors", "there.html"] {
        folder.file(name, name);
    }
    folder
}

fn is_as_it_was(folder: &Folder) {
    for path in folder.names() {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(fs::read(&path).unwrap(), name.as_bytes(), "{name}");
    }
    assert_eq!(folder.names().len(), 4);
}

#[test]
fn an_interruption_leaves_what_was_there() {
    let (inputs, out) = (Folder::new(), with_outputs());
    // Long enough to be interrupted at work.
    for Run { tool, args, output, files } in runs(&inputs, &out, 1 << 33) {
        for signal in ["INT", "TERM"] {
            let mut command = gguf(tool);
            let mut child =
                command.args(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let start = Instant::now();
            while out.names().len() < 4 + files {
                assert!(start.elapsed() < PATIENCE && child.try_wait().unwrap().is_none(), "{tool} {args:?}");
                std::thread::yield_now();
            }
            send(signal, child.id());
            let finished = child.wait_with_output().unwrap();
            let errors = String::from_utf8(finished.stderr).unwrap();
            assert_eq!(errors, format!("gguf {tool}: interrupted: '{output}' is as it was\n"));
            assert_eq!((finished.status.code(), finished.stdout.len()), (Some(1), 0));
            is_as_it_was(&out);
        }
    }
}

/// Two interruptions at once: the second ends the tool immediately, unless the first has already ended it.
#[test]
fn a_second_interruption_leaves_what_was_there_too() {
    let (inputs, out) = (Folder::new(), with_outputs());
    for Run { tool, args, output, files } in runs(&inputs, &out, 1 << 33) {
        let mut command = gguf(tool);
        let mut child = command.args(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let start = Instant::now();
        while out.names().len() < 4 + files {
            assert!(start.elapsed() < PATIENCE && child.try_wait().unwrap().is_none(), "{tool} {args:?}");
            std::thread::yield_now();
        }
        // Two different signals, so that both are delivered.
        send_both(child.id());
        let finished = child.wait_with_output().unwrap();
        let errors = String::from_utf8(finished.stderr).unwrap();
        let once = format!("gguf {tool}: interrupted: '{output}' is as it was\n");
        assert!(
            errors == once || errors == format!("gguf {tool}: interrupted twice: ended at once\n"),
            "{errors}"
        );
        assert_eq!((finished.status.code(), finished.stdout.len()), (Some(1), 0));
        is_as_it_was(&out);
    }
}

/// Tools whose temporary file exists too briefly to be observed. They are interrupted while they read, which lasts until
/// the pipe ends.
#[cfg(target_os = "linux")]
#[test]
fn an_interruption_is_remembered_until_there_is_something_to_leave() {
    let out = with_outputs();
    let folder = Folder::new();
    let pipe = folder.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let output = out.path("there.gguf");
    for signal in ["INT", "TERM"] {
        let mut command = gguf("imatrix");
        command.args([&pipe, &output, "--force"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        interrupt(signal, &mut child);
        fs::write(&pipe, imatrix(4)).unwrap();
        let finished = child.wait_with_output().unwrap();
        let errors = String::from_utf8(finished.stderr).unwrap();
        assert_eq!(errors, format!("gguf imatrix: interrupted: '{output}' is as it was\n"));
        assert_eq!((finished.status.code(), finished.stdout.len()), (Some(1), 0));
        is_as_it_was(&out);
    }
}

fn imatrix(columns: usize) -> Vec<u8> {
    let mut imatrix = Imatrix::new();
    imatrix.add("w.weight", wave(columns).iter().map(|x| x * x).collect(), vec![3.0], None).unwrap();
    imatrix.write(Writer::new(Vec::new())).unwrap()
}

/// Files must not grow past a limit, as on a full disk.
#[test]
fn a_full_disk_leaves_what_was_there() {
    let (inputs, out) = (Folder::new(), with_outputs());
    let importance = inputs.file("imatrix.gguf", imatrix(1 << 20));
    let mut runs = runs(&inputs, &out, 1 << 22);
    runs.push(report(&inputs.path("floats.gguf"), &out));
    let matrix = out.path("there.gguf");
    runs.push(Run {
        tool: "imatrix",
        args: vec![importance, matrix.clone(), "--force".into()],
        output: matrix,
        files: 1,
    });
    // In units of 512 or 1024 bytes, depending on the shell: not much more than a header. The signal may already be ignored.
    let limits =
        [r#"trap '' XFSZ; ulimit -f 8; exec "$0" "$@""#, r#"ulimit -c 0; ulimit -f 8; exec "$0" "$@""#];
    let both = runs.iter().flat_map(|run| limits.map(|limit| (run, limit)));
    for (Run { tool, args, output, .. }, limit) in both {
        let program = gguf(tool);
        let mut command = Command::new("sh");
        command.args(["-c", limit]).arg(program.get_program()).arg(tool).args(args);
        let finished = finish(command);
        let errors = String::from_utf8(finished.stderr).unwrap();
        assert_eq!((finished.status.code(), errors.lines().count()), (Some(1), 1), "{tool}: {errors}");
        let name = output.rsplit('/').next().unwrap();
        assert!(
            errors.starts_with(&format!("gguf {tool}: "))
                && errors.contains(name)
                && errors.contains("too large"),
            "{errors}"
        );
        assert!(finished.stdout.is_empty());
        is_as_it_was(&out);
    }
}

/// All frames of the bar end with the same text, by which they are recognized.
#[cfg(target_os = "linux")]
#[test]
fn a_bar_shows_bytes_of_all_and_the_time_left() {
    let (inputs, out) = (Folder::new(), Folder::new());
    let mut runs = runs(&inputs, &out, 1 << 25);
    let model = inputs.path("floats.gguf");
    runs.push(report(&model, &out));
    for Run { tool, args, .. } in runs {
        let program = gguf(tool);
        let words = [program.get_program().to_str().unwrap(), tool]
            .into_iter()
            .chain(args.iter().map(String::as_str));
        let line: Vec<_> = words.map(|word| format!("'{word}'")).collect();
        let mut command = Command::new("script");
        command.args(["-qec", &format!("stty cols 200; exec {}", line.join(" ")), "/dev/null"]);
        let output = finish(command);
        assert!(output.status.success(), "{tool}");
        let text = String::from_utf8(output.stdout).unwrap();
        let frames: Vec<_> = text.split(['\r', '\n']).filter(|frame| frame.contains("B/s eta ")).collect();
        // Also before the end: the length is known from the start.
        let not_done = |frame: &&&str, all: &str| {
            frame.contains(&format!("/{all} ")) && !frame.contains(&format!(" {all}/{all} "))
        };
        let found =
            frames.iter().any(|frame| ["33.55 MB", "34.60 MB"].iter().any(|all| not_done(&frame, all)));
        assert!(found, "{tool}: {frames:?}");
    }
}

/// The next run removes a folder that a killed run left, but not one that is being written.
#[test]
fn a_folder_that_a_kill_left_is_removed_by_the_next_run() {
    let (inputs, out) = (Folder::new(), Folder::new());
    let runs = runs(&inputs, &out, 1 << 33);
    let run = runs.iter().find(|run| run.output.ends_with("new")).unwrap();
    let start = || {
        let before = out.names().len();
        let mut child = gguf(run.tool).args(&run.args).stderr(Stdio::piped()).spawn().unwrap();
        while out.names().len() == before {
            assert!(child.try_wait().unwrap().is_none());
            std::thread::yield_now();
        }
        child
    };
    let mut killed = start();
    let mut alive = start();
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(out.names().len(), 2);
    let small = sparse(&inputs, "small.gguf", Raw::new(LITTLE, 1, 0).tensor("a", &[32], I8_TENSOR, 0), 32);
    works("to-safetensors", &[&small, &run.output]);
    let names = out.names();
    let id = alive.id().to_string();
    assert!(names.len() == 2 && names.iter().any(|name| name.to_str().unwrap().contains(&id)), "{names:?}");
    send("TERM", alive.id());
    assert_eq!(alive.wait().unwrap().code(), Some(1));
    assert_eq!(out.names().len(), 1);
}
