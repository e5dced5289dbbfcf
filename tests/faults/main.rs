//! Failures around the crate: killed processes, full disks, streams that accept or return little, mapped files
//! that are truncated. The target is completely old or completely new, and the next run removes all leftovers.

#![cfg(feature = "codecs")]
#![cfg(feature = "std")]
#![cfg(unix)]

#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "mmap")]
mod consuming;
mod sets;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Read, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Result;
use common::say;
use gguf_codec::model::{Convert, Job, Origin};
use gguf_codec::{GgmlType, Gguf, Sink, TensorInfo, Writer};

/// The task of a child process, and its output file.
const TASK: &str = "GGUF_CODEC_TEST_TASK";
const TARGET: &str = "GGUF_CODEC_TEST_TARGET";

/// The line that a child prints after each step.
const STEP: u8 = 1;

const TENSORS: usize = 8;
const PIECES: usize = 4;
/// Larger than several file buffers, so that a failure can occur with some of them on the disk and others not yet written.
const PIECE: [u8; 10 * 1024] = [0; 10 * 1024];
/// The size of a file's buffer.
const BUFFER: usize = 64 * 1024;

/// A file whose tensors are all filled with `tag`; reports a step after each piece of work.
fn write<S: Sink>(mut writer: Writer<S>, tag: u8, mut step: impl FnMut()) -> Result<S::Output> {
    step();
    writer.set_metadata("general.name", "faults")?;
    for i in 0..TENSORS {
        writer.declare_tensor(&format!("t{i}"), &[(PIECES * PIECE.len()) as u64], GgmlType::I8)?;
    }
    let mut data = writer.write_header()?;
    step();
    for i in 0..TENSORS {
        let mut tensor = data.begin(&format!("t{i}"))?;
        for _ in 0..PIECES {
            tensor.write_bytes(&[tag; PIECE.len()])?;
            step();
        }
        tensor.finish()?;
    }
    step();
    let output = data.finish()?;
    step();
    Ok(output)
}

/// The sample converted to another type.
fn convert<S: Sink>(mut writer: Writer<S>, ty: GgmlType, mut step: impl FnMut()) -> Result<S::Output> {
    step();
    let source = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/sample.gguf"))?;
    let model = Gguf::parse(&source)?;
    writer.copy_metadata_from(&model)?;
    let job = |tensor: TensorInfo<'_>| {
        let whole = tensor.shape().row_len().is_multiple_of(ty.block_len() as u64);
        (tensor.name().to_owned(), Origin::of(&source, &tensor), if whole { ty } else { tensor.ggml_type() })
    };
    let jobs: Vec<_> = model.tensors().map(job).collect();
    let jobs: Vec<_> = jobs.iter().map(|(name, origin, ty)| Job::new(name, *origin, *ty)).collect();
    for job in &jobs {
        writer.declare_tensor(job.name(), job.shape().dims(), job.ggml_type())?;
    }
    let mut data = writer.write_header()?;
    Convert::new().run_with(&jobs, &mut data, |_, _| {
        step();
        ControlFlow::Continue(())
    })?;
    step();
    let output = data.finish()?;
    step();
    Ok(output)
}

/// Runs a task, `write TAG` or `convert TYPE`, with any sink.
fn perform<S: Sink>(task: &str, writer: Writer<S>, step: impl FnMut()) -> Result<S::Output> {
    match task.split_once(' ') {
        Some(("write", tag)) => write(writer, tag.parse()?, step),
        Some(("convert", ty)) => convert(writer, ty.parse()?, step),
        _ => anyhow::bail!("no task '{task}'"),
    }
}

/// The file that a task makes.
fn made(task: &str) -> Vec<u8> {
    perform(task, Writer::new(Vec::new()), || ()).unwrap()
}

#[test]
fn child() {
    let Ok(task) = std::env::var(TASK) else { return };
    let target = std::env::var(TARGET).unwrap();
    let step = || {
        let mut out = io::stdout();
        out.write_all(&[STEP]).and_then(|()| out.flush()).unwrap();
    };
    #[cfg(feature = "mmap")]
    if task == "map" {
        // SAFETY: no promise is made. The test is that the file is truncated.
        let model = unsafe { Gguf::map(&target) }.unwrap();
        File::options().write(true).open(&target).unwrap().set_len(0).unwrap();
        step();
        // The pages no longer exist.
        let sum: u64 = model
            .tensors()
            .flat_map(|info| info.tensor().unwrap().bytes().unwrap())
            .map(|&b| u64::from(b))
            .sum();
        panic!("the sum is {sum}");
    }
    #[cfg(feature = "mmap")]
    if let Some(("consume", last)) = task.split_once(' ') {
        consuming::consume_until(Path::new(&target), last.parse().unwrap());
    }
    let done = match task.split_once(' ') {
        Some(("set", tag)) => sets::write_set(Path::new(&target), tag.parse().unwrap(), step),
        _ => Writer::create(&target).map_err(Into::into).and_then(|writer| perform(&task, writer, step)),
    };
    if let Err(error) = done {
        println!("\nerror: {error:#}");
        std::process::exit(1);
    }
}

/// Starts this test program as a child process that runs a task.
fn child_command(task: &str, target: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture"]);
    command.env(TASK, task).env(TARGET, target).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Xorshift.
struct Rng(u64);

impl Rng {
    /// A fresh seed, or the one that an earlier run printed.
    fn new(test: &str) -> Self {
        let given = std::env::var("GGUF_CODEC_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one(test)) | 1;
        say(&format!("{test}: GGUF_CODEC_SEED={seed}"));
        Rng(seed)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }
}

/// Waits for a number of a child's steps, and a moment longer, and kills it. `false` if it ended before.
fn kill_after(child: &mut Child, steps: u64, moment: u64) -> bool {
    let mut out = child.stdout.take().unwrap();
    let mut byte = [0];
    let mut left = steps;
    while left > 0 {
        if out.read(&mut byte).unwrap() == 0 {
            child.wait().unwrap();
            return false;
        }
        left -= u64::from(byte == [STEP]);
    }
    (0..moment).for_each(|_| std::hint::spin_loop());
    child.kill().unwrap();
    child.wait().unwrap();
    true
}

#[test]
fn a_kill_at_any_moment_leaves_the_old_file_or_the_new_one() {
    let kills: u64 = std::env::var("GGUF_CODEC_KILLS").map_or(300, |kills| kills.parse().unwrap());
    let mut rng = Rng::new("kills");
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("model.gguf");
    let types = ["F32", "F16", "Q8_0", "Q4_0"];
    let tasks: Vec<_> = (0..8)
        .map(|i| if i % 2 == 0 { format!("write {i}") } else { format!("convert {}", types[i / 2]) })
        .collect();
    let contents: Vec<_> = tasks.iter().map(|task| made(task)).collect();

    fs::write(&target, &contents[7]).unwrap();
    let (mut old, mut killed, mut replaced, mut leftovers) = (7, 0, 0, 0);
    while killed < kills {
        let new = rng.below(8) as usize;
        if new == old {
            continue;
        }
        let mut child = child_command(&tasks[new], &target).spawn().unwrap();
        // Up to a few steps more than there are, so that some runs finish. The moments around the end matter most.
        let steps = if rng.below(2) == 0 { 1 + rng.below(12) } else { 34 + rng.below(4) };
        killed += u64::from(kill_after(&mut child, steps, rng.below(100_000)));

        let now = fs::read(&target).unwrap();
        assert!(now == contents[old] || now == contents[new], "neither {} nor {}", tasks[old], tasks[new]);
        if now == contents[new] {
            (old, replaced) = (new, replaced + 1);
        }
        // Only the last of the killed processes can have left something: each begins by removing what the others left.
        let beside: Vec<_> = names(folder.path()).into_iter().filter(|name| name != "model.gguf").collect();
        assert!(beside.len() <= 1, "{beside:?}");
        leftovers += beside.len();
    }
    say(&format!(
        "{killed} kills: {replaced} times the file was replaced, {leftovers} left a temporary file"
    ));
    assert!(leftovers > 0 && replaced > 0, "the kills came too late or too early to show anything");

    drop(Writer::create(&target).unwrap());
    assert_eq!(names(folder.path()), ["model.gguf"]);
    assert!(fs::read(&target).unwrap() == contents[old]);
}

#[test]
fn writers_of_one_target_in_two_processes_do_not_meet() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("model.gguf");
    let contents = [made("write 1"), made("convert Q8_0")];
    for _ in 0..30 {
        let [mut one, mut two] =
            ["write 1", "convert Q8_0"].map(|task| child_command(task, &target).spawn().unwrap());
        // Read to the end, so that neither waits for the pipe.
        for child in [&mut one, &mut two] {
            io::copy(child.stdout.as_mut().unwrap(), &mut io::sink()).unwrap();
            assert!(child.wait().unwrap().success());
        }
        let now = fs::read(&target).unwrap();
        assert!(contents.contains(&now), "neither file");
        assert_eq!(names(folder.path()), ["model.gguf"]);
    }
}

#[test]
fn what_is_being_written_is_not_taken_for_a_leftover() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("model.gguf");
    let mut killed = child_command("write 1", &target).spawn().unwrap();
    assert!(kill_after(&mut killed, 3, 0));
    let stray = names(folder.path());
    // A file that looks like a leftover but is not one.
    let (mine, link) = (folder.path().join(".model.gguf.bak.tmp"), folder.path().join(".model.gguf.2-2.tmp"));
    fs::write(&mine, "mine").unwrap();
    std::os::unix::fs::symlink("nowhere", &link).unwrap();

    let first = Writer::create(&target).unwrap();
    let one = names(folder.path());
    assert!(stray.len() == 1 && one.len() == 3 && !one.contains(&stray[0]), "{stray:?} {one:?}");
    let second = Writer::create(&target).unwrap();
    assert_eq!(names(folder.path()).len(), 4);
    write(first, 2, || ()).unwrap();
    write(second, 3, || ()).unwrap();
    assert!(fs::read(&target).unwrap() == made("write 3"));
    assert_eq!(names(folder.path()), [".model.gguf.2-2.tmp", ".model.gguf.bak.tmp", "model.gguf"]);
}

#[test]
fn a_disk_that_is_full_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("model.gguf");
    let old = made("write 1");
    fs::write(&target, &old).unwrap();
    let new = made("write 2");
    // Every 4 KiB, and every byte around the ends of buffers, of tensors, of the header and of the file.
    let about = |byte: usize| byte.saturating_sub(2)..=byte + 2;
    let buffers = (0..=new.len()).step_by(BUFFER).flat_map(about);
    let tensors =
        Gguf::parse(&new).unwrap().tensors().map(|tensor| tensor.file_offset() as usize).collect::<Vec<_>>();
    let ends = tensors.into_iter().chain([new.len()]).flat_map(about);
    let limits: BTreeSet<_> =
        (0..new.len()).step_by(4096).chain(buffers).chain(ends).filter(|limit| *limit <= new.len()).collect();
    for &limit in &limits {
        let output = limited(child_command("write 2", &target), limit).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let now = fs::read(&target).unwrap();
        if limit == new.len() {
            assert!(output.status.success() && now == new, "{limit}: {said}");
            break;
        }
        assert!(said.contains("error: cannot write '") && said.contains("File too large"), "{limit}: {said}");
        assert!(now == old, "{limit}");
        assert_eq!(names(folder.path()), ["model.gguf"], "{limit}");
    }
    say(&format!("a disk that fills at {} places of {} bytes", limits.len() - 1, new.len()));
}

/// A command whose files may grow only to this many bytes. The system refuses writes past that with "File too large".
#[cfg(target_os = "linux")]
fn limited(plain: Command, bytes: usize) -> Command {
    let mut limited = Command::new("sh");
    limited.args(["-c", r#"trap '' XFSZ; exec prlimit --fsize="$0" "$@""#, &bytes.to_string()]);
    as_given(limited, plain)
}

/// Shells on other systems count in units of 512 bytes; for the length of the whole file, the last unit is rounded up.
#[cfg(not(target_os = "linux"))]
fn limited(plain: Command, bytes: usize) -> Command {
    let mut limited = Command::new("sh");
    let units = if bytes == made("write 2").len() { bytes.div_ceil(512) } else { bytes / 512 };
    limited.args(["-c", r#"trap '' XFSZ; ulimit -f "$0"; exec "$@""#, &units.to_string()]);
    as_given(limited, plain)
}

fn as_given(mut command: Command, plain: Command) -> Command {
    command.arg(plain.get_program()).args(plain.get_args());
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::null());
    command
}

#[cfg(target_os = "linux")]
#[test]
fn a_device_that_is_full_is_an_error() {
    let full = || Writer::new(File::options().write(true).open("/dev/full").unwrap());
    let error = format!("{:#}", write(full(), 1, || ()).unwrap_err());
    assert!(error.starts_with("cannot write the GGUF: No space left on device"), "{error}");
    let error = format!("{:#}", convert(full(), GgmlType::Q8_0, || ()).unwrap_err());
    assert!(error.starts_with("cannot write the GGUF: No space left on device"), "{error}");
}

/// Accepts a few bytes at a time, with interruptions, and eventually no more.
#[derive(Debug)]
struct Fitful {
    taken: Vec<u8>,
    room: usize,
    step: usize,
}

impl Write for Fitful {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.step += 1;
        if self.step.is_multiple_of(3) {
            return Err(ErrorKind::Interrupted.into());
        }
        if self.taken.len() == self.room {
            return Err(ErrorKind::StorageFull.into());
        }
        let count = bytes.len().min(1 + self.step % 997).min(self.room - self.taken.len());
        self.taken.extend(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_fitful_stream_gets_every_byte_once_and_in_order() {
    for task in ["write 9", "convert Q4_0"] {
        let whole = made(task);
        let mut fitful = Fitful { taken: Vec::new(), room: usize::MAX, step: 0 };
        perform(task, Writer::new(&mut fitful), || ()).unwrap();
        assert!(fitful.taken == whole, "{task}");
        // Wherever it ends, its contents are the start of the file.
        for room in
            (0..whole.len()).step_by(if task == "write 9" { 1009 } else { 7001 }).chain([whole.len() - 1])
        {
            let mut fitful = Fitful { taken: Vec::new(), room, step: 0 };
            let error = format!("{:#}", perform(task, Writer::new(&mut fitful), || ()).unwrap_err());
            assert!(error.starts_with("cannot write the GGUF: "), "{error}");
            assert!(fitful.taken == whole[..room], "{task} {room}");
        }
    }
}

#[cfg(all(feature = "mmap", target_os = "linux"))]
#[test]
fn a_file_cut_short_while_it_is_mapped_ends_the_process_and_no_other_way_to_read_it_does() {
    use std::os::unix::process::ExitStatusExt;
    const SIGBUS: i32 = 7;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let file = made("write 5");
    fs::write(&path, &file).unwrap();
    let output = child_command("map", &path).output().unwrap();
    assert!(output.stdout.contains(&STEP), "it was opened, and cut");
    assert_eq!(output.status.signal(), Some(SIGBUS), "{output:?}");

    fs::write(&path, &file).unwrap();
    let (read, opened) = (Gguf::read(&path).unwrap(), Gguf::open(&path).unwrap());
    File::options().write(true).open(&path).unwrap().set_len(file.len() as u64 / 2).unwrap();
    assert!(read.tensor("t7").unwrap().bytes().unwrap().iter().all(|&byte| byte == 5));
    opened.tensor("t0").unwrap().bytes().unwrap();
    let error = format!("{:?}", opened.tensor("t7").unwrap().bytes().unwrap_err());
    assert!(error.contains("'t7' of '") && error.contains("the file ends before it does"), "{error}");
    let error = Gguf::read(&path).unwrap_err().to_string();
    assert!(error.contains("the tensor's data ends at byte") && error.contains("and the file at"), "{error}");
}
