//! [`Scaled`]: values of a tensor times the scale factors stored beside it.
//!
//! NVFP4 checkpoints have a factor for a whole tensor in addition to those of its blocks, for which the format has no place.
//! So llama.cpp's converter writes it as a tensor of its own, `X.scale` beside `X.weight`, with one number or one for each
//! expert, and llama.cpp multiplies by it for any type of weight. `X.input_scale` concerns only activations.

use std::collections::HashMap;
use std::io;

use super::job::{Origin, in_memory};
use crate::byte_order::ByteOrder;
use crate::error::{Error, Result};
use crate::file::read_at::ReadAt;
use crate::ggml_type::GgmlType;

/// Returns the name of the tensor with another tensor's factors.
pub(crate) fn name_of_scale(weight: &str) -> Option<String> {
    weight.strip_suffix(".weight").map(|stem| format!("{stem}.scale"))
}

/// Returns the factors of those tensors of a model that have them, by name.
pub(super) fn scales<'a>(
    tensors: impl Iterator<Item = (&'a str, Origin<'a>)> + Clone,
) -> Result<HashMap<&'a str, Vec<f32>>> {
    let mut scales = HashMap::new();
    let by_name: HashMap<&str, Origin<'_>> = tensors.clone().collect();
    for (name, origin) in tensors {
        let Some(beside) = name_of_scale(name) else { continue };
        let Some(factors) = by_name.get(beside.as_str()) else { continue };
        let fits =
            check(&beside, factors.ggml_type(), factors.shape().element_count(), name, origin.shape().dims());
        if is_scaled(origin.ggml_type(), fits)? {
            scales.insert(name, read(&beside, factors)?);
        }
    }
    Ok(scales)
}

/// Returns `true` if a tensor of this type has factors. `fits` says whether the tensor beside it can contain them. NVFP4 comes
/// with factors, and keeps them beside it when converted to another type. Other tensors may have something else of that name.
pub(crate) fn is_scaled(ty: GgmlType, fits: Result<()>) -> Result<bool> {
    match fits {
        Ok(()) => Ok(!ty.is_integer()),
        Err(error) if ty == GgmlType::NVFP4 => Err(error),
        Err(_) => Ok(false),
    }
}

/// Checks that these can be a tensor's factors.
pub(crate) fn check(beside: &str, ty: GgmlType, found: u64, name: &str, dims: &[u64]) -> Result<()> {
    let matrices = dims.get(2).copied().unwrap_or(1);
    if ty == GgmlType::F32 && (found == 1 || found == matrices) {
        return Ok(());
    }
    let wanted = if matrices == 1 { "1".to_owned() } else { format!("1 or {matrices}") };
    let [beside, name] = [beside, name].map(str::escape_debug);
    let message = format!(
        "tensor '{beside}' has {found} values of {ty}, and the factors of '{name}' are {wanted} of F32"
    );
    Err(Error::Scale { message })
}

fn read(beside: &str, factors: &Origin<'_>) -> Result<Vec<f32>> {
    let mut bytes = vec![0; in_memory(factors.byte_len())?];
    let reading = |error| Error::io(format!("read tensor '{}'", beside.escape_debug()), error);
    factors.fill_little_endian(&mut bytes, 0).map_err(reading)?;
    Ok(bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
}

/// The source of the blocks.
pub(super) trait Blocks: Send + Sync {
    /// Returns a short-lived origin, since it may borrow from the implementor itself.
    fn origin(&self) -> Result<Origin<'_>>;
}

impl Blocks for Origin<'_> {
    fn origin(&self) -> Result<Origin<'_>> {
        Ok(*self)
    }
}

/// The values as those of an F32 tensor, computed when they are read.
pub(super) struct Scaled<T> {
    pub(super) blocks: T,
    /// One, or one for each matrix.
    pub(super) scales: Vec<f32>,
}

impl<T: Blocks> Scaled<T> {
    pub(super) fn origin(&self) -> Result<Origin<'_>> {
        Origin::new(self, 0, self.blocks.origin()?.shape(), GgmlType::F32, ByteOrder::Little)
    }
}

impl<T: Blocks> ReadAt for Scaled<T> {
    fn fill_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let origin = self.blocks.origin().map_err(io::Error::other)?;
        let matrix = (origin.shape().element_count() / (self.scales.len() as u64).max(1)).max(1);
        origin.fill_as(GgmlType::F32, buffer, offset, |first, values| {
            for (value, at) in values.iter_mut().zip(first..) {
                let scale = self.scales.get((at / matrix) as usize).or(self.scales.last());
                *value *= scale.copied().unwrap_or(1.0);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::values::dequantize;
    use crate::tensor::Shape;

    #[test]
    fn any_part_is_that_of_the_whole_times_the_factor_of_its_matrix() {
        let shape = Shape::new(&[128, 150, 2]).unwrap();
        let blocks: Vec<u8> = (0..shape.element_count() / 64 * 36).map(|i| (i * 37 % 97) as u8).collect();
        let mut wanted = vec![0.0f32; 128 * 300];
        dequantize(GgmlType::NVFP4, &blocks, &mut wanted).unwrap();
        wanted[..128 * 150].iter_mut().for_each(|value| *value *= 0.5);
        wanted[128 * 150..].iter_mut().for_each(|value| *value *= 3.0);
        let wanted: Vec<u8> = wanted.iter().flat_map(|value| value.to_le_bytes()).collect();
        let origin = Origin::new(&blocks, 0, shape, GgmlType::NVFP4, ByteOrder::Little).unwrap();
        let scaled = Scaled { blocks: origin, scales: vec![0.5, 3.0] };
        for (at, len) in [(0, wanted.len()), (1, 7), (4 * 63 + 2, 9), (76_790, 30), (wanted.len() - 3, 3)] {
            let mut part = vec![0; len];
            scaled.fill_at(&mut part, at as u64).unwrap();
            assert_eq!(part, wanted[at..at + len], "{len} bytes at {at}");
        }
        let origin = scaled.origin().unwrap();
        assert_eq!((origin.ggml_type(), origin.byte_len()), (GgmlType::F32, wanted.len() as u64));
    }
}
