//! Hashes a model's tensors, each and all together, and compares with hashes that were kept.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail, ensure};
use gguf_codec::{Error, ShardedGguf, Tensor};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::cli::{self, Answer};
use crate::json::pretty;
use crate::numbers::counted;

/// Bytes that are hashed between two steps of the progress bar.
const CHUNK: u64 = 1 << 20;

/// Hashes the data of a model's tensors: a line for each, and one for all of it.
///
/// The lines are those of llama.cpp's `gguf-hash`, with SHA-256: the last is the hash of all tensors' data, one after the other in
/// their order. Metadata, names and padding are not part of it, so that a model whose keys were edited has the hashes it had.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The model; the first shard stands for all of it
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print the hash of all data alone, without a line for each tensor
    #[arg(long)]
    no_layer: bool,
    /// Compare with the lines of an earlier run, and fail where one differs
    #[arg(long, value_name = "MANIFEST", conflicts_with = "no_layer")]
    check: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The hashes of a model.
struct Hashes {
    /// Of each tensor, with its name.
    tensors: Vec<(String, String)>,
    all: String,
}

pub(crate) fn run(args: Args) -> Result<Answer> {
    let title = args.file.display().to_string();
    let model = ShardedGguf::open(&args.file).map_err(|error| cli::about(&args.file, error))?;
    let manifest = args.check.as_ref().map(|path| {
        std::fs::read_to_string(path).with_context(|| format!("cannot read '{}'", path.display()))
    });
    let manifest = manifest.transpose()?;
    let hashes = hashes(&model, !args.no_layer)?;
    if let Some(manifest) = manifest {
        return check(&hashes, &manifest, &title, args.json);
    }
    if args.json {
        let tensors: serde_json::Map<_, _> =
            hashes.tensors.iter().map(|(name, hash)| (name.clone(), json!(hash))).collect();
        let tensors = if args.no_layer { serde_json::Value::Null } else { tensors.into() };
        return Ok(pretty(
            &json!({ "file": title, "hash": "sha256", "tensors": tensors, "all": hashes.all }),
        )
        .into());
    }
    let mut text = String::new();
    let title = cli::printable(&title);
    for (name, hash) in &hashes.tensors {
        writeln!(text, "sha256    {hash}  {title}:{}", cli::printable(name))?;
    }
    writeln!(text, "sha256    {}  {title}", hashes.all)?;
    Ok(text.into())
}

/// Hashes on all cores: one goes through all data in its order, the others take a tensor each.
fn hashes(model: &ShardedGguf<Vec<u8>>, each: bool) -> Result<Hashes> {
    let tensors = model.tensors().map(|info| info.tensor()).collect::<Result<Vec<_>, Error>>()?;
    let bytes: u64 = tensors.iter().map(Tensor::byte_len).sum();
    let bar = ProgressBar::new(if each { 2 * bytes } else { bytes });
    bar.set_style(ProgressStyle::with_template(
        "{bar:30} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} eta {eta}",
    )?);
    let update = |hash: &mut Sha256, buffer: &mut Vec<u8>, tensor: &Tensor<'_>| -> Result<(), Error> {
        let mut at = 0;
        while at < tensor.byte_len() {
            let len = (tensor.byte_len() - at).min(CHUNK);
            buffer.resize(len as usize, 0);
            tensor.read_bytes(at, buffer)?;
            hash.update(&buffer);
            bar.inc(len);
            at += len;
        }
        Ok(())
    };
    let next = AtomicUsize::new(0);
    let some = || -> Result<_, Error> {
        let (mut found, mut buffer) = (Vec::new(), Vec::new());
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(tensor) = tensors.get(index) else { break };
            let mut hash = Sha256::new();
            update(&mut hash, &mut buffer, tensor)?;
            found.push((index, hex(&hash.finalize())));
        }
        Ok(found)
    };
    let threads = if each { std::thread::available_parallelism().map_or(1, usize::from) } else { 0 };
    let (all, found) = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.min(tensors.len())).map(|_| scope.spawn(some)).collect();
        let (mut hash, mut buffer) = (Sha256::new(), Vec::new());
        let all = tensors.iter().try_for_each(|tensor| update(&mut hash, &mut buffer, tensor));
        let found: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        (all.map(|()| hex(&hash.finalize())), found)
    });
    let all = all?;
    let mut hashes = Vec::new();
    for worker in found {
        let Ok(worker) = worker else { bail!("a thread has ended before its work") };
        hashes.extend(worker?);
    }
    bar.finish_and_clear();
    hashes.sort();
    let tensors = hashes.into_iter().map(|(index, hash)| (tensors[index].name().to_owned(), hash)).collect();
    Ok(Hashes { tensors, all })
}

fn hex(hash: &[u8]) -> String {
    hash.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Compares with the SHA-256 lines of a manifest, whichever name the file had then.
fn check(hashes: &Hashes, manifest: &str, title: &str, json: bool) -> Result<Answer> {
    let by_name: std::collections::HashMap<_, _> =
        hashes.tensors.iter().map(|(name, hash)| (cli::printable(name), hash.as_str())).collect();
    let (mut same, mut wrong, mut all) = (0u64, Vec::new(), None);
    let mut seen = std::collections::HashSet::new();
    for line in manifest.lines() {
        let mut words = line.splitn(2, char::is_whitespace);
        let (Some("sha256"), Some(rest)) = (words.next(), words.next()) else { continue };
        let Some((hash, name)) = rest.trim_start().split_once(char::is_whitespace) else { continue };
        let name = name.trim_start();
        // A path may have colons, and so may a tensor's name.
        let mut ends = name.match_indices(':').map(|(at, _)| &name[at + 1..]);
        match ends.find_map(|end| by_name.get_key_value(end)) {
            Some((name, found)) if hash.eq_ignore_ascii_case(found) => {
                same += 1;
                seen.insert(name.as_str());
            }
            Some((name, _)) => {
                wrong.push(name.clone());
                seen.insert(name.as_str());
            }
            None if name.contains(".gguf:") => wrong.push(format!("{name} (not in the file)")),
            None => all = Some(hash.eq_ignore_ascii_case(&hashes.all)),
        }
    }
    ensure!(same > 0 || !wrong.is_empty() || all.is_some(), "the manifest has no line with a SHA-256");
    let missing = by_name.keys().filter(|name| !seen.contains(name.as_str())).count() as u64;
    if all.is_none() && missing > 0 {
        wrong.push(format!("{} not in the manifest", counted(missing, "tensor")));
    }
    let is_same = wrong.is_empty() && all != Some(false);
    let code = u8::from(!is_same);
    if json {
        let report =
            json!({ "file": title, "same": is_same, "tensors": same, "different": wrong, "all": all });
        return Ok(Answer(pretty(&report).into_bytes(), code));
    }
    let mut text = String::new();
    for name in &wrong {
        writeln!(text, "differs: {}", cli::printable(name))?;
    }
    if all == Some(false) {
        writeln!(text, "differs: all data together")?;
    }
    if is_same {
        writeln!(text, "{}: {} and all data are the same", cli::printable(title), counted(same, "tensor"))?;
    }
    Ok(Answer(text.into_bytes(), code))
}
