//! [`Head`]: the keys and values that a head keeps, and what queries make of them, as two products of matrices.

use anyhow::Result;
use gguf_codec::GgmlType;
use gguf_codec::compute::Matrix;

use crate::math::softmax;

/// Memory is reserved for so many tokens at a time.
const STEP: usize = 128;

/// The keys and values of one head.
pub struct Head {
    len: usize,
    /// Tokens that fit into the reserved memory. What is not used is 0.
    capacity: usize,
    /// A row of `len` keys for each token.
    keys: Vec<f32>,
    /// `len` rows, with a value of each token.
    values: Vec<f32>,
}

impl Head {
    /// Nothing, for keys and values of this length.
    pub fn new(len: usize) -> Self {
        Head { len, capacity: 0, keys: Vec::new(), values: Vec::new() }
    }

    /// Forgets all tokens.
    pub fn clear(&mut self) {
        *self = Head::new(self.len);
    }

    /// Keeps the keys and values of more tokens, after `before` others.
    pub fn push(&mut self, before: usize, keys: &[f32], values: &[f32]) {
        let needed = (before + keys.len() / self.len).next_multiple_of(STEP);
        if needed > self.capacity {
            let mut moved = vec![0.0; needed * self.len];
            for (row, to) in self.values.chunks(self.capacity.max(1)).zip(moved.chunks_mut(needed)) {
                to[..row.len()].copy_from_slice(row);
            }
            (self.values, self.capacity) = (moved, needed);
            self.keys.resize(needed * self.len, 0.0);
        }
        self.keys[before * self.len..][..keys.len()].copy_from_slice(keys);
        for (token, values) in (before..).zip(values.chunks(self.len)) {
            for (row, &value) in self.values.chunks_mut(self.capacity).zip(values) {
                row[token] = value;
            }
        }
    }

    /// What columns of queries find: the values of the first `seen(column)` tokens, each by how well its key fits.
    pub fn attend(&self, queries: &[f32], seen: impl Fn(usize) -> usize) -> Result<Vec<f32>> {
        let keys = Matrix::new(GgmlType::F32, bytemuck::cast_slice(&self.keys), self.len)?;
        let mut weights = vec![0.0; queries.len() / self.len * self.capacity];
        keys.matmul_f32(queries, &mut weights)?;
        let scale = 1.0 / (self.len as f32).sqrt();
        for (column, weights) in weights.chunks_mut(self.capacity).enumerate() {
            let (seen, unseen) = weights.split_at_mut(seen(column));
            seen.iter_mut().for_each(|weight| *weight *= scale);
            softmax(seen);
            unseen.fill(0.0);
        }
        let values = Matrix::new(GgmlType::F32, bytemuck::cast_slice(&self.values), self.capacity)?;
        let mut out = vec![0.0; queries.len()];
        values.matmul_f32(&weights, &mut out)?;
        Ok(out)
    }
}
