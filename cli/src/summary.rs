//! Shows the contents of a header, as text and as JSON.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;

use console::truncate_str;
use gguf_codec::model::{FileType, Layer, Memory, MemoryEstimate, Size, Summary};
use gguf_codec::{ArrayRef, ByteOrder, GgmlType, ShardedGguf, ValueRef, ValueType};
use serde_json::{Value as Json, json};

use crate::json::value;
use crate::numbers::{counted, grouped, short};
use crate::screen::{Screen, columns, natural, padded, right};
use crate::{cli, size};

/// A row of the table of tensors; this crate may or may not be able to read the tensor.
struct Row<'a> {
    name: &'a str,
    ty: String,
    extents: Vec<u64>,
    file_offset: u64,
    bytes: Option<u64>,
    is_foreign: bool,
}

impl Row<'_> {
    fn shape(&self) -> String {
        match self.extents.as_slice() {
            [] => "1".to_owned(),
            extents => extents.iter().map(|&extent| grouped(extent)).collect::<Vec<_>>().join(" × "),
        }
    }

    /// Whether a file of this many bytes ends before the data does.
    fn is_cut(&self, len: u64) -> bool {
        self.file_offset.saturating_add(self.bytes.unwrap_or(1)) > len
    }

    fn shown_bytes(&self, cut_at: Option<u64>) -> String {
        match (cut_at, self.bytes) {
            (Some(len), _) if self.file_offset >= len => "missing".to_owned(),
            (Some(len), _) if self.is_cut(len) => "cut off".to_owned(),
            (_, None) => "to the end".to_owned(),
            (_, Some(bytes)) => size::shown(bytes),
        }
    }
}

/// All tensors in the order of the files.
fn rows<B: AsRef<[u8]>>(model: &ShardedGguf<B>) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for shard in model.shards() {
        let first = rows.len();
        rows.extend(shard.tensors().map(|tensor| Row {
            name: tensor.name(),
            ty: tensor.ggml_type().to_string(),
            extents: tensor.shape().dims().to_vec(),
            file_offset: tensor.file_offset(),
            bytes: Some(tensor.byte_len()),
            is_foreign: false,
        }));
        rows.extend(shard.foreign_tensors().map(|tensor| Row {
            name: tensor.name(),
            ty: tensor.ggml_type().map_or_else(|| format!("type {}", tensor.type_id()), |ty| ty.to_string()),
            extents: tensor.extents().to_vec(),
            file_offset: tensor.file_offset(),
            bytes: tensor.byte_len(),
            is_foreign: true,
        }));
        rows[first..].sort_by_key(|row| row.file_offset);
    }
    rows
}

fn totals(rows: &[Row<'_>]) -> (Size, BTreeMap<(u32, String), Size>) {
    let (mut all, mut by_type) = (Size::default(), BTreeMap::<_, Size>::new());
    // The types in ggml's order, followed by all others.
    let order = |name: &str| name.parse::<GgmlType>().map_or(u32::MAX, GgmlType::id);
    for row in rows {
        let parameters = row.extents.iter().fold(1, |product: u64, &extent| product.saturating_mul(extent));
        let mut size = Size::default();
        (size.tensors, size.parameters, size.bytes) = (1, parameters, row.bytes.unwrap_or(0));
        all += size;
        *by_type.entry((order(&row.ty), row.ty.clone())).or_default() += size;
    }
    (all, by_type)
}

fn size_json(size: Size) -> Json {
    json!({ "tensors": size.tensors, "parameters": size.parameters, "bytes": size.bytes,
        "bits_per_weight": size.bits_per_weight() })
}

/// The contents of the header. Arrays of more than 8 elements are shown by their length and first elements unless `all` is set.
pub(crate) fn json<B: AsRef<[u8]>>(model: &ShardedGguf<B>, title: &str, all: bool, run: Run) -> Json {
    let most = if all { usize::MAX } else { 8 };
    let metadata: serde_json::Map<_, _> =
        model.metadata().iter().map(|(key, value)| (key.to_owned(), self::value(value, most))).collect();
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

/// What to show of a header, and how.
pub(crate) struct View<'a> {
    /// The file's name, or its substitute.
    pub(crate) title: &'a str,
    pub(crate) screen: Screen,
    /// Shows each layer separately, and arrays in full.
    pub(crate) all: bool,
    /// The file's length, if tensors' data may extend past it.
    pub(crate) cut_at: Option<u64>,
    pub(crate) run: Run,
}

/// How the model would be run, as far as this affects its memory.
#[derive(Clone, Copy, Default)]
pub(crate) struct Run {
    /// Number of tokens; `None` means the context that the model was trained for.
    pub(crate) context: Option<u64>,
    /// The type of keys and values; `None` means F16.
    pub(crate) kv_type: Option<GgmlType>,
}

impl Run {
    /// Whether the user asked for the memory.
    pub(crate) fn is_asked(self) -> bool {
        self.context.is_some() || self.kv_type.is_some()
    }

    pub(crate) fn kv_type(self) -> GgmlType {
        self.kv_type.unwrap_or(GgmlType::F16)
    }

    /// The memory that the model needs in this context, or why it is unknown; `None` if no context length is known
    /// either.
    pub(crate) fn memory<B: AsRef<[u8]>>(
        self,
        model: &ShardedGguf<B>,
    ) -> Option<(u64, gguf_codec::Result<MemoryEstimate>)> {
        let context =
            self.context.or_else(|| model.require_arch::<u64>("context_length").ok().filter(|&n| n > 0))?;
        let memory = Memory::at(context).kv_type(self.kv_type());
        Some((context, memory.estimate(model.metadata(), model.tensors())))
    }
}

impl View<'_> {
    /// Identical layers are folded wherever lines are cut.
    fn folds(&self) -> bool {
        !self.all && self.screen.width().is_some()
    }

    /// The width of the column of names.
    fn names<'n>(&self, names: impl Iterator<Item = &'n str>) -> usize {
        let longest = names.map(columns).max().unwrap_or(0);
        self.screen.width().map_or(longest, |width| longest.min(width / 2))
    }
}

pub(crate) fn text<B: AsRef<[u8]>>(model: &ShardedGguf<B>, view: &View<'_>) -> String {
    let rows = rows(model);
    let mut text = head(model, &rows, view);
    text += &metadata(model, view);
    text += &tensors(&rows, view);
    text += &types(&rows, view);
    let mut foreign = model.foreign_tensors();
    if let Some(tensor) = foreign.next() {
        let others = foreign.count() as u64;
        let name = short(tensor.name());
        let others =
            if others > 0 { format!(", and so {}", counted(others, "other")) } else { String::new() };
        text += &format!("\nTensor '{name}' cannot be read here{others}: {}\n", tensor.problem());
    }
    text
}

/// The first lines, which describe the model.
fn head<B: AsRef<[u8]>>(model: &ShardedGguf<B>, rows: &[Row<'_>], view: &View<'_>) -> String {
    let summary = Summary::new(model.metadata(), model.tensors());
    let first = model.first();
    let (all, _) = totals(rows);
    let (title, name) = (cli::printable(view.title), summary.name.as_deref().map(cli::printable));
    let joined = name.as_ref().map_or_else(|| title.clone(), |name| format!("{title}   {name}"));
    let mut text = match name {
        Some(name) if view.screen.width().is_some_and(|width| columns(&joined) > width) => {
            view.screen.line(&title) + &view.screen.line(&name)
        }
        _ => view.screen.line(&joined),
    };

    let mut items = Vec::new();
    items.extend(summary.kind.as_deref().filter(|kind| *kind != "model").map(cli::printable));
    items.extend(summary.architecture.as_deref().map(cli::printable));
    items.push(format!("{} parameters", size::parameters(all.parameters)));
    if let Some(ty) = summary.dominant_type {
        let recipe = summary.file_type.and_then(FileType::name).filter(|name| *name != ty.name());
        let ty = recipe.map_or_else(|| ty.name().to_owned(), |recipe| format!("{recipe}, mostly {ty}"));
        items.push(format!("{ty} ({:.2} bits/weight)", all.bits_per_weight()));
    }
    items.push(size::shown(all.bytes));
    let order = if first.byte_order() == ByteOrder::Big { ", big-endian" } else { "" };
    items.push(format!("GGUF {}{order}", first.version()));
    if first.alignment() != 32 {
        items.push(format!("alignment {}", first.alignment()));
    }
    if let shards @ 2.. = model.shards().len() {
        items.push(counted(shards as u64, "shard"));
    }
    text += &view.screen.flow(items);

    let mut items = Vec::new();
    items.extend(summary.layers.map(|layers| counted(layers, "layer")));
    items.extend(summary.embedding.map(|embedding| format!("embedding {}", grouped(embedding))));
    if let (Some(heads), Some(kv)) = (&summary.heads, &summary.kv_heads) {
        let noun = if *heads == (1..=1) { "head" } else { "heads" };
        items.push(format!("{} {noun}, {} KV", span(heads), span(kv)));
    }
    if let Some(experts) = summary.experts {
        let used = summary.experts_used.map_or_else(String::new, |used| format!(", {} used", grouped(used)));
        items.push(format!("{}{used}", counted(experts, "expert")));
    }
    items.extend(summary.context.map(|context| format!("context {}", grouped(context))));
    if let Some(vocabulary) = summary.vocabulary {
        let tokenizer: Vec<_> = [&summary.tokenizer, &summary.pre_tokenizer].into_iter().flatten().collect();
        let tokenizer = tokenizer.iter().map(|name| cli::printable(name)).collect::<Vec<_>>().join(", ");
        let tokenizer = if tokenizer.is_empty() { tokenizer } else { format!(" ({tokenizer})") };
        items.push(format!("vocabulary {}{tokenizer}", grouped(vocabulary)));
    }
    text += &view.screen.flow(items);
    match view.run.memory(model) {
        Some((context, Ok(memory))) => text += &view.screen.line(&memory_line(context, memory, view.run)),
        Some((_, Err(error))) if view.run.is_asked() => {
            text += &view.screen.line(&format!("memory: unknown ({})", cli::printable(&error.to_string())));
        }
        _ => {}
    }
    if let Some(len) = view.cut_at {
        let whole = rows.iter().filter(|row| !row.is_cut(len)).count() as u64;
        let line = format!(
            "incomplete: the file ends after {}, with {} of {} whole",
            size::shown(len),
            grouped(whole),
            counted(rows.len() as u64, "tensor")
        );
        text += &view.screen.line(&line);
    }
    text
}

fn memory_line(context: u64, memory: MemoryEstimate, run: Run) -> String {
    let mut parts = vec![format!("{} weights", size::shown(memory.weights))];
    if memory.kv_cache > 0 {
        parts.push(format!(
            "{} KV cache ({})",
            size::shown(memory.kv_cache),
            run.kv_type().name().to_lowercase()
        ));
    }
    if memory.state > 0 {
        parts.push(format!("{} state", size::shown(memory.state)));
    }
    format!("memory at {}: {}", counted(context, "token"), parts.join(" + "))
}

/// One number, or two with a dash between them.
fn span(range: &RangeInclusive<u64>) -> String {
    if range.start() == range.end() {
        grouped(*range.start())
    } else {
        format!("{}–{}", grouped(*range.start()), grouped(*range.end()))
    }
}

fn metadata<B: AsRef<[u8]>>(model: &ShardedGguf<B>, view: &View<'_>) -> String {
    let pairs: Vec<_> = model.metadata().iter().map(|(key, value)| (short(key), key, value)).collect();
    let names = view.names(pairs.iter().map(|(key, ..)| key.as_str()));
    let kinds: Vec<_> = pairs.iter().map(|&(.., value)| shown_type(value)).collect();
    let width = kinds.iter().map(|kind| columns(kind)).max().unwrap_or(0).max(4);
    let heading = format!("metadata ({})", grouped(pairs.len() as u64));
    let mut text = view.screen.line("");
    text += &view.screen.line(&(padded(&heading, names) + &padded("type", width) + "value"));
    let tokens = model.metadata().require::<ArrayRef<'_>>("tokenizer.ggml.tokens").ok();
    for ((shown, key, value), kind) in pairs.iter().zip(&kinds) {
        let start = padded(shown, names) + &padded(kind, width);
        let left = view.screen.width().map(|width| width.saturating_sub(columns(&start)));
        let mut value_text = shown_value(*value, left, view.all);
        if let ("general.file_type", Ok(id)) = (*key, model.metadata().require::<u32>(key)) {
            value_text += &format!("  ({})", FileType::from_id(id));
        }
        let index = key.strip_suffix("_token_id").and_then(|_| model.metadata().require::<usize>(key).ok());
        if let Some(token) = index.and_then(|index| tokens?.get(index)) {
            value_text += &format!("  {}", quoted(token));
        }
        text += &view.screen.line(&(start + &value_text));
    }
    text
}

fn tensors(rows: &[Row<'_>], view: &View<'_>) -> String {
    let lines = folded(rows, view);
    let names = view.names(lines.iter().map(|line| line.name.as_str()));
    let cells: Vec<_> = lines
        .iter()
        .filter_map(|line| line.row)
        .map(|row| (row.ty.as_str(), row.shape(), row.shown_bytes(view.cut_at)))
        .collect();
    let widest = |cell: &dyn Fn(&(&str, String, String)) -> usize| cells.iter().map(cell).max().unwrap_or(0);
    let types = widest(&|(ty, ..)| columns(ty));
    let shapes = widest(&|(_, shape, _)| columns(shape));
    let sizes = widest(&|(.., size)| columns(size));
    let mut text = view.screen.line("");
    text += &view.screen.line(&format!("tensors ({})", grouped(rows.len() as u64)));
    let mut cells = cells.iter();
    for line in &lines {
        let Some((ty, shape, size)) = line.row.and_then(|_| cells.next()) else {
            text += &view.screen.line(&line.name);
            continue;
        };
        let name = truncate(&line.name, view.screen.width().map(|_| names));
        let line = padded(&name, names) + &padded(ty, types) + &padded(shape, shapes) + &right(size, sizes);
        text += &view.screen.line(&line);
    }
    text
}

/// A line of the table of tensors: the heading of a group of layers, or a tensor.
struct Line<'a, 'r> {
    name: String,
    row: Option<&'r Row<'a>>,
}

/// The tensors of the first layer of a group, and all layers that are identical to it.
type Alike<'a, 'r> = (Vec<(&'a str, &'r Row<'a>)>, Vec<Layer<'a>>);

/// The tensors by name: first the embedding, then the layers, then all others. If the view folds layers, those with the same
/// tensors, types and shapes are combined.
fn folded<'a, 'r>(rows: &'r [Row<'a>], view: &View<'_>) -> Vec<Line<'a, 'r>> {
    let is_first = |name: &str| {
        ["token_embd", "position_embd", "token_types", "per_layer_"]
            .iter()
            .any(|start| name.starts_with(start))
    };
    let (mut first, mut last) = (Vec::new(), Vec::new());
    let mut layers = BTreeMap::<Layer<'a>, Vec<(&'a str, &'r Row<'a>)>>::new();
    for row in rows {
        match Layer::split(row.name) {
            (Some(layer), kind) => layers.entry(layer).or_default().push((kind, row)),
            (None, name) if is_first(name) => first.push(row),
            _ => last.push(row),
        }
    }
    for alone in [&mut first, &mut last] {
        alone.sort_by(|a, b| natural(a.name, b.name));
    }
    let line = |row: &'r Row<'a>| Line { name: short(row.name), row: Some(row) };
    let mut lines: Vec<_> = first.into_iter().map(line).collect();
    // For each group of layers, the tensors of the first, and all layers identical to it.
    let mut kinds: Vec<Alike<'_, '_>> = Vec::new();
    let mut by_tensors = HashMap::new();
    for (layer, mut its) in layers {
        its.sort_by(|a, b| natural(a.0, b.0));
        if !view.folds() {
            lines.extend(its.into_iter().map(|(_, row)| line(row)));
            continue;
        }
        let alike: Vec<_> = its
            .iter()
            .map(|(kind, row)| (*kind, row.ty.as_str(), row.extents.as_slice(), row.shown_bytes(view.cut_at)))
            .collect();
        let at = *by_tensors.entry((layer.part(), alike)).or_insert(kinds.len());
        match kinds.get_mut(at) {
            Some((_, layers)) => layers.push(layer),
            None => kinds.push((its, vec![layer])),
        }
    }
    for (its, layers) in kinds {
        let bytes = its.iter().filter_map(|(_, row)| row.bytes).fold(0, u64::saturating_add);
        let part = if layers[0].part().is_empty() { String::new() } else { format!("{}.", layers[0].part()) };
        let indices: Vec<_> = layers.iter().map(|layer| layer.index()).collect();
        let alike = match layers.len() {
            1 => size::shown(bytes),
            count => format!("{count} alike, {} each", size::shown(bytes)),
        };
        let name = format!("{}blk.{} ({alike})", cli::printable(&part), spans(&indices));
        lines.push(Line { name, row: None });
        lines.extend(
            its.into_iter().map(|(kind, row)| Line { name: format!("  {}", short(kind)), row: Some(row) }),
        );
    }
    lines.extend(last.into_iter().map(line));
    lines
}

/// Formats ascending numbers as `0–3, 7, 9–10`.
fn spans(numbers: &[u32]) -> String {
    let mut spans: Vec<(u32, u32)> = Vec::new();
    for &number in numbers {
        match spans.last_mut() {
            Some((_, end)) if end.checked_add(1) == Some(number) => *end = number,
            _ => spans.push((number, number)),
        }
    }
    let shown = |&(start, end): &(u32, u32)| match end - start {
        0 => start.to_string(),
        1 => format!("{start}, {end}"),
        _ => format!("{start}–{end}"),
    };
    spans.iter().map(shown).collect::<Vec<_>>().join(", ")
}

fn types(rows: &[Row<'_>], view: &View<'_>) -> String {
    let (all, by_type) = totals(rows);
    let cells = |name: &str, size: Size| {
        let bits = format!("{:.2}", size.bits_per_weight());
        [
            name.to_owned(),
            grouped(size.tensors),
            size::parameters(size.parameters),
            size::shown(size.bytes),
            bits,
        ]
    };
    let head = ["types", "tensors", "parameters", "size", "bits/weight"].map(str::to_owned);
    let types = by_type.iter().map(|((_, ty), size)| cells(ty, *size));
    let total = (by_type.len() > 1).then(|| cells("all", all));
    let table: Vec<_> = [head].into_iter().chain(types).chain(total).collect();
    let width = |column: usize| table.iter().map(|row| columns(&row[column])).max().unwrap_or(0);
    let widths = [0, 1, 2, 3, 4].map(width);
    let mut text = view.screen.line("");
    for [name, numbers @ ..] in &table {
        let mut line = padded(name, widths[0]);
        line.truncate(line.trim_end().len());
        line += &" ".repeat(widths[0] - columns(name));
        for (number, width) in numbers.iter().zip(&widths[1..]) {
            line += &right(number, width + 2);
        }
        text += &view.screen.line(&line);
    }
    text
}

fn truncate(text: &str, width: Option<usize>) -> Cow<'_, str> {
    width.map_or(Cow::Borrowed(text), |width| truncate_str(text, width, "…"))
}

/// The name of a value's type, in the form that `edit` accepts.
fn kind(value: ValueRef<'_>) -> String {
    match value {
        // Arrays within an array may have different types.
        ValueRef::Array(array) if array.element_type() == ValueType::Array => "[[…]]".to_owned(),
        value => value.value_type().to_string().replace("string", "str"),
    }
}

/// As [`kind`], with an array's length: `str[49152]`.
fn shown_type(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Array(array) => {
            let element = array.element_type().to_string().replace("string", "str");
            format!("{element}[{}]", array.len())
        }
        value => kind(value),
    }
}

/// A value on one line, in full or cut to `left` columns. Text is not quoted if it cannot be mistaken for
/// another value.
fn shown_value(value: ValueRef<'_>, left: Option<usize>, all: bool) -> String {
    match value {
        ValueRef::Array(array) => shown_array(array, left, all),
        ValueRef::String(bytes) => {
            let start = left.map_or(bytes, |left| &bytes[..bytes.len().min(4 * left + 8)]);
            let text = printable_line(&String::from_utf8_lossy(start));
            let is_plain = !bytes.is_empty() && text.trim() == text && !text.starts_with('"');
            if is_plain { text } else { format!("\"{text}\"") }
        }
        value => value.to_string(),
    }
}

/// Text without invisible characters and line breaks.
fn printable_line(text: &str) -> String {
    cli::printable(text)
}

/// Text quoted within other text.
fn quoted(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::String(bytes) => format!("\"{}\"", printable_line(&String::from_utf8_lossy(bytes))),
        value => value.to_string(),
    }
}

/// The first elements of an array, or all of them.
fn shown_array(array: ArrayRef<'_>, left: Option<usize>, all: bool) -> String {
    const MOST: usize = 8;
    let most = match left {
        Some(left) => left / 2 + 1,
        None if all => usize::MAX,
        None => MOST,
    };
    let mut text = String::new();
    for (index, element) in array.iter().take(most).enumerate() {
        let element = match element {
            ValueRef::Array(inner) => format!("[…] ({} {})", inner.len(), inner.element_type()),
            ValueRef::String(bytes) => {
                let start = left.map_or(bytes, |left| &bytes[..bytes.len().min(4 * left + 8)]);
                quoted(ValueRef::String(start))
            }
            element => element.to_string(),
        };
        let next = format!("{text}{}{element}", if index > 0 { ", " } else { "" });
        // So that the cut never leaves half an element.
        if left.is_some_and(|left| index > 0 && columns(&next) + 3 > left) && array.len() > index {
            return format!("{text}, …");
        }
        text = next;
    }
    if array.len() > most {
        text + ", …"
    } else if array.is_empty() {
        "[]".to_owned()
    } else {
        text
    }
}
