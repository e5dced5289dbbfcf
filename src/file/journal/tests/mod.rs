//! A patch that fails, is cut off or loses power at any step leaves the old bytes or the new ones, or what recovery
//! makes the old ones.

mod files;
mod strangers;

use std::cell::Cell;

use proptest::prelude::*;

use super::*;

const LATER: &[u8] = b" and what comes behind it";

/// A disk in memory whose writes may be lost, in any part, until they are synced; its power fails before a step.
struct Simulated {
    durable: Vec<u8>,
    cached: Vec<u8>,
    record: Option<Vec<u8>>,
    steps_left: Cell<u32>,
    /// Every following step fails as well.
    stays_broken: bool,
}

impl Simulated {
    fn new(bytes: Vec<u8>, steps: u32, stays_broken: bool) -> Self {
        Simulated {
            cached: bytes.clone(),
            durable: bytes,
            record: None,
            steps_left: Cell::new(steps),
            stays_broken,
        }
    }

    fn step(&self) -> Result<()> {
        match self.steps_left.get() {
            0 => {
                self.steps_left.set(if self.stays_broken { 0 } else { u32::MAX });
                Err(Error::io("take the step", std::io::Error::other("on purpose")))
            }
            left => {
                self.steps_left.set(left - 1);
                Ok(())
            }
        }
    }

    /// The same disk after a crash: of what was not synced, each byte survives that `survives` says.
    fn restarted(self, mut survives: impl FnMut() -> bool) -> Self {
        let pairs = self.durable.iter().zip(&self.cached);
        let bytes = pairs.map(|(&durable, &cached)| if survives() { cached } else { durable }).collect();
        Simulated { record: self.record, ..Simulated::new(bytes, u32::MAX, false) }
    }
}

impl Disk for Simulated {
    fn len(&self) -> Result<u64> {
        Ok(self.cached.len() as u64)
    }

    fn read(&mut self, buffer: &mut [u8], offset: u64) -> Result<()> {
        buffer.copy_from_slice(&self.cached[offset as usize..][..buffer.len()]);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8], offset: u64) -> Result<()> {
        self.step()?;
        assert!(self.record.is_some(), "written without a record");
        self.cached[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        self.step()?;
        self.durable = self.cached.clone();
        Ok(())
    }

    fn record(&mut self) -> Result<Option<Vec<u8>>> {
        Ok(self.record.clone())
    }

    fn keep_record(&mut self, bytes: &[u8]) -> Result<()> {
        self.step()?;
        self.record = Some(bytes.to_vec());
        Ok(())
    }

    fn drop_record(&mut self) -> Result<()> {
        self.step()?;
        assert!(self.durable == self.cached, "the record is dropped before the bytes are safe");
        self.record = None;
        Ok(())
    }

    fn record_name(&self) -> String {
        "the record".into()
    }
}

/// Two starts of a file, equal in stretches.
fn starts() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let stretch = (1..60usize, any::<bool>(), any::<u8>());
    proptest::collection::vec(stretch, 0..12).prop_map(|stretches| {
        let (mut old, mut new) = (vec![], vec![]);
        for (len, differs, byte) in stretches {
            old.extend(vec![byte; len]);
            new.extend(vec![byte ^ u8::from(differs); len]);
        }
        (old, new)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn power_may_fail_before_any_step((old, new) in starts(), step in 0..20u32, again in 0..20u32, seed in any::<u64>()) {
        let mut state = seed | 1;
        let mut coin = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state & 1 == 1
        };
        let file = [&old, LATER].concat();
        let mut disk = Simulated::new(file.clone(), step, true);
        let patched = patch(&mut disk, &new);
        let mut disk = disk.restarted(&mut coin);
        // Recovery is cut off as well.
        disk.steps_left = Cell::new(again);
        disk.stays_broken = true;
        let _ = roll_back(&mut disk);
        let mut disk = disk.restarted(&mut coin);
        roll_back(&mut disk).unwrap();
        prop_assert_eq!(disk.record, None);
        match patched {
            Ok(_) => prop_assert_eq!(disk.cached, [&new, LATER].concat()),
            Err(_) => prop_assert_eq!(disk.cached, file),
        }
    }

    #[test]
    fn a_step_that_fails_leaves_the_file_as_it_was((old, new) in starts(), step in 0..20u32) {
        let file = [&old, LATER].concat();
        let mut disk = Simulated::new(file.clone(), step, false);
        match patch(&mut disk, &new) {
            Ok(changed) => {
                prop_assert_eq!(changed, old.iter().zip(&new).filter(|(old, new)| old != new).count() as u64);
                prop_assert_eq!(disk.cached, [&new, LATER].concat());
                prop_assert_eq!(disk.record, None);
            }
            // The last step has failed, and the next edit undoes this one.
            Err(_) if disk.record.is_some() => {
                roll_back(&mut disk).unwrap();
                prop_assert_eq!(disk.cached, file);
            }
            Err(_) => prop_assert_eq!(disk.cached, file),
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written_or_not_at_all((old, new) in starts(), flip in any::<prop::sample::Index>()) {
        let record = Record::between(&old, &new, old.len() as u64 + 5);
        let mut bytes = record.encode();
        // Of what does not differ no record is made.
        prop_assert_eq!(Record::decode(&bytes), (!record.is_empty()).then_some(record));
        prop_assert_eq!(Record::decode(&bytes[..flip.index(bytes.len())]), None);
        let at = flip.index(bytes.len());
        bytes[at] ^= 0x40;
        prop_assert_eq!(Record::decode(&bytes), None);
    }
}
