//! [`Writer::copy_header_from`] and [`Writer::copy_metadata_from`]: copying metadata and declarations from another file.

use super::{Sink, Writer};
use crate::error::Result;
use crate::gguf::encode::Stored;
use crate::gguf::index::Gguf;
use crate::gguf::layout::FinalPadding;
use crate::gguf::metadata::Metadata;
use crate::gguf::value_ref::ValueRef;

/// The oldest version that can be written. Version 1 becomes the newest.
const OLDEST_WRITTEN: u32 = 2;

impl<S: Sink> Writer<S> {
    /// Copies the description of `file`: its version (3 for a file of version 1), byte order, all metadata including
    /// the alignment, every tensor's declaration, and the amount of padding at its end.
    ///
    /// If the tensors are then copied unchanged, the result is byte-identical, except for what this crate's reader
    /// ignores or its writer does not write:
    ///
    /// - A file of version 1 becomes one of version 3.
    /// - Nonzero padding after the header or between tensors becomes zeros.
    /// - After the last tensor's data only padding is kept: as many zeros up to the alignment as the file has.
    ///   Everything from the first nonzero byte on, or past the alignment, is dropped.
    /// - If only the header of `file` was read, its end is unknown, and full padding is written.
    ///
    /// Afterwards keys may be set or removed, the byte order changed, and tensors added. Keys and tensors that were
    /// declared earlier come first.
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
    /// [`Error::Write`](crate::Error::Write) if a tensor's name has already been declared.
    pub fn copy_header_from<B: AsRef<[u8]>>(&mut self, file: &Gguf<B>) -> Result<&mut Self> {
        self.copy_metadata_from(file)?;
        for tensor in file.tensors() {
            self.declare_tensor(tensor.name(), tensor.shape().dims(), tensor.ggml_type())?;
        }
        Ok(self)
    }

    /// Like [`copy_header_from`](Self::copy_header_from) without the tensors, for files whose tensors change their
    /// types or shapes.
    ///
    /// # Errors
    /// None for a file opened by this crate's reader. The error type is that of
    /// [`set_metadata_ref`](Self::set_metadata_ref).
    pub fn copy_metadata_from<B: AsRef<[u8]>>(&mut self, file: &Gguf<B>) -> Result<&mut Self> {
        self.copy_form_from(file, file.final_padding())?;
        for (key, value) in file.metadata() {
            self.copy_pair(file.metadata(), key, value, key)?;
        }
        Ok(self)
    }

    /// Like [`set_metadata_ref`](Self::set_metadata_ref), but copies a pair of another file exactly: the byte of a
    /// bool may be any.
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

    /// Copies the version and byte order, and sets `final_padding`, which is that of the file.
    pub(crate) fn copy_form_from<B>(&mut self, file: &Gguf<B>, final_padding: FinalPadding) -> Result<()> {
        let version = file.version();
        self.set_version(if version < OLDEST_WRITTEN { 3 } else { version })?;
        self.set_byte_order(file.byte_order());
        self.header.final_padding = final_padding;
        Ok(())
    }
}
