//! Measures speed against the limits of the machine and against ggml, in one run, interleaved.
//!
//! `cargo bench` prints everything as tables of ratios and absolute figures. `cargo bench -- cache open` prints only the named
//! parts, and `--formats Q8_0,Q4_K` only these formats. `GGML_BASE_SO` names ggml's library
//! (`eval "$(.ci/fetch-oracles)"` sets it); without it, its columns are left out and the first line says so. `--plot FILE.svg`
//! draws the roofline of the results.

mod compute;
mod data;
mod dequantize;
mod ggml;
mod limits;
mod open;
mod plot;
mod quantize;
mod timing;
mod whole;

use ggml::Ggml;
use gguf_codec::{GgmlType, Isa};

/// The formats that have their own targets: the roofline shows them, and all limits are measured with them.
const TARGETS: [GgmlType; 5] =
    [GgmlType::Q8_0, GgmlType::Q4_0, GgmlType::Q4_1, GgmlType::Q4_K, GgmlType::Q6_K];

/// Values that fit the first or second level of cache as floats: 64 KiB.
const IN_CACHE: usize = 16 * 1024;
/// Values that fit no cache: 256 MiB.
const IN_MEMORY: usize = 64 * 1024 * 1024;
/// A row of a large model.
const ROW: usize = 4096;

type Part = (&'static str, fn(Option<&Ggml>, &[GgmlType], &mut plot::Points));

const PARTS: [Part; 12] = [
    ("cache", |ggml, formats, points| dequantize::run(ggml, points, formats, IN_CACHE)),
    ("memory", |ggml, formats, points| dequantize::run(ggml, points, formats, IN_MEMORY)),
    ("parallel", |_, formats, _| dequantize::parallel(formats)),
    ("threshold", |_, _, _| dequantize::threshold()),
    ("alignment", |_, formats, _| dequantize::alignment(formats)),
    ("quantize", |ggml, formats, _| quantize::run(ggml, formats)),
    ("threads", |_, _, _| quantize::threads()),
    ("open", |ggml, _, _| open::run(ggml)),
    ("whole", |_, _, _| whole::run()),
    ("compute", |ggml, formats, _| compute::run(ggml, formats)),
    ("compute-avx2", |ggml, formats, _| compute::run_avx2(ggml, formats)),
    ("compute-threads", |_, formats, _| compute::all_cores(formats)),
];

fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let mut option = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        assert!(at + 1 < args.len(), "{name} needs a value");
        args.remove(at);
        Some(args.remove(at))
    };
    let plot = option("--plot");
    // All types that store values in blocks.
    let mut formats: Vec<_> = GgmlType::ALL.iter().copied().filter(|ty| ty.is_quantized()).collect();
    if let Some(names) = option("--formats") {
        formats = names.split(',').map(|name| name.parse().expect("a format")).collect();
    }
    for arg in &args {
        assert!(
            PARTS.iter().any(|(name, _)| arg == name),
            "there is no part {arg}: {:?}",
            PARTS.map(|part| part.0)
        );
    }
    let ggml = Ggml::load();
    println!(
        "{}, {} threads; instruction sets: {:?}; ggml: {}",
        plot::processor().as_deref().unwrap_or("unknown processor"),
        std::thread::available_parallelism().map_or(1, usize::from),
        Isa::available(),
        if ggml.is_some() { "yes" } else { "no, GGML_BASE_SO is not set" }
    );

    let mut points = plot::Points::default();
    for (name, run) in PARTS {
        if args.is_empty() && name != "compute-avx2" || args.iter().any(|arg| arg == name) {
            run(ggml.as_ref(), &formats, &mut points);
        }
    }
    if let Some(path) = plot {
        points.draw(&path).expect("the plot can be written");
        println!("\ndrew {path}");
    }
}
