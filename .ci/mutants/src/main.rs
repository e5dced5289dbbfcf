//! Puts every mutant that cargo-mutants lists into one copy of the sources, each behind a switch: `mutants LIST TREE SKIP`.
//!
//! A mutant a time, cargo-mutants builds the crate for each of thousands. Here all are compiled once, and
//! `crate::mutant::is(n)` asks at run time whether the n-th is on (`switch.rs`). Sources are edited as text, at places
//! that the syntax tree gives; each edit is between `/*[n*/` and `/*n]*/` and each mutated alternative between `/*<n*/` and `/*n>*/`, so
//! that an error of the compiler tells whose it is. `SKIP` lists the numbers to leave out, one a line.
//!
//! Operands are evaluated once and bound, so that edits nest without growing: `a + b` becomes
//! `match (a, b) { (l, r) => if is(1) { l - r } else { l + r } }`. One thing differs from cargo-mutants: it
//! replaces an operator's text, after which precedence may group operands anew; here they stay as they were grouped.

mod schema;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// What is read of a line of `cargo mutants --list --json`.
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

/// Both begin with 1; columns count characters.
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
