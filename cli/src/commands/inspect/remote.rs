//! Inspects a GGUF file on a web server through range requests. Reads its header and the requested tensors, and not the gigabytes
//! around them.

mod server;

use anyhow::{Context, Result, bail, ensure};
use gguf_codec::{Gguf, HeaderParser, HeaderProgress, Limits, ShardedGguf};
use serde_json::{Value as Json, json};

use super::{Args, Shown, names, overview};
use crate::numbers::{counted, grouped};
use crate::{details, stores, work};
use server::{Answer, Server};

/// Number of bytes to request in addition to those that the header is known to need: a few unneeded bytes save requests.
const AHEAD: u64 = 64 * 1024;

/// The output for the file at a URL. `title` is the name that the user gave.
pub(super) fn inspect(title: &str, url: &str, args: &Args) -> Result<Shown> {
    let shown = shown(title, url, args);
    if title == url {
        return shown.with_context(|| format!("'{title}'"));
    }
    shown.with_context(|| format!("'{title}' is not in the cache of Hugging Face's programs, and '{url}'"))
}

fn shown(title: &str, url: &str, args: &Args) -> Result<Shown> {
    ensure!(!args.check, "--check needs a file: it reads all of it");
    let token = std::env::var("HF_TOKEN").ok().filter(|token| !token.is_empty() && stores::is_of_hub(url));
    let mut server = Server::new(url)?.authorized(token);
    let model = header(&mut server)?;
    if let Some(len) = server.file_len()
        && let Some(tensor) = model.tensors().find(|tensor| tensor.file_offset() + tensor.byte_len() > len)
    {
        let (name, end) = (tensor.name().escape_debug(), tensor.file_offset() + tensor.byte_len());
        bail!("the data of tensor '{name}' ends at byte {end}, and the file at byte {len}");
    }
    let model = ShardedGguf::from(model);
    let shown = match &args.tensor {
        None => overview(&model, title, args, None)?,
        Some(pattern) => tensors(&mut server, &model, pattern, args)?,
    };
    // For a single value, nothing else is printed.
    if args.key.is_some() {
        return Ok(shown);
    }
    Ok(match shown {
        Shown::Json(mut json) => {
            if let Json::Object(object) = &mut json {
                object.insert("bytes_read".into(), json!(server.bytes_read()));
                object.insert("requests".into(), json!(server.requests()));
            }
            Shown::Json(json)
        }
        Shown::Text(mut text) => {
            let shard = match model.metadata().optional::<u16>("split.count") {
                Ok(Some(count @ 2..)) => format!("One of {count} shards: the others have other tensors\n"),
                _ => String::new(),
            };
            let (bytes, requests) = (grouped(server.bytes_read()), counted(server.requests(), "request"));
            text.extend(format!("\n{shard}Read {bytes} bytes in {requests}\n").into_bytes());
            Shown::Text(text)
        }
    })
}

/// The values of the tensors with this name or matching this pattern.
fn tensors(server: &mut Server, model: &ShardedGguf<Vec<u8>>, pattern: &str, args: &Args) -> Result<Shown> {
    let (mut texts, mut list) = (Vec::new(), Vec::new());
    for name in names(model, pattern)? {
        let info = model.tensor_info(name)?;
        let received = data(server, info.file_offset(), info.byte_len())
            .with_context(|| format!("tensor '{}'", info.name().escape_debug()))?;
        let tensor = info.with_data(&received)?;
        if args.json {
            list.push(details::json(&tensor, &tensor)?);
        } else {
            texts.push(details::text(&tensor, &tensor)?);
        }
    }
    Ok(match list.pop() {
        Some(one) if list.is_empty() => Shown::Json(one),
        Some(last) => {
            list.push(last);
            Shown::Json(list.into())
        }
        None => Shown::Text(texts.join("\n").into_bytes()),
    })
}

/// The parser says how many more bytes it needs; the server's answers are the only I/O.
fn header(server: &mut Server) -> Result<Gguf<Vec<u8>>> {
    let mut parser = HeaderParser::new(Limits::default());
    let mut received = Vec::new();
    while let HeaderProgress::NeedMore(more) = parser.advance(&received)? {
        // Within a header, the parser never asks for bytes past its end, so this reads at most AHEAD of them.
        match server.range(received.len() as u64, more.saturating_add(AHEAD))? {
            Answer::Part(mut body) => {
                if body.read_into(&mut received, |_| {})? == 0 {
                    // The file has ended; the parser's error says where in the header.
                    break;
                }
            }
            Answer::Whole(body) if received.is_empty() => return Ok(Gguf::read_header(body)?),
            Answer::Whole(_) => bail!("the server sent a range first and the whole file later"),
        }
    }
    Ok(parser.finish(received)?)
}

/// The bytes of a tensor. Memory grows as they arrive, whatever size the header claims.
fn data(server: &mut Server, offset: u64, len: u64) -> Result<Vec<u8>> {
    let progress = work::bar(len)?;
    let mut received = Vec::new();
    while (received.len() as u64) < len {
        let at = received.len() as u64;
        let Answer::Part(mut body) = server.range(offset + at, len - at)? else {
            bail!(
                "the server does not serve ranges, and the data begins {} bytes into the file",
                grouped(offset)
            );
        };
        if body.read_into(&mut received, |bytes| progress.inc(bytes))? == 0 {
            bail!("the file ends {} bytes into its data of {}", grouped(at), grouped(len));
        }
    }
    progress.finish_and_clear();
    Ok(received)
}
