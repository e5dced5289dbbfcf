//! `quantize` and `imatrix`: settings, refusals, and leftovers.

use std::fs;

use gguf_codec::model::Imatrix;
use gguf_codec::{ByteOrder, GgmlType, Gguf, Writer};
use serde_json::Value as Json;

use crate::support::*;

/// Two matrices of a llama, and a vector.
pub(crate) fn llama(folder: &Folder, ty: GgmlType) -> String {
    let values = wave(256 * 16);
    let mut writer = Writer::new(Vec::new());
    writer.set_metadata("general.architecture", "llama").unwrap();
    writer.set_metadata("general.file_type", 1u32).unwrap();
    writer.set_metadata("llama.block_count", 1u32).unwrap();
    for (name, dims) in TENSORS {
        writer.declare_tensor(name, dims, ty).unwrap();
    }
    let mut data = writer.write_header().unwrap();
    for (name, dims) in TENSORS {
        let mut tensor = data.begin(name).unwrap();
        tensor.write_values(&values[..dims.iter().product::<u64>() as usize], None).unwrap();
        tensor.finish().unwrap();
    }
    folder.file("in.gguf", data.finish().unwrap())
}

const TENSORS: [(&str, &[u64]); 3] = [
    ("token_embd.weight", &[256, 8]),
    ("blk.0.ffn_down.weight", &[256, 4]),
    ("blk.0.attn_norm.weight", &[256]),
];

/// Importance for one of them.
pub(crate) fn imatrix(folder: &Folder, name: &str, columns: usize) -> String {
    let mut imatrix = Imatrix::new();
    imatrix.add(name, wave(columns).iter().map(|x| x * x).collect(), vec![3.0], None).unwrap();
    imatrix.datasets.push("a text".into());
    folder.file("im.gguf", imatrix.write(Writer::new(Vec::new())).unwrap())
}

pub(crate) fn types(path: &str) -> Vec<(String, GgmlType)> {
    let file = fs::read(path).unwrap();
    let model = Gguf::parse(&file).unwrap();
    model.tensors().map(|tensor| (tensor.name().to_owned(), tensor.ggml_type())).collect()
}

#[test]
fn what_lacks_importance_is_refused_uniform_or_of_another_type() {
    let folder = Folder::new();
    let (input, out) = (llama(&folder, GgmlType::F32), folder.path("out.gguf"));
    let lacks = folder.file("lacks.dat", "");
    let mut other = Imatrix::new();
    other.add("output.weight", wave(64).iter().map(|x| x * x).collect(), vec![2.0], None).unwrap();
    fs::write(&lacks, other.to_binary().unwrap()).unwrap();
    let of = |arguments: &[&str]| {
        let summary = works("quantize", &[&[&input[..], &out, "--recipe", "IQ2_XS"], arguments].concat());
        let ty = types(&out).into_iter().find(|(name, _)| name == "blk.0.ffn_down.weight").unwrap().1;
        (summary, ty)
    };
    let is_refused =
        fails("quantize", &[&input, &out, "--recipe", "IQ2_XS", "--missing-importance", "error"]);
    assert!(is_refused.contains("--missing-importance says what else to do"), "{is_refused}");
    let (summary, ty) = of(&["--missing-importance", "uniform"]);
    assert_eq!(ty, GgmlType::IQ2_XS);
    let told = "with the same importance for all values, since there is none: blk.0.ffn_down.weight";
    assert!(summary.contains(told), "{summary}");
    let uniform = fs::read(&out).unwrap();
    // The same as a matrix that says so.
    let mut ones = Imatrix::new();
    ones.add("blk.0.ffn_down.weight", vec![3.0; 256], vec![3.0], None).unwrap();
    let ones = folder.file("ones.dat", ones.to_binary().unwrap());
    of(&["--imatrix", &ones]);
    let data = |file: &[u8]| {
        let model = Gguf::parse(file).unwrap();
        model.tensor("blk.0.ffn_down.weight").unwrap().bytes().unwrap().to_vec()
    };
    assert_eq!(data(&uniform), data(&fs::read(&out).unwrap()));
    let (summary, ty) = of(&["--missing-importance", "Q4_K"]);
    assert_eq!(ty, GgmlType::Q4_K);
    let told = "Q4_K instead of a type that needs importance, since there is none: blk.0.ffn_down.weight";
    assert!(summary.contains(told), "{summary}");
    let line = fails("quantize", &[&input, &out, "--recipe", "IQ2_XS", "--missing-importance", "IQ1_S"]);
    assert!(line.contains("IQ1_S needs importance itself"), "{line}");

    // Several matrices are put together.
    let im = imatrix(&folder, "blk.0.ffn_down.weight", 256);
    let (summary, _) = of(&["--imatrix", &lacks, "--imatrix", &im]);
    assert!(
        summary.contains("with importance: 1 tensor") && summary.contains("not in the model: output.weight"),
        "{summary}"
    );
    let file = fs::read(&out).unwrap();
    let names =
        Gguf::parse(&file).unwrap().metadata().require::<&str>("quantize.imatrix.file").unwrap().to_owned();
    assert_eq!(names, format!("{lacks}, {im}"));
}

#[test]
fn a_recipe_and_what_overrides_it() {
    let folder = Folder::new();
    let (input, out) = (llama(&folder, GgmlType::F16), folder.path("out.gguf"));
    let summary = works("quantize", &[&input, &out, "--recipe", "q4_k_m"]);
    assert!(
        summary.contains("is Q4_K_M: ") && summary.contains("\n  F16         3  6.7 kB        1  0.5 kB\n"),
        "{summary}"
    );
    let names = |types: [GgmlType; 3]| {
        let names = ["token_embd.weight", "blk.0.attn_norm.weight", "blk.0.ffn_down.weight"];
        names.map(str::to_owned).into_iter().zip(types).collect::<Vec<_>>()
    };
    assert_eq!(types(&out), names([GgmlType::Q6_K, GgmlType::F16, GgmlType::Q6_K]));
    let file = fs::read(&out).unwrap();
    let metadata = Gguf::parse(&file).unwrap();
    assert_eq!(metadata.metadata().require::<u32>("general.file_type").unwrap(), 15);
    let keys: Vec<_> = metadata.metadata().iter().map(|(key, _)| key).collect();
    assert_eq!(keys[2..], ["general.quantization_version", "general.file_type"]);

    let settings = ["--tensor-type", r"ffn_(up|down)=q8_0", "--tensor-type", "down=Q2_K", "--pure"];
    works("quantize", &[&[&input, &out, "--recipe", "Q4_K_M"], &settings[..]].concat());
    assert_eq!(types(&out), names([GgmlType::Q4_K, GgmlType::F16, GgmlType::Q8_0]));
}

#[test]
fn a_dry_run_says_what_it_would_do_and_writes_nothing() {
    let folder = Folder::new();
    let (input, out) = (llama(&folder, GgmlType::F32), folder.path("out.gguf"));
    let before = folder.names();
    let json = works("quantize", &[&input, &out, "--recipe", "Q5_K_S", "--dry-run", "--json"]);
    assert_eq!(folder.names(), before);
    let planned: Json = serde_json::from_str(&json).unwrap();
    let json = works("quantize", &[&input, &out, "--recipe", "Q5_K_S", "--json"]);
    let done: Json = serde_json::from_str(&json).unwrap();
    assert_eq!(planned["tensors"], done["tensors"]);
    assert_eq!(done["bytes"], fs::metadata(&out).unwrap().len());
    assert_eq!((&planned["written"], &done["written"]), (&Json::Bool(false), &Json::Bool(true)));
    assert_eq!(done["tensors"][2]["type"], "Q5_K");
}

#[test]
fn importance_is_taken_where_it_fits() {
    let folder = Folder::new();
    let (input, out) = (llama(&folder, GgmlType::F32), folder.path("out.gguf"));
    let importance = imatrix(&folder, "blk.0.ffn_down.weight", 256);
    let summary = works("quantize", &[&input, &out, "--recipe", "IQ2_XS", "--imatrix", &importance]);
    assert!(summary.contains("\nwith importance: 1 tensor\n"), "{summary}");
    let file = fs::read(&out).unwrap();
    let model = Gguf::parse(&file).unwrap();
    let metadata = model.metadata();
    assert_eq!(metadata.require::<&str>("quantize.imatrix.file").unwrap(), importance);
    assert_eq!(metadata.require::<&str>("quantize.imatrix.dataset").unwrap(), "a text");
    assert_eq!(metadata.require::<u32>("quantize.imatrix.entries_count").unwrap(), 1);
    assert_eq!(model.tensor("blk.0.ffn_down.weight").unwrap().ggml_type(), GgmlType::IQ2_XS);
    let summary = works("quantize", &[&input, &out, "--recipe", "Q4_K_M", "--imatrix", &importance]);
    assert!(
        summary.contains("\nwithout importance, which the matrix lacks: token_embd.weight\n")
            && !summary.contains("not in the model"),
        "{summary}"
    );
    // A matrix with entries for other tensors.
    let mut more = Imatrix::read(&importance).unwrap();
    (0..3).for_each(|i| more.add(&format!("blk.{i}.other.weight"), vec![1.0], vec![1.0], None).unwrap());
    let more = folder.file("more.gguf", more.write(Writer::new(Vec::new())).unwrap());
    let summary = works("quantize", &[&input, &out, "--recipe", "Q4_K_M", "--imatrix", &more]);
    assert!(
        summary.contains("\nin the importance matrix, and not in the model: blk.*.other.weight (3)\n"),
        "{summary}"
    );

    // Both forms have the same meaning, and give the same quantized file.
    let (dat, twice) = (folder.path("im.dat"), folder.path("twice.gguf"));
    works("imatrix", &[&importance, &dat]);
    assert!(fs::read(&dat).unwrap().starts_with(&1i32.to_le_bytes()));
    works("quantize", &[&input, &out, "--recipe", "IQ2_XS", "--imatrix", &dat]);
    works("imatrix", &[&importance, &importance, &twice]);
    let twice = Imatrix::read(&twice).unwrap();
    assert_eq!((twice.entries()[0].counts[0], &twice.datasets[..]), (6.0, &["a text".to_owned()][..]));
    works("imatrix", &[&dat, &folder.path("form.bin"), "--format", "gguf"]);
    assert!(fs::read(folder.path("form.bin")).unwrap().starts_with(b"GGUF"));

    let copy = folder.path("copy.gguf");
    let json = works("imatrix", &[&importance, &copy, "--json"]);
    let json: Json = serde_json::from_str(&json).unwrap();
    assert_eq!(json["entries"][0]["columns"], 256);
    assert_eq!(fs::read(&copy).unwrap(), fs::read(&importance).unwrap());
    assert!(works("imatrix", &[&importance, &copy]).contains("1 tensor, measured on 0 chunks of 512 tokens"));
}

/// Sums that are finite but too large for the search for a scale.
#[test]
fn importance_that_takes_scales_beyond_their_range_is_an_error() {
    let folder = Folder::new();
    let (input, out) = (llama(&folder, GgmlType::F32), folder.file("out.gguf", "what was there"));
    let mut great = Imatrix::new();
    great.add("blk.0.ffn_down.weight", vec![3.4e38; 256], vec![1.0], None).unwrap();
    let great = folder.file("great.gguf", great.write(Writer::new(Vec::new())).unwrap());
    let mut refused = 0;
    for recipe in ["Q4_K_S", "Q5_K_S", "Q2_K", "Q3_K_S", "Q6_K", "IQ4_XS", "Q4_0", "Q4_1"] {
        let args = [&input, &out, "--recipe", recipe, "--imatrix", &great];
        let mut command = forced("quantize", &args);
        command.arg("--pure");
        let output = finish(command);
        if output.status.success() {
            works("inspect", &[&out, "--check"]);
            fs::write(&out, "what was there").unwrap();
        } else {
            let line = String::from_utf8(output.stderr).unwrap();
            assert!(line.contains("the sums of the importance matrix may be too great"), "{line}");
            assert_eq!(fs::read(&out).unwrap(), b"what was there");
            refused += 1;
        }
    }
    assert!(refused > 0);
}

#[test]
fn what_is_copied_is_looked_at() {
    let folder = Folder::new();
    let mut bytes = floats(&wave(256));
    bytes[40..44].copy_from_slice(&f32::NAN.to_le_bytes());
    let file = model(ByteOrder::Little, &[("blk.0.attn_norm.weight", &[256], GgmlType::F32, &bytes)]);
    let line =
        fails("quantize", &[&folder.file("in.gguf", file), &folder.path("o.gguf"), "--recipe", "Q8_0"]);
    assert!(
        line.contains("tensor 'blk.0.attn_norm.weight': block 10 of F32") && line.contains("NaN"),
        "{line}"
    );
}

#[test]
fn what_cannot_be_done_is_one_line_and_leaves_nothing() {
    let folder = Folder::new();
    let input = llama(&folder, GgmlType::F32);
    let short = fs::read(imatrix(&folder, "blk.0.ffn_down.weight", 128)).unwrap();
    let short = folder.file("short.gguf", short);
    let other = fs::read(imatrix(&folder, "another", 8)).unwrap();
    let other = folder.file("other.gguf", other);
    let junk = folder.file("junk.dat", "junk");
    let quantized = folder.path("quantized.gguf");
    works("quantize", &[&input, &quantized, "--recipe", "Q4_0"]);
    let mut bytes = floats(&wave(512));
    bytes[1024..1028].copy_from_slice(&1e30f32.to_le_bytes());
    let loud =
        folder.file("loud.gguf", model(ByteOrder::Little, &[("w.weight", &[256, 2], GgmlType::F32, &bytes)]));
    let out = folder.file("out.gguf", "what was there");
    let before = folder.names();
    for (arguments, message) in [
        (
            &[&*input, &out, "--recipe", "Q9"][..],
            "invalid value 'Q9' for '--recipe <NAME>' [possible values: Q1_0, IQ1_S",
        ),
        (&[&input, &out], "--recipe NAME"),
        (&[&input, &out, "--recipe", "Q4_0", "--tensor-type", "x"], "write it as PATTERN=TYPE"),
        (&[&input, &out, "--recipe", "Q4_0", "--tensor-type", "(=Q4_0"], "found open group without closing"),
        (&[&input, &out, "--recipe", "Q4_0", "--tensor-type", "x=Q9"], "Q9"),
        (
            &[&input, &out, "--recipe", "IQ2_XS"],
            "'blk.0.ffn_down.weight' becomes IQ2_XS, which needs importance, and there",
        ),
        (&[&input, &out, "--recipe", "IQ2_XS", "--imatrix", &other], "and the importance matrix lacks it"),
        (
            &[&input, &out, "--recipe", "Q4_0", "--imatrix", &short],
            "has 256 columns, and the importance matrix has 128",
        ),
        (&[&input, &out, "--recipe", "Q4_0", "--imatrix", &junk], "junk.dat': byte"),
        (
            &[&input, &out, "--recipe", "Q4_0", "--imatrix", &other],
            "other.gguf' knows none of the tensors that are quantized",
        ),
        (&[&quantized, &out, "--recipe", "Q8_0"], "is Q6_K already"),
        (&[&loud, &out, "--recipe", "Q4_0"], "tensor 'w.weight': 1 block beyond the range of Q4_0"),
    ] {
        let line = fails("quantize", arguments);
        assert!(line.contains(message), "{line}");
        assert_eq!(fs::read(&out).unwrap(), b"what was there", "{line}");
        assert_eq!(folder.names(), before, "{line}");
    }
    works("quantize", &[&quantized, &folder.path("again.gguf"), "--recipe", "Q8_0", "--allow-requantize"]);
    let line = fails("imatrix", &[&junk, &out]);
    assert!(
        line.contains("junk.dat': byte 4: the length of a name is 4 bytes long, and 0 are left"),
        "{line}"
    );
    assert_eq!(fs::read(&out).unwrap(), b"what was there");
}

#[test]
fn a_pattern_that_matches_nothing_is_an_error() {
    let folder = Folder::new();
    let (input, out) = (llama(&folder, GgmlType::F32), folder.path("out.gguf"));
    let args = [
        &*input,
        &out,
        "--recipe",
        "Q4_0",
        "--tensor-type",
        "ffn_down=Q8_0",
        "--tensor-type",
        "ffn_dwon=Q8_0",
    ];
    for dry_run in [&[][..], &["--dry-run"]] {
        let line = fails("quantize", &[&args[..], dry_run].concat());
        assert_eq!(line, "--tensor-type 'ffn_dwon' matches no tensor; is it 'ffn_down'?");
    }
    assert!(!std::path::Path::new(&out).exists());
    works("quantize", &args[..6]);
}

#[test]
fn shards_and_types_are_those_of_others() {
    let folder = Folder::new();
    let (input, out) = (llama(&folder, GgmlType::F16), folder.path("out.gguf"));
    works("split", &[&input, &folder.path("in"), "--max-tensors", "2"]);
    let first = folder.path("in-00001-of-00002.gguf");
    let summary = works("quantize", &[&first, &out, "--recipe", "Q4_K_M", "--keep-split"]);
    assert!(
        summary.contains("out-00001-of-00002.gguf to ")
            && summary.contains("out-00002-of-00002.gguf is Q4_K_M: "),
        "{summary}"
    );
    assert!(summary.contains(" % of their size before, in ") && summary.ends_with(" s\n"), "{summary}");
    let made = folder.path("out-00001-of-00002.gguf");
    assert!(works("inspect", &[&made]).contains(" · 2 shards\n"));
    assert!(
        is_refused("quantize", &[&first, &out, "--recipe", "Q4_K_M", "--keep-split"])
            .contains("--force replaces it")
    );

    let like = folder.path("like.gguf");
    let summary = works("quantize", &[&input, &like, "--types-like", &made]);
    assert!(summary.contains(&format!("is of the types of '{made}': ")), "{summary}");
    let whole = folder.path("whole.gguf");
    works("quantize", &[&input, &whole, "--recipe", "Q4_K_M"]);
    assert_eq!(fs::read(&like).unwrap(), fs::read(&whole).unwrap());
    // The model whose types are used is an input too, so the output must not replace it.
    let before = fs::read(&made).unwrap();
    for out in [&[made.as_str()][..], &[out.as_str(), "--keep-split"]] {
        let args = [&[&first[..], out[0], "--types-like", &made], &out[1..]].concat();
        let message = fails("quantize", &args);
        assert!(message.contains("no input is overwritten"), "{message}");
        assert_eq!(fs::read(&made).unwrap(), before);
    }
    assert!(
        fails("quantize", &[&input, &like, "--types-like", &made, "--recipe", "F16"])
            .contains("cannot be used with")
    );
}
