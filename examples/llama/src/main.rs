//! A decoder of the Llama architecture on the public API of gguf-codec: as small as it can be and still be honest.
//!
//!     cargo run --release --manifest-path examples/llama/Cargo.toml -- SmolLM2-135M-Instruct.Q4_1.gguf
//!     ... -- MODEL --prompt "Why is the sky blue?" --tokens 100
//!     ... -- MODEL --perplexity wiki.test.raw
//!     ... -- MODEL --imatrix imatrix.gguf calibration.txt
//!     ... -- MODEL --kl MODEL-F16.gguf wiki.test.raw
//!     ... -- MODEL-F16.gguf --sensitivity sensitivities.tsv calibration.txt
//!
//! Reading order: [`model`] takes weights from a file, [`session`] multiplies them, [`attention`] and [`math`] are what lies between,
//! [`tokenizer`] makes tokens of text, and [`measure`] is done to whole texts. It answers greedily, with the likeliest token
//! each time, and knows SmolLM2's tokenizer and chat template (ChatML) alone; what it does not know is an error.

mod attention;
mod math;
mod measure;
mod model;
mod session;
mod tokenizer;

use std::fs;
use std::io::{Write, stdout};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use gguf_codec::{GgmlType, Gguf};

use math::argmax;
use model::Model;
use session::{Precision, Session};
use tokenizer::Tokenizer;

/// What SmolLM2's own chat template says before the first question.
const SYSTEM: &str = "You are a helpful AI assistant named SmolLM, trained by Hugging Face";

/// Answers a question with a language model in a GGUF, or measures the model on a text.
#[derive(Parser)]
struct Options {
    /// A GGUF of SmolLM2; without it, what the environment's GGUF_CODEC_SMOLLM2 names
    model: Option<PathBuf>,
    /// Multiply with activations that are not rounded to eight bits
    #[arg(long)]
    exact: bool,
    /// Threads to compute on, instead of one for each core
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// What to ask
    #[arg(long, value_name = "TEXT", default_value = "What is the capital of France?")]
    prompt: String,
    /// Tokens that the answer has at most
    #[arg(long, value_name = "N", default_value_t = 200)]
    tokens: usize,
    /// Print the numbers of tokens, of the prompt and of the answer
    #[arg(long)]
    show_tokens: bool,
    /// Measure how well the model expects a text
    #[arg(long, value_name = "TEXTFILE", conflicts_with_all = ["imatrix", "kl"])]
    perplexity: Option<PathBuf>,
    /// Collect an importance matrix while the model reads a text
    #[arg(long, num_args = 2, value_names = ["OUT", "TEXTFILE"], conflicts_with = "kl")]
    imatrix: Option<Vec<PathBuf>>,
    /// Measure how far from a reference's expectations the model's are
    #[arg(long, num_args = 2, value_names = ["REFERENCE", "TEXTFILE"])]
    kl: Option<Vec<PathBuf>>,
    /// Measure how much the model suffers from each of its matrices, for `gguf quantize --sensitivity`
    #[arg(long, num_args = 2, value_names = ["OUT", "TEXTFILE"], conflicts_with_all = ["perplexity", "imatrix", "kl"])]
    sensitivity: Option<Vec<PathBuf>>,
    /// The type that one matrix at a time is quantized to: one that is good for so few bits, such as IQ4_NL or Q4_0
    #[arg(long, value_name = "TYPE", default_value = "IQ4_NL", requires = "sensitivity")]
    sensitivity_type: GgmlType,
    /// How many tokens of each window are read for it, of one window where --windows says no more
    #[arg(long, value_name = "N", default_value_t = 128, requires = "sensitivity")]
    sensitivity_tokens: usize,
    /// Read no more than so many windows of a text
    #[arg(long, value_name = "N")]
    windows: Option<usize>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let threads = rayon::ThreadPoolBuilder::new().num_threads(options.threads.unwrap_or(0)).build()?;
    // On one of the threads itself: calls from outside would each wait for one to wake, hundreds of times for a token.
    threads.install(|| run(&options))
}

fn run(options: &Options) -> Result<()> {
    let path = options.model.clone().or_else(|| std::env::var_os("GGUF_CODEC_SMOLLM2").map(PathBuf::from));
    let path = path.context("name a model, or set GGUF_CODEC_SMOLLM2")?;
    let file = Gguf::open(&path)?;
    let (model, tokenizer) = load(&file).with_context(|| format!("'{}'", path.display()))?;
    let precision = if options.exact { Precision::Exact } else { Precision::Rounded };

    let windows = |path: &PathBuf| -> Result<Vec<Vec<u32>>> {
        let text = fs::read_to_string(path).with_context(|| format!("read '{}'", path.display()))?;
        measure::windows(&tokenizer, &text, options.windows)
    };
    if let Some(text) = &options.perplexity {
        return measure::perplexity(&mut Session::new(&model, precision), &windows(text)?);
    }
    if let Some([out, text]) = options.imatrix.as_deref() {
        return measure::imatrix(&model, precision, &windows(text)?, &text.display().to_string(), out);
    }
    if let Some([out, text]) = options.sensitivity.as_deref() {
        ensure!(!out.exists(), "'{}' exists already", out.display());
        let mut windows = windows(text)?;
        windows.truncate(options.windows.unwrap_or(1));
        let (tokens, ty) = (options.sensitivity_tokens, options.sensitivity_type);
        return measure::sensitivity(&model, precision, &windows, tokens, ty, out);
    }
    if let Some([reference, text]) = options.kl.as_deref() {
        let file = Gguf::open(reference)?;
        let (reference, _) = load(&file).with_context(|| format!("'{}'", reference.display()))?;
        let sessions = [&reference, &model].map(|model| Session::new(model, precision));
        return measure::kl_divergence(sessions, &windows(text)?);
    }
    answer(options, &mut Session::new(&model, precision), &tokenizer)
}

fn load(file: &Gguf<Vec<u8>>) -> Result<(Model<'_>, Tokenizer)> {
    let (model, tokenizer) = (Model::new(file)?, Tokenizer::new(file.metadata())?);
    let (rows, tokens) = (model.embedding.matrix.row_count(), tokenizer.len());
    ensure!(rows == tokens, "there are {tokens} tokens, and embeddings of {rows}");
    Ok((model, tokenizer))
}

/// Streams an answer to standard output, and then says on standard error how fast it was.
fn answer(options: &Options, session: &mut Session<'_>, tokenizer: &Tokenizer) -> Result<()> {
    let mut prompt = Vec::from_iter(tokenizer.begin);
    prompt.extend(tokenizer.encode_with_special(&chat(&options.prompt)));
    let start = Instant::now();
    let mut logits = session.read(&prompt, 1)?;
    let prompt_time = start.elapsed();

    let start = Instant::now();
    let (mut tokens, mut out) = (Vec::new(), stdout().lock());
    while tokens.len() < options.tokens {
        let token = argmax(&logits).context("the model has no tokens")?;
        tokens.push(token);
        if tokenizer.end.contains(&token) {
            break;
        }
        out.write_all(tokenizer.bytes(token)?)?;
        out.flush()?;
        logits = session.read(&[token], 1)?;
    }
    let answer_time = start.elapsed();
    writeln!(out)?;
    if options.show_tokens {
        writeln!(out, "prompt: {prompt:?}\nanswer: {tokens:?}")?;
    }
    for (what, count, time) in [("prompt", prompt.len(), prompt_time), ("answer", tokens.len(), answer_time)]
    {
        let seconds = time.as_secs_f64();
        eprintln!("{what}: {count} tokens in {seconds:.2} s, {:.1} a second", count as f64 / seconds);
    }
    Ok(())
}

/// A question as SmolLM2 was taught to be asked: ChatML.
fn chat(question: &str) -> String {
    format!(
        "<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
    )
}
