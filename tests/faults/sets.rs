//! Sets of files that are replaced while processes are killed.

use std::path::Path;

use anyhow::{Context, Result};
use gguf_codec::{GgmlType, Gguf, ShardPaths, ShardedGguf, StagedFile, Writer};

use super::common::say;
use super::{Rng, child_command, kill_after, names};

/// The shards of a set: enough that moving them to their places takes a while.
const SHARDS: u16 = 24;

/// Shards whose tensors are all filled with `tag`, and which appear together; reports a step once all of them are complete.
pub(super) fn write_set(first: &Path, tag: u8, step: impl FnOnce()) -> Result<()> {
    let (paths, _) = ShardPaths::parse(first).context("the first shard's name")?;
    let stage = |no: u16| {
        let mut writer = Writer::create(paths.path(no))?;
        writer.set_shard(no, SHARDS, SHARDS.into())?;
        writer.declare_tensor(&format!("t{no}"), &[32], GgmlType::I8)?;
        let mut data = writer.write_header()?;
        data.write_tensor(&format!("t{no}"), &[tag; 32])?;
        Ok(data.stage()?)
    };
    let staged = (0..SHARDS).map(stage).collect::<Result<Vec<_>>>()?;
    step();
    Ok(StagedFile::commit_all(staged)?)
}

/// A set that is being replaced is the old one, the new one, or one that cannot be opened because its first shard is missing. It
/// never mixes shards of both.
#[test]
fn a_kill_while_a_set_is_replaced_never_mixes_two() {
    /// Until each outcome has occurred.
    const MOST: u64 = 600;
    let least: u64 = std::env::var("GGUF_CODEC_KILLS").map_or(60, |kills| kills.parse().unwrap());
    let mut rng = Rng::new("kills of sets");
    let folder = tempfile::tempdir().unwrap();
    let paths = ShardPaths::new(folder.path().join("m"), SHARDS);
    let first = paths.path(0);
    let tags = || -> Result<Vec<u8>> {
        let model = ShardedGguf::open_with(&first, |path| Gguf::read(path))?;
        model.tensors().map(|info| Ok(info.tensor()?.bytes()?[0])).collect()
    };
    write_set(&first, 0, || ()).unwrap();
    // The old set, none, the new set.
    let (mut kills, mut seen, mut old) = (0, [0; 3], 0u8);
    while kills < least || seen.contains(&0) {
        assert!(kills < least + MOST, "{kills} kills gave {seen:?} sets that were old, cut off and new");
        let new = old.wrapping_add(1);
        let mut child = child_command(&format!("set {new}"), &first).spawn().unwrap();
        // Delays of very different lengths, because the duration depends on the machine.
        let moment = 1 << (10 + rng.below(14));
        kills += u64::from(kill_after(&mut child, 1, rng.below(moment)));
        match tags() {
            Ok(tags) => {
                assert!([old, new].contains(&tags[0]) && tags == [tags[0]; SHARDS as usize], "{tags:?}");
                seen[if tags[0] == old { 0 } else { 2 }] += 1;
                old = tags[0];
            }
            Err(error) => {
                assert!(!first.exists() && error.to_string().contains("read '"), "{error}");
                seen[1] += 1;
                // Leftovers do not harm the next set, and none of them remain next to it.
                old = new.wrapping_add(1);
                write_set(&first, old, || ()).unwrap();
                assert_eq!(tags().unwrap(), [old; SHARDS as usize]);
                assert_eq!(names(folder.path()).len(), usize::from(SHARDS));
            }
        }
    }
    let [kept, cut, replaced] = seen;
    say(&format!(
        "{kills} kills: {kept} sets were kept, {cut} were left without a first shard, {replaced} were replaced"
    ));
}
