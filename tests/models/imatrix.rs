//! Importance matrices: both forms are equivalent, errors name what is broken, and nothing panics.

#![cfg(feature = "std")]

use crate::common;
use common::property;
use gguf_codec::model::Imatrix;
use gguf_codec::{Error, GgmlType, Writer};
use proptest::prelude::*;

fn numbers(values: &[i32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The binary form.
fn binary(entries: &[(&str, i32, &[f32])], end: Option<(i32, &str)>) -> Vec<u8> {
    let mut bytes = numbers(&[entries.len() as i32]);
    for (name, calls, values) in entries {
        bytes.extend(numbers(&[name.len() as i32]));
        bytes.extend(name.as_bytes());
        bytes.extend(numbers(&[*calls, values.len() as i32]));
        bytes.extend(floats(values));
    }
    if let Some((chunks, dataset)) = end {
        bytes.extend(numbers(&[chunks, dataset.len() as i32]));
        bytes.extend(dataset.as_bytes());
    }
    bytes
}

fn written(imatrix: &Imatrix) -> Vec<u8> {
    imatrix.write(Writer::new(Vec::new())).unwrap()
}

fn gguf(tensors: &[(&str, &[u64], GgmlType, &[u8])]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (name, dims, ty, _) in tensors {
        writer.declare_tensor(name, dims, *ty).unwrap();
    }
    let mut data = writer.write_header().unwrap();
    for (name, .., bytes) in tensors {
        data.write_tensor(name, bytes).unwrap();
    }
    data.finish().unwrap()
}

#[test]
fn the_binary_form_becomes_the_gguf_form() {
    let bytes = binary(&[("b", 7, &[7.0, 0.3, 1e-30]), ("a", 3, &[1.0, 2.0])], Some((7, "wiki.raw")));
    let old = Imatrix::parse(&bytes).unwrap();
    assert_eq!((old.chunk_count, old.chunk_size, &old.datasets[..]), (7, 512, &["wiki.raw".to_owned()][..]));
    // Divided as in llama.cpp.
    assert_eq!(old.weights("b").unwrap(), [1.0, 0.3 / 7.0, 1e-30 / 7.0]);
    let new = Imatrix::parse(&written(&old)).unwrap();
    for entry in old.entries() {
        assert_eq!(new.entry(&entry.name), Some(entry));
    }
    let names: Vec<_> = new.entries().iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!((new.chunk_count, &new.datasets), (7, &old.datasets));
    assert_eq!(written(&new), written(&old));

    // Too large to count in tokens.
    let old = Imatrix::parse(&binary(&[("a", 2, &[1e38])], None)).unwrap();
    assert_eq!(old.weights("a"), Some(vec![5e37]));
    // Old files lack the end, and calls that were not counted count as one.
    let old = Imatrix::parse(&binary(&[("a", 0, &[3.0])], None)).unwrap();
    assert_eq!((old.weights("a"), old.chunk_count, old.datasets.len()), (Some(vec![3.0]), 0, 0));
    assert_eq!(old.weights("b"), None);
}

#[test]
fn each_expert_is_divided_by_its_own_count() {
    let mut imatrix = Imatrix::new();
    let sums = vec![2.0, 4.0, 5.0, 6.0, 7.0, 8.0];
    imatrix.add("exps", sums.clone(), vec![2.0, 0.0, 4.0], Some(vec![-1.0; 6])).unwrap();
    // The second expert was never chosen.
    assert_eq!(imatrix.weights("exps").unwrap(), [1.0, 2.0, 1.0, 1.0, 1.75, 2.0]);
    imatrix.add("dense", sums, vec![2.0], None).unwrap();
    assert_eq!(imatrix.weights("dense").unwrap(), [1.0, 2.0, 2.5, 3.0, 3.5, 4.0]);
    let again = Imatrix::parse(&written(&imatrix)).unwrap();
    assert_eq!(again.entry("exps"), imatrix.entry("exps"));
    assert_eq!(again.entry("dense"), imatrix.entry("dense"));
}

#[test]
fn what_is_wrong_is_named() {
    let says = |bytes: &[u8]| Imatrix::parse(bytes).unwrap_err().to_string();
    for (bytes, message) in [
        (vec![], "byte 0: the number of tensors is 4 bytes long, and 0 are left"),
        (numbers(&[-1]), "byte 0: the number of tensors is -1: this is no importance matrix of either form"),
        (numbers(&[1, 5000]), "byte 4: the length of a name is 5000"),
        (numbers(&[1, 8]), "byte 8: a name is 8 bytes long, and 0 are left"),
        (binary(&[("a", 1, &[])], None), "byte 13: the number of values is 0"),
        (binary(&[("a", 1, &[f32::NAN])], None), "byte 17: value 0 of tensor 'a' is NaN"),
        (binary(&[("a", 1, &[1.0, -1.0])], None), "byte 21: value 1 of tensor 'a' is -1, and must be"),
        (binary(&[("a", 1, &[1.0]), ("a", 1, &[1.0])], None), "tensor 'a': is there twice"),
        (gguf(&[]), "no tensor is called '….in_sum2'"),
        (gguf(&[("a.in_sum2", &[1], GgmlType::F32, &[0; 4])]), "tensor 'a.counts' is missing"),
        (
            gguf(&[("a.counts", &[1], GgmlType::F32, &[0; 4])]),
            "tensor 'a.counts' has no '.in_sum2' beside it",
        ),
        (
            gguf(&[("a.in_sum2", &[3], GgmlType::F32, &[0; 12]), ("a.counts", &[2], GgmlType::F32, &[0; 8])]),
            "tensor 'a': 3 sums cannot be shared among 2 counts",
        ),
        (
            gguf(&[("a.in_sum2", &[2], GgmlType::F16, &[0; 4]), ("a.counts", &[1], GgmlType::F32, &[0; 4])]),
            "tensor 'a.in_sum2' is F16, and must be F32",
        ),
    ] {
        assert!(says(&bytes).contains(message), "{} instead of {message}", says(&bytes));
    }
    let mut not_utf8 = binary(&[("a", 1, &[1.0])], None);
    not_utf8[8] = 0xff;
    assert!(matches!(Imatrix::parse(&not_utf8), Err(Error::Imatrix { offset: Some(8), .. })));
}

proptest! {
    #![proptest_config(property(256))]

    #[test]
    fn what_is_cut_or_changed_is_an_error_or_an_importance_matrix(
        form in any::<bool>(),
        cut in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut bytes = binary(&[("one", 2, &[1.0, 2.0, 3.0]), ("two", 1, &[4.0])], Some((2, "text")));
        if form {
            bytes = written(&Imatrix::parse(&bytes).unwrap());
        }
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        if let Ok(imatrix) = Imatrix::parse(&bytes) {
            for entry in imatrix.entries() {
                prop_assert_eq!(entry.weights().len(), entry.sums.len());
                prop_assert!(entry.weights().iter().all(|weight| weight.is_finite()));
            }
        }
    }
}

/// For example the pipe that a shell makes for a program that unpacks one.
#[cfg(all(feature = "std", unix, not(target_family = "wasm")))]
#[test]
fn a_pipe_is_read_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut imatrix = Imatrix::new();
    imatrix.add("w", vec![1.0; 100_000], vec![2.0], None).unwrap();
    let file = imatrix.write(gguf_codec::Writer::new(Vec::new())).unwrap();
    let read = std::thread::scope(|scope| {
        scope.spawn(|| std::fs::write(&pipe, &file).unwrap());
        Imatrix::read(&pipe).unwrap()
    });
    assert!(read == imatrix);
    let error = Imatrix::read(folder.path()).unwrap_err().to_string();
    assert!(error.contains("read '"), "{error}");
}

/// A file that is taken for an importance matrix by mistake may be larger than memory.
#[cfg(all(feature = "std", unix, not(target_family = "wasm")))]
#[test]
fn what_is_none_is_not_read_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("zeros");
    // Twice as much as is read of any: only its beginning can say that it is zeros.
    std::fs::File::create(&path).unwrap().set_len(32_000_000_000).unwrap();
    let error = Imatrix::read(&path).unwrap_err().to_string();
    assert!(error.contains("the number of tensors is 0: this is no importance matrix"), "{error}");
    let mut model = Writer::new(Vec::new());
    model.declare_tensor("w", &[4], GgmlType::F32).unwrap();
    let mut model = model.write_header().unwrap();
    let mut tensor = model.begin("w").unwrap();
    tensor.write_values(&[1.0; 4], None).unwrap();
    tensor.finish().unwrap();
    std::fs::write(&path, model.finish().unwrap()).unwrap();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(32_000_000_000).unwrap();
    let error = Imatrix::read(&path).unwrap_err().to_string();
    assert!(error.contains("this is no importance matrix"), "{error}");
}

#[test]
fn the_binary_form_comes_back_as_it_was() {
    let bytes = binary(&[("b", 7, &[7.0, 0.3, 1e-30, 3e35]), ("a", 3, &[1.0, 2.1])], Some((7, "wiki.raw")));
    let read = Imatrix::parse(&bytes).unwrap();
    assert_eq!(read.to_binary().unwrap(), bytes);
    let again = Imatrix::parse(&written(&read)).unwrap();
    // Sorted by name in that form.
    let sorted = binary(&[("a", 3, &[1.0, 2.1]), ("b", 7, &[7.0, 0.3, 1e-30, 3e35])], Some((7, "wiki.raw")));
    assert_eq!(again.to_binary().unwrap(), sorted);

    // From experts, one of which was never chosen, and from chunks that are not complete.
    let mut experts = Imatrix::new();
    experts.add("e", vec![6.0, 3.0, 0.0, 0.0], vec![3.0, 0.0], None).unwrap();
    let again = Imatrix::parse(&experts.to_binary().unwrap()).unwrap();
    assert_eq!(again.weights("e").unwrap(), [2.0, 1.0, 1.0, 1.0]);
    assert!(Imatrix::new().to_binary().unwrap_err().to_string().contains("no tensor"));
}

#[test]
fn matrices_of_one_model_are_put_together() {
    let with = |name: &str, sums: &[f32], counts: &[f32], activations: Option<&[f32]>| {
        let mut imatrix = Imatrix::new();
        imatrix.add(name, sums.to_vec(), counts.to_vec(), activations.map(<[_]>::to_vec)).unwrap();
        (imatrix.chunk_count, imatrix.datasets) = (2, vec![format!("{name}.txt")]);
        imatrix
    };
    let mut all = with("a", &[1.0, 2.0], &[4.0], Some(&[-1.0, 1.0]));
    all.merge(&with("a", &[3.0, 4.0], &[6.0], Some(&[-2.0, 0.5]))).unwrap();
    all.merge(&with("b", &[5.0], &[1.0], None)).unwrap();
    let a = all.entry("a").unwrap();
    assert_eq!((&a.sums[..], &a.counts[..]), (&[4.0, 6.0][..], &[10.0][..]));
    assert_eq!(a.activations.as_deref(), Some(&[-3.0, 1.5][..]));
    assert_eq!((all.chunk_count, &all.datasets[..]), (6, &["a.txt".to_owned(), "b.txt".to_owned()][..]));

    let before = all.clone();
    for (other, what) in [
        (with("a", &[1.0; 3], &[4.0], None), "1 × 2 columns in one matrix and 1 × 3 columns in the other"),
        (
            with("a", &[1.0; 2], &[4.0, 4.0], None),
            "1 × 2 columns in one matrix and 2 × 1 columns in the other",
        ),
    ] {
        let error = all.merge(&other).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
        assert_eq!(all, before);
    }
    let huge = with("b", &[f32::MAX], &[1.0], None);
    all.merge(&huge).unwrap();
    assert!(all.merge(&huge).unwrap_err().to_string().contains("too large"));
    // Sums of activations that only one matrix has do not belong to both, so the merged entry has none.
    all.merge(&with("a", &[1.0, 2.0], &[4.0], None)).unwrap();
    assert_eq!(all.entry("a").unwrap().activations, None);
}
