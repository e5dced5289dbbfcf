//! Changing bytes of a file where they are, so that a crash leaves them as they were or can be mended.
//!
//! The order of things is the whole of it:
//!
//! 1. The *undo record*, `.NAME.undo` beside the file, gets what is overwritten and by what. It appears whole or not
//!    at all, and is on the disk, its name included, before the next step.
//! 2. The bytes are written, and synced to the disk.
//! 3. The record is removed, and its absence synced.
//!
//! Whoever finds a record finds an edit that did not end: [`roll_back`] puts back what was there. It first looks
//! whether the file is the one that the record speaks of: as long as it was, each byte in question either the old one or
//! the new one, and the rest of the header unchanged. Otherwise the file was changed by somebody else since, and
//! stays as it is. Rolling back may be cut off as well and done again: it writes the same bytes.

mod disk;
mod record;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;

use disk::Disk;
pub(crate) use disk::Files;
use record::Record;

use crate::error::{Error, Result};

/// Puts back what an edit of the file at `path` overwrote that did not end, and says whether there was one.
///
/// # Errors
/// [`Error::Io`], where another process is at it as well; [`Error::Write`] where the record is of another file.
pub(crate) fn recover(path: &Path) -> Result<bool> {
    if !disk::has_record(path)? {
        return Ok(false);
    }
    roll_back(&mut Files::open(path)?)
}

/// Refuses a file that an edit was cut off in, for those that read it by its path: as much of its header may be new as
/// was written. Where there is no record, this asks for nothing but its name. One that does not fit the file says nothing of
/// it, since another may have been put there.
pub(crate) fn refuse_half_edited(path: &Path) -> io::Result<()> {
    let Some(mut file) = disk::with_record(path)? else { return Ok(()) };
    // A record that cannot be had, or a file, is none that can be told to fit.
    if is_half_edited(&mut file).unwrap_or(false) {
        let message = "an edit in place was cut off, or goes on now, and its header may be half old and half new; \
                       `Edit::recover`, or any edit of it, puts back what was";
        return Err(io::Error::other(message));
    }
    Ok(())
}

fn is_half_edited(disk: &mut impl Disk) -> Result<bool> {
    let Some(bytes) = disk.record()? else { return Ok(false) };
    match Record::decode(&bytes) {
        Some(record) if record.file_len() == disk.len()? => {
            record.fits(|buffer, offset| disk.read(buffer, offset))
        }
        _ => Ok(false),
    }
}

/// Makes the file begin with `start`, and returns how many bytes that changed. The rest stays. There must be no record:
/// [`roll_back`] comes before.
pub(crate) fn patch(disk: &mut impl Disk, start: &[u8]) -> Result<u64> {
    let mut old = vec![0; start.len()];
    disk.read(&mut old, 0)?;
    let record = Record::between(&old, start, disk.len()?);
    if record.is_empty() {
        return Ok(0);
    }
    disk.keep_record(&record.encode())?;
    let written =
        record.new_runs().try_for_each(|(at, bytes)| disk.write(bytes, at)).and_then(|()| disk.sync());
    if let Err(error) = written {
        // A disk that refuses to write may refuse this too; then the record stays for another time.
        return Err(match roll_back(disk) {
            Ok(_) => error,
            Err(_) => Error::Write {
                message: format!(
                    "{error}; the file is changed in part, and {} will make the next edit of it put that right",
                    disk.record_name()
                ),
            },
        });
    }
    disk.drop_record()?;
    Ok(record.changed())
}

/// Undoes a patch that did not end, and says whether there was one.
pub(crate) fn roll_back(disk: &mut impl Disk) -> Result<bool> {
    let Some(bytes) = disk.record()? else { return Ok(false) };
    let name = disk.record_name();
    let refuse = |why: &str| Error::Write {
        message: format!("{name} cannot be used to undo an edit: {why}; remove it where the file is good"),
    };
    let record = Record::decode(&bytes).ok_or_else(|| refuse("it is damaged, or no undo record"))?;
    if record.file_len() != disk.len()? {
        return Err(refuse("the file has another length than when it was edited"));
    }
    if !record.fits(|buffer, offset| disk.read(buffer, offset))? {
        return Err(refuse("the file was changed since it was edited"));
    }
    record.old_runs().try_for_each(|(at, bytes)| disk.write(bytes, at))?;
    disk.sync()?;
    disk.drop_record()?;
    Ok(true)
}
