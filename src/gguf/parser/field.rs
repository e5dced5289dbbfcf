//! [`Field`] and [`Count`]: what a step is about to read.

/// A field that a step reads.
pub(super) struct Field {
    pub(super) what: &'static str,
    /// Where the whole field begins, for the error.
    pub(super) offset: usize,
    /// The fewest bytes that the header needs after this field.
    pub(super) tail: u64,
}

/// A count from the file, to be compared with the bytes available.
pub(super) struct Count {
    pub(super) what: &'static str,
    pub(super) offset: usize,
    pub(super) count: u64,
    /// The fewest bytes that one item can take.
    pub(super) least: u64,
    /// The fewest bytes that the header needs after the items.
    pub(super) tail: u64,
}
