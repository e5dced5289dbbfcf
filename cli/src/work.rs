//! Long work on a file that is written: shown while it goes on, and stopped by Ctrl-C and SIGTERM.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
#[cfg(unix)]
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, anyhow};
use gguf_codec::Error;
use indicatif::{ProgressBar, ProgressStyle};

use crate::paths;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// What has been asked to stop may do so between two steps of its work.
pub(crate) struct Work {
    output: PathBuf,
    bar: ProgressBar,
}

/// How many bytes are done of how many, in a line that fits.
pub(crate) fn bar(bytes: u64) -> Result<ProgressBar> {
    let bar = ProgressBar::new(bytes);
    bar.set_style(ProgressStyle::with_template(
        "{bar:30} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} eta {eta}",
    )?);
    Ok(bar)
}

impl Work {
    /// Listens for signals from here on; of the first the work hears, the second ends the process, even where the work hangs.
    pub(crate) fn begin(output: &Path) -> Result<Self> {
        let on_signal = || {
            if INTERRUPTED.swap(true, Ordering::Relaxed) {
                // Held until the end, so that no other thread begins another file.
                let _unfinished = gguf_codec::remove_unfinished();
                crate::cli::fail("interrupted twice: ended at once");
                std::process::exit(1);
            }
        };
        ctrlc::set_handler(on_signal).context("cannot listen for signals")?;
        // A write beyond the largest file that is allowed (`ulimit -f`) is an error then, as on a full disk, and not the end.
        #[cfg(unix)]
        signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default())
            .context("cannot listen for signals")?;
        // Not without a length, which could not be added to.
        Ok(Work { output: output.to_owned(), bar: bar(0)? })
    }

    /// So many bytes more are to come.
    pub(crate) fn expect(&self, bytes: u64) {
        self.bar.inc_length(bytes);
    }

    /// So many bytes are done. Breaks where the work should stop.
    pub(crate) fn step(&self, bytes: u64) -> ControlFlow<()> {
        self.bar.inc(bytes);
        if INTERRUPTED.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// So many bytes of so many are done. Breaks where the work should stop.
    pub(crate) fn reached(&self, done: u64, total: u64) -> ControlFlow<()> {
        self.bar.set_length(total);
        self.bar.set_position(done);
        if INTERRUPTED.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Nothing more is to come.
    pub(crate) fn done(&self) {
        self.bar.finish_and_clear();
    }

    /// Says of an interruption what became of the output: nothing.
    pub(crate) fn explained(&self, error: Error) -> anyhow::Error {
        match error {
            Error::Interrupted if paths::is_stream(&self.output) => anyhow!("interrupted"),
            Error::Interrupted => anyhow!("interrupted: '{}' is as it was", self.output.display()),
            error => error.into(),
        }
    }
}
