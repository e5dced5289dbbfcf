//! Converts a model's tensors to one type: reads, dequantizes, quantizes and writes a few megabytes at a time.

#[path = "shared/cli.rs"]
mod cli;
#[path = "shared/names.rs"]
mod names;

use std::fmt::Write;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, anyhow, bail};
use clap::Parser;
use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser;
use cli::{counted, grouped};
use gguf_codec::{
    ByteOrder, Error, FileType, GgmlType, Gguf, QUANTIZATION_VERSION, Shape, Tensor, TensorInfo, Writer,
    par_quantize,
};
use indicatif::{ProgressBar, ProgressStyle};
use names::Names;
use rayon::prelude::*;

/// Values that are converted at a time: whole blocks of every type.
const CHUNK: u64 = 1 << 20;

/// Bytes that are copied at a time.
const COPY_BYTES: u64 = 1 << 22;

/// Below this magnitude no scale of any type overflows: f16 holds numbers up to 65504.
const SAFE_MAGNITUDE: f32 = 32768.0;

/// Converts every matrix of a GGUF model whose rows are whole blocks to one type.
///
/// OUT is written beside its place, under a temporary name, and moved there when it is complete: after a failure or
/// an interruption (Ctrl-C, SIGTERM) what was there is as it was, and nothing is left behind. A second interruption ends
/// at once, and may leave the temporary file `.OUT.*.tmp`. IN and OUT may be the same file.
#[derive(Parser)]
#[command(name = "convert", version)]
struct Args {
    /// The model to read
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// The file to write
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// What the matrices become
    #[arg(long = "type", value_name = "TYPE", ignore_case = true, value_parser = target())]
    ty: GgmlType,
}

/// The types that models are made of and that floats can be turned into without importance weights: a new codec is
/// one of them by itself.
fn target() -> impl TypedValueParser<Value = GgmlType> {
    let is_target =
        |ty: &&GgmlType| ty.can_quantize() && !ty.needs_importance() && FileType::mostly(**ty).is_some();
    let names = GgmlType::ALL.iter().filter(is_target).map(|ty| ty.name());
    PossibleValuesParser::new(names).try_map(|name| name.parse::<GgmlType>())
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    cli::main(convert)
}

/// Why a tensor stays as it is, or `None` where it becomes `ty`.
fn reason_to_stay(tensor: &TensorInfo<'_>, ty: GgmlType) -> Option<String> {
    let from = tensor.ggml_type();
    if from == ty {
        Some(format!("already {ty}"))
    } else if tensor.shape().dims().len() < 2 {
        Some("fewer than two dimensions".into())
    } else if matches!(from, GgmlType::I8 | GgmlType::I16 | GgmlType::I32 | GgmlType::I64) {
        Some("integers".into())
    } else if !from.can_dequantize() {
        Some(format!("{from}, which has no codec yet"))
    } else if !tensor.shape().row_len().is_multiple_of(ty.block_len() as u64) {
        Some(format!("rows of {}, not whole blocks of {}", tensor.shape().row_len(), ty.block_len()))
    } else {
        None
    }
}

fn convert(args: Args) -> Result<String> {
    let ty = args.ty;
    // Asked twice, do not wait for what is being written.
    let on_signal = || {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(1);
        }
    };
    ctrlc::set_handler(on_signal).context("cannot listen for signals")?;
    // This checks that every tensor lies within the file, and only the header of what is mapped is ever touched:
    // the data is read, so that memory does not depend on its size.
    let model = Gguf::open(&args.input).map_err(|error| cli::about(&args.input, error))?;
    let mut file =
        File::open(&args.input).with_context(|| format!("cannot open '{}'", args.input.display()))?;
    let plan: Vec<_> = model.tensors().map(|tensor| (tensor, reason_to_stay(&tensor, ty))).collect();
    let converted = plan.iter().filter(|(_, reason)| reason.is_none()).count() as u64;

    let mut writer = Writer::create(&args.output)?;
    writer.copy_metadata_from(&model)?;
    if let Some(file_type) = FileType::mostly(ty).filter(|_| converted > 0) {
        writer.metadata("general.file_type", file_type.id())?;
        writer.metadata("general.quantization_version", QUANTIZATION_VERSION)?;
    }
    for (tensor, reason) in &plan {
        let becomes = if reason.is_none() { ty } else { tensor.ggml_type() };
        writer.tensor(tensor.name(), tensor.shape().dims(), becomes)?;
    }
    let output_bytes = writer.file_len()?;
    let mut writer = writer.write_header()?;

    let progress = ProgressBar::new(plan.iter().map(|(tensor, _)| tensor.byte_len()).sum());
    progress
        .set_style(ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} eta {eta}")?);
    let mut part = Part::new(ty, model.byte_order());
    let (mut overflown, mut overflown_names) = (0, Names::default());
    for (tensor, reason) in &plan {
        let named = || format!("tensor '{}'", tensor.name());
        file.seek(SeekFrom::Start(tensor.file_offset())).with_context(named)?;
        let mut out = writer.begin(tensor.name())?;
        let mut infinite = 0;
        let (unit_bytes, units) = match reason {
            Some(_) => (COPY_BYTES, tensor.byte_len().div_ceil(COPY_BYTES)),
            None => {
                (tensor.ggml_type().bytes_for(CHUNK).unwrap_or(0), tensor.shape().elements().div_ceil(CHUNK))
            }
        };
        for unit in 0..units {
            if INTERRUPTED.load(Ordering::Relaxed) {
                bail!("interrupted: '{}' is as it was", args.output.display());
            }
            let len = unit_bytes.min(tensor.byte_len() - unit * unit_bytes);
            part.source.resize(usize::try_from(len)?, 0);
            file.read_exact(&mut part.source).with_context(named)?;
            if reason.is_some() {
                out.write_bytes(&part.source)?;
            } else {
                infinite += part.convert(tensor, unit * CHUNK).with_context(named)?;
                out.write_bytes(&part.blocks)?;
            }
            progress.inc(len);
        }
        out.finish()?;
        if infinite > 0 {
            overflown += infinite;
            overflown_names.add(tensor.name());
        }
    }
    writer.finish()?;
    progress.finish_and_clear();

    let mut summary =
        cli::printable(&format!("{}: {} became {ty}", args.output.display(), counted(converted, "tensor")));
    if converted == 0 {
        summary += "; general.file_type stays what it was";
    }
    summary.push('\n');
    let mut kept: Vec<(&str, Names)> = Vec::new();
    for (tensor, reason) in &plan {
        let Some(reason) = reason else { continue };
        let at = kept.iter().position(|(known, _)| known == reason).unwrap_or_else(|| {
            kept.push((reason, Names::default()));
            kept.len() - 1
        });
        kept[at].1.add(tensor.name());
    }
    for (reason, names) in kept {
        writeln!(summary, "  stayed as they were ({reason}): {names}")?;
    }
    if overflown > 0 {
        let what = if ty.is_quantized() { "block" } else { "value" };
        let verb = if overflown == 1 { "is" } else { "are" };
        let overflown = counted(overflown, what);
        writeln!(
            summary,
            "  WARNING: {overflown} beyond the range of {ty} {verb} infinite now: {overflown_names}"
        )?;
    }
    writeln!(summary, "{} bytes, from {}", grouped(output_bytes), grouped(file.metadata()?.len()))?;
    Ok(summary)
}

/// A piece of a tensor on its way, and the memory for it.
struct Part {
    ty: GgmlType,
    order: ByteOrder,
    /// As in the file read.
    source: Vec<u8>,
    values: Vec<f32>,
    /// As in the file written.
    blocks: Vec<u8>,
}

impl Part {
    fn new(ty: GgmlType, order: ByteOrder) -> Self {
        Part { ty, order, source: Vec::new(), values: Vec::new(), blocks: Vec::new() }
    }

    /// Converts what was read, which begins at value `first` of its tensor. Without importance weights each block is
    /// quantized on its own, so that it does not matter where rows begin. Returns how many blocks became infinite.
    fn convert(&mut self, tensor: &TensorInfo<'_>, first: u64) -> Result<u64> {
        let ty = self.ty;
        let source = part_of(tensor, self.order, &self.source)?;
        self.values.resize(source.len(), 0.0);
        source.par_dequantize_into(&mut self.values)?;
        let greatest = greatest_magnitude(&self.values);
        if !greatest.is_finite() && ty.is_quantized() {
            return Err(self.not_finite(tensor, first));
        }
        self.blocks.resize(self.values.len() / ty.block_len() * ty.block_bytes(), 0);
        par_quantize(ty, &self.values, ty.block_len(), None, &mut self.blocks)?;
        let infinite = if greatest < SAFE_MAGNITUDE { 0 } else { self.count_became_infinite(tensor)? };
        if self.order == ByteOrder::Big {
            self.blocks = in_big_endian(ty, &self.blocks)?;
        }
        Ok(infinite)
    }

    fn not_finite(&self, tensor: &TensorInfo<'_>, first: u64) -> anyhow::Error {
        let at = self.values.iter().position(|value| !value.is_finite()).unwrap_or(0);
        let (index, row_len) = (first + at as u64, tensor.shape().row_len());
        let as_float = if tensor.ggml_type() == GgmlType::F64 { " as an f32" } else { "" };
        anyhow!(
            "value {index} (row {}, column {}) is {}{as_float}, and a block of {} cannot hold that",
            index / row_len,
            index % row_len,
            self.values[at],
            self.ty
        )
    }

    /// Blocks that are not finite, of values that were.
    fn count_became_infinite(&self, tensor: &TensorInfo<'_>) -> Result<u64> {
        let (from, mut count, mut next) = (tensor.ggml_type(), 0, 0);
        while let Err(Error::InvalidBlock { block, .. }) =
            self.ty.validate(&self.blocks[next * self.ty.block_bytes()..])
        {
            next += usize::try_from(block)?;
            let source = next * self.ty.block_len() / from.block_len() * from.block_bytes();
            if part_of(tensor, self.order, &self.source[source..][..from.block_bytes()])?.validate().is_ok() {
                count += 1;
            }
            next += 1;
        }
        Ok(count)
    }
}

/// Whole blocks of a tensor as a tensor of one row.
fn part_of<'a>(tensor: &TensorInfo<'a>, order: ByteOrder, bytes: &'a [u8]) -> Result<Tensor<'a>> {
    let from = tensor.ggml_type();
    let shape = row(bytes.len() / from.block_bytes() * from.block_len())?;
    Ok(Tensor::new(tensor.name(), shape, from, order, bytes)?)
}

/// NaN where there is one.
fn greatest_magnitude(values: &[f32]) -> f32 {
    // The bits of floats without their signs are ordered as integers are, NaN last.
    let greatest = |values: &[f32]| values.iter().fold(0, |max, value| max.max(value.to_bits() & !(1 << 31)));
    f32::from_bits(values.par_chunks(1 << 16).map(greatest).max().unwrap_or(0))
}

/// A shape of one row.
fn row(values: usize) -> Result<Shape> {
    Shape::new(&[values as u64]).context("too many values")
}

/// Little-endian blocks with their numbers turned round, by way of a file of one tensor in memory.
fn in_big_endian(ty: GgmlType, blocks: &[u8]) -> Result<Vec<u8>> {
    let shape = row(blocks.len() / ty.block_bytes() * ty.block_len())?;
    let mut writer = Writer::new(Vec::new());
    writer.byte_order(ByteOrder::Big).tensor("blocks", shape.dims(), ty)?;
    let mut data = writer.write_header()?;
    data.copy_tensor(&Tensor::new("blocks", shape, ty, ByteOrder::Little, blocks)?)?;
    let file = data.finish()?;
    Ok(Gguf::parse(&file)?.tensor("blocks")?.bytes().to_vec())
}
