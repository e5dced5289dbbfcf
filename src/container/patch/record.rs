//! [`Record`]: what a patch overwrites, and by what.

use byteorder::{ByteOrder, LittleEndian};

use crate::container::layout::to_u64;

const MAGIC: &[u8; 8] = b"GGUFUNDO";
const VERSION: u64 = 1;

/// Differences with fewer equal bytes than this between them are one run: a run costs 16 bytes and a write.
const RUN_GAP: usize = 32;

/// The bytes of a file's start that differ.
///
/// As a file it is all little-endian: magic, then as u64 the version, the file's length, the length of its start, the
/// checksum of what of the start is in no run, and the number of runs; of each run its place and length, the old bytes and
/// the new; last a checksum of everything before.
#[derive(Debug, PartialEq)]
pub(super) struct Record {
    file_len: u64,
    span: usize,
    /// Of the start without the runs.
    rest: u64,
    runs: Vec<Run>,
}

/// As many new bytes as old.
#[derive(Debug, PartialEq)]
struct Run {
    at: usize,
    old: Vec<u8>,
    new: Vec<u8>,
}

impl Run {
    fn end(&self) -> usize {
        self.at + self.old.len()
    }
}

impl Record {
    /// The differences between two starts of the same length.
    pub(super) fn between(old: &[u8], new: &[u8], file_len: u64) -> Self {
        let mut ranges: Vec<std::ops::Range<usize>> = Vec::new();
        for (at, _) in old.iter().zip(new).enumerate().filter(|(_, (old, new))| old != new) {
            match ranges.last_mut() {
                Some(range) if at - range.end <= RUN_GAP => range.end = at + 1,
                _ => ranges.push(at..at + 1),
            }
        }
        let run = |range: std::ops::Range<usize>| Run {
            at: range.start,
            old: old[range.clone()].into(),
            new: new[range].into(),
        };
        let mut record =
            Record { file_len, span: old.len(), rest: 0, runs: ranges.into_iter().map(run).collect() };
        record.rest = record.checksum_of_rest(old);
        record
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub(super) fn file_len(&self) -> u64 {
        self.file_len
    }

    /// The length of the file's start that this is about.
    pub(super) fn span(&self) -> usize {
        self.span
    }

    /// How many bytes differ.
    pub(super) fn changed(&self) -> u64 {
        let in_run = |run: &Run| run.old.iter().zip(&run.new).filter(|(old, new)| old != new).count();
        self.runs.iter().map(|run| to_u64(in_run(run))).sum()
    }

    pub(super) fn old_runs(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.runs.iter().map(|run| (to_u64(run.at), &*run.old))
    }

    pub(super) fn new_runs(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.runs.iter().map(|run| (to_u64(run.at), &*run.new))
    }

    /// Whether a start of `span` bytes is one that a patch cut off anywhere leaves.
    pub(super) fn fits(&self, start: &[u8]) -> bool {
        let one_of_them = |run: &Run| {
            let here = &start[run.at..run.end()];
            here.iter().zip(run.old.iter().zip(&run.new)).all(|(now, (old, new))| now == old || now == new)
        };
        self.runs.iter().all(one_of_them) && self.checksum_of_rest(start) == self.rest
    }

    fn checksum_of_rest(&self, start: &[u8]) -> u64 {
        let (mut sum, mut at) = (Checksum::new(), 0);
        for run in &self.runs {
            sum.add(&start[at..run.at]);
            at = run.end();
        }
        sum.add(&start[at..]);
        sum.0
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
            bytes.extend(&run.old);
            bytes.extend(&run.new);
        }
        let mut sum = Checksum::new();
        sum.add(&bytes);
        number(&mut bytes, sum.0);
        bytes
    }

    /// `None` where the bytes are not a whole record.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
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
        let span = usize::try_from(number(&mut rest)?).ok().filter(|&span| to_u64(span) <= file_len)?;
        let (rest_sum, count) = (number(&mut rest)?, number(&mut rest)?);
        let (mut runs, mut end) = (Vec::new(), 0);
        for _ in 0..count {
            let at = usize::try_from(number(&mut rest)?).ok().filter(|&at| at >= end)?;
            let len = usize::try_from(number(&mut rest)?).ok()?;
            let (old, behind) = rest.split_at_checked(len)?;
            let (new, behind) = behind.split_at_checked(len)?;
            rest = behind;
            end = at.checked_add(len).filter(|&end| end <= span)?;
            runs.push(Run { at, old: old.into(), new: new.into() });
        }
        rest.is_empty().then_some(Record { file_len, span, rest: rest_sum, runs })
    }
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
