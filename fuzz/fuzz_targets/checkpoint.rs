//! A configuration, an empty line and a safetensors file: a checkpoint quantized by another program. Nothing panics, and an accepted
//! checkpoint becomes a GGUF that can be read, with its codes kept and with its values computed, and then a checkpoint again.
#![no_main]

use gguf_codec::model::Convert;
use gguf_codec::model::hf::{Description, Export, Import};
use gguf_codec::safetensors::{self, Checkpoint};
use gguf_codec::{GgmlType, Gguf, ReadAt};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(at) = data.windows(2).position(|pair| pair == b"\n\n") else { return };
    let (config, file) = (&data[..at], &data[at + 2..]);
    let Ok(description) = Description::from_config(&String::from_utf8_lossy(config)) else { return };
    let source: Box<dyn ReadAt> = Box::new(file.to_vec());
    let Ok(files) = Checkpoint::of([("fuzz".to_owned(), source, file.len() as u64)]) else { return };
    for ty in [None, Some(GgmlType::F32)] {
        let import = Import::new(&files, &description);
        let Ok(plan) = (match ty {
            Some(ty) => import.ggml_type(ty),
            None => import,
        })
        .plan() else {
            return;
        };
        let mut writer = gguf_codec::Writer::new(Vec::new());
        if plan.declare(&mut writer).is_err() {
            return;
        }
        let Ok(mut data) = writer.write_header() else { return };
        let jobs = plan.jobs().unwrap();
        if Convert::new().run(&jobs, &mut data).is_err() {
            return;
        }
        let gguf = data.finish().unwrap();
        let model = Gguf::parse(&gguf).unwrap();
        assert_eq!(model.tensor_count(), jobs.len());
        let Ok(plan) = Export::new(&model, &gguf).compressed_tensors(true).plan() else { return };
        for shard in plan.shards(None) {
            let mut writer = safetensors::Writer::new(Vec::new());
            if plan.declare(&shard, &mut writer).is_err() {
                return;
            }
            let mut data = writer.write_header().unwrap();
            let jobs = plan.jobs(&shard).unwrap();
            if Convert::new().run(&jobs, &mut data).is_ok() {
                data.finish().unwrap();
            }
        }
    }
});
