//! Operations on whole models, built on the rest of the crate.
//!
//! | to | use |
//! |---|---|
//! | quantize | `Quantize` does it in one call, `Budget` chooses the types for a size (on Unix and Windows) |
//! | convert tensor by tensor | `Input` opens a model, [`Convert`] runs [`Job`]s, each with a tensor's [`Origin`] and its new type; [`Recipe`] and [`TypePlan`] choose the types, [`Imatrix`] weights the values |
//! | compute tensors | [`Computed`] provides a [`Job`] with values computed from adapters, averages and so on |
//! | merge adapters | `MergeLora` adds LoRA adapters to a model's weights (on Unix and Windows) |
//! | split into shards, merge | `Split` and `Merge` (on Unix and Windows) |
//! | distribute over many machines | [`Part`] assigns jobs to machines |
//! | edit | `Edit` sets, adds, removes and renames, in a new file or in place (on Unix and Windows) |
//! | compare | [`Diff`] compares two [`Side`]s |
//! | look up tokens | [`Vocabulary`] has their text, scores, types and merges |
//! | hold weights | `Weight` is a tensor that keeps its model alive, and `Weights` finds them and checks their shapes |
//! | inspect | [`Survey`] computes a [`Profile`] of each [`Subject`], [`Distribution`] that of any values; [`Layer`] and [`Size`] sort and count tensors, [`Summary`] describes a model, [`Memory`] estimates what it takes to run |
//! | exchange with Hugging Face | `hf`, with the feature `safetensors` |

#[cfg(all(feature = "codecs", feature = "std", any(unix, windows)))]
mod budget;
#[cfg(feature = "std")]
mod computed;
#[cfg(all(feature = "codecs", feature = "std"))]
mod convert;
#[cfg(all(feature = "codecs", feature = "std"))]
mod diff;
#[cfg(all(feature = "codecs", feature = "std"))]
mod distribution;
#[cfg(all(feature = "std", any(unix, windows)))]
mod edit;
mod file_type;
#[cfg(all(feature = "codecs", feature = "safetensors"))]
pub mod hf;
#[cfg(feature = "codecs")]
mod imatrix;
#[cfg(all(feature = "std", any(feature = "codecs", unix, windows)))]
mod in_order;
#[cfg(all(feature = "std", any(unix, windows)))]
mod input;
#[cfg(feature = "std")]
mod job;
mod layer;
#[cfg(all(feature = "codecs", feature = "std", any(unix, windows)))]
mod lora;
mod memory;
#[cfg(all(feature = "std", any(unix, windows)))]
mod merge;
#[cfg(feature = "std")]
mod nearest;
#[cfg(feature = "std")]
mod part;
#[cfg(all(feature = "std", any(feature = "codecs", unix, windows)))]
mod pieces;
#[cfg(all(feature = "codecs", feature = "std", any(unix, windows)))]
mod quantize;
mod recipe;
#[cfg(all(feature = "std", any(feature = "codecs", unix, windows)))]
mod runs;
#[cfg(all(feature = "codecs", feature = "std"))]
pub(crate) mod scaled;
mod size;
#[cfg(any(feature = "safetensors", all(feature = "std", any(unix, windows))))]
mod size_label;
#[cfg(all(feature = "codecs", feature = "std", any(unix, windows)))]
mod source;
#[cfg(all(feature = "std", any(unix, windows)))]
mod split;
mod summary;
#[cfg(all(feature = "codecs", feature = "std"))]
mod survey;
#[cfg(feature = "std")]
mod target;
mod vocabulary;
#[cfg(feature = "std")]
mod weight;
#[cfg(feature = "std")]
mod weights;
mod windows;

#[cfg(all(feature = "codecs", feature = "std", any(unix, windows)))]
pub use budget::{
    AllocatedTensor, Allocation, Budget, Measurements, NextStep, Prediction, SensitivitySource,
};
#[cfg(feature = "std")]
pub use computed::Computed;
#[cfg(all(feature = "codecs", feature = "std"))]
pub use convert::{Convert, Outcome};
#[cfg(all(feature = "codecs", feature = "std"))]
pub use diff::{ArrayDiff, Change, Diff, KeyDiff, Side, TensorDiff, ValueDiff};
#[cfg(all(feature = "codecs", feature = "std"))]
pub use distribution::Distribution;
#[cfg(all(feature = "std", any(unix, windows)))]
pub use edit::{Edit, EditChange, EditPlan, Edited};
pub use file_type::{FileType, QUANTIZATION_VERSION};
#[cfg(feature = "codecs")]
pub use imatrix::{Imatrix, ImatrixCollector, ImatrixEntry};
#[cfg(all(feature = "std", any(unix, windows)))]
pub use input::Input;
#[cfg(feature = "std")]
pub use job::{Job, Origin};
pub use layer::Layer;
#[cfg(all(feature = "codecs", feature = "std", any(unix, windows)))]
pub use lora::{MergeLora, MergeLoraReport};
pub use memory::{Memory, MemoryEstimate};
#[cfg(all(feature = "std", any(unix, windows)))]
pub use merge::Merge;
#[cfg(feature = "std")]
pub use nearest::nearest_names;
#[cfg(feature = "std")]
pub use part::Part;
#[cfg(all(feature = "codecs", feature = "std", any(unix, windows)))]
pub use quantize::{MissingImportance, Quantize, QuantizeReport, QuantizedTensor};
pub use recipe::{Recipe, TypeChoice, TypePlan, by_layer};
pub use size::Size;
#[cfg(all(feature = "codecs", feature = "std", any(unix, windows)))]
pub use source::Source;
#[cfg(all(feature = "std", any(unix, windows)))]
pub use split::{Split, SplitShard};
pub use summary::Summary;
#[cfg(all(feature = "codecs", feature = "std"))]
pub use survey::{Profile, Subject, Survey};
#[cfg(feature = "std")]
pub use target::Target;
pub use vocabulary::{TokenType, Vocabulary};
#[cfg(feature = "std")]
pub use weight::Weight;
#[cfg(feature = "std")]
pub use weights::Weights;
