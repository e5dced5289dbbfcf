//! Dequantizing, compared with ggml and the machine's limits: in cache, in memory, at various sizes, and on all cores.

use std::cell::RefCell;

use gguf_codec::{Codec, Float, GgmlType, Isa, dequantize};
use half::{bf16, f16};
use rayon::prelude::*;

use crate::ggml::Ggml;
use crate::limits::{self, Stores};
use crate::plot::Points;
use crate::timing::{Table, measure, rate};
use crate::{IN_CACHE, IN_MEMORY, TARGETS, data};

/// All instruction sets except scalar, unless there is no other; the widest is last.
fn vector_isas() -> Vec<Isa> {
    let all = Isa::available();
    let vectors: Vec<_> = all.iter().copied().filter(|isa| *isa != Isa::SCALAR).collect();
    if vectors.is_empty() { all } else { vectors }
}

fn to<T: Float>(isa: Isa, ty: GgmlType, blocks: &[u8], out: &mut [T]) {
    Codec::new(ty).isa(isa).dequantize(blocks, out).expect("lengths fit");
    std::hint::black_box(out);
}

/// A timed job, and the bytes that it reads and writes.
struct Job<'a> {
    name: String,
    read: usize,
    written: usize,
    run: Box<dyn FnMut() + 'a>,
}

impl<'a> Job<'a> {
    fn new(name: impl Into<String>, read: usize, written: usize, run: impl FnMut() + 'a) -> Self {
        Job { name: name.into(), read, written, run: Box::new(run) }
    }
}

/// To f32, f16 and bf16, compared with ggml and the limits. `values` decides between cache and memory.
pub(crate) fn run(ggml: Option<&Ggml>, points: &mut Points, formats: &[GgmlType], values: usize) {
    let in_cache = values == IN_CACHE;
    let place = if in_cache { "in cache" } else { "in memory" };
    let mut table = Table::new(
        &format!("dequantize {values} values, {place}, one thread"),
        &["", "Gvalues/s", "GB/s", "of its fill", "of nt fill's bytes/s", "x ggml", "x f32"],
    );
    let isas = vector_isas();
    let widest = *isas.last().expect("there is scalar");
    // One output for all instruction sets, which take turns, and one for all fills. They are cells, because each job borrows them.
    let [filled, floats] = [(); 2].map(|()| RefCell::new(data::aligned(values)));
    let [mut streamed, mut copied, mut stream_copied] = [(); 3].map(|()| data::aligned(values));
    let source = vec![1.0f32; values];
    let mut halves = vec![f16::ZERO; values];
    let mut bfloats = vec![bf16::ZERO; values];
    let mut reference = vec![0.0f32; values];
    let bytes = 4 * values;
    let mut ratios = Vec::new();
    for &ty in formats {
        let blocks = data::blocks(ty, values);
        let read = blocks.len();
        let mut jobs = Vec::new();
        // The fills come first, in the instruction sets' order.
        for &isa in &isas {
            let filled = &filled;
            let fill = move || limits::fill(isa, Stores::Ordinary, filled.borrow_mut().as_mut_slice());
            jobs.push(Job::new(format!("fill {isa}"), 0, bytes, fill));
        }
        let nt_fill = || limits::fill(widest, Stores::Streaming, streamed.as_mut_slice());
        jobs.push(Job::new("nt fill", 0, bytes, nt_fill));
        if TARGETS.contains(&ty) {
            let copy = || limits::copy(widest, Stores::Ordinary, &source, copied.as_mut_slice());
            jobs.push(Job::new("copy", bytes, bytes, copy));
            let nt_copy = || limits::copy(widest, Stores::Streaming, &source, stream_copied.as_mut_slice());
            jobs.push(Job::new("nt copy", bytes, bytes, nt_copy));
            jobs.push(Job::new("read", bytes, 0, || limits::read(widest, &source)));
        }
        // ggml has no function for Q8_1.
        if let Some(ggml) = ggml.filter(|_| ty != GgmlType::Q8_1) {
            let (blocks, reference) = (&blocks, &mut reference);
            jobs.push(Job::new("ggml", read, bytes, move || ggml.dequantize(ty, blocks, reference)));
        }
        for &isa in &isas {
            let (blocks, floats) = (&blocks, &floats);
            let ours = move || to(isa, ty, blocks, floats.borrow_mut().as_mut_slice());
            jobs.push(Job::new(isa.name(), read, bytes, ours));
        }
        jobs.push(Job::new("f16", read, bytes / 2, || to(widest, ty, &blocks, &mut halves)));
        jobs.push(Job::new("bf16", read, bytes / 2, || to(widest, ty, &blocks, &mut bfloats)));

        let (mut runs, jobs): (Vec<_>, Vec<_>) =
            jobs.into_iter().map(|job| (job.run, (job.name, job.read, job.written))).unzip();
        let seconds = measure(&mut runs, if in_cache { 400 } else { 1 });
        drop(runs);
        let time = |name: &str| jobs.iter().position(|job| job.0 == name).map(|at| seconds[at]);
        let nt_bytes = time("nt fill").map_or(0.0, |seconds| rate(bytes, seconds));
        for ((name, read, written), &seconds_of) in jobs.iter().zip(&seconds) {
            let own = isas.iter().position(|isa| name == isa.name()).unwrap_or(isas.len() - 1);
            let moved = rate(read + written, seconds_of);
            table.row(&[
                format!("{ty} {name}"),
                format!("{:.2}", rate(values, seconds_of)),
                format!("{moved:.1}"),
                format!("{:.2}", seconds[own] / seconds_of),
                format!("{:.2}", moved / nt_bytes),
                time("ggml").map_or("-".into(), |ggml| format!("{:.1}", ggml / seconds_of)),
                time(widest.name()).map_or("-".into(), |f32| format!("{:.2}", f32 / seconds_of)),
            ]);
            if TARGETS.contains(&ty) {
                points.add(ty, name, widest, [*read, *written], values, seconds_of);
            }
        }
        if let (Some(ggml), Some(ours)) = (time("ggml"), time(widest.name())) {
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

/// The size from which stores around the caches pay off, for Q8_0. The crate stores around them from 16 MiB of output on. It stores
/// smaller pieces into the caches, whatever their total size, so both ways can be timed at any size.
pub(crate) fn threshold() {
    let threads = rayon::current_num_threads();
    let all = |what: &str| format!("{what}, {threads} threads");
    let mut table = Table::new(
        "Q8_0 to f32 over output sizes, Gvalues/s: into the caches and around them",
        &["MiB", "fill", "nt fill", "into", "around", "ratio", &all("into"), &all("around"), "ratio"],
    );
    let (ty, isa) = (GgmlType::Q8_0, Isa::detect());
    for mib in [4usize, 8, 16, 32, 64, 256] {
        let values = mib << 18;
        let blocks = data::blocks(ty, values);
        let [mut filled, mut streamed] = [(); 2].map(|()| data::aligned(values));
        let [into, around] = [(); 2].map(|()| RefCell::new(data::aligned(values)));
        let mut jobs: Vec<Box<dyn FnMut() + '_>> = vec![
            Box::new(|| limits::fill(isa, Stores::Ordinary, filled.as_mut_slice())),
            Box::new(|| limits::fill(isa, Stores::Streaming, streamed.as_mut_slice())),
            Box::new(|| {
                // 8 MiB of output.
                let pieces = blocks.chunks((2 << 20) / ty.block_len() * ty.block_bytes());
                for (blocks, out) in pieces.zip(into.borrow_mut().as_mut_slice().chunks_mut(2 << 20)) {
                    to(isa, ty, blocks, out);
                }
            }),
            Box::new(|| {
                // Divided as in `par_dequantize`.
                let pieces = blocks.par_chunks(IN_CACHE / ty.block_len() * ty.block_bytes());
                pieces
                    .zip(into.borrow_mut().as_mut_slice().par_chunks_mut(IN_CACHE))
                    .for_each(|(blocks, out)| dequantize(ty, blocks, out).expect("lengths fit"));
            }),
        ];
        if mib >= 16 {
            jobs.push(Box::new(|| to(isa, ty, &blocks, around.borrow_mut().as_mut_slice())));
            jobs.push(Box::new(|| {
                Codec::new(ty)
                    .all_cores(true)
                    .dequantize(&blocks, around.borrow_mut().as_mut_slice())
                    .expect("lengths fit");
            }));
        }
        let seconds = measure(&mut jobs, (128 / mib).max(1));
        drop(jobs);
        let speed = |at: usize| seconds.get(at).map(|&seconds| format!("{:.2}", rate(values, seconds)));
        let ratio = |a: usize, b: usize| Some(format!("{:.2}", seconds[a] / seconds.get(b)?));
        let cells = [speed(0), speed(1), speed(2), speed(4), ratio(2, 4), speed(3), speed(5), ratio(3, 5)];
        let mut row = vec![mib.to_string()];
        row.extend(cells.into_iter().map(|cell| cell.unwrap_or("-".into())));
        table.row(&row);
    }
    table.print();
}

/// What it costs if an output in cache is not aligned: the time relative to that of one at a multiple of 64 bytes.
pub(crate) fn alignment(formats: &[GgmlType]) {
    let mut table =
        Table::new("Outputs in cache, time of unaligned ones", &["", "4 bytes off", "16 bytes off"]);
    for &ty in formats {
        let blocks = data::blocks(ty, IN_CACHE);
        let mut outs = [0, 1, 4].map(|shift| (shift, data::aligned(IN_CACHE + 16)));
        let mut jobs: Vec<Box<dyn FnMut() + '_>> = Vec::new();
        for (shift, out) in &mut outs {
            let out = &mut out.as_mut_slice()[*shift..][..IN_CACHE];
            jobs.push(Box::new(|| dequantize(ty, &blocks, out).expect("lengths fit")));
        }
        let seconds = measure(&mut jobs, 400);
        let of_aligned = |seconds_of: f64| format!("{:.2}", seconds_of / seconds[0]);
        table.row(&[ty.to_string(), of_aligned(seconds[1]), of_aligned(seconds[2])]);
    }
    table.print();
}

/// On all cores in memory, compared with one thread and with fills around the caches on the same number of threads.
pub(crate) fn parallel(formats: &[GgmlType]) {
    let threads = rayon::current_num_threads();
    let mut table = Table::new(
        &format!("dequantize {IN_MEMORY} values to f32, in memory, on {threads} threads"),
        &["", "threads", "Gvalues/s", "GB/s", "of the same threads' nt fill's bytes/s", "x one thread"],
    );
    let [filled, floats] = [(); 2].map(|()| RefCell::new(data::aligned(IN_MEMORY)));
    let isa = Isa::detect();
    for &ty in formats.iter().filter(|ty| TARGETS.contains(ty)) {
        let blocks = data::blocks(ty, IN_MEMORY);
        let mut jobs: Vec<Box<dyn FnMut() + '_>> = vec![
            Box::new(|| limits::fill(isa, Stores::Streaming, filled.borrow_mut().as_mut_slice())),
            Box::new(|| {
                let mut out = filled.borrow_mut();
                let pieces = out.as_mut_slice().par_chunks_mut(IN_CACHE);
                pieces.for_each(|out| limits::fill(isa, Stores::Streaming, out));
            }),
            Box::new(|| to(isa, ty, &blocks, floats.borrow_mut().as_mut_slice())),
            Box::new(|| {
                Codec::new(ty)
                    .all_cores(true)
                    .dequantize(&blocks, floats.borrow_mut().as_mut_slice())
                    .expect("lengths fit");
            }),
        ];
        let seconds = measure(&mut jobs, 1);
        drop(jobs);
        for at in 0..4 {
            let (is_fill, on_all) = (at < 2, at % 2 == 1);
            let bytes = 4 * IN_MEMORY + if is_fill { 0 } else { blocks.len() };
            let (moved, fill) = (rate(bytes, seconds[at]), rate(4 * IN_MEMORY, seconds[at % 2]));
            table.row(&[
                format!("{ty}{}", if is_fill { " nt fill" } else { "" }),
                if on_all { threads.to_string() } else { "1".into() },
                format!("{:.2}", rate(IN_MEMORY, seconds[at])),
                format!("{moved:.1}"),
                format!("{:.2}", moved / fill),
                format!("{:.2}", seconds[at / 2 * 2] / seconds[at]),
            ]);
        }
    }
    table.print();
}
