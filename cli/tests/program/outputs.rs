//! An output never overwrites an input, and replaces another file only with --force.

use std::fs;

use gguf_codec::model::Imatrix;
use gguf_codec::{ByteOrder, GgmlType, Writer};

use crate::support::*;

/// A model of four tensors that every tool accepts.
fn whole() -> Vec<u8> {
    let bytes = floats(&wave(64 * 4));
    let names = ["a.weight", "b.weight", "c.weight", "d.weight"];
    model(ByteOrder::Little, &names.map(|name| (name, &[64, 4][..], GgmlType::F32, &bytes[..])))
}

fn imatrix() -> Vec<u8> {
    let mut imatrix = Imatrix::new();
    imatrix.add("a.weight", wave(64).iter().map(|x| x * x).collect(), vec![3.0], None).unwrap();
    imatrix.write(Writer::new(Vec::new())).unwrap()
}

/// A run with the names of files in a folder; arguments that name files begin with `/`.
fn named(folder: &Folder, args: &str) -> Vec<String> {
    let at = |word: &str| match word.split_once('/') {
        Some((before, name)) if before.is_empty() || before.ends_with(':') => {
            before.to_owned() + &folder.path(name)
        }
        _ => word.to_owned(),
    };
    args.split(' ').map(at).collect()
}

/// Runs a tool that must fail, with and without --force, and leave every file unchanged.
fn is_never_done(folder: &Folder, run: &str) {
    let before: Vec<_> = folder.names().into_iter().map(|path| (fs::read(&path).ok(), path)).collect();
    let (tool, args) = run.split_once(' ').unwrap();
    let args = named(folder, args);
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    for line in [is_refused(tool, &args), fails(tool, &args)] {
        assert!(line.contains("no input is overwritten"), "{run}: {line}");
    }
    let after: Vec<_> = folder.names().into_iter().map(|path| (fs::read(&path).ok(), path)).collect();
    assert!(before == after, "{run} changed something");
}

/// A folder with a model, the same model in two shards, and an importance matrix.
fn inputs() -> Folder {
    let folder = Folder::new();
    let input = folder.file("in.gguf", whole());
    works("split", &[&input, &folder.path("m"), "--max-tensors", "2"]);
    folder.file("imatrix.gguf", imatrix());
    folder
}

#[test]
fn no_input_is_an_output() {
    let folder = inputs();
    for run in [
        // In the second line, OUT was forgotten after a pattern that matches both shards.
        "merge /m-00001-of-00002.gguf /m-00001-of-00002.gguf",
        "merge /m-00001-of-00002.gguf /m-00002-of-00002.gguf",
        "split /m-00001-of-00002.gguf /m --max-tensors 3",
        "convert /in.gguf /in.gguf --type F16",
        "convert /m-00001-of-00002.gguf /m-00002-of-00002.gguf --type F16",
        "quantize /in.gguf /in.gguf --recipe Q8_0",
        "quantize /in.gguf /imatrix.gguf --recipe Q8_0 --imatrix /imatrix.gguf",
        "edit /in.gguf /in.gguf --remove-tensor a.weight",
        "edit /in.gguf /imatrix.gguf --add-file k=str:/imatrix.gguf",
        "formats /in.gguf --svg /in.gguf",
        "imatrix /imatrix.gguf /imatrix.gguf",
        "report /in.gguf -o /in.gguf",
        "report /in.gguf -o /m-00002-of-00002.gguf --against /m-00001-of-00002.gguf",
    ] {
        is_never_done(&folder, run);
    }
}

#[cfg(unix)]
#[test]
fn an_input_is_known_by_every_name() {
    use std::os::unix::fs::symlink;
    let folder = inputs();
    let second = folder.path("m-00002-of-00002.gguf");
    symlink("m-00002-of-00002.gguf", folder.path("link.gguf")).unwrap();
    symlink("link.gguf", folder.path("link-to-link.gguf")).unwrap();
    fs::hard_link(&second, folder.path("hard.gguf")).unwrap();
    fs::create_dir(folder.path("sub")).unwrap();
    symlink("..", folder.path("sub/up")).unwrap();
    for output in [
        "link.gguf",
        "link-to-link.gguf",
        "hard.gguf",
        "sub/../m-00002-of-00002.gguf",
        "sub/up/m-00001-of-00002.gguf",
    ] {
        is_never_done(&folder, &format!("merge /m-00001-of-00002.gguf /{output}"));
        is_never_done(&folder, &format!("convert /m-00001-of-00002.gguf /{output} --type F16"));
        is_never_done(&folder, &format!("report /m-00001-of-00002.gguf -o /{output}"));
    }
}

#[test]
fn nothing_of_a_checkpoint_is_an_output() {
    let folder = Folder::new();
    let input = folder.file("in.gguf", whole());
    works("to-safetensors", &[&input, &folder.path("d"), "--max-size", "1K"]);
    fs::write(folder.path("d/config.json"), "{}").unwrap();
    // One piece, "<unk>", of the kind for unknown tokens.
    fs::write(folder.path("d/tokenizer.model"), b"\n\x0e\n\x05<unk>\x15\0\0\0\0\x18\x02").unwrap();
    fs::write(folder.path("d/names"), "").unwrap();
    let first = fs::read_dir(folder.path("d")).unwrap().map(|entry| entry.unwrap().file_name());
    let first =
        first.map(|name| name.into_string().unwrap()).find(|name| name.contains("-00001-of-")).unwrap();
    for output in [first.as_str(), "model.safetensors.index.json", "config.json", "tokenizer.model"] {
        is_never_done(&folder, &format!("from-safetensors /d /d/{output}"));
        is_never_done(&folder, &format!("from-safetensors /d/model.safetensors.index.json /d/{output}"));
    }
    is_never_done(&folder, "from-safetensors /d /d/names --names /d/names");
    // A model next to its source may be written, and written again.
    works("from-safetensors", &[&folder.path("d"), &folder.path("d/out.gguf")]);
    works("from-safetensors", &[&folder.path("d"), &folder.path("d/out.gguf")]);
    let names = folder.file("names.safetensors", "");
    let (input, names) = (input.as_str(), names.as_str());
    let line = fails("to-safetensors", &[input, names, "--names", names]);
    assert!(line.contains("no input is overwritten"), "{line}");
}

#[test]
fn what_exists_is_replaced_with_force_alone() {
    let folder = inputs();
    folder.file("old.gguf", "old");
    folder.file("old-00002-of-00002.gguf", "old");
    folder.file("old.html", "old");
    folder.file("old.safetensors", "old");
    let mut runs = vec![
        ("convert /in.gguf /old.gguf --type F16", "old.gguf"),
        ("quantize /in.gguf /old.gguf --recipe Q8_0", "old.gguf"),
        ("merge /m-00001-of-00002.gguf /old.gguf", "old.gguf"),
        ("split /in.gguf /old --max-tensors 2", "old-00002-of-00002.gguf"),
        ("edit /in.gguf /old.gguf --remove-tensor a.weight", "old.gguf"),
        ("imatrix /imatrix.gguf /old.gguf", "old.gguf"),
        ("report /in.gguf -o /old.html", "old.html"),
    ];
    runs.push(("to-safetensors /in.gguf /old.safetensors", "old.safetensors"));
    for (run, output) in runs {
        let before = folder.names();
        fs::write(folder.path(output), "old").unwrap();
        let (tool, args) = run.split_once(' ').unwrap();
        let args = named(&folder, args);
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        let line = is_refused(tool, &args);
        assert_eq!(line, format!("'{}' exists (--force replaces it)", folder.path(output)), "{run}");
        assert_eq!(folder.names(), before, "{run}");
        assert_eq!(fs::read(folder.path(output)).unwrap(), b"old", "{run}");
        works(tool, &args);
        assert!(fs::read(folder.path(output)).unwrap() != b"old", "{run}");
    }
}

/// As in a cache, where links lead to files that are named after their contents.
#[cfg(unix)]
#[test]
fn a_link_is_replaced_and_what_it_leads_to_stays() {
    use std::os::unix::fs::symlink;
    let folder = inputs();
    let blob = folder.file("blob", whole());
    let link = folder.path("link.gguf");
    symlink("blob", &link).unwrap();
    let args = [&folder.path("in.gguf"), &link, "--type", "F16"];
    let line = is_refused("convert", &args);
    let wanted = format!("'{link}' is a symbolic link, which leads to '{blob}' (--force replaces the link)");
    assert_eq!(line, wanted);
    works("convert", &args);
    assert!(!fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::read(&blob).unwrap() == whole());

    // An edit in place creates no other file.
    fs::remove_file(&link).unwrap();
    symlink("blob", &link).unwrap();
    let args = [link.as_str(), "--in-place", "--remove-tensor", "a.weight"];
    let line = is_refused("edit", &args);
    let wanted = format!(
        "'{link}' is a symbolic link, which leads to '{blob}' (--force changes the file that it leads to)"
    );
    assert_eq!(line, wanted);
    assert!(fs::read(&blob).unwrap() == whole());
    works("edit", &args);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::read(&blob).unwrap() != whole());
    // A dangling link is not followed either.
    let dangling = folder.path("dangling.gguf");
    symlink("elsewhere", &dangling).unwrap();
    let line = is_refused("convert", &[&folder.path("in.gguf"), &dangling, "--type", "F16"]);
    assert!(line.contains("is a symbolic link, which leads to"), "{line}");
    works("convert", &[&folder.path("in.gguf"), &dangling, "--type", "F16"]);
    assert!(!fs::exists(folder.path("elsewhere")).unwrap());
}
