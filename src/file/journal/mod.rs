//! Changing bytes of a file's start where they are, so that a crash leaves a GGUF that is wholly the old one or wholly the new
//! one, or what no program takes for a GGUF and recovery makes the old one.
//!
//! The order of things is the whole of it. Each step is on the disk before the next begins:
//!
//! 1. The *undo record* gets what is overwritten and by what, and a random number. It is a new file beside the one that is
//!    edited, `.NAME.NUMBER.undo`, so that nothing that is there can be in its place.
//! 2. The first byte of the *marker* is written: from here on the file is not a GGUF.
//! 3. The marker's other bytes are written, the number among them.
//! 4. The bytes behind the marker become the new ones.
//! 5. The first 24 bytes but one become the new ones.
//! 6. The first byte is put back: the file is the new one.
//! 7. The record is removed.
//!
//! A single byte is never written in part. So whatever a crash leaves of the others, a file whose first byte is a GGUF's is wholly
//! old or wholly new, under each of its names and for every reader; and only where the marker's first byte stands is a record looked
//! for. [`recover`] finds it by its number, in the folder that the file is in, whatever the file's name is by now. Where a
//! power failure took the number, the record is the one that fits: it is of a file of this length, each byte is the old, the new or
//! the marker's, and the rest of the header is unchanged. Undoing takes the same steps towards the old bytes, so that it may be cut
//! off as well, and done again.
//!
//! A record beside a file without the marker means nothing. It is removed by the next edit if that is certain to do no harm.

mod disk;
mod record;
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

/// Puts back what an edit of the file at `path` overwrote that did not end, and says whether there was one.
///
/// # Errors
/// [`Error::Io`], where another process edits it as well; [`Error::Write`] where there is no record, or it cannot be used.
pub(crate) fn recover(path: &Path) -> Result<bool> {
    if disk::is_marked(path)? {
        return recover_file(&mut Files::open(path)?);
    }
    // What may be orphaned can also be the record of an edit that is about to begin: the lock tells. No edit fails for leftovers.
    if disk::may_have_orphans(path)
        && let Ok(mut files) = Files::open(path)
    {
        return recover_file(&mut files);
    }
    Ok(false)
}

/// As [`recover`], with the record at a given path.
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

/// As [`recover`], for a file that is locked.
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
    // Its number was not all written, or not all of it is left.
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

/// Makes the file begin with `start`, a GGUF's header, and returns how many bytes that changed. The rest stays.
/// [`recover_file`] comes before.
///
/// # Errors
/// After any the file is what it was. Where that is not so the message says what it is.
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

/// Whether the file can begin with so many other bytes.
pub(crate) fn can_patch(start: &[u8], file_len: u64) -> bool {
    (to_u64(MARKER)..=file_len.min(max_span())).contains(&to_u64(start.len()))
}

/// Undoes a patch that failed, and returns what there is to say.
fn put_back(disk: &mut impl Disk, record: &Record<'_>, path: &Path, error: Error) -> Error {
    let (file, path_shown) = (disk.file_name(), path.display());
    // Nothing need be written where nothing was.
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

/// Undoes a patch that did not end, of a file that is marked.
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

/// Removes records that bear this file's name and are of no use to it: those whose writing was cut off, and those of edits that
/// have not begun or are complete. What cannot be told or removed stays. The file is locked and not marked.
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
    // Another file may have had this name when it was edited, and need the record.
    let found = record.agreement(disk)?;
    let is_useless = found.is_old || found.is_new;
    if is_useless {
        // What an edit wrote that failed may not be on the disk.
        disk.sync()?;
    }
    Ok(is_useless)
}

/// The file's first bytes, where they are marked.
fn marked_start(disk: &mut impl Disk) -> Result<Option<[u8; MARKER]>> {
    let mut first = [0; MARKER];
    if disk.len()? < to_u64(MARKER) {
        return Ok(None);
    }
    disk.read(&mut first, 0)?;
    Ok(edit_marker::is_marked(&first).then_some(first))
}

/// A number that nobody can have named a file by before.
fn random_number() -> Number {
    let half = |salt: u8| {
        // Its keys are random, and it is made for input that wants to collide.
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
