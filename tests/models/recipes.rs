//! Recipes: the types that llama.cpp gave to the tensors of small models, recorded by `tests/recipes.py`. That script also
//! compares whole files if llama.cpp is available.

use crate::common;
use common::raw::{Raw, header_of};
use gguf_codec::model::{Recipe, TypePlan, by_layer};
use gguf_codec::{GgmlType, Gguf, Result, TensorInfo};

const GOLDEN: &str = include_str!("../golden/recipes.txt");

const LITTLE: (u32, bool) = (3, false);

/// A header with `tensors` after the keys of an architecture.
fn model(arch: &str, numbers: [u32; 4], tensors: &[(&str, GgmlType, Vec<u64>)]) -> Gguf<Vec<u8>> {
    let keys = ["block_count", "attention.head_count", "attention.head_count_kv", "expert_count"];
    let mut raw = Raw::new(LITTLE, tensors.len() as u64, 5);
    raw = raw.key("general.architecture", common::raw::STRING).string(arch);
    for (key, number) in keys.iter().zip(numbers) {
        raw = raw.key(format!("{arch}.{key}"), common::raw::U32).u32(number);
    }
    let mut offset = 0;
    for (name, ty, dims) in tensors {
        raw = raw.tensor(name, dims, ty.id(), offset);
        offset += ty.bytes_for(dims.iter().product()).unwrap().next_multiple_of(32);
    }
    header_of(raw.pad(32).bytes).unwrap()
}

fn types(plan: TypePlan<'_>, model: &Gguf<Vec<u8>>) -> Result<Vec<GgmlType>> {
    let mut tensors: Vec<_> = model.tensors().collect();
    tensors.sort_by(|a, b| by_layer(a.name(), b.name()));
    Ok(plan.choose(model.metadata(), &tensors)?.into_iter().map(|choice| choice.ggml_type).collect())
}

#[test]
fn every_tensor_gets_the_type_that_llama_cpp_gives_it() {
    let mut lines = GOLDEN.lines().peekable();
    let mut compared = 0;
    while let Some(line) = lines.next() {
        let mut words = line.split(' ').skip(1);
        let arch = words.next().unwrap();
        let numbers: Vec<u32> = words.map(|word| word.parse().unwrap()).collect();
        let mut tensors = Vec::new();
        while let Some(line) = lines.next_if(|line| line.starts_with('T')) {
            let mut words = line.split(' ').skip(1);
            let (name, ty) = (words.next().unwrap(), words.next().unwrap().parse().unwrap());
            tensors.push((name, ty, words.map(|word| word.parse().unwrap()).collect()));
        }
        let model = model(arch, numbers.try_into().unwrap(), &tensors);
        while let Some(line) = lines.next_if(|line| line.starts_with('R')) {
            let mut words = line.split(' ').skip(1);
            let recipe: Recipe = words.next().unwrap().parse().unwrap();
            let importance = words.next() == Some("+");
            let runs = words.map(|run| run.split_once('*').unwrap());
            let wanted: Vec<GgmlType> = runs
                .flat_map(|(ty, count)| std::iter::repeat_n(ty.parse().unwrap(), count.parse().unwrap()))
                .collect();
            let plan = TypePlan::new(recipe).importance(importance);
            assert_eq!(types(plan, &model).unwrap(), wanted, "{arch}, {recipe}, importance: {importance}");
            compared += 1;
        }
    }
    assert_eq!(compared, 228);
}

fn small(rows: &[(&'static str, u64)]) -> Gguf<Vec<u8>> {
    let tensors: Vec<_> = rows.iter().map(|&(name, row)| (name, GgmlType::F32, vec![row, 2])).collect();
    model("llama", [1, 1, 1, 0], &tensors)
}

#[test]
fn settings_override_the_recipe() {
    use GgmlType::*;
    let model = small(&[
        ("output.weight", 256),
        ("token_embd.weight", 256),
        ("blk.0.attn_q.weight", 256),
        ("blk.0.attn_q.bias", 256),
        ("blk.0.ffn_up.weight", 256),
    ]);
    let plan = TypePlan::new(Recipe::Q4_K_S);
    let choose = |plan: TypePlan<'_>| types(plan, &model).unwrap();
    assert_eq!(choose(plan), [Q6_K, Q4_K, F32, Q4_K, Q4_K]);
    assert_eq!(choose(plan.pure(true)), [Q4_K, Q4_K, F32, Q4_K, Q4_K]);
    assert_eq!(choose(plan.leave_output(true)), [F32, Q4_K, F32, Q4_K, Q4_K]);
    assert_eq!(choose(plan.output_type(Some(Q8_0))), [Q8_0, Q4_K, F32, Q4_K, Q4_K]);
    assert_eq!(choose(plan.token_embedding_type(Some(Q5_K))), [Q6_K, Q5_K, F32, Q4_K, Q4_K]);
    let by_name = |name: &str| name.contains("attn_q").then_some(Q2_K);
    assert_eq!(choose(plan.types_by_name(&by_name)), [Q6_K, Q4_K, F32, Q2_K, Q4_K]);
    assert_eq!(choose(TypePlan::new(Recipe::F16).types_by_name(&by_name)), [F16, F16, F32, F16, F16]);
}

#[test]
fn where_one_matrix_is_embedding_and_output_it_is_treated_as_the_output() {
    use GgmlType::*;
    let model = small(&[("token_embd.weight", 256)]);
    assert_eq!(types(TypePlan::new(Recipe::Q4_K_S), &model).unwrap(), [Q6_K]);
    assert_eq!(types(TypePlan::new(Recipe::Q4_K_S).output_type(Some(Q8_0)), &model).unwrap(), [Q8_0]);
}

#[test]
fn rows_that_are_not_whole_blocks_get_another_type() {
    use GgmlType::*;
    let model = small(&[("blk.0.a.weight", 288), ("blk.0.b.weight", 48), ("output.weight", 256)]);
    let choices = |recipe| {
        let tensors: Vec<_> = model.tensors().collect();
        let choices = TypePlan::new(recipe).choose(model.metadata(), &tensors).unwrap();
        choices.iter().take(2).map(|choice| (choice.ggml_type, choice.instead_of)).collect::<Vec<_>>()
    };
    assert_eq!(choices(Recipe::Q4_K_S), [(Q5_0, Some(Q4_K)), (F16, Some(Q4_K))]);
    assert_eq!(choices(Recipe::Q8_0), [(Q8_0, None), (F16, Some(Q8_0))]);
    assert_eq!(choices(Recipe::F16), [(F16, None), (F16, None)]);
}

#[test]
fn layers_come_in_the_order_of_their_numbers() {
    let mut names =
        ["blk.10.a", "blk.9.b", "output", "blk.9.a", "blk", "blk.x", "blk.99999999999999999999999.a"];
    names.sort_by(|a, b| by_layer(a, b));
    assert_eq!(
        names,
        ["blk", "blk.99999999999999999999999.a", "blk.x", "output", "blk.9.a", "blk.9.b", "blk.10.a"]
    );
}

#[test]
fn an_expert_without_a_layer_is_named() {
    let tensors = [("ffn_down_exps.weight", GgmlType::F32, vec![256, 2, 2])];
    for (name, layers) in [("ffn_down_exps.weight", 4), ("blk.4.ffn_down_exps.weight", 4)] {
        let tensors: Vec<_> = tensors.iter().cloned().map(|(_, ty, dims)| (name, ty, dims)).collect();
        let model = model("llama", [layers, 1, 1, 2], &tensors);
        let error = types(TypePlan::new(Recipe::Q4_K_M), &model).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("one of the 4 layers"), "{error}");
    }
}

#[test]
fn strange_numbers_are_refused_or_harmless() {
    let tensors = [("blk.0.ffn_down.weight", GgmlType::F32, vec![256, 2])];
    // No heads, and more layers than possible.
    for numbers in [[0, 0, 0, 0], [u32::MAX, u32::MAX, 0, 1], [1, 0, 7, u32::MAX]] {
        let model = model("llama", numbers, &tensors);
        for &recipe in Recipe::ALL {
            let _: Result<_> = types(TypePlan::new(recipe), &model);
        }
    }
    let raw = Raw::new(LITTLE, 1, 2).key("general.architecture", common::raw::STRING).string("x");
    let raw = raw.key("x.block_count", common::raw::STRING).string("many");
    let raw = raw.tensor("w.weight", &[256, 2], 0, 0).pad(32);
    let model = header_of(&raw.bytes).unwrap();
    let tensors: Vec<TensorInfo<'_>> = model.tensors().collect();
    let error = TypePlan::new(Recipe::Q4_K_M).choose(model.metadata(), &tensors).unwrap_err().to_string();
    assert!(error.contains("x.block_count"), "{error}");
}
