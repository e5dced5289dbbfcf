//! Compares this crate with others that read and write GGUF: ggml, candle-core, anamnesis and rlx-gguf, in one run,
//! interleaved, on one thread.
//!
//!     eval "$(.ci/fetch-oracles)"    # ggml, and SmolLM2 to open
//!     cargo run --release --manifest-path benches/peers/Cargo.toml
//!
//! candle chooses its instructions at compile time: `RUSTFLAGS=-Ctarget-cpu=native` shows its best speed.

#[path = "../../speed/data.rs"]
#[allow(dead_code, reason = "the other benchmark needs more of it")]
mod data;
#[path = "../../speed/ggml.rs"]
mod ggml;
#[path = "../../speed/open.rs"]
#[allow(dead_code, reason = "the other benchmark runs it")]
mod open;
#[path = "../../speed/timing.rs"]
mod timing;

use std::fs::File;
use std::hint::black_box;
use std::io::BufReader;

use anamnesis::remember::F32Out;
use candle_core::quantized::{gguf_file, k_quants};
use ggml::Ggml;
use gguf_codec::{GgmlType, Gguf, dequantize, quantize};
use timing::{Table, measure, rate};

/// Number of values that fit the caches as floats, and number of values that do not.
const IN_CACHE: usize = 16 * 1024;
const IN_MEMORY: usize = 32 * 1024 * 1024;
const ROW: usize = 4096;

const FORMATS: [GgmlType; 6] =
    [GgmlType::Q8_0, GgmlType::Q4_0, GgmlType::Q4_1, GgmlType::Q4_K, GgmlType::Q5_K, GgmlType::Q6_K];

type Job<'a> = (&'static str, Box<dyn FnMut() + 'a>);

fn main() {
    let ggml = Ggml::load();
    if ggml.is_none() {
        println!("ggml is NOT measured: GGML_BASE_SO is not set");
    }
    dequantizing(ggml.as_ref(), IN_CACHE, 100);
    dequantizing(ggml.as_ref(), IN_MEMORY, 1);
    quantizing(ggml.as_ref());
    opening(ggml.as_ref());
}

fn dequantizing(ggml: Option<&Ggml>, values: usize, times: usize) {
    let mut table = Table::new(&format!("dequantize {values} values to f32"), &["", "Gvalues/s", "x ggml"]);
    for ty in FORMATS {
        let blocks = data::blocks(ty, values);
        let [mut ours, mut theirs, mut candles] = [(); 3].map(|()| vec![0.0f32; values]);
        let mut jobs: Vec<Job<'_>> = vec![
            ("gguf-codec", Box::new(|| dequantize(ty, &blocks, black_box(&mut ours)).expect("lengths fit"))),
            ("candle-core", candle_dequantizer(ty, values, &mut candles)),
            (
                "anamnesis",
                Box::new(|| {
                    let ty = anamnesis_type(ty);
                    black_box(anamnesis::dequantize_gguf::<F32Out>(&blocks, ty, values).expect("it decodes"));
                }),
            ),
            (
                "rlx-gguf",
                Box::new(|| {
                    let ty = rlx_gguf::GgmlType::from_u32(ty.id()).expect("it knows the type");
                    black_box(rlx_gguf::dequant_typed(ty, &blocks, values, "").expect("it decodes"));
                }),
            ),
        ];
        if let Some(ggml) = ggml {
            let (blocks, theirs) = (&blocks, &mut theirs);
            jobs.push(("ggml", Box::new(move || ggml.dequantize(ty, blocks, theirs))));
        }
        run(&mut table, ty, values, jobs, times);
    }
    table.print();
}

fn quantizing(ggml: Option<&Ggml>) {
    let title = format!("quantize {IN_CACHE} values (rlx-gguf: by searches of its own, to other bytes)");
    let mut table = Table::new(&title, &["", "Gvalues/s", "x ggml"]);
    let values = data::normal(IN_CACHE);
    for ty in FORMATS {
        let [mut ours, mut theirs] = [(); 2].map(|()| vec![0; IN_CACHE / ty.block_len() * ty.block_bytes()]);
        let values = &values;
        let mut jobs: Vec<Job<'_>> = vec![
            (
                "gguf-codec",
                Box::new(|| {
                    quantize(ty, values, ROW, None, black_box(&mut ours)).expect("lengths fit");
                }),
            ),
            ("candle-core", candle_quantizer(ty, values)),
            (
                "rlx-gguf",
                Box::new(|| {
                    let ty = rlx_gguf::GgmlType::from_u32(ty.id()).expect("it knows the type");
                    black_box(rlx_gguf::quantize(values, ty).expect("it encodes"));
                }),
            ),
        ];
        if let Some(ggml) = ggml {
            jobs.push(("ggml", Box::new(|| ggml.quantize(ty, values, ROW, None, &mut theirs))));
        }
        run(&mut table, ty, IN_CACHE, jobs, 4);
    }
    table.print();
}

fn opening(ggml: Option<&Ggml>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut table = Table::new("open a file, page cache warm", &["", "ms", "x ggml"]);
    for (name, path) in open::files(folder.path()) {
        let mut jobs: Vec<Job<'_>> = vec![
            ("gguf-codec", Box::new(|| drop(black_box(Gguf::open(&path).expect("it opens"))))),
            (
                "candle-core (BufReader)",
                Box::new(|| {
                    let mut file = BufReader::new(File::open(&path).expect("it opens"));
                    black_box(gguf_file::Content::read(&mut file).expect("it parses"));
                }),
            ),
            ("anamnesis", Box::new(|| drop(black_box(anamnesis::parse_gguf(&path).expect("it parses"))))),
            (
                "rlx-gguf (mmap)",
                Box::new(|| {
                    black_box(rlx_gguf::GgufFile::from_path_mmap(&path).expect("it parses"));
                }),
            ),
        ];
        if let Some(ggml) = ggml {
            jobs.push(("ggml", Box::new(|| ggml.open(&path))));
        }
        let (names, mut jobs): (Vec<_>, Vec<_>) = jobs.into_iter().unzip();
        let seconds = measure(&mut jobs, 1);
        for (peer, &time) in names.iter().zip(&seconds) {
            let ratio = seconds.get(4).map_or("-".into(), |ggml| format!("{:.1}", ggml / time));
            table.row(&[format!("{name}: {peer}"), format!("{:.3}", 1e3 * time), ratio]);
        }
    }
    table.print();
}

/// Measures the jobs; ggml is the last, if present.
fn run(table: &mut Table, ty: GgmlType, values: usize, jobs: Vec<Job<'_>>, times: usize) {
    let (names, mut jobs): (Vec<_>, Vec<_>) = jobs.into_iter().unzip();
    let seconds = measure(&mut jobs, times);
    let ggml = names.iter().position(|&name| name == "ggml").map(|at| seconds[at]);
    for (name, &time) in names.iter().zip(&seconds) {
        let ratio = ggml.map_or("-".into(), |ggml| format!("{:.2}", ggml / time));
        table.row(&[format!("{ty} {name}"), format!("{:.3}", rate(values, time)), ratio]);
    }
}

/// Normal values as candle's blocks, and converted back to values.
fn candle_dequantizer<'a>(ty: GgmlType, values: usize, out: &'a mut [f32]) -> Box<dyn FnMut() + 'a> {
    fn of<'a, B: k_quants::GgmlType + 'a>(values: usize, out: &'a mut [f32]) -> Box<dyn FnMut() + 'a> {
        let some = data::normal(1 << 14);
        let mut blocks = vec![B::zeros(); some.len() / B::BLCK_SIZE];
        B::from_float(&some, &mut blocks);
        let blocks: Vec<B> = blocks.iter().cycle().take(values / B::BLCK_SIZE).cloned().collect();
        Box::new(move || B::to_float(&blocks, black_box(out)))
    }
    match ty {
        GgmlType::Q8_0 => of::<k_quants::BlockQ8_0>(values, out),
        GgmlType::Q4_0 => of::<k_quants::BlockQ4_0>(values, out),
        GgmlType::Q4_1 => of::<k_quants::BlockQ4_1>(values, out),
        GgmlType::Q4_K => of::<k_quants::BlockQ4K>(values, out),
        GgmlType::Q5_K => of::<k_quants::BlockQ5K>(values, out),
        GgmlType::Q6_K => of::<k_quants::BlockQ6K>(values, out),
        _ => unreachable!("one of FORMATS"),
    }
}

fn candle_quantizer(ty: GgmlType, values: &[f32]) -> Box<dyn FnMut() + '_> {
    fn of<'a, B: k_quants::GgmlType + 'a>(values: &'a [f32]) -> Box<dyn FnMut() + 'a> {
        let mut blocks = vec![B::zeros(); values.len() / B::BLCK_SIZE];
        Box::new(move || B::from_float(values, black_box(&mut blocks)))
    }
    match ty {
        GgmlType::Q8_0 => of::<k_quants::BlockQ8_0>(values),
        GgmlType::Q4_0 => of::<k_quants::BlockQ4_0>(values),
        GgmlType::Q4_1 => of::<k_quants::BlockQ4_1>(values),
        GgmlType::Q4_K => of::<k_quants::BlockQ4K>(values),
        GgmlType::Q5_K => of::<k_quants::BlockQ5K>(values),
        GgmlType::Q6_K => of::<k_quants::BlockQ6K>(values),
        _ => unreachable!("one of FORMATS"),
    }
}

fn anamnesis_type(ty: GgmlType) -> anamnesis::GgufType {
    match ty {
        GgmlType::Q8_0 => anamnesis::GgufType::Q8_0,
        GgmlType::Q4_0 => anamnesis::GgufType::Q4_0,
        GgmlType::Q4_1 => anamnesis::GgufType::Q4_1,
        GgmlType::Q4_K => anamnesis::GgufType::Q4_K,
        GgmlType::Q5_K => anamnesis::GgufType::Q5_K,
        GgmlType::Q6_K => anamnesis::GgufType::Q6_K,
        _ => unreachable!("one of FORMATS"),
    }
}
