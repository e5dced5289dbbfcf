//! Converts a model's tensors to one type: reads, dequantizes, quantizes and writes a few megabytes at a time.

#[path = "shared/cli.rs"]
mod cli;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use cli::grouped;
use gguf_codec::{FileType, GgmlType, Gguf, QUANTIZATION_VERSION, Shape, Tensor, TensorInfo, Writer};
use indicatif::{ProgressBar, ProgressStyle};

/// Values in memory at a time, as floats.
const CHUNK: u64 = 1 << 21;

const TYPES: [GgmlType; 8] = [
    GgmlType::F32,
    GgmlType::F16,
    GgmlType::BF16,
    GgmlType::Q8_0,
    GgmlType::Q4_0,
    GgmlType::Q4_1,
    GgmlType::Q4_K,
    GgmlType::Q6_K,
];

/// Converts every matrix of a GGUF model whose rows are whole blocks to one type.
#[derive(Parser)]
#[command(name = "convert", version)]
struct Args {
    /// The model to read
    input: PathBuf,
    /// The file to write: it is there only once it is complete
    output: PathBuf,
    /// F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q4_K or Q6_K
    #[arg(long = "type", value_name = "TYPE")]
    ty: GgmlType,
}

fn main() -> ExitCode {
    cli::main(convert)
}

/// Why a tensor stays as it is, or `None` where it becomes `ty`.
fn reason_to_stay(tensor: &TensorInfo<'_>, ty: GgmlType) -> Option<String> {
    let from = tensor.ggml_type();
    if from == ty {
        Some(format!("are {ty} already"))
    } else if tensor.shape().dims().len() < 2 {
        Some("have fewer than two dimensions".into())
    } else if matches!(from, GgmlType::I8 | GgmlType::I16 | GgmlType::I32 | GgmlType::I64) {
        Some("are integers".into())
    } else if !from.can_dequantize() {
        Some(format!("are {from}, which has no codec yet"))
    } else if !tensor.shape().row_len().is_multiple_of(ty.block_len() as u64) {
        Some(format!("have rows of {}, not whole blocks of {}", tensor.shape().row_len(), ty.block_len()))
    } else {
        None
    }
}

fn convert(args: Args) -> Result<String> {
    let ty = args.ty;
    if !TYPES.contains(&ty) {
        bail!("--type is {ty}, and must be one of {}", TYPES.map(GgmlType::name).join(", "));
    }
    let open = || File::open(&args.input).with_context(|| format!("cannot open '{}'", args.input.display()));
    let mut file = open()?;
    let model = Gguf::read_header(BufReader::new(open()?))?;

    let mut writer = Writer::create(&args.output)?;
    writer.copy_metadata_from(&model)?;
    if let Some(file_type) = FileType::mostly(ty) {
        writer.metadata("general.file_type", file_type.id())?;
    }
    writer.metadata("general.quantization_version", QUANTIZATION_VERSION)?;
    for tensor in model.tensors() {
        let becomes = if reason_to_stay(&tensor, ty).is_none() { ty } else { tensor.ggml_type() };
        writer.tensor(tensor.name(), tensor.shape().dims(), becomes)?;
    }
    let output_bytes = writer.file_len()?;
    let mut writer = writer.write_header()?;

    let progress = ProgressBar::new(model.tensors().map(|tensor| tensor.byte_len()).sum());
    progress
        .set_style(ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} eta {eta}")?);
    let mut kept = BTreeMap::<String, BTreeMap<String, u64>>::new();
    let (mut converted, mut bytes, mut values) = (0u64, Vec::new(), Vec::new());
    for tensor in model.tensors() {
        let named = || format!("tensor '{}'", tensor.name().escape_debug());
        let reason = reason_to_stay(&tensor, ty);
        file.seek(SeekFrom::Start(tensor.file_offset())).with_context(named)?;
        let mut out = writer.begin(tensor.name())?;
        for part in row_parts(&tensor)? {
            let len = tensor.ggml_type().bytes_for(part.elements()).unwrap_or(0);
            bytes.resize(usize::try_from(len)?, 0);
            file.read_exact(&mut bytes).with_context(named)?;
            if reason.is_some() {
                out.write_bytes(&bytes)?;
            } else {
                let part = Tensor::new(tensor.name(), part, tensor.ggml_type(), model.byte_order(), &bytes)?;
                values.resize(part.len(), 0.0f32);
                part.par_dequantize_into(&mut values)?;
                out.write_values(&values, None).with_context(named)?;
            }
            progress.inc(len);
        }
        out.finish()?;
        match reason {
            Some(reason) => *kept.entry(reason).or_default().entry(pattern(tensor.name())).or_default() += 1,
            None => converted += 1,
        }
    }
    writer.finish()?;
    progress.finish_and_clear();

    let mut summary = format!("{}: {converted} tensors became {ty}\n", args.output.display());
    for (reason, names) in kept {
        let names: Vec<_> = names.iter().map(|(name, count)| format!("{name} ({count})")).collect();
        writeln!(summary, "  stayed, because they {reason}: {}", names.join(", "))?;
    }
    writeln!(summary, "{} bytes, from {}", grouped(output_bytes), grouped(file.metadata()?.len()))?;
    Ok(summary)
}

/// A tensor's name with `*` for its numbers, so that the layers of a model are told together.
fn pattern(name: &str) -> String {
    let mut pattern = String::new();
    for character in name.escape_debug() {
        match character {
            '0'..='9' if pattern.ends_with('*') => {}
            '0'..='9' => pattern.push('*'),
            other => pattern.push(other),
        }
    }
    pattern
}

/// A tensor's shape in ranges of rows of about [`CHUNK`] values.
fn row_parts(tensor: &TensorInfo<'_>) -> Result<Vec<Shape>> {
    let (row_len, rows) = (tensor.shape().row_len(), tensor.shape().rows());
    if tensor.shape().elements() == 0 {
        return Ok(Vec::new());
    }
    let step = (CHUNK / row_len).max(1);
    let part = |start: u64| Shape::new(&[row_len, step.min(rows - start)]);
    (0..rows)
        .step_by(usize::try_from(step)?)
        .map(|start| part(start).with_context(|| format!("tensor '{}' has too many rows", tensor.name())))
        .collect()
}
