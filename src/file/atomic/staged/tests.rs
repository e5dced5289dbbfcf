//! A replaced set is the old one, the new one or none, whatever happens at any step: an error, the end of the process,
//! another writer, or a reader.

use super::*;
use crate::file::atomic::AtomicFile;
use crate::file::sink::Sink;

#[test]
#[cfg(unix)]
fn only_folders_that_could_be_synced_and_were_not_are_failures() {
    let failed = |kind: io::ErrorKind| unless_impossible(Err(kind.into()));
    failed(io::ErrorKind::PermissionDenied).unwrap();
    failed(io::ErrorKind::Unsupported).unwrap();
    failed(io::ErrorKind::InvalidInput).unwrap();
    failed(io::ErrorKind::StorageFull).unwrap_err();
    sync_folder(Path::new("/no such folder/file")).unwrap_err();
}

#[test]
#[cfg(not(target_family = "wasm"))]
fn few_of_many_staged_files_stay_open() {
    let folder = tempfile::tempdir().unwrap();
    // More than are available, twice, so the first ones must have released theirs.
    for round in 0..2 {
        let stage = |n| {
            AtomicFile::create(&folder.path().join(format!("{round}-{n}")), Existing::Refuse).unwrap().stage()
        };
        let staged: Vec<_> = (0..StagedLock::MOST + 20).map(|n| stage(n).unwrap()).collect();
        let held = staged.iter().filter(|staged| staged.temporary.held.is_some()).count();
        // Other tests may hold some.
        assert!((StagedLock::MOST - 40..=StagedLock::MOST).contains(&held), "{held}");
    }
}

#[cfg(unix)]
mod sets {
    use std::collections::BTreeSet;

    use super::*;

    const FILES: usize = 4;
    const NAMES: [&str; FILES] = ["0", "1", "2", "3"];
    /// The task of a child process.
    const CHILD: &str = "GGUF_CODEC_TEST_COMMIT";

    fn staged(folder: &Path, content: &str) -> Vec<StagedFile> {
        let stage = |name: &&str| {
            let mut file = AtomicFile::create(&folder.join(name), Existing::ReplaceTarget).unwrap();
            file.put(content.as_bytes()).unwrap();
            file.stage().unwrap()
        };
        NAMES.iter().map(stage).collect()
    }

    /// Returns the contents of the set's files if its first file exists.
    fn open(folder: &Path) -> Option<BTreeSet<String>> {
        let first = fs::read_to_string(folder.join(NAMES[0])).ok()?;
        let others = NAMES[1..].iter().filter_map(|name| fs::read_to_string(folder.join(name)).ok());
        Some(others.chain([first]).collect())
    }

    fn names(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The file system, with something that happens before a step.
    struct Until<F> {
        left: usize,
        then: F,
        locks: bool,
    }

    impl<F: FnMut() -> io::Result<()>> Until<F> {
        fn step(&mut self) -> io::Result<()> {
            self.left = self.left.wrapping_sub(1);
            if self.left == usize::MAX { (self.then)() } else { Ok(()) }
        }
    }

    impl<F: FnMut() -> io::Result<()>> Steps for Until<F> {
        fn lock(&mut self, first: &Path) -> io::Result<Option<SetLock>> {
            self.step()?;
            if self.locks { FileSystem.lock(first) } else { Ok(None) }
        }

        fn remove(&mut self, path: &Path) -> io::Result<()> {
            self.step()?;
            FileSystem.remove(path)
        }

        fn rename(&mut self, from: &Path, to: &Path, existing: Existing) -> io::Result<()> {
            self.step()?;
            FileSystem.rename(from, to, existing)
        }

        fn sync(&mut self, path: &Path) -> io::Result<()> {
            self.step()?;
            FileSystem.sync(path)
        }
    }

    /// Lock, remove, sync, the others, sync, the first, sync.
    const STEPS: usize = 5 + FILES;

    fn old_set() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        StagedFile::commit_all(staged(folder.path(), "old")).unwrap();
        assert_eq!(open(folder.path()), Some(BTreeSet::from(["old".to_owned()])));
        folder
    }

    #[test]
    fn the_steps_come_in_an_order_that_a_power_failure_cannot_change() {
        struct Recorded(Vec<String>);
        impl Recorded {
            fn tell(&mut self, what: &str, path: &Path) -> io::Result<()> {
                self.0.push(format!("{what} {}", path.file_name().unwrap().display()));
                Ok(())
            }
        }
        impl Steps for Recorded {
            fn lock(&mut self, first: &Path) -> io::Result<Option<SetLock>> {
                self.tell("lock", first).map(|()| None)
            }
            fn remove(&mut self, path: &Path) -> io::Result<()> {
                self.tell("remove", path)?;
                FileSystem.remove(path)
            }
            fn rename(&mut self, from: &Path, to: &Path, existing: Existing) -> io::Result<()> {
                self.tell("rename", to)?;
                FileSystem.rename(from, to, existing)
            }
            fn sync(&mut self, path: &Path) -> io::Result<()> {
                self.tell("sync", path)
            }
        }
        let folder = old_set();
        let mut steps = Recorded(Vec::new());
        commit(staged(folder.path(), "new"), &mut steps).unwrap();
        assert_eq!(
            steps.0,
            [
                "lock 0", "remove 0", "sync 0", "rename 1", "rename 2", "rename 3", "sync 1", "rename 0",
                "sync 0"
            ]
        );
        assert_eq!(steps.0.len(), STEPS);
    }

    #[test]
    fn an_error_at_any_step_leaves_one_set_or_none() {
        for at in 0..STEPS {
            let folder = old_set();
            let then = || Err(io::ErrorKind::StorageFull.into());
            let failed = commit(staged(folder.path(), "new"), &mut Until { left: at, then, locks: true });
            let error = format!("{:?}", failed.unwrap_err());
            assert!(error.contains("no storage space"), "{at}: {error}");
            let set = open(folder.path());
            match at {
                0 | 1 => assert_eq!(set, Some(["old".to_owned()].into()), "{at}"),
                // All are in place.
                8 => assert_eq!(set, Some(["new".to_owned()].into()), "{at}"),
                _ => assert_eq!(set, None, "{at}"),
            }
            assert!(names(folder.path()).iter().all(|name| !name.starts_with('.')), "{at}");
        }
    }

    #[test]
    fn child() {
        let Ok(task) = std::env::var(CHILD) else { return };
        let (at, folder) = task.split_once(' ').unwrap();
        // Without running destructors, like a kill.
        let then = || std::process::exit(9);
        let steps = &mut Until { left: at.parse().unwrap(), then, locks: true };
        commit(staged(Path::new(folder), "new"), steps).unwrap();
        std::process::exit(0);
    }

    #[test]
    fn the_end_of_the_process_at_any_step_leaves_one_set_or_none_and_the_next_clears_up() {
        let test = std::thread::current().name().unwrap().replace(
            "the_end_of_the_process_at_any_step_leaves_one_set_or_none_and_the_next_clears_up",
            "child",
        );
        for at in 0..=STEPS {
            let folder = old_set();
            let mut child = std::process::Command::new(std::env::current_exe().unwrap());
            child.args(["--exact", &test]).env(CHILD, format!("{at} {}", folder.path().display()));
            let output = child.output().unwrap();
            assert_eq!(output.status.code(), Some(if at < STEPS { 9 } else { 0 }), "{at}: {output:?}");
            let set = open(folder.path());
            match at {
                0 | 1 => assert_eq!(set, Some(["old".to_owned()].into()), "{at}"),
                8 | 9 => assert_eq!(set, Some(["new".to_owned()].into()), "{at}"),
                _ => assert_eq!(set, None, "{at}"),
            }
            StagedFile::commit_all(staged(folder.path(), "newer")).unwrap();
            assert_eq!(open(folder.path()), Some(["newer".to_owned()].into()), "{at}");
            assert_eq!(names(folder.path()), NAMES, "{at}");
        }
    }

    #[test]
    fn another_writer_waits_for_the_set() {
        for at in 1..STEPS {
            let folder = old_set();
            let path = folder.path().to_owned();
            let mut others = Vec::new();
            let mut then = || {
                let waiting = staged(&path, "newer");
                others.push(std::thread::spawn(move || StagedFile::commit_all(waiting)));
                assert!(super::super::super::locks::is_held(
                    &super::super::super::locks::set_lock_path(&path.join(NAMES[0])).unwrap()
                ));
                Ok(())
            };
            commit(staged(&path, "new"), &mut Until { left: at, then: &mut then, locks: true }).unwrap();
            others.into_iter().for_each(|other| other.join().unwrap().unwrap());
            assert_eq!(open(&path), Some(["newer".to_owned()].into()), "{at}");
            assert_eq!(names(&path), NAMES, "{at}");
        }
    }

    #[test]
    fn without_locks_another_writer_is_noticed() {
        // One begins and ends within the other.
        for at in 0..STEPS {
            let folder = old_set();
            let path = folder.path();
            let mut inner = None;
            let then = || {
                inner = Some(commit(
                    staged(path, "inner"),
                    &mut Until { left: 99, then: || Ok(()), locks: false },
                ));
                Ok(())
            };
            let outer = commit(staged(path, "outer"), &mut Until { left: at, then, locks: false });
            let set = open(path);
            assert!(set.as_ref().is_none_or(|set| set.len() == 1), "{at}: {set:?}");
            assert!(inner.unwrap().is_ok() || outer.is_ok(), "{at}");
            if let Some(set) = set.filter(|_| outer.is_err()) {
                assert_eq!(set, ["inner".to_owned()].into(), "{at}");
            }
        }
        // One makes the other fail, where a process would have ended.
        for (one, two) in (1..STEPS).flat_map(|one| (1..STEPS).map(move |two| (one, two))) {
            let folder = old_set();
            let path = folder.path();
            let then = || {
                let fail = || Err(io::Error::other("on purpose"));
                let _ = commit(staged(path, "inner"), &mut Until { left: two, then: fail, locks: false });
                Ok(())
            };
            let _ = commit(staged(path, "outer"), &mut Until { left: one, then, locks: false });
            let set = open(path);
            assert!(set.as_ref().is_none_or(|set| set.len() == 1), "{one} {two}: {set:?}");
        }
    }
}
