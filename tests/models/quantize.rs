//! Tests of `model::Quantize`: the result follows the plan, shards stay shards, and types can be taken from another model.

#![cfg(all(feature = "std", any(unix, windows)))]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use gguf_codec::model::{Diff, Input, Merge, Quantize, Recipe, Side, Split};
use gguf_codec::{Error, Existing, GgmlType, ShardedGguf, Writer};

fn model(folder: &Path, name: &str, ty: GgmlType) -> PathBuf {
    let mut writer = Writer::new(Vec::new());
    writer.set_metadata("general.architecture", "llama").unwrap();
    writer.set_metadata("llama.block_count", 3u32).unwrap();
    let names: Vec<_> = (0..3)
        .flat_map(|i| [format!("blk.{i}.ffn_down.weight"), format!("blk.{i}.attn_norm.weight")])
        .collect();
    let dims = |name: &str| if name.contains("norm") { vec![256u64] } else { vec![256, 4] };
    for name in &names {
        writer
            .declare_tensor(name, &dims(name), if name.contains("norm") { GgmlType::F32 } else { ty })
            .unwrap();
    }
    let mut data = writer.write_header().unwrap();
    for name in &names {
        let values: Vec<f32> = (0..dims(name).iter().product()).map(|i: u64| (i as f32).sin()).collect();
        let mut tensor = data.begin(name).unwrap();
        tensor.write_values(&values, None).unwrap();
        tensor.finish().unwrap();
    }
    let path = folder.join(name);
    std::fs::write(&path, data.finish().unwrap()).unwrap();
    path
}

#[test]
fn what_is_planned_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let (input, out) = (
        Input::open(model(folder.path(), "in.gguf", GgmlType::F16)).unwrap(),
        folder.path().join("out.gguf"),
    );
    let quantize = Quantize::recipe(Recipe::Q4_K_M).token_embedding_type(GgmlType::Q8_0);
    let plan = quantize.plan(&input, &out).unwrap();
    assert!(!out.exists());
    let (mut steps, mut last) = (0, (0, 0));
    let report = quantize.run_with(&input, &out, |done, total| {
        assert!(done >= last.0 && done <= total);
        (steps, last) = (steps + 1, (done, total));
        ControlFlow::Continue(())
    });
    let report = report.unwrap();
    assert_eq!(plan, report);
    assert!(steps > 0 && last == (9216, 9216), "{last:?}");
    assert_eq!(report.bytes, std::fs::metadata(&out).unwrap().len());
    assert_eq!((report.size_before().bytes, report.size_before().tensors), (9216, 6));
    let sizes = &report.by_type()[&GgmlType::F32];
    assert_eq!((sizes.0.bytes, sizes.1.bytes), (3072, 3072));
    assert_eq!(report.by_type()[&GgmlType::F16].1.tensors, 0);
    // It exists now, and is kept.
    let error = quantize.run(&input, &out).unwrap_err();
    assert!(matches!(error, Error::Output { .. }), "{error}");
    let error =
        quantize.clone().existing(Existing::Replace).run(&input, folder.path().join("in.gguf")).unwrap_err();
    assert!(error.to_string().contains("no input is overwritten"), "{error}");
    let stopped = quantize.run_with(&input, folder.path().join("other.gguf"), |_, _| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(Error::Interrupted)) && !folder.path().join("other.gguf").exists());
    let again = Input::open(&out).unwrap();
    let error = Quantize::recipe(Recipe::Q8_0).plan(&again, &out).unwrap_err();
    assert!(error.to_string().contains("with `Quantize::allow_requantize` it is done"), "{error}");
}

#[test]
fn shards_stay_shards() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let input = Input::open(model(folder.path(), "in.gguf", GgmlType::F32)).unwrap();
    Split::by_tensors(2).run(&input, at("in")).unwrap();
    let shards = Input::open(at("in-00001-of-00003.gguf")).unwrap();
    let report = Quantize::recipe(Recipe::Q8_0).keep_split(true).run(&shards, at("out.gguf")).unwrap();
    assert_eq!(report.paths, [1, 2, 3].map(|i| at(&format!("out-0000{i}-of-00003.gguf"))));
    let made = ShardedGguf::open(&report.paths[0]).unwrap();
    for (before, after) in shards.model().shards().iter().zip(made.shards()) {
        let names = |names: Vec<&str>| {
            let mut names: Vec<_> = names.into_iter().map(str::to_owned).collect();
            names.sort();
            names
        };
        assert_eq!(
            names(before.tensors().map(|t| t.name()).collect()),
            names(after.tensors().map(|t| t.name()).collect())
        );
    }
    // Merged, they equal the single file.
    Quantize::recipe(Recipe::Q8_0).run(&input, at("whole.gguf")).unwrap();
    Merge::new().run(&Input::open(&report.paths[0]).unwrap(), at("merged.gguf")).unwrap();
    let (a, b) = (Input::open(at("whole.gguf")).unwrap(), Input::open(at("merged.gguf")).unwrap());
    let diff = Diff::between(&Side::of_input(&a).unwrap(), &Side::of_input(&b).unwrap()).unwrap();
    assert!(diff.is_empty(), "{diff:?}");
    // A single file stays a single file.
    let one = Quantize::recipe(Recipe::Q8_0).keep_split(true).run(&input, at("one.gguf")).unwrap();
    assert_eq!(one.paths, [at("one.gguf")]);
}

#[test]
fn types_are_taken_from_another_model() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let input = Input::open(model(folder.path(), "in.gguf", GgmlType::F32)).unwrap();
    Quantize::recipe(Recipe::Q4_K_M).run(&input, at("recipe.gguf")).unwrap();
    let other = ShardedGguf::open(at("recipe.gguf")).unwrap();
    let report = Quantize::like(other.metadata(), other.tensors()).run(&input, at("like.gguf")).unwrap();
    assert_eq!(std::fs::read(at("like.gguf")).unwrap(), std::fs::read(at("recipe.gguf")).unwrap());
    assert_eq!(report.tensors.iter().filter(|tensor| tensor.changes()).count(), 3);
    // Tensors that the other model lacks are unchanged, and names take precedence.
    let some = other.tensors().filter(|tensor| tensor.name().starts_with("blk.1"));
    let by_name = |name: &str| name.starts_with("blk.2.ffn").then_some(GgmlType::Q5_0);
    let plan = Quantize::like(other.metadata(), some).types_by_name(&by_name).plan(&input, at("x")).unwrap();
    let types: Vec<_> = plan.tensors.iter().filter(|t| t.name.contains("ffn")).map(|t| t.ggml_type).collect();
    assert_eq!((types[0], types[2]), (GgmlType::F32, GgmlType::Q5_0));
    assert_eq!(types[1], other.tensor_info("blk.1.ffn_down.weight").unwrap().ggml_type());
}

#[test]
fn one_type_for_every_matrix() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let input = Input::open(model(folder.path(), "in.gguf", GgmlType::F16)).unwrap();
    let names: Vec<_> = input.tensors().map(|tensor| tensor.name().to_owned()).collect();
    let report = Quantize::uniform(GgmlType::Q8_0).measure(true).run(&input, at("out.gguf")).unwrap();
    let output = Input::open(at("out.gguf")).unwrap();
    assert_eq!(output.metadata().require::<u32>("general.file_type").unwrap(), 7);
    assert!(output.tensors().map(|tensor| tensor.name()).eq(&names), "the order stays");
    for (tensor, told) in output.tensors().zip(&report.tensors) {
        let ty = if tensor.shape().dims().len() > 1 { GgmlType::Q8_0 } else { told.from };
        assert_eq!((tensor.ggml_type(), told.ggml_type), (ty, ty), "{}", tensor.name());
        assert_eq!(told.error.is_some(), told.changes());
        assert!(told.error.is_none_or(|error| error.rmse() > 0.0 && error.snr_db() > 30.0), "{told:?}");
    }
    // Requantizing must be permitted, and converting to floats need not be.
    let error = Quantize::uniform(GgmlType::Q4_0).run(&output, at("again.gguf")).unwrap_err();
    assert!(error.to_string().contains("with `Quantize::allow_requantize` it is done"), "{error}");
    assert!(!at("again.gguf").exists());
    Quantize::uniform(GgmlType::Q4_0).allow_requantize(true).run(&output, at("again.gguf")).unwrap();
    Quantize::uniform(GgmlType::F32).run(&output, at("floats.gguf")).unwrap();
    // A recipe needs the original whatever its types are, as in llama.cpp.
    let error = Quantize::recipe(Recipe::F16).run(&output, at("halves.gguf")).unwrap_err();
    assert!(error.to_string().contains("is Q8_0 already, and F16 keeps what quantizing it lost"), "{error}");
    Quantize::recipe(Recipe::F16).allow_requantize(true).run(&output, at("halves.gguf")).unwrap();
}
