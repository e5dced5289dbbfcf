//! [`TensorIter`]: the tensors of a file, in its order.

use core::fmt;
use core::iter::FusedIterator;
use core::ops::Range;

use super::header::Header;
use super::tensor_info::{TensorData, TensorInfo};

/// An iterator over the tensors of a [`Gguf`](crate::Gguf), in file order.
#[derive(Clone)]
pub struct TensorIter<'a> {
    pub(crate) header: &'a Header,
    /// From the start of the GGUF.
    pub(crate) bytes: &'a [u8],
    pub(crate) data: TensorData<'a>,
    pub(crate) range: Range<usize>,
}

impl<'a> TensorIter<'a> {
    /// Returns `None`, and so ends early, only if the bytes have changed since they were parsed.
    fn info(&self, index: usize) -> Option<TensorInfo<'a>> {
        let info = self.header.tensor(self.bytes, index)?;
        Some(TensorInfo { data: self.data, ..info })
    }
}

impl<'a> Iterator for TensorIter<'a> {
    type Item = TensorInfo<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.range.next()?;
        self.info(index)
    }

    fn nth(&mut self, n: usize) -> Option<Self::Item> {
        let index = self.range.nth(n)?;
        self.info(index)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.range.size_hint()
    }
}

impl DoubleEndedIterator for TensorIter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let index = self.range.next_back()?;
        self.info(index)
    }
}

impl ExactSizeIterator for TensorIter<'_> {}
impl FusedIterator for TensorIter<'_> {}

impl fmt::Debug for TensorIter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}
