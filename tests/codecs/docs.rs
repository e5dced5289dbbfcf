//! The documentation repeats the sources exactly.

use std::fs;
use std::path::Path;

use gguf_codec::GgmlType;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

/// The documentation of a format's block as text, with links replaced by their names.
fn block_docs(source: &str) -> String {
    let lines: Vec<&str> = source.lines().collect();
    let end = lines.iter().position(|line| line.starts_with("pub struct Block")).unwrap();
    let start = lines[..end].iter().rposition(|line| line.is_empty()).map_or(0, |empty| empty + 1);
    let docs = lines[start..end].iter().filter_map(|line| line.strip_prefix("///"));
    let mut text = docs.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n");
    while let Some(open) = text.find("[`") {
        let close = open + text[open..].find("`]").unwrap();
        let after = &text[close + 2..];
        let target = if after.starts_with('(') { after.find(')').unwrap() + 1 } else { 0 };
        text = format!("{}{}{}", &text[..open], &text[open + 1..=close], &after[target..]);
    }
    text
}

/// `docs/codecs.md` shows each format with the same picture and formula as its source.
#[test]
fn every_format_is_shown_as_its_source_shows_it() {
    let shown = read("docs/codecs.md");
    for ty in GgmlType::ALL.iter().filter(|ty| ty.is_quantized()) {
        let docs = block_docs(&read(&format!("src/codec/formats/{}.rs", ty.name().to_lowercase())));
        assert!(docs.contains("bits per weight") && docs.contains("```text"), "{ty}: {docs}");
        let section = format!("### {ty}\n\n{docs}\n");
        assert!(shown.contains(&section), "docs/codecs.md does not show {ty} as follows:\n{section}");
        assert!(
            shown.contains(&format!("\n| {ty} | {} | ", ty.bits_per_weight())),
            "{ty} is not in the table"
        );
    }
}
