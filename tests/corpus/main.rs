//! A corpus of files on both sides of each rule's boundary, made anew by each run in every version and byte order, and
//! what comes of each: `manifest.tsv`. To write that anew after a change of cases or messages, and read the difference:
//!
//!     GGUF_CODEC_WRITE_MANIFEST=1 cargo test --test corpus && git diff tests/corpus/manifest.tsv
//!
//! `GGUF_CODEC_WRITE_CORPUS=FOLDER` writes the files, for other readers.

#![cfg(feature = "codecs")]

#[cfg(not(target_family = "wasm"))]
mod beside_ggml;
mod cases;
#[path = "../common/mod.rs"]
mod common;
mod llama_cpp;
mod metadata;
mod start;
mod tensors;

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;

use cases::{Case, Cases, Wanted};
use common::counting::{Counting, Work, measure};
use common::raw::{FORMATS, Raw, U8, agree};
use gguf_codec::{Error, Gguf, Limits};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn all(format: (u32, bool)) -> Vec<Case> {
    let mut cases = Cases { format, rule: "", list: Vec::new() };
    start::add(&mut cases);
    metadata::add(&mut cases);
    tensors::add(&mut cases);
    llama_cpp::add(&mut cases);
    cases.list
}

/// What comes of a case, or in which way it is not what its author wanted. Fails where ways to read differ.
fn outcome(case: &Case) -> Result<String, String> {
    let header = agree(&case.bytes, case.limits);
    let error = match Gguf::options().limits(case.limits).parse(&case.bytes) {
        Ok(gguf) => {
            let counts = format!("ok: {} keys, {} tensors", gguf.metadata().len(), gguf.tensor_count());
            return if case.wanted == Wanted::Ok { Ok(counts) } else { Err(counts) };
        }
        Err(error) => error,
    };
    let kind = match &error {
        Error::Malformed { problem, .. } => {
            let debug = format!("{problem:?}");
            debug.split([' ', '{']).next().unwrap_or_default().to_owned()
        }
        Error::Limit { .. } => "Limit".to_owned(),
        Error::OutOfMemory { .. } => "OutOfMemory".to_owned(),
        other => panic!("{other}"),
    };
    let alone = if header.is_ok() { ", but for its header alone" } else { "" };
    // Cut where names are long: the kind and the first words tell.
    let outcome: String = format!("{kind}{alone}: {error}").chars().take(160).collect();
    let wanted = match case.wanted {
        Wanted::Ok => false,
        Wanted::Limit => matches!(error, Error::Limit { .. }) && header.is_err(),
        Wanted::Bad(wanted) => kind == wanted && header.is_err(),
        Wanted::BadData(wanted) => kind == wanted && header.is_ok(),
    };
    let within = error.offset().is_some_and(|offset| offset <= case.bytes.len() as u64);
    if wanted && within { Ok(outcome) } else { Err(outcome) }
}

#[test]
fn what_comes_of_each_file_is_in_the_manifest() {
    // By name, and there by version: byte orders must not differ, nor versions 2 and 3.
    let mut outcomes: BTreeMap<String, [Option<String>; 2]> = BTreeMap::new();
    let (mut files, mut wrong) = (0, Vec::new());
    for format in FORMATS {
        let mut names = HashSet::new();
        for case in all(format) {
            assert!(names.insert(case.name.clone()), "{} is there twice", case.name);
            files += 1;
            let outcome = outcome(&case).unwrap_or_else(|outcome| {
                wrong.push(format!(
                    "{} in {format:?} is to be {:?}, and is {outcome}",
                    case.name, case.wanted
                ));
                outcome
            });
            let known = &mut outcomes.entry(case.name.clone()).or_default()[usize::from(format.0 > 1)];
            match known {
                None => *known = Some(outcome),
                Some(known) if *known == outcome => {}
                Some(known) => {
                    wrong.push(format!("{} in {format:?}: {outcome}, elsewhere {known}", case.name))
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {files}:\n{}", wrong.len(), wrong.join("\n"));
    let mut manifest = String::from("# case\tversions\toutcome, the same in both byte orders\n");
    let mut line = |name: &str, versions: &str, outcome: &str| {
        writeln!(manifest, "{name}\t{versions}\t{outcome}").expect("a string takes all");
    };
    for (name, outcome) in &outcomes {
        match outcome {
            [Some(first), Some(later)] if first == later => line(name, "1-3", first),
            [first, later] => {
                first.iter().for_each(|first| line(name, "1", first));
                later.iter().for_each(|later| line(name, "2-3", later));
            }
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/manifest.tsv");
    if std::env::var_os("GGUF_CODEC_WRITE_MANIFEST").is_some() {
        std::fs::write(path, &manifest).unwrap();
    }
    let committed = include_str!("manifest.tsv");
    let differs = committed.lines().zip(manifest.lines()).find(|(committed, made)| committed != made);
    if let Some((committed, made)) = differs {
        panic!("the manifest says\n{committed}\nand it is\n{made}");
    }
    assert_eq!(committed.lines().count(), manifest.lines().count(), "cases were added or removed");
    println!("{files} files, {} cases", outcomes.len());
}

#[test]
fn no_file_takes_more_memory_than_ten_times_its_size() {
    for format in FORMATS {
        for case in all(format) {
            let mut options = Gguf::options();
            options.limits(case.limits);
            // The message of an error takes a little, also where the file is nothing.
            let most = 10 * case.bytes.len() + 256;
            let peak = measure(|| options.parse(&case.bytes).map(drop)).1.peak;
            #[cfg(feature = "std")]
            let peak = peak.max(measure(|| options.read_header(&case.bytes[..]).map(drop)).1.peak);
            assert!(peak < most, "{} in {format:?}: {peak} for {} bytes", case.name, case.bytes.len());
        }
    }
}

/// What opening a file takes: memory asked for, and bytes looked at by a reader that counts.
fn opening(raw: &Raw) -> Work {
    measure(|| Gguf::parse(&raw.bytes[..]).map(|gguf| gguf.tensor_count()).unwrap()).1
}

#[test]
fn many_keys_or_tensors_take_work_in_proportion() {
    // A name of 88 bytes for a key, so that 20,000 are 2 MB; a tensor's may have 64.
    let keys = |count: u64| {
        let start = Raw::new((3, false), 0, count);
        (0..count).fold(start, |raw, i| raw.key(format!("{i:088}"), U8).u8(0))
    };
    let tensors = |count: u64| {
        let start = Raw::new((3, false), count, 0);
        (0..count).fold(start, |raw, i| raw.tensor(format!("{i:064}"), &[0], 0, 0)).pad(32)
    };
    for (what, file) in [("keys", &keys as &dyn Fn(u64) -> Raw), ("tensors", &tensors)] {
        let raw = file(20_000);
        assert!(raw.bytes.len() > 1_900_000, "{} bytes", raw.bytes.len());
        let work = opening(&raw);
        println!("20,000 {what} in {} bytes: {work:?}", raw.bytes.len());
        // The list grows by half each time, and the index is made once.
        assert!(work.total < 3 * raw.bytes.len(), "{work:?}");
        assert!(work.requests < 64, "{work:?}");
        agree_in_a_few_pieces(&raw);
    }
}

/// All at once, and from a reader where there are any: pieces of a byte are for small files.
fn agree_in_a_few_pieces(raw: &Raw) {
    let parsed = Gguf::parse(&raw.bytes).unwrap();
    #[cfg(feature = "std")]
    let read = Gguf::read_header(&raw.bytes[..]).unwrap();
    #[cfg(not(feature = "std"))]
    let read = common::raw::header_of(raw.bytes.clone()).unwrap();
    assert_eq!(parsed.header_len(), read.header_len());
    assert!(parsed.metadata().iter().eq(read.metadata()));
    let names = |gguf: &Gguf<_>| gguf.tensors().map(|info| info.name().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&Gguf::parse(raw.bytes.clone()).unwrap()), names(&read));
}

#[test]
fn files_are_written_on_request() {
    let Some(folder) = std::env::var_os("GGUF_CODEC_WRITE_CORPUS") else { return };
    for format in FORMATS {
        let order = if format.1 { "be" } else { "le" };
        for case in all(format).into_iter().filter(|case| case.limits == Limits::default()) {
            let name = case.name.replace('/', "--").replace(|c: char| !c.is_ascii_graphic(), "_");
            let path = std::path::Path::new(&folder).join(format!("{name}.v{}.{order}.gguf", format.0));
            std::fs::write(path, case.bytes).unwrap();
        }
    }
}
