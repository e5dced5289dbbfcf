//! Programs and files to compare with, which may not be there.

#![allow(dead_code, reason = "each test uses its own part")]

use std::io::Write;

/// Prints a line directly, because the test harness captures the output of a passing test.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// The environment variable's value; where it is not set, says that `test` was not run, and by which name the harness knows it.
/// `.ci/run` takes the names from these lines, runs the tests again with every variable set, and fails when it sees another.
pub(crate) fn needs(variable: &str, test: &str) -> Option<String> {
    let value = std::env::var(variable).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("?");
        say(&format!("NOT RUN: {name}: set {variable} to run {test}; .ci/fetch-oracles prints what to set"));
    }
    value
}
