//! [`Record`]: what a patch overwrites, and by what.

use byteorder::{ByteOrder, LittleEndian};

use crate::Limits;
use crate::container::layout::to_u64;
use crate::error::Result;

const MAGIC: &[u8; 8] = b"GGUFUNDO";
const VERSION: u64 = 1;

/// Differences with fewer equal bytes than this between them are one run: a run costs 16 bytes and a write.
const RUN_GAP: usize = 32;

/// A file is looked at in pieces of this size, whatever a record claims.
const PIECE: usize = 64 * 1024;

/// The bytes of a file's start that differ.
///
/// As a file it is all little-endian: magic, then as u64 the version, the file's length, the length of its start, the
/// checksum of what of the start is in no run, and the number of runs; of each run its place and length, the old bytes and
/// the new; last a checksum of everything before.
#[derive(Debug, PartialEq)]
pub(super) struct Record<'a> {
    file_len: u64,
    span: usize,
    /// Of the start without the runs.
    rest: u64,
    runs: Vec<Run<'a>>,
}

/// As many new bytes as old, one at least.
#[derive(Debug, PartialEq)]
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

impl<'a> Record<'a> {
    /// The most bytes that a record beside a file of this length can have: both versions of the header, which is no longer
    /// than one that can be read, and what stands around a single run. More runs have more equal bytes between them than
    /// each adds.
    pub(super) fn most_bytes(file_len: u64) -> u64 {
        2 * file_len.min(max_span()) + 72
    }

    /// The differences between two starts of the same length.
    pub(super) fn between(old: &'a [u8], new: &'a [u8], file_len: u64) -> Self {
        let mut ranges: Vec<std::ops::Range<usize>> = Vec::new();
        for (at, _) in old.iter().zip(new).enumerate().filter(|(_, (old, new))| old != new) {
            match ranges.last_mut() {
                Some(range) if at - range.end <= RUN_GAP => range.end = at + 1,
                _ => ranges.push(at..at + 1),
            }
        }
        let run = |range: std::ops::Range<usize>| Run {
            at: range.start,
            old: &old[range.clone()],
            new: &new[range],
        };
        let runs: Vec<_> = ranges.into_iter().map(run).collect();
        let (mut rest, mut at) = (Checksum::new(), 0);
        for run in &runs {
            rest.add(&old[at..run.at]);
            at = run.end();
        }
        rest.add(&old[at..]);
        Record { file_len, span: old.len(), rest: rest.0, runs }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub(super) fn file_len(&self) -> u64 {
        self.file_len
    }

    /// How many bytes differ.
    pub(super) fn changed(&self) -> u64 {
        let in_run = |run: &Run<'_>| run.old.iter().zip(run.new).filter(|(old, new)| old != new).count();
        self.runs.iter().map(|run| to_u64(in_run(run))).sum()
    }

    pub(super) fn old_runs(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.runs.iter().map(|run| (to_u64(run.at), run.old))
    }

    pub(super) fn new_runs(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.runs.iter().map(|run| (to_u64(run.at), run.new))
    }

    /// Whether the file begins as a patch leaves it that was cut off anywhere. `read` fills a buffer from an offset.
    pub(super) fn fits(&self, mut read: impl FnMut(&mut [u8], u64) -> Result<()>) -> Result<bool> {
        let mut buffer = vec![0; PIECE.min(self.span)];
        for run in &self.runs {
            let pieces = run.old.chunks(PIECE).zip(run.new.chunks(PIECE));
            for (at, (old, new)) in (run.at..).step_by(PIECE).zip(pieces) {
                let now = &mut buffer[..old.len()];
                read(now, to_u64(at))?;
                if !now.iter().zip(old.iter().zip(new)).all(|(now, (old, new))| now == old || now == new) {
                    return Ok(false);
                }
            }
        }
        let (mut rest, mut at) = (Checksum::new(), 0);
        let ends = self.runs.iter().map(|run| (run.at, run.end())).chain([(self.span, self.span)]);
        for (until, behind) in ends {
            while at < until {
                let now = &mut buffer[..PIECE.min(until - at)];
                read(now, to_u64(at))?;
                rest.add(now);
                at += now.len();
            }
            at = behind;
        }
        Ok(rest.0 == self.rest)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let number = |bytes: &mut Vec<u8>, number: u64| bytes.extend(number.to_le_bytes());
        for field in [VERSION, self.file_len, to_u64(self.span), self.rest, to_u64(self.runs.len())] {
            number(&mut bytes, field);
        }
        for run in &self.runs {
            number(&mut bytes, to_u64(run.at));
            number(&mut bytes, to_u64(run.old.len()));
            bytes.extend(run.old);
            bytes.extend(run.new);
        }
        let mut sum = Checksum::new();
        sum.add(&bytes);
        number(&mut bytes, sum.0);
        bytes
    }

    /// `None` where the bytes are not a whole record that [`between`](Self::between) makes of a header and a file.
    pub(super) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (body, sum) = bytes.split_at_checked(bytes.len().checked_sub(8)?)?;
        let mut expected = Checksum::new();
        expected.add(body);
        if LittleEndian::read_u64(sum) != expected.0 {
            return None;
        }
        let mut rest = body.strip_prefix(MAGIC)?;
        let number = |rest: &mut &[u8]| {
            let (number, behind) = rest.split_first_chunk()?;
            *rest = behind;
            Some(u64::from_le_bytes(*number))
        };
        if number(&mut rest)? != VERSION {
            return None;
        }
        let file_len = number(&mut rest)?;
        let span = number(&mut rest)?;
        let span = usize::try_from(span).ok().filter(|_| span <= file_len.min(max_span()))?;
        let (rest_sum, count) = (number(&mut rest)?, number(&mut rest)?);
        let (mut runs, mut end) = (Vec::new(), 0);
        for _ in 0..count {
            let at = usize::try_from(number(&mut rest)?).ok().filter(|&at| at >= end)?;
            let len = usize::try_from(number(&mut rest)?).ok().filter(|&len| len > 0)?;
            let (old, behind) = rest.split_at_checked(len)?;
            let (new, behind) = behind.split_at_checked(len)?;
            rest = behind;
            end = at.checked_add(len).filter(|&end| end <= span)?;
            runs.push(Run { at, old, new });
        }
        (rest.is_empty() && count > 0).then_some(Record { file_len, span, rest: rest_sum, runs })
    }
}

/// Records are of headers that could be read, and of the padding behind them.
fn max_span() -> u64 {
    let limits = Limits::default();
    limits.max_header_bytes + u64::from(limits.max_alignment)
}

/// FNV-1a in 64 bits: against accidents, not against malice.
struct Checksum(u64);

impl Checksum {
    fn new() -> Self {
        Checksum(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
