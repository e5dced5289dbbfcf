//! `hash`: hashes of the tensors' data only, in the format of llama.cpp's `gguf-hash`, and detected changes.

use gguf_codec::Gguf;
use sha2::{Digest, Sha256};

use crate::support::*;

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn each_tensor_and_all_data_are_hashed() {
    let file = std::fs::read(SAMPLE).unwrap();
    let model = Gguf::parse(&file).unwrap();
    let (mut wanted, mut all) = (String::new(), Vec::new());
    for tensor in model.tensors() {
        let bytes = tensor.tensor().unwrap().bytes().unwrap();
        wanted += &format!("sha256    {}  {SAMPLE}:{}\n", sha256(bytes), tensor.name());
        all.extend(bytes);
    }
    let last = format!("sha256    {}  {SAMPLE}\n", sha256(&all));
    assert_eq!(works("hash", &[SAMPLE]), wanted + &last);
    assert_eq!(works("hash", &[SAMPLE, "--no-layer"]), last);
    let json: serde_json::Value = serde_json::from_str(&works("hash", &[SAMPLE, "--json"])).unwrap();
    assert_eq!(json["hashes"]["sha256"]["all"], sha256(&all));
    assert_eq!(json["hashes"]["sha256"]["tensors"].as_object().unwrap().len(), 20);
    // With several kinds, each tensor has one line for each kind.
    let text = works("hash", &[SAMPLE, "--sha256", "--xxh64", "--sha1"]);
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines: Vec<_> = text.lines().map(words).collect();
    assert_eq!(lines.len(), 3 * 21);
    for three in lines.chunks(3) {
        assert_eq!([&three[0][0], &three[1][0], &three[2][0]], ["xxh64", "sha1", "sha256"]);
        assert_eq!([three[0][1].len(), three[1][1].len(), three[2][1].len()], [16, 40, 64]);
        assert!(three[0][2] == three[1][2] && three[1][2] == three[2][2]);
    }
    assert!(text.starts_with("xxh64     ") && text.contains("\nsha1      "), "{text}");
}

#[test]
fn what_differs_from_a_manifest_is_named() {
    let folder = Folder::new();
    let manifest = folder.file("sums", works("hash", &[SAMPLE, "--sha256", "--xxh3"]));
    let (edited, shard) = (folder.path("edited.gguf"), folder.path("s"));
    works("edit", &[SAMPLE, &edited, "--set", "general.name=Other"]);
    works("split", &[SAMPLE, &shard, "--max-tensors", "7"]);
    for same in [&edited, &format!("{shard}-00001-of-00003.gguf")] {
        assert!(
            works("hash", &[same, "--check", &manifest]).ends_with("20 tensors and all data are the same\n")
        );
    }
    let mut bytes = std::fs::read(SAMPLE).unwrap();
    let at = Gguf::parse(&bytes).unwrap().tensor_info("blk.1.ffn_up.weight").unwrap().file_offset() as usize;
    bytes[at + 5] ^= 1;
    let other = folder.file("other.gguf", bytes);
    let output = finish(forced("hash", &[&other, "--check", &manifest]));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "differs: blk.1.ffn_up.weight\ndiffers: the data as a whole\n"
    );
    let fewer = folder.path("fewer.gguf");
    works("edit", &[SAMPLE, &fewer, "--remove-tensor", "output_norm.weight"]);
    let output = finish(forced("hash", &[&fewer, "--check", &manifest]));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.code() == Some(1) && text.contains("output_norm.weight (not in the file)"),
        "{text}"
    );
    let empty = folder.file("empty", "nothing\n");
    assert!(
        fails("hash", &[SAMPLE, "--check", &empty])
            .contains("no line with a hash of a kind that is known: xxh64, xxh3, sha1, sha256")
    );
}
