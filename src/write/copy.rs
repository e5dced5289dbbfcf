//! [`Writer::copy_header_from`] and [`Writer::copy_metadata_from`]: what another file says about itself.

use super::{Sink, Writer};
use crate::error::Result;
use crate::gguf::encode::Stored;
use crate::gguf::index::Gguf;
use crate::gguf::layout::FinalPadding;
use crate::gguf::metadata::Metadata;
use crate::gguf::value::ValueRef;

/// What the versions that can be written begin with: version 1 becomes the newest.
const OLDEST_WRITTEN: u32 = 2;

impl<S: Sink> Writer<S> {
    /// Takes over what `file` says about itself: version (3 for a file of version 1), byte order, all metadata
    /// with the alignment in it, every tensor's declaration, and how much padding there is at its end.
    ///
    /// With the tensors copied behind it, and nothing changed, the file is byte-identical, except where it
    /// has what this crate's reader does not look at or its writer does not write:
    ///
    /// - A file of version 1 becomes one of version 3.
    /// - Padding behind the header or between tensors becomes zeros where it was not.
    /// - What stands behind the last tensor's data ends with its padding: the zeros up to the alignment are
    ///   written as far as they are there, and left out is everything from the first byte that is not zero, or
    ///   from the alignment on.
    /// - Of a file whose header alone was read the end is not known, and becomes whole padding.
    ///
    /// Keys may be set or removed after, the byte order changed, and tensors added. Keys and tensors that were
    /// declared before stay in front.
    ///
    /// ```
    /// use gguf_codec::{Gguf, Value, Writer};
    ///
    /// # let mut writer = Writer::new(Vec::new());
    /// # writer.declare_tensor("t", &[2], gguf_codec::GgmlType::I8)?;
    /// # let mut data = writer.write_header()?;
    /// # data.write_tensor("t", &[1, 2])?;
    /// # let file = data.finish()?;
    /// let model = Gguf::parse(&file)?;
    /// let mut writer = Writer::new(Vec::new());
    /// writer.copy_header_from(&model)?;
    /// let mut data = writer.write_header()?;
    /// for tensor in model.tensors() {
    ///     data.copy_tensor(&tensor.tensor()?)?;
    /// }
    /// assert_eq!(data.finish()?, file);
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Write`](crate::Error::Write) where a tensor's name is declared already.
    pub fn copy_header_from<B: AsRef<[u8]>>(&mut self, file: &Gguf<B>) -> Result<&mut Self> {
        self.copy_metadata_from(file)?;
        for tensor in file.tensors() {
            self.declare_tensor(tensor.name(), tensor.shape().dims(), tensor.ggml_type())?;
        }
        Ok(self)
    }

    /// [`copy_header_from`](Self::copy_header_from) without the tensors, for files whose tensors change their
    /// types or shapes.
    ///
    /// # Errors
    /// None for a file of this crate's reader; the type is that of [`set_metadata_ref`](Self::set_metadata_ref).
    pub fn copy_metadata_from<B: AsRef<[u8]>>(&mut self, file: &Gguf<B>) -> Result<&mut Self> {
        self.copy_form_from(file, file.final_padding())?;
        for (key, value) in file.metadata() {
            self.copy_pair(file.metadata(), key, value, key)?;
        }
        Ok(self)
    }

    /// [`set_metadata_ref`](Self::set_metadata_ref) of a pair of another file, to the byte: that of a bool may be any.
    pub(crate) fn copy_pair(
        &mut self,
        from: Metadata<'_>,
        key: &str,
        value: ValueRef<'_>,
        to: &str,
    ) -> Result<()> {
        let stored = match from.bool_byte(key) {
            Some(byte) if matches!(value, ValueRef::Bool(_)) => Stored::Bool(byte),
            _ => Stored::from(value),
        };
        self.header.set(to, stored)
    }

    /// Takes over what is neither metadata nor tensors: version and byte order, and `final_padding`, the file's.
    pub(crate) fn copy_form_from<B>(&mut self, file: &Gguf<B>, final_padding: FinalPadding) -> Result<()> {
        let version = file.version();
        self.set_version(if version < OLDEST_WRITTEN { 3 } else { version })?;
        self.set_byte_order(file.byte_order());
        self.header.final_padding = final_padding;
        Ok(())
    }
}
