//! [`HeaderParser`]: parses a header from bytes that arrive in pieces, without doing any I/O.
//!
//! The parser keeps no bytes. Each call receives all of the header that has arrived so far, and the parser remembers
//! how far it has read: between the two halves of a pair, or at one element of a nested array. Parsing therefore
//! takes time linear in the header's length, however it is split.
//!
//! The outcome, errors included, does not depend on whether the bytes arrive at once or one by one. This holds
//! because each decision depends on the position alone: a step waits until all bytes that it examines are present,
//! and a count waits until everything that it counts could be present.

mod field;
mod fields;
mod pairs;
mod tensors;

use alloc::boxed::Box;
use alloc::vec::Vec;

use self::field::{Count, Field};
use super::cursor::Encoding;
use super::edit_marker;
use super::header::Header;
use super::index::Gguf;
use super::layout::to_u64;
use super::name_index::NameIndex;
use super::value_type::ValueType;
use crate::byte_order::ByteOrder;
use crate::error::{Error, Problem, Result};
use crate::limits::Limits;

const MAGIC: [u8; 4] = *b"GGUF";

/// What a [`HeaderParser`] needs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "there is no third state")]
pub enum HeaderProgress {
    /// The header continues for at least this many bytes after those given, so a reader can request all of them
    /// without reading past the header's end. At least 1.
    NeedMore(u64),
    /// The header is complete.
    Done,
}

/// Parses a header from bytes that arrive in pieces, as from HTTP range requests or a pipe.
///
/// The parser does no I/O and keeps no bytes. Pass everything that has arrived so far to [`advance`](Self::advance),
/// fetch more while it asks for more, and let [`finish`](Self::finish) make a [`Gguf`] of the bytes. Parsing takes
/// time linear in the header's length, whatever the size of the pieces.
///
/// ```
/// use gguf_codec::{HeaderParser, Limits, HeaderProgress};
///
/// # let file = b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0k\x07\0\0\0\x01";
/// let mut received = Vec::new();
/// let mut parser = HeaderParser::new(Limits::default());
/// while let HeaderProgress::NeedMore(bytes) = parser.advance(&received)? {
///     let next = received.len() + bytes as usize;
///     received.extend_from_slice(&file[received.len()..next]); // or a range request
/// }
/// let gguf = parser.finish(received)?;
/// assert!(gguf.metadata().require::<bool>("k")?);
/// # Ok::<(), gguf_codec::Error>(())
/// ```
///
/// # Range requests
///
/// A request costs more than a few surplus bytes, so ask for more than is needed. The needed bytes never extend past
/// the header, so no more than the surplus is read in vain. This is all the code required, in an async runtime too:
///
/// ```
/// use gguf_codec::{Gguf, HeaderParser, Limits, HeaderProgress};
///
/// /// `range` gets bytes from an offset on, at most so many, and none behind the file's end.
/// async fn read_header<E: From<gguf_codec::Error>>(
///     mut range: impl AsyncFnMut(u64, u64) -> Result<Vec<u8>, E>,
/// ) -> Result<Gguf<Vec<u8>>, E> {
///     let (mut parser, mut received) = (HeaderParser::new(Limits::default()), Vec::new());
///     while let HeaderProgress::NeedMore(bytes) = parser.advance(&received)? {
///         let part = range(received.len() as u64, bytes.saturating_add(64 * 1024)).await?;
///         if part.is_empty() {
///             break; // `finish` says in the middle of what the file ends
///         }
///         received.extend(part);
///     }
///     Ok(parser.finish(received)?)
/// }
/// # let file = b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0k\x07\0\0\0\x01";
/// # let server = async |from: u64, most: u64| {
/// #     let rest = &file[(from as usize).min(file.len())..];
/// #     Ok::<_, gguf_codec::Error>(rest[..(most as usize).min(rest.len()).min(7)].to_vec())
/// # };
/// # let mut context = std::task::Context::from_waker(std::task::Waker::noop());
/// # let mut work = std::pin::pin!(read_header(server));
/// # let std::task::Poll::Ready(gguf) = work.as_mut().poll(&mut context) else { panic!() };
/// # assert!(gguf?.metadata().require::<bool>("k")?);
/// # Ok::<(), gguf_codec::Error>(())
/// ```
///
/// The data of a tensor is then [`byte_len`](crate::TensorInfo::byte_len) bytes from
/// [`file_offset`](crate::TensorInfo::file_offset) on. [`with_data`](crate::TensorInfo::with_data) combines them into a
/// tensor. `gguf inspect URL` does this over HTTP, and also handles servers that respond incorrectly.
///
/// # Pipes
///
/// [`Gguf::read_header`] uses this parser to read from any [`Read`](std::io::Read). It stops exactly at the header's
/// end, so the next byte is the padding before the first tensor. If bytes are pushed to you instead, collect them and
/// pass them on as soon as enough have arrived:
///
/// ```
/// # use gguf_codec::{HeaderParser, Limits, HeaderProgress};
/// # let file = b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0k\x07\0\0\0\x01";
/// # let chunks = file.chunks(5);
/// let (mut parser, mut received, mut wanted) = (HeaderParser::new(Limits::default()), Vec::new(), 0);
/// for chunk in chunks {
///     received.extend_from_slice(chunk);
///     if received.len() as u64 >= wanted {
///         match parser.advance(&received)? {
///             HeaderProgress::NeedMore(bytes) => wanted = received.len() as u64 + bytes,
///             HeaderProgress::Done => break,
///         }
///     }
/// }
/// let gguf = parser.finish(received)?;
/// # assert!(gguf.metadata().require::<bool>("k")?);
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct HeaderParser {
    limits: Limits,
    /// Whether unreadable tensors are listed instead of being an error.
    foreign: bool,
    header: Header,
    key_count: u64,
    tensor_count: u64,
    /// Everything before this byte has been parsed.
    at: usize,
    state: State,
    /// The arrays that contain `at`, outermost first. Only arrays of strings and of arrays are entered; others are read at once.
    frames: Vec<Frame>,
    /// The padded size of the tensors so far, which is where the next one must begin.
    data_len: u64,
}

/// What is at [`HeaderParser::at`].
#[derive(Debug, Clone, Copy)]
enum State {
    Magic,
    Version,
    Counts,
    Key,
    /// A value, starting with its type.
    Value {
        key_at: usize,
        key_end: usize,
    },
    /// An element of the innermost frame.
    Elements {
        key_at: usize,
        key_end: usize,
    },
    /// The end of all pairs.
    KeysEnd,
    TensorName,
    /// A tensor's extents, type and offset.
    TensorRest {
        name_at: usize,
        name_len: u8,
    },
    /// The end of the tensor table.
    TensorsEnd,
    Done,
}

/// An array that has been entered.
#[derive(Debug, Clone, Copy)]
struct Frame {
    element: ValueType,
    left: u64,
    /// The fewest bytes that the rest of the header needs after this array.
    tail: u64,
}

/// Why a step did not complete.
enum Stop {
    /// Bytes are missing. If all bytes were given, that is the problem at `offset`. Otherwise the header is at least
    /// `end` bytes long.
    Short {
        offset: usize,
        problem: Problem,
        end: u64,
    },
    Failed(Box<Error>),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Failed(Box::new(error))
    }
}

impl HeaderParser {
    /// Creates a parser at the start of a header.
    pub fn new(limits: Limits) -> Self {
        HeaderParser {
            limits,
            foreign: false,
            header: Header::default(),
            key_count: 0,
            tensor_count: 0,
            at: 0,
            state: State::Magic,
            frames: Vec::new(),
            data_len: 0,
        }
    }

    /// Lists unreadable tensors: see [`GgufOptions::foreign_tensors`](crate::GgufOptions::foreign_tensors).
    #[must_use]
    pub fn foreign_tensors(mut self, listed: bool) -> Self {
        self.foreign = listed;
        self
    }

    /// Parses as far as `bytes` allow. These are all bytes received so far from the start of the GGUF, including
    /// those of earlier calls. Bytes after the header are ignored.
    ///
    /// # Errors
    /// [`Error::Malformed`] and [`Error::Limit`], which are returned again by further calls; [`Error::OutOfMemory`].
    pub fn advance(&mut self, bytes: &[u8]) -> Result<HeaderProgress> {
        match self.run(bytes) {
            Ok(()) => Ok(HeaderProgress::Done),
            Err(Stop::Short { end, .. }) => {
                let end = end.min(self.limits.max_header_bytes);
                Ok(HeaderProgress::NeedMore(end.saturating_sub(to_u64(bytes.len())).max(1)))
            }
            Err(Stop::Failed(error)) => Err(*error),
        }
    }

    /// Returns a [`Gguf`] over `bytes`, which are all of the header. It contains the header only: requesting a tensor's data
    /// returns [`Error::HeaderOnly`], and whether the file is long enough for the data has not been checked.
    ///
    /// # Errors
    /// The errors of [`advance`](Self::advance). An incomplete header is [`Error::Malformed`].
    pub fn finish<B: AsRef<[u8]>>(mut self, bytes: B) -> Result<Gguf<B>> {
        self.complete(bytes.as_ref())?;
        Ok(Gguf::header_only(bytes, self.header))
    }

    /// Parses `bytes`, after which no more will come.
    pub(crate) fn complete(&mut self, bytes: &[u8]) -> Result<()> {
        self.run(bytes).map_err(|stop| match stop {
            Stop::Short { offset, .. } if bytes.is_empty() => self.error(bytes, offset, Problem::Empty),
            Stop::Short { offset, problem, .. } => self.error(bytes, offset, problem),
            Stop::Failed(error) => *error,
        })
    }

    pub(crate) fn into_header(self) -> Header {
        self.header
    }

    fn run(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        loop {
            match self.state {
                State::Magic => self.magic(bytes)?,
                State::Version => self.version(bytes)?,
                State::Counts => self.counts(bytes)?,
                State::Key => self.key(bytes)?,
                State::Value { key_at, key_end } => self.value(bytes, key_at, key_end)?,
                State::Elements { key_at, key_end } => self.elements(bytes, key_at, key_end)?,
                State::KeysEnd => self.index_keys(bytes)?,
                State::TensorName => self.tensor_name(bytes)?,
                State::TensorRest { name_at, name_len } => self.tensor_rest(bytes, name_at, name_len)?,
                State::TensorsEnd => self.index_tensors(bytes)?,
                State::Done => return Ok(()),
            }
        }
    }

    fn magic(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        let mut cursor = self.cursor(bytes);
        let field = Field { what: "magic", offset: self.at, tail: 4 + 2 * 4 };
        let found = self.take(&mut cursor, field, 4)?;
        if found != MAGIC {
            let problem = if edit_marker::is_marked(found) {
                Problem::UnfinishedEdit
            } else {
                Problem::Magic { found: found.try_into().unwrap_or_default() }
            };
            return Err(self.malformed(bytes, self.at, problem));
        }
        (self.at, self.state) = (cursor.at(), State::Version);
        Ok(())
    }

    /// The version also reveals the byte order: it is a small number in only one of them.
    fn version(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        let mut cursor = self.cursor(bytes);
        let field = Field { what: "version", offset: self.at, tail: 2 * 4 };
        let found = self.take(&mut cursor, field, 4)?.try_into().unwrap_or_default();
        let (little, big) = (u32::from_le_bytes(found), u32::from_be_bytes(found));
        let (version, order) = match (little, big) {
            (1..=3, _) => (little, ByteOrder::Little),
            (_, 1..=3) => (big, ByteOrder::Big),
            _ => {
                let found = little.min(big);
                return Err(self.malformed(bytes, self.at, Problem::Version { found }));
            }
        };
        self.header.version = version;
        self.header.encoding = Encoding { order, short_lengths: version == 1 };
        (self.at, self.state) = (cursor.at(), State::Counts);
        Ok(())
    }

    fn counts(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        let encoding = self.header.encoding;
        let mut cursor = self.cursor(bytes);
        let tensors_at = cursor.at();
        let field = Field { what: "number of tensors", offset: tensors_at, tail: encoding.length_bytes() };
        let tensors = self.length(&mut cursor, field)?;
        let most = self.limits.max_tensors.min(NameIndex::MAX_LEN);
        self.limit(bytes, tensors_at, "the number of tensors", tensors, most)?;

        let keys_at = cursor.at();
        let field = Field { what: "number of keys", offset: keys_at, tail: 0 };
        let keys = self.length(&mut cursor, field)?;
        let most = self.limits.max_keys.min(NameIndex::MAX_LEN);
        self.limit(bytes, keys_at, "the number of keys", keys, most)?;

        let (least_pair, least_tensor) = (encoding.least_pair_bytes(), encoding.least_tensor_bytes());
        let count = Count { what: "keys", offset: keys_at, count: keys, least: least_pair, tail: 0 };
        self.count(&cursor, count)?;
        let tail = keys.saturating_mul(least_pair);
        let count = Count { what: "tensors", offset: tensors_at, count: tensors, least: least_tensor, tail };
        self.count(&cursor, count)?;

        (self.key_count, self.tensor_count) = (keys, tensors);
        self.at = cursor.at();
        self.state = if keys == 0 { State::KeysEnd } else { State::Key };
        Ok(())
    }
}
