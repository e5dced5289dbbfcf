//! Any bytes, as an importance matrix in either form, give an error, or weights for every sum; the matrix can be written and
//! read back unchanged.
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
    // A name in a binary file can be longer than a tensor's name.
    let Ok(written) = imatrix.write(Writer::new(Vec::new())) else { return };
    let again = Imatrix::parse(&written).expect("what was written can be read");
    for entry in imatrix.entries() {
        assert_eq!(again.entry(&entry.name), Some(entry));
    }
});
