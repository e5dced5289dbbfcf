//! [`Record`]: what an unfinished merge stores about itself after its data.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use byteorder::{LittleEndian, ReadBytesExt, WriteBytesExt};

use crate::error::Result;

const MAGIC: [u8; 8] = *b"mergerec";
/// The size of what precedes the shards: the magic and their number.
const START: u64 = 12;
/// The size of each shard's entry: its length and its number of tensors.
const SHARD: u64 = 16;
/// The size of what follows the shards and the bytes that show which are complete: where the record begins.
const END: u64 = 8;

/// A shard of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shard {
    /// The length of its file.
    pub(super) len: u64,
    pub(super) tensors: u64,
    /// Whether all its data is in the merged file and on disk.
    pub(super) is_whole: bool,
}

/// The shards, and the final length of the merged file, which is where this begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    len: u64,
    shards: Vec<Shard>,
}

impl Record {
    /// Creates a record of shards of these lengths and numbers of tensors.
    pub(super) fn new(len: u64, shards: impl Iterator<Item = Result<(u64, u64)>>) -> Result<Self> {
        let shard = |shard: Result<(u64, u64)>| {
            let (len, tensors) = shard?;
            Ok(Shard { len, tensors, is_whole: false })
        };
        Ok(Record { len, shards: shards.map(shard).collect::<Result<_>>()? })
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn shards(&self) -> &[Shard] {
        &self.shards
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        // Writing to a `Vec` cannot fail.
        let _ = bytes.write_u32::<LittleEndian>(self.shards.len() as u32);
        for shard in &self.shards {
            let _ = bytes.write_u64::<LittleEndian>(shard.len);
            let _ = bytes.write_u64::<LittleEndian>(shard.tensors);
        }
        bytes.extend(self.shards.iter().map(|shard| u8::from(shard.is_whole)));
        let _ = bytes.write_u64::<LittleEndian>(self.len);
        bytes
    }

    /// Reads the record at the end of a file, if there is one.
    pub(super) fn read(file: &mut File) -> io::Result<Option<Self>> {
        let file_len = file.seek(SeekFrom::End(0))?;
        if file_len < START + END {
            return Ok(None);
        }
        file.seek(SeekFrom::Start(file_len - END))?;
        let len = file.read_u64::<LittleEndian>()?;
        let most = START + u64::from(u16::MAX) * (SHARD + 1) + END;
        if len > file_len - START - END || file_len - len > most {
            return Ok(None);
        }
        file.seek(SeekFrom::Start(len))?;
        let mut bytes = vec![0; (file_len - len) as usize];
        file.read_exact(&mut bytes)?;
        Ok(Self::decode(&bytes, len))
    }

    fn decode(bytes: &[u8], len: u64) -> Option<Self> {
        let mut rest = bytes.strip_prefix(&MAGIC)?;
        let count = rest.read_u32::<LittleEndian>().ok()?;
        if bytes.len() as u64 != START + u64::from(count) * (SHARD + 1) + END {
            return None;
        }
        let mut shards = Vec::new();
        for _ in 0..count {
            let (len, tensors) =
                (rest.read_u64::<LittleEndian>().ok()?, rest.read_u64::<LittleEndian>().ok()?);
            shards.push(Shard { len, tensors, is_whole: false });
        }
        for shard in &mut shards {
            shard.is_whole = match rest.read_u8().ok()? {
                0 => false,
                1 => true,
                _ => return None,
            };
        }
        Some(Record { len, shards })
    }

    /// Records in the file that it has the data of a shard. A single byte is never partly written.
    pub(super) fn put_whole(&mut self, file: &mut File, no: usize) -> io::Result<()> {
        file.seek(SeekFrom::Start(self.len + START + SHARD * self.shards.len() as u64 + no as u64))?;
        file.write_all(&[1])?;
        self.shards[no].is_whole = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written() {
        let shards = [(100, 3), (70_000_000_000, 0), (1, 1)].map(Ok);
        let mut record = Record::new(5, shards.into_iter()).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"model").unwrap();
        assert_eq!(Record::read(&mut file).unwrap(), None);
        file.seek(SeekFrom::Start(5)).unwrap();
        file.write_all(&record.encode()).unwrap();
        assert_eq!(Record::read(&mut file).unwrap().as_ref(), Some(&record));
        record.put_whole(&mut file, 1).unwrap();
        let read = Record::read(&mut file).unwrap().unwrap();
        assert_eq!(
            read.shards().iter().map(|shard| shard.is_whole).collect::<Vec<_>>(),
            [false, true, false]
        );
        assert_eq!(read, record);
        // Nothing else is accepted as a record.
        let bytes = record.encode();
        for at in (0..START as usize).chain([START as usize + 3 * SHARD as usize]) {
            let mut bytes = bytes.clone();
            bytes[at] ^= 2;
            assert_eq!(Record::decode(&bytes, 5), None, "{at}");
        }
        assert_eq!(Record::decode(&bytes[..bytes.len() - 1], 5), None);
    }
}
