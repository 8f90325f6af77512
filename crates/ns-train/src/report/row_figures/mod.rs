//! Figures over all runs of a recipe, from their rows alone.

mod bars;
mod sites;
mod sizes;

use std::path::Path;

use super::behaviour::Behaviour;
use super::figures::{Panel, bar_charts, curves};
use super::names::{ALL, Names, PLAIN};
use crate::error::TrainError;
use crate::evaluate::Row;
use crate::recipe::Kind;

/// Name of the figure of accuracy against circuit size.
const ACCURACY_SIZE: &str = "accuracy-size";
/// Largest number of probes in one figure, and of figures. The labels of more probes could not be read.
const PROBES: usize = 12;
const FIGURES: usize = 8;
/// Largest number of panels of curves.
const PANELS: usize = 12;
/// Largest number of curves of a panel, with their controls.
const CURVES: usize = 32;

/// Draws what the rows of a folder show together, each figure as SVG and PNG:
///
/// - `probes`: the accuracies of each probe with its controls, and the model with the circuit ablated. More than 12
///   probes are divided among `probes`, `probes-2` and so on.
/// - `accuracy-size`, if circuits for the same question have different sizes, as in a sweep over `l0_lambda`: accuracy
///   against the percentage of weights kept. Seeds are averaged.
/// - `sites`, if layers were compared: accuracy by layer, one curve per variable and sublayer, and the control on
///   shuffled labels as a thin curve. Seeds are averaged.
///
/// A figure without values is not drawn. Rows that would make a figure illegible are left out with a warning.
///
/// # Errors
/// Returns [`TrainError::Figure`] if a figure cannot be drawn or written.
pub fn draw_rows(folder: impl AsRef<Path>, rows: &[Row]) -> Result<(), TrainError> {
    let folder = folder.as_ref();
    let (probes, plain) = without_plain(rows);
    draw_probes(folder, &probes, &plain)?;
    let all: Vec<&Row> = rows.iter().filter(|row| row.kind == Kind::Circuit).chain(probes.iter().copied()).collect();
    let title = |name: &str, rows: &[&Row]| joined(&[name, &Names::new(rows, &ALL).common]);
    draw_panels(folder, ACCURACY_SIZE, &title("Accuracy by size of the circuit", &all), sizes::panels(&all, &plain))?;
    draw_panels(folder, "sites", &title("Probes by layer", &probes), sites::panels(&probes))
}

/// The probes of a folder, and the rows of the probes without masks that are their controls.
fn without_plain(rows: &[Row]) -> (Vec<&Row>, Vec<&Row>) {
    let is_plain = |row: &&Row| {
        let run = row.run.strip_suffix(PLAIN);
        run.is_some_and(|run| rows.iter().any(|other| other.run == run))
    };
    rows.iter().filter(|row| row.kind.is_probe()).partition(|row| !is_plain(row))
}

/// The control of a probe without masks.
fn plain_of<'a>(row: &Row, plain: &[&'a Row]) -> Option<&'a Row> {
    plain.iter().find(|other| other.run.strip_suffix(PLAIN) == Some(&*row.run)).copied()
}

fn draw_probes(folder: &Path, rows: &[&Row], plain: &[&Row]) -> Result<(), TrainError> {
    let names = Names::new(rows, &ALL);
    let (behaviour, title) = (Behaviour::of(rows.iter().copied()), joined(&[bars::title(rows), &names.common]));
    let labelled: Vec<(&Row, String)> = rows.iter().copied().zip(names.labels).collect();
    let figures = rows.len().div_ceil(PROBES);
    if figures > FIGURES {
        tracing::warn!("the figures show {} of {} probes; the table has all of them", FIGURES * PROBES, rows.len());
    }
    let size = rows.len().div_ceil(figures.max(1)).clamp(1, PROBES);
    for (index, rows) in labelled.chunks(size).take(FIGURES).enumerate() {
        let stem = if index == 0 { "probes".into() } else { format!("probes-{}", index + 1) };
        let title = if figures > 1 { format!("{title} ({} of {figures})", index + 1) } else { title.clone() };
        let charts = bars::charts(rows, plain, &behaviour);
        if !charts.is_empty() {
            bar_charts(folder, &stem, &title, &charts)?;
        }
    }
    Ok(())
}

/// Draws panels of curves. Panels that are too many, and panels with too many curves, are left out with a warning.
fn draw_panels(folder: &Path, stem: &str, title: &str, mut panels: Vec<Panel>) -> Result<(), TrainError> {
    let found = panels.len();
    panels.retain(|panel| panel.series.len() <= CURVES);
    panels.truncate(PANELS);
    if panels.len() < found {
        tracing::warn!("`{stem}` shows {} of {found} panels; the others would not be legible", panels.len());
    }
    if panels.is_empty() { Ok(()) } else { Ok(curves(folder, stem, title, &panels)?) }
}

/// The mean; `None` without values.
fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.into_iter().fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    (count > 0.0).then(|| sum / count)
}

/// Rows by name, in the order of the first row of each name.
fn grouped<'a>(rows: &[&'a Row], names: Vec<String>) -> Vec<(String, Vec<&'a Row>)> {
    let mut groups: Vec<(String, Vec<&Row>)> = Vec::new();
    for (row, name) in rows.iter().zip(names) {
        match groups.iter_mut().find(|(known, _)| *known == name) {
            Some((_, rows)) => rows.push(row),
            None => groups.push((name, vec![row])),
        }
    }
    groups
}

/// Joins the parts that are not empty.
fn joined(parts: &[&str]) -> String {
    parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(" · ")
}

#[cfg(test)]
mod tests;
