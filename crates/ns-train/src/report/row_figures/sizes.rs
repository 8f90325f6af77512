//! Accuracy against the size of the circuit, for circuits of the same question with different masks.

use super::{grouped, joined, mean, plain_of};
use crate::evaluate::Row;
use crate::recipe::Kind;
use crate::report::behaviour::Behaviour;
use crate::report::figures::{Panel, Series};
use crate::report::names::{Names, Part};

/// The parts of a name that say which question the masks are for.
const QUESTION: [Part; 5] = [Part::Model, Part::Data, Part::Variable, Part::Site, Part::Sweep];

/// A curve: its name, and the value of a row.
type Curve<'a> = (&'static str, &'a dyn Fn(&Row) -> Option<f64>);

/// One panel for each question whose circuits have different sizes.
pub(super) fn panels(rows: &[&Row], plain: &[&Row]) -> Vec<Panel> {
    let shown = Behaviour::of(rows.iter().copied());
    let mut panels = Vec::new();
    for kind in [Kind::Circuit, Kind::CircuitProbe, Kind::SubnetworkProbe] {
        let rows: Vec<&Row> = rows.iter().copied().filter(|row| row.kind == kind && kept(row).is_some()).collect();
        let names = Names::new(&rows, &QUESTION).labels;
        let questions = grouped(&rows, names);
        let one = questions.len() == 1;
        panels.extend(questions.into_iter().filter_map(|(name, rows)| {
            let sizes = by_masks(&rows);
            let (first, rest) = sizes.split_first()?;
            let size = |rows: &[&Row]| mean(rows.iter().filter_map(|row| kept(row)));
            rest.iter().any(|rows| size(rows) != size(first)).then(|| {
                let name = joined(&["accuracy", if one { "" } else { &name }]);
                panel(kind, &name, &sizes, plain, &shown)
            })
        }));
    }
    panels
}

/// Rows with the same masks, which differ in their seeds.
fn by_masks<'a>(rows: &[&'a Row]) -> Vec<Vec<&'a Row>> {
    let names = Names::new(rows, &[Part::Masks]).labels;
    grouped(rows, names).into_iter().map(|(_, rows)| rows).collect()
}

fn panel(kind: Kind, name: &str, sizes: &[Vec<&Row>], plain: &[&Row], shown: &Behaviour) -> Panel {
    let number = |name: &'static str| move |row: &Row| row.number(name);
    let ablated = |row: &Row| shown.ablated(row, "accuracy");
    let random = |row: &Row| Some(shown.controls(row, "accuracy", "random")?.0);
    let alone = |row: &Row| shown.circuit(row, "accuracy");
    let full = |row: &Row| shown.full(row, "accuracy");
    let of_plain = |row: &Row| plain_of(row, plain)?.number("probe_test");
    let (knn, unmasked, knn_shuffled) = (number("knn_test"), number("knn_unmasked"), number("knn_shuffled"));
    let (test, shuffled) = (number("probe_test"), number("probe_shuffled"));
    let without: [Curve; 2] = [("model, circuit ablated", &ablated), ("model, random masks ablated", &random)];
    let (curves, reference): (Vec<Curve>, Curve) = match kind {
        Kind::Circuit => {
            let curves: [Curve; 3] =
                [("circuit alone", &alone), ("circuit ablated", &ablated), ("random masks ablated", &random)];
            (curves.into(), ("full model", &full))
        }
        Kind::CircuitProbe => {
            let curves: [Curve; 2] = [("1-NN, circuit only", &knn), ("1-NN, shuffled labels", &knn_shuffled)];
            ([&curves[..], &without].concat(), ("1-NN, whole model", &unmasked))
        }
        _ => {
            let curves: [Curve; 2] = [("test", &test), ("test, shuffled labels", &shuffled)];
            (curves.into(), ("test, without masks", &of_plain))
        }
    };
    let points = |value: &dyn Fn(&Row) -> Option<f64>| -> Vec<(f64, f64)> {
        let point = |rows: &Vec<&Row>| {
            let measured: Vec<(f64, f64)> = rows.iter().filter_map(|row| kept(row).zip(value(row))).collect();
            mean(measured.iter().map(|point| point.0)).zip(mean(measured.iter().map(|point| point.1)))
        };
        sizes.iter().filter_map(point).collect()
    };
    let level = mean(sizes.iter().flatten().filter_map(|row| reference.1(row)));
    size_panel(
        name,
        curves.iter().map(|(name, value)| (*name, points(*value))),
        level.map(|level| (reference.0, level)),
    )
}

/// Percentage of the masked weights in the circuit.
fn kept(row: &Row) -> Option<f64> {
    let (l0, max) = row.number("l0").zip(row.number("l0_max"))?;
    (max > 0.0).then(|| 100.0 * l0 / max)
}

/// Named series of points (percentage of the weights kept, accuracy), in any order, and a named value as a dashed line.
/// Series without points are left out.
fn size_panel<'a>(
    name: &str,
    series: impl IntoIterator<Item = (&'a str, Vec<(f64, f64)>)>,
    reference: Option<(&str, f64)>,
) -> Panel {
    let sorted = |(name, mut points): (&str, Vec<(f64, f64)>)| {
        points.sort_by(|left, right| left.0.total_cmp(&right.0));
        Series { name: name.into(), points, ..Series::default() }
    };
    Panel {
        y_label: name.into(),
        x_label: Some("weights kept, %".into()),
        series: series.into_iter().map(sorted).filter(|series| !series.points.is_empty()).collect(),
        reference: reference.map(|(name, value)| (name.into(), value)),
        ..Panel::default()
    }
}
