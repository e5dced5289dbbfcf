//! What a file begins with while its header is edited in place: not a GGUF, and no other format.

/// The first bytes of the marker; a random number of 16 bytes follows.
///
/// The first byte is not text, and differs from GGUF's in one bit.
pub(crate) const MAGIC: [u8; 8] = *b"\xc7EDITING";

/// Whether a file that begins like this is one whose header is being edited, or whose edit was cut off.
///
/// The first byte is written before all others and put back after them, so it alone decides. The next three are the marker's
/// or a GGUF's: a power failure may leave any mixture.
pub(crate) fn is_marked(start: &[u8]) -> bool {
    let bytes = start.iter().zip(MAGIC.iter().zip(b"GGUF"));
    start.len() >= 4
        && start[0] == MAGIC[0]
        && bytes.skip(1).all(|(byte, (marker, gguf))| byte == marker || byte == gguf)
}
