//! Affine quantization: `q = round(r / s) + z`, and back `r = (q − z) · s`.

mod packing;

pub use packing::Packing;

/// Replaces codes by what they stand for.
#[inline]
pub(crate) fn restore(codes: &mut [f32], scale: f32, zero: f32) {
    codes.iter_mut().for_each(|code| *code = (*code - zero) * scale);
}
