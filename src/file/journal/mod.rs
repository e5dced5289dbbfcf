//! Changes bytes at a file's start in place. A crash leaves a GGUF that is entirely the old one or entirely the new one, or a
//! file that no program takes for a GGUF and that recovery restores to the old one.
//!
//! This depends entirely on the order of the steps. Each is on disk before the next begins:
//!
//! 1. The *undo record* is written: what is overwritten, what it is overwritten by, and a random number. It is a new file beside
//!    the one that is edited, `.NAME.NUMBER.undo`, so that no existing file can take its place.
//! 2. The first byte of the *marker* is written. From here on the file is not a GGUF.
//! 3. The marker's other bytes are written, including the number.
//! 4. The bytes after the marker are replaced by the new ones.
//! 5. The first 24 bytes, except the first one, are replaced by the new ones.
//! 6. The first byte is restored, and the file is the new one.
//! 7. The record is removed.
//!
//! A single byte is never partly written. So whatever a crash leaves of the others, a file whose first byte is a GGUF's is
//! entirely old or entirely new, under each of its names and for every reader. A record is looked for only if the marker's first
//! byte is present. [`recover`] finds the record by its number in the file's folder, whatever the file's current name is. If a
//! power failure destroyed the number, the record is the one that fits: it is of a file of this length, each byte is the old, the
//! new or the marker's, and the rest of the header is unchanged. Undoing takes the same steps towards the old bytes, so that it
//! may be interrupted too, and repeated.
//!
//! A record beside a file without the marker has no meaning. The next edit removes it if that is certain to be harmless.

mod disk;
mod record;
mod steps;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;

use disk::Disk;
pub(crate) use disk::Files;
use record::{MARKER, Number, Record, State, max_span};

use crate::error::{Error, Result};
use crate::gguf::edit_marker;
use crate::gguf::layout::to_u64;

/// Restores what an unfinished edit of the file at `path` overwrote, and returns whether there was one.
///
/// # Errors
/// [`Error::Io`], also if another process is editing the file; [`Error::Write`] if there is no usable record.
pub(crate) fn recover(path: &Path) -> Result<bool> {
    if disk::is_marked(path)? {
        return recover_file(&mut Files::open(path)?);
    }
    // What may be orphaned can also be the record of an edit that is about to begin. The lock shows which. Leftovers fail no
    // edit.
    if disk::may_have_orphans(path)
        && let Ok(mut files) = Files::open(path)
    {
        return recover_file(&mut files);
    }
    Ok(false)
}

/// Like [`recover`], with the record at a given path.
pub(crate) fn recover_with(path: &Path, record: &Path) -> Result<bool> {
    let mut files = Files::open(path)?;
    Ok(match marked_start(&mut files)? {
        None => false,
        Some(_) => {
            undo(&mut files, record)?;
            true
        }
    })
}

/// Like [`recover`], for a file that is locked.
pub(crate) fn recover_file(disk: &mut impl Disk) -> Result<bool> {
    let Some(first) = marked_start(disk)? else {
        remove_orphans(disk);
        return Ok(false);
    };
    let records = disk.records()?;
    if let Some(number) = first.strip_prefix(&edit_marker::MAGIC)
        && let Some((path, _)) = records.iter().find(|(_, its)| its == number)
    {
        undo(disk, path)?;
        return Ok(true);
    }
    // The number was not completely written, or part of it was lost.
    let mut fitting = Vec::new();
    for (path, _) in records {
        if fits(disk, &path).unwrap_or(false) {
            fitting.push(path);
        }
    }
    match fitting.as_slice() {
        [path] => undo(disk, path).map(|()| true),
        [] => {
            let name = first.strip_prefix(&edit_marker::MAGIC).map_or("*".to_owned(), disk::hexadecimal);
            Err(Error::write(format!(
                "an edit in place of {} was cut off, and its undo record is not beside it: look for '.*.{name}.undo' \
                     in the folder where it was edited, and give it to `Edit::recover_with`",
                disk.file_name()
            )))
        }
        [first, second, ..] => Err(Error::write(format!(
            "an edit in place of {} was cut off, and more than one undo record fits it, '{}' and '{}': give the right \
                 one to `Edit::recover_with`",
            disk.file_name(),
            first.display(),
            second.display()
        ))),
    }
}

/// Makes the file begin with `start`, a GGUF's header, and returns the number of bytes that changed. The rest of the
/// file is unchanged. [`recover_file`] must be called first.
///
/// # Errors
/// After any error the file is unchanged, or the message describes its state.
pub(crate) fn patch(disk: &mut impl Disk, start: &[u8]) -> Result<u64> {
    let file_len = disk.len()?;
    let mut old = vec![0; start.len()];
    disk.read(&mut old, 0)?;
    let number = random_number();
    let Some(bytes) = Record::between(&number, &old, start, file_len) else { return Ok(0) };
    drop(old);
    let Some(record) = Record::decode(&bytes) else {
        let message = format!("{} cannot be edited in place: its header is too long", disk.file_name());
        return Err(Error::write(message));
    };
    let path = disk.keep_record(&number, &bytes)?;
    if let Err(error) = record.put(State::New, disk) {
        return Err(put_back(disk, &record, &path, error));
    }
    disk.drop_record(&path).map_err(|error| Error::write(format!(
            "the edit of {} is complete and on the disk, but its undo record, which has no more use, is left: {error:?}",
            disk.file_name()
        )))?;
    Ok(record.changed())
}

/// Returns `true` if the length of a file's start allows replacing it.
pub(crate) fn can_patch(start: &[u8], file_len: u64) -> bool {
    (to_u64(MARKER)..=file_len.min(max_span())).contains(&to_u64(start.len()))
}

/// Undoes a patch that failed, and returns the error to report.
fn put_back(disk: &mut impl Disk, record: &Record<'_>, path: &Path, error: Error) -> Error {
    let (file, path_shown) = (disk.file_name(), path.display());
    // If nothing was written, nothing needs to be restored.
    let restored = match record.agreement(disk) {
        Ok(found) if found.is_old => Ok(()),
        Ok(_) => record.put(State::Old, disk),
        Err(error) => Err(error),
    };
    let message = match restored {
        Ok(()) => match disk.drop_record(path) {
            Ok(()) => return error,
            Err(left) => {
                format!(
                    "{error:?}; {file} is as it was, but its undo record, which has no use, is left: {left:?}"
                )
            }
        },
        // A disk that refuses to write may refuse this too. The record stays.
        Err(again) => {
            let state = match record.agreement(disk) {
                Ok(found) if found.is_new => {
                    "has the new header, but perhaps not on the disk: if no program opens it after a crash, then"
                }
                Ok(found) if found.is_old => {
                    "has the old header, but perhaps not on the disk: if no program opens it after a crash, then"
                }
                _ => "is changed in part, and no program opens it as it is:",
            };
            format!(
                "{error:?}, and then {again:?}; {file} {state} `Edit::recover`, or any edit of it, puts back what was, \
                 from '{path_shown}'"
            )
        }
    };
    Error::write(message)
}

/// Undoes an unfinished patch of a marked file.
fn undo(disk: &mut impl Disk, path: &Path) -> Result<()> {
    let file = disk.file_name();
    let refuse = |why: &str| {
        Error::write(format!("'{}' cannot be used to undo the edit of {file}: {why}", path.display()))
    };
    let bytes = disk.read_record(path)?;
    let record = Record::decode(&bytes).ok_or_else(|| refuse("it is damaged, or no undo record"))?;
    if record.file_len() != disk.len()? {
        return Err(refuse("the file has another length than when it was edited"));
    }
    if !record.agreement(disk)?.is_between {
        return Err(refuse("it is of another edit, or the file was changed since"));
    }
    record.put(State::Old, disk)?;
    disk.drop_record(path).map_err(|error| {
        Error::write(format!(
            "the edit of {file} is undone, but its undo record, which has no more use, is left: {error:?}"
        ))
    })
}

fn fits(disk: &mut impl Disk, path: &Path) -> Result<bool> {
    let bytes = disk.read_record(path)?;
    let Some(record) = Record::decode(&bytes) else { return Ok(false) };
    Ok(record.file_len() == disk.len()? && record.agreement(disk)?.is_between)
}

/// Removes records with this file's name that are of no use to it: those that were partly written, and those of edits that have
/// not begun or are complete. Records of unknown state, or that cannot be removed, stay. The file must be locked and not marked.
fn remove_orphans(disk: &mut impl Disk) {
    for path in disk.own_records() {
        if is_orphan(disk, &path).unwrap_or(false) {
            let _ = disk.drop_record(&path);
        }
    }
}

fn is_orphan(disk: &mut impl Disk, path: &Path) -> Result<bool> {
    let bytes = disk.read_record(path)?;
    let Some(record) = Record::decode(&bytes) else { return Ok(record::is_cut_off(&bytes)) };
    if record.file_len() != disk.len()? {
        return Ok(false);
    }
    // Another file may have had this name when it was edited, and may need the record.
    let found = record.agreement(disk)?;
    let is_useless = found.is_old || found.is_new;
    if is_useless {
        // What a failed edit wrote may not be on disk.
        disk.sync()?;
    }
    Ok(is_useless)
}

/// Returns the file's first bytes if they are marked.
fn marked_start(disk: &mut impl Disk) -> Result<Option<[u8; MARKER]>> {
    let mut first = [0; MARKER];
    if disk.len()? < to_u64(MARKER) {
        return Ok(None);
    }
    disk.read(&mut first, 0)?;
    Ok(edit_marker::is_marked(&first).then_some(first))
}

/// Returns a number that cannot have been predicted and used in the name of a file.
fn random_number() -> Number {
    let half = |salt: u8| {
        // Its keys are random, and it is designed for input that is crafted to collide.
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_u8(salt);
        hasher.write_u32(std::process::id());
        hasher.write_u128(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos());
        hasher.finish().to_le_bytes()
    };
    let mut number = Number::default();
    let (first, second) = number.split_at_mut(8);
    first.copy_from_slice(&half(0));
    second.copy_from_slice(&half(1));
    number
}
