//! The roofline: values per second over bytes moved per value, with the machine's limits as lines.

use gguf_codec::{GgmlType, Isa};
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::IN_CACHE;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Failure = Box<dyn std::error::Error>;

/// A row of the table for the picture.
struct Point {
    ty: GgmlType,
    kind: Kind,
    bytes_per_value: f64,
    /// Billions per second.
    speed: f64,
}

/// The library, and for this crate also the type of the output.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    F32,
    F16,
    Bf16,
    Ggml,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::F32, Kind::F16, Kind::Bf16, Kind::Ggml];

    fn of(name: &str, widest: Isa) -> Option<Kind> {
        match name {
            "ggml" => Some(Kind::Ggml),
            "f16" => Some(Kind::F16),
            "bf16" => Some(Kind::Bf16),
            name => (name == widest.name()).then_some(Kind::F32),
        }
    }

    fn label(self) -> &'static str {
        match self {
            Kind::F32 => "this crate, to f32",
            Kind::F16 => "this crate, to f16",
            Kind::Bf16 => "this crate, to bf16",
            Kind::Ggml => "ggml, to f32",
        }
    }

    fn colour(self) -> RGBColor {
        match self {
            Kind::F32 => RGBColor(0, 90, 181),
            Kind::F16 => RGBColor(0, 140, 90),
            Kind::Bf16 => RGBColor(130, 60, 160),
            Kind::Ggml => RGBColor(200, 80, 0),
        }
    }
}

/// The results, in memory and in cache.
#[derive(Default)]
pub(crate) struct Points {
    panels: [Panel; 2],
}

#[derive(Default)]
struct Panel {
    points: Vec<Point>,
    /// Bytes per second of the fill, in billions.
    fill: f64,
}

impl Points {
    pub(crate) fn add(
        &mut self,
        ty: GgmlType,
        name: &str,
        widest: Isa,
        moved: [usize; 2],
        values: usize,
        seconds: f64,
    ) {
        let bytes = (moved[0] + moved[1]) as f64;
        let in_cache = values == IN_CACHE;
        let panel = &mut self.panels[usize::from(in_cache)];
        let fill = if in_cache { format!("fill {widest}") } else { "nt fill".to_owned() };
        if name == fill {
            panel.fill = panel.fill.max(bytes / seconds / 1e9);
        } else if let Some(kind) = Kind::of(name, widest) {
            let bytes_per_value = bytes / values as f64;
            panel.points.push(Point { ty, kind, bytes_per_value, speed: values as f64 / seconds / 1e9 });
        }
    }

    pub(crate) fn draw(&self, path: &str) -> Result<(), Failure> {
        let root = SVGBackend::new(path, (1200, 600)).into_drawing_area();
        root.fill(&WHITE)?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let machine = processor().map(|name| format!(": {name}, {threads} cores")).unwrap_or_default();
        let day = today().map(|day| format!(", {day}")).unwrap_or_default();
        let title = format!("Dequantizing against the machine's limits, one thread{machine}{day}");
        let root = root.titled(&title, ("sans-serif", 20))?;
        let halves = root.split_evenly((1, 2));
        self.panels[1].draw(&halves[0], "16 Ki values, in cache", "fill with ordinary stores")?;
        self.panels[0].draw(&halves[1], "64 Mi values, in memory", "non-temporal fill")?;
        root.present()?;
        Ok(())
    }
}

impl Panel {
    fn draw(&self, area: &Area<'_>, title: &str, limit: &str) -> Result<(), Failure> {
        let most = self.points.iter().map(|point| point.speed).fold(self.fill / 4.0, f64::max) * 1.25;
        let mut chart = ChartBuilder::on(area)
            .caption(title, ("sans-serif", 17))
            .margin(10)
            .x_label_area_size(42)
            .y_label_area_size(50)
            .build_cartesian_2d(2.3f64..5.5, 0.0..most)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_desc("bytes read and written for each value")
            .y_desc("billions of values a second")
            .draw()?;
        let line = (0..=64).map(|i| 2.3 + f64::from(i) * 0.05).map(|x| (x, self.fill / x));
        chart
            .draw_series(LineSeries::new(line.filter(|point| point.1 <= most), &BLACK))?
            .label(limit)
            .legend(|(x, y)| PathElement::new([(x, y), (x + 14, y)], BLACK));
        for kind in Kind::ALL {
            let colour = kind.colour();
            let points = self.points.iter().filter(|point| point.kind == kind);
            let marker = move |at| match kind {
                Kind::Ggml => Cross::new(at, 4, colour.stroke_width(2)).into_dyn(),
                _ => Circle::new(at, 4, colour.filled()).into_dyn(),
            };
            chart
                .draw_series(points.map(|point| marker((point.bytes_per_value, point.speed))))?
                .label(kind.label())
                .legend(move |(x, y)| match kind {
                    Kind::Ggml => Cross::new((x + 7, y), 4, colour.stroke_width(2)).into_dyn(),
                    _ => Circle::new((x + 7, y), 4, colour.filled()).into_dyn(),
                });
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .label_font(("sans-serif", 13))
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK)
            .draw()?;
        let at: Vec<_> = self
            .points
            .iter()
            .map(|point| chart.backend_coord(&(point.bytes_per_value, point.speed)))
            .collect();
        drop(chart);
        let (left, top) = area.get_base_pixel();
        let at: Vec<_> = at.into_iter().map(|(x, y)| (x - left, y - top)).collect();
        self.label(area, &at)
    }

    /// Labels each point where there is free space, as near to it as possible, and joins the two with a line if they are apart.
    fn label(&self, area: &Area<'_>, at: &[(i32, i32)]) -> Result<(), Failure> {
        const HEIGHT: i32 = 12;
        let mut taken: Vec<[i32; 4]> = at.iter().map(|&(x, y)| [x - 5, y - 5, x + 5, y + 5]).collect();
        for (point, &(x, y)) in self.points.iter().zip(at) {
            let text = point.ty.name();
            let width = 7 * text.len() as i32;
            let places = (0..12).flat_map(|far| {
                let (side, up) = (8 + 6 * far, 13 * far);
                [(side, -6 - up), (side, -6 + up), (-side - width, -6 - up), (-side - width, -6 + up)]
            });
            let free =
                places.map(|(dx, dy)| [x + dx, y + dy, x + dx + width, y + dy + HEIGHT]).find(|place| {
                    taken.iter().all(|other| {
                        place[0] >= other[2]
                            || other[0] >= place[2]
                            || place[1] >= other[3]
                            || other[1] >= place[3]
                    })
                });
            let Some(place) = free else { continue };
            let colour = point.kind.colour();
            if (place[1] + 6 - y).abs() > 8 {
                let end = (if place[0] > x { place[0] } else { place[2] }, place[1] + 6);
                area.draw(&PathElement::new([(x, y), end], colour.mix(0.4)))?;
            }
            let style = ("sans-serif", 12).into_font().color(&colour);
            area.draw(&Text::new(text, (place[0], place[1]), style))?;
            taken.push(place);
        }
        Ok(())
    }
}

/// The processor's name, on Linux.
pub(crate) fn processor() -> Option<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("model name"))?;
    Some(line.trim_start_matches([' ', '\t', ':']).to_owned())
}

/// The date, if the system has a command for it.
fn today() -> Option<String> {
    let output = std::process::Command::new("date").arg("+%F").output().ok()?;
    String::from_utf8(output.stdout).ok().map(|day| day.trim().to_owned())
}
