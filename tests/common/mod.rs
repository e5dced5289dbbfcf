//! What the tests share: data to quantize, ggml's library, comparing, and saying what was not run.

#![allow(dead_code, reason = "each test uses its own part")]

pub(crate) mod compare;
pub(crate) mod counting;
pub(crate) mod data;
#[cfg(not(target_family = "wasm"))]
pub(crate) mod ggml;
pub(crate) mod layout;
pub(crate) mod raw;

use std::io::Write;

use proptest::test_runner::{Config, FileFailurePersistence};

/// A failing case prints its seed, and is kept beside the test to be tried first from then on. `PROPTEST_CASES` can
/// lower the number of cases, for emulated machines.
pub(crate) fn property(cases: u32) -> Config {
    let most = std::env::var("PROPTEST_CASES").ok().and_then(|most| most.parse().ok()).unwrap_or(u32::MAX);
    let cases = cases.min(most);
    let keep = FileFailurePersistence::WithSource("regressions");
    Config { cases, failure_persistence: Some(Box::new(keep)), ..Config::default() }
}

/// Prints a line past the test harness, which keeps what a passing test prints to itself.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// The environment variable's value; where it is not set, says that `test` was not run. `.ci/run` sets every
/// variable and fails when it sees such a line.
pub(crate) fn needs(variable: &str, test: &str) -> Option<String> {
    let value = std::env::var(variable).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        say(&format!("NOT RUN: set {variable} to run {test}; .ci/fetch-oracles prints what to set"));
    }
    value
}
