//! [`Imatrix::write`] and [`Imatrix::read`]: the GGUF form into a file, and files of either form.

use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::Path;

use super::binary::{self, BEGINNING};
use super::gguf::{self, CHUNK_COUNT, CHUNK_SIZE_KEY, COUNTS, DATASETS, SQUARES, SUMS};
use super::{Imatrix, is_gguf};
use crate::error::{Error, Result};
use crate::file::sink::Sink;
use crate::ggml_type::GgmlType;
use crate::gguf::index::Gguf;
use crate::gguf::value::Value;
use crate::write::Writer;

/// The longest file that is read: several times what the largest models need, whose experts have 60 layers of 256.
const MAX_BYTES: u64 = 16_000_000_000;

impl Imatrix {
    /// Reads a file of either form, or a pipe to its end. A file that is something else is not read to its end.
    ///
    /// # Errors
    /// [`Error::Io`], also where there are more than 16 GB, and those of [`parse`](Self::parse).
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let failed = |error| Error::io(format!("read '{}'", path.display()), error);
        let mut file = File::open(path).map_err(failed)?;
        let mut bytes = Vec::new();
        file.by_ref().take(BEGINNING as u64).read_to_end(&mut bytes).map_err(failed)?;
        if is_gguf(&bytes) && file.metadata().map_err(failed)?.is_file() {
            return gguf::parse(&Gguf::open(path)?).map_err(|error| error.of(path));
        }
        if !is_gguf(&bytes) {
            binary::check_beginning(&bytes).map_err(|error| error.of(path))?;
        }
        file.take(MAX_BYTES + 1 - bytes.len() as u64).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MAX_BYTES {
            let message = "it is longer than the 16 GB that an importance matrix may have";
            return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, message)));
        }
        Self::parse(&bytes).map_err(|error| error.of(path))
    }

    /// Writes the GGUF form, as llama.cpp does: by name.
    ///
    /// ```
    /// use gguf_codec::Writer;
    /// use gguf_codec::model::Imatrix;
    ///
    /// let mut imatrix = Imatrix::new();
    /// imatrix.add("output.weight", vec![8.0, 2.0], vec![4.0], None)?;
    /// let file = imatrix.write(Writer::new(Vec::new()))?; // or `Writer::create(path)?`
    /// assert_eq!(Imatrix::parse(&file)?, imatrix);
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Write`] where a tensor's name is too long to be followed by `.in_sum2`, and [`Error::Io`].
    pub fn write<S: Sink>(&self, writer: Writer<S>) -> Result<S::Output> {
        self.write_in_steps(writer, |_| ControlFlow::Continue(()))
    }

    /// The same; before each tensor's values `step` hears how many bytes they have, and may break the work off.
    ///
    /// # Errors
    /// Those of [`write`](Self::write), and [`Error::Interrupted`] where `step` breaks.
    pub fn write_in_steps<S: Sink>(
        &self,
        mut writer: Writer<S>,
        mut step: impl FnMut(u64) -> ControlFlow<()>,
    ) -> Result<S::Output> {
        writer.set_metadata("general.type", "imatrix")?;
        writer.set_metadata(DATASETS, Value::from(self.datasets.clone()))?;
        writer.set_metadata(CHUNK_COUNT, self.chunk_count)?;
        writer.set_metadata(CHUNK_SIZE_KEY, self.chunk_size)?;
        let mut entries: Vec<_> = self.entries().iter().collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let parts = || {
            entries.iter().flat_map(|entry| {
                let activations = entry.activations.as_ref().map(|sums| (SUMS, sums));
                let parts = [(SQUARES, &entry.sums), (COUNTS, &entry.counts)].into_iter().chain(activations);
                parts.map(|(part, values)| {
                    let matrices = entry.counts.len();
                    (format!("{}{part}", entry.name), [values.len() / matrices, matrices], values)
                })
            })
        };
        for (name, extents, _) in parts() {
            writer.declare_tensor(&name, &extents.map(|extent| extent as u64), GgmlType::F32)?;
        }
        let mut data = writer.write_header()?;
        for (name, _, values) in parts() {
            if step(size_of_val(&values[..]) as u64).is_break() {
                return Err(Error::Interrupted);
            }
            let mut tensor = data.begin(&name)?;
            tensor.write_values(values, None)?;
            tensor.finish()?;
        }
        data.finish()
    }
}
