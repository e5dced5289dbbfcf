//! Where a tool writes: never over what it reads, and over what exists only with --force.

use gguf_codec::Existing;

#[derive(clap::Args, Clone, Copy)]
pub(crate) struct Force {
    /// Replace what is already at OUT. Of a symbolic link, the link is replaced, and the file that it leads to stays
    #[arg(long)]
    force: bool,
}

impl Force {
    pub(crate) fn existing(&self) -> Existing {
        if self.force { Existing::Replace } else { Existing::Refuse }
    }
}
