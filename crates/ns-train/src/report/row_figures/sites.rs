//! Accuracy by layer, for probes of several layers.

use std::collections::{BTreeMap, BTreeSet};

use super::bars::majority;
use super::{grouped, mean};
use crate::evaluate::Row;
use crate::report::figures::{Panel, Series};
use crate::report::names::{Names, Part};

/// The parts of a name that distinguish curves; seeds are averaged.
const CURVE: [Part; 6] = [Part::Model, Part::Data, Part::Variable, Part::SiteOfLayers, Part::Masks, Part::Sweep];

/// Name of a measure, its key, and the key of its control on shuffled labels.
const MEASURES: [(&str, &str, &str); 3] = [
    ("1-NN test accuracy", "knn_test", "knn_shuffled"),
    ("test accuracy of the probe", "probe_test", "probe_shuffled"),
    ("R², test set", "r2_test", "r2_shuffled"),
];

/// One panel for each measure that several layers have.
pub(super) fn panels(rows: &[&Row]) -> Vec<Panel> {
    MEASURES.into_iter().filter_map(|measure| panel(rows, measure)).collect()
}

fn panel(rows: &[&Row], (name, key, control): (&str, &str, &str)) -> Option<Panel> {
    let rows: Vec<&Row> = rows.iter().copied().filter(|row| row.layer.is_some() && row.number(key).is_some()).collect();
    if rows.iter().map(|row| row.layer).collect::<BTreeSet<_>>().len() < 2 {
        return None;
    }
    let curves = grouped(&rows, Names::new(&rows, &CURVE).labels);
    let series = curves.iter().flat_map(|(name, rows)| {
        let curve = Series { name: name.clone(), points: by_layer(rows, key), control: false };
        let control = Series { name: "shuffled labels".into(), points: by_layer(rows, control), control: true };
        [Some(curve), Some(control).filter(|control| !control.points.is_empty())].into_iter().flatten()
    });
    // Variables have different majorities.
    let levels: BTreeSet<Option<u64>> = rows.iter().map(|row| majority(row).map(f64::to_bits)).collect();
    let level = majority(rows[0]).filter(|_| levels.len() == 1);
    Some(Panel {
        y_label: name.into(),
        x_label: Some("layer".into()),
        series: series.collect(),
        reference: level.map(|level| ("majority class".into(), level)),
        log: false,
    })
}

/// The mean of a measure for each layer.
fn by_layer(rows: &[&Row], key: &str) -> Vec<(f64, f64)> {
    let mut layers: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for (layer, value) in rows.iter().filter_map(|row| row.layer.zip(row.number(key))) {
        layers.entry(layer).or_default().push(value);
    }
    layers.into_iter().filter_map(|(layer, values)| Some((layer as f64, mean(values)?))).collect()
}
