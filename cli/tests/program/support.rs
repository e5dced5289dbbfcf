//! Runs the program, and makes models for it.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use gguf_codec::{ByteOrder, GgmlType, Writer};
use tempfile::TempDir;

use crate::common::raw::Raw;

/// Longer than any run here takes, and short enough to detect one that hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) const LITTLE: (u32, bool) = (3, false);

pub(crate) const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/sample.gguf");

/// A command of the program.
pub(crate) fn gguf(command: &str) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_gguf"));
    program.arg(command);
    program
}

/// Waits for the process to end, or kills it and fails.
pub(crate) fn finish(mut command: Command) -> Output {
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

/// A run that may replace what is at OUT, because most tests write repeatedly. `outputs.rs` tests runs without --force.
pub(crate) fn forced(name: &str, args: &[&str]) -> Command {
    let mut command = gguf(name);
    command.args(args);
    if !["diff", "hash", "inspect"].contains(&name) {
        command.arg("--force");
    }
    command
}

/// The output of a run that must succeed, with nothing on standard error.
pub(crate) fn works(name: &str, args: &[&str]) -> String {
    let output = finish(forced(name, args));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), errors.as_str()), (Some(0), ""), "{name} {args:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The one line on standard error of a run that must fail, without the command's name.
pub(crate) fn fails(name: &str, args: &[&str]) -> String {
    failed(name, args, finish(forced(name, args)))
}

/// The same for a run without --force.
pub(crate) fn is_refused(name: &str, args: &[&str]) -> String {
    let mut command = gguf(name);
    command.args(args);
    failed(name, args, finish(command))
}

fn failed(name: &str, args: &[&str], output: Output) -> String {
    let errors = String::from_utf8(output.stderr).unwrap();
    // Invalid arguments give another exit code, and only these refer to the help.
    let code = if errors.ends_with("(see --help)\n") { 2 } else { 1 };
    assert_eq!(output.status.code(), Some(code), "{name} {args:?}: {errors}");
    assert!(output.stdout.is_empty(), "{name} {args:?}");
    let line = errors.strip_suffix('\n').unwrap_or_else(|| panic!("{name} {args:?}: no line: {errors:?}"));
    assert!(!line.contains(char::is_control), "{name} {args:?}: more than a line: {errors:?}");
    let line = line.strip_prefix(&format!("gguf {name}: "));
    line.unwrap_or_else(|| panic!("{name} {args:?}: {errors}")).to_owned()
}

pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Folder(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn names(&self) -> Vec<PathBuf> {
        let mut names: Vec<_> =
            fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        names
    }

    /// Runs a conversion that must fail, leave OUT unchanged, and leave no other file.
    pub(crate) fn conversion_fails(&self, input: &str, ty: &str) -> String {
        let out = self.file("out.gguf", "what was there");
        let before = self.names();
        let line = fails("convert", &[input, &out, "--type", ty]);
        assert_eq!(fs::read(&out).unwrap(), b"what was there", "{line}");
        assert_eq!(self.names(), before, "{line}");
        line
    }
}

/// A file of tensors, each given as bytes in the file's byte order.
pub(crate) fn model(order: ByteOrder, tensors: &[(&str, &[u64], GgmlType, &[u8])]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    writer.set_byte_order(order);
    for (name, dims, ty, _) in tensors {
        writer.declare_tensor(name, dims, *ty).unwrap();
    }
    let mut data = writer.write_header().unwrap();
    for (name, .., bytes) in tensors {
        data.write_tensor(name, bytes).unwrap();
    }
    data.finish().unwrap()
}

pub(crate) fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

pub(crate) fn doubles(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

pub(crate) fn wave(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 31 % 257) as f32 - 128.0) / 100.0).collect()
}

/// A header, followed by zeros that take no space on disk.
pub(crate) fn sparse(folder: &Folder, name: &str, raw: Raw, data_bytes: u64) -> String {
    with_zeros(folder, name, &raw.pad(32).bytes, data_bytes)
}

/// These bytes, followed by zeros that take no space on disk.
pub(crate) fn with_zeros(folder: &Folder, name: &str, bytes: &[u8], zeros: u64) -> String {
    let path = folder.file(name, bytes);
    File::options().write(true).open(&path).unwrap().set_len(bytes.len() as u64 + zeros).unwrap();
    path
}

#[cfg(unix)]
pub(crate) fn send(signal: &str, id: u32) {
    let sent = Command::new("kill").args([&format!("-{signal}"), &id.to_string()]).status();
    assert!(sent.unwrap().success());
}

/// Both signals that a tool handles, in as quick succession as one program can send them.
pub(crate) fn send_both(id: u32) {
    let sent = Command::new("sh").args(["-c", &format!("kill -INT {id}; kill -TERM {id}")]).status();
    // The first may have ended it before the second was sent.
    sent.unwrap();
}

/// Sends a signal once a child listens for it, and waits until the child has received it. Everything that the child does after
/// that is interrupted. It may have ended by then.
#[cfg(target_os = "linux")]
pub(crate) fn interrupt(signal: &str, child: &mut Child) {
    let (id, start) = (child.id(), Instant::now());
    let mut wait_until = |is_so: &dyn Fn(&str) -> bool| {
        loop {
            let status = listener(id);
            if let Some(status) = status.filter(|status| is_so(status)) {
                return Some(status);
            }
            if child.try_wait().unwrap().is_some() {
                return None;
            }
            assert!(start.elapsed() < PATIENCE, "the child does not listen, or not hear");
            std::thread::yield_now();
        }
    };
    // The thread sleeps until there is a signal, and sleeps again once it has reported the signal.
    let listening = wait_until(&|status| status.contains("State:\tS"));
    let before = sleeps(&listening.expect("the child works until it is interrupted"));
    send(signal, id);
    wait_until(&|status| sleeps(status) > before);
}

/// The status of the thread that listens for signals.
#[cfg(target_os = "linux")]
fn listener(id: u32) -> Option<String> {
    let tasks = fs::read_dir(format!("/proc/{id}/task")).ok()?.flatten();
    tasks
        .filter(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == "ctrl-c"))
        .find_map(|task| fs::read_to_string(task.path().join("status")).ok())
}

#[cfg(target_os = "linux")]
fn sleeps(status: &str) -> u64 {
    let sleeps = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    sleeps.unwrap().trim().parse().unwrap()
}
