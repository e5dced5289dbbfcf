//! A GGUF that is converted to safetensors and back has the same metadata in the same order, and plain tensors with the same
//! bytes. Everything that is written can be read.
#![no_main]

use common::Rng;
use gguf_codec::model::hf::{Description, Export, Import};
use gguf_codec::model::{Convert, Job};
use gguf_codec::safetensors::{self, Checkpoint};
use gguf_codec::{Error, GgmlType, Gguf, ReadAt, Result, Sink, Writer};
use libfuzzer_sys::fuzz_target;

type File = (String, Box<dyn ReadAt>, u64);

fn exported(gguf: &Gguf<&[u8]>, bytes: &Vec<u8>, rng: &mut Rng) -> Result<Vec<File>> {
    let ty = [GgmlType::F32, GgmlType::F16, GgmlType::BF16][rng.below(3)];
    let plan = Export::new(gguf, bytes).ggml_type(ty).plan()?;
    let most = Some(rng.below(2000) as u64).filter(|&most| most > 0);
    let mut files = Vec::new();
    for shard in &plan.shards(most) {
        let mut writer = safetensors::Writer::new(Vec::new());
        plan.declare(shard, &mut writer)?;
        let mut data = writer.write_header()?;
        Convert::new().run(&plan.jobs(shard)?, &mut data)?;
        let file = data.finish()?;
        let len = file.len() as u64;
        files.push((shard.file_name.clone(), Box::new(file) as Box<dyn ReadAt>, len));
    }
    Ok(files)
}

fn run<S: Sink>(jobs: &[Job<'_>], mut data: gguf_codec::DataWriter<S>) -> Result<S::Output> {
    Convert::new().run(jobs, &mut data)?;
    data.finish()
}

fn imported(checkpoint: &Checkpoint) -> Result<Vec<u8>> {
    let description = Description::default();
    let plan = Import::new(checkpoint, &description).plan()?;
    let mut writer = Writer::new(Vec::new());
    plan.declare(&mut writer)?;
    run(&plan.jobs()?, writer.write_header()?)
}

fn metadata(gguf: &Gguf<&[u8]>) -> Vec<String> {
    gguf.metadata().iter().map(|(key, value)| format!("{key:?} {:?}", value.to_owned())).collect()
}

fuzz_target!(|data: &[u8]| {
    let Ok(before) = Gguf::parse(data) else { return };
    // The keys of a shard are dropped on the way.
    if before.metadata().iter().any(|(key, _)| key.starts_with("split.")) {
        return;
    }
    let (bytes, mut rng) = (data.to_vec(), Rng::new(data));
    let files = match exported(&before, &bytes, &mut rng) {
        Ok(files) => files,
        // Colliding names, invalid values and heads that do not fit give an error and no panic.
        Err(
            Error::Write { .. } | Error::WrongValue { .. } | Error::NonFinite { .. } | Error::Scale { .. },
        ) => return,
        Err(other) => panic!("{other}"),
    };
    let checkpoint = Checkpoint::of(files).unwrap();
    let again = imported(&checkpoint).unwrap();
    let after = Gguf::parse(&again[..]).unwrap();
    let plain = before.tensors().all(|tensor| !tensor.ggml_type().is_quantized());
    if plain && before.metadata().len() > 0 {
        assert_eq!(metadata(&before), metadata(&after));
    }
    for tensor in before.tensors().filter(|tensor| !tensor.ggml_type().is_quantized()) {
        // The factors of NVFP4 tensors are multiplied into these tensors.
        let Ok(found) = after.tensor(tensor.name()) else {
            assert!(!plain, "tensor {:?} is gone", tensor.name());
            continue;
        };
        assert_eq!(found.ggml_type(), tensor.ggml_type());
        assert_eq!(found.shape().element_count(), tensor.shape().element_count());
        if before.byte_order() == after.byte_order() {
            assert!(
                found.bytes().unwrap() == tensor.tensor().unwrap().bytes().unwrap(),
                "{:?}",
                tensor.name()
            );
        } else {
            let bits = |tensor: &gguf_codec::Tensor<'_>| -> Vec<u64> {
                tensor.dequantize::<f32>().unwrap().iter().map(|value| value.to_bits().into()).collect()
            };
            assert_eq!(bits(&found), bits(&tensor.tensor().unwrap()), "{:?}", tensor.name());
        }
    }
});
