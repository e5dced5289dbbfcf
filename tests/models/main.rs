//! Work on whole models: converting, editing, comparing, recipes, importance matrices, shards and parts.

#![cfg(feature = "codecs")]

#[path = "../common/mod.rs"]
mod common;
mod convert;
mod diff;
mod drop_layers;
mod edit;
mod imatrix;
mod lora;
mod memory;
mod parts;
mod quantize;
mod recipes;
mod shards;
mod summary;
mod weight;
