//! Merging that removes each shard as soon as its data is on disk in the merged file.
//!
//! The file grows under a name of its own, `OUT.merging`, and contains everything that a later run needs:
//!
//! ```text
//! 0x67 'G' 'U' 'F' | the rest of the header | data, as much as there is | record
//! ```
//!
//! The first byte is not a GGUF's, so that no program takes the file for a model. The record contains the final length of the
//! merged file and which shards it contains completely. Each step is on disk before the next begins:
//!
//! 1. All shards are opened and checked. `OUT.merging` is created with header and record, and space for the data.
//! 2. For each shard: its data is copied, the record is updated, and the shard is removed.
//! 3. The first byte becomes a GGUF's. The record is cut off. The file is renamed.
//!
//! Any run may be interrupted at any step, and the next run does what is left. A shard that the record lacks is copied from its
//! start, and one that it has is compared and removed. A missing shard must be one that the record has. If none is recorded, the
//! shards are unchanged, and `OUT.merging` may be removed.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::record::Record;
use crate::error::{Error, OutputProblem, Result};
use crate::file::atomic::{AtomicFile, sync_folder};
use crate::file::identity::uninterrupted;
use crate::file::regular::expect_regular;
use crate::file::sink::{Sink, put};
use crate::file::{Existing, FileTarget, Inputs, copy_between, put_new};
use crate::gguf::index::Gguf;
use crate::gguf::shards::ShardPaths;
use crate::model::input::Input;

/// The first byte of a file that is not merged yet: a GGUF's in lower case.
const UNFINISHED: u8 = b'g';
const FINISHED: u8 = b'G';

/// The number of bytes copied between two calls of `progress`.
const STEP: u64 = 64 << 20;

type Progress<'a> = dyn FnMut(u64, u64) -> ControlFlow<()> + 'a;

/// Returns `OUT.merging`.
pub(super) fn unfinished_path(output: &Path) -> PathBuf {
    let mut name = OsString::from(output);
    name.push(".merging");
    name.into()
}

pub(super) fn run(
    first: &Path,
    output: &Path,
    existing: Existing,
    progress: &mut Progress<'_>,
) -> Result<u64> {
    let Some((paths, _)) = ShardPaths::parse(first).filter(|(paths, _)| paths.count() > 1) else {
        return refused(format!(
            "'{}' is not named like one of several shards, PREFIX-00001-of-00003.gguf, and no other file is consumed",
            first.display()
        ));
    };
    let shards: Vec<_> = (0..paths.count()).map(|no| paths.path(no)).collect();
    let target = FileTarget::new(output, existing)?;
    let path = unfinished_path(&target.path);
    Inputs::new().add_all(&shards).add(&path).check(output, existing)?;
    if fs::symlink_metadata(&path).is_err() {
        begin(&shards, &path, target.replaced.as_ref())?;
    }
    let mut merging = Merging::open(path, shards)?;
    let done = merging.consume(progress).and_then(|()| merging.complete(progress));
    match done {
        Ok(()) => merging.place(output, &target.path, existing),
        Err(error) => {
            merging.give_up();
            Err(error)
        }
    }
}

/// Checks all shards, and creates a file without data at `path`.
fn begin(shards: &[PathBuf], path: &Path, like: Option<&fs::Metadata>) -> Result<()> {
    // Missing shards are reported when all are opened.
    for shard in shards.iter().filter(|shard| fs::symlink_metadata(shard).is_ok()) {
        check_removable(shard)?;
    }
    let input = Input::open(&shards[0])?;
    let model = input.model();
    let first = model.first().metadata();
    for (path, shard) in shards.iter().zip(model.shards()) {
        let lost = |what: &str| {
            refused(format!("'{}' has {what}, which the merged file would lack", path.display()))
        };
        if !shard.trailing().is_empty() {
            return lost("bytes after its data that belong to no tensor");
        }
        let own = shard.metadata().iter().map(|(key, _)| key).find(|key| {
            !key.starts_with("split.") && *key != crate::gguf::layout::ALIGNMENT_KEY && !first.contains(key)
        });
        if let Some(key) = own {
            return lost(&format!("the key '{}', which the first shard has not", key.escape_debug()));
        }
    }
    let (writer, _) = super::declared(&input, crate::write::Writer::new(io::sink()))?;
    let len = writer.file_len()?;
    let (mut header, _) = writer.header_bytes()?;
    if let Some(byte) = header.first_mut() {
        *byte = UNFINISHED;
    }
    let record = Record::new(
        len,
        model.shards().iter().zip(shards).map(|(shard, path)| {
            let bytes = fs::metadata(path).map(|metadata| metadata.len());
            Ok((bytes.map_err(|error| failed("look at", path, error))?, shard.tensor_count() as u64))
        }),
    )?;
    let mut file = AtomicFile::create_like(path, like.cloned(), Existing::Refuse)?;
    put(&mut file, &header)?;
    file.skip_to(len)?;
    put(&mut file, &record.encode())?;
    file.complete()
}

/// Returns an error for a shard that takes no space of its own, or whose removal would do harm elsewhere.
fn check_removable(shard: &Path) -> Result<()> {
    if fs::symlink_metadata(shard).is_ok_and(|metadata| metadata.is_symlink()) {
        return refused(format!(
            "'{}' is a symbolic link: removing it would free nothing; give the files that the links lead to, or merge without \
             consuming",
            shard.display()
        ));
    }
    expect_regular(shard, "").map_err(|error| failed("open", shard, error))
}

/// A file that is being merged.
struct Merging {
    file: File,
    path: PathBuf,
    shards: Vec<PathBuf>,
    /// `None` if the file is complete and only needs to be renamed.
    record: Option<Record>,
    header: Gguf<Vec<u8>>,
    len: u64,
}

impl Merging {
    fn open(path: PathBuf, shards: Vec<PathBuf>) -> Result<Self> {
        expect_regular(&path, "").map_err(|error| failed("open", &path, error))?;
        let opened = File::options().read(true).write(true).open(&path);
        let mut file = opened.map_err(|error| failed("open", &path, error))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                return refused(format!("another process is merging into '{}'", path.display()));
            }
            // The file system has no locks.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        let strange = |why: &str| {
            refused(format!(
                "'{}' is not what an interrupted merge of these {} shards left: {why}; finish that merge, or move the file away",
                path.display(),
                shards.len()
            ))
        };
        let mut start = [0];
        let record = (|| {
            file.read_exact(&mut start)?;
            Record::read(&mut file)
        })();
        let record = record.map_err(|error| failed("read", &path, error))?;
        let is_left = |shard: &PathBuf| fs::symlink_metadata(shard).is_ok();
        match (&record, start[0]) {
            (None, FINISHED) if !shards.iter().any(is_left) => {}
            (Some(record), FINISHED | UNFINISHED) if record.shards().len() == shards.len() => {}
            (Some(record), FINISHED | UNFINISHED) => {
                return strange(&format!("it is of {}", record.shards().len()));
            }
            _ => return strange("it has no record of one"),
        }
        file.seek(SeekFrom::Start(1)).map_err(|error| failed("read", &path, error))?;
        let header = Gguf::read_header([FINISHED].chain(io::BufReader::new(&file)))?;
        let len = match &record {
            Some(record) => record.len(),
            None => file.metadata().map_err(|error| failed("look at", &path, error))?.len(),
        };
        let tensors: u64 = record.iter().flat_map(Record::shards).map(|shard| shard.tensors).sum();
        if record.is_some() && tensors != header.tensor_count() as u64 {
            return strange("its record does not fit its header");
        }
        Ok(Merging { file, path, shards, record, header, len })
    }

    /// Copies and removes the existing shards.
    fn consume(&mut self, progress: &mut Progress<'_>) -> Result<()> {
        let Some(record) = &mut self.record else { return Ok(()) };
        let tensors: Vec<_> = self.header.tensors().collect();
        let total = tensors.iter().map(|tensor| tensor.byte_len()).sum();
        let (mut done, mut next) = (0, 0);
        let mut step = |bytes: u64| {
            done += bytes;
            if progress(done, total).is_break() { Err(Error::Interrupted) } else { Ok(()) }
        };
        for (no, path) in self.shards.iter().enumerate() {
            let shard = record.shards()[no];
            let own = &tensors[next..next + shard.tensors as usize];
            next += own.len();
            let source = match File::open(path) {
                Ok(source) => source,
                Err(error) if error.kind() == io::ErrorKind::NotFound && shard.is_whole => {
                    step(own.iter().map(|tensor| tensor.byte_len()).sum())?;
                    continue;
                }
                Err(error) => return Err(failed("open", path, error)),
            };
            check_removable(path)?;
            let model = Gguf::read_header(io::BufReader::new(&source)).map_err(|error| error.of(path))?;
            let found = model.tensors().map(|tensor| (tensor.name(), tensor.shape(), tensor.ggml_type()));
            let len = source.metadata().map_err(|error| failed("look at", path, error))?.len();
            if len != shard.len
                || model.byte_order() != self.header.byte_order()
                || !found.eq(own.iter().map(|tensor| (tensor.name(), tensor.shape(), tensor.ggml_type())))
            {
                return refused(format!(
                    "'{}' is not the shard that it was when '{}' was begun",
                    path.display(),
                    self.path.display()
                ));
            }
            for (from, to) in model.tensors().zip(own) {
                let (mut at, len) = (0, to.byte_len());
                while at < len {
                    let now = STEP.min(len - at);
                    let (from, to) = ((&source, from.file_offset() + at), to.file_offset() + at);
                    if !shard.is_whole {
                        self.file
                            .seek(SeekFrom::Start(to))
                            .and_then(|_| copy_between(source.try_clone()?, from.1, &mut self.file, now))
                            .map_err(|error| failed("write", &self.path, error))?;
                    } else if !is_same(from, (&self.file, to), now)
                        .map_err(|error| failed("read", path, error))?
                    {
                        return refused(format!(
                            "'{}' has other data than the shard that was merged into '{}' and removed: move it away",
                            path.display(),
                            self.path.display()
                        ));
                    }
                    at += now;
                    step(now)?;
                }
            }
            let sync = |file: &File| file.sync_all().map_err(|error| failed("sync", &self.path, error));
            sync(&self.file)?;
            step(0)?;
            record.put_whole(&mut self.file, no).map_err(|error| failed("write", &self.path, error))?;
            sync(&self.file)?;
            step(0)?;
            drop(source);
            uninterrupted(|| fs::remove_file(path)).map_err(|error| failed("remove", path, error))?;
            step(0)?;
        }
        Ok(())
    }

    /// Turns the file into a GGUF.
    fn complete(&mut self, progress: &mut Progress<'_>) -> Result<()> {
        let total = self.header.tensors().map(|tensor| tensor.byte_len()).sum();
        let mut step = |done: io::Result<()>| {
            done.and_then(|()| self.file.sync_all()).map_err(|error| failed("write", &self.path, error))?;
            if progress(total, total).is_break() { Err(Error::Interrupted) } else { Ok(()) }
        };
        let mut file = &self.file;
        step(file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(&[FINISHED])))?;
        step(file.set_len(self.len))
    }

    /// Renames the file, and returns its length.
    fn place(self, output: &Path, target: &Path, existing: Existing) -> Result<u64> {
        let Merging { file, path, len, .. } = self;
        // Other systems cannot rename an open file.
        drop(file);
        let moved = uninterrupted(|| match existing {
            Existing::Refuse => put_new(&path, target),
            Existing::Replace | Existing::ReplaceTarget => fs::rename(&path, target),
        });
        moved.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists if existing == Existing::Refuse => {
                Error::Output { output: output.to_owned(), problem: OutputProblem::Exists { leads_to: None } }
            }
            _ => failed("put the finished file at", output, error),
        })?;
        sync_folder(target).map_err(|error| failed("sync the folder of", output, error))?;
        Ok(len)
    }

    /// Removes the file if the shards contain everything in it.
    fn give_up(self) {
        let is_needed =
            self.record.as_ref().is_none_or(|record| record.shards().iter().any(|shard| shard.is_whole));
        if !is_needed {
            // If it stays, it does no harm: the next run begins with it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Returns `true` if two files have the same bytes at these positions.
fn is_same(a: (&File, u64), b: (&File, u64), len: u64) -> io::Result<bool> {
    let mut readers = [a, b];
    for (file, offset) in &mut readers {
        file.seek(SeekFrom::Start(*offset))?;
    }
    let (mut ours, mut theirs) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut left = len;
    while left > 0 {
        let now = left.min(ours.len() as u64) as usize;
        readers[0].0.read_exact(&mut ours[..now])?;
        readers[1].0.read_exact(&mut theirs[..now])?;
        if ours[..now] != theirs[..now] {
            return Ok(false);
        }
        left -= now as u64;
    }
    Ok(true)
}

fn failed(what: &str, path: &Path, error: io::Error) -> Error {
    Error::io(format!("{what} '{}'", path.display()), error)
}

fn refused<T>(message: String) -> Result<T> {
    Err(Error::write(message))
}
