//! The hashes that llama.cpp's `gguf-hash` knows.

use std::hash::Hasher;

use sha1::Sha1;
use sha2::{Digest, Sha256};
use twox_hash::{XxHash3_64, XxHash64};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Xxh64,
    Xxh3,
    Sha1,
    Sha256,
}

impl Kind {
    /// All kinds, in the order of `gguf-hash`.
    pub(super) const ALL: [Kind; 4] = [Kind::Xxh64, Kind::Xxh3, Kind::Sha1, Kind::Sha256];

    /// The prefix of its lines.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Xxh64 => "xxh64",
            Kind::Xxh3 => "xxh3",
            Kind::Sha1 => "sha1",
            Kind::Sha256 => "sha256",
        }
    }
}

/// The state of a hash.
pub(super) enum Hash {
    Xxh64(XxHash64),
    Xxh3(Box<XxHash3_64>),
    Sha1(Sha1),
    Sha256(Sha256),
}

impl Hash {
    pub(super) fn new(kind: Kind) -> Self {
        match kind {
            Kind::Xxh64 => Hash::Xxh64(XxHash64::with_seed(0)),
            Kind::Xxh3 => Hash::Xxh3(Box::new(XxHash3_64::new())),
            Kind::Sha1 => Hash::Sha1(Sha1::new()),
            Kind::Sha256 => Hash::Sha256(Sha256::new()),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Hash::Xxh64(hash) => hash.write(bytes),
            Hash::Xxh3(hash) => hash.write(bytes),
            Hash::Sha1(hash) => hash.update(bytes),
            Hash::Sha256(hash) => hash.update(bytes),
        }
    }

    /// In hexadecimal digits.
    pub(super) fn finish(self) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self {
            Hash::Xxh64(hash) => format!("{:016x}", hash.finish()),
            Hash::Xxh3(hash) => format!("{:016x}", hash.finish()),
            Hash::Sha1(hash) => hex(&hash.finalize()),
            Hash::Sha256(hash) => hex(&hash.finalize()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The output of the published programs for these bytes.
    #[test]
    fn hashes_are_those_of_the_published_programs() {
        for (kind, empty, abc) in [
            (Kind::Xxh64, "ef46db3751d8e999", "44bc2cf5ad770999"),
            (Kind::Xxh3, "2d06800538d394c2", "78af5f94892f3950"),
            (
                Kind::Sha1,
                "da39a3ee5e6b4b0d3255bfef95601890afd80709",
                "a9993e364706816aba3e25717850c26c9cd0d89d",
            ),
            (
                Kind::Sha256,
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
        ] {
            assert_eq!(Hash::new(kind).finish(), empty, "{}", kind.name());
            let mut hash = Hash::new(kind);
            hash.update(b"a");
            hash.update(b"bc");
            assert_eq!(hash.finish(), abc, "{}", kind.name());
        }
    }
}
