//! What concerns whole models, built from the rest of the crate.

mod convert;
mod file_type;
mod in_order;
mod job;

pub use convert::{Convert, Outcome};
pub use file_type::{FileType, QUANTIZATION_VERSION};
pub use job::{Job, Origin};
