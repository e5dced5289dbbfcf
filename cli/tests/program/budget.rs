//! `quantize --size` and `--bpw`: types that are chosen for a size.

use std::fs;

use gguf_codec::{GgmlType, Gguf};
use serde_json::Value as Json;

use crate::quantize::{imatrix, llama, types};
use crate::support::*;

#[test]
fn types_are_chosen_for_a_size() {
    let folder = Folder::new();
    let (input, out) = (llama(&folder, GgmlType::F32), folder.path("out.gguf"));
    let bytes = |path: &str| -> u64 {
        let file = fs::read(path).unwrap();
        Gguf::parse(&file).unwrap().tensors().map(|tensor| tensor.byte_len()).sum()
    };
    let told = works("quantize", &[&input, &out, "--bpw", "8", "--dry-run"]);
    assert!(told.contains("would be quantized to a size: ") && told.contains("predicted damage"), "{told}");
    assert!(told.contains("\n  ffn_down     "), "{told}");
    assert!(!fs::exists(&out).unwrap());

    // 3328 values, 256 of them F32.
    for (option, value, most) in [("--bpw", "8", 3328), ("--size", "3kB", 3000), ("--size", "1MB", 1_000_000)]
    {
        let json = works("quantize", &[&input, &out, option, value, "--json"]);
        let json: Json = serde_json::from_str(&json).unwrap();
        assert!(bytes(&out) <= most && json["budget"]["tensor_bytes"] == bytes(&out), "{json}");
        assert!(json["budget"]["bound"].as_f64() <= json["budget"]["damage"].as_f64(), "{json}");
        // The norm, whose factor would be a guess, stays as it is.
        assert_eq!(json["budget"]["guessed_sensitivities"], 0, "{json}");
        let file = fs::read(&out).unwrap();
        let file_type = Gguf::parse(&file).unwrap().metadata().require::<u32>("general.file_type").unwrap();
        assert_eq!(json["file_type"], file_type);
    }
    let q8 = GgmlType::Q8_0;
    assert!(types(&out).iter().all(|(name, ty)| (*ty == q8) != name.contains("norm")), "{:?}", types(&out));

    let sensitivity = folder.file("sensitivity", "token_embd.weight\t0\nblk.0.ffn_down.weight\t1\n");
    works("quantize", &[&input, &out, "--bpw", "8", "--sensitivity", &sensitivity]);
    let types = types(&out);
    let of = |name: &str| types.iter().find(|(other, _)| other == name).unwrap().1;
    assert_eq!((of("token_embd.weight"), of("blk.0.ffn_down.weight")), (GgmlType::Q2_K, q8));
}

#[test]
fn sizes_that_are_wrong_are_refused() {
    let folder = Folder::new();
    let (input, out) = (llama(&folder, GgmlType::F32), folder.path("out.gguf"));
    let error = fails("quantize", &[&input, &out, "--size", "1kB"]);
    assert!(error.contains("bytes at least") && error.contains("1000 are too few"), "{error}");
    let bad = folder.file("sensitivity", "# names\ntoken_embd.weight 1\n");
    let error = fails("quantize", &[&input, &out, "--size", "1MB", "--sensitivity", &bad]);
    assert!(error.contains("line 2 of the sensitivities"), "{error}");
    for (line, message) in [
        ("nothing\t1", "sensitivity': line 1 of the sensitivities: the model has no tensor 'nothing'"),
        (
            "token_embd.weight\t1e308",
            "sensitivity': line 1 of the sensitivities: after the tab there is no number from 0 to 1e30",
        ),
    ] {
        let bad = folder.file("sensitivity", line);
        let error = fails("quantize", &[&input, &out, "--size", "1MB", "--sensitivity", &bad]);
        assert!(error.contains(message), "{error}");
    }
    // Large numbers take no long lines.
    let large = folder.file("sensitivity", "token_embd.weight\t1e30\nblk.0.ffn_down.weight\t1e30\n");
    let told = works("quantize", &[&input, &out, "--size", "3kB", "--sensitivity", &large, "--dry-run"]);
    let line = told.lines().find(|line| line.starts_with("predicted damage ")).unwrap();
    assert!(line.contains("e2") && told.lines().all(|line| line.len() < 120), "{told}");
    is_refused("quantize", &[&input, &out, "--size", "1MB", "--recipe", "Q4_0"]);
    is_refused("quantize", &[&input, &out, "--size", "1MB", "--bpw", "5"]);
    is_refused("quantize", &[&input, &out, "--sensitivity", &bad]);
    assert!(!fs::exists(&out).unwrap());
}

#[test]
fn rules_are_kept() {
    let folder = Folder::new();
    let (input, out) = (llama(&folder, GgmlType::F32), folder.path("out.gguf"));
    let of = |arguments: &[&str]| {
        works("quantize", &[&[&input[..], &out, "--size", "3100"], arguments].concat());
        types(&out).into_iter().collect::<std::collections::BTreeMap<_, _>>()
    };
    let (embedding, down) = ("token_embd.weight", "blk.0.ffn_down.weight");
    assert_eq!(of(&["--fix", "ffn_down=Q2_K", "--fix", "ffn=Q8_0"])[down], GgmlType::Q2_K);
    assert_eq!(of(&["--at-least", "token_embd=Q6_K"])[embedding], GgmlType::Q6_K);
    let found = of(&["--choose-from", "Q4_0,Q5_K"]);
    assert!(
        [embedding, down].iter().all(|name| matches!(found[*name], GgmlType::Q4_0 | GgmlType::Q5_K)),
        "{found:?}"
    );
    of(&["--one-type-per-role", "--equal-sensitivity"]);
    for (rule, message) in [
        (["--fix", "atn_v=Q8_0"], "--fix 'atn_v' matches no tensor"),
        (["--fix", "Q8_0"], "write it as PATTERN=TYPE"),
        (["--at-least", "ffn=Q8_0"], "there is no role 'ffn'; the roles are attn_k"),
        (["--choose-from", "IQ2_XXS"], "IQ2_XXS cannot be chosen for a size"),
        (["--choose-from", "I8"], "values are not quantized to I8, but to F32, F16, Q4_0"),
        (["--fix", "ffn_down=I8"], "values are not quantized to I8, but to F32, F16, Q4_0"),
        (["--at-least", "ffn_down=I8"], "values are not quantized to I8, but to F32, F16, Q4_0"),
    ] {
        let error = fails("quantize", &[&[&*input, &out, "--size", "3100"], &rule[..]].concat());
        assert!(error.contains(message), "{error}");
    }
    is_refused("quantize", &[&input, &out, "--recipe", "Q4_0", "--one-type-per-role"]);
}

#[test]
fn what_was_measured_is_kept_and_used_again() {
    let folder = Folder::new();
    let (input, out) = (llama(&folder, GgmlType::F32), folder.path("out.gguf"));
    let kept = folder.path("kept");
    let run = |size: &str, more: &[&str]| {
        let mut command = gguf("quantize");
        command.args([&input[..], &out, "--size", size, "--dry-run", "--measurements", &kept]).args(more);
        let output = finish(command);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    run("3kB", &[]);
    let text = fs::read_to_string(&kept).unwrap();
    assert!(text.starts_with("gguf-codec measurements 1\n") && text.contains("token_embd.weight "), "{text}");
    let told = run("2200", &[]);
    assert!(!told.contains("measured again") && fs::read_to_string(&kept).unwrap() == text, "{told}");
    // Importance changes one of the two.
    let im = imatrix(&folder, "blk.0.ffn_down.weight", 256);
    let told = run("2200", &["--imatrix", &im]);
    assert!(told.contains("measured again: 1 tensor, which") && told.contains("--force keeps"), "{told}");
    assert_eq!(fs::read_to_string(&kept).unwrap(), text);
    let told = run("2200", &["--imatrix", &im, "--force"]);
    assert!(!told.contains("measured again"), "{told}");
    assert_ne!(fs::read_to_string(&kept).unwrap(), text);
    // What is no such file is named, and stays.
    let junk = folder.file("junk", "nothing\n");
    let line = fails("quantize", &[&input, &out, "--size", "3kB", "--measurements", &junk]);
    assert!(line.contains("junk': line 1 of the measurements"), "{line}");
    let line = fails("quantize", &[&input, &kept, "--size", "3kB", "--measurements", &kept]);
    assert!(line.contains("the file that the model goes to"), "{line}");
    let line = fails("quantize", &[&input, &out, "--size", "3kB", "--measurements", &out]);
    assert!(line.contains("the file that the model goes to"), "{line}");
    assert!(!fs::exists(&out).unwrap());
}

#[test]
fn a_checkpoint_gets_the_types_that_its_gguf_gets() {
    let folder = Folder::new();
    let hf = crate::safetensors::quantized(&folder);
    let [stored, two, one] = ["stored.gguf", "two.gguf", "one.gguf"].map(|name| folder.path(name));
    works("from-safetensors", &[&hf, &stored]);
    let im = imatrix(&folder, "blk.0.ffn_down.weight", 512);
    let sensitivity = folder.file("sensitivity", "blk.0.attn_v.weight\t9\n");
    let rules = ["--size", "0.4MB", "--imatrix", &im, "--sensitivity", &sensitivity, "--fix", "ffn_up=Q5_K"];
    for options in [&["--bpw", "6"][..], &[&rules[..], &["--one-type-per-role"]].concat()] {
        let told = works("quantize", &[&[&*stored, &two, "--allow-requantize"], options].concat());
        let imported = works("from-safetensors", &[&[&*hf, &one], options].concat());
        assert_eq!(fs::read(&one).unwrap(), fs::read(&two).unwrap(), "{options:?}");
        let table = |text: &str| {
            // The last line has the time that it took.
            let rows = text.lines().filter(|line| line.starts_with("  ") && line.contains('%'));
            rows.map(str::to_owned).collect::<Vec<_>>()
        };
        assert!(
            imported.contains("predicted damage") && imported.contains("one.gguf is quantized to a size"),
            "{imported}"
        );
        assert_eq!(table(&imported), table(&told));
    }

    fs::remove_file(&one).unwrap();
    let (plot, kept) = (folder.path("plot.svg"), folder.path("kept"));
    let beside = ["--bpw", "6", "--plot", &plot, "--measurements", &kept];
    let json = works("from-safetensors", &[&[&*hf, &one, "--dry-run", "--json"], &beside[..]].concat());
    let json: Json = serde_json::from_str(&json).unwrap();
    let tensors = json["budget"]["tensor_bytes"].as_u64().unwrap();
    assert!(json["written"] == false && tensors < json["bytes"].as_u64().unwrap(), "{json}");
    assert!(fs::exists(&plot).unwrap() && fs::exists(&kept).unwrap() && !fs::exists(&one).unwrap());
    // What was measured serves the GGUF as well.
    let told =
        works("quantize", &[&*stored, &two, "--allow-requantize", "--bpw", "5", "--measurements", &kept]);
    assert!(!told.contains("measured again"), "{told}");

    let told = works("from-safetensors", &[&hf, &one, "--bpw", "5", "--max-size", "200K"]);
    assert!(told.contains("one-00001-of-"), "{told}");
    works("split", &[&two, &folder.path("two"), "--max-size", "200K"]);
    let shard = |name: &str| {
        let names = folder.names().into_iter().find(|path| path.to_string_lossy().contains(name));
        names.unwrap().to_str().unwrap().to_owned()
    };
    let first = shard("one-00001-of-");
    assert_eq!(fs::read(&first).unwrap(), fs::read(shard("two-00001-of-")).unwrap());

    let weights = format!("{hf}/model.safetensors");
    for (options, message) in [
        (&["--bpw", "6", "--plot", &weights][..], "no input is overwritten"),
        (&["--bpw", "6", "--measurements", &one], "the file that the model goes to"),
        (&["--bpw", "5", "--max-size", "200K", "--plot", &first], "no input is overwritten"),
        (&["--bpw", "6", "--type", "F16"], "cannot be used with"),
        (&["--bpw", "6", "--recipe", "Q4_0"], "cannot be used with"),
        (&["--bpw", "6", "--tensor-type", "ffn=Q4_0"], "cannot be used with"),
        (&["--sensitivity", &sensitivity], "--size <SIZE>|--bpw <BITS>"),
        (&["--plot", &plot], "--size <SIZE>|--bpw <BITS>"),
    ] {
        let line = fails("from-safetensors", &[&[&*hf, &one], options].concat());
        assert!(line.contains(message), "{options:?}: {line}");
    }
}

#[test]
fn files_beside_the_model_replace_no_input_and_no_model() {
    let folder = Folder::new();
    let (input, out) = (llama(&folder, GgmlType::F32), folder.path("out.gguf"));
    let im = imatrix(&folder, "blk.0.ffn_down.weight", 256);
    let before = fs::read(&im).unwrap();
    for dry_run in [&["--dry-run"][..], &[]] {
        let args = [&input[..], &out, "--size", "3kB", "--imatrix", &im, "--plot", &im];
        let line = fails("quantize", &[&args[..], dry_run].concat());
        assert!(line.contains("no input is overwritten"), "{line}");
        // By another spelling of its path.
        let same = folder.path("./out.gguf");
        for option in ["--plot", "--measurements"] {
            fs::write(&out, "a model").unwrap();
            let line =
                fails("quantize", &[&[&input, &out, "--size", "3kB", option, &same][..], dry_run].concat());
            assert!(line.contains("the file that the model goes to"), "{line}");
            assert_eq!(fs::read_to_string(&out).unwrap(), "a model");
            fs::remove_file(&out).unwrap();
        }
    }
    assert_eq!(fs::read(&im).unwrap(), before);
    let shard = folder.path("out-00001-of-00002.gguf");
    let line = fails("quantize", &[&input, &out, "--size", "3kB", "--part", "1/2", "--plot", &shard]);
    assert!(line.contains("the file that the model goes to") && !fs::exists(&shard).unwrap(), "{line}");
    // What cannot be written is refused before anything is measured.
    let (plot, kept) = (folder.path("plot.svg"), folder.path("kept"));
    let beside = ["--size", "3kB", "--plot", &plot, "--measurements", &kept];
    fs::write(&out, "a model").unwrap();
    for to in [&out, &input, &folder.path("none/out.gguf")] {
        is_refused("quantize", &[&[&input[..], to][..], &beside].concat());
        assert!(!fs::exists(&plot).unwrap() && !fs::exists(&kept).unwrap(), "{to}");
    }
    let none = folder.file("zeros", "token_embd.weight\t0\nblk.0.ffn_down.weight\t0\n");
    let told = works("quantize", &[&input, &out, "--size", "3kB", "--dry-run", "--sensitivity", &none]);
    assert!(!told.contains("NaN"), "{told}");
}

#[test]
fn the_best_recipe_is_named_and_a_plot_is_drawn() {
    let folder = Folder::new();
    let (input, out) = (llama(&folder, GgmlType::F32), folder.path("out.gguf"));
    let plot = folder.path("plot.svg");
    let told = works("quantize", &[&input, &out, "--size", "3600", "--dry-run", "--plot", &plot]);
    assert!(told.contains("the best recipe of this size, ") && told.contains(" times as much"), "{told}");
    assert!(told.contains("next step up"), "{told}");
    let drawn = fs::read_to_string(&plot).unwrap();
    for part in ["<svg", "predicted damage, nats", "tensor data, MB", "Q4_K_M", "llama.cpp"] {
        assert!(drawn.contains(part), "{part}");
    }
    let line = is_refused("quantize", &[&input, &out, "--size", "3600", "--dry-run", "--plot", &plot]);
    assert!(line.contains("--force replaces it"), "{line}");
    let line = fails("quantize", &[&input, &out, "--size", "3600", "--plot", &input]);
    assert!(line.contains("no input is overwritten"), "{line}");
    // Where few bits are asked for, a recipe is better.
    let few = ["--fix", "embd=Q2_K", "--fix", "ffn=Q2_K"];
    let told = works("quantize", &[&[&input[..], &out, "--size", "4kB", "--dry-run"], &few[..]].concat());
    assert!(told.contains("better by prediction: --recipe "), "{told}");
    let json =
        works("quantize", &[&[&input[..], &out, "--size", "4kB", "--dry-run", "--json"], &few[..]].concat());
    let json: Json = serde_json::from_str(&json).unwrap();
    assert_eq!(json["budget"]["recipe_is_better"], true);
    assert!(json["budget"]["recipes"].as_array().unwrap().len() > 5, "{json}");
    let told = works("quantize", &[&input, &out, "--size", "2100", "--dry-run"]);
    assert!(told.contains("no recipe of types that may be chosen is as small"), "{told}");
    assert!(!fs::exists(&out).unwrap());
}
