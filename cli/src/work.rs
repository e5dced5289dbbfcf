//! Long work on an output file: shows its progress, and is stopped by Ctrl-C and SIGTERM.

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

/// Work that can be asked to stop, which it does between two steps.
pub(crate) struct Work {
    output: PathBuf,
    bar: ProgressBar,
}

/// A progress bar of bytes done and total bytes, in a line that fits.
pub(crate) fn bar(bytes: u64) -> Result<ProgressBar> {
    let bar = ProgressBar::new(bytes);
    bar.set_style(ProgressStyle::with_template(
        "{bar:30} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} eta {eta}",
    )?);
    Ok(bar)
}

impl Work {
    /// Listens for signals from here on. The first stops the work; the second ends the process, even if the work hangs.
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
        // Then a write past the file size limit (`ulimit -f`) is an error, as on a full disk, instead of ending the process.
        #[cfg(unix)]
        signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default())
            .context("cannot listen for signals")?;
        // The bar needs a length, because a missing length could not be increased.
        Ok(Work { output: output.to_owned(), bar: bar(0)? })
    }

    /// Adds to the number of expected bytes.
    pub(crate) fn expect(&self, bytes: u64) {
        self.bar.inc_length(bytes);
    }

    /// Reports bytes done. Breaks if the work should stop.
    pub(crate) fn step(&self, bytes: u64) -> ControlFlow<()> {
        self.bar.inc(bytes);
        if INTERRUPTED.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Reports the bytes done and the total. Breaks if the work should stop.
    pub(crate) fn reached(&self, done: u64, total: u64) -> ControlFlow<()> {
        self.bar.set_length(total);
        self.bar.set_position(done);
        if INTERRUPTED.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Ends the progress bar.
    pub(crate) fn done(&self) {
        self.bar.finish_and_clear();
    }

    /// Says after an interruption that the old output is unchanged.
    pub(crate) fn explained(&self, error: Error) -> anyhow::Error {
        match error {
            Error::Interrupted if paths::is_stream(&self.output) => anyhow!("interrupted"),
            Error::Interrupted => anyhow!("interrupted: '{}' is as it was", self.output.display()),
            error => error.into(),
        }
    }
}
