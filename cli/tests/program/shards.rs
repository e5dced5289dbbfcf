//! `split` and `merge`: a model and its shards.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use gguf_codec::{GgmlType, Value, Writer};

use crate::common::raw::Raw;
use crate::support::*;

/// Ten tensors of 1000 floats, with metadata and an alignment other than the default.
fn whole() -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    writer.set_metadata("general.architecture", "llama").unwrap().set_alignment(64).unwrap();
    writer.set_metadata("general.name", Value::String(b"whole".to_vec())).unwrap();
    let names: Vec<_> = (0..10).map(|i| format!("blk.{i}.weight")).collect();
    for name in &names {
        writer.declare_tensor(name, &[100, 10], GgmlType::F32).unwrap();
    }
    let mut data = writer.write_header().unwrap();
    for (i, name) in names.iter().enumerate() {
        let values: Vec<f32> = wave(1000).iter().map(|value| value + i as f32).collect();
        data.write_tensor(name, &floats(&values)).unwrap();
    }
    data.finish().unwrap()
}

fn names(folder: &Folder) -> Vec<String> {
    let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    folder.names().into_iter().map(name).collect()
}

#[test]
fn what_is_split_is_merged_again_byte_for_byte() {
    let folder = Folder::new();
    let (input, out) = (folder.file("in.gguf", whole()), folder.path("out.gguf"));
    for (limit, shards) in [
        (&["--max-tensors", "4"][..], 3),
        (&["--max-tensors", "10"], 1),
        (&["--max-size", "8064"], 5),
        (&["--max-size", "1K"], 10),
        (&["--max-size", "1g"], 1),
        (&["--max-tensors", "4", "--no-tensor-first-split"], 4),
    ] {
        let prefix = folder.path(&format!("m{}", limit.join("")));
        let summary = works("split", &[&[input.as_str(), &prefix], limit].concat());
        assert_eq!(summary.lines().count(), shards, "{summary}");
        let first = format!("{prefix}-00001-of-{shards:05}.gguf");
        assert!(summary.starts_with(&format!("{first}: ")), "{summary}");
        let summary = works("merge", &[&first, &out]);
        let wanted =
            if shards == 1 { "10 tensors of 1 shard, 41,".into() } else { format!("of {shards} shards") };
        assert!(summary.contains(&wanted), "{summary}");
        assert!(fs::read(&out).unwrap() == whole(), "{limit:?}");
        // Shards given by the first of them can be divided again.
        let again = folder.path("again");
        works("split", &[&first, &again, "--max-tensors", "3"]);
        works("merge", &[&format!("{again}-00001-of-00004.gguf"), &out]);
        assert!(fs::read(&out).unwrap() == whole(), "{limit:?} divided anew");
        let text = works("inspect", &[&first]);
        assert!(text.contains("\ntensors (10)\n"), "{text}");
    }
}

#[test]
fn what_was_made_is_told_in_json() {
    let folder = Folder::new();
    let input = folder.file("in.gguf", whole());
    let split = works("split", &[&input, &folder.path("m"), "--max-tensors", "6", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&split).unwrap();
    assert_eq!(json["tensors"], 10);
    assert_eq!(json["shards"][1]["tensors"], 4);
    for shard in json["shards"].as_array().unwrap() {
        let len = fs::metadata(shard["path"].as_str().unwrap()).unwrap().len();
        assert_eq!(shard["bytes"], len);
    }
    let first = folder.path("m-00001-of-00002.gguf");
    let merged = works("merge", &[&first, &folder.path("out.gguf"), "--json"]);
    let json: serde_json::Value = serde_json::from_str(&merged).unwrap();
    assert_eq!((&json["shards"], &json["tensors"]), (&2.into(), &10.into()));
    assert_eq!(json["bytes"], whole().len());
    let inspected = works("inspect", &[&first, "--json"]);
    let json: serde_json::Value = serde_json::from_str(&inspected).unwrap();
    assert_eq!((&json["shards"], &json["tensors"][9]["shard"]), (&2.into(), &1.into()));
    // Shards other than the first are shown separately.
    let inspected = works("inspect", &[&folder.path("m-00002-of-00002.gguf"), "--json"]);
    let json: serde_json::Value = serde_json::from_str(&inspected).unwrap();
    assert_eq!((&json["shards"], &json["totals"]["tensors"]), (&1.into(), &4.into()));
}

#[test]
fn shards_that_are_missing_or_wrong_leave_nothing() {
    let folder = Folder::new();
    let input = folder.file("in.gguf", whole());
    works("split", &[&input, &folder.path("m"), "--max-tensors", "2"]);
    let shard = |number: u16| folder.path(&format!("m-{number:05}-of-00005.gguf"));
    let out = folder.file("out.gguf", "what was there");
    let merge_fails = || {
        let before = folder.names();
        let line = fails("merge", &[&shard(1), &out]);
        assert_eq!(fs::read(&out).unwrap(), b"what was there", "{line}");
        assert_eq!(folder.names(), before, "{line}");
        assert_eq!(fails("inspect", &[&shard(1)]), line);
        line
    };
    assert_eq!(
        fails("merge", &[&shard(2), &out]),
        format!("'{}': this is shard 2 of 5 (its key 'split.no' is 1); open the first", shard(2))
    );
    fs::copy(shard(2), shard(4)).unwrap();
    assert_eq!(merge_fails(), format!("'{}': key 'split.no' is 1, and must be 3", shard(4)));
    fs::remove_file(shard(4)).unwrap();
    fs::remove_file(shard(5)).unwrap();
    assert_eq!(merge_fails(), format!("'{}': the shard is missing; others missing: 5", shard(4)));
    fs::write(shard(3), &fs::read(shard(2)).unwrap()[..300]).unwrap();
    let line = merge_fails();
    assert!(line.starts_with(&format!("'{}': byte ", shard(3))), "{line}");
}

#[test]
fn arguments_of_split_are_checked() {
    let folder = Folder::new();
    let input = folder.file("in.gguf", whole());
    let prefix = folder.path("m");
    let line = fails("split", &[&input, &prefix]);
    assert!(line.contains("--max-size <SIZE>") && line.contains("--max-tensors <N>"), "{line}");
    let line = fails("split", &[&input, &prefix, "--max-size", "1M", "--max-tensors", "1"]);
    assert!(line.contains("cannot be used with"), "{line}");
    for size in ["0", "0M", "M", "", "-1", "+1", "1.M", "1XB", "99999999999999999999", "99999999999G"] {
        let line = fails("split", &[&input, &prefix, &format!("--max-size={size}")]);
        assert!(line.contains("a size is a number above 0"), "{size}: {line}");
    }
    assert!(fails("split", &[&input, &prefix, "--max-tensors", "0"]).contains("--max-tensors"));
    for folder in ["", "/", "..", &folder.path("")] {
        let line = fails("split", &[&input, folder, "--max-tensors", "1"]);
        assert!(line.contains("must end with the start of a name") || line.contains("<PREFIX>"), "{line}");
    }
    let missing = folder.path("no-such.gguf");
    let line = fails("split", &[&missing, &prefix, "--max-tensors", "1"]);
    assert_eq!(line.matches("no-such.gguf").count(), 1, "{line}");
    let line = fails("split", &[&input, &folder.path("no such/m"), "--max-tensors", "1"]);
    assert!(line.contains("no such/m-00001-of-00010.gguf") && line.contains("there is no folder"), "{line}");
    assert_eq!(names(&folder), ["in.gguf"]);
}

#[test]
fn a_shard_that_cannot_be_written_leaves_none() {
    let folder = Folder::new();
    let input = folder.file("in.gguf", whole());
    // The third cannot be replaced.
    fs::create_dir(folder.path("m-00003-of-00005.gguf")).unwrap();
    let old = folder.file("m-00001-of-00005.gguf", "what was there");
    let before = folder.names();
    let line = fails("split", &[&input, &folder.path("m"), "--max-tensors", "2"]);
    assert!(line.contains("m-00003-of-00005.gguf"), "{line}");
    assert_eq!(folder.names(), before);
    assert_eq!(fs::read(old).unwrap(), b"what was there");
}

/// Neither the files being read nor those waiting to be renamed are all open at once.
#[cfg(unix)]
#[test]
fn there_may_be_more_shards_than_open_files() {
    let folder = Folder::new();
    let names: Vec<_> = (0..300).map(|i| format!("t{i}")).collect();
    let tensors: Vec<_> =
        names.iter().map(|name| (name.as_str(), &[32u64][..], GgmlType::I8, &[7u8; 32][..])).collect();
    let file = model(gguf_codec::ByteOrder::Little, &tensors);
    let input = folder.file("in.gguf", &file);
    let run = |name: &str, args: &str| {
        let program = gguf(name);
        let script =
            format!("ulimit -n 200; exec '{}' {name} {args}", program.get_program().to_str().unwrap());
        let mut command = Command::new("sh");
        command.args(["-c", &script]);
        let output = finish(command);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let (prefix, out) = (folder.path("m"), folder.path("out.gguf"));
    run("split", &format!("'{input}' '{prefix}' --max-tensors 1"));
    run("merge", &format!("'{prefix}-00001-of-00300.gguf' '{out}'"));
    assert!(fs::read(out).unwrap() == file);
}

/// A file must not grow past a limit, as on a full disk.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_no_shard() {
    let folder = Folder::new();
    let raw = Raw::new(LITTLE, 2, 0).tensor("a", &[1 << 20], 24, 0).tensor("b", &[1 << 22], 24, 1 << 20);
    let input = sparse(&folder, "sparse.gguf", raw, (1 << 22) + (1 << 20));
    let before = folder.names();
    let program = gguf("split");
    // In units of 512 or 1024 bytes, depending on the shell: the first shard fits and the second does not. An ignored signal
    // leaves the error.
    let script = format!(
        "trap '' XFSZ; ulimit -f 3000; exec '{}' split '{input}' '{}' --max-tensors 1",
        program.get_program().to_str().unwrap(),
        folder.path("m")
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]);
    let output = finish(command);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), errors.lines().count()), (Some(1), 1), "{errors}");
    assert!(errors.contains("m-00002-of-00002.gguf"), "{errors}");
    assert_eq!(folder.names(), before);
}

/// Every tool that takes a model takes all of it when given its first shard.
#[test]
fn a_set_is_read_as_a_whole() {
    let folder = Folder::new();
    let input = folder.file("in.gguf", whole());
    works("split", &[&input, &folder.path("m"), "--max-tensors", "4"]);
    let shard = |number: u16| folder.path(&format!("m-{number:05}-of-00003.gguf"));
    let (out, of_set) = (folder.path("out.gguf"), folder.path("of_set.gguf"));
    works("convert", &[&input, &out, "--type", "F16"]);
    works("convert", &[&shard(1), &of_set, "--type", "F16"]);
    assert!(fs::read(&out).unwrap() == fs::read(&of_set).unwrap());
    let same = "0 keys different, 3 the same\n0 tensors different, 10 the same\n";
    assert_eq!(works("diff", &[&input, &shard(1), "--exit-code"]), same);
    assert_eq!(works("diff", &[&shard(1), &input, "--exit-code"]), same);

    // No shard of it is overwritten; and one tensor's bytes in another shard are a difference.
    for tool in [&["convert", "--type", "F16"][..], &["quantize", "--recipe", "Q8_0"]] {
        let (first, second) = (shard(1), shard(2));
        let line = fails(tool[0], &[&tool[1..], &[first.as_str(), &second]].concat());
        assert_eq!(line, format!("'{second}' is the input '{second}', and no input is overwritten"));
    }
    let mut second = fs::read(shard(2)).unwrap();
    let at = second.len() - 40;
    second[at] ^= 1;
    fs::write(shard(2), second).unwrap();
    let mut command = gguf("diff");
    command.args([&input, &shard(1), "--exit-code"]);
    let output = finish(command);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stdout).unwrap().contains("1 tensor different, 9 the same"));
}

#[test]
fn a_shard_is_edited_under_a_name_that_its_set_is_found_by() {
    let folder = Folder::new();
    let input = folder.file("in.gguf", whole());
    works("split", &[&input, &folder.path("m"), "--max-tensors", "4"]);
    let first = folder.path("m-00001-of-00003.gguf");
    let before = folder.names();
    for name in ["out.gguf", "m-00002-of-00003.gguf", "m-00001-of-00004.gguf"] {
        let line = fails("edit", &[&first, &folder.path(name), "--set", "general.name=x"]);
        assert!(line.contains("is shard 1 of 3, and '") && line.contains("not named like it"), "{line}");
    }
    assert_eq!(folder.names(), before);
    works("edit", &[&first, &folder.path("other-00001-of-00003.gguf"), "--set", "general.name=x"]);
    works("edit", &[&first, "--in-place", "--set", "general.name=x"]);
    let line = fails("edit", &[&first, "--in-place", "--remove-tensor", "blk.0.weight"]);
    assert!(line.contains("shard 1 of 3, which counts its set's tensors"), "{line}");
    let whole = folder.path("whole.gguf");
    works("edit", &[&input, &whole, "--remove-tensor", "blk.0.weight"]);
    assert!(works("inspect", &[&whole]).contains("\ntensors (9)\n"));
    assert!(works("inspect", &[&first, "--key", "general.name"]).contains('x'));
    for change in [
        ["--remove", "split.count"],
        ["--set", "split.no=1"],
        ["--rename-key", "split.count=x"],
        ["--retype", "split.no=u32"],
    ] {
        let line = fails("edit", &[&[first.as_str(), "--in-place"], &change[..]].concat());
        assert!(line.contains("says which set the file belongs to, shard 1 of 3"), "{line}");
    }
}

#[test]
fn shards_are_removed_once_they_are_merged() {
    let folder = Folder::new();
    let (prefix, out) = (folder.path("m"), folder.path("out.gguf"));
    works("split", &[SAMPLE, &prefix, "--max-tensors", "7"]);
    let first = folder.path("m-00001-of-00003.gguf");
    fs::write(&out, "old").unwrap();
    let line = is_refused("merge", &[&first, &out, "--consume"]);
    assert!(line.contains("--force replaces it") && folder.names().len() == 4, "{line}");
    let text = works("merge", &[&first, &out, "--consume"]);
    assert!(
        text.contains("out.gguf: 20 tensors of 3 shards") && text.ends_with("; the shards are removed\n"),
        "{text}"
    );
    assert_eq!(fs::read(&out).unwrap(), fs::read(SAMPLE).unwrap());
    assert_eq!(folder.names().len(), 1, "{:?}", folder.names());
}
