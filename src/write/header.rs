//! [`Header`]: metadata and declarations, collected before the first byte is written.

use std::collections::HashMap;
use std::io::{self, Write};

use byteorder::{BigEndian, ByteOrder as Order, LittleEndian, WriteBytesExt};

use super::stream::{Declared, wrong};
use crate::byte_order::ByteOrder;
use crate::error::{Error, Result, TensorProblem, WriteProblem};
use crate::file::sink::Counter;
use crate::ggml_type::GgmlType;
use crate::gguf::encode::{self, Stored};
use crate::gguf::layout::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, FinalPadding, MAX_NAME_BYTES, align_up, place};
use crate::gguf::value::Value;
use crate::gguf::value_type::{MAX_DEPTH, ValueType};
use crate::limits::Limits;
use crate::tensor::{Misfit, Shape, TensorLayout};

/// Everything before the tensor data.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) order: ByteOrder,
    pub(super) final_padding: FinalPadding,
    /// The limits of the file's readers.
    pub(super) limits: Limits,
    /// In file order. A removed pair leaves `None`, so that the others keep their positions.
    metadata: Vec<Option<(String, Stored)>>,
    /// The positions in `metadata` of the existing pairs.
    keys: HashMap<String, usize>,
    tensors: Vec<Declared<TensorLayout>>,
    /// Positions in `tensors`.
    names: HashMap<String, usize>,
}

/// The positions of a file's parts, in bytes.
#[derive(Debug)]
pub(crate) struct Layout {
    /// Zeros between the header and the data.
    pub(crate) padding: u64,
    pub(crate) alignment: u32,
    /// The offset of each tensor from the start of the data.
    pub(crate) offsets: Vec<u64>,
    /// The size of the whole file.
    pub(super) file: u64,
}

impl Header {
    pub(super) fn new() -> Self {
        Header {
            version: 3,
            order: ByteOrder::Little,
            final_padding: FinalPadding::Whole,
            limits: Limits::default(),
            metadata: Vec::new(),
            keys: HashMap::new(),
            tensors: Vec::new(),
            names: HashMap::new(),
        }
    }

    /// Appends a key, or replaces the value of an existing key in its old place, as gguf-py does.
    pub(super) fn set(&mut self, key: &str, value: Stored) -> Result<()> {
        if key.is_empty() {
            return Err(WriteProblem::EmptyKey.error());
        }
        let most = self.limits.max_array_depth.min(MAX_DEPTH);
        if let Stored::Value(Value::Array(array)) = &value
            && !array.fits(most)
        {
            if let Stored::Value(Value::Array(array)) = value {
                array.dismantle();
            }
            return Err(WriteProblem::Depth { key: key.to_owned(), most }.error());
        }
        if key == ALIGNMENT_KEY {
            check_alignment(&value, self.limits.max_alignment)?;
        }
        match self.keys.get(key) {
            Some(&index) => self.metadata[index] = Some((key.to_owned(), value)),
            None => {
                self.keys.insert(key.to_owned(), self.metadata.len());
                self.metadata.push(Some((key.to_owned(), value)));
            }
        }
        Ok(())
    }

    /// Removes a key. Returns whether it existed. The others keep their order.
    pub(super) fn remove(&mut self, key: &str) -> bool {
        let Some(index) = self.keys.remove(key) else { return false };
        self.metadata[index] = None;
        // Setting and removing keys repeatedly must not grow the list.
        while let Some(None) = self.metadata.last() {
            self.metadata.pop();
        }
        true
    }

    pub(super) fn clear_metadata(&mut self) {
        self.metadata.clear();
        self.keys.clear();
    }

    #[cfg(test)]
    pub(super) fn position(&self, key: &str) -> Option<usize> {
        self.keys.get(key).copied()
    }

    pub(super) fn declare(&mut self, name: &str, extents: &[u64], ty: GgmlType) -> Result<()> {
        let wrong = |problem| Err(wrong(name, problem));
        if name.len() as u64 > MAX_NAME_BYTES {
            return wrong(TensorProblem::NameLength { len: name.len(), most: MAX_NAME_BYTES });
        }
        if let Some(first) = self.names.get(name) {
            return wrong(TensorProblem::Duplicate { first: *first });
        }
        if extents.len() > Shape::MAX_DIMS {
            return wrong(TensorProblem::Dimensions { found: extents.len() });
        }
        let Some(shape) = Shape::new(extents) else {
            return wrong(TensorProblem::Elements { extents: extents.to_vec() });
        };
        let layout = match TensorLayout::new(shape, ty) {
            Ok(layout) => layout,
            Err(Misfit::PartialBlock) => {
                return wrong(TensorProblem::PartialBlock { row_len: shape.row_len(), ty });
            }
            Err(Misfit::Bytes) => return wrong(TensorProblem::Bytes { shape, ty }),
        };
        self.names.insert(name.to_owned(), self.tensors.len());
        self.tensors.push(Declared { name: name.to_owned(), bytes: layout.byte_len(), kind: layout });
        Ok(())
    }

    pub(super) fn into_tensors(self) -> Vec<Declared<TensorLayout>> {
        self.tensors
    }

    /// Returns the value of `general.alignment`, which [`set`](Self::set) has checked, or the default.
    pub(super) fn alignment(&self) -> u32 {
        match self.keys.get(ALIGNMENT_KEY).map(|&index| &self.metadata[index]) {
            Some(&Some((_, Stored::Value(Value::U32(alignment))))) => alignment,
            _ => DEFAULT_ALIGNMENT,
        }
    }

    pub(super) fn layout(&self) -> Result<Layout> {
        let alignment = self.alignment();
        let mut header = Counter::default();
        // A counter accepts any bytes, so the only possible error is an invalid array of another file that its reader let pass.
        self.encode(&mut header, &[]).map_err(|error| Error::io("encode the metadata", error))?;
        let header = header.0;

        let too_long = || WriteProblem::HeaderLength.error();
        let data = align_up(header, alignment).ok_or_else(too_long)?;
        let mut offsets = Vec::with_capacity(self.tensors.len());
        let (mut next, mut end) = (0, 0);
        for Declared { name, bytes, .. } in &self.tensors {
            offsets.push(next);
            let too_long = || WriteProblem::FileLength { tensor: name.clone() }.error();
            (end, next) = place(next, *bytes, alignment).ok_or_else(too_long)?;
            data.checked_add(next).ok_or_else(too_long)?;
        }
        // Without tensors the padding after the header is the end of the file.
        let padding = data - header;
        let padding = if self.tensors.is_empty() { self.final_padding.of(padding) } else { padding };
        let file = header + padding + end + self.final_padding.of(next - end);
        Ok(Layout { padding, alignment, offsets, file })
    }

    /// Writes the header without the padding after it.
    pub(super) fn write(&self, out: &mut impl Write, layout: &Layout) -> io::Result<()> {
        self.encode(out, &layout.offsets)
    }

    /// Writes the header with these offsets, or zeros if there are none. The length does not depend on them.
    fn encode(&self, out: &mut impl Write, offsets: &[u64]) -> io::Result<()> {
        match self.order {
            ByteOrder::Little => self.encode_in::<LittleEndian>(out, offsets),
            ByteOrder::Big => self.encode_in::<BigEndian>(out, offsets),
        }
    }

    fn encode_in<B: Order>(&self, out: &mut impl Write, offsets: &[u64]) -> io::Result<()> {
        out.write_all(b"GGUF")?;
        out.write_u32::<B>(self.version)?;
        out.write_u64::<B>(self.tensors.len() as u64)?;
        out.write_u64::<B>(self.keys.len() as u64)?;
        for (key, value) in self.metadata.iter().flatten() {
            encode::write_string::<B>(out, key.as_bytes())?;
            encode::write_stored::<B>(out, self.order, value)?;
        }
        for (index, tensor) in self.tensors.iter().enumerate() {
            encode::write_string::<B>(out, tensor.name.as_bytes())?;
            let shape = tensor.kind.shape();
            let extents = shape.dims();
            out.write_u32::<B>(extents.len() as u32)?;
            extents.iter().try_for_each(|&extent| out.write_u64::<B>(extent))?;
            out.write_u32::<B>(tensor.kind.ggml_type().id())?;
            out.write_u64::<B>(offsets.get(index).copied().unwrap_or(0))?;
        }
        Ok(())
    }
}

fn check_alignment(value: &Stored, most: u32) -> Result<()> {
    let found = match value {
        Stored::Value(Value::U32(alignment)) if alignment.is_power_of_two() && *alignment > most => {
            return Err(WriteProblem::AlignmentLimit { found: *alignment, most }.error());
        }
        Stored::Value(Value::U32(alignment)) if alignment.is_power_of_two() => return Ok(()),
        Stored::Value(Value::U32(alignment)) => format!("{alignment}"),
        Stored::Value(value) => format!("of type {}", value.value_type()),
        Stored::Array(_) => format!("of type {}", ValueType::Array),
        Stored::Bool(_) => format!("of type {}", ValueType::Bool),
    };
    Err(WriteProblem::Alignment { found }.error())
}
