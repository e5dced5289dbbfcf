//! Looks into a GGUF file: header, metadata, tensors, totals, and the values of one tensor.

use std::fmt::Write;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use gguf_codec::{ByteOrder, Error, GgmlType, Gguf, Mapped, ShardProblem, ShardedGguf, Tensor, ValueRef};
use serde_json::json;

use crate::cli::Answer;
use crate::json::pretty;
use crate::numbers::counted;
use crate::{cli, details, json, statistics, summary};

/// A miniature model, so that there is something to see without a file.
const SAMPLE: &[u8] = include_bytes!("../../../examples/sample.gguf");

/// Looks into a GGUF file: header, metadata, tensors, totals. The first shard of a model stands for all of it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The file; a small sample model if there is none
    file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Also look at every tensor's scales and plain values, and fail if one is NaN or infinite
    #[arg(long)]
    check: bool,
    /// Print the whole value of one key: a string as it is (with a line break behind it only on a terminal), an array in lines
    /// of JSON. With --json it is a value that edit takes
    #[arg(long, value_name = "KEY", conflicts_with_all = ["tensor", "check"])]
    key: Option<String>,
    /// Show one tensor's statistics, histogram and first values, and what quantizing it to each type would cost
    #[arg(long, value_name = "NAME", conflicts_with = "check")]
    tensor: Option<String>,
}

pub(crate) fn run(args: Args) -> Result<Answer> {
    match &args.file {
        Some(path) => {
            let model = open(path).map_err(|error| cli::about(path, error))?;
            inspect(&model, &path.display().to_string(), &args)
                .with_context(|| format!("'{}'", path.display()))
        }
        None => inspect(&Gguf::parse(SAMPLE)?.into(), "the sample model", &args),
    }
}

/// The whole model by its first shard or only file; another shard alone.
fn open(path: &Path) -> Result<ShardedGguf<Mapped>, Error> {
    let open = |path: &Path| Gguf::options().foreign_tensors(true).open(path);
    match ShardedGguf::open_with(path, open) {
        Err(Error::Shard { problem: ShardProblem::NotFirst { .. }, .. }) => open(path).map(Into::into),
        opened => opened,
    }
}

fn inspect<B: AsRef<[u8]>>(model: &ShardedGguf<B>, title: &str, args: &Args) -> Result<Answer> {
    if let Some(key) = &args.key {
        let value: ValueRef<'_> = model.metadata().get(key)?;
        return Ok(if args.json {
            pretty(&json::value(value, usize::MAX)).into()
        } else {
            whole_value(value)
        });
    }
    if let Some(name) = &args.tensor {
        let tensor = model.tensor(name)?;
        let Some(scales) = model.scales(name)? else {
            let shown = if args.json {
                pretty(&details::json(&tensor, &tensor)?)
            } else {
                details::text(&tensor, &tensor)?
            };
            return Ok(shown.into());
        };
        let times = multiplied(&tensor, &scales)?;
        let values = Tensor::new(tensor.name(), tensor.shape(), GgmlType::F32, ByteOrder::NATIVE, &times)?;
        if args.json {
            let mut json = details::json(&tensor, &values)?;
            json["scales"] = json!(scales.iter().map(|&scale| json::number(scale)).collect::<Vec<_>>());
            return Ok(pretty(&json).into());
        }
        let factors = match scales.as_slice() {
            [one] => format!("the factor {one}"),
            several => format!("the {} factors", several.len()),
        };
        let text = details::text(&tensor, &values)?;
        return Ok(format!("{text}\nValues are those of the blocks times {factors} beside them\n").into());
    }
    if args.check {
        check(model)?;
    }
    let trailing: Vec<_> =
        model.shards().iter().map(Gguf::trailing).filter(|bytes| !bytes.is_empty()).collect();
    let trailing_bytes: u64 = trailing.iter().map(|bytes| bytes.len() as u64).sum();
    if args.json {
        let mut json = summary::json(model, title);
        if trailing_bytes > 0 {
            json["trailing_bytes"] = json!(trailing_bytes);
        }
        if args.check {
            json["check"] = json!({ "tensors": model.tensor_count() });
        }
        return Ok(pretty(&json).into());
    }
    let mut text = summary::text(model, title)?;
    if trailing_bytes > 0 {
        let bytes = counted(trailing_bytes, "byte");
        writeln!(text, "\n{bytes} behind the data belong to no tensor")?;
        if trailing.iter().any(|bytes| bytes.starts_with(b"GGUF")) {
            writeln!(text, "Another GGUF begins there: shards are joined with merge, not with cat")?;
        }
    }
    if args.check {
        let tensors = counted(model.tensor_count() as u64, "tensor");
        write!(text, "\nCheck: no NaN and no infinity in {tensors}")?;
        match model.foreign_tensors().count() as u64 {
            0 => writeln!(text)?,
            foreign => writeln!(text, "; {} could not be read", counted(foreign, "tensor"))?,
        }
    }
    Ok(text.into())
}

/// The first value that is infinite as an f32, though its block is valid: these types reach beyond that.
fn first_infinite(tensor: &Tensor<'_>) -> Result<Option<String>> {
    if !matches!(tensor.ggml_type(), GgmlType::MXFP4 | GgmlType::Q8_K | GgmlType::F64) {
        return Ok(None);
    }
    let (mut first, mut before) = (None, 0);
    statistics::for_each_chunk(tensor, |values| {
        let infinite = values.iter().position(|value| !value.is_finite());
        first = first.or(infinite.map(|at| before + at));
        before += values.len();
    })?;
    let (name, ty) = (tensor.name(), tensor.ggml_type());
    let row_len = tensor.row_len().max(1);
    Ok(first.map(|at| {
        let (row, column) = (at / row_len, at % row_len);
        format!("tensor '{name}': value {column} of row {row}, in {ty}, is beyond what f32 can hold")
    }))
}

/// The values of an NVFP4 tensor times the factors beside it, one or one for each matrix.
fn multiplied(tensor: &Tensor<'_>, scales: &[f32]) -> Result<Vec<u8>> {
    let mut values = tensor.par_dequantize::<f32>()?;
    let matrix = (values.len() / scales.len().max(1)).max(1);
    for (values, scale) in values.chunks_mut(matrix).zip(scales) {
        values.iter_mut().for_each(|value| *value *= scale);
    }
    Ok(values.iter().flat_map(|value| value.to_ne_bytes()).collect())
}

/// Strings as they are, so that `edit --set-file` takes them again; arrays an element to a line, in JSON.
fn whole_value(value: ValueRef<'_>) -> Answer {
    match value {
        ValueRef::String(bytes) => {
            let end: &[u8] = if std::io::stdout().is_terminal() { b"\n" } else { b"" };
            Answer([bytes, end].concat(), 0)
        }
        ValueRef::Array(array) => {
            let lines = array.iter().map(|element| json::line(&json::value(element, usize::MAX)) + "\n");
            lines.collect::<String>().into()
        }
        scalar => format!("{scalar}\n").into(),
    }
}

/// Fails with the first block that is not valid, and says how many tensors have any.
fn check<B: AsRef<[u8]>>(model: &ShardedGguf<B>) -> Result<()> {
    let mut bad = Vec::new();
    for info in model.tensors() {
        let tensor = info.tensor()?;
        match tensor.validate() {
            Ok(()) => bad.extend(first_infinite(&tensor)?),
            Err(Error::InvalidBlock { ty, block, what }) => {
                let row_blocks = (tensor.row_len() / ty.block_len()).max(1) as u64;
                let row = block / row_blocks;
                bad.push(format!("tensor '{}': block {block} of {ty}, in row {row}: {what}", tensor.name()));
            }
            Err(other) => return Err(other.into()),
        }
    }
    match bad.as_slice() {
        [] => Ok(()),
        [one] => bail!("{one}"),
        [first, others @ ..] => {
            bail!("{first}; {} more not valid", counted(others.len() as u64, "tensor"))
        }
    }
}
