//! The type of a case, and the list to which the rules add cases.

use crate::common::raw::Raw;
use gguf_codec::Limits;

/// The outcome that the author of a case expects. The manifest has the whole message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// It opens.
    Ok,
    /// It breaks the rule with this name in `Problem`.
    Bad(&'static str),
    /// Its header alone is well formed, but the whole file breaks this rule.
    BadData(&'static str),
    /// It exceeds a limit.
    Limit,
}

/// A file and its expected outcome.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) limits: Limits,
    pub(crate) wanted: Wanted,
}

/// The cases for one version and byte order.
pub(crate) struct Cases {
    pub(crate) format: (u32, bool),
    /// The prefix of each name.
    pub(crate) rule: &'static str,
    pub(crate) list: Vec<Case>,
}

impl Cases {
    /// Magic, version and these counts.
    pub(crate) fn raw(&self, tensors: u64, keys: u64) -> Raw {
        Raw::new(self.format, tensors, keys)
    }

    /// Whether counts, lengths and dimensions have 64 bits.
    pub(crate) fn wide(&self) -> bool {
        self.format.0 > 1
    }

    /// The largest possible count, length or dimension.
    pub(crate) fn most(&self) -> u64 {
        if self.wide() { u64::MAX } else { u32::MAX.into() }
    }

    pub(crate) fn ok(&mut self, name: impl AsRef<str>, raw: Raw) {
        self.add(name, raw, Limits::default(), Wanted::Ok);
    }

    pub(crate) fn bad(&mut self, name: impl AsRef<str>, problem: &'static str, raw: Raw) {
        self.add(name, raw, Limits::default(), Wanted::Bad(problem));
    }

    pub(crate) fn bad_data(&mut self, name: impl AsRef<str>, problem: &'static str, raw: Raw) {
        self.add(name, raw, Limits::default(), Wanted::BadData(problem));
    }

    pub(crate) fn add(&mut self, name: impl AsRef<str>, raw: Raw, limits: Limits, wanted: Wanted) {
        let name = format!("{}/{}", self.rule, name.as_ref());
        self.list.push(Case { name, bytes: raw.bytes, limits, wanted });
    }

    /// The file opens; without its last byte it breaks this rule.
    pub(crate) fn at_the_byte(&mut self, name: impl AsRef<str>, problem: &'static str, raw: Raw) {
        self.at_the_byte_within(name, problem, raw, Limits::default());
    }

    pub(crate) fn at_the_byte_within(
        &mut self,
        name: impl AsRef<str>,
        problem: &'static str,
        raw: Raw,
        limits: Limits,
    ) {
        let mut short = raw.clone();
        short.bytes.pop();
        self.add(&name, raw, limits, Wanted::Ok);
        self.add(format!("{}-a-byte-short", name.as_ref()), short, limits, Wanted::Bad(problem));
    }
}
