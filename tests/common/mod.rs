//! Helpers of the tests: data to quantize, ggml's library, comparisons, and messages for tests that are not run.

#![allow(dead_code, unused_imports, reason = "each test uses its own part")]

pub(crate) mod builder;
pub(crate) mod compare;
pub(crate) mod counting;
pub(crate) mod data;
#[cfg(not(target_family = "wasm"))]
pub(crate) mod ggml;
pub(crate) mod layout;
pub(crate) mod oracles;
pub(crate) mod raw;

pub(crate) use oracles::{needs, say};
use proptest::test_runner::{Config, FileFailurePersistence};

/// A failing case prints its seed, which is saved next to the test and tried first from then on. `PROPTEST_CASES` can
/// lower the number of cases, for emulated machines.
pub(crate) fn property(cases: u32) -> Config {
    let most = std::env::var("PROPTEST_CASES").ok().and_then(|most| most.parse().ok()).unwrap_or(u32::MAX);
    let cases = cases.min(most);
    let keep = FileFailurePersistence::WithSource("regressions");
    Config { cases, failure_persistence: Some(Box::new(keep)), ..Config::default() }
}
