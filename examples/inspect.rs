//! Prints a summary of a model: of the given file, or of a small sample.
//!
//!     cargo run --release --example inspect -- model.gguf
//!
//! The program `gguf` shows more.

use std::fs::File;

use gguf_codec::{Gguf, ValueRef};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os().nth(1);
    let path = path.unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/examples/sample.gguf").into());
    // This reads the header and no tensor.
    let model = Gguf::read_header(File::open(&path)?)?;

    println!("{}: GGUF version {}, {}", path.display(), model.version(), model.byte_order());
    println!("\n{} keys", model.metadata().len());
    for (key, value) in model.metadata() {
        match value {
            ValueRef::Array(array) => println!("{key} = {} of {}", array.len(), array.element_type()),
            value => println!("{key} = {value}"),
        }
    }
    println!("\n{} tensors, the length of a row first", model.tensor_count());
    for tensor in model.tensors() {
        let (name, ty, shape) = (tensor.name(), tensor.ggml_type(), tensor.shape());
        println!("{name}: {ty} {shape}, {} bytes", tensor.byte_len());
    }
    Ok(())
}
