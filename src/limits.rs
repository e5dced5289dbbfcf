//! [`Limits`]: bounds on what an untrusted header may request.

/// Bounds on a header, checked before any memory is reserved or read.
///
/// The defaults are far above any real model (the largest known have about 100 keys, 2,000 tensors and a 30 MB
/// header) and low enough that a malicious file costs little. Independently of these limits, opening never allocates
/// more than ten times the header bytes that are actually present.
///
/// ```
/// use gguf_codec::Limits;
/// let strict = Limits { max_header_bytes: 1 << 20, ..Limits::default() };
/// # assert!(strict.max_header_bytes < Limits::default().max_header_bytes);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "so that `..Limits::default()` works for users")]
pub struct Limits {
    /// The size of the header in bytes, up to the end of the tensor table. Default: 1 GiB.
    pub max_header_bytes: u64,
    /// The number of key-value pairs. Default: 1,048,576.
    pub max_keys: u64,
    /// The number of tensors. Default: 1,048,576.
    pub max_tensors: u64,
    /// The length of a string in bytes, keys included. Default: 1 GiB, as in ggml. It takes effect if it is less than
    /// `max_header_bytes`, which also bounds every string.
    pub max_string_bytes: u64,
    /// The number of elements of an array. Default: 1,073,741,824, as in ggml. With the defaults, `max_header_bytes`
    /// takes effect first here too.
    pub max_array_len: u64,
    /// The number of array levels: 1 allows plain arrays only. Default: 4. Values above 64 act as 64, because nested
    /// values are converted and dropped recursively on the stack.
    pub max_array_depth: u32,
    /// The alignment of tensors in bytes. Default: 65,536, the largest page size of any machine. Real files use 32, or
    /// 4,096 if meant for pages or disks. Rewriting a model pads each of its tensors to the alignment, so without a bound a
    /// file of a few kilobytes could cause terabytes of zeros to be written.
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
