//! The measured data: seeded, and the same in every run.

use gguf_codec::{GgmlType, quantize};

/// A generator of uniform floats in 0..1 (xorshift).
fn uniform(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 40) as f32 + 0.5) / 16_777_216.0
    }
}

/// Normal values of the size of model weights: standard deviation 0.02. They repeat after a million.
pub(crate) fn normal(len: usize) -> Vec<f32> {
    let mut next = uniform(0x9e37_79b9_7f4a_7c15);
    let part: Vec<f32> = (0..len.min(1 << 20))
        .map(|_| (-2.0 * next().ln()).sqrt() * (std::f32::consts::TAU * next()).cos() * 0.02)
        .collect();
    part.iter().copied().cycle().take(len).collect()
}

pub(crate) fn importance(len: usize) -> Vec<f32> {
    let mut next = uniform(77);
    (0..len).map(|_| next()).collect()
}

/// Normal values as blocks.
pub(crate) fn blocks(ty: GgmlType, values: usize) -> Vec<u8> {
    let some = normal(values.min(1 << 16));
    let mut blocks = vec![0; some.len() / ty.block_len() * ty.block_bytes()];
    let importance = ty.needs_importance().then(|| importance(some.len()));
    quantize(ty, &some, some.len(), importance.as_deref(), &mut blocks).expect("lengths fit");
    let len = values / ty.block_len() * ty.block_bytes();
    blocks.into_iter().cycle().take(len).collect()
}

/// Floats at an address that is a multiple of 64.
pub(crate) struct Aligned {
    memory: Vec<f32>,
    start: usize,
    len: usize,
}

pub(crate) fn aligned(len: usize) -> Aligned {
    let memory = vec![0.0f32; len + 16];
    let start = memory.as_ptr().align_offset(64);
    Aligned { memory, start, len }
}

impl Aligned {
    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        &mut self.memory[self.start..self.start + self.len]
    }
}
