//! What concerns whole models, built from the rest of the crate.

mod convert;
mod diff;
#[cfg(any(unix, windows))]
mod edit;
mod file_type;
#[cfg(feature = "safetensors")]
pub mod hf;
mod imatrix;
mod in_order;
mod job;
mod part;
mod recipe;
mod runs;
mod target;

pub use convert::{Convert, Outcome};
pub use diff::{ArrayDiff, Change, Diff, KeyDiff, Side, TensorDiff, ValueDiff};
#[cfg(any(unix, windows))]
pub use edit::{Edit, Edited, recover};
pub use file_type::{FileType, QUANTIZATION_VERSION};
pub use imatrix::{Imatrix, ImatrixEntry};
pub use job::{Job, Origin};
pub use part::Part;
pub use recipe::{Choice, Plan, Recipe, by_layer};
pub use target::Target;
