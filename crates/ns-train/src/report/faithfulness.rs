//! The table and the figure of a faithfulness curve.

use std::path::Path;

use super::figures::{Panel, Series, curves};
use super::table::{Column, mean_sd, or_na, share, table_of};
use crate::error::TrainError;
use crate::evaluate::CurvePoint;
use crate::train::{CurveReport, FoundCircuit};

/// Returns a Markdown table with one line for each size of the circuit.
pub fn curve_table(report: &CurveReport) -> String {
    let columns: Vec<Column<CurvePoint>> = vec![
        ("share", |point| format!("{}%", point.share * 100.0)),
        ("units", |point| point.size.to_string()),
        ("circuit alone", |point| share(point.circuit)),
        ("faithfulness", |point| share(point.faithfulness)),
        ("random units", |point| or_na(point.random, |[mean, sd]| mean_sd((mean, sd)))),
        ("without circuit", |point| share(point.complement)),
        ("faithfulness without", |point| share(point.complement_faithfulness)),
    ];
    table_of(&columns, &report.curve.points)
}

/// Describes the curve in sentences: areas, random rankings, the smallest circuit that keeps a share of the behaviour, and
/// the circuit that the run found.
///
/// # Errors
/// Returns [`TrainError::Setting`] for a share that is not finite.
pub fn curve_summary(report: &CurveReport, keep: f64) -> Result<String, TrainError> {
    let curve = &report.curve;
    let metric = report.metric.name().replace('_', " ");
    let (set, ablation, units) = (report.set.name(), report.ablation.name(), curve.units);
    let percent = |share: f64| format!("{:.3}%", share * 100.0);
    let mut lines = vec![format!(
        "{metric} on {} examples of {set}: {:.3} with all {units} units, {:.3} with none (removed units: {ablation})",
        report.examples, curve.full, curve.empty
    )];
    lines.push(match curve.random_areas {
        Some(random) => format!(
            "CPR {:.3}, of {} random rankings {:.3} ± {:.3}; CMD {:.3}, of random rankings {:.3} ± {:.3}",
            curve.areas.cpr, random.n, random.cpr[0], random.cpr[1], curve.areas.cmd, random.cmd[0], random.cmd[1]
        ),
        None => format!("CPR {:.3}, CMD {:.3}", curve.areas.cpr, curve.areas.cmd),
    });
    let kept = format!("{}% of the behaviour", keep * 100.0);
    lines.push(match curve.smallest(keep)? {
        Some(point) => {
            format!("smallest measured circuit that keeps {kept}: {} units ({}%)", point.size, point.share * 100.0)
        }
        None => format!("no measured circuit keeps {kept}"),
    });
    let FoundCircuit { size, circuit, complement, faithfulness, .. } = report.found;
    lines.push(format!(
        "circuit of the run: {size} units ({}), {metric} {circuit:.3} alone (faithfulness {faithfulness:.3}), \
         {complement:.3} without it",
        percent(size as f64 / units as f64)
    ));
    Ok(lines.join("\n"))
}

/// Draws the curve to `<folder>/curve.svg` and `<folder>/curve.png`, with the circuits that runs found as points: those of a
/// sweep of λ, for example.
///
/// # Errors
/// Returns [`TrainError::Figure`] if a figure cannot be written.
pub fn draw_curve(folder: impl AsRef<Path>, report: &CurveReport, found: &[FoundCircuit]) -> Result<(), TrainError> {
    let points = |value: &dyn Fn(&CurvePoint) -> Option<f64>| -> Vec<(f64, f64)> {
        let point = |point: &CurvePoint| Some((100.0 * point.size as f64 / report.curve.units as f64, value(point)?));
        report.curve.points.iter().filter_map(point).collect()
    };
    let series = |name: &str, points| Series { name: name.into(), points, control: false };
    let control = |points| Series { name: "random units ± sd".into(), points, control: true };
    let mut all = vec![
        series("best units alone", points(&|point| Some(point.faithfulness))),
        series("without the best units", points(&|point| Some(point.complement_faithfulness))),
        series("random units alone", points(&|point| point.random.map(|random| random[0]))),
        control(points(&|point| point.random.map(|random| random[0] - random[1]))),
        control(points(&|point| point.random.map(|random| random[0] + random[1]))),
    ];
    all.extend(found.iter().map(|circuit| {
        let name = match found.len() {
            1 => "circuit of the run".to_string(),
            _ => format!("λ = {:e}", circuit.l0_lambda),
        };
        series(&name, vec![(100.0 * circuit.size as f64 / circuit.units as f64, circuit.faithfulness)])
    }));
    let panel = Panel {
        y_label: format!("faithfulness ({})", report.metric.name().replace('_', " ")),
        x_label: Some("units in the circuit (%)".into()),
        series: all,
        reference: Some(("whole model".into(), 1.0)),
        log_x: true,
        ..Panel::default()
    };
    let run = report.run.file_name().unwrap_or_default().to_string_lossy();
    Ok(curves(folder, "curve", &format!("Faithfulness of circuits: {run}"), &[panel])?)
}
