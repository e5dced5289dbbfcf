//! What concerns whole models, built from the rest of the crate.

mod convert;
mod file_type;
mod in_order;

pub use convert::{Convert, Job, Outcome};
pub use file_type::{FileType, QUANTIZATION_VERSION};
