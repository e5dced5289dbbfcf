//! What concerns whole models, built from the rest of the crate.

mod file_type;

pub use file_type::{FileType, QUANTIZATION_VERSION};
