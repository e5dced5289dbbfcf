//! Records that were delivered with a file: they are complete or rejected, they cannot cause memory to be allocated,
//! and they take time in proportion to the header.

use super::*;

/// Appends the checksum that makes this a record. Anyone can do that.
fn sealed(mut body: Vec<u8>) -> Vec<u8> {
    let sum = body.iter().fold(0xcbf2_9ce4_8422_2325u64, |sum, &byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    body.extend(sum.to_le_bytes());
    body
}

/// Returns the fields of a record, without its checksum.
fn body(version: u64, file_len: u64, span: u64, rest: u64, runs: &[u8]) -> Vec<u8> {
    let mut bytes = b"GGUFUNDO".to_vec();
    bytes.extend(version.to_le_bytes());
    bytes.extend([5; 16]);
    bytes.extend([file_len, span, rest].into_iter().flat_map(u64::to_le_bytes));
    for _ in 0..2 {
        bytes.extend(b"GGUF\x03\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0");
    }
    bytes.extend(runs);
    bytes
}

fn run(at: u64, len: u64) -> Vec<u8> {
    let mut bytes = [at, len].into_iter().flat_map(u64::to_le_bytes).collect::<Vec<_>>();
    bytes.extend(vec![b'a'; len.min(100) as usize]);
    bytes.extend(vec![b'b'; len.min(100) as usize]);
    bytes
}

fn is_record(body: Vec<u8>) -> bool {
    Record::decode(&sealed(body)).is_some()
}

/// Runs must be within the header, after the marker, in order and apart, even if the checksum is correct.
#[test]
fn a_record_that_claims_too_much_is_none() {
    assert!(is_record(body(2, 100, 100, 0, &run(24, 3))));
    assert!(is_record(body(2, 100, 100, 0, &run(97, 3))));
    for (at, len) in
        [(23, 3), (0, 3), (98, 3), (100, 1), (24, 0), (u64::MAX, 3), (24, u64::MAX), (1 << 40, 1)]
    {
        assert!(!is_record(body(2, 100, 100, 0, &run(at, len))), "{at} {len}");
    }
    for (version, file_len, span) in
        [(1, 100, 100), (3, 100, 100), (2, 99, 100), (2, 100, 23), (2, u64::MAX, u64::MAX)]
    {
        assert!(!is_record(body(version, file_len, span, 0, &[])), "{version} {file_len} {span}");
    }
    let most = (1 << 30) + (1 << 16);
    assert!(is_record(body(2, u64::MAX, most, 0, &[])));
    assert!(!is_record(body(2, u64::MAX, most + 1, 0, &[])));
    // Thirty-two equal bytes between two runs make them one, so there cannot be many.
    for (second, is) in [(60, true), (59, false), (27, false), (24, false)] {
        let runs = [run(24, 3), run(second, 3)].concat();
        assert_eq!(is_record(body(2, 100, 100, 0, &runs)), is, "{second}");
    }
    assert!(!is_record([body(2, 100, 100, 0, &run(24, 3)), vec![0]].concat()));
    // The restored start must be a GGUF, so that no file is mistaken for half edited afterwards.
    for at in [56, 59, 80, 83] {
        let mut bytes = body(2, 100, 100, 0, &run(24, 3));
        bytes[at] ^= 0x80;
        assert!(!is_record(bytes), "{at}");
    }
}

/// A file in memory that counts accesses.
struct Counted {
    disk: Simulated,
    bytes_read: u64,
    steps: u64,
}

impl Disk for Counted {
    fn len(&self) -> Result<u64> {
        self.disk.len()
    }
    fn read(&mut self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.bytes_read += buffer.len() as u64;
        self.steps += 1;
        self.disk.read(buffer, offset)
    }
    fn write(&mut self, bytes: &[u8], offset: u64) -> Result<()> {
        self.steps += 1;
        self.disk.write(bytes, offset)
    }
    fn sync(&mut self) -> Result<()> {
        self.disk.sync()
    }
    fn records(&mut self) -> Result<Vec<(PathBuf, Number)>> {
        self.disk.records()
    }
    fn own_records(&mut self) -> Vec<PathBuf> {
        self.disk.own_records()
    }
    fn read_record(&mut self, path: &Path) -> Result<Vec<u8>> {
        self.disk.read_record(path)
    }
    fn keep_record(&mut self, number: &Number, bytes: &[u8]) -> Result<PathBuf> {
        self.disk.keep_record(number, bytes)
    }
    fn drop_record(&mut self, path: &Path) -> Result<()> {
        self.disk.drop_record(path)
    }
    fn file_name(&self) -> String {
        self.disk.file_name()
    }
}

#[test]
fn as_many_runs_as_there_can_be_are_undone_in_one_pass() {
    let old = [b"GGUF".to_vec(), vec![1; 1_000_000]].concat();
    let mut new = old.clone();
    new.iter_mut().skip(24).step_by(34).for_each(|byte| *byte = 2);
    let record = Record::between(&[9; 16], &old, &new, old.len() as u64).unwrap();
    assert!(record.len() as u64 <= Record::most_bytes(old.len() as u64));
    let mut disk = Simulated::new(new);
    disk.cached[..MARKER].copy_from_slice(&record::marker(&[9; 16]));
    disk.records.insert(name(&[9; 16]), record);
    let mut disk = Counted { disk, bytes_read: 0, steps: 0 };
    assert!(recover_file(&mut disk).unwrap());
    assert!(disk.disk.cached == old);
    // Compared once and restored once, in pieces of 64 KiB.
    assert!(disk.bytes_read <= 2 * old.len() as u64 + 100 && disk.steps < 60, "{}", disk.steps);
}

/// Runs, and the bytes between them, are compared piece by piece.
#[test]
fn every_byte_of_the_header_counts() {
    let old: Vec<u8> = [b"GGUF".to_vec(), (0..400_000u32).map(|at| (at * 7 / 3) as u8).collect()].concat();
    let mut new = old.clone();
    new[70_000..270_000].iter_mut().for_each(|byte| *byte ^= 0x55);
    let bytes = Record::between(&[9; 16], &old, &new, old.len() as u64).unwrap();
    let record = Record::decode(&bytes).unwrap();
    let agreement = |file: &[u8]| {
        let found = record.agreement(&mut Simulated::new(file.to_vec())).unwrap();
        (found.is_old, found.is_new, found.is_between)
    };
    let mixed = [&new[..150_000], &old[150_000..]].concat();
    let marked = [&record::marker(&[9; 16]), &mixed[24..]].concat();
    for (file, expected) in [
        (&old, (true, false, true)),
        (&new, (false, true, true)),
        (&mixed, (false, false, true)),
        (&marked, (false, false, true)),
    ] {
        assert_eq!(agreement(file), expected);
        for at in [0, 23, 24, 65_535, 65_560, 69_999, 70_000, 135_536, 269_999, 270_000, 399_999] {
            let mut other = file.clone();
            other[at] ^= 0x0f;
            assert_eq!(agreement(&other), (false, false, false), "{at}");
        }
    }
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![6 => 0..140u64, 2 => (0..64u32).prop_map(|bit| 1 << bit), 1 => any::<u64>()]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(20_000) })]

    /// Any fields with a correct checksum: if they are accepted as a record, it is within its file.
    #[test]
    fn any_bytes_are_a_record_within_its_file_or_none(
        (file_len, span, rest) in (number(), number(), number()),
        runs in prop::collection::vec((number(), 0..6u64, any::<bool>()), 0..4),
        junk in prop_oneof![9 => Just(vec![]), 1 => prop::collection::vec(any::<u8>(), 0..20)],
    ) {
        let mut more = vec![];
        for &(at, len, lies) in &runs {
            let mut run = run(at, len);
            run[8] += u8::from(lies && len == 5);
            more.extend(run);
        }
        more.extend(junk);
        let bytes = sealed(body(2, file_len, span, rest, &more));
        let Some(record) = Record::decode(&bytes) else { return Ok(()) };
        prop_assert!(span <= file_len);
        if span > 1 << 20 {
            return Ok(());
        }
        // For any file: what is written is within the header, and the rest is unchanged.
        let mut disk = Simulated::new(vec![b'c'; span as usize + 9]);
        disk.records.insert(PathBuf::new(), vec![]);
        record.put(State::Old, &mut disk).unwrap();
        prop_assert!(disk.cached.len() == span as usize + 9 && disk.cached[span as usize..] == [b'c'; 9]);
        prop_assert!(disk.cached.starts_with(b"GGUF"));
        let expected: u64 = runs.iter().map(|run| run.1).sum();
        prop_assert_eq!(disk.cached.iter().filter(|&&byte| byte == b'a').count() as u64, expected);
    }

    #[test]
    fn a_record_is_read_as_it_was_written_or_not_at_all((old, new) in starts(), flip in any::<prop::sample::Index>()) {
        let Some(mut bytes) = Record::between(&[3; 16], &old, &new, old.len() as u64 + 5) else {
            prop_assert!(old == new);
            return Ok(());
        };
        prop_assert!(bytes.len() as u64 <= Record::most_bytes(old.len() as u64));
        let changed = old.iter().zip(&new).filter(|(old, new)| old != new).count() as u64;
        prop_assert_eq!(Record::decode(&bytes).unwrap().changed(), changed);
        prop_assert_eq!(Record::decode(&bytes[..flip.index(bytes.len())]), None);
        let at = flip.index(bytes.len());
        bytes[at] ^= 0x40;
        prop_assert_eq!(Record::decode(&bytes), None);
    }
}
