//! Accuracy by layer, for probes of several layers.

use std::collections::{BTreeMap, BTreeSet};

use super::bars::majority;
use super::{grouped, mean};
use crate::evaluate::Row;
use crate::report::behaviour::Behaviour;
use crate::report::figures::{Panel, Series};
use crate::report::names::{Names, Part};

/// The parts of a name that distinguish curves; seeds are averaged.
const CURVE: [Part; 6] = [Part::Model, Part::Data, Part::Variable, Part::SiteOfLayers, Part::Masks, Part::Sweep];

/// Name of a measure, its key, and the key of its control on shuffled labels.
const MEASURES: [(&str, &str, &str); 4] = [
    ("1-NN test accuracy", "knn_test", "knn_shuffled"),
    ("1-NN accuracy, ood", "knn_ood", ""),
    ("test accuracy of the probe", "probe_test", "probe_shuffled"),
    ("R², test set", "r2_test", "r2_shuffled"),
];

/// One panel for each measure that several layers have: of the probe, then of the model without the circuit, by set.
pub(super) fn panels(rows: &[&Row]) -> Vec<Panel> {
    let of_probe = MEASURES.into_iter().filter_map(|measure| panel(rows, measure));
    let of_model = Behaviour::by_set(rows).into_iter().filter_map(|shown| ablated_panel(rows, &shown));
    of_probe.chain(of_model).collect()
}

fn panel(rows: &[&Row], (name, key, control): (&str, &str, &str)) -> Option<Panel> {
    let rows: Vec<&Row> = rows.iter().copied().filter(|row| row.layer.is_some() && row.number(key).is_some()).collect();
    let curve = |row: &Row| row.number(key);
    // Variables have different majorities.
    let levels: BTreeSet<Option<u64>> = rows.iter().map(|row| majority(row).map(f64::to_bits)).collect();
    let level = rows.first().and_then(|row| majority(row)).filter(|_| levels.len() == 1);
    let reference = level.map(|level| ("majority class".into(), level));
    by_curve(&rows, name.into(), &curve, ("shuffled labels", &|row| row.number(control)), reference)
}

/// Accuracies of the model without the circuit and without random masks of its size.
fn ablated_panel(rows: &[&Row], shown: &Behaviour) -> Option<Panel> {
    let ablated = |row: &Row| shown.ablated(row, "accuracy");
    let random = |row: &Row| Some(shown.controls(row, "accuracy", "random")?.0);
    let rows: Vec<&Row> = rows.iter().copied().filter(|row| row.layer.is_some() && ablated(row).is_some()).collect();
    let levels: BTreeSet<Option<u64>> = rows.iter().map(|row| shown.full(row, "accuracy").map(f64::to_bits)).collect();
    let level = rows.first().and_then(|row| shown.full(row, "accuracy")).filter(|_| levels.len() == 1);
    let name = format!("ablated accuracy, {}", shown.set());
    let reference = level.map(|level| ("whole model".into(), level));
    by_curve(&rows, name, &ablated, ("random masks", &random), reference)
}

/// A value of a row, if it was measured.
type Value<'a> = &'a dyn Fn(&Row) -> Option<f64>;

/// A panel with a curve over the layers, and its control, for each question; `None` for a single layer.
fn by_curve(
    rows: &[&Row],
    name: String,
    value: Value<'_>,
    (control_name, control): (&str, Value<'_>),
    reference: Option<(String, f64)>,
) -> Option<Panel> {
    if rows.iter().map(|row| row.layer).collect::<BTreeSet<_>>().len() < 2 {
        return None;
    }
    let curves = grouped(rows, Names::new(rows, &CURVE).labels);
    let series = curves.iter().flat_map(|(name, rows)| {
        let curve = Series { name: name.clone(), points: by_layer(rows, value), control: false };
        let control = Series { name: control_name.into(), points: by_layer(rows, control), control: true };
        [Some(curve), Some(control).filter(|control| !control.points.is_empty())].into_iter().flatten()
    });
    Some(Panel {
        y_label: name,
        x_label: Some("layer".into()),
        series: series.collect(),
        reference,
        ..Panel::default()
    })
}

/// The mean of a measure for each layer.
fn by_layer(rows: &[&Row], value: Value<'_>) -> Vec<(f64, f64)> {
    let mut layers: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for (layer, value) in rows.iter().filter_map(|row| row.layer.zip(value(row))) {
        layers.entry(layer).or_default().push(value);
    }
    layers.into_iter().filter_map(|(layer, values)| Some((layer as f64, mean(values)?))).collect()
}
