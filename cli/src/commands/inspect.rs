//! Shows a GGUF file: header, metadata, tensors, totals, and the values of one tensor.

mod remote;

use std::fmt::Write;
use std::fs::File;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use gguf_codec::{ByteOrder, Error, GgmlType, Gguf, ShardPaths, ShardProblem, ShardedGguf, Tensor, ValueRef};
use serde_json::{Value as Json, json};

use crate::cli::Answer;
use crate::json::pretty;
use crate::numbers::counted;
use crate::screen::{Screen, natural};
use crate::summary::{Run, View};
use crate::{cli, details, glob, json, paths, statistics, stores, summary};

/// A miniature model, so that there is something to show without a file.
const SAMPLE: &[u8] = include_bytes!("../../../examples/sample.gguf");

/// Looks into GGUF files: what the model is, its metadata, its tensors and their types.
///
/// On a terminal, lines are cut to its width, and identical layers are shown together. In a pipe each tensor has its line, and only long
/// arrays are cut: --all shows them whole. The first shard of a model stands for all of it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The files; a small sample model if there is none. Also - for the header that standard input begins with, ollama:MODEL:TAG from Ollama's store, https://… of which no more is read than
    /// the header and the tensors that are asked for, and hf:ORG/REPO/FILE from the cache of Hugging Face's programs or, where it is not
    /// there, from the hub
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print JSON: an object, or an array of them for several files
    #[arg(long)]
    json: bool,
    /// Show each layer by itself, and in a pipe or as JSON arrays in full
    #[arg(long)]
    all: bool,
    /// Cut lines to so many columns instead of the terminal's, or not at all: 0
    #[arg(long, value_name = "COLUMNS")]
    width: Option<usize>,
    /// Report the memory for a context of this many tokens, such as 32768 or 32k, instead of the longest that the model was
    /// trained for
    #[arg(long, value_name = "TOKENS", value_parser = summary::tokens)]
    context: Option<u64>,
    /// The type of the cached keys and values, one that llama.cpp's cache supports; F16 by default
    #[arg(long, value_name = "TYPE", ignore_case = true, value_parser = summary::kv_type())]
    kv_type: Option<GgmlType>,
    /// Also look at every tensor's scales and plain values, and fail if one is NaN or infinite
    #[arg(long)]
    check: bool,
    /// Print the whole value of one key: a string as it is (with a line break behind it only on a terminal), an array in lines
    /// of JSON. With --json it is a value that edit takes. If it is a pattern with * and ?, such as 'llama.*',
    /// print each key whose whole name matches on a line
    #[arg(long, value_name = "KEY", conflicts_with_all = ["tensor", "check"])]
    key: Option<String>,
    /// Show one tensor's statistics, histogram and first values, and what quantizing it to each type would cost; or those of all
    /// tensors whose whole names match a pattern with * and ?, such as '*.attn_q.weight'
    #[arg(long, value_name = "NAME", conflicts_with = "check")]
    tensor: Option<String>,
}

/// The output for one file: text, or JSON if requested.
enum Shown {
    Text(Vec<u8>),
    Json(Json),
}

pub(crate) fn run(args: Args) -> Result<Answer> {
    let files: Vec<_> = args.files.iter().flat_map(|path| paths::matching(path)).collect();
    let files = without_followers(&files);
    match files.as_slice() {
        [] => {
            let model = Gguf::parse(SAMPLE)?.into();
            return Ok(answer(inspect(&model, "the sample model", &args)?));
        }
        [path] => {
            let (shown, error) = file(path, &args)?;
            let Answer(bytes, _) = answer(shown);
            return Ok(match error {
                None => Answer(bytes, 0),
                Some(error) => {
                    cli::warn(&error);
                    Answer(bytes, 1)
                }
            });
        }
        _ => {}
    }
    let (mut texts, mut list, mut code) = (Vec::new(), Vec::new(), 0);
    for path in files {
        let error = match file(path, &args) {
            Ok((shown, error)) => {
                match shown {
                    Shown::Json(json) => list.push(json),
                    Shown::Text(text) if args.key.is_some() => {
                        texts.extend(
                            format!("{}: ", cli::printable(&path.display().to_string())).into_bytes(),
                        );
                        texts.extend(text.strip_suffix(b"\n").unwrap_or(&text));
                        texts.push(b'\n');
                    }
                    Shown::Text(text) => {
                        if !texts.is_empty() {
                            texts.push(b'\n');
                        }
                        texts.extend(text);
                    }
                }
                error
            }
            Err(error) => Some(error),
        };
        if let Some(error) = error {
            cli::warn(&error);
            code = 1;
        }
    }
    Ok(if args.json { Answer(pretty(&list.into()).into_bytes(), code) } else { Answer(texts, code) })
}

/// The files, without shards whose first shard is also among the files and represents the whole model.
fn without_followers(files: &[PathBuf]) -> Vec<&PathBuf> {
    let is_follower = |path: &&PathBuf| {
        ShardPaths::parse(path.as_path())
            .is_some_and(|(paths, index)| index > 0 && files.contains(&paths.path(0)))
    };
    files.iter().filter(|path| !is_follower(path)).collect()
}

fn answer(shown: Shown) -> Answer {
    match shown {
        Shown::Text(text) => Answer(text, 0),
        Shown::Json(json) => pretty(&json).into(),
    }
}

/// The output for a file, and any problem found in a file that can still be shown.
fn file(path: &Path, args: &Args) -> Result<(Shown, Option<anyhow::Error>)> {
    let title = path.display().to_string();
    if paths::is_stream(path) {
        ensure!(
            args.tensor.is_none() && !args.check,
            "of standard input no more is read than the header: --tensor and --check need a file"
        );
        let model = Gguf::options().foreign_tensors(true).read_header(std::io::stdin().lock());
        let model = model.context("standard input")?.into();
        return Ok((overview(&model, "standard input", args, None)?, None));
    }
    let path = match stores::resolved(path)? {
        stores::Place::File(path) => path,
        stores::Place::Url(url) => return Ok((remote::inspect(&title, &url, args)?, None)),
    };
    let path = path.as_path();
    match open(path) {
        Ok(model) => {
            let shown = inspect(&model, &title, args).with_context(|| format!("'{title}'"))?;
            Ok((shown, None))
        }
        Err(error) => {
            let error = cli::about(path, error);
            match incomplete(path).filter(|_| args.tensor.is_none() && !args.check) {
                Some((model, len)) => {
                    let shown =
                        overview(&model, &title, args, Some(len)).with_context(|| format!("'{title}'"))?;
                    Ok((shown, Some(error)))
                }
                None => Err(error),
            }
        }
    }
}

/// The header of an incomplete file, such as one that is still being downloaded, and the file's length.
fn incomplete(path: &Path) -> Option<(ShardedGguf<Vec<u8>>, u64)> {
    let len = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?.len();
    let model = Gguf::options().foreign_tensors(true).read_header(File::open(path).ok()?).ok()?;
    let is_cut = model.tensors().any(|tensor| tensor.file_offset().saturating_add(tensor.byte_len()) > len);
    is_cut.then(|| (model.into(), len))
}

/// The whole model, if the path is its first shard or only file; otherwise this shard alone.
fn open(path: &Path) -> Result<ShardedGguf<Vec<u8>>, Error> {
    let open = |path: &Path| Gguf::options().foreign_tensors(true).open(path);
    match ShardedGguf::open_with(path, open) {
        Err(Error::Shard { problem: ShardProblem::NotFirst { .. }, .. }) => open(path).map(Into::into),
        opened => opened,
    }
}

fn inspect<B: AsRef<[u8]>>(model: &ShardedGguf<B>, title: &str, args: &Args) -> Result<Shown> {
    if let Some(pattern) = &args.tensor {
        return tensors(model, pattern, args);
    }
    if args.check {
        check(model)?;
    }
    overview(model, title, args, None)
}

/// The values of the tensors with this name or matching this pattern.
fn tensors<B: AsRef<[u8]>>(model: &ShardedGguf<B>, pattern: &str, args: &Args) -> Result<Shown> {
    if model.tensor_info(pattern).is_ok() {
        return tensor(model, pattern, args);
    }
    let (mut text, mut list) = (Vec::new(), Vec::new());
    for name in names(model, pattern)? {
        match tensor(model, name, args)? {
            Shown::Json(json) => list.push(json),
            Shown::Text(one) => {
                if !text.is_empty() {
                    text.push(b'\n');
                }
                text.extend(one);
            }
        }
    }
    Ok(if args.json { Shown::Json(list.into()) } else { Shown::Text(text) })
}

/// The tensors with this name or matching this pattern.
fn names<'m, B: AsRef<[u8]>>(model: &'m ShardedGguf<B>, pattern: &'m str) -> Result<Vec<&'m str>> {
    if let Ok(info) = model.tensor_info(pattern) {
        return Ok(vec![info.name()]);
    }
    let mut names: Vec<_> = model.tensors().map(|tensor| tensor.name()).collect();
    names.retain(|name| glob::matches(pattern, name));
    names.sort_by(|a, b| natural(a, b));
    if names.is_empty() {
        // A tensor that exists but cannot be read gives its own error.
        if !glob::is_pattern(pattern)
            && let Err(error) = model.tensor_info(pattern)
            && !matches!(error, Error::MissingTensor { .. })
        {
            return Err(error.into());
        }
        let is_it = glob::is_it(pattern, model.tensors().map(|tensor| tensor.name()));
        let what = if glob::is_pattern(pattern) { "no tensor matches" } else { "there is no tensor" };
        bail!("{what} '{}'{is_it}", pattern.escape_debug());
    }
    Ok(names)
}

/// The values of one tensor.
fn tensor<B: AsRef<[u8]>>(model: &ShardedGguf<B>, name: &str, args: &Args) -> Result<Shown> {
    let tensor = model.tensor(name)?;
    let Some(scales) = model.scales(name)? else {
        return Ok(if args.json {
            Shown::Json(details::json(&tensor, &tensor)?)
        } else {
            Shown::Text(details::text(&tensor, &tensor)?.into_bytes())
        });
    };
    let times = multiplied(&tensor, &scales)?;
    let values = Tensor::new(tensor.name(), tensor.shape(), GgmlType::F32, ByteOrder::NATIVE, &times)?;
    if args.json {
        let mut json = details::json(&tensor, &values)?;
        json["scales"] = json!(scales.iter().map(|&scale| json::number(scale)).collect::<Vec<_>>());
        return Ok(Shown::Json(json));
    }
    let factors = match scales.as_slice() {
        [one] => format!("the factor {one}"),
        several => format!("the {} factors", several.len()),
    };
    let text = details::text(&tensor, &values)?;
    Ok(Shown::Text(
        format!("{text}\nValues are those of the blocks times {factors} beside them\n").into_bytes(),
    ))
}

/// The whole value of a key, or one line for each key that matches a pattern.
fn keys<B: AsRef<[u8]>>(model: &ShardedGguf<B>, pattern: &str, args: &Args) -> Result<Shown> {
    let metadata = model.metadata();
    if metadata.contains(pattern) {
        let value: ValueRef<'_> = metadata.require(pattern)?;
        return Ok(if args.json {
            Shown::Json(json::value(value, usize::MAX))
        } else {
            Shown::Text(whole_value(value))
        });
    }
    let found: Vec<_> = metadata.iter().filter(|(key, _)| glob::matches(pattern, key)).collect();
    if found.is_empty() {
        let is_it = glob::is_it(pattern, metadata.iter().map(|(key, _)| key));
        let what = if glob::is_pattern(pattern) { "no key matches" } else { "the metadata has no key" };
        bail!("{what} '{}'{is_it}", pattern.escape_debug());
    }
    let values = found.iter().map(|(key, value)| ((*key).to_owned(), json::value(*value, usize::MAX)));
    if args.json {
        return Ok(Shown::Json(Json::Object(values.collect())));
    }
    let line = |(key, value): (String, Json)| format!("{} = {}\n", cli::printable(&key), json::line(&value));
    Ok(Shown::Text(values.map(line).collect::<String>().into_bytes()))
}

/// The contents of the header. If the file ends before its data does, `cut_at` is its length.
fn overview<B: AsRef<[u8]>>(
    model: &ShardedGguf<B>,
    title: &str,
    args: &Args,
    cut_at: Option<u64>,
) -> Result<Shown> {
    if let Some(pattern) = &args.key {
        return keys(model, pattern, args);
    }
    let run = Run { context: args.context, kv_type: args.kv_type };
    let trailing = model.shards().iter().map(Gguf::trailing);
    let trailing_bytes: u64 = trailing.map(|bytes| bytes.end - bytes.start).sum();
    if args.json {
        let mut json = summary::json(model, title, args.all, run);
        if trailing_bytes > 0 {
            json["trailing_bytes"] = json!(trailing_bytes);
        }
        if let Some(len) = cut_at {
            json["incomplete"] = json!({ "file_bytes": len });
        }
        if args.check {
            json["check"] = json!({ "tensors": model.tensor_count() });
        }
        return Ok(Shown::Json(json));
    }
    let screen = Screen::new(args.width);
    let mut text = summary::text(model, &View { title, screen, all: args.all, cut_at, run });
    if trailing_bytes > 0 {
        let bytes = counted(trailing_bytes, "byte");
        writeln!(text, "\n{bytes} after the data belong to no tensor")?;
        if model.shards().iter().any(Gguf::is_joined) {
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
    Ok(Shown::Text(text.into_bytes()))
}

/// The first value that becomes infinite as an f32 although its block is valid: these types have a larger range.
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

/// The values of an NVFP4 tensor multiplied by the factors beside it, either one factor or one for each matrix.
fn multiplied(tensor: &Tensor<'_>, scales: &[f32]) -> Result<Vec<u8>> {
    let mut values = tensor.par_dequantize::<f32>()?;
    let matrix = (values.len() / scales.len().max(1)).max(1);
    for (values, scale) in values.chunks_mut(matrix).zip(scales) {
        values.iter_mut().for_each(|value| *value *= scale);
    }
    Ok(values.iter().flat_map(|value| value.to_ne_bytes()).collect())
}

/// Strings in full, so that `edit --set-file` accepts them; arrays in JSON, one element per line.
fn whole_value(value: ValueRef<'_>) -> Vec<u8> {
    match value {
        ValueRef::String(bytes) => {
            let end: &[u8] = if std::io::stdout().is_terminal() { b"\n" } else { b"" };
            [bytes, end].concat()
        }
        ValueRef::Array(array) => {
            let lines = array.iter().map(|element| json::line(&json::value(element, usize::MAX)) + "\n");
            lines.collect::<String>().into_bytes()
        }
        scalar => format!("{scalar}\n").into_bytes(),
    }
}

/// Fails with the first invalid block, and says how many tensors have invalid blocks.
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
