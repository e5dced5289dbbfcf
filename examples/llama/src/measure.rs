//! What is measured on a text: [`perplexity`], [`kl_divergence`], [`sensitivity`] and an [`imatrix`]. All but sensitivities are defined as llama.cpp's tools define
//! them: a text is read in windows of 512 tokens, each from nothing.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Result, ensure};
use gguf_codec::compute::Matrix;
use gguf_codec::model::ImatrixCollector;
use gguf_codec::{AtomicFile, Existing, GgmlType, QuantError, Writer, dequantize, quantize};

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
            sum.add(divergence(&p, &q));
            same.add(f64::from(crate::math::argmax(&p) == crate::math::argmax(&q)));
        }
        eprintln!("window {} of {}: {:.6}", i + 1, windows.len(), sum.mean());
    }
    println!("mean KL divergence: {:.6} +/- {:.6} nats, of {} tokens", sum.mean(), sum.error(), sum.count);
    println!("same likeliest token: {:.2} %", 100.0 * same.mean());
    Ok(())
}

/// From what is expected to what else is, in nats.
fn divergence(p: &[f32], q: &[f32]) -> f64 {
    log_softmax(p).zip(log_softmax(q)).map(|(p, q)| p.exp() * (p - q)).sum()
}

/// Writes how much the model suffers from each of its matrices, as `gguf quantize --sensitivity` reads it: the divergence where that
/// one alone is quantized to `ty`, over what of the matrix that loses. Of each window the first `tokens` are read, to their ends.
pub fn sensitivity(
    model: &Model<'_>,
    precision: Precision,
    windows: &[Vec<u32>],
    tokens: usize,
    ty: GgmlType,
    out: &Path,
) -> Result<()> {
    let expectations = |model: &Model<'_>| -> Result<Vec<Vec<f32>>> {
        let mut session = Session::new(model, precision);
        let read = windows.iter().map(|window| {
            session.clear();
            let read = &window[..tokens.min(window.len())];
            session.read(read, read.len())
        });
        read.collect()
    };
    let expected = expectations(model)?;
    let vocabulary = model.output.matrix.row_count();
    let mut text = format!(
        "# KL divergence in {ty} over its relative error, of {tokens} tokens of {} passages\n",
        windows.len()
    );
    let all = model.weights().count();
    for (i, weight) in model.weights().enumerate() {
        let matrix = weight.matrix;
        if !matrix.row_len().is_multiple_of(ty.block_len()) {
            eprintln!("{}: rows of {} values are not whole blocks of {ty}", weight.name, matrix.row_len());
            continue;
        }
        let mut values = vec![0.0f32; matrix.row_len() * matrix.row_count()];
        dequantize(matrix.ggml_type(), matrix.bytes(), &mut values)?;
        let mut blocks = vec![0; values.len() / ty.block_len() * ty.block_bytes()];
        quantize(ty, &values, matrix.row_len(), None, &mut blocks)?;
        let mut restored = vec![0.0f32; values.len()];
        dequantize(ty, &blocks, &mut restored)?;
        // The share of its squares that is lost, from the ratio in decibels.
        let lost = 10f64.powf(-QuantError::between(&values, &restored)?.snr_db() / 10.0);
        // As floats, so that activations are rounded as they are for the others.
        let floats: Vec<u8> = restored.iter().flat_map(|value| value.to_le_bytes()).collect();
        let other = model.with(&weight.name, Matrix::new(GgmlType::F32, &floats, matrix.row_len())?);
        let mut sum = Sum::default();
        for (p, q) in expected.iter().zip(expectations(&other)?) {
            p.chunks(vocabulary).zip(q.chunks(vocabulary)).for_each(|(p, q)| sum.add(divergence(p, q)));
        }
        let alpha = if lost > 0.0 { sum.mean().max(0.0) / lost } else { 0.0 };
        writeln!(text, "{}\t{alpha:.6}", weight.name)?;
        eprintln!("{} of {all}: {}: {:.2e} nats for {lost:.2e}, {alpha:.4}", i + 1, weight.name, sum.mean());
    }
    AtomicFile::write_with(out, text.as_bytes(), Existing::Refuse)?;
    println!("{}: {all} tensors", out.display());
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
