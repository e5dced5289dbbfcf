//! Adapters that become part of a model.

#![cfg(all(feature = "std", any(unix, windows)))]

use gguf_codec::model::{Input, MergeLora, Quantize, Recipe};
use gguf_codec::{Array, GgmlType, Gguf, Value, Writer, dequantize, quantize};

const WIDTH: usize = 64;
const ROWS: usize = 6;

/// Numbers that are not round, one after the other.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / 8388608.0 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn as_type(ty: GgmlType, values: &[f32]) -> Vec<u8> {
    let mut blocks = vec![0; values.len() / ty.block_len() * ty.block_bytes()];
    quantize(ty, values, WIDTH, None, &mut blocks).unwrap();
    blocks
}

fn values(model: &Input, name: &str) -> Vec<f32> {
    let tensor = model.tensors().find(|tensor| tensor.name() == name).unwrap();
    let bytes = model.model().tensor(name).unwrap().bytes().unwrap().to_vec();
    let mut values = vec![0.0; tensor.shape().element_count() as usize];
    dequantize(tensor.ggml_type(), &bytes, &mut values).unwrap();
    values
}

type Tensors<'a> = [(&'a str, &'a [u64], GgmlType, Vec<u8>)];

fn model(pairs: &[(&str, Value)], tensors: &Tensors<'_>) -> Input {
    let mut writer = Writer::new(Vec::new());
    for (key, value) in pairs {
        writer.set_metadata(key, value.clone()).unwrap();
    }
    for (name, dims, ty, _) in tensors {
        writer.declare_tensor(name, dims, *ty).unwrap();
    }
    let mut data = writer.write_header().unwrap();
    for (name, .., bytes) in tensors {
        data.write_tensor(name, bytes).unwrap();
    }
    let bytes = data.finish().unwrap();
    let len = bytes.len() as u64;
    Input::from(Gguf::read_at(bytes, len).unwrap())
}

const UP: &str = "blk.0.ffn_up.weight";
const EXPERTS: &str = "blk.0.ffn_up_exps.weight";
const TOKENS: &str = "token_embd.weight";

/// A base whose tensors are of several types, with one that nothing changes.
fn base() -> Input {
    let (wide, rows) = (WIDTH as u64, ROWS as u64);
    let pairs = [("general.architecture", "llama".into()), ("general.file_type", Value::U32(7))];
    model(
        &pairs,
        &[
            (TOKENS, &[wide, rows], GgmlType::F16, as_type(GgmlType::F16, &numbers(WIDTH * ROWS, 1))),
            (UP, &[wide, rows], GgmlType::Q8_0, as_type(GgmlType::Q8_0, &numbers(WIDTH * ROWS, 2))),
            (EXPERTS, &[wide, rows, 2], GgmlType::F32, as_type(GgmlType::F32, &numbers(2 * WIDTH * ROWS, 3))),
            (
                "blk.0.ffn_down.weight",
                &[wide, rows],
                GgmlType::Q4_0,
                as_type(GgmlType::Q4_0, &numbers(WIDTH * ROWS, 4)),
            ),
            ("output_norm.weight", &[wide], GgmlType::F32, as_type(GgmlType::F32, &numbers(WIDTH, 5))),
        ],
    )
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn of_llama() -> Vec<(&'static str, Value)> {
    vec![
        ("general.architecture", "llama".into()),
        ("general.type", "adapter".into()),
        ("adapter.type", "lora".into()),
        ("adapter.lora.alpha", Value::F32(6.0)),
    ]
}

/// Factors of rank 2 for a matrix, and for two of them.
fn pair(name: &str, matrices: usize, seed: u64) -> Vec<(String, Vec<u64>, GgmlType, Vec<u8>)> {
    let (wide, rows) = (WIDTH as u64, ROWS as u64);
    let dims = |inner: u64, outer: u64| match matrices {
        1 => vec![inner, outer],
        more => vec![inner, outer, more as u64],
    };
    let (a, b) = (numbers(2 * WIDTH * matrices, seed), numbers(2 * ROWS * matrices, seed + 1));
    let (a_dims, b_dims, a, b) = match name == TOKENS {
        true => (dims(2, rows), dims(2, wide), b, a),
        false => (dims(wide, 2), dims(2, rows), a, b),
    };
    vec![
        (format!("{name}.lora_a"), a_dims, GgmlType::F32, floats(&a)),
        (format!("{name}.lora_b"), b_dims, GgmlType::F32, floats(&b)),
    ]
}

fn adapter(pairs: &[(&str, Value)], tensors: Vec<(String, Vec<u64>, GgmlType, Vec<u8>)>) -> Input {
    let tensors: Vec<_> = tensors
        .iter()
        .map(|(name, dims, ty, bytes)| (name.as_str(), dims.as_slice(), *ty, bytes.clone()))
        .collect();
    model(pairs, &tensors)
}

/// W + scale · B · A of one matrix, with products of rank 2.
fn wanted(weights: &[f32], a: &[f32], b: &[f32], scale: f32) -> Vec<f32> {
    let of = |at: usize| {
        let (row, column) = (at / WIDTH, at % WIDTH);
        let product = b[2 * row] * a[column] + b[2 * row + 1] * a[WIDTH + column];
        weights[at] + scale * product
    };
    (0..weights.len()).map(of).collect()
}

fn close(found: &[f32], wanted: &[f32], most: f32) {
    let worst = found.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(found.len() == wanted.len() && worst <= most, "{worst}");
}

#[test]
fn weights_get_what_the_factors_make_and_keep_their_types() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("merged.gguf");
    let base = base();
    let all = [pair(UP, 1, 10), pair(EXPERTS, 2, 20), pair(TOKENS, 1, 30)].concat();
    let one = adapter(&of_llama(), all);
    let two = adapter(&of_llama(), pair(UP, 1, 40));
    let merge = MergeLora::new(&base).adapter(&one, 0.5).unwrap().adapter(&two, -1.0).unwrap();
    let report = merge.run(&out).unwrap();
    assert_eq!(report.merged, [TOKENS, UP, EXPERTS]);
    let merged = Input::open(&out).unwrap();
    assert_eq!(merged.file_len(), report.bytes);
    let types = |model: &Input| {
        model.tensors().map(|tensor| (tensor.name().to_owned(), tensor.ggml_type())).collect::<Vec<_>>()
    };
    assert_eq!(types(&merged), types(&base));
    // 6 / 2 of alpha and rank.
    let (scale, other) = (1.5, -3.0);
    let was = |name: &str| values(&base, name);
    let up = wanted(&was(UP), &numbers(2 * WIDTH, 10), &numbers(2 * ROWS, 11), scale);
    let up = wanted(&up, &numbers(2 * WIDTH, 40), &numbers(2 * ROWS, 41), other);
    let mut again = vec![0.0; up.len()];
    dequantize(GgmlType::Q8_0, &as_type(GgmlType::Q8_0, &up), &mut again).unwrap();
    close(&values(&merged, UP), &again, 1e-6);
    let (a, b) = (numbers(4 * WIDTH, 20), numbers(4 * ROWS, 21));
    let experts: Vec<f32> = (0..2)
        .flat_map(|at| {
            let was = &was(EXPERTS)[at * WIDTH * ROWS..(at + 1) * WIDTH * ROWS];
            wanted(was, &a[at * 2 * WIDTH..], &b[at * 2 * ROWS..], scale)
        })
        .collect();
    close(&values(&merged, EXPERTS), &experts, 1e-6);
    // Embeddings have A's rows for tokens, and B's for columns.
    let (b, a) = (numbers(2 * WIDTH, 30), numbers(2 * ROWS, 31));
    let turned: Vec<f32> = (0..2)
        .flat_map(|k| (0..WIDTH).map(move |column| (k, column)))
        .map(|(k, column)| b[2 * column + k])
        .collect();
    close(&values(&merged, TOKENS), &wanted(&was(TOKENS), &turned, &a, scale), 4e-3);
    for name in ["blk.0.ffn_down.weight", "output_norm.weight"] {
        let bytes = |model: &Input| model.model().tensor(name).unwrap().bytes().unwrap().to_vec();
        assert_eq!(bytes(&merged), bytes(&base));
    }
}

#[test]
fn neither_model_is_an_output() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("merged.gguf");
    let (base, adapter) = (base(), adapter(&of_llama(), pair(UP, 1, 10)));
    MergeLora::new(&base).adapter(&adapter, 1.0).unwrap().run(&out).unwrap();
    let was = std::fs::read(&out).unwrap();
    let merged = Input::open(&out).unwrap();
    let merge = MergeLora::new(&merged).adapter(&adapter, 1.0).unwrap();
    let error = merge.existing(gguf_codec::Existing::Replace).run(&out).unwrap_err();
    assert!(matches!(error, gguf_codec::Error::Output { .. }), "{error}");
    assert_eq!(std::fs::read(&out).unwrap(), was);
}

#[test]
fn a_recipe_quantizes_what_was_merged_in_single_precision() {
    let folder = tempfile::tempdir().unwrap();
    let base = base();
    let adapter = adapter(&of_llama(), pair(UP, 1, 10));
    let merge = || MergeLora::new(&base).adapter(&adapter, 1.0).unwrap();
    let out = folder.path().join("Q8_0.gguf");
    let error = merge().quantize(Quantize::recipe(Recipe::Q8_0)).run(&out).unwrap_err().to_string();
    assert!(error.contains("'blk.0.ffn_down.weight' is Q4_0 already"), "{error}");
    let quantize = Quantize::recipe(Recipe::Q8_0).allow_requantize(true);
    let report = merge().quantize(quantize).run(&out).unwrap();
    let changed = report.quantized.unwrap().tensors.into_iter().find(|tensor| tensor.name == UP).unwrap();
    assert_eq!((changed.from, changed.ggml_type), (GgmlType::F32, GgmlType::Q8_0));
    let up = wanted(&values(&base, UP), &numbers(2 * WIDTH, 10), &numbers(2 * ROWS, 11), 3.0);
    let bytes = Input::open(&out).unwrap().model().tensor(UP).unwrap().bytes().unwrap().to_vec();
    assert_eq!(bytes, as_type(GgmlType::Q8_0, &up));
}

#[test]
fn what_does_not_fit_is_told_by_name() {
    let base = base();
    let changed = |key: &str, value: Value| {
        let mut pairs = of_llama();
        pairs.iter_mut().filter(|(known, _)| *known == key).for_each(|(_, known)| *known = value.clone());
        pairs
    };
    let without =
        |end: &str| pair(UP, 1, 1).into_iter().filter(|(name, ..)| !name.ends_with(end)).collect::<Vec<_>>();
    let mut longer = pair(UP, 1, 1);
    (longer[0].1, longer[0].3) = (vec![32, 2], floats(&[0.0; 64]));
    let mut rank = pair(UP, 1, 1);
    (rank[1].1, rank[1].3) = (vec![1, ROWS as u64], floats(&[0.0; ROWS]));
    let bias = vec![("blk.0.ffn_up.bias".to_owned(), vec![4], GgmlType::F32, floats(&[0.0; 4]))];
    for (pairs, tensors, wanted) in [
        (
            changed("general.type", "model".into()),
            pair(UP, 1, 1),
            "'general.type' is 'model', and 'adapter' in",
        ),
        (changed("adapter.type", "other".into()), pair(UP, 1, 1), "'adapter.type' is 'other', and 'lora' in"),
        (
            changed("general.architecture", "qwen2".into()),
            pair(UP, 1, 1),
            "architecture 'qwen2', and this one's is 'llama'",
        ),
        (of_llama(), without(".lora_a"), "'blk.0.ffn_up.weight' has no factor 'lora_a'"),
        (of_llama(), without(".lora_b"), "'blk.0.ffn_up.weight' has no factor 'lora_b'"),
        (
            of_llama(),
            pair("blk.7.ffn_up.weight", 1, 1),
            "'blk.7.ffn_up.weight' is changed by the adapter, and the model has none",
        ),
        (
            of_llama(),
            longer,
            "'blk.0.ffn_up.weight' is of the shape [64, 6], and its factors are of [32, 2] and [2, 6]",
        ),
        (of_llama(), rank, "factors are of [64, 2] and [1, 6]"),
        (of_llama(), pair(EXPERTS, 1, 1), "'blk.0.ffn_up_exps.weight' is of the shape [64, 6, 2]"),
        (of_llama(), bias, "'blk.0.ffn_up.bias' is neither a factor"),
        (of_llama(), Vec::new(), "has no tensors X.lora_a"),
    ] {
        let adapter = adapter(&pairs, tensors);
        let error = MergeLora::new(&base).adapter(&adapter, 1.0).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
    let mut all = pair(UP, 1, 1);
    all.push(("blk.0.attn_norm.weight".to_owned(), vec![4], GgmlType::F32, floats(&[0.0; 4])));
    let folder = tempfile::tempdir().unwrap();
    let adapter = adapter(&of_llama(), all);
    let merge = MergeLora::new(&base).adapter(&adapter, 1.0).unwrap();
    let report = merge.run(folder.path().join("merged.gguf")).unwrap();
    assert!(report.notes[0].contains("1 norm is in the adapter"), "{:?}", report.notes);
}

/// Merged, it would act on every text.
#[test]
fn an_activated_adapter_is_not_merged() {
    let base = base();
    let with = |tokens: Vec<u32>| {
        let mut pairs = of_llama();
        pairs.push(("adapter.alora.invocation_tokens", Value::Array(Array::U32(tokens))));
        adapter(&pairs, pair(UP, 1, 1))
    };
    let error = MergeLora::new(&base).adapter(&with(vec![5, 6, 7]), 1.0).unwrap_err().to_string();
    assert!(
        error.contains("'adapter.alora.invocation_tokens', 3 of them") && error.contains("only after"),
        "{error}"
    );
    // llama.cpp takes no tokens for none.
    assert!(MergeLora::new(&base).adapter(&with(Vec::new()), 1.0).is_ok());
}

#[test]
fn nothing_is_written_that_is_not_finite() {
    let base = base();
    let with = |key: usize, at: usize, value: f32| {
        let mut factors = pair(UP, 1, 1);
        factors[key].3[4 * at..4 * at + 4].copy_from_slice(&value.to_le_bytes());
        factors
    };
    let alpha = |alpha: f32| {
        let mut pairs = of_llama();
        pairs[3].1 = Value::F32(alpha);
        pairs
    };
    let mut integers = pair(UP, 1, 1);
    integers[0].2 = GgmlType::I32;
    for (pairs, tensors, scale, wanted) in [
        (alpha(f32::NAN), pair(UP, 1, 1), 1.0, "key 'adapter.lora.alpha' is NaN, and must be"),
        (alpha(f32::INFINITY), pair(UP, 1, 1), 1.0, "key 'adapter.lora.alpha' is inf"),
        (of_llama(), with(0, 5, f32::NAN), 1.0, "'blk.0.ffn_up.weight.lora_a' has NaN as value 5"),
        (of_llama(), with(1, 3, f32::INFINITY), 1.0, "'blk.0.ffn_up.weight.lora_b' has inf as value 3"),
        (of_llama(), integers, 1.0, "'blk.0.ffn_up.weight.lora_a' is I32, and factors are"),
        (of_llama(), pair(UP, 1, 1), 3e38, "'blk.0.ffn_up.weight' would get factors times inf"),
    ] {
        let error = MergeLora::new(&base).adapter(&adapter(&pairs, tensors), scale).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
    // Factors and their scale are finite, and what they make is not.
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("merged.gguf");
    let great = adapter(&of_llama(), with(0, 0, 1e38));
    for ty in [GgmlType::F32, GgmlType::F16, GgmlType::BF16, GgmlType::Q8_0] {
        let values = as_type(ty, &numbers(WIDTH * ROWS, 2));
        let base = model(
            &[("general.architecture", "llama".into())],
            &[(UP, &[WIDTH as u64, ROWS as u64], ty, values)],
        );
        let merge = MergeLora::new(&base).adapter(&great, 1e6).unwrap();
        for merge in [
            merge,
            MergeLora::new(&base)
                .adapter(&great, 1e6)
                .unwrap()
                .quantize(Quantize::recipe(Recipe::F32).allow_requantize(true)),
        ] {
            let error = merge.run(&out).unwrap_err();
            assert!(error.to_string().starts_with("tensor 'blk.0.ffn_up.weight': value "), "{ty}: {error:?}");
            assert!(matches!(error, gguf_codec::Error::Write { .. }) && !out.exists(), "{ty}: {error:?}");
        }
    }
}
