//! The options of quantizing, which several commands have, and the lists of tensors.

use std::fs;

use gguf_codec::model::hf::FromSafetensors;
use gguf_codec::{GgmlType, Gguf, safetensors};
use serde_json::Value as Json;

use crate::quantize::{imatrix, llama, types};
use crate::support::*;

/// The line of a tensor in a list.
fn line<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    let line = text.lines().find(|line| line.trim_start().starts_with(name));
    line.unwrap_or_else(|| panic!("no line for {name}: {text}")).split_whitespace().collect()
}

#[test]
fn a_dry_run_lists_the_tensors_that_are_asked_for() {
    let folder = Folder::new();
    let (input, out) = (llama(&folder, GgmlType::F32), folder.path("out.gguf"));
    let before = folder.names();
    for command in
        [&["quantize", &input, &out, "--recipe", "Q4_K_M"][..], &["convert", &input, &out, "--type", "Q6_K"]]
    {
        let run = |more: &[&str]| works(command[0], &[&command[1..], &["--dry-run"], more].concat());
        assert!(!run(&[]).contains("\n  blk.0.ffn_down"));
        let all = run(&["--all"]);
        let wanted = ["blk.0.ffn_down.weight", "F32", "Q6_K", "4.10", "kB", "840", "B"];
        assert_eq!(line(&all, "blk.0.ffn_down"), wanted);
        assert_eq!(line(&all, "blk.0.attn_norm")[1..3], ["F32", "F32"]);
        let some = run(&[
            "--tensor",
            "*.ffn_down.weight",
            "--tensor",
            "token_embd*",
            "--tensor",
            "token_embd.weight",
        ]);
        assert_eq!(line(&some, "blk.0.ffn_down"), wanted);
        assert!(some.contains("token_embd.weight") && !some.contains("\n  blk.0.attn_norm"), "{some}");
        assert_eq!(some.matches("token_embd").count(), 1, "{some}");
        let refused = fails(command[0], &[&command[1..], &["--tensor", "*.ffn_dwon.weight"]].concat());
        assert!(
            refused.contains("no tensor matches '*.ffn_dwon.weight'; is it 'blk.*.ffn_down.weight'?"),
            "{refused}"
        );
    }
    assert_eq!(folder.names(), before);
}

#[test]
fn patterns_are_expressions_or_whole_names_and_what_they_cannot_do_is_told() {
    let folder = Folder::new();
    let (input, out) = (llama(&folder, GgmlType::F32), folder.path("out.gguf"));
    let of = |args: &[&str]| {
        let text = works("quantize", &[&[&*input, &out], args].concat());
        (text, types(&out).into_iter().find(|(name, _)| name == "blk.0.ffn_down.weight").unwrap().1)
    };
    for pattern in ["*.ffn_down.weight=Q8_0", r"ffn_d\w+=Q8_0", "blk.*.ffn_down.weight=Q8_0"] {
        for target in
            [&["--recipe", "Q4_0", "--tensor-type", pattern][..], &["--size", "7k", "--fix", pattern]]
        {
            let (text, ty) = of(target);
            assert_eq!(ty, GgmlType::Q8_0, "{target:?}");
            assert!(!text.contains("no such exception"), "{text}");
        }
    }
    // A vector stays as it is, and says so, with either option.
    for target in
        [&["--recipe", "Q4_0", "--tensor-type", "norm=Q8_0"][..], &["--size", "7k", "--fix", "norm=Q8_0"]]
    {
        let (text, _) = of(target);
        let told = "F32, and not Q8_0, since llama.cpp makes no such exception: blk.0.attn_norm.weight\n";
        assert!(text.contains(told), "{text}");
    }
    // Rows that are not whole blocks of the type get what a recipe would give them, with either option.
    for target in
        [&["--recipe", "Q8_0", "--tensor-type", "attn_v=Q4_K"][..], &["--bpw", "9", "--fix", "attn_v=Q4_K"]]
    {
        let text = works("quantize", &[&[SAMPLE, &out, "--allow-requantize"], target].concat());
        let told = "Q5_0 instead of Q4_K, since rows are not whole blocks of that: blk.*.attn_v.weight (2)\n";
        assert!(text.contains(told), "{text}");
        let model = Gguf::read(&out).unwrap();
        assert_eq!(model.tensor("blk.1.attn_v.weight").unwrap().ggml_type(), GgmlType::Q5_0);
    }
    let refused =
        fails("quantize", &[&input, &out, "--recipe", "Q4_0", "--tensor-type", "blk.?.ffn_down.weight=Q8_0"]);
    assert!(
        refused.contains(r"is it '^blk\..\.ffn_down\.weight$'? A pattern is a regular expression here"),
        "{refused}"
    );
}

#[test]
fn a_checkpoint_is_quantized_with_all_options_as_a_model_is() {
    let folder = Folder::new();
    let (input, hf) = (llama(&folder, GgmlType::F32), folder.path("hf"));
    works("to-safetensors", &[&input, &hf]);
    let importance = imatrix(&folder, "blk.0.ffn_down.weight", 256);
    let other = folder.path("other.gguf");
    works("quantize", &[&input, &other, "--recipe", "Q5_K_M"]);
    let (two, one) = (folder.path("two.gguf"), folder.path("one.gguf"));
    for options in [
        &["--recipe", "Q4_K_M", "--pure"][..],
        &["--recipe", "Q4_K_M", "--tensor-type", "*.ffn_down.weight=Q8_0", "--token-embedding-type", "Q6_K"],
        &["--recipe", "Q3_K_S", "--imatrix", &importance, "--output-tensor-type", "Q8_0"],
        &["--recipe", "IQ2_XS", "--missing-importance", "uniform", "--leave-output-tensor"],
        &["--types-like", &other],
    ] {
        let from_gguf = works("quantize", &[&[&*input, &two], options].concat());
        let before = folder.names();
        let planned = works("from-safetensors", &[&[&*hf, &one, "--dry-run", "--all"], options].concat());
        let names = |file: &str| types(file).len();
        assert_eq!(
            planned.lines().filter(|line| line.starts_with("  blk.") || line.starts_with("  token_")).count(),
            names(&two),
            "{planned}"
        );
        if before.iter().all(|path| !path.ends_with("one.gguf")) {
            assert_eq!(folder.names(), before);
        }
        let from_hf = works("from-safetensors", &[&[&*hf, &one], options].concat());
        assert_eq!(fs::read(&one).unwrap(), fs::read(&two).unwrap(), "{options:?}");
        // The same summary, but for the names, the time and what only a checkpoint has.
        let table = |text: &str| {
            let lines =
                text.lines().skip(1).filter(|line| !line.contains("note: ") && !line.contains(" bytes), "));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(table(&from_hf), table(&from_gguf), "{options:?}");
        let json: Json = serde_json::from_str(&works(
            "from-safetensors",
            &[&[&*hf, &one, "--json", "--dry-run"], options].concat(),
        ))
        .unwrap();
        assert_eq!(
            (&json["written"], &json["bytes"]),
            (&false.into(), &fs::metadata(&two).unwrap().len().into())
        );
    }
    for (options, said) in [
        (&["--pure"][..], "--recipe <NAME>|--types-like <OTHER>"),
        (&["--imatrix", &importance], "--recipe <NAME>|--types-like <OTHER>"),
        (&["--recipe", "Q4_0", "--type", "Q8_0"], "cannot be used with"),
        (
            &["--recipe", "Q4_0", "--tensor-type", "ffn_dwon=Q8_0"],
            "--tensor-type 'ffn_dwon' matches no tensor; is it 'ffn_down'?",
        ),
    ] {
        let line = fails("from-safetensors", &[&[&*hf, &one], options].concat());
        assert!(line.contains(said), "{options:?}: {line}");
    }
    // A dry run without quantizing.
    let size = folder.path("size.gguf");
    let planned = works("from-safetensors", &[&hf, &size, "--dry-run"]);
    assert!(!fs::exists(&size).unwrap() && planned.contains("would have 3 tensors"), "{planned}");
    works("from-safetensors", &[&hf, &size]);
    let bytes = FromSafetensors::open(&hf).unwrap().plan(&size).unwrap().bytes;
    assert_eq!(bytes, fs::metadata(&size).unwrap().len());
}

#[test]
fn a_folder_of_peft_is_merged_as_the_adapter_that_is_made_of_it() {
    let folder = Folder::new();
    let (base, peft) = (folder.path("base"), folder.path("peft"));
    works("to-safetensors", &[SAMPLE, &base]);
    fs::create_dir(&peft).unwrap();
    fs::write(
        format!("{peft}/adapter_config.json"),
        r#"{"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["v_proj"]}"#,
    )
    .unwrap();
    let mut writer = safetensors::Writer::create(format!("{peft}/adapter_model.safetensors")).unwrap();
    let names = ["A", "B"]
        .map(|factor| format!("base_model.model.model.layers.0.self_attn.v_proj.lora_{factor}.weight"));
    let shapes = [[2u64, 64], [32, 2]];
    for (name, shape) in names.iter().zip(shapes) {
        writer.declare_tensor(name, &shape, safetensors::Dtype::F32).unwrap();
    }
    let mut data = writer.write_header().unwrap();
    for (name, shape) in names.iter().zip(shapes) {
        data.write_tensor(name, &floats(&wave((shape[0] * shape[1]) as usize))).unwrap();
    }
    data.finish().unwrap();

    let [adapter, one, two] = ["adapter.gguf", "one.gguf", "two.gguf"].map(|name| folder.path(name));
    works("from-safetensors", &[&peft, &adapter, "--base", &base]);
    for more in
        [&["--scale", "0.5"][..], &["--recipe", "Q8_0", "--allow-requantize", "--tensor-type", "attn_q=F16"]]
    {
        works("merge-lora", &[&[SAMPLE, &adapter, &two], more].concat());
        let text = works("merge-lora", &[&[SAMPLE, &peft, &one, "--base", &base], more].concat());
        assert!(text.contains("1 tensor changed by 1 adapter"), "{text}");
        assert_eq!(fs::read(&one).unwrap(), fs::read(&two).unwrap());
        let file = format!("{peft}/adapter_model.safetensors");
        works("merge-lora", &[&[SAMPLE, &file, &one, "--base", &base], more].concat());
        assert_eq!(fs::read(&one).unwrap(), fs::read(&two).unwrap());
    }
    // A dry run says what the run does, and writes nothing.
    for more in [&["--scale", "0.5"][..], &["--recipe", "Q8_0", "--allow-requantize", "--all"]] {
        let run = |out: &str, dry: &[&str]| {
            works("merge-lora", &[&[SAMPLE, &adapter, &peft, out, "--base", &base], more, dry].concat())
        };
        let none = folder.path("none.gguf");
        let json = run(&none, &["--dry-run", "--json"]);
        let told = run(&none, &["--dry-run"]);
        assert!(!fs::exists(&none).unwrap(), "{told}");
        let done = run(&one, &[]).replace("one.gguf", "none.gguf");
        let untimed = |text: &str| text.split(", in ").next().unwrap().trim_end().to_owned();
        let planned = told.replace(" would be changed", " changed").replace(" would be Q8_0", " is Q8_0");
        assert_eq!(untimed(&planned), untimed(&done));
        for part in
            ["none.gguf: 1 tensor would be changed by 2 adapters\n", "adapter.gguf, scale ", "peft, scale "]
        {
            assert!(told.contains(part), "{part}: {told}");
        }
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["bytes"], fs::metadata(&one).unwrap().len());
        assert_eq!(json["by_adapter"][1]["tensors"], serde_json::json!(["blk.0.attn_v.weight"]), "{json}");
        assert_eq!(json["written"], false);
    }
    let line = fails("merge-lora", &[SAMPLE, &adapter, &one, "--all"]);
    assert!(line.contains("--recipe <NAME>"), "{line}");
    let line = fails("merge-lora", &[SAMPLE, &peft, &one]);
    assert!(line.contains("give its folder (--base)"), "{line}");
    // Nothing of the adapter is overwritten.
    let line =
        fails("merge-lora", &[SAMPLE, &peft, &format!("{peft}/adapter_model.safetensors"), "--base", &base]);
    assert!(line.contains("no input is overwritten"), "{line}");
    let line = fails("merge-lora", &[SAMPLE, &adapter, &one, "--pure"]);
    assert!(line.contains("--recipe <NAME>"), "{line}");
}
