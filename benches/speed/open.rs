//! Opening files with large vocabularies, compared with ggml.

use std::path::{Path, PathBuf};

use gguf_codec::{Array, GgmlType, Gguf, Value, Writer};

use crate::ggml::Ggml;
use crate::timing::{Table, measure};

/// A header like Gemma's: tokens, scores and types of a large vocabulary.
fn write_vocabulary(path: &Path, tokens: u32) -> gguf_codec::Result<()> {
    let mut writer = Writer::create(path)?;
    let names =
        (0..tokens).map(|i| format!("▁{}{i:x}", ["to", "ken", "izer", ""][i as usize % 4]).into_bytes());
    writer.set_metadata("general.architecture", "llama")?;
    writer.set_metadata("tokenizer.ggml.tokens", Value::Array(Array::String(names.collect())))?;
    writer.set_metadata("tokenizer.ggml.scores", (0..tokens).map(|i| -(i as f32)).collect::<Vec<f32>>())?;
    writer.set_metadata("tokenizer.ggml.token_type", vec![1i32; tokens as usize])?;
    for layer in 0..500 {
        writer.declare_tensor(&format!("blk.{layer}.attn_norm.weight"), &[8], GgmlType::F32)?;
    }
    let mut data = writer.write_header()?;
    for layer in 0..500 {
        data.write_tensor(&format!("blk.{layer}.attn_norm.weight"), &[0; 32])?;
    }
    data.finish()
}

/// The files to open: two that are written into `folder`, and SmolLM2 if it is present.
pub(crate) fn files(folder: &Path) -> Vec<(String, PathBuf)> {
    let mut files = Vec::new();
    for tokens in [49_152, 262_144] {
        let path = folder.join(format!("{tokens}.gguf"));
        write_vocabulary(&path, tokens).expect("the file can be written");
        files.push((format!("{tokens} tokens"), path));
    }
    if let Some(path) = std::env::var_os("GGUF_CODEC_SMOLLM2") {
        files.push(("SmolLM2".into(), path.into()));
    }
    files
}

pub(crate) fn run(ggml: Option<&Ggml>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut table = Table::new("open a file, page cache warm", &["", "ms", "x ggml"]);
    for (name, path) in files(folder.path()) {
        let mut jobs: Vec<Box<dyn FnMut() + '_>> = vec![
            Box::new(|| drop(std::hint::black_box(Gguf::open(&path).expect("it opens")))),
            // SAFETY: nothing changes the file, which this program has made or was given to measure.
            Box::new(|| drop(std::hint::black_box(unsafe { Gguf::map(&path) }.expect("it opens")))),
            Box::new(|| {
                let file = std::fs::File::open(&path).expect("it opens");
                drop(std::hint::black_box(Gguf::read_header(file).expect("it parses")));
            }),
        ];
        if let Some(ggml) = ggml {
            jobs.push(Box::new(|| ggml.open(&path)));
        }
        let seconds = measure(&mut jobs, 3);
        for (what, &time) in
            ["Gguf::open", "Gguf::map", "Gguf::read_header", "ggml gguf_init_from_file"].iter().zip(&seconds)
        {
            let ratio = seconds.get(3).map_or("-".into(), |ggml| format!("{:.1}", ggml / time));
            table.row(&[format!("{name}: {what}"), format!("{:.3}", 1e3 * time), ratio]);
        }
    }
    table.print();
    if let Some(path) = std::env::var_os("GGUF_CODEC_SMOLLM2") {
        ways(Path::new(&path));
    }
}

/// Opening a model and going through its values, in each of the three ways.
fn ways(path: &Path) {
    let open = || Gguf::open(path).expect("it opens");
    // SAFETY: nothing changes the file, which was given to be measured.
    let map = || unsafe { Gguf::map(path) }.expect("it opens");
    let read = || Gguf::read(path).expect("it opens");
    let mut jobs: [Box<dyn FnMut() + '_>; 9] = [
        Box::new(|| drop(open())),
        Box::new(|| drop(map())),
        Box::new(|| drop(read())),
        Box::new(|| all_values(&open())),
        Box::new(|| all_values(&map())),
        Box::new(|| all_values(&read())),
        Box::new(|| some_rows(&open())),
        Box::new(|| some_rows(&map())),
        Box::new(|| some_rows(&read())),
    ];
    let seconds = measure(&mut jobs, 3);
    let mut table = Table::new("SmolLM2, ms", &["", "open", "map", "read"]);
    for (what, seconds) in
        ["open", "open, all values once", "open, 10,000 rows"].iter().zip(seconds.chunks(3))
    {
        let [open, map, read] = [0, 1, 2].map(|way| format!("{:.2}", 1e3 * seconds[way]));
        table.row(&[(*what).to_owned(), open, map, read]);
    }
    table.print();
}

fn all_values<B: AsRef<[u8]>>(model: &Gguf<B>) {
    let mut values = Vec::new();
    for info in model.tensors() {
        let tensor = info.tensor().expect("its data is there");
        values.resize(tensor.len(), 0.0f32);
        tensor.dequantize_into(&mut values).expect("it is read");
        std::hint::black_box(&values);
    }
}

fn some_rows<B: AsRef<[u8]>>(model: &Gguf<B>) {
    let tensor = model.tensor("token_embd.weight").expect("a model has embeddings");
    let mut row = vec![0.0f32; tensor.row_len()];
    for index in 0..10_000 {
        let at = index * 7919 % tensor.row_count();
        tensor.rows_into(at..at + 1, &mut row).expect("it is read");
        std::hint::black_box(&row);
    }
}
