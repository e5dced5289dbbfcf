//! Measures what each format loses on a tensor, and its speed on one thread: the table and the plot of docs/codecs.md.

use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use comfy_table::{CellAlignment, Table, presets};
use gguf_codec::{AtomicFile, GgmlType, Gguf, Inputs, QuantError, dequantize, quantize};
use plotters::prelude::*;
use serde_json::{Value as Json, json};

use crate::plot::{Labels, explain, name_points};
use crate::{cli, output};

/// Number of values to try every format on.
const VALUES: usize = 1 << 20;
/// Values in a row.
const ROW: usize = 4096;
/// Values skipped at the start: half a block, so that no block coincides with one of the tensor's own stored blocks, which their format
/// would reproduce without loss.
const SKIPPED: usize = 16;

/// Tries every format on some rows of a tensor: what is lost, at how many bits for each weight, and how fast.
///
/// The rows are spread evenly over the tensor, joined, and cut into rows of 4096 from the seventeenth value on. No
/// importance is given, but to formats that need it: to them all values are equally important.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The model; normally distributed weights if there is none
    #[arg(value_parser = crate::paths::file())]
    model: Option<PathBuf>,
    /// The tensor, by default the largest
    #[arg(long, value_name = "NAME", requires = "model")]
    tensor: Option<String>,
    /// Draw error against bits per weight
    #[arg(long, value_name = "FILE")]
    #[arg(value_parser = crate::paths::file())]
    svg: Option<PathBuf>,
    #[command(flatten)]
    force: output::Force,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A format's figures.
struct Figures {
    ty: GgmlType,
    error: QuantError,
    /// Millions of values per second.
    quantized: f64,
    dequantized: f64,
}

pub(crate) fn run(args: Args) -> Result<String> {
    if let Some(path) = &args.svg {
        Inputs::new().add_all(&args.model).check(path, args.force.existing())?;
    }
    let (title, values) = match &args.model {
        Some(path) => {
            let model = Gguf::open(path).map_err(|error| cli::about(path, error))?;
            sample(&model, args.tensor.as_deref()).with_context(|| format!("'{}'", path.display()))?
        }
        None => ("normally distributed weights".to_owned(), normal(VALUES)),
    };
    let mut all = Vec::new();
    for &ty in GgmlType::ALL.iter().filter(|ty| ty.can_quantize() && ty.bits_per_weight() <= 16.0) {
        all.push(figures(ty, &values)?);
    }
    all.sort_by(|a, b| a.ty.bits_per_weight().total_cmp(&b.ty.bits_per_weight()));
    if let Some(path) = &args.svg {
        // The plotting library's errors are not `Send`.
        let drawn =
            draw(&title, &all).map_err(|error| anyhow!("cannot draw '{}': {error}", path.display()))?;
        AtomicFile::write_with(path, drawn.as_bytes(), args.force.existing())?;
    }
    Ok(if args.json { json(&title, &all) } else { text(&title, &all) })
}

/// Some of a tensor's values, and their name.
fn sample<B: AsRef<[u8]>>(model: &Gguf<B>, name: Option<&str>) -> Result<(String, Vec<f32>)> {
    let largest = || model.tensors().max_by_key(|tensor| tensor.shape().element_count());
    let tensor = match name {
        Some(name) => model.tensor(name)?,
        None => largest().context("there is no tensor")?.tensor()?,
    };
    let (row_len, rows) = (tensor.row_len(), tensor.row_count());
    let wanted = VALUES.min(tensor.len().saturating_sub(SKIPPED)) / ROW * ROW;
    if wanted == 0 {
        bail!("tensor '{}' has fewer than {} values", tensor.name().escape_debug(), ROW + SKIPPED);
    }
    let taken = (wanted + SKIPPED).div_ceil(row_len);
    let spread = |i: usize| (i as u128 * rows as u128 / taken as u128) as usize;
    let mut values = vec![0.0; taken * row_len];
    tensor.dequantize_rows(&(0..taken).map(spread).collect::<Vec<_>>(), &mut values)?;
    let title = format!("{} ({})", cli::printable(tensor.name()), tensor.ggml_type());
    Ok((title, values[SKIPPED..][..wanted].to_vec()))
}

/// Weights of mean 0 and deviation 0.02, the same every time: sums of twelve uniform numbers.
fn normal(len: usize) -> Vec<f32> {
    let mut state = 1u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u32 << 24) as f32
    };
    (0..len).map(|_| ((0..12).map(|_| uniform()).sum::<f32>() - 6.0) * 0.02).collect()
}

fn figures(ty: GgmlType, values: &[f32]) -> Result<Figures> {
    let equal = vec![1.0; ROW];
    let importance = ty.needs_importance().then_some(&equal[..]);
    let bytes_of = |values: &[f32]| values.len() / ty.block_len() * ty.block_bytes();
    // Not zeros, whose memory the system would only provide on first use.
    let mut blocks = vec![1; bytes_of(values)];
    // One unmeasured run, for tables that are made on first use.
    quantize(ty, &values[..ROW], ROW, importance, &mut blocks[..bytes_of(&values[..ROW])])?;
    let start = Instant::now();
    quantize(ty, values, ROW, importance, &mut blocks)?;
    let quantized = rate(values.len(), start.elapsed());

    let mut restored = vec![1.0f32; values.len()];
    dequantize(ty, &blocks, &mut restored)?;
    let error = QuantError::between(values, &restored)?;
    // In the caches.
    let len = restored.len().min(4 * ROW);
    let part = &mut restored[..len];
    let mut best = Duration::MAX;
    for _ in 0..200 {
        let start = Instant::now();
        dequantize(ty, &blocks[..bytes_of(part)], black_box(part))?;
        best = best.min(start.elapsed());
    }
    Ok(Figures { ty, error, quantized, dequantized: rate(len, best) })
}

fn rate(values: usize, time: Duration) -> f64 {
    values as f64 / time.as_secs_f64().max(1e-9) / 1e6
}

fn text(title: &str, all: &[Figures]) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header([
        "format",
        "bits/weight",
        "RMSE",
        "max",
        "SNR dB",
        "cosine",
        "quantize Mvalues/s",
        "dequantize Mvalues/s",
    ]);
    for Figures { ty, error, quantized, dequantized } in all {
        table.add_row([
            ty.name().to_owned(),
            format!("{:.4}", ty.bits_per_weight()),
            format!("{:.3e}", error.rmse()),
            format!("{:.3e}", error.max()),
            format!("{:.2}", error.snr_db()),
            format!("{:.6}", error.cosine()),
            format!("{quantized:.1}"),
            format!("{dequantized:.0}"),
        ]);
    }
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    format!("{title}\n\n{table}\n")
}

fn json(title: &str, all: &[Figures]) -> String {
    let of = |Figures { ty, error, quantized, dequantized }: &Figures| {
        json!({ "type": ty.name(), "bits_per_weight": ty.bits_per_weight(), "rmse": error.rmse(),
            "max": error.max(), "snr_db": error.snr_db(), "cosine": error.cosine(),
            "quantized_million_values_per_second": quantized,
            "dequantized_million_values_per_second": dequantized })
    };
    let formats: Vec<Json> = all.iter().map(of).collect();
    crate::json::document(&json!({ "data": title, "formats": formats }))
}

/// Families, by the prefixes of their names, with their colours.
const FAMILIES: [(&str, &[&str], RGBColor); 4] = [
    ("K-quants", &["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_K"], RGBColor(0, 90, 181)),
    ("grids and tables (IQ)", &["IQ"], RGBColor(220, 50, 32)),
    ("ternary and 4-bit floats", &["TQ", "MXFP4", "NVFP4"], RGBColor(0, 120, 70)),
    ("blocks", &[""], RGBColor(90, 90, 90)),
];

fn draw(title: &str, all: &[Figures]) -> Result<String, Box<dyn std::error::Error>> {
    const SIZE: (u32, u32) = (1000, 700);
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let shown: Vec<_> = all.iter().filter(|figures| figures.ty.is_quantized()).collect();
    let snr = || shown.iter().map(|figures| figures.error.snr_db());
    let (low, high) = (snr().fold(f64::INFINITY, f64::min), snr().fold(0.0, f64::max));
    let mut chart = ChartBuilder::on(&root)
        .caption(format!("Signal to noise over size: {title}"), ("sans-serif", 22))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d(1.0..9.4, low.floor() - 2.0..high.ceil() + 2.0)?;
    chart.configure_mesh().x_desc("bits per weight").y_desc("signal-to-noise ratio, dB").draw()?;
    let at = |figures: &Figures| (figures.ty.bits_per_weight(), figures.error.snr_db());
    let mut labels = Labels::default();
    for figures in &shown {
        labels.keep_clear(chart.backend_coord(&at(figures)));
    }
    for (family, _, colour) in FAMILIES {
        let is_of =
            |ty: GgmlType, prefixes: &[&str]| prefixes.iter().any(|prefix| ty.name().starts_with(prefix));
        let first = |ty| FAMILIES.iter().find(|(_, prefixes, _)| is_of(ty, prefixes)).map(|family| family.0);
        let members = || shown.iter().filter(|figures| first(figures.ty) == Some(family));
        chart
            .draw_series(members().map(|figures| Circle::new(at(figures), 4, colour.filled())))?
            .label(family)
            .legend(move |(x, y)| Circle::new((x + 8, y), 4, colour.filled()));
        let names = members().map(|figures| (chart.backend_coord(&at(figures)), figures.ty.name()));
        name_points(&root, &mut labels, names, colour)?;
    }
    explain(&mut chart, SeriesLabelPosition::LowerRight)?;
    root.present()?;
    drop((chart, root));
    Ok(svg)
}
