use std::ops::ControlFlow;

use super::*;
use crate::model::file_type::FileType;
use crate::model::input::Input;
use crate::model::quantize::Quantize;
use crate::model::size::Size;
use crate::write::Writer;

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
    model_of(path, &tensors)
}

fn model_of(path: &std::path::Path, tensors: &[(&str, &[u64])]) -> Input {
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
            let sum: Size = found.by_role().values().flatten().map(|tensor| tensor.size).sum();
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

fn go_on(_: u64, _: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// The type of each tensor that is quantized.
fn types(found: &Allocation) -> BTreeMap<&str, GgmlType> {
    found.types().filter(|(_, ty)| *ty != GgmlType::F32).collect()
}

#[test]
fn types_are_fixed_and_have_a_least() {
    with(|input| {
        let free = Budget::bits_per_weight(7.5).choose(input).unwrap();
        assert_ne!(types(&free)["blk.1.attn_q.weight"], GgmlType::Q8_0);
        let budget = Budget::bits_per_weight(7.5)
            .fix([("blk.1.attn_q.weight", GgmlType::Q8_0), ("blk.0.attn_norm.weight", GgmlType::F16)])
            .least_type("attn_v", GgmlType::Q6_K);
        let found = budget.choose(input).unwrap();
        let of = types(&found);
        assert_eq!(of["blk.1.attn_q.weight"], GgmlType::Q8_0);
        assert_eq!(of["blk.0.attn_norm.weight"], GgmlType::F16);
        assert!(matches!(of["blk.0.attn_v.weight"], GgmlType::Q6_K | GgmlType::Q8_0), "{of:?}");
        assert!(found.size().bits_per_weight() <= 7.5 && found.damage() >= free.damage());
        // A type that is fixed counts more than the least of its role.
        let budget = Budget::bits_per_weight(9.0).least_type("attn_v", GgmlType::Q8_0);
        let found = budget.fix([("blk.0.attn_v.weight", GgmlType::Q4_0)]).choose(input).unwrap();
        assert_eq!(types(&found)["blk.0.attn_v.weight"], GgmlType::Q4_0);
    });
}

#[test]
fn rules_that_cannot_be_kept_are_refused() {
    with(|input| {
        let budget = || Budget::bytes(1 << 20);
        for (budget, wanted) in [
            (budget().fix([("none", GgmlType::Q8_0)]), "no such tensor"),
            (
                budget().fix([("blk.0.ffn_down.weight", GgmlType::Q4_K)]),
                "rows of 96 F32 values cannot be Q4_K",
            ),
            (budget().fix([("blk.0.ffn_down.weight", GgmlType::IQ2_XXS)]), "IQ2_XXS cannot be chosen"),
            (budget().least_type("ffn_dwon", GgmlType::Q8_0), "no role 'ffn_dwon'; the roles are attn_k, "),
            (
                budget().least_type("ffn_down", GgmlType::F16),
                "can have none of the types that have as many bits",
            ),
        ] {
            let error = budget.choose(input).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    });
}

#[test]
fn tensors_of_a_role_or_experts_of_a_layer_are_alike() {
    with(|input| {
        let found = Budget::bits_per_weight(7.5).one_type_per_role(true).choose(input).unwrap();
        assert!(found.size().bits_per_weight() <= 7.5 && found.bound() <= found.damage());
        let free = Budget::bits_per_weight(7.5).choose(input).unwrap();
        assert!(found.damage() >= free.damage());
    });
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<_> = (0..2)
        .flat_map(|layer| (0..3).map(move |expert| format!("blk.{layer}.ffn_up.{expert}.weight")))
        .chain((0..2).map(|layer| format!("blk.{layer}.attn_q.weight")))
        .collect();
    let tensors: Vec<_> = names.iter().map(|name| (name.as_str(), &[256, 4][..])).collect();
    let input = model_of(&folder.path().join("experts.gguf"), &tensors);
    let mut alike = 0;
    for bits in [3.5, 4.5, 5.5, 6.5, 7.5] {
        for one_type_per_role in [false, true] {
            let found =
                Budget::bits_per_weight(bits).one_type_per_role(one_type_per_role).choose(&input).unwrap();
            let of = types(&found);
            for layer in 0..2 {
                let expert = |expert| of[format!("blk.{layer}.ffn_up.{expert}.weight").as_str()];
                assert!(expert(0) == expert(1) && expert(1) == expert(2), "{bits}: {of:?}");
            }
            let layers = ["ffn_up.0", "attn_q"].map(|kind| {
                of[format!("blk.0.{kind}.weight").as_str()] == of[format!("blk.1.{kind}.weight").as_str()]
            });
            assert!(!one_type_per_role || layers == [true; 2], "{bits}: {of:?}");
            alike += usize::from(layers == [true; 2]);
        }
    }
    // Without the rule, they are not.
    assert!(alike < 10, "{alike}");
}

#[test]
fn recipes_are_compared_by_what_quantizing_makes_of_them() {
    with(|input| {
        let found = Budget::bits_per_weight(12.0).choose(input).unwrap();
        let recipes = found.recipes();
        assert!(recipes.len() > 10, "{recipes:?}");
        for prediction in recipes {
            let recipe = prediction.recipe.unwrap();
            let report = Quantize::recipe(recipe).plan(input, "out.gguf").unwrap();
            assert_eq!(report.size_after(), prediction.size, "{recipe}");
        }
        let best = found.best_recipe().unwrap();
        assert!(best.size.bits_per_weight() <= 12.0);
        let fits = |one: &&Prediction| one.size.bits_per_weight() <= 12.0;
        assert!(recipes.iter().filter(fits).all(|one| one.damage >= best.damage), "{recipes:?}");
        // Everything is allowed that the best has, so that the choice is no worse.
        assert!(found.damage() <= best.damage, "{found:?}");
        assert_eq!(Budget::bits_per_weight(6.0).types([GgmlType::Q8_0]).choose(input).ok(), None);
        // Where a rule forbids what the recipe does, that is better.
        let fixed = [("token_embd.weight", GgmlType::Q2_K)];
        let found = Budget::bytes(best.size.bytes * 2).fix(fixed).choose(input).unwrap();
        assert!(found.best_recipe().unwrap().damage < found.damage(), "{found:?}");
    });
}

#[test]
fn what_was_measured_is_measured_again_where_it_changed() {
    let folder = tempfile::tempdir().unwrap();
    let input = model(&folder.path().join("model.gguf"));
    let budget = Budget::bits_per_weight(8.0);
    let (mut calls, mut last) = (0, (0, 0));
    let found = budget.measure(&input, &Measurements::default(), |done, total| {
        (calls, last) = (calls + 1, (done, total));
        ControlFlow::Continue(())
    });
    let found = found.unwrap();
    // The five that are quantized, and the odd one, which recipes would make F16.
    assert_eq!((found.len(), found.reused(), calls, last.0), (6, 0, 6, last.1));
    assert_eq!(budget.choose_by(&input, &found).unwrap(), budget.choose(&input).unwrap());
    let kept: Measurements = found.to_string().parse().unwrap();
    let again = Budget::bytes(1 << 20).measure(&input, &kept, go_on).unwrap();
    assert_eq!((again.reused(), &again), (6, &found));
    // More types: what is known stays, what is not is measured.
    let more = budget.clone().types(
        GgmlType::ALL
            .iter()
            .copied()
            .filter(|ty| ty.can_quantize() && !ty.needs_importance() && ty.is_quantized()),
    );
    let more = more.measure(&input, &kept, go_on).unwrap();
    assert!(more.reused() < 6);
    assert_eq!(budget.measure(&input, &more, go_on).unwrap().reused(), 6);
    // Other samples, other values and another shape are other content.
    assert_eq!(budget.clone().sample(1).measure(&input, &kept, go_on).unwrap().reused(), 6);
    let tensors = [("token_embd.weight", &[256, 16][..]), ("blk.0.attn_v.weight", &[256, 5])];
    let other = model_of(&folder.path().join("other.gguf"), &tensors);
    let found = budget.measure(&other, &kept, go_on).unwrap();
    assert_eq!((found.len(), found.reused()), (2, 1));
    let wrong: Measurements =
        kept.to_string().replace("blk.0.attn_v.weight ", "blk.0.attn_v.weight 1").parse().unwrap_or_default();
    assert!(budget.measure(&input, &wrong, go_on).unwrap().reused() < 6);

    let stop = |_, _| ControlFlow::Break(());
    assert!(matches!(budget.measure(&input, &kept, stop), Err(Error::Interrupted)));
    let error = budget.choose_by(&input, &Measurements::default()).unwrap_err().to_string();
    assert!(error.contains("was not measured in"), "{error}");
}

#[test]
fn a_curve_descends_to_where_more_is_of_no_use() {
    with(|input| {
        let budget = Budget::bytes(0);
        let found = budget.measure(input, &Measurements::default(), go_on).unwrap();
        let curve = budget.curve(input, &found).unwrap();
        assert!(curve.len() > 10, "{curve:?}");
        for pair in curve.windows(2) {
            assert!(pair[0].size.bytes < pair[1].size.bytes && pair[0].damage > pair[1].damage, "{pair:?}");
        }
        for point in &curve {
            let chosen = Budget::bytes(point.size.bytes).choose_by(input, &found).unwrap();
            assert!(chosen.damage() <= point.damage * (1.0 + 1e-12), "{point:?} {}", chosen.damage());
        }
        let all = Budget::bytes(u64::MAX).choose_by(input, &found).unwrap();
        assert_eq!(curve.last().unwrap().size, all.size());
    });
}

#[test]
fn importance_makes_what_it_weighs_less_dear() {
    with(|input| {
        let mut imatrix = Imatrix::new();
        let sums: Vec<f32> = (0..256).map(|column| if column % 16 == 0 { 400.0 } else { 1.0 }).collect();
        imatrix.add("blk.0.attn_v.weight", sums.clone(), vec![1.0], None).unwrap();
        let budget = Budget::bits_per_weight(7.0);
        let weighed = budget.clone().imatrix(&imatrix);
        let plain = budget.measure(input, &Measurements::default(), go_on).unwrap();
        // Other importance is other content; the rest is as before.
        let found = weighed.measure(input, &plain, go_on).unwrap();
        assert_eq!((found.len(), found.reused()), (6, 5));
        for ty in [GgmlType::Q2_K, GgmlType::IQ4_NL, GgmlType::Q4_K] {
            let loss = |found: &Measurements| found.loss("blk.0.attn_v.weight", ty).unwrap();
            let (found_loss, plain_loss) = (loss(&found), loss(&plain));
            assert!(found_loss.left < 0.9, "{ty}: {found_loss:?}");
            assert_eq!((found_loss.error, plain_loss.left), (plain_loss.error, 1.0));
            let loss = |found: &Measurements| found.loss("blk.1.attn_q.weight", ty).unwrap();
            assert_eq!(loss(&found), loss(&plain));
        }
        // The only tensor of its role: what is left of its error is that of the role.
        let of = |budget: &Budget<'_>, found: &Measurements| {
            let chosen = budget
                .clone()
                .fix([("blk.0.attn_v.weight", GgmlType::Q4_K)])
                .choose_by(input, found)
                .unwrap();
            chosen.tensors().iter().find(|tensor| tensor.role == "attn_v").unwrap().damage
        };
        let left = found.loss("blk.0.attn_v.weight", GgmlType::Q4_K).unwrap().left;
        let saved = of(&weighed, &found) / of(&budget, &plain);
        assert!((saved / left - 1.0).abs() < 1e-9, "{saved} {left}");
        // With importance there is a quantizer.
        let budget_of_few = Budget::bytes(1 << 20).imatrix(&imatrix).types([GgmlType::IQ2_XXS]);
        let low = budget_of_few.choose(input).unwrap();
        assert_eq!(types(&low).into_iter().collect::<Vec<_>>(), [("blk.0.attn_v.weight", GgmlType::IQ2_XXS)]);
        let mut other = Imatrix::new();
        other.add("blk.0.attn_v.weight", vec![1.0; 7], vec![1.0], None).unwrap();
        assert!(budget.imatrix(&other).choose(input).is_err());
    });
}

#[test]
fn where_sensitivities_are_from_is_told() {
    with(|input| {
        let budget = Budget::bits_per_weight(8.0).sensitivities("blk.1.attn_q.weight\t3\n").unwrap();
        let source = |found: &Allocation, name: &str| {
            found.tensors().iter().find(|tensor| tensor.name == name).unwrap().sensitivity_source
        };
        let found = budget.choose(input).unwrap();
        assert_eq!(source(&found, "blk.1.attn_q.weight"), SensitivitySource::Given);
        assert_eq!(source(&found, "blk.0.attn_v.weight"), SensitivitySource::Fitted);
        assert_eq!(source(&found, "blk.1.odd.weight"), SensitivitySource::Guessed);
        let found = budget.equal_sensitivities(true).choose(input).unwrap();
        assert_eq!(source(&found, "blk.1.attn_q.weight"), SensitivitySource::Given);
        assert_eq!(source(&found, "blk.0.attn_v.weight"), SensitivitySource::Equal);
        let alpha =
            |name: &str| found.tensors().iter().find(|tensor| tensor.name == name).unwrap().sensitivity;
        // Of 16 rows and of 4.
        assert!((alpha("token_embd.weight") / alpha("blk.0.attn_v.weight") - 4.0).abs() < 1e-9);
    });
}

#[test]
fn what_is_quantized_already_may_stay() {
    let folder = tempfile::tempdir().unwrap();
    let floats = model(&folder.path().join("floats.gguf"));
    let quantized = folder.path().join("quantized.gguf");
    Quantize::uniform(GgmlType::Q4_0).run(&floats, &quantized).unwrap();
    let input = Input::open(&quantized).unwrap();
    let found = Budget::bits_per_weight(32.0).choose(&input).unwrap();
    // More bits make nothing better than what is there.
    assert_eq!((found.damage(), types(&found)["blk.0.attn_v.weight"]), (0.0, GgmlType::Q4_0));
    assert!(found.best_recipe().unwrap().damage >= 0.0);
    let found = Budget::bits_per_weight(32.0).types([GgmlType::Q8_0]).choose(&input).unwrap();
    assert_eq!(types(&found)["blk.0.attn_v.weight"], GgmlType::Q8_0);
}

#[test]
fn a_type_that_cannot_hold_the_values_is_not_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let file = |factor: f32| {
        let mut writer = Writer::create(&path).unwrap();
        writer.set_metadata("general.architecture", "llama").unwrap();
        writer.declare_tensor("blk.0.ffn_down.weight", &[256, 8], GgmlType::F32).unwrap();
        let mut data = writer.write_header().unwrap();
        let values: Vec<_> = (0..2048).map(|i| ((i * i) as f32 * 0.37).sin() * factor).collect();
        let mut tensor = data.begin("blk.0.ffn_down.weight").unwrap();
        tensor.write_values(&values, None).unwrap();
        tensor.finish().unwrap();
        data.finish().unwrap();
        Input::open(&path).unwrap()
    };
    // A sixteenth of this is more than a scale of 16 bits may be; Q6_K divides it twice.
    for factor in [1.0, 2e7] {
        let budget = Budget::bits_per_weight(7.0).types([GgmlType::Q5_0, GgmlType::Q6_K]);
        let found = budget.choose(&file(factor)).unwrap();
        assert_eq!(types(&found)["blk.0.ffn_down.weight"], GgmlType::Q6_K);
        assert!(found.damage() < 0.1, "{factor}: {found:?}");
    }
    let error = Budget::bits_per_weight(7.0).choose(&file(f32::INFINITY)).unwrap_err().to_string();
    assert!(error.contains("tensor 'blk.0.ffn_down.weight': value 0 is NaN"), "{error}");
}
