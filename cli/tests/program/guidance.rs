//! Errors that lead to what works: missing arguments, near names, and files that another command takes.

use std::fs;

use gguf_codec::Gguf;

use crate::support::*;

#[test]
fn near_names_lead_to_commands_and_options() {
    let folder = Folder::new();
    let out = folder.path("out.gguf");
    for (command, args, said) in [
        ("quantise", &[][..], "unrecognized subcommand 'quantise'; is it 'quantize'? (see --help)"),
        ("info", &[SAMPLE], "unrecognized subcommand 'info'; is it 'inspect'? (see --help)"),
        ("show", &[], "is it 'inspect'?"),
        ("compare", &[], "is it 'diff'?"),
        ("import", &[], "is it 'from-safetensors'?"),
        ("model.gguf", &[], "is it 'gguf inspect model.gguf'?"),
        ("inspect", &["--jsno"], "unexpected argument '--jsno' found; is it '--json'?"),
        ("quantize", &[SAMPLE, &out, "Q4_K_M"], "a recipe is given as --recipe Q4_K_M"),
        ("quantize", &[SAMPLE, &out, "--type", "Q8_0"], "'gguf convert --type' gives every matrix one type"),
        ("quantize", &[SAMPLE, &out, "--recipe", "Q4_KM"], "is it 'Q4_K_M'?"),
    ] {
        let mut program = gguf(command);
        program.args(args);
        let output = finish(program);
        let line = String::from_utf8(output.stderr).unwrap();
        assert!(line.contains(said) && line.lines().count() == 1, "{command} {args:?}: {line}");
        assert_eq!(output.status.code(), Some(2), "{line}");
    }
}

#[test]
fn what_is_missing_is_told_with_what_would_do() {
    let folder = Folder::new();
    let out = folder.path("out.gguf");
    let line = fails("quantize", &[SAMPLE, &out]);
    for option in ["--recipe NAME", "--size", "--bpw", "--types-like", "convert --type"] {
        assert!(line.contains(option), "{line}");
    }
    let line = is_refused("edit", &[SAMPLE, "--set", "general.name=x"]);
    for option in ["OUT is missing", "--in-place", "--dry-run"] {
        assert!(line.contains(option), "{line}");
    }
    assert!(line.ends_with("(see --help)"), "{line}");
    // Folders that are missing are named, and none is made.
    let missing = folder.path("no/such");
    let output = format!("{missing}/m");
    for args in [
        &["split", SAMPLE, &output, "--max-tensors", "5"][..],
        &["convert", SAMPLE, &output, "--type", "F16"],
        &["edit", SAMPLE, &output, "--set", "general.name=x"],
        &["merge", SAMPLE, &output],
        &["to-safetensors", SAMPLE, &output],
    ] {
        let line = fails(args[0], &args[1..]);
        assert!(line.contains(&format!("there is no folder '{missing}'")), "{args:?}: {line}");
    }
    assert!(!fs::exists(folder.path("no")).unwrap());
}

#[test]
fn a_checkpoint_leads_to_the_command_that_takes_it() {
    let folder = Folder::new();
    let (hf, out) = (folder.path("hf"), folder.path("out.gguf"));
    works("to-safetensors", &[SAMPLE, &hf]);
    let file = format!("{hf}/model.safetensors");
    let misnamed = folder.file("misnamed.gguf", fs::read(&file).unwrap());
    for args in [
        &["inspect", &hf][..],
        &["inspect", &file],
        &["inspect", &misnamed],
        &["quantize", &hf, &out, "--recipe", "Q8_0"],
        &["merge-lora", &hf, SAMPLE, &out],
        &["merge-lora", SAMPLE, &hf, &out],
        &["diff", SAMPLE, &file],
    ] {
        let line = fails(args[0], &args[1..]);
        assert!(line.contains("`gguf from-safetensors` makes a GGUF of it"), "{args:?}: {line}");
    }
    // Not where there is nothing of the kind.
    fs::create_dir(folder.path("empty")).unwrap();
    assert!(!fails("inspect", &[&folder.path("empty")]).contains("from-safetensors"));
    assert!(!fails("from-safetensors", &[&folder.path("empty"), &out]).contains("`gguf from-safetensors`"));
}

#[test]
fn commands_that_need_a_file_say_what_reads_an_address() {
    let (folder, said) = (Folder::new(), "only `gguf inspect` reads models that are not files here");
    let out = folder.path("out.gguf");
    for args in [
        &["hash", "hf:org/repo/model.gguf"][..],
        &["diff", SAMPLE, "https://127.0.0.1/model.gguf"],
        &["convert", "ollama:model", &out, "--type", "F16"],
        &["edit", "http://127.0.0.1/model.gguf", &out],
    ] {
        let line = fails(args[0], &args[1..]);
        assert!(line.contains(said), "{args:?}: {line}");
    }
    assert!(!fails("hash", &[&folder.path("none.gguf")]).contains(said));
}

#[test]
fn a_folder_leads_to_the_model_in_it() {
    let folder = Folder::new();
    let (models, out) = (folder.path("models"), folder.path("out.gguf"));
    fs::create_dir(&models).unwrap();
    works("split", &[SAMPLE, &format!("{models}/m"), "--max-tensors", "7"]);
    let first = format!("{models}/m-00001-of-00003.gguf");
    let line = fails("merge", &[&models, &out]);
    assert!(line.ends_with(&format!("; is it '{first}'?")), "{line}");
    // Not where there are several.
    fs::copy(SAMPLE, format!("{models}/other.gguf")).unwrap();
    assert!(!fails("merge", &[&models, &out]).contains("is it"));
}

#[test]
fn a_key_is_set_or_added_and_misspelt_keys_are_errors_elsewhere() {
    let folder = Folder::new();
    let (out, template) = (folder.path("out.gguf"), folder.file("t.jinja", "{{ x }}\n"));
    let args = [
        "--set-or-add",
        "general.name=str:Mine",
        "--set-or-add",
        "general.url=str:none",
        "--set-or-add",
        "llama.context_length=u64:4096",
        "--set-or-add-file",
        &format!("tokenizer.chat_template=str:{template}"),
    ];
    let text = works("edit", &[&[SAMPLE, &out], &args[..]].concat());
    for line in [
        "general.name: \"Sample Llama 2 layers\" → \"Mine\" (string)\n",
        "llama.context_length: 2048 (u32) → 4096 (u64)\n",
        "general.url: added, \"none\" (string)\n",
        "tokenizer.chat_template: ",
    ] {
        assert!(text.contains(line), "{text}");
    }
    // The same again changes nothing.
    let again = folder.path("again.gguf");
    works("edit", &[&[&*out, &again], &args[..]].concat());
    assert_eq!(fs::read(&out).unwrap(), fs::read(&again).unwrap());
    let model = Gguf::read(&out).unwrap();
    assert_eq!(model.metadata().require::<&str>("tokenizer.chat_template").unwrap(), "{{ x }}\n");
    let line = fails("edit", &[SAMPLE, &out, "--add", "general.name=str:Mine"]);
    assert!(line.contains("is there already") && line.contains("--set-or-add does so or adds it"), "{line}");
    let line = fails("edit", &[SAMPLE, &out, "--set", "general.nmae=Mine"]);
    assert!(line.contains("is it 'general.name'?"), "{line}");
    let twice = ["--set", "general.name=A", "--set-or-add", "general.name=str:B"];
    let line = fails("edit", &[&[SAMPLE, &out], &twice[..]].concat());
    assert!(line.contains("is to be set twice"), "{line}");
}
