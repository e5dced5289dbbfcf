//! Models in several files: their names and keys, opening them as one model, and dividing a model into them.

#[cfg(feature = "std")]
mod checked;
#[cfg(feature = "std")]
mod keys;
#[cfg(feature = "std")]
mod names;
mod plan;
#[cfg(all(feature = "codecs", feature = "std"))]
mod scales;
#[cfg(feature = "std")]
mod set;

#[cfg(feature = "std")]
pub(crate) use keys::SHARD_KEYS;
#[cfg(feature = "std")]
pub(crate) use keys::{COUNT, NO, TENSORS};
#[cfg(feature = "std")]
pub use names::ShardPaths;
pub use plan::ShardPlan;
#[cfg(feature = "std")]
pub use set::{ShardedGguf, ShardedTensorIter};
