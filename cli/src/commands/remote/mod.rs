//! Looks into a GGUF file on a web server: reads its header and one tensor, and not the gigabytes around them.

mod server;

use anyhow::{Context, Result, bail};
use gguf_codec::{Gguf, HeaderParser, HeaderProgress, Limits, ShardedGguf};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::numbers::{counted, grouped};
use crate::screen::Screen;
use crate::summary::{Run, View};
use crate::{details, json, summary};
use server::{Answer, Server};

/// Bytes that are asked for beyond what the header is known to need: fewer requests for a few bytes too many.
const AHEAD: u64 = 64 * 1024;

/// Looks into a GGUF file on a web server, through range requests.
///
/// No more is read than the header, 64 KiB behind it, and the data of the tensor that is asked for.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the file is: http://… (without TLS, which is C and assembly)
    pub(crate) url: String,
    /// Show one tensor's statistics, histogram and first values, and what quantizing it to each type would cost
    #[arg(long, value_name = "NAME")]
    pub(crate) tensor: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn run(args: Args) -> Result<String> {
    remote(&args).with_context(|| format!("'{}'", args.url))
}

fn remote(args: &Args) -> Result<String> {
    let mut server = Server::new(&args.url)?;
    let model = header(&mut server)?;
    if let Some(len) = server.file_len()
        && let Some(tensor) = model.tensors().find(|tensor| tensor.file_offset() + tensor.byte_len() > len)
    {
        let (name, end) = (tensor.name().escape_debug(), tensor.file_offset() + tensor.byte_len());
        bail!("the data of tensor '{name}' ends at byte {end}, and the file at byte {len}");
    }
    let model = ShardedGguf::from(model);
    let received;
    let tensor = match &args.tensor {
        None => None,
        Some(name) => {
            let info = model.tensor_info(name)?;
            received = data(&mut server, info.file_offset(), info.byte_len())
                .with_context(|| format!("tensor '{}'", info.name().escape_debug()))?;
            Some(info.with_data(&received)?)
        }
    };
    if args.json {
        let mut json = match &tensor {
            Some(tensor) => details::json(tensor, tensor)?,
            None => summary::json(&model, &args.url, false, Run::default()),
        };
        json["bytes_read"] = json!(server.bytes_read());
        json["requests"] = json!(server.requests());
        return Ok(json::pretty(&json));
    }
    let text = match &tensor {
        Some(tensor) => details::text(tensor, tensor)?,
        None => {
            let view = View {
                title: &args.url,
                screen: Screen::new(None),
                all: false,
                cut_at: None,
                run: Run::default(),
            };
            summary::text(&model, &view)
        }
    };
    let shard = match model.metadata().optional::<u16>("split.count") {
        Ok(Some(count @ 2..)) => format!("One of {count} shards: the others have other tensors\n"),
        _ => String::new(),
    };
    let (bytes, requests) = (grouped(server.bytes_read()), counted(server.requests(), "request"));
    Ok(format!("{text}\n{shard}Read {bytes} bytes in {requests}\n"))
}

/// The parser says how much more it needs; the server's answers are all the I/O there is.
fn header(server: &mut Server) -> Result<Gguf<Vec<u8>>> {
    let mut parser = HeaderParser::new(Limits::default());
    let mut received = Vec::new();
    while let HeaderProgress::NeedMore(more) = parser.advance(&received)? {
        // Of a header the parser never asks for bytes behind its end, so this reads at most AHEAD of them.
        match server.range(received.len() as u64, more.saturating_add(AHEAD))? {
            Answer::Part(mut body) => {
                if body.read_into(&mut received, |_| {})? == 0 {
                    // The file has ended, and the parser says in the middle of what.
                    break;
                }
            }
            Answer::Whole(body) if received.is_empty() => return Ok(Gguf::read_header(body)?),
            Answer::Whole(_) => bail!("the server sent a range first and the whole file later"),
        }
    }
    Ok(parser.finish(received)?)
}

/// The bytes of a tensor. Memory grows as they come, whatever the header says.
fn data(server: &mut Server, offset: u64, len: u64) -> Result<Vec<u8>> {
    let progress = ProgressBar::new(len);
    progress.set_style(ProgressStyle::with_template(
        "{bar:30} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} eta {eta}",
    )?);
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
