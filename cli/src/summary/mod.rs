//! Shows the contents of a header, as text and as JSON.

mod head;
mod json;
mod metadata;
mod rows;
mod run;
mod tensors;
mod types;

use gguf_codec::ShardedGguf;

use self::head::head;
pub(crate) use self::json::json;
use self::metadata::metadata;
use self::rows::rows;
pub(crate) use self::run::{Run, kv_type, tokens};
use self::tensors::tensors;
use self::types::types;
use crate::numbers::{counted, short};
use crate::screen::{Screen, columns};

/// What to show of a header, and how.
pub(crate) struct View<'a> {
    /// The file's name, or its substitute.
    pub(crate) title: &'a str,
    pub(crate) screen: Screen,
    /// Shows each layer separately, and arrays in full.
    pub(crate) all: bool,
    /// The file's length, if tensors' data may extend past it.
    pub(crate) cut_at: Option<u64>,
    pub(crate) run: Run,
}

impl View<'_> {
    /// Identical layers are folded wherever lines are cut.
    fn folds(&self) -> bool {
        !self.all && self.screen.width().is_some()
    }

    /// The width of the column of names.
    fn names<'n>(&self, names: impl Iterator<Item = &'n str>) -> usize {
        let longest = names.map(columns).max().unwrap_or(0);
        self.screen.width().map_or(longest, |width| longest.min(width / 2))
    }
}

pub(crate) fn text<B: AsRef<[u8]>>(model: &ShardedGguf<B>, view: &View<'_>) -> String {
    let rows = rows(model);
    let mut text = head(model, &rows, view);
    text += &metadata(model, view);
    text += &tensors(&rows, view);
    text += &types(&rows, view);
    let mut foreign = model.foreign_tensors();
    if let Some(tensor) = foreign.next() {
        let others = foreign.count() as u64;
        let name = short(tensor.name());
        let others =
            if others > 0 { format!(", and so {}", counted(others, "other")) } else { String::new() };
        text += &format!("\nTensor '{name}' cannot be read here{others}: {}\n", tensor.problem());
    }
    text
}
