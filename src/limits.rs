//! [`Limits`]: what an untrusted header may ask for.

/// Bounds on a header, checked before anything is reserved or read.
///
/// The defaults are far above any real model (the largest known have about 100 keys, 2,000 tensors and a
/// 30 MB header) and low enough that a hostile file costs little. Independent of them, opening never
/// allocates more than ten times the bytes of the header that are really there.
///
/// ```
/// use gguf_codec::Limits;
/// let strict = Limits { max_header_bytes: 1 << 20, ..Limits::default() };
/// # assert!(strict.max_header_bytes < Limits::default().max_header_bytes);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "so that `..Limits::default()` works for users")]
pub struct Limits {
    /// Bytes of the header, up to the end of the tensor table. Default: 1 GiB.
    pub max_header_bytes: u64,
    /// Key-value pairs. Default: 1,048,576.
    pub max_keys: u64,
    /// Tensors. Default: 1,048,576.
    pub max_tensors: u64,
    /// Bytes of one string, keys included. Default: 1 GiB, as ggml; it takes effect where it is less than
    /// `max_header_bytes`, which bounds every string as well.
    pub max_string_bytes: u64,
    /// Elements of one array. Default: 1,073,741,824, as ggml; here, too, `max_header_bytes` strikes first by
    /// default.
    pub max_array_len: u64,
    /// Levels of arrays in arrays: 1 allows plain arrays only. Default: 4. Never more than 64, whatever is set
    /// here, since nested values are converted and dropped level by level on the stack.
    pub max_array_depth: u32,
    /// Bytes that tensors are aligned to. Default: 65,536, the largest page of any machine; files in use have 32, and those
    /// meant for pages or disks 4,096. Writing a model again pads each of its tensors to this, so without a bound a few
    /// kilobytes could ask for terabytes of zeros.
    pub max_alignment: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_header_bytes: 1 << 30,
            max_keys: 1 << 20,
            max_tensors: 1 << 20,
            max_string_bytes: 1 << 30,
            max_array_len: 1 << 30,
            max_array_depth: 4,
            max_alignment: 1 << 16,
        }
    }
}
