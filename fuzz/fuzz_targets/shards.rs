//! A file that can be read is divided into shards that are the same model, and merged again. Shards with a few bytes
//! changed, in another order or missing are refused, or form a model whose every tensor can be found.
#![no_main]

use common::Rng;
use gguf_codec::{Error, Gguf, Result, ShardPlan, ShardedGguf, Writer};
use libfuzzer_sys::fuzz_target;

fn copy(model: &ShardedGguf<&[u8]>, no: u16, plan: &ShardPlan, merged: bool) -> Result<Vec<u8>> {
    let tensors: Vec<_> = model.tensors().collect();
    let tensors = if merged { &tensors[..] } else { &tensors[plan.shards()[usize::from(no)].clone()] };
    let mut writer = Writer::new(Vec::new());
    writer.copy_sharded_metadata_from(model)?;
    if !merged {
        writer.set_shard(no, plan.count(), model.tensor_count())?;
    }
    for tensor in tensors {
        writer.declare_tensor(tensor.name(), tensor.shape().dims(), tensor.ggml_type())?;
    }
    let mut data = writer.write_header()?;
    for tensor in tensors {
        data.copy_tensor(&tensor.tensor()?)?;
    }
    data.finish()
}

fn open(shards: &[Vec<u8>]) -> Result<ShardedGguf<&[u8]>> {
    let parsed: Result<Vec<_>> = shards.iter().map(|bytes| Gguf::parse(bytes.as_slice())).collect();
    ShardedGguf::new(parsed?)
}

/// Everything that can be read from a set.
fn look(model: &ShardedGguf<&[u8]>) {
    assert_eq!(model.tensors().count(), model.tensor_count());
    for tensor in model.tensors() {
        let shard = &model.shards()[model.shard_of(tensor.name()).unwrap()];
        assert_eq!(shard.tensor_info(tensor.name()).unwrap().file_offset(), tensor.file_offset());
        assert!(
            model.tensor(tensor.name()).unwrap().bytes().unwrap()
                == tensor.tensor().unwrap().bytes().unwrap()
        );
    }
}

fuzz_target!(|data: &[u8]| {
    let mut rng = Rng::new(data);
    let Ok(file) = Gguf::parse(data) else { return };
    let alone = ShardedGguf::from(file);
    look(&alone);
    let bytes: Vec<u64> = alone.tensors().map(|tensor| tensor.byte_len()).collect();
    let most = 1 + rng.below(300);
    let plan = match rng.below(4) {
        0 => ShardPlan::by_tensors(bytes.len(), most),
        1 => ShardPlan::by_bytes(bytes.iter().copied(), alone.first().alignment(), most as u64),
        2 => ShardPlan::balanced(&bytes, most as u16),
        _ => ShardPlan::by_tensors(bytes.len(), most).and_then(ShardPlan::with_empty_first),
    };
    // Sizes that overflow, and more shards than there are numbers.
    let Ok(plan) = plan else { return };
    if plan.count() > 300 {
        return;
    }
    let mut shards: Vec<_> = (0..plan.count()).map(|no| copy(&alone, no, &plan, false).unwrap()).collect();
    let set = open(&shards).unwrap();
    look(&set);
    for tensor in alone.tensors() {
        assert!(
            set.tensor(tensor.name()).unwrap().bytes().unwrap() == tensor.tensor().unwrap().bytes().unwrap()
        );
    }
    let merged = copy(&set, 0, &plan, true).unwrap();
    // The merged file equals the original, except for padding if the last shard has no tensor.
    let undivided = copy(&alone, 0, &plan, true).unwrap();
    let (same, more) = merged.split_at_checked(undivided.len()).expect("merging loses nothing");
    let last_is_empty = plan.shards().last().is_some_and(|last| last.is_empty());
    let only_padded = last_is_empty && more.iter().all(|&byte| byte == 0);
    assert!(same == undivided && (more.is_empty() || only_padded), "divided and merged is another file");
    let merged_alone = ShardedGguf::from(Gguf::parse(merged.as_slice()).unwrap());
    assert!(copy(&merged_alone, 0, &plan, true).unwrap() == merged);
    assert_eq!(merged_alone.tensor_count(), alone.tensor_count());

    match rng.below(4) {
        0 => shards.truncate(rng.below(shards.len())),
        1 => {
            let (one, other) = (rng.below(shards.len()), rng.below(shards.len()));
            shards.swap(one, other);
        }
        _ => {
            for _ in 0..=rng.below(3) {
                let (at, bit) = (rng.below(shards.len()), rng.below(8));
                let byte = rng.below(shards[at].len().min(400));
                shards[at][byte] ^= 1 << bit;
            }
        }
    }
    match open(&shards) {
        Ok(model) => look(&model),
        Err(Error::Shard { .. } | Error::Malformed { .. } | Error::Limit { .. } | Error::Length { .. }) => {}
        Err(other) => panic!("{other}"),
    }
});
