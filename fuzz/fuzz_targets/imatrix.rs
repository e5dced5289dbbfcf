//! Any bytes as an importance matrix of either form: an error, or weights for every sum, and what is written of it is
//! read as the same.
#![no_main]

use gguf_codec::Writer;
use gguf_codec::model::Imatrix;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(imatrix) = Imatrix::parse(data) else { return };
    for entry in imatrix.entries() {
        let weights = entry.weights();
        assert_eq!(weights.len(), entry.sums.len());
        assert!(weights.iter().all(|weight| *weight >= 0.0));
    }
    // A name of a binary file can be longer than a tensor's.
    let Ok(written) = imatrix.write(Writer::new(Vec::new())) else { return };
    let again = Imatrix::parse(&written).expect("what was written can be read");
    for entry in imatrix.entries() {
        assert_eq!(again.entry(&entry.name), Some(entry));
    }
});
