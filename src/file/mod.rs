//! Reading, writing and changing files, independent of their format.

pub(crate) mod atomic;
pub(crate) mod checksum;
mod copy;
pub(crate) mod identity;
#[cfg(any(unix, windows))]
pub(crate) mod journal;
#[cfg(feature = "mmap")]
#[allow(unsafe_code, reason = "the call that maps a file")]
pub(crate) mod map;
mod output;
pub(crate) mod read_at;
pub(crate) mod regular;
pub(crate) mod sink;
#[cfg(any(unix, windows))]
pub(crate) mod source;
mod unfinished;

#[cfg(any(unix, windows))]
pub(crate) use self::copy::copy as copy_between;
#[cfg(any(unix, windows))]
pub(crate) use self::output::follow_links;
pub use self::output::{Existing, Inputs, check_in_place};
pub(crate) use self::output::{FileTarget, put_new};
pub(crate) use self::unfinished::create;
pub use self::unfinished::{Unfinished, remove_unfinished};
