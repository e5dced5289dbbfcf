//! The contents of a header as JSON.

use std::ops::RangeInclusive;

use gguf_codec::model::{FileType, Size, Summary};
use gguf_codec::{GgmlType, ShardedGguf};
use serde_json::{Value as Json, json};

use super::metadata::kind;
use super::rows::{rows, totals};
use super::run::Run;
use crate::json;

fn size_json(size: Size) -> Json {
    json!({ "tensors": size.tensors, "parameters": size.parameters, "bytes": size.bytes,
        "bits_per_weight": size.bits_per_weight() })
}

/// The contents of the header. Arrays of more than 8 elements are shown by their length and first elements unless `all` is set.
pub(crate) fn json<B: AsRef<[u8]>>(model: &ShardedGguf<B>, title: &str, all: bool, run: Run) -> Json {
    let most = if all { usize::MAX } else { 8 };
    let metadata: serde_json::Map<_, _> =
        model.metadata().iter().map(|(key, value)| (key.to_owned(), json::value(value, most))).collect();
    let summary = Summary::new(model.metadata(), model.tensors());
    let rows = rows(model);
    let types: serde_json::Map<_, _> =
        model.metadata().iter().map(|(key, value)| (key.to_owned(), json!(kind(value)))).collect();
    let tensors: Vec<_> = rows
        .iter()
        .map(|row| {
            let mut json = json!({ "name": row.name, "type": row.ty, "shape": row.extents,
                "file_offset": row.file_offset, "bytes": row.bytes });
            if let Some(shard) = model.shard_of(row.name).ok().filter(|_| model.shards().len() > 1) {
                json["shard"] = json!(shard);
            }
            if row.is_foreign {
                json["readable"] = json!(false);
            }
            json
        })
        .collect();
    let (all, by_type) = totals(&rows);
    let by_type: serde_json::Map<_, _> =
        by_type.into_iter().map(|((_, ty), total)| (ty, size_json(total))).collect();
    let first = model.first();
    let memory = match run.memory(model) {
        Some((context, Ok(memory))) => {
            json!({ "context": context, "kv_type": run.kv_type().name(), "weights": memory.weights,
                "kv_cache": memory.kv_cache, "state": memory.state, "total": memory.total() })
        }
        Some((_, Err(error))) => json!({ "unknown": error.to_string() }),
        None => Json::Null,
    };
    let span =
        |range: &Option<RangeInclusive<u64>>| range.as_ref().map(|range| [*range.start(), *range.end()]);
    let summary = json!({ "name": summary.name, "architecture": summary.architecture, "kind": summary.kind,
        "dominant_type": summary.dominant_type.map(GgmlType::name), "file_type": summary.file_type.and_then(FileType::name),
        "layers": summary.layers, "embedding": summary.embedding, "heads": span(&summary.heads),
        "kv_heads": span(&summary.kv_heads), "experts": summary.experts, "experts_used": summary.experts_used,
        "context": summary.context, "vocabulary": summary.vocabulary, "tokenizer": summary.tokenizer,
        "pre_tokenizer": summary.pre_tokenizer });
    json!({ "file": title, "summary": summary, "memory": memory, "shards": model.shards().len(), "version": first.version(),
        "byte_order": format!("{:?}", first.byte_order()).to_lowercase(), "alignment": first.alignment(),
        "header_bytes": first.header_len(), "data_offset": first.data_offset(), "metadata": metadata, "types": types,
        "tensors": tensors, "totals": size_json(all), "by_type": by_type })
}
