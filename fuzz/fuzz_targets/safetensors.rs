//! Any bytes, as a safetensors file, a header, an index, or the files that describe a model: nothing panics. An accepted file covers
//! its data, can be written again with the same content, and becomes a GGUF that can be read.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use gguf_codec::model::Convert;
use gguf_codec::model::hf::{Description, Import, NameMap};
use gguf_codec::safetensors::{Checkpoint, Dtype, SafeTensors, Writer};
use gguf_codec::{Gguf, ReadAt};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    whole(data);
    // Input that does not begin like JSON is refused at once, so it is not worth creating a file.
    if data.trim_ascii_start().starts_with(b"{") {
        index(data);
    }
    // As a header, with as much data as its tensors may need.
    let mut file = (data.len() as u64).to_le_bytes().to_vec();
    file.extend(data);
    for zeros in [0, 4, 64] {
        file.resize(8 + data.len() + zeros, 0);
        whole(&file);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = text.parse::<NameMap>().map(|map| (map.to_gguf("a.0.b"), map.to_hf("a.0.b")));
        // A configuration and a tokenizer, with a line between them.
        let (config, tokenizer) = text.split_once("\n\n").unwrap_or((text, "{}"));
        let description =
            Description::from_config(config).and_then(|description| description.with_tokenizer(tokenizer));
        let description = description.and_then(|description| description.with_tokenizer_config(config));
        if let Ok(description) = description {
            become_gguf(&llama(), &description);
        }
    }
});

/// As the index of a model whose tensors are all in the one file next to it. An index can be opened only by its path.
fn index(data: &[u8]) {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("gguf-codec-fuzz-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("part.safetensors"), llama()).unwrap();
        folder
    });
    let path = folder.join("model.safetensors.index.json");
    fs::write(&path, data).unwrap();
    if let Ok(model) = Checkpoint::open(&path) {
        assert_eq!((model.file_count(), model.tensors().count()), (1, 3));
        assert!(model.tensor("model.norm.weight").is_some());
    }
}

fn whole(file: &[u8]) {
    let header = match SafeTensors::parse(file) {
        Ok(header) => header,
        Err(error) => {
            assert!(
                error.to_string().len() < 2000 && error.offset().is_none_or(|at| at <= file.len() as u64),
                "{error}"
            );
            return;
        }
    };
    let mut writer = Writer::new(Vec::new());
    for (key, value) in header.metadata() {
        writer.set_metadata(key, value);
    }
    let mut end = header.tensors().next().map_or(file.len() as u64, |tensor| tensor.file_offset());
    for tensor in header.tensors() {
        assert_eq!(tensor.file_offset(), end);
        assert_eq!(header.tensor(tensor.name()).unwrap().file_offset(), end);
        end += tensor.byte_len();
        writer.declare_tensor(tensor.name(), tensor.shape(), tensor.dtype()).unwrap();
    }
    assert_eq!(end, file.len() as u64);
    let mut data = writer.write_header().unwrap();
    for tensor in header.tensors() {
        let start = tensor.file_offset() as usize;
        data.write_tensor(tensor.name(), &file[start..start + tensor.byte_len() as usize]).unwrap();
    }
    let again = data.finish().unwrap();
    let again = SafeTensors::parse(&again).unwrap();
    assert!(again.metadata().eq(header.metadata()));
    let content = |header: &SafeTensors| {
        let tensor = |tensor: gguf_codec::safetensors::TensorInfo<'_>| {
            (tensor.name().to_owned(), tensor.dtype(), tensor.shape().to_vec())
        };
        header.tensors().map(tensor).collect::<Vec<_>>()
    };
    assert_eq!(content(&again), content(&header));
    become_gguf(file, &Description::default());
}

/// Three tensors that fit the description of a small Llama.
fn llama() -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for name in ["model.layers.0.self_attn.q_proj.weight", "model.norm.weight", "embeddings.LayerNorm.gamma"]
    {
        writer.declare_tensor(name, &[8], Dtype::F16).unwrap();
    }
    let mut data = writer.write_header().unwrap();
    for name in ["model.layers.0.self_attn.q_proj.weight", "model.norm.weight", "embeddings.LayerNorm.gamma"]
    {
        data.write_tensor(name, &[0; 16]).unwrap();
    }
    data.finish().unwrap()
}

fn become_gguf(file: &[u8], description: &Description) {
    let source: Box<dyn ReadAt> = Box::new(file.to_vec());
    let files = Checkpoint::of([("fuzz".to_owned(), source, file.len() as u64)]).unwrap();
    let Ok(plan) = Import::new(&files, description).names(|_| None).plan() else { return };
    let mut writer = gguf_codec::Writer::new(Vec::new());
    // Names may be too long for GGUF, or the metadata may have an invalid alignment.
    if plan.declare(&mut writer).is_err() {
        return;
    }
    let Ok(mut data) = writer.write_header() else { return };
    let converted = Convert::new().run(&plan.jobs().unwrap(), &mut data);
    // The scales of quantized weights are checked when they are read.
    if converted.is_err() && !plan.carried_weights().is_empty() {
        return;
    }
    converted.unwrap();
    let gguf = data.finish().unwrap();
    assert_eq!(Gguf::parse(&gguf).unwrap().tensor_count(), plan.jobs().unwrap().len());
}
