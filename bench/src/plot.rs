//! Draws a chart of measurements: time against size, batch and shards.
//!
//! The chart has one panel below the other, each with logarithmic axes of base two, so that
//! proportional growth is a straight line. The background is white, because viewers may be dark.

use std::io;

use plotters::{drawing::DrawingAreaErrorKind, prelude::*};

use crate::{error::BenchError, report::Measurement, size::Size};

/// Size of a panel in pixels.
const PANEL: (u32, u32) = (900, 440);
/// Position of the first legend entry, relative to a panel's corner.
const LEGEND: (i32, i32) = (768, 64);
const FONT: &str = "sans-serif";
/// Colours that are distinguishable with any colour vision (Okabe and Ito).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
];

type Fault = DrawingAreaErrorKind<io::Error>;

/// Draws measurements as an SVG document.
///
/// # Errors
/// [`BenchError::Plot`].
pub(crate) fn svg(measured: &[Measurement]) -> Result<String, BenchError> {
    let panels = panels(measured);
    let mut document = String::new();
    draw(&panels, &mut document).map_err(|fault| BenchError::Plot(fault.to_string()))?;
    Ok(document)
}

/// One diagram.
struct Panel {
    caption: String,
    x_name: &'static str,
    y_name: &'static str,
    x_label: fn(f64) -> String,
    series: Vec<Series>,
}

struct Series {
    name: String,
    points: Vec<(f64, f64)>,
}

/// Time against size, and against batch and shards if there are several.
fn panels(measured: &[Measurement]) -> Vec<Panel> {
    let sizes = values(measured, |one| one.size_bytes);
    let batches = values(measured, |one| one.batch);
    let shards = values(measured, |one| one.shards);
    let (Some(largest), Some(fewest)) = (sizes.last().copied(), shards.first().copied()) else {
        return Vec::new();
    };
    let threads = measured.first().map_or(1, |one| one.threads);
    let on = |shards: u32| format!("shards: {shards}, threads each: {threads}");
    let by_batch = |point: fn(&Measurement) -> (f64, f64), drawn: &dyn Fn(&Measurement) -> bool| {
        let point = |batch: usize, one: &Measurement| {
            (one.batch == batch && drawn(one)).then(|| point(one))
        };
        series(&batches, measured, point, |batch| format!("batch {batch}"))
    };
    let mut panels = vec![Panel {
        caption: format!("A request by size of the matrix ({})", on(fewest)),
        x_name: "matrix",
        y_name: "server, ms",
        x_label: size_label,
        series: by_batch(|one| (one.size_bytes as f64, one.server_ms), &|one| one.shards == fewest),
    }];
    if batches.len() > 1 {
        panels.push(Panel {
            caption: format!("One lookup of a batch ({})", on(fewest)),
            x_name: "lookups in the request",
            y_name: "server per lookup, ms",
            x_label: number_label,
            series: series(
                &sizes,
                measured,
                |size, one| {
                    (one.size_bytes == size && one.shards == fewest)
                        .then_some((one.batch as f64, one.server_ms_per_query()))
                },
                |size| Size(size).to_string(),
            ),
        });
    }
    if shards.len() > 1 {
        panels.push(Panel {
            caption: format!("All shards together, matrix of {}", Size(largest)),
            x_name: "shards",
            y_name: "processor per lookup, ms",
            x_label: number_label,
            series: by_batch(|one| (f64::from(one.shards), one.cpu_ms_per_query), &|one| {
                one.size_bytes == largest
            }),
        });
    }
    panels
}

/// The distinct values of a field in all measurements, in order.
fn values<T: Ord>(measured: &[Measurement], field: impl Fn(&Measurement) -> T) -> Vec<T> {
    let mut values: Vec<T> = measured.iter().map(field).collect();
    values.sort_unstable();
    values.dedup();
    values
}

/// One series for each key, with the measurements that have a point for it.
fn series<K: Copy>(
    keys: &[K],
    measured: &[Measurement],
    point: impl Fn(K, &Measurement) -> Option<(f64, f64)>,
    name: impl Fn(K) -> String,
) -> Vec<Series> {
    let one = |key: &K| {
        let mut points: Vec<_> = measured.iter().filter_map(|one| point(*key, one)).collect();
        points.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        Series { name: name(*key), points }
    };
    keys.iter().map(one).collect()
}

fn draw(panels: &[Panel], document: &mut String) -> Result<(), Fault> {
    let (width, height) = PANEL;
    let count = panels.len().max(1);
    let rows = u32::try_from(count).unwrap_or(1);
    let root = SVGBackend::with_string(document, (width, height * rows)).into_drawing_area();
    root.fill(&WHITE)?;
    for (panel, area) in panels.iter().zip(root.split_evenly((count, 1))) {
        draw_panel(panel, &area)?;
    }
    root.present()
}

fn draw_panel(
    panel: &Panel,
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
) -> Result<(), Fault> {
    let Panel { caption, x_name, y_name, x_label, series } = panel;
    let points = || series.iter().flat_map(|series| series.points.iter().copied());
    let x = range(points().map(|point| point.0), 2.0);
    let y = range(points().map(|point| point.1), 4.0);
    let mut chart = ChartBuilder::on(area)
        .caption(caption, (FONT, 20))
        .margin(16)
        .margin_right(150)
        .x_label_area_size(48)
        .y_label_area_size(72)
        .build_cartesian_2d((x.0..x.1).log_scale().base(2.0), (y.0..y.1).log_scale().base(2.0))?;
    chart
        .configure_mesh()
        // With more labels, the library puts further lines between powers as if their base were
        // ten.
        .x_labels(9)
        .y_labels(9)
        .max_light_lines(0)
        .label_style((FONT, 14))
        .axis_desc_style((FONT, 15))
        .x_desc(*x_name)
        .y_desc(*y_name)
        .x_label_formatter(&|x| x_label(*x))
        .y_label_formatter(&|y| number_label(*y))
        .draw()?;
    let names = (LEGEND.1..).step_by(20);
    for ((Series { name, points }, colour), y) in series.iter().zip(colours()).zip(names) {
        chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
        let dots = points.iter().map(|point| Circle::new(*point, 4, colour.filled()));
        chart.draw_series(dots)?;
        // The legend is to the right of the diagram, where it covers no line.
        let x = LEGEND.0;
        area.draw(&PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)))?;
        area.draw(&Text::new(name.as_str(), (x + 28, y - 6), (FONT, 14).into_font()))?;
    }
    Ok(())
}

fn colours() -> impl Iterator<Item = RGBColor> {
    COLOURS.into_iter().cycle()
}

/// Powers of two that enclose positive values. The larger is at least `span` times the smaller.
fn range(values: impl Iterator<Item = f64>, span: f64) -> (f64, f64) {
    let positive = values.filter(|value| value.is_finite() && *value > 0.0);
    let (low, high) =
        positive.fold((f64::INFINITY, 0.0f64), |(low, high), x| (low.min(x), high.max(x)));
    if high == 0.0 {
        return (1.0, span);
    }
    let (low, high) = (low.log2().floor().exp2(), high.log2().ceil().exp2());
    if high / low < span { (low / 2.0, high * 2.0) } else { (low, high) }
}

/// A label for bytes, which here are powers of two or nearly so.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded on purpose")]
fn size_label(bytes: f64) -> String {
    Size(bytes.round() as u64).to_string()
}

fn number_label(number: f64) -> String {
    format!("{}", (number * 1e6).round() / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_powers_of_two_around_everything() {
        assert_eq!(range([3.0, 9.0].into_iter(), 4.0), (2.0, 16.0));
        assert_eq!(range([0.3].into_iter(), 2.0), (0.25, 0.5));
        assert_eq!(range([0.3].into_iter(), 4.0), (0.125, 1.0));
        assert_eq!(range([4.0].into_iter(), 2.0), (2.0, 8.0));
        assert_eq!(range([0.0, f64::NAN].into_iter(), 2.0), (1.0, 2.0));
        assert_eq!((size_label(67_108_864.0), number_label(0.25)), ("64MiB".into(), "0.25".into()));
    }
}
