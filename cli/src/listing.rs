//! Tensors of a model that is quantized, one in a line, where they are asked for.

use anyhow::{Result, bail};
use gguf_codec::model::QuantizedTensor;

use crate::numbers::short;
use crate::screen::{columns, natural, padded, right};
use crate::{glob, size};

/// Which tensors are listed.
#[derive(clap::Args, Default)]
#[group(id = "listing", multiple = true)]
pub(crate) struct Listing {
    /// List each tensor, with its type and bytes before and after
    #[arg(long)]
    all: bool,
    /// List the tensor of this name, or all whose whole names match a pattern with * and ?, such as '*.ffn_down.weight'
    #[arg(long, value_name = "NAME")]
    tensor: Vec<String>,
}

impl Listing {
    pub(crate) fn is_asked(&self) -> bool {
        self.all || !self.tensor.is_empty()
    }

    /// Fails where a pattern matches none of the names.
    pub(crate) fn check<'n>(&self, names: impl Iterator<Item = &'n str> + Clone) -> Result<()> {
        for pattern in &self.tensor {
            if !names.clone().any(|name| is_listed(pattern, name)) {
                let what = if glob::is_pattern(pattern) { "no tensor matches" } else { "there is no tensor" };
                bail!("{what} '{}'{}", pattern.escape_debug(), glob::is_it(pattern, names));
            }
        }
        Ok(())
    }

    /// A line for each tensor that is listed, by name.
    pub(crate) fn table(&self, tensors: &[QuantizedTensor]) -> String {
        let is_listed = |tensor: &&QuantizedTensor| {
            self.all || self.tensor.iter().any(|name| is_listed(name, &tensor.name))
        };
        let mut listed: Vec<_> = tensors.iter().filter(is_listed).collect();
        if listed.is_empty() {
            return String::new();
        }
        listed.sort_by(|a, b| natural(&a.name, &b.name));
        let row = |tensor: &QuantizedTensor| {
            let after = tensor.size_after().bytes;
            let wanted = tensor.instead_of.map_or_else(String::new, |ty| format!("  instead of {ty}"));
            let cells = [
                short(&tensor.name),
                tensor.from.name().to_owned(),
                tensor.ggml_type.name().to_owned(),
                size::shown(tensor.size_before().bytes),
                size::shown(after),
            ];
            (cells, wanted)
        };
        let head = (["tensor", "type", "after", "size", "after"].map(str::to_owned), String::new());
        let rows: Vec<_> = std::iter::once(head).chain(listed.into_iter().map(row)).collect();
        let width = |column: usize| rows.iter().map(|(row, _)| columns(&row[column])).max().unwrap_or(0);
        let widths = [0, 1, 2, 3, 4].map(width);
        let mut text = String::new();
        for ([name, from, ty, before, after], wanted) in &rows {
            let [name, from] = [padded(name, widths[0]), padded(from, widths[1])];
            let [before, after] = [right(before, widths[3]), right(after, widths[4])];
            text += &format!("  {name}{from}{}{before}  {after}{wanted}\n", padded(ty, widths[2]));
        }
        text
    }
}

fn is_listed(pattern: &str, name: &str) -> bool {
    pattern == name || glob::matches(pattern, name)
}
