//! [`Part`]: one machine's share of a conversion.

use std::ffi::OsString;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::job::Job;
use crate::display::pad;
use crate::error::{Error, ParseProblem, Result};
use crate::gguf::shards::{ShardPaths, ShardPlan};

/// The number of bytes that are assumed to be copied in the time of converting one value. It is between what fast and slow
/// formats take, and far more than the size of a value, so that conversions are divided evenly and copies hardly count.
const BYTES_FOR_A_VALUE: u64 = 16;

/// Part `k` of `N` of a conversion, which produces shard `k` of `N`. N machines can build a model without coordinating.
///
/// Each tensor is converted independently and always to the same bytes, so the parts differ from a single machine's file
/// only in where they are split: merged, they are that file. The contents of each part depend only on the jobs, which must
/// be the same for all parts.
///
/// ```
/// use gguf_codec::model::Part;
/// use std::path::Path;
///
/// let part: Part = "2/8".parse()?;
/// assert_eq!(part.path("out/model-Q4_K.gguf"), Path::new("out/model-Q4_K-00002-of-00008.gguf"));
/// assert!("9/8".parse::<Part>().is_err());
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Part {
    no: u16,
    count: u16,
}

impl Part {
    /// Creates part number `no`, from 0, of `count` parts.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if `no` is not below `count`.
    pub fn new(no: u16, count: u16) -> Result<Self> {
        if no < count {
            Ok(Part { no, count })
        } else {
            Err(Error::OutOfRange { what: "part", found: no.into(), count: count.into() })
        }
    }

    /// Returns its number, from 0, for [`Writer::set_shard`](crate::Writer::set_shard).
    pub fn no(self) -> u16 {
        self.no
    }

    /// Returns the number of parts.
    pub fn count(self) -> u16 {
        self.count
    }

    /// Returns the positions of its jobs among those of the whole model. They are a consecutive range, as near to an equal
    /// share of the work as possible without splitting tensors. With more parts than tensors, some are empty.
    pub fn jobs(self, jobs: &[Job<'_>]) -> Range<usize> {
        let work = |job: &Job<'_>| {
            let converted = if job.copies() { 0 } else { job.shape().element_count() };
            job.origin().byte_len().saturating_add(converted.saturating_mul(BYTES_FOR_A_VALUE))
        };
        let weights: Vec<u64> = jobs.iter().map(work).collect();
        let plan = ShardPlan::balanced(&weights, self.count).ok();
        plan.and_then(|plan| plan.shards().get(usize::from(self.no)).cloned()).unwrap_or(0..0)
    }

    /// Returns the path of its file, where `whole` is that of the complete model: the shard's number is put before a
    /// final `.gguf`.
    pub fn path(self, whole: impl AsRef<Path>) -> PathBuf {
        let whole = whole.as_ref();
        let is_gguf = whole.extension().is_some_and(|extension| extension == "gguf");
        let prefix: OsString = if is_gguf { whole.with_extension("").into() } else { whole.into() };
        ShardPaths::new(prefix, self.count).path(self.no)
    }
}

/// Parses the user's notation, counted from 1: `2/8` is the second of eight.
impl FromStr for Part {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = |digits: &str| digits.parse::<u16>().ok().filter(|_| !digits.starts_with('+'));
        let numbers = text.split_once('/').and_then(|(k, n)| Some((number(k)?.checked_sub(1)?, number(n)?)));
        numbers.and_then(|(no, count)| Part::new(no, count).ok()).ok_or_else(|| {
            let problem = ParseProblem::Part { text: text.to_owned() };
            Error::Parse { problem }
        })
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        pad(f, format_args!("{}/{}", u32::from(self.no) + 1, self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_counted_from_one_by_users() {
        for text in ["1/1", "2/8", "8/8", "65535/65535"] {
            assert_eq!(text.parse::<Part>().unwrap().to_string(), text);
        }
        for text in
            ["", "1", "/", "0/1", "2/1", "1/0", "0/0", "-1/2", "+1/2", "1/+2", "1/65536", "1/2/3", " 1/2"]
        {
            let message = text.parse::<Part>().unwrap_err().to_string();
            assert!(message.contains("k/N") && message.contains(text), "{message}");
        }
        Part::new(2, 2).unwrap_err();
    }

    #[test]
    fn a_part_is_a_shard_beside_the_whole() {
        let part = Part::new(0, 3).unwrap();
        for (whole, wanted) in [
            ("m.gguf", "m-00001-of-00003.gguf"),
            ("d/m", "d/m-00001-of-00003.gguf"),
            ("d.gguf/m.Q4_K", "d.gguf/m.Q4_K-00001-of-00003.gguf"),
            ("m.v1.gguf", "m.v1-00001-of-00003.gguf"),
        ] {
            assert_eq!(part.path(whole), Path::new(wanted));
        }
    }
}
