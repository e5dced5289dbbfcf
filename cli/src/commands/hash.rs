//! Hashes each of a model's tensors and all of them together, and compares with saved hashes.

mod kinds;

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail, ensure};
use gguf_codec::{Error, ShardedGguf, Tensor};
use serde_json::{Value as Json, json};

use crate::cli::{self, Answer};
use crate::json::pretty;
use crate::numbers::counted;
use crate::{paths, texts, work};
use kinds::{Hash, Kind};

/// Number of bytes to hash between two updates of the progress bar.
const CHUNK: u64 = 1 << 20;

/// Hashes the data of a model's tensors: a line for each, and one for all of it.
///
/// The lines are those of llama.cpp's `gguf-hash`, with SHA-256 unless others are asked for: the last is the hash of all tensors' data, one
/// after the other in their order. Metadata, names and padding are not part of it, so that a model whose keys were edited has the hashes it
/// had.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The model; the first shard stands for all of it
    #[arg(value_name = "FILE")]
    #[arg(value_parser = crate::paths::file())]
    file: PathBuf,
    /// Print SHA-256, which nobody can forge
    #[arg(long)]
    sha256: bool,
    /// Print SHA-1
    #[arg(long)]
    sha1: bool,
    /// Print XXH64, which is fast and detects accidental damage, but not forgery
    #[arg(long)]
    xxh64: bool,
    /// Print XXH3, which detects the same as XXH64
    #[arg(long)]
    xxh3: bool,
    /// Print the hash of all data alone, without a line for each tensor
    #[arg(long)]
    no_layer: bool,
    /// Compare with the lines of an earlier run or of `gguf-hash`, whichever hashes they have, and fail where one differs; - is standard input
    #[arg(long, value_name = "MANIFEST", conflicts_with_all = ["no_layer", "sha256", "sha1", "xxh64", "xxh3"])]
    check: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A model's hashes, of each of several kinds.
struct Hashes {
    kinds: Vec<Kind>,
    /// Each tensor's name, with its hash of each kind.
    tensors: Vec<(String, Vec<String>)>,
    all: Vec<String>,
}

pub(crate) fn run(args: Args) -> Result<Answer> {
    let title = args.file.display().to_string();
    let model = ShardedGguf::open(&args.file).map_err(|error| cli::about(&args.file, error))?;
    if let Some(path) = &args.check {
        let manifest = match paths::is_stream(path) {
            true => texts::read_all(std::io::stdin())
                .with_context(|| format!("cannot read '{}'", path.display()))?,
            false => texts::read(path)?,
        };
        let kinds = Kind::ALL.into_iter().filter(|kind| lines(&manifest, *kind).next().is_some()).collect();
        let hashes = hashes(&model, kinds, true)?;
        return check(&hashes, &manifest, &title, args.json);
    }
    let asked = [
        (args.xxh64, Kind::Xxh64),
        (args.xxh3, Kind::Xxh3),
        (args.sha1, Kind::Sha1),
        (args.sha256, Kind::Sha256),
    ];
    let mut kinds: Vec<_> =
        asked.into_iter().filter(|(is_asked, _)| *is_asked).map(|(_, kind)| kind).collect();
    if kinds.is_empty() {
        kinds.push(Kind::Sha256);
    }
    let hashes = hashes(&model, kinds, !args.no_layer)?;
    Ok(if args.json { pretty(&as_json(&hashes, &title, args.no_layer)) } else { as_text(&hashes, &title)? }
        .into())
}

fn as_json(hashes: &Hashes, title: &str, no_layer: bool) -> Json {
    let of_kind = |(at, kind): (usize, &Kind)| {
        let tensors: serde_json::Map<_, _> =
            hashes.tensors.iter().map(|(name, hashes)| (name.clone(), json!(hashes[at]))).collect();
        let tensors = if no_layer { Json::Null } else { tensors.into() };
        (kind.name().to_owned(), json!({ "tensors": tensors, "all": hashes.all[at] }))
    };
    let kinds: serde_json::Map<_, _> = hashes.kinds.iter().enumerate().map(of_kind).collect();
    json!({ "file": title, "hashes": kinds })
}

fn as_text(hashes: &Hashes, title: &str) -> Result<String> {
    let (mut text, title) = (String::new(), cli::printable(title));
    for (name, found) in &hashes.tensors {
        for (kind, hash) in hashes.kinds.iter().zip(found) {
            writeln!(text, "{:8}  {hash}  {title}:{}", kind.name(), cli::printable(name))?;
        }
    }
    for (kind, hash) in hashes.kinds.iter().zip(&hashes.all) {
        writeln!(text, "{:8}  {hash}  {title}", kind.name())?;
    }
    Ok(text)
}

/// Hashes on all cores: one thread hashes all data in order, the others take one tensor each.
fn hashes(model: &ShardedGguf<Vec<u8>>, kinds: Vec<Kind>, each: bool) -> Result<Hashes> {
    let tensors = model.tensors().map(|info| info.tensor()).collect::<Result<Vec<_>, Error>>()?;
    let bytes: u64 = tensors.iter().map(Tensor::byte_len).sum();
    let bar = work::bar(if each { 2 * bytes } else { bytes })?;
    let update = |hashes: &mut [Hash], buffer: &mut Vec<u8>, tensor: &Tensor<'_>| -> Result<(), Error> {
        let mut at = 0;
        while at < tensor.byte_len() {
            let len = (tensor.byte_len() - at).min(CHUNK);
            buffer.resize(len as usize, 0);
            tensor.read_bytes(at, buffer)?;
            hashes.iter_mut().for_each(|hash| hash.update(buffer));
            bar.inc(len);
            at += len;
        }
        Ok(())
    };
    let begin = || kinds.iter().map(|kind| Hash::new(*kind)).collect::<Vec<_>>();
    let finish = |hashes: Vec<Hash>| hashes.into_iter().map(Hash::finish).collect::<Vec<_>>();
    let next = AtomicUsize::new(0);
    let some = || -> Result<_, Error> {
        let (mut found, mut buffer) = (Vec::new(), Vec::new());
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(tensor) = tensors.get(index) else { break };
            let mut hashes = begin();
            update(&mut hashes, &mut buffer, tensor)?;
            found.push((index, finish(hashes)));
        }
        Ok(found)
    };
    let threads = if each { std::thread::available_parallelism().map_or(1, usize::from) } else { 0 };
    let (all, found) = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.min(tensors.len())).map(|_| scope.spawn(some)).collect();
        let (mut hashes, mut buffer) = (begin(), Vec::new());
        let all = tensors.iter().try_for_each(|tensor| update(&mut hashes, &mut buffer, tensor));
        let found: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        (all.map(|()| finish(hashes)), found)
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
    Ok(Hashes { kinds, tensors, all })
}

/// The lines of a manifest that have hashes of this kind: each hash with the name of what was hashed.
fn lines(manifest: &str, kind: Kind) -> impl Iterator<Item = (&str, &str)> {
    manifest.lines().filter_map(move |line| {
        let (its, rest) = line.split_once(char::is_whitespace)?;
        let (hash, name) = rest.trim_start().split_once(char::is_whitespace)?;
        (its == kind.name()).then(|| (hash, name.trim_start()))
    })
}

/// Compares with the lines of a manifest, whatever name the file had when they were written.
fn check(hashes: &Hashes, manifest: &str, title: &str, json: bool) -> Result<Answer> {
    let by_name: HashMap<_, _> =
        hashes.tensors.iter().map(|(name, hashes)| (cli::printable(name), hashes)).collect();
    let (mut wrong, mut seen, mut all) = (Vec::new(), HashSet::new(), None);
    for (at, kind) in hashes.kinds.iter().enumerate() {
        for (hash, name) in lines(manifest, *kind) {
            // Both paths and tensor names may contain colons.
            let mut ends = name.match_indices(':').map(|(at, _)| &name[at + 1..]);
            match ends.find_map(|end| by_name.get_key_value(end)) {
                Some((name, found)) => {
                    if !hash.eq_ignore_ascii_case(&found[at]) && !wrong.contains(name) {
                        wrong.push(name.clone());
                    }
                    seen.insert(name.as_str());
                }
                None if name.contains(".gguf:") => {
                    let name = format!("{name} (not in the file)");
                    if !wrong.contains(&name) {
                        wrong.push(name);
                    }
                }
                None => all = Some(all != Some(false) && hash.eq_ignore_ascii_case(&hashes.all[at])),
            }
        }
    }
    let names = Kind::ALL.map(Kind::name).join(", ");
    ensure!(
        !hashes.kinds.is_empty(),
        "the manifest has no line with a hash of a kind that is known: {names}"
    );
    let same = seen.iter().filter(|name| !wrong.iter().any(|wrong| wrong == **name)).count() as u64;
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
        writeln!(text, "differs: the data as a whole")?;
    }
    if is_same {
        writeln!(text, "{}: {} and all data are the same", cli::printable(title), counted(same, "tensor"))?;
    }
    Ok(Answer(text.into_bytes(), code))
}
