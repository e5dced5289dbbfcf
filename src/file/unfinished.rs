//! The unfinished temporary files and folders of this process, for a program that ends before finishing them.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How long to wait for a running commit. Moves within a file system take no time unless it hangs.
const PATIENCE: Duration = Duration::from_secs(10);

static STATE: Mutex<Option<State>> = Mutex::new(None);
static COMMITTED: Condvar = Condvar::new();

#[derive(Debug, Default)]
struct State {
    next: u64,
    entries: HashMap<u64, Entry>,
    commits: usize,
}

#[derive(Debug)]
struct Entry {
    path: PathBuf,
    is_folder: bool,
    /// It is being moved to its final path with others. It may now be the only copy of the data, so it is not removed.
    commits: bool,
}

fn lock() -> MutexGuard<'static, Option<State>> {
    let mut state = STATE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    state.get_or_insert_default();
    state
}

/// Removes the temporary files and folders that this process has not finished. This is for a program that is about to end
/// without dropping them, for example after a second Ctrl-C.
///
/// Files that are currently being moved to their final paths are allowed to finish, since what they replace may already be
/// gone. This function waits for them for at most ten seconds, and never removes one.
///
/// As long as the returned guard lives, no temporary file is created and none is moved to its final path: threads that try
/// to are blocked. If the process continues after all, finishing a file that was removed fails, and its target is unchanged.
///
/// ```no_run
/// // In a signal handler's thread:
/// let _unfinished = gguf_codec::remove_unfinished();
/// std::process::exit(1);
/// ```
pub fn remove_unfinished() -> Unfinished {
    remove_within(PATIENCE)
}

/// Prevents new temporary files while it lives: see [`remove_unfinished`].
#[derive(Debug)]
#[must_use = "files may be created as soon as it is dropped"]
pub struct Unfinished {
    _state: MutexGuard<'static, Option<State>>,
}

fn remove_within(patience: Duration) -> Unfinished {
    let mut state = lock();
    let start = Instant::now();
    while state.as_ref().is_some_and(|state| state.commits > 0) {
        let Some(left) = patience.checked_sub(start.elapsed()) else { break };
        state = match COMMITTED.wait_timeout(state, left) {
            Ok((state, _)) => state,
            Err(poisoned) => poisoned.into_inner().0,
        };
    }
    if let Some(state) = state.as_mut() {
        state.entries.retain(|_, entry| {
            // There is no one to report a failed removal to.
            if !entry.commits {
                let _ = if entry.is_folder {
                    fs::remove_dir_all(&entry.path)
                } else {
                    fs::remove_file(&entry.path)
                };
            }
            entry.commits
        });
    }
    Unfinished { _state: state }
}

/// Registers a temporary file or folder with [`remove_unfinished`] until it is dropped.
#[derive(Debug)]
pub(crate) struct Ticket(u64);

/// Creates a temporary file or folder at `path`. The creation and its registration are atomic.
pub(crate) fn create<T>(
    path: PathBuf,
    is_folder: bool,
    create: impl FnOnce(&std::path::Path) -> io::Result<T>,
) -> io::Result<(T, Ticket)> {
    let mut state = lock();
    let created = create(&path)?;
    let state = state.get_or_insert_default();
    let id = state.next;
    state.next += 1;
    state.entries.insert(id, Entry { path, is_folder, commits: false });
    Ok((created, Ticket(id)))
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(state) = lock().as_mut() {
            state.entries.remove(&self.0);
        }
    }
}

/// Temporary files that are being moved to their final paths, from before the first step that removes something until after
/// the last.
#[derive(Debug)]
pub(crate) struct Commit(());

impl Commit {
    /// # Errors
    /// If [`remove_unfinished`] has removed one of them.
    pub(crate) fn begin<'a>(tickets: impl IntoIterator<Item = &'a Ticket>) -> io::Result<Self> {
        let mut state = lock();
        let state = state.get_or_insert_default();
        let ids: Vec<u64> = tickets.into_iter().map(|ticket| ticket.0).collect();
        if !ids.iter().all(|id| state.entries.contains_key(id)) {
            let message = "the program was about to end, and its unfinished files are removed";
            return Err(io::Error::new(io::ErrorKind::Interrupted, message));
        }
        for id in ids {
            if let Some(entry) = state.entries.get_mut(&id) {
                entry.commits = true;
            }
        }
        state.commits += 1;
        Ok(Commit(()))
    }
}

impl Drop for Commit {
    fn drop(&mut self) {
        if let Some(state) = lock().as_mut() {
            state.commits -= 1;
        }
        COMMITTED.notify_all();
    }
}
