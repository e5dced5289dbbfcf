//! Compares the crate with ggml's reference library itself, with fresh data in each run.
//!
//! `GGML_BASE_SO` names the library; `.ci/fetch-oracles` fetches it. `GGUF_CODEC_SEED` repeats a run, and
//! `GGUF_CODEC_VALUES` sets how many values each cell of the tables compares.

// WebAssembly loads no libraries.
#![cfg(not(target_family = "wasm"))]

use crate::common;
use std::fmt::Write;

use common::data::{self, KINDS, Rng};
use common::ggml::Ggml;
use common::{compare, say};
use gguf_codec::{Error, GgmlType};

/// All types except those whose conversion is a copy, or one that every language has.
fn types() -> impl Iterator<Item = GgmlType> {
    use GgmlType::{F32, F64, I8, I16, I32, I64};
    GgmlType::ALL.iter().copied().filter(|ty| ![F32, F64, I8, I16, I32, I64].contains(ty))
}

/// Numbers of blocks in a row: one, odd numbers, and a row as long as a model's.
const BLOCKS_PER_ROW: [usize; 4] = [1, 3, 5, 16];

const DIRECTIONS: [&str; 3] = ["quantize", "quantize with importance", "dequantize"];

fn from_env(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")),
        Err(_) => default,
    }
}

/// A cell for each direction, format and kind, with the first difference, if any.
struct Report {
    cells: Vec<(&'static str, GgmlType, &'static str, Option<String>)>,
}

impl Report {
    /// Records a cell, whose parts are the shapes of the data.
    fn add(&mut self, direction: &'static str, ty: GgmlType, kind: &'static str, difference: Option<String>) {
        let same = |cell: &&mut (&str, GgmlType, &str, _)| (cell.0, cell.1, cell.2) == (direction, ty, kind);
        match self.cells.iter_mut().find(same) {
            Some(cell) => cell.3 = cell.3.take().or(difference),
            None => self.cells.push((direction, ty, kind, difference)),
        }
    }

    fn table(&self, direction: &str) -> String {
        let mut text = format!("{direction:<26}");
        types().for_each(|ty| write!(text, "{:>8}", ty.name()).unwrap());
        let kinds = KINDS.iter().map(|kind| kind.name).chain(["random_bytes"]);
        for kind in kinds {
            let mut row = String::new();
            for ty in types() {
                let cell = self.cells.iter().find(|cell| (cell.0, cell.1, cell.2) == (direction, ty, kind));
                row += match cell {
                    Some((.., None)) => "    same",
                    Some((.., Some(_))) => "    DIFF",
                    None if kind == "random_bytes" => "       -",
                    None if ty.needs_importance() && direction == DIRECTIONS[0] => "    asks",
                    None => "    ends",
                };
            }
            if row.contains("same") || row.contains("DIFF") {
                write!(text, "\n  {kind:<24}{row}").unwrap();
            }
        }
        text
    }

    fn failures(&self) -> Vec<String> {
        let failure = |cell: &(&str, GgmlType, &str, Option<String>)| {
            cell.3.as_ref().map(|what| format!("{} {}, {}: {what}", cell.0, cell.1, cell.2))
        };
        self.cells.iter().filter_map(failure).collect()
    }
}

/// Compares one shape of one kind of data in every direction.
fn compare_rows(
    ggml: &Ggml,
    report: &mut Report,
    rng: &mut Rng,
    ty: GgmlType,
    kind: &data::Kind,
    [row_len, rows]: [usize; 2],
) {
    let values = kind.values(rng, row_len * rows);
    let importance = data::importance(rng, row_len);
    for (direction, importance) in [(DIRECTIONS[0], None), (DIRECTIONS[1], Some(&importance[..]))] {
        let mut ours = vec![0; values.len() / ty.block_len() * ty.block_bytes()];
        let result = gguf_codec::quantize(ty, &values, row_len, importance, &mut ours);
        if importance.is_none() && ty.needs_importance() {
            assert!(matches!(result, Err(Error::NeedsImportance { .. })), "{ty}: {result:?}");
            continue;
        }
        if data::ends_ggml(ty, kind.name) {
            assert!(result.is_ok(), "{ty}: {result:?}");
            report.add(DIRECTIONS[2], ty, kind.name, compare_dequantized(ggml, ty, &ours));
            continue;
        }
        let theirs = ggml.quantize(ty, &values, row_len, importance);
        let difference = match result {
            Ok(()) => compare::blocks(ty, &ours, &theirs),
            Err(error) => Some(error.to_string()),
        };
        let shape = |what| format!("{rows} rows of {row_len}: {what}");
        report.add(direction, ty, kind.name, difference.map(shape));
        report.add(DIRECTIONS[2], ty, kind.name, compare_dequantized(ggml, ty, &theirs));
    }
}

fn compare_dequantized(ggml: &Ggml, ty: GgmlType, blocks: &[u8]) -> Option<String> {
    let theirs = ggml.dequantize(ty, blocks);
    let mut ours = vec![0f32; theirs.len()];
    match gguf_codec::dequantize(ty, blocks, &mut ours) {
        Ok(()) => compare::values(ty, &ours, &theirs),
        Err(error) => Some(error.to_string()),
    }
}

#[test]
fn same_bits_as_ggml() {
    let Some(ggml) = Ggml::load("the comparison with ggml") else { return };
    let clock = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64);
    let seed = from_env("GGUF_CODEC_SEED", clock);
    // Debug builds are far slower; their purpose is the overflow checks.
    let values = from_env("GGUF_CODEC_VALUES", if cfg!(debug_assertions) { 16 << 10 } else { 192 << 10 });
    let mut rng = Rng::new(seed);
    let mut report = Report { cells: Vec::new() };
    for ty in types() {
        // Rows of a plain type need a length too.
        let unit = ty.block_len().max(32);
        for kind in KINDS {
            for blocks in BLOCKS_PER_ROW {
                let row_len = if ty.block_len() == 1 { unit * blocks - 1 } else { unit * blocks };
                let rows = (values as usize / BLOCKS_PER_ROW.len() / row_len).max(1);
                compare_rows(&ggml, &mut report, &mut rng, ty, kind, [row_len, rows]);
            }
        }
        let blocks = data::random_blocks(&mut rng, ty, values as usize);
        report.add(DIRECTIONS[2], ty, "random_bytes", compare_dequantized(&ggml, ty, &blocks));
    }
    say(&format!("\nAgainst ggml, {values} values in each cell, GGUF_CODEC_SEED={seed}"));
    say(
        "asks: without importance, ggml ends the process and this crate asks for it. ends: ggml ends the process.",
    );
    DIRECTIONS.iter().for_each(|direction| say(&report.table(direction)));
    let failures = report.failures();
    let shown = failures.iter().take(12).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(
        failures.is_empty(),
        "{} cells differ from ggml; GGUF_CODEC_SEED={seed} repeats this run. The first:\n{shown}",
        failures.len()
    );
}
