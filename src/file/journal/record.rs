//! [`Record`]: what a patch overwrites, and what it is overwritten by.

use byteorder::{ByteOrder, LittleEndian};

use crate::error::Result;
use crate::file::checksum::Checksum;
use crate::gguf::edit_marker;
use crate::gguf::layout::to_u64;
use crate::limits::Limits;

const MAGIC: &[u8; 8] = b"GGUFUNDO";
const VERSION: u64 = 2;

/// The length of the marker, and of the part of a file that it replaces.
pub(super) const MARKER: usize = 24;

/// Differences separated by at most this many equal bytes are one run: a run costs 16 bytes.
const RUN_GAP: usize = 32;

/// Files are read and written in pieces of this size, whatever a record declares.
const PIECE: usize = 64 * 1024;

/// Identifies an edit.
pub(super) type Number = [u8; 16];

/// Returns the bytes that a file begins with during the edit with this number.
pub(super) fn marker(number: &Number) -> [u8; MARKER] {
    let mut marker = [0; MARKER];
    let (magic, rest) = marker.split_at_mut(edit_marker::MAGIC.len());
    magic.copy_from_slice(&edit_marker::MAGIC);
    rest.copy_from_slice(number);
    marker
}

/// The bytes of a file's start that an edit changes, borrowed from the bytes of the record's own file.
///
/// The record is all little-endian: magic; version as u64; the number; as u64 the file's length, the length of its start, and the
/// checksum of the part of the start that is in no run; the first 24 bytes, old and new; the differing runs after these, each
/// with its position and length as u64, the old bytes and the new; and last a checksum of everything before. Runs are in order,
/// and more than [`RUN_GAP`] bytes apart, so that their number is small relative to the length of the start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Record<'a> {
    pub(super) number: Number,
    file_len: u64,
    span: usize,
    /// The checksum of the start without its first bytes and the runs.
    pub(super) rest: u64,
    pub(super) old_first: [u8; MARKER],
    pub(super) new_first: [u8; MARKER],
    runs: &'a [u8],
}

/// The old and the new bytes have the same length, at least one.
#[derive(Debug, Clone, Copy)]
struct Run<'a> {
    at: usize,
    old: &'a [u8],
    new: &'a [u8],
}

impl Run<'_> {
    fn end(&self) -> usize {
        self.at + self.old.len()
    }
}

/// One of the two states between which an edit lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Old,
    New,
}

/// How well a file's start agrees with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Agreement {
    /// It is the start before the edit.
    pub(super) is_old: bool,
    /// It is the start after the edit.
    pub(super) is_new: bool,
    /// Each byte is that from before the edit, from after it, or the marker's.
    pub(super) is_between: bool,
}

impl<'a> Record<'a> {
    /// Returns the maximum size of a record for a file of this length. More runs have more equal bytes between them than
    /// each adds.
    pub(super) fn most_bytes(file_len: u64) -> u64 {
        2 * file_len.min(max_span()) + 128
    }

    /// Returns the contents of the record's file: the differences between two starts of the same length, at least
    /// [`MARKER`] bytes. Returns `None` if there are none.
    pub(super) fn between(number: &Number, old: &[u8], new: &[u8], file_len: u64) -> Option<Vec<u8>> {
        let mut ranges: Vec<std::ops::Range<usize>> = Vec::new();
        let pairs = old.iter().zip(new).enumerate().skip(MARKER);
        for (at, _) in pairs.filter(|(_, (old, new))| old != new) {
            match ranges.last_mut() {
                Some(range) if at - range.end <= RUN_GAP => range.end = at + 1,
                _ => ranges.push(at..at + 1),
            }
        }
        if ranges.is_empty() && old.get(..MARKER) == new.get(..MARKER) {
            return None;
        }
        let (mut rest, mut at) = (Checksum::new(), MARKER);
        for range in ranges.iter().cloned().chain(std::iter::once(old.len()..old.len())) {
            rest.add(&old[at..range.start]);
            at = range.end;
        }
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(number);
        bytes.extend([file_len, to_u64(old.len()), rest.value()].into_iter().flat_map(u64::to_le_bytes));
        bytes.extend(&old[..MARKER]);
        bytes.extend(&new[..MARKER]);
        for range in ranges {
            bytes.extend(to_u64(range.start).to_le_bytes());
            bytes.extend(to_u64(range.len()).to_le_bytes());
            bytes.extend(&old[range.clone()]);
            bytes.extend(&new[range]);
        }
        let mut sum = Checksum::new();
        sum.add(&bytes);
        bytes.extend(sum.value().to_le_bytes());
        Some(bytes)
    }

    /// Returns `None` if the bytes are not a complete record as [`between`](Self::between) makes it of a GGUF's header and
    /// another.
    pub(super) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (body, sum) = bytes.split_at_checked(bytes.len().checked_sub(8)?)?;
        let mut rest = body.strip_prefix(MAGIC)?;
        if take_number(&mut rest)? != VERSION {
            return None;
        }
        let mut expected = Checksum::new();
        expected.add(body);
        if LittleEndian::read_u64(sum) != expected.value() {
            return None;
        }
        let number = take(&mut rest)?;
        let (file_len, span) = (take_number(&mut rest)?, take_number(&mut rest)?);
        let is_header = (to_u64(MARKER)..=file_len.min(max_span())).contains(&span);
        let span = usize::try_from(span).ok().filter(|_| is_header)?;
        let (rest_sum, old_first, new_first) =
            (take_number(&mut rest)?, take::<MARKER>(&mut rest)?, take::<MARKER>(&mut rest)?);
        if !old_first.starts_with(b"GGUF") || !new_first.starts_with(b"GGUF") {
            return None;
        }
        let record = Record { number, file_len, span, rest: rest_sum, old_first, new_first, runs: rest };
        let mut least = MARKER;
        while !rest.is_empty() {
            let run = take_run(&mut rest)?;
            if run.at < least || run.old.is_empty() || run.at.checked_add(run.old.len())? > span {
                return None;
            }
            least = run.end().saturating_add(RUN_GAP + 1);
        }
        Some(record)
    }

    pub(super) fn file_len(&self) -> u64 {
        self.file_len
    }

    fn runs(&self) -> impl Iterator<Item = Run<'a>> {
        let mut rest = self.runs;
        std::iter::from_fn(move || take_run(&mut rest))
    }

    pub(super) fn first(&self, state: State) -> &[u8; MARKER] {
        match state {
            State::Old => &self.old_first,
            State::New => &self.new_first,
        }
    }

    /// Returns the number of bytes that differ.
    pub(super) fn changed(&self) -> u64 {
        let differ =
            |old: &[u8], new: &[u8]| to_u64(old.iter().zip(new).filter(|(old, new)| old != new).count());
        differ(&self.old_first, &self.new_first)
            + self.runs().map(|run| differ(run.old, run.new)).sum::<u64>()
    }

    /// Divides the start after its first bytes into pieces, and each piece into parts that lie within a run or between two.
    pub(super) fn for_pieces(
        &self,
        mut visit: impl FnMut(usize, usize, &[Part<'a>]) -> Result<()>,
    ) -> Result<()> {
        let mut runs = self.runs().peekable();
        let mut parts = Vec::new();
        let mut at = MARKER;
        while at < self.span {
            let (start, end) = (at, self.span.min(at + PIECE));
            parts.clear();
            while at < end {
                match runs.peek().copied() {
                    Some(run) if run.at <= at => {
                        let (from, until) = (at - run.at, end.min(run.end()) - run.at);
                        let run_part = Some((&run.old[from..until], &run.new[from..until]));
                        parts.push(Part { len: until - from, run: run_part });
                        at += until - from;
                        if at == run.end() {
                            runs.next();
                        }
                    }
                    run => {
                        let until = run.map_or(end, |run| run.at.min(end));
                        parts.push(Part { len: until - at, run: None });
                        at = until;
                    }
                }
            }
            visit(start, end - start, &parts)?;
        }
        Ok(())
    }
}

/// Bytes of a piece: the old and new bytes of a run, or bytes that stay.
pub(super) struct Part<'a> {
    pub(super) len: usize,
    pub(super) run: Option<(&'a [u8], &'a [u8])>,
}

/// Returns `true` if these can be the bytes of a partly written record: the start of one, or space that was never written.
pub(super) fn is_cut_off(bytes: &[u8]) -> bool {
    let start = &bytes[..bytes.len().min(MAGIC.len())];
    Record::decode(bytes).is_none() && (MAGIC.starts_with(start) || bytes.iter().all(|&byte| byte == 0))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*taken)
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    take(rest).map(u64::from_le_bytes)
}

fn take_run<'a>(rest: &mut &'a [u8]) -> Option<Run<'a>> {
    let at = usize::try_from(take_number(rest)?).ok()?;
    let len = usize::try_from(take_number(rest)?).ok()?;
    let (old, behind) = rest.split_at_checked(len)?;
    let (new, behind) = behind.split_at_checked(len)?;
    *rest = behind;
    Some(Run { at, old, new })
}

/// Records cover headers that could be read, and the padding after them.
pub(super) fn max_span() -> u64 {
    let limits = Limits::default();
    limits.max_header_bytes + u64::from(limits.max_alignment)
}
