//! [`Parts`]: the tensors of a quantized weight, found by the ends of their names.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::grid::{Bands, Grid, Layout, Number};
use crate::codec::affine::Packing;
use crate::codec::small_floats::{E4M3, E5M2, E8M0};
use crate::error::{Error, Result, Shown};
use crate::safetensors::{CheckpointTensor, Dtype, Extents};

/// The longest tensor that is read when a plan is made: an index of columns, or what describes a weight.
const MAX_SMALL_BYTES: u64 = 64 << 20;

/// All tensors of a checkpoint, and which of them are known to be parts of weights.
pub(super) struct Parts<'a> {
    tensors: HashMap<&'a str, CheckpointTensor<'a>>,
    taken: RefCell<HashSet<&'a str>>,
    pub(super) bands: Arc<Bands>,
}

impl<'a> Parts<'a> {
    pub(super) fn new(tensors: impl Iterator<Item = CheckpointTensor<'a>>) -> Self {
        let tensors = tensors.map(|tensor| (tensor.info().name(), tensor)).collect();
        Parts { tensors, taken: RefCell::default(), bands: Arc::default() }
    }

    pub(super) fn get(&self, name: &str) -> Option<CheckpointTensor<'a>> {
        self.tensors.get(name).copied()
    }

    pub(super) fn take(&self, tensor: &CheckpointTensor<'a>) {
        self.taken.borrow_mut().insert(tensor.info().name());
    }

    pub(super) fn is_taken(&self, name: &str) -> bool {
        self.taken.borrow().contains(name)
    }

    pub(super) fn of<'p>(&'p self, stem: &'p str, method: &'p str) -> Weighed<'p, 'a> {
        Weighed { parts: self, stem, method }
    }
}

/// One weight's parts, which are called as it is, with other ends.
#[derive(Clone, Copy)]
pub(super) struct Weighed<'p, 'a> {
    pub(super) parts: &'p Parts<'a>,
    pub(super) stem: &'p str,
    /// What it is quantized by, for messages.
    pub(super) method: &'p str,
}

impl<'a> Weighed<'_, 'a> {
    /// The name of the module whose weight it is.
    pub(super) fn module(&self) -> &str {
        self.stem.strip_suffix(".weight").unwrap_or(self.stem)
    }

    /// The part of this end, which is known to be one from now on.
    pub(super) fn get(&self, end: &str) -> Option<CheckpointTensor<'a>> {
        let found = self.parts.get(&format!("{}{end}", self.stem));
        found.inspect(|tensor| self.parts.take(tensor))
    }

    pub(super) fn require(&self, end: &str) -> Result<CheckpointTensor<'a>> {
        self.get(end).ok_or_else(|| {
            self.wrong(&format!("tensor '{}{end}' is missing, which its values need", Shown(self.stem)))
        })
    }

    pub(super) fn wrong(&self, problem: &str) -> Error {
        let message =
            format!("the weight '{}', quantized by {}: {problem}", Shown(self.stem), Shown(self.method));
        Error::Safetensors { file: None, offset: None, message }
    }

    pub(super) fn wrong_shape(&self, tensor: &CheckpointTensor<'_>, wanted: &str) -> Error {
        let info = tensor.info();
        self.wrong(&format!(
            "tensor '{}' is {} of shape {}, and must be {wanted}",
            Shown(info.name()),
            info.dtype(),
            Extents(info.shape())
        ))
    }

    /// The two extents of a matrix of one of these types.
    pub(super) fn matrix(&self, tensor: &CheckpointTensor<'_>, dtypes: &[Dtype]) -> Result<(u64, u64)> {
        match tensor.info().shape() {
            &[rows, cols] if dtypes.contains(&tensor.info().dtype()) => Ok((rows, cols)),
            _ => {
                let names: Vec<_> = dtypes.iter().map(|dtype| dtype.name()).collect();
                Err(self.wrong_shape(tensor, &format!("a matrix of {}", names.join(" or "))))
            }
        }
    }

    pub(super) fn expect_shape(&self, tensor: &CheckpointTensor<'_>, shape: &[u64]) -> Result<()> {
        match tensor.info().shape() == shape {
            true => Ok(()),
            false => Err(self.wrong_shape(tensor, &format!("of shape {}", Extents(shape)))),
        }
    }

    /// A matrix of codes; its bits, order and place are the caller's to check.
    pub(super) fn codes(
        &self,
        tensor: &CheckpointTensor<'a>,
        [rows, cols]: [u64; 2],
        (bits, packing): (u32, Packing),
        layout: Layout,
        number: Number,
    ) -> Grid<'a> {
        Grid {
            source: tensor.source(),
            offset: tensor.info().file_offset(),
            byte_len: tensor.info().byte_len(),
            rows,
            cols,
            bits,
            packing,
            layout,
            number,
            bands: self.parts.bands.clone(),
        }
    }

    /// A matrix of plain numbers, row by row.
    pub(super) fn plain(&self, tensor: &CheckpointTensor<'a>, rows: u64, cols: u64) -> Result<Grid<'a>> {
        self.numbers(tensor, [rows, cols], Layout::Rows { stride: cols })
    }

    /// A matrix of plain numbers.
    pub(super) fn numbers(
        &self,
        tensor: &CheckpointTensor<'a>,
        [rows, cols]: [u64; 2],
        layout: Layout,
    ) -> Result<Grid<'a>> {
        let info = tensor.info();
        if rows.checked_mul(cols) != count(info.shape()) {
            return Err(self.wrong_shape(tensor, &format!("{rows} · {cols} numbers")));
        }
        let number = match info.dtype() {
            Dtype::F32 => Number::F32,
            Dtype::F16 => Number::F16,
            Dtype::BF16 => Number::BF16,
            Dtype::I32 => Number::I32,
            Dtype::I8 => Number::signed_bytes(),
            Dtype::U8 => Number::Integers(0.0),
            Dtype::F8_E4M3 => Number::of_table(|code| E4M3[code]),
            Dtype::F8_E5M2 => Number::of_table(|code| E5M2[code]),
            Dtype::F8_E8M0 => Number::of_table(|code| E8M0[code]),
            _ => return Err(self.wrong_shape(tensor, "floats or 8-bit integers")),
        };
        Ok(self.codes(tensor, [rows, cols], (8, Packing::LowFirst), layout, number))
    }

    /// The only number of a tensor.
    pub(super) fn scalar(&self, tensor: &CheckpointTensor<'a>) -> Result<f32> {
        let mut value = [0.0];
        let grid = self.plain(tensor, 1, 1)?;
        let reading = |error| Error::io(format!("read tensor '{}'", Shown(tensor.info().name())), error);
        grid.values(0, &mut value).map_err(reading)?;
        match value[0].is_finite() {
            true => Ok(value[0]),
            false => Err(self.wrong(&format!(
                "tensor '{}' is {}, and must be finite",
                Shown(tensor.info().name()),
                value[0]
            ))),
        }
    }

    /// All bytes of a small tensor.
    pub(super) fn bytes(&self, tensor: &CheckpointTensor<'a>) -> Result<Vec<u8>> {
        let len = tensor.info().byte_len();
        if len > MAX_SMALL_BYTES {
            return Err(self.wrong_shape(tensor, &format!("no longer than {MAX_SMALL_BYTES} bytes")));
        }
        let mut bytes = vec![0; len as usize];
        tensor.read_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// The integers of a small tensor.
    pub(super) fn integers(&self, tensor: &CheckpointTensor<'a>) -> Result<Vec<i64>> {
        let bytes = self.bytes(tensor)?;
        Ok(match tensor.info().dtype() {
            Dtype::I64 => bytes.as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect(),
            Dtype::I32 => bytes.as_chunks().0.iter().map(|&bytes| i32::from_le_bytes(bytes).into()).collect(),
            Dtype::I16 => bytes.as_chunks().0.iter().map(|&bytes| i16::from_le_bytes(bytes).into()).collect(),
            Dtype::I8 => bytes.iter().map(|&byte| i64::from(byte as i8)).collect(),
            Dtype::U8 | Dtype::BOOL => bytes.iter().map(|&byte| byte.into()).collect(),
            _ => return Err(self.wrong_shape(tensor, "integers")),
        })
    }

    /// The group of each column, of so many.
    pub(super) fn group_index(
        &self,
        tensor: &CheckpointTensor<'a>,
        cols: u64,
        groups: u64,
    ) -> Result<Vec<u32>> {
        self.expect_shape(tensor, &[cols])?;
        let index = self.integers(tensor)?;
        let checked = index
            .into_iter()
            .map(|group| u32::try_from(group).ok().filter(|&group| u64::from(group) < groups));
        checked.collect::<Option<_>>().ok_or_else(|| {
            self.wrong_shape(tensor, &format!("numbers of groups below {groups}, the rows of scales"))
        })
    }
}

/// The elements of a shape, where they can be counted.
pub(super) fn count(shape: &[u64]) -> Option<u64> {
    shape.iter().try_fold(1u64, |count, &extent| count.checked_mul(extent))
}
