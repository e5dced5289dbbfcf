//! Checks where a tool writes: never over its input, and over existing files only with --force.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use anyhow::{Result, ensure};
use gguf_codec::Existing;

use crate::cli::Answer;
use crate::paths;

#[derive(clap::Args, Clone, Copy)]
pub(crate) struct Force {
    /// Replace files that are already there. Where a symbolic link is there, the link is replaced, not the file that it leads to
    #[arg(long)]
    force: bool,
}

impl Force {
    pub(crate) fn existing(&self) -> Existing {
        if self.force { Existing::Replace } else { Existing::Refuse }
    }
}

/// Standard output, as the target for a model.
pub(crate) fn standard() -> Result<impl Write> {
    ensure!(
        !io::stdout().is_terminal(),
        "a model on a terminal is of no use: redirect standard output, or give a path"
    );
    Ok(io::stdout().lock())
}

/// The answer after writing `output`: it goes to standard error if the model went to standard output.
pub(crate) fn answer(output: &Path, text: String) -> Answer {
    if !paths::is_stream(output) {
        return text.into();
    }
    // Not eprint, which panics where standard error is closed.
    let _ = io::stderr().write_all(text.as_bytes());
    Answer(Vec::new(), 0)
}
