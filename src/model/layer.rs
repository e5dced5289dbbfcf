//! [`Layer`]: the layer that a tensor belongs to, by its name.

use core::fmt;

use crate::display::pad;

/// The tensor that has a row for each token.
pub(super) const TOKEN_EMBEDDING: &str = "token_embd.weight";

/// A layer of a model: what tensors named `blk.7.ffn_up.weight` and `blk.7.attn_q.weight` have in common.
///
/// Models with several parts number the layers of each: `enc.blk.0` and `dec.blk.0`, or `v.blk.0` of a vision
/// encoder. Layers are ordered by part, then by index.
///
/// ```
/// use gguf_codec::model::Layer;
/// let (layer, kind) = Layer::split("blk.7.ffn_up.weight");
/// assert_eq!((layer.unwrap().index(), kind), (7, "ffn_up.weight"));
/// assert_eq!(Layer::split("enc.blk.0.attn_q.weight").0.unwrap().to_string(), "enc.blk.0");
/// assert_eq!(Layer::split("token_embd.weight"), (None, "token_embd.weight"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Layer<'a> {
    part: &'a str,
    index: u32,
}

impl<'a> Layer<'a> {
    /// Splits a tensor's name into its layer, if any, and the tensor's name within the layer. The latter does not
    /// include the part: `enc.blk.0.attn_q.weight` and `dec.blk.0.attn_q.weight` are both `attn_q.weight`.
    pub fn split(name: &'a str) -> (Option<Self>, &'a str) {
        let found = if name.starts_with("blk.") { Some(0) } else { name.find(".blk.").map(|at| at + 1) };
        let parsed = found.and_then(|at| {
            let (part, rest) = name.split_at_checked(at)?;
            let (digits, kind) = rest.strip_prefix("blk.")?.split_once('.')?;
            // `u32::from_str` accepts a plus sign too.
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            let index = digits.parse().ok().filter(|_| is_number)?;
            Some((Layer { part: part.trim_end_matches('.'), index }, kind))
        });
        parsed.map_or((None, name), |(layer, kind)| (Some(layer), kind))
    }

    /// Returns what precedes `blk`: `enc`, `v` and so on, and nothing in most models.
    pub fn part(&self) -> &'a str {
        self.part
    }

    /// Returns the layer's index, from 0.
    pub fn index(&self) -> u32 {
        self.index
    }
}

/// Formats the layer as it appears at the start of its tensors' names: `blk.7`, `enc.blk.0`.
impl fmt::Display for Layer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dot = if self.part.is_empty() { "" } else { "." };
        pad(f, format_args!("{}{dot}blk.{}", self.part, self.index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbered_blocks_are_layers() {
        for name in
            ["", "blk", "blk.", "blk.1", "blk.+1.w", "blk.x.w", "blk..w", "xblk.1.w", "blk.99999999999.w"]
        {
            assert_eq!(Layer::split(name), (None, name));
        }
        let (layer, kind) = Layer::split("v.blk.12.attn_q.weight");
        assert_eq!((layer.unwrap().part(), layer.unwrap().index(), kind), ("v", 12, "attn_q.weight"));
    }

    #[test]
    fn layers_are_in_the_order_of_their_numbers() {
        let layer = |name| Layer::split(name).0.unwrap();
        assert!(layer("blk.2.w") < layer("blk.10.w") && layer("blk.10.w") < layer("dec.blk.0.w"));
    }
}
