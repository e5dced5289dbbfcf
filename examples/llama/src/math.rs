//! What is computed beside products with weights.

use rayon::prelude::*;

/// Columns divided by the root of their mean square, times `weight`.
pub fn rms_norm(columns: &[f32], weight: &[f32], epsilon: f32) -> Vec<f32> {
    let mut out = columns.to_vec();
    out.par_chunks_mut(weight.len()).for_each(|column| {
        let squares: f64 = column.iter().map(|&value| f64::from(value * value)).sum();
        let scale = 1.0 / ((squares / column.len() as f64) as f32 + epsilon).sqrt();
        column.iter_mut().zip(weight).for_each(|(value, weight)| *value = *value * scale * weight);
    });
    out
}

/// Turns neighbouring pairs of a head by angles that grow with the position, as Llama's weights in a GGUF expect.
pub fn rope(head: &mut [f32], position: usize, steps: &[f32]) {
    for (pair, step) in head.as_chunks_mut::<2>().0.iter_mut().zip(steps) {
        let (sin, cos) = (position as f32 * step).sin_cos();
        let [a, b] = *pair;
        *pair = [a * cos - b * sin, a * sin + b * cos];
    }
}

/// Turns scores to shares of 1.
pub fn softmax(scores: &mut [f32]) {
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    scores.iter_mut().for_each(|score| *score = (*score - most).exp());
    let sum: f32 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= sum);
}

/// The logarithms of the shares that [`softmax`] gives, in double precision.
pub fn log_softmax(logits: &[f32]) -> impl Iterator<Item = f64> {
    let most = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - most).exp()).sum();
    logits.iter().map(move |&logit| f64::from(logit) - most - sum.ln())
}

/// The gate `g / (1 + exp(-g))`, times what it gates.
pub fn swiglu(gates: &mut [f32], up: &[f32]) {
    gates
        .par_iter_mut()
        .zip(up)
        .with_min_len(4096)
        .for_each(|(gate, up)| *gate *= up / (1.0 + (-*gate).exp()));
}

pub fn add(sums: &mut [f32], values: &[f32]) {
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
}

/// The likeliest token: of several, the first.
pub fn argmax(logits: &[f32]) -> Option<u32> {
    let mut best = None;
    for (token, &logit) in (0..).zip(logits) {
        if best.is_none_or(|(_, most)| logit > most) {
            best = Some((token, logit));
        }
    }
    best.map(|(token, _)| token)
}
