//! The fuzzers begin with the file of `common::raw::everything`, in each version and byte order, and with what
//! gguf-py wrote. To write the seeds anew: `GGUF_CODEC_WRITE_SEEDS=1 cargo test --test fuzz_seeds`.

mod common;

use common::raw::{every_format, everything};

#[test]
fn the_seeds_of_the_fuzzers_are_todays() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    every_format(|format| {
        let (version, big) = format;
        let path = folder.join(format!("everything.v{version}.{}.gguf", if big { "be" } else { "le" }));
        let bytes = everything(format).bytes;
        if std::env::var_os("GGUF_CODEC_WRITE_SEEDS").is_some() {
            std::fs::write(&path, &bytes).unwrap();
        }
        assert!(std::fs::read(&path).unwrap() == bytes, "{} is not today's", path.display());
    });
}
