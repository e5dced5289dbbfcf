//! Statistics of one tensor's values.

use gguf_codec::model::Distribution;
use gguf_codec::{Shape, Tensor};
use serde_json::{Value as Json, json};

use crate::json::{double, number};
use crate::numbers::grouped;

/// Number of values to dequantize at a time.
const CHUNK: usize = 1 << 20;

/// The values' distribution; values that are not finite are counted separately.
pub(crate) struct Statistics {
    min: f32,
    max: f32,
    mean: f64,
    deviation: f64,
    finite: u64,
    not_finite: u64,
    histogram: [u64; 16],
    distribution: Distribution,
    first: Vec<f32>,
}

impl Statistics {
    pub(crate) fn of(tensor: &Tensor<'_>) -> gguf_codec::Result<Self> {
        let mut first = Vec::new();
        let (mut min, mut max) = (f32::INFINITY, f32::NEG_INFINITY);
        let (mut finite, mut not_finite, mut sum) = (0u64, 0, 0.0f64);
        let mut distribution = Distribution::default();
        for_each_chunk(tensor, |values| {
            distribution.add(values);
            first.extend(values.iter().take(8 - first.len().min(8)));
            for &value in values {
                if value.is_finite() {
                    (min, max) = (min.min(value), max.max(value));
                    finite += 1;
                    sum += f64::from(value);
                } else {
                    not_finite += 1;
                }
            }
        })?;
        let mean = sum / finite.max(1) as f64;
        let mut histogram = [0; 16];
        let mut squares = 0.0;
        let width = (f64::from(max) - f64::from(min)) / histogram.len() as f64;
        for_each_chunk(tensor, |values| {
            for value in values.iter().filter(|value| value.is_finite()) {
                squares += (f64::from(*value) - mean).powi(2);
                let bin = (f64::from(*value) - f64::from(min)) / width;
                // The greatest value belongs to the last bin. If all values are equal, the width is zero and they go to the first bin.
                histogram[(bin as usize).min(histogram.len() - 1)] += 1;
            }
        })?;
        let deviation = (squares / finite.max(1) as f64).sqrt();
        if finite == 0 {
            (min, max) = (0.0, 0.0);
        }
        Ok(Statistics { min, max, mean, deviation, finite, not_finite, histogram, distribution, first })
    }

    fn text(&self) -> String {
        let mut text = match (self.finite, self.not_finite) {
            (0, 0) => return "no values\n".into(),
            (0, bad) => format!("not finite {}: all values\n", grouped(bad)),
            (_, bad) => format!(
                "min {}  max {}  mean {}\nstandard deviation {}  not finite {}\n",
                shown(self.min.into()),
                shown(self.max.into()),
                shown(self.mean),
                shown(self.deviation),
                grouped(bad)
            ),
        };
        text.push('\n');
        if self.finite > 0 && self.min == self.max {
            let all = if self.not_finite == 0 { "all values" } else { "all finite values" };
            text += &format!("{all} are {}\n", shown(self.min.into()));
        } else if self.finite > 0 {
            text += &self.histogram();
        }
        let first: Vec<_> = self.first.iter().map(|&value| shown_float(value)).collect();
        // As many per line as fit, whatever their number of digits.
        let lines: Vec<_> = first.chunks(4).map(|values| values.join(", ")).collect();
        text + &format!("\nfirst values: {}\n", lines.join(",\n              "))
    }

    /// Bars for the range of all but a thousandth of the values, and the number of values outside it.
    fn histogram(&self) -> String {
        const BARS: usize = 16;
        const SHOWN: f64 = 0.999;
        let (least, greatest) = (f64::from(self.min), f64::from(self.max));
        let reach = self.distribution.quantile(SHOWN);
        let (from, to) = (least.max(-reach), greatest.min(reach));
        let (from, to) = if from < to { (from, to) } else { (least, greatest) };
        let bars = self.distribution.histogram(from..to, BARS);
        let most = bars.iter().copied().max().unwrap_or(0).max(1);
        let width = (to - from) / BARS as f64;
        let bar = |(bin, count): (usize, &u64)| {
            let edge = from + width * bin as f64;
            // Rounding leaves tiny errors where the range spans zero.
            let edge = if edge.abs() < width * 1e-9 { 0.0 } else { edge };
            let bar = "█".repeat(((*count as u128 * 50).div_ceil(most.into())) as usize);
            format!("{:>12}  {bar} {}\n", shown(edge), grouped(*count))
        };
        let mut text: String = bars.iter().enumerate().map(bar).collect();
        let outside = self.finite.saturating_sub(bars.iter().sum());
        if outside > 0 {
            text += &format!("{:>12}  {} farther out\n", "", crate::numbers::counted(outside, "value"));
        }
        text
    }
}

/// Cuts between blocks, regardless of rows, because a row may be as long as the tensor.
pub(crate) fn for_each_chunk(tensor: &Tensor<'_>, mut visit: impl FnMut(&[f32])) -> gguf_codec::Result<()> {
    let ty = tensor.ggml_type();
    let (mut bytes, mut values) = (Vec::new(), Vec::new());
    let (len, mut at) = (tensor.byte_len(), 0);
    while at < len {
        let blocks = ((len - at) / ty.block_bytes() as u64).min((CHUNK / ty.block_len()) as u64);
        let Some(shape) = Shape::new(&[blocks * ty.block_len() as u64]) else { break };
        bytes.resize(blocks as usize * ty.block_bytes(), 0);
        tensor.read_bytes(at, &mut bytes)?;
        at += bytes.len() as u64;
        let chunk = Tensor::new(tensor.name(), shape, ty, tensor.byte_order(), &bytes)?;
        values.resize(chunk.len(), 0.0);
        chunk.par_dequantize_into(&mut values)?;
        visit(&values);
    }
    Ok(())
}

pub(crate) fn text(tensor: &Tensor<'_>, statistics: &Statistics) -> String {
    format!(
        "{}: {} {}, {} bytes\n\n{}",
        tensor.name().escape_debug(),
        tensor.ggml_type(),
        tensor.shape(),
        grouped(tensor.byte_len()),
        statistics.text()
    )
}

pub(crate) fn json(tensor: &Tensor<'_>, statistics: &Statistics) -> Json {
    let mut json = json!({ "name": tensor.name(), "type": tensor.ggml_type().name(),
        "shape": tensor.shape().dims(), "bytes": tensor.byte_len() });
    let first: Vec<_> = statistics.first.iter().map(|&value| number(value)).collect();
    // Without values there is no minimum.
    let of_values = |value: Json| if statistics.finite == 0 { Json::Null } else { value };
    json["min"] = of_values(number(statistics.min));
    json["max"] = of_values(number(statistics.max));
    json["mean"] = of_values(double(statistics.mean));
    json["standard_deviation"] = of_values(double(statistics.deviation));
    json["not_finite"] = json!(statistics.not_finite);
    json["histogram"] = json!(statistics.histogram);
    json["first"] = json!(first);
    json
}

/// Six digits, with an exponent where plain digits would be too many or would leave few of the six.
fn shown(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        1e-4..1e6 => {
            // Digits after the point, so that there are six in total.
            let before = value.abs().log10().floor() as i32 + 1;
            trimmed(&format!("{value:.*}", (6 - before).clamp(0, 9) as usize)).to_owned()
        }
        _ if value.is_finite() => {
            let text = format!("{value:.5e}");
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            format!("{}e{exponent}", trimmed(digits))
        }
        _ => value.to_string(),
    }
}

fn trimmed(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

/// All digits that distinguish a float from its neighbours.
fn shown_float(value: f32) -> String {
    match value.abs() {
        0.0 | 1e-4..1e6 => value.to_string(),
        _ if value.is_finite() => format!("{value:e}"),
        _ => value.to_string(),
    }
}
