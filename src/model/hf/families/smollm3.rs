//! SmolLM3: as Llama, with layers that know no positions, which llama.cpp leaves out by itself.

use super::fixed::Fixed;
use super::llama::{ENDS, FEED_FORWARD, NORMS, ROTARY_ATTENTION};
use super::{DECODER, Default, Family, keys};

pub(super) const SMOLLM3: Family = Family {
    architecture: "smollm3",
    model_type: "smollm3",
    classes: &["SmolLM3ForCausalLM", "SmolLM3Model"],
    tensors: &[ENDS, NORMS, ROTARY_ATTENTION, FEED_FORWARD],
    keys: &[keys::TRANSFORMER, keys::DECODER, keys::HEADS, keys::FILE_TYPE, keys::LLAMA, keys::POOLING],
    is_tied: true,
    defaults: &[("num_key_value_heads", Default::U32(4)), ("rope_theta", Default::F64(2_000_000.0))],
    fixed: &[Fixed::Positions(4)],
    has_prefix_space: true,
    ..DECODER
};
