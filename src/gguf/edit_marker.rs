//! The marker at the start of a file whose header is being edited in place. It is neither GGUF nor any other format.

/// The first bytes of the marker. A random number of 16 bytes follows.
///
/// The first byte is not text, and differs from GGUF's in one bit.
pub(crate) const MAGIC: [u8; 8] = *b"\xc7EDITING";

/// Returns `true` if a file that begins with these bytes has a header that is being edited, or an edit that was interrupted.
///
/// The first byte is written before all others and restored after them, so it alone decides. The next three are the marker's
/// or a GGUF's: a power failure may leave any mixture.
pub(crate) fn is_marked(start: &[u8]) -> bool {
    let bytes = start.iter().zip(MAGIC.iter().zip(b"GGUF"));
    start.len() >= 4
        && start[0] == MAGIC[0]
        && bytes.skip(1).all(|(byte, (marker, gguf))| byte == marker || byte == gguf)
}
