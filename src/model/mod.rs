//! What concerns whole models, built from the rest of the crate.
//!
//! | to | there are |
//! |---|---|
//! | convert and quantize | [`Convert`] runs [`Job`]s, each a tensor's [`Origin`] and its new type; [`Recipe`] and [`TypePlan`] choose the types, [`Imatrix`] weighs the values |
//! | do it on many machines | [`Part`] says which jobs are whose |
//! | edit | `Edit` sets, removes and renames, in a new file or in place (on Unix and Windows) |
//! | compare | [`Diff`] compares two [`Side`]s |
//! | look inside | [`Survey`] makes a [`Profile`] of each [`Subject`], [`Distribution`] of any values; [`Layer`] and [`Size`] sort and count tensors |
//! | exchange with Hugging Face | `hf`, with the feature `safetensors` |

mod convert;
mod diff;
mod distribution;
#[cfg(any(unix, windows))]
mod edit;
mod file_type;
#[cfg(feature = "safetensors")]
pub mod hf;
mod imatrix;
mod in_order;
mod job;
mod layer;
mod part;
mod recipe;
mod runs;
mod size;
mod survey;
mod target;

pub use convert::{Convert, Outcome};
pub use diff::{ArrayDiff, Change, Diff, KeyDiff, Side, TensorDiff, ValueDiff};
pub use distribution::Distribution;
#[cfg(any(unix, windows))]
pub use edit::{Edit, Edited};
pub use file_type::{FileType, QUANTIZATION_VERSION};
pub use imatrix::{Imatrix, ImatrixEntry};
pub use job::{Job, Origin};
pub use layer::Layer;
pub use part::Part;
pub use recipe::{Recipe, TypeChoice, TypePlan, by_layer};
pub use size::Size;
pub use survey::{Profile, Subject, Survey};
pub use target::Target;
