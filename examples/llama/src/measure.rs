//! What is measured on a text: [`perplexity`], [`kl_divergence`] and an [`imatrix`]. All are defined as llama.cpp's tools define
//! them: a text is read in windows of 512 tokens, each from nothing.

use std::path::Path;

use anyhow::{Result, ensure};
use gguf_codec::model::ImatrixCollector;
use gguf_codec::{Existing, Writer};

use crate::math::log_softmax;
use crate::model::Model;
use crate::session::{Precision, Session};
use crate::tokenizer::Tokenizer;

const WINDOW: usize = 512;

/// A text in windows, without the last tokens that do not fill one. Each window begins with the model's start token, which replaces
/// the text's token there.
pub fn windows(tokenizer: &Tokenizer, text: &str, most: Option<usize>) -> Result<Vec<Vec<u32>>> {
    let mut tokens = Vec::from_iter(tokenizer.begin);
    tokens.extend(tokenizer.encode(text));
    ensure!(tokens.len() >= WINDOW, "the text has {} tokens, and must have {WINDOW} or more", tokens.len());
    let window = |tokens: &[u32]| {
        let mut window = tokens.to_vec();
        window[0] = tokenizer.begin.unwrap_or(window[0]);
        window
    };
    Ok(tokens.chunks_exact(WINDOW).take(most.unwrap_or(usize::MAX)).map(window).collect())
}

/// The text's perplexity: e to the power of the mean negative logarithm of each token's probability. Only the second half of a
/// window counts, whose tokens have a context before them.
pub fn perplexity(session: &mut Session<'_>, windows: &[Vec<u32>]) -> Result<()> {
    let mut sum = Sum::default();
    for (i, window) in windows.iter().enumerate() {
        for (logits, token) in second_half(session, window)? {
            sum.add(-log_softmax(&logits).nth(token as usize).unwrap_or(f64::NEG_INFINITY));
        }
        eprintln!("window {} of {}: perplexity {:.4}", i + 1, windows.len(), sum.mean().exp());
    }
    let error = sum.mean().exp() * sum.error();
    println!("perplexity: {:.4} +/- {error:.4}, of {} tokens", sum.mean().exp(), sum.count);
    Ok(())
}

/// The mean Kullback-Leibler divergence, in nats, of a model's predictions after each token from those of a reference.
pub fn kl_divergence([mut reference, mut model]: [Session<'_>; 2], windows: &[Vec<u32>]) -> Result<()> {
    let (mut sum, mut same) = (Sum::default(), Sum::default());
    for (i, window) in windows.iter().enumerate() {
        let expected = second_half(&mut reference, window)?;
        for ((p, _), (q, _)) in expected.into_iter().zip(second_half(&mut model, window)?) {
            ensure!(p.len() == q.len(), "the reference has {} tokens, and the model {}", p.len(), q.len());
            sum.add(log_softmax(&p).zip(log_softmax(&q)).map(|(p, q)| p.exp() * (p - q)).sum());
            same.add(f64::from(crate::math::argmax(&p) == crate::math::argmax(&q)));
        }
        eprintln!("window {} of {}: {:.6}", i + 1, windows.len(), sum.mean());
    }
    println!("mean KL divergence: {:.6} +/- {:.6} nats, of {} tokens", sum.mean(), sum.error(), sum.count);
    println!("same likeliest token: {:.2} %", 100.0 * same.mean());
    Ok(())
}

/// Writes what the weights of all layers were multiplied with, as llama.cpp's quantizer reads it.
pub fn imatrix(
    model: &Model<'_>,
    precision: Precision,
    windows: &[Vec<u32>],
    dataset: &str,
    out: &Path,
) -> Result<()> {
    // Checked before the work: an existing file is not overwritten.
    let writer = Writer::create_with(out, Existing::Refuse)?;
    let mut collector = ImatrixCollector::new();
    let mut session = Session::new(model, precision).collecting(&mut collector);
    for (i, window) in windows.iter().enumerate() {
        session.clear();
        session.read(window, 0)?;
        eprintln!("window {} of {}", i + 1, windows.len());
    }
    let mut imatrix = collector.finish()?;
    imatrix.datasets.push(dataset.to_owned());
    imatrix.chunk_count = u32::try_from(windows.len())?;
    imatrix.chunk_size = WINDOW as u32;
    imatrix.write(writer)?;
    println!("{}: {} tensors", out.display(), imatrix.entries().len());
    Ok(())
}

/// The predictions in a window's second half, each with the token that followed.
fn second_half(session: &mut Session<'_>, window: &[u32]) -> Result<Vec<(Vec<f32>, u32)>> {
    session.clear();
    // The token after the last one is unknown.
    let half = window.len() / 2;
    let read = &window[..window.len() - 1];
    let logits = session.read(read, read.len() - half)?;
    let each = logits.len() / (read.len() - half);
    Ok(logits.chunks(each).map(<[f32]>::to_vec).zip(window[half + 1..].iter().copied()).collect())
}

/// A mean and its standard error.
#[derive(Default)]
struct Sum {
    count: u64,
    sum: f64,
    squares: f64,
}

impl Sum {
    fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        self.squares += value * value;
    }

    fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }

    fn error(&self) -> f64 {
        let variance = self.squares / self.count as f64 - self.mean() * self.mean();
        (variance.max(0.0) / (self.count as f64 - 1.0)).sqrt()
    }
}
