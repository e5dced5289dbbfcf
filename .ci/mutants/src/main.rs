//! Puts every mutant that cargo-mutants lists into one copy of the sources, each with a switch: `mutants LIST TREE SKIP`.
//!
//! cargo-mutants builds the crate once for each of thousands of mutants. Here all are compiled once, and
//! `crate::mutant::is(n)` checks at run time whether the n-th is on (`switch.rs`). Sources are edited as text, at positions
//! from the syntax tree. Each edit is between `/*[n*/` and `/*n]*/` and each mutated alternative between `/*<n*/` and `/*n>*/`, so
//! that a compiler error shows which mutant caused it. `SKIP` lists the numbers to leave out, one per line.
//!
//! Operands are evaluated once and bound, so that nested edits do not multiply the code: `a + b` becomes
//! `match (a, b) { (l, r) => if is(1) { l - r } else { l + r } }`. This differs from cargo-mutants in one way: cargo-mutants
//! replaces an operator's text, after which precedence may group the operands differently; here the grouping is unchanged.

mod schema;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// The fields that are read from a line of `cargo mutants --list --json`.
#[derive(Debug, Deserialize)]
struct Mutant {
    name: String,
    file: String,
    span: Span,
    replacement: String,
    genre: Genre,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Genre {
    FnValue,
    BinaryOperator,
    UnaryOperator,
    MatchArm,
    MatchArmGuard,
    StructField,
}

#[derive(Debug, Deserialize)]
struct Span {
    start: LineColumn,
}

/// Lines and columns both begin with 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
struct LineColumn {
    line: usize,
    column: usize,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [list, tree, skip] = &args[..] else { anyhow::bail!("usage: mutants LIST TREE SKIP") };
    let mutants: Vec<Mutant> = serde_json::from_str(&fs::read_to_string(list)?)?;
    let skip: HashSet<usize> = fs::read_to_string(skip)?.lines().map(str::parse).collect::<Result<_, _>>()?;

    let mut files: BTreeMap<&str, Vec<(usize, &Mutant)>> = BTreeMap::new();
    for (number, mutant) in (1..).zip(&mutants) {
        files.entry(&mutant.file).or_default().push((number, mutant));
    }
    for (file, mutants) in files {
        let path = Path::new(tree).join(file);
        let source = fs::read_to_string(&path)?;
        let (mutated, left_out) = schema::apply(&source, &mutants, &skip).context(file.to_owned())?;
        fs::write(path, mutated)?;
        for (number, why) in left_out {
            println!("{number}\t{why}");
        }
    }
    Ok(())
}
