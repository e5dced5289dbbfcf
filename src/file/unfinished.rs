//! The temporary files and folders of this process, for a program that ends before they are finished.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How long a commit that goes on may take: moves within a file system take no time, unless that hangs.
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
    /// It is moved to its place with others. From then on it may be the only copy of the data, and is not removed.
    commits: bool,
}

fn lock() -> MutexGuard<'static, Option<State>> {
    let mut state = STATE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    state.get_or_insert_default();
    state
}

/// Removes the temporary files and folders that this process has not finished, for a program that is about to end without
/// dropping them: from a second Ctrl-C, say.
///
/// Files that are moved to their places just now are let finish, since what they replace may be gone already; this waits for
/// them, ten seconds at most, and in no case removes one.
///
/// As long as the returned guard lives, no further temporary file is created and no further one moved to its place: threads
/// that want to, wait. Where the process goes on after all, files that were removed fail when they are finished, with their
/// targets as they were.
///
/// ```no_run
/// // In a signal handler's thread:
/// let _unfinished = gguf_codec::remove_unfinished();
/// std::process::exit(1);
/// ```
pub fn remove_unfinished() -> Unfinished {
    remove_within(PATIENCE)
}

/// Holds off new temporary files while it lives: see [`remove_unfinished`].
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
            // Nobody is left to tell of what cannot be removed.
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

/// A temporary file or folder that [`remove_unfinished`] knows of, until this is dropped.
#[derive(Debug)]
pub(crate) struct Ticket(u64);

/// Creates a temporary file or folder at `path`. Between its creation and its ticket nothing comes.
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

/// Temporary files that are moved to their places, from before the first step that takes something away until after the last.
#[derive(Debug)]
pub(crate) struct Commit(());

impl Commit {
    /// # Errors
    /// Where one of them was removed by [`remove_unfinished`].
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
