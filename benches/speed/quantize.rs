//! Quantizing, compared with ggml, in cache; compared with reading the floats, in memory; and on increasing numbers of threads.

use std::time::Instant;

use gguf_codec::{Codec, GgmlType, Isa};

use crate::ggml::Ggml;
use crate::timing::{Table, measure, rate};
use crate::{IN_CACHE, IN_MEMORY, ROW, data, limits};

/// The formats for which importance makes no difference.
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

/// Every format with and without importance, compared with ggml and with reading the floats.
pub(crate) fn run(ggml: Option<&Ggml>, formats: &[GgmlType]) {
    let mut table = Table::new(
        &format!("quantize {IN_CACHE} values in cache, rows of {ROW}, one thread"),
        &["", "importance", "Mvalues/s", "x ggml", "same bytes"],
    );
    let (values, importance) = (data::normal(IN_CACHE), data::importance(ROW));
    for &ty in formats {
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
                    Codec::new(ty)
                        .isa(isa)
                        .importance(importance)
                        .quantize(values, ROW, out)
                        .expect("lengths fit");
                }));
            }
            if let Some(ggml) = ggml {
                let values = &values;
                jobs.push(Box::new(move || ggml.quantize(ty, values, ROW, importance, reference)));
            }
            // The fastest take microseconds: repeat them until a round takes milliseconds.
            let start = Instant::now();
            jobs.iter_mut().for_each(|job| job());
            let seconds = measure(&mut jobs, (3e-3 / start.elapsed().as_secs_f64()) as usize + 1);
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
            Box::new(|| limits::read(Isa::detect(), &values)),
            Box::new(|| Codec::new(ty).quantize(&values, ROW, &mut out).expect("lengths fit")),
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

/// Q4_K on 1, 2, 4 … threads, up to the number of cores.
pub(crate) fn threads() {
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
            pool.install(|| Codec::new(GgmlType::Q4_K).all_cores(true).quantize(values, ROW, out))
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
