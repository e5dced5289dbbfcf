//! [`HeaderParser`]: parses a header from bytes that arrive in pieces, and does no I/O itself.
//!
//! The parser holds no bytes. It is shown all of the header that has come so far, and remembers how far it
//! has read: between the two halves of a pair, or at one element of one array in an array. So a header costs
//! time linear in its length however it is cut up.
//!
//! Whether the bytes came at once or one by one makes no difference to the outcome, errors included. That
//! holds because each decision depends on the position alone: a step waits until the bytes that it judges are
//! all there, and a count waits until everything that it promises could be there.

mod fields;
mod pairs;
mod tensors;

use alloc::boxed::Box;
use alloc::vec::Vec;

use self::fields::{Count, Field};
use super::cursor::Encoding;
use super::edit_marker;
use super::header::Header;
use super::index::Gguf;
use super::layout::to_u64;
use super::name_index::NameIndex;
use super::value::ValueType;
use crate::error::{Error, Problem, Result};
use crate::{ByteOrder, Limits};

const MAGIC: [u8; 4] = *b"GGUF";

/// What a [`HeaderParser`] needs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "there is no third state")]
pub enum HeaderProgress {
    /// The header goes on for at least this many bytes behind those shown, so a reader can ask for all of them
    /// without reading past the header's end. At least 1.
    NeedMore(u64),
    /// The header is complete.
    Done,
}

/// Parses a header from bytes that arrive in pieces, from an HTTP range request or a pipe.
///
/// It does no I/O and keeps no bytes: show [`advance`](Self::advance) all that has come so far, get more as long
/// as it asks, and let [`finish`](Self::finish) make a [`Gguf`] of them. The time is linear in the header's
/// length whatever the size of the pieces.
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
/// A request costs more than some bytes too many do, so ask for more than is needed. What is needed never reaches
/// beyond the header, and so no more than the surplus is read in vain. This is all of it in an async runtime too:
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
/// A tensor is then [`byte_len`](crate::TensorInfo::byte_len) bytes from
/// [`file_offset`](crate::TensorInfo::file_offset) on, which [`with_data`](crate::TensorInfo::with_data) makes a tensor of.
/// `gguf remote` does this over HTTP, with servers that answer badly.
///
/// # Pipes
///
/// [`Gguf::read_header`] reads from whatever is [`Read`](std::io::Read), with this parser, exactly up to the header's
/// end, so that the next byte read is the padding before the first tensor. Where bytes are pushed instead, keep what
/// comes and show it as soon as there is as much as was asked for:
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
    /// Whether tensors that cannot be read as such are listed and not an error.
    foreign: bool,
    header: Header,
    key_count: u64,
    tensor_count: u64,
    /// All before this byte has been judged.
    at: usize,
    state: State,
    /// The arrays that `at` lies in, outermost first. Only those of strings and of arrays: others are taken whole.
    frames: Vec<Frame>,
    /// Padded bytes of the tensors so far: where the next one must begin.
    data_len: u64,
}

/// What stands at [`HeaderParser::at`].
#[derive(Debug, Clone, Copy)]
enum State {
    Magic,
    Version,
    Counts,
    Key,
    /// A value, from its type on.
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
    /// The fewest bytes that the rest of the header needs behind this array.
    tail: u64,
}

/// Why a step did not get through.
enum Stop {
    /// Bytes are missing. With all bytes there are, that is the problem at `offset`; without, the header is at
    /// least `end` long.
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
    /// A parser at the start of a header.
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

    /// Lists tensors that cannot be read: see [`GgufOptions::foreign_tensors`](crate::GgufOptions::foreign_tensors).
    #[must_use]
    pub fn foreign_tensors(mut self, listed: bool) -> Self {
        self.foreign = listed;
        self
    }

    /// Parses as far as `bytes` go: all bytes from the start of the GGUF so far, those of earlier calls
    /// included. Bytes behind the header do no harm.
    ///
    /// # Errors
    /// [`Error::Malformed`] and [`Error::Limit`], which it gives again when called again; [`Error::OutOfMemory`].
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

    /// A [`Gguf`] over `bytes`, all that there are of the header. It knows the header only: asked for a
    /// tensor's data it answers with [`Error::HeaderOnly`], and it has not checked that the file is long enough
    /// for them.
    ///
    /// # Errors
    /// As [`advance`](Self::advance); a header that is not complete is [`Error::Malformed`].
    pub fn finish<B: AsRef<[u8]>>(mut self, bytes: B) -> Result<Gguf<B>> {
        self.complete(bytes.as_ref())?;
        Ok(Gguf::header_only(bytes, self.header))
    }

    /// Parses `bytes`, which are all there are.
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

    /// The version also tells the byte order: it is a small number in only one of them.
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
