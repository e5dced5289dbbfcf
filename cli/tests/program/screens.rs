//! The exact output of commands, in at most 80 columns where possible. The tests of `inspect` cover its output at several widths.

use std::fs;

use crate::support::*;

/// If this variable is set, the actual output becomes the expected output.
const WRITE: &str = "GGUF_WRITE_SCREENS";

#[test]
fn what_commands_print_is_as_it_was() {
    let screens = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/program/screens");
    let folder = Folder::new();
    fs::copy(SAMPLE, folder.path("sample.gguf")).unwrap();
    for (name, width, line) in [
        ("tensor", 80, "inspect sample.gguf --tensor blk.0.attn_q.weight"),
        ("convert", usize::MAX, "convert sample.gguf out.gguf --type Q8_0 --allow-requantize --dry-run"),
        (
            "quantize",
            usize::MAX,
            "quantize sample.gguf out.gguf --recipe Q4_K_M --allow-requantize --dry-run",
        ),
        (
            "edit",
            80,
            "edit sample.gguf --set llama.context_length=4096 --add general.url=str:https://example.com --dry-run",
        ),
        ("split", 80, "split sample.gguf m --max-size 50k"),
        ("diff", usize::MAX, "diff sample.gguf sample.gguf"),
        ("hash", usize::MAX, "hash sample.gguf --no-layer --xxh64 --xxh3 --sha1 --sha256"),
    ] {
        let words: Vec<_> = line.split(' ').collect();
        let mut command = gguf(words[0]);
        command.args(&words[1..]).current_dir(folder.path("."));
        let output = finish(command);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        for printed in text.lines() {
            assert!(!printed.ends_with(' ') && printed.chars().count() <= width, "{line}: {printed:?}");
        }
        let path = format!("{screens}/{name}.txt");
        if std::env::var_os(WRITE).is_some() {
            fs::write(&path, &text).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
        assert!(text == expected, "{line} does not print '{path}' ({WRITE}=1 makes it so):\n{text}");
    }
}
