//! What is done to a file by its record: comparing them, and putting one of the states of its start there.

use super::disk::Disk;
use super::record::{Agreement, MARKER, Record, State, marker};
use crate::error::Result;
use crate::file::checksum::Checksum;
use crate::gguf::layout::to_u64;

impl Record<'_> {
    /// Compares a file of the record's length with it, in a single pass.
    pub(super) fn agreement(&self, disk: &mut impl Disk) -> Result<Agreement> {
        let mut first = [0; MARKER];
        disk.read(&mut first, 0)?;
        let marker = marker(&self.number);
        let mut is_between = first
            .iter()
            .zip(self.old_first.iter().zip(&self.new_first))
            .zip(&marker)
            .all(|((now, (old, new)), marker)| now == old || now == new || now == marker);
        let (mut is_old, mut is_new) = (first == self.old_first, first == self.new_first);
        let mut rest = Checksum::new();
        self.for_pieces(|at, len, parts| {
            let mut buffer = vec![0; len];
            disk.read(&mut buffer, to_u64(at))?;
            let mut left = &buffer[..];
            for part in parts {
                let (now, behind) = left.split_at(part.len);
                left = behind;
                match part.run {
                    None => rest.add(now),
                    Some((old, new)) => {
                        is_old &= now == old;
                        is_new &= now == new;
                        let mut bytes = now.iter().zip(old.iter().zip(new));
                        is_between &= bytes.all(|(now, (old, new))| now == old || now == new);
                    }
                }
            }
            Ok(())
        })?;
        let is_same = rest.value() == self.rest;
        Ok(Agreement {
            is_old: is_old && is_same,
            is_new: is_new && is_same,
            is_between: is_between && is_same,
        })
    }

    /// Replaces the file's start with one of the states: writes the marker first, its first byte alone before the others, and
    /// writes the file's own first byte last. Each step is on disk before the next begins.
    pub(super) fn put(&self, state: State, disk: &mut impl Disk) -> Result<()> {
        let marker = marker(&self.number);
        disk.write(&marker[..1], 0)?;
        disk.sync()?;
        disk.write(&marker[1..], 1)?;
        disk.sync()?;
        self.for_pieces(|at, len, parts| {
            if parts.iter().all(|part| part.run.is_none()) {
                return Ok(());
            }
            let mut buffer = vec![0; len];
            disk.read(&mut buffer, to_u64(at))?;
            let mut left = &mut buffer[..];
            for part in parts {
                let (now, behind) = left.split_at_mut(part.len);
                left = behind;
                if let Some((old, new)) = part.run {
                    now.copy_from_slice(if state == State::Old { old } else { new });
                }
            }
            disk.write(&buffer, to_u64(at))
        })?;
        disk.sync()?;
        let first = self.first(state);
        disk.write(&first[1..], 1)?;
        disk.sync()?;
        disk.write(&first[..1], 0)?;
        disk.sync()
    }
}
