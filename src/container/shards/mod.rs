//! Models in several files: their names and keys, opening them as one, and dividing a model into them.

mod keys;
mod names;
mod plan;
mod set;

pub(super) use keys::{COUNT, NO, TENSORS};
pub use names::ShardPaths;
pub use plan::ShardPlan;
pub use set::{ShardedGguf, ShardedTensorIter};
