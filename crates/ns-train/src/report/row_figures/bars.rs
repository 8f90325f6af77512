//! Charts of probes: accuracies with their controls, one group of bars per probe.

use super::plain_of;
use crate::evaluate::Row;
use crate::recipe::Kind;
use crate::report::behaviour::Behaviour;
use crate::report::figures::{BarChart, BarGroup, BarRole};
use crate::report::names::is_arithmetic;

/// A row and its label.
type Labelled<'a> = (&'a Row, String);

/// A bar: its name, its role, and its value with a standard deviation.
type Bar<'a> = (&'static str, BarRole, &'a dyn Fn(&Row) -> Option<(f64, Option<f64>)>);

/// What the rows are, for the title.
pub(super) fn title(rows: &[&Row]) -> &'static str {
    let all = |kind: Kind| rows.iter().all(|row| row.kind == kind);
    match () {
        () if all(Kind::CircuitProbe) => "Circuit probes",
        () if all(Kind::SubnetworkProbe) => "Subnetwork probes",
        () if all(Kind::LinearProbe) => "Linear probes",
        () => "Probes",
    }
}

/// The charts of some rows; a chart has the rows that have its first value.
pub(super) fn charts(rows: &[Labelled<'_>], plain: &[&Row], shown: &Behaviour) -> Vec<BarChart> {
    let number = |name: &'static str| move |row: &Row| Some((row.number(name)?, None));
    let of_plain = |name: &'static str| move |row: &Row| Some((plain_of(row, plain)?.number(name)?, None));
    let knn: [Bar; 3] = [
        ("circuit only (masked)", BarRole::Circuit, &number("knn_test")),
        ("whole model (unmasked)", BarRole::Model, &number("knn_unmasked")),
        ("circuit for shuffled labels", BarRole::Control, &number("knn_shuffled")),
    ];
    let model: [Bar; 3] = [
        ("whole model", BarRole::Model, &|row| {
            shown.ablated(row, "accuracy").and(with_sd(shown.full(row, "accuracy")))
        }),
        ("circuit ablated", BarRole::Ablated, &|row| with_sd(shown.ablated(row, "accuracy"))),
        ("random masks of the same size ablated (mean ± sd)", BarRole::Control, &|row| {
            let (mean, sd) = shown.controls(row, "accuracy", "random")?;
            Some((mean, Some(sd)))
        }),
    ];
    let probe: [Bar; 3] = [
        ("probe", BarRole::Circuit, &number("probe_test")),
        ("probe without masks", BarRole::Model, &of_plain("probe_test")),
        ("probe of shuffled labels", BarRole::Control, &number("probe_shuffled")),
    ];
    let r2: [Bar; 3] = [
        ("R²", BarRole::Circuit, &number("r2_test")),
        ("Spearman correlation", BarRole::Model, &number("spearman_test")),
        ("R² for shuffled values", BarRole::Control, &number("r2_shuffled")),
    ];
    let note = shown.note();
    let charts = [
        chart("1-NN test accuracy", rows, &knn, true),
        chart(&format!("model accuracy{note}"), rows, &model, false),
        chart("test accuracy of the probe", rows, &probe, true),
        chart("R² and correlation, test set", rows, &r2, false),
    ];
    charts.into_iter().flatten().collect()
}

/// A chart of the rows that have the first bar; `None` if there are none. Bars that no row has are left out.
fn chart(name: &str, rows: &[Labelled<'_>], bars: &[Bar<'_>], marks_majority: bool) -> Option<BarChart> {
    let rows: Vec<&Labelled> = rows.iter().filter(|(row, _)| bars[0].2(row).is_some()).collect();
    let measured = |bar: &&Bar| rows.iter().any(|(row, _)| bar.2(row).is_some());
    let bars: Vec<&Bar> = bars.iter().filter(measured).collect();
    let mark = |row: &Row| majority(row).filter(|_| marks_majority);
    let group = |(row, label): &&Labelled| BarGroup {
        label: label.clone(),
        values: bars.iter().map(|bar| bar.2(row)).collect(),
        mark: mark(row),
    };
    let has_mark = rows.iter().any(|(row, _)| mark(row).is_some());
    (!rows.is_empty()).then(|| BarChart {
        name: name.into(),
        bars: bars.iter().map(|(name, role, _)| ((*name).to_owned(), *role)).collect(),
        mark: has_mark.then(|| "majority class".into()),
        groups: rows.iter().map(group).collect(),
    })
}

/// Accuracy of the most frequent class of the training set: on the test set, for arithmetic on the training set.
pub(super) fn majority(row: &Row) -> Option<f64> {
    row.number(if is_arithmetic(row) { "majority" } else { "majority_test" })
}

fn with_sd(value: Option<f64>) -> Option<(f64, Option<f64>)> {
    Some((value?, None))
}
