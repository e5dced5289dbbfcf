//! The commands. Each module has a command's arguments and its implementation.

pub(crate) mod convert;
pub(crate) mod diff;
pub(crate) mod edit;
pub(crate) mod formats;
pub(crate) mod from_safetensors;
pub(crate) mod hash;
pub(crate) mod imatrix;
pub(crate) mod inspect;
pub(crate) mod merge;
pub(crate) mod merge_lora;
pub(crate) mod quantize;
pub(crate) mod report;
pub(crate) mod split;
pub(crate) mod to_safetensors;
