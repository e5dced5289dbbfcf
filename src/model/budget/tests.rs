use super::*;
use crate::Writer;
use crate::model::{Input, Quantize};

/// A llama of two layers with rows of whole blocks of every type, but for one.
fn model(path: &std::path::Path) -> Input {
    let tensors: [(&str, &[u64]); 8] = [
        ("token_embd.weight", &[256, 16]),
        ("blk.0.attn_norm.weight", &[256]),
        ("blk.0.attn_v.weight", &[256, 4]),
        ("blk.0.ffn_down.weight", &[96, 8]),
        ("blk.0.ffn_gate_inp.weight", &[256, 4]),
        ("blk.1.attn_q.weight", &[256, 4]),
        ("blk.1.ffn_down.weight", &[256, 8]),
        ("blk.1.odd.weight", &[17, 3]),
    ];
    let mut writer = Writer::create(path).unwrap();
    writer.set_metadata("general.architecture", "llama").unwrap();
    for (name, dims) in tensors {
        writer.declare_tensor(name, dims, GgmlType::F32).unwrap();
    }
    let mut data = writer.write_header().unwrap();
    for (name, dims) in tensors {
        let values: Vec<_> =
            (0..dims.iter().product::<u64>()).map(|i| ((i * i) as f32 * 0.37).sin()).collect();
        let mut tensor = data.begin(name).unwrap();
        tensor.write_values(&values, None).unwrap();
        tensor.finish().unwrap();
    }
    data.finish().unwrap();
    Input::open(path).unwrap()
}

fn with(test: impl FnOnce(&Input)) {
    let folder = tempfile::tempdir().unwrap();
    test(&model(&folder.path().join("model.gguf")));
}

#[test]
fn a_size_is_kept_and_used() {
    with(|input| {
        let mut before = f64::INFINITY;
        for bits in [6.7, 7.5, 9.0, 10.5, 32.0] {
            let found = Budget::bits_per_weight(bits).choose(input).unwrap();
            assert!(found.size().bits_per_weight() <= bits, "{bits}: {found:?}");
            assert!(found.bound() <= found.damage() && found.damage() <= before, "{bits}: {found:?}");
            before = found.damage();
            let stay = ["blk.0.attn_norm.weight", "blk.0.ffn_gate_inp.weight", "blk.1.odd.weight"];
            for tensor in found.tensors().iter().filter(|tensor| stay.contains(&tensor.name.as_str())) {
                assert_eq!((tensor.ggml_type, tensor.damage), (GgmlType::F32, 0.0));
            }
            let sum: Size = found.by_role().values().map(|(size, _)| *size).sum();
            assert_eq!(sum, found.size());
            let report = Quantize::types(found.types(), found.file_type()).plan(input, "out.gguf").unwrap();
            assert_eq!(report.size_after(), found.size());
        }
        let all = Budget::bytes(u64::MAX).choose(input).unwrap();
        assert_eq!(all.file_type(), FileType::mostly(GgmlType::Q8_0));
    });
}

#[test]
fn what_does_not_fit_says_what_would() {
    with(|input| {
        let error = Budget::bytes(1000).choose(input).unwrap_err().to_string();
        let least: u64 = error.split(' ').find_map(|word| word.parse().ok()).unwrap();
        assert_eq!(Budget::bytes(least).choose(input).unwrap().size().bytes, least, "{error}");
        assert!(Budget::bytes(least - 1).choose(input).is_err());
        for bits in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let error = Budget::bits_per_weight(bits).choose(input).unwrap_err().to_string();
            assert!(error.contains("no number above 0"), "{error}");
        }
        let error = Budget::bytes(1 << 20).types([GgmlType::IQ1_S]).choose(input).unwrap_err().to_string();
        assert!(error.contains("IQ1_S cannot be chosen"), "{error}");
    });
}

#[test]
fn sensitivities_decide() {
    with(|input| {
        let of = |text: &str| {
            let found = Budget::bits_per_weight(8.0).sensitivities(text).unwrap().choose(input).unwrap();
            found.types().map(|(name, ty)| (name.to_owned(), ty)).collect::<BTreeMap<_, _>>()
        };
        let found = of("# a comment\n\nblk.1.attn_q.weight\t1000\nblk.1.ffn_down.weight\t0\n");
        assert_eq!(found["blk.1.attn_q.weight"], GgmlType::Q8_0);
        assert_eq!(found["blk.1.ffn_down.weight"], GgmlType::Q2_K);
    });
}

#[test]
fn wrong_sensitivities_are_named_by_their_line() {
    for (text, wanted) in [
        ("a\t1\nb 2", "line 2 of the sensitivities: it is not"),
        ("\na\tx", "line 2 of the sensitivities: after the tab"),
        ("a\t-1", "line 1"),
        ("a\tinf", "line 1"),
        ("a\t1\na\t2", "line 2 of the sensitivities: 'a' is in line 1 already"),
    ] {
        let error = Budget::bytes(1).sensitivities(text).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
    with(|input| {
        let error = Budget::bytes(1 << 20).sensitivities("#\nnone\t1").unwrap().choose(input).unwrap_err();
        assert!(
            error.to_string().contains("line 2 of the sensitivities: the model has no tensor 'none'"),
            "{error}"
        );
    });
}
