//! Speed against the limits of the machine and against ggml, in one run, interleaved.
//!
//! `cargo bench` prints everything as tables of ratios beside absolute figures; `cargo bench -- dequantize open` only
//! the parts named. `GGML_BASE_SO` names ggml's library (`eval "$(.ci/fetch-oracles)"` sets it); without it, its
//! columns are left out and the first line says so. `--plot FILE.svg` draws the roofline of what was measured.

mod data;
mod ggml;
mod limits;
mod open;
mod plot;
mod timing;
mod whole;

use ggml::Ggml;
use gguf_codec::{Float, GgmlType, Isa, dequantize_with, quantize_with};
use half::{bf16, f16};
use limits::Limit;
use timing::{Table, measure, rate};

/// All that store values in blocks.
fn formats() -> impl Iterator<Item = GgmlType> {
    GgmlType::ALL.iter().copied().filter(|ty| ty.is_quantized())
}

/// Those that the roofline shows.
const PLOTTED: [GgmlType; 5] =
    [GgmlType::Q8_0, GgmlType::Q4_0, GgmlType::Q4_1, GgmlType::Q4_K, GgmlType::Q6_K];

/// Those that importance makes no difference to.
const WITHOUT_SEARCH: [GgmlType; 9] = [
    GgmlType::Q8_0,
    GgmlType::Q8_1,
    GgmlType::Q8_K,
    GgmlType::TQ1_0,
    GgmlType::TQ2_0,
    GgmlType::MXFP4,
    GgmlType::NVFP4,
    GgmlType::Q1_0,
    GgmlType::Q2_0,
];

/// Values that fit the first or second level of cache as floats: 64 KiB.
const IN_CACHE: usize = 16 * 1024;
/// Values that fit no cache: 256 MiB.
const IN_MEMORY: usize = 64 * 1024 * 1024;
/// A row of a large model.
const ROW: usize = 4096;

type Part = (&'static str, fn(Option<&Ggml>, &mut plot::Points));

fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let plot = args.iter().position(|arg| arg == "--plot").map(|at| {
        args.remove(at);
        if at < args.len() { args.remove(at) } else { "roofline.svg".to_owned() }
    });
    let ggml = Ggml::load();
    println!(
        "instruction sets: {:?}; ggml: {}",
        Isa::available(),
        if ggml.is_some() { "yes" } else { "no, GGML_BASE_SO is not set" }
    );

    let parts: [Part; 7] = [
        ("cache", |ggml, points| dequantize(ggml, points, IN_CACHE)),
        ("memory", |ggml, points| dequantize(ggml, points, IN_MEMORY)),
        ("threshold", |_, _| threshold()),
        ("quantize", |ggml, _| quantize(ggml)),
        ("threads", |_, _| threads()),
        ("open", |ggml, _| open::run(ggml)),
        ("whole", |_, _| whole::run()),
    ];
    let mut points = plot::Points::default();
    for (name, run) in parts {
        if args.is_empty() || args.iter().any(|arg| arg == name) {
            run(ggml.as_ref(), &mut points);
        }
    }
    if let Some(path) = plot {
        points.draw(&path).expect("the plot can be written");
        println!("\ndrew {path}");
    }
}

/// All but the scalar lanes, unless there is nothing else.
fn vector_isas() -> Vec<Isa> {
    let all = Isa::available();
    let vectors: Vec<_> = all.iter().copied().filter(|isa| *isa != Isa::SCALAR).collect();
    if vectors.is_empty() { all } else { vectors }
}

/// To f32, f16 and bf16, beside ggml and the limits. `values` decides between cache and memory.
fn dequantize(ggml: Option<&Ggml>, points: &mut plot::Points, values: usize) {
    let in_cache = values == IN_CACHE;
    let mut table = Table::new(
        &format!(
            "dequantize {values} values, {}, one thread",
            if in_cache { "in cache" } else { "in memory" }
        ),
        &["", "Gvalues/s", "GB/s", "of fill", "of nt fill", "x ggml", "x f32"],
    );
    let mut floats = data::aligned(values);
    let mut halves = vec![f16::ZERO; values];
    let mut bfloats = vec![bf16::ZERO; values];
    let mut reference = vec![0.0f32; values];
    let mut ratios = Vec::new();
    for ty in formats() {
        let blocks = data::blocks(ty, values);
        let mut names = vec!["fill".to_owned(), "nt fill".to_owned()];
        let (mut fill_out, mut nt_out) = (data::aligned(values), data::aligned(values));
        let mut jobs: Vec<Box<dyn FnMut() + '_>> = vec![
            Box::new(|| limits::run(Limit::Fill, fill_out.as_mut_slice())),
            Box::new(|| limits::run(Limit::StreamingFill, nt_out.as_mut_slice())),
        ];
        // It has no function for Q8_1.
        if let Some(ggml) = ggml.filter(|_| ty != GgmlType::Q8_1) {
            names.push("ggml".into());
            let (blocks, reference) = (&blocks, &mut reference);
            jobs.push(Box::new(move || ggml.dequantize(ty, blocks, reference)));
        }
        let isas = vector_isas();
        let isa = *isas.last().expect("there is scalar");
        for isa in &isas {
            names.push(format!("{isa:?}"));
        }
        // One output for all instruction sets in turn: cells, since each job borrows it.
        let shared = std::cell::RefCell::new(&mut floats);
        for isa in isas {
            let (blocks, shared) = (&blocks, &shared);
            jobs.push(Box::new(move || to(isa, ty, blocks, shared.borrow_mut().as_mut_slice())));
        }
        names.extend(["f16".to_owned(), "bf16".to_owned()]);
        jobs.push(Box::new(|| to(isa, ty, &blocks, &mut halves)));
        jobs.push(Box::new(|| to(isa, ty, &blocks, &mut bfloats)));
        let seconds = measure(&mut jobs, if in_cache { 400 } else { 1 });
        drop(jobs);

        let time = |name: &str| names.iter().position(|n| n == name).map(|at| seconds[at]);
        let nt_bytes = rate(4 * values, seconds[1]);
        let f32_time = time(isa.name()).unwrap_or(seconds[0]);
        for (name, &seconds) in names.iter().zip(&seconds) {
            let width = if name.ends_with("f16") { 2 } else { 4 };
            let read = if name.ends_with("fill") { 0 } else { blocks.len() };
            let bytes = rate(width * values + read, seconds);
            table.row(&[
                format!("{ty} {name}"),
                format!("{:.2}", rate(values, seconds)),
                format!("{bytes:.1}"),
                format!("{:.2}", time("fill").unwrap_or(0.0) / seconds),
                format!("{:.2}", bytes / nt_bytes),
                time("ggml").map_or("-".into(), |ggml| format!("{:.1}", ggml / seconds)),
                format!("{:.2}", f32_time / seconds),
            ]);
            if PLOTTED.contains(&ty) {
                points.add(ty, name, in_cache, read, width * values, seconds);
            }
        }
        if let (Some(ggml), Some(ours)) = (time("ggml"), time(isa.name())) {
            ratios.push((ggml / ours, ty));
        }
    }
    table.print();
    if let Some((least, ty)) = ratios.iter().copied().min_by(|a, b| a.0.total_cmp(&b.0)) {
        let mean = (ratios.iter().map(|(ratio, _)| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp();
        println!(
            "\n{} formats: {mean:.1} x ggml as a geometric mean, at least {least:.1} ({ty})",
            ratios.len()
        );
    }
}

fn to<T: Float>(isa: Isa, ty: GgmlType, blocks: &[u8], out: &mut [T]) {
    dequantize_with(isa, ty, blocks, out).expect("lengths fit");
    std::hint::black_box(out);
}

/// Where stores around the caches begin to pay: Q8_0 over sizes; the crate switches at 16 MiB of output.
fn threshold() {
    let mut table =
        Table::new("Q8_0 over output sizes, one thread", &["MiB", "Gvalues/s", "fill", "nt fill"]);
    for mib in [1, 2, 4, 6, 8, 12, 16, 24, 32, 64, 128] {
        let values = mib << 18;
        let blocks = data::blocks(GgmlType::Q8_0, values);
        let mut outs = [data::aligned(values), data::aligned(values), data::aligned(values)];
        let [a, b, c] = &mut outs;
        let isa = Isa::detect();
        let mut jobs: Vec<Box<dyn FnMut() + '_>> = vec![
            Box::new(|| to(isa, GgmlType::Q8_0, &blocks, a.as_mut_slice())),
            Box::new(|| limits::run(Limit::Fill, b.as_mut_slice())),
            Box::new(|| limits::run(Limit::StreamingFill, c.as_mut_slice())),
        ];
        let seconds = measure(&mut jobs, (64 / mib).max(1));
        drop(jobs);
        let mut row = vec![mib.to_string()];
        row.extend(seconds.iter().map(|&seconds| format!("{:.2}", rate(values, seconds))));
        table.row(&row);
    }
    table.print();
}

/// Every format with and without importance, beside ggml and reading the floats.
fn quantize(ggml: Option<&Ggml>) {
    let mut table = Table::new(
        &format!("quantize {IN_CACHE} values in cache, rows of {ROW}, one thread"),
        &["", "importance", "Mvalues/s", "x ggml", "same bytes"],
    );
    let (values, importance) = (data::normal(IN_CACHE), data::importance(ROW));
    for ty in formats() {
        for importance in [None, Some(&importance[..])] {
            if importance.is_some() && WITHOUT_SEARCH.contains(&ty)
                || importance.is_none() && ty.needs_importance()
            {
                continue;
            }
            let len = IN_CACHE / ty.block_len() * ty.block_bytes();
            let isas = Isa::available();
            let mut outs = vec![vec![0u8; len]; isas.len() + 1];
            let (reference, ours) = outs.split_last_mut().expect("one more than instruction sets");
            let mut jobs: Vec<Box<dyn FnMut() + '_>> = Vec::new();
            for (&isa, out) in isas.iter().zip(ours) {
                let values = &values;
                jobs.push(Box::new(move || {
                    quantize_with(isa, ty, values, ROW, importance, out).expect("lengths fit");
                }));
            }
            if let Some(ggml) = ggml {
                let values = &values;
                jobs.push(Box::new(move || ggml.quantize(ty, values, ROW, importance, reference)));
            }
            let seconds = measure(&mut jobs, 1);
            drop(jobs);
            let (reference, ours) = outs.split_last().expect("one more than instruction sets");
            for (at, isa) in isas.iter().enumerate() {
                table.row(&[
                    format!("{ty} {isa:?}"),
                    importance.map_or("no", |_| "yes").into(),
                    format!("{:.1}", 1e3 * rate(IN_CACHE, seconds[at])),
                    seconds.get(isas.len()).map_or("-".into(), |ggml| format!("{:.1}", ggml / seconds[at])),
                    if ggml.is_none() {
                        "-"
                    } else if ours[at] == *reference {
                        "yes"
                    } else {
                        "NO"
                    }
                    .into(),
                ]);
            }
            if let Some(&ggml) = seconds.get(isas.len()) {
                let name = format!("{ty} ggml");
                let with = importance.map_or("no", |_| "yes").into();
                table.row(&[
                    name,
                    with,
                    format!("{:.1}", 1e3 * rate(IN_CACHE, ggml)),
                    "1.0".into(),
                    String::new(),
                ]);
            }
        }
    }
    table.print();

    let mut table = Table::new(
        "quantize 64 Mi values in memory without importance, one thread",
        &["", "Gvalues/s", "of reading them"],
    );
    let values = data::normal(IN_MEMORY);
    for ty in [GgmlType::Q8_0, GgmlType::Q4_0, GgmlType::Q4_1] {
        let mut out = vec![0u8; IN_MEMORY / ty.block_len() * ty.block_bytes()];
        let mut jobs: Vec<Box<dyn FnMut() + '_>> = vec![
            Box::new(|| limits::read(&values)),
            Box::new(|| quantize_with(Isa::detect(), ty, &values, ROW, None, &mut out).expect("lengths fit")),
        ];
        let seconds = measure(&mut jobs, 1);
        drop(jobs);
        for (name, &seconds_of) in ["read", ty.name()].iter().zip(&seconds) {
            let of_reading = format!("{:.2}", seconds[0] / seconds_of);
            table.row(&[(*name).to_owned(), format!("{:.2}", rate(IN_MEMORY, seconds_of)), of_reading]);
        }
    }
    table.print();
}

/// Q4_K on 1, 2, 4 … threads, as many as there are cores.
fn threads() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut table =
        Table::new("quantize 32 Mi values to Q4_K on all cores", &["threads", "Mvalues/s", "x one thread"]);
    let values = data::normal(32 << 20);
    let mut out = vec![0u8; values.len() / 256 * 144];
    let counts: Vec<usize> = (0..).map(|power| 1 << power).take_while(|&count| count <= cores).collect();
    let pools: Vec<_> = counts
        .iter()
        .map(|&count| rayon::ThreadPoolBuilder::new().num_threads(count).build().expect("threads start"))
        .collect();
    let shared = std::sync::Mutex::new(&mut out);
    let mut jobs: Vec<Box<dyn FnMut() + '_>> = Vec::new();
    for pool in &pools {
        let (values, shared) = (&values, &shared);
        jobs.push(Box::new(move || {
            let mut out = shared.lock().expect("no job panics");
            let out: &mut [u8] = out.as_mut_slice();
            pool.install(|| gguf_codec::par_quantize(GgmlType::Q4_K, values, ROW, None, out))
                .expect("lengths fit");
        }));
    }
    let seconds = measure(&mut jobs, 1);
    for (count, &time) in counts.iter().zip(&seconds) {
        let speed = 1e3 * rate(values.len(), time);
        table.row(&[count.to_string(), format!("{speed:.1}"), format!("{:.2}", seconds[0] / time)]);
    }
    table.print();
}
