//! What rows say of the behaviour of a model: intact, of the circuit alone, and without the circuit.

use crate::evaluate::Row;

const METRICS: [&str; 3] = ["accuracy", "kl", "logit_difference"];
/// Sets and ablations in the order in which they are preferred.
const SETS: [&str; 4] = ["test", "ood", "dev", "train"];
const ABLATIONS: [&str; 4] = ["zero", "mean", "resample", "reinitialise"];

/// The set and the ablation that tables and figures show; the others are in `results.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Behaviour {
    set: &'static str,
    ablation: &'static str,
}

impl Behaviour {
    /// The test set and zero ablation, or the next that a row has.
    pub(super) fn of<'a>(rows: impl IntoIterator<Item = &'a Row> + Clone) -> Self {
        let has = |shown: &Self| {
            let of_row = |row: &Row| METRICS.iter().any(|metric| shown.ablated(row, metric).is_some());
            rows.clone().into_iter().any(of_row)
        };
        let all = SETS.iter().flat_map(|set| ABLATIONS.iter().map(move |ablation| Self { set, ablation }));
        all.into_iter().find(has).unwrap_or(Self { set: SETS[0], ablation: ABLATIONS[0] })
    }

    /// The sets on which rows have an accuracy without the circuit, under the ablation that [`Self::of`] shows.
    pub(super) fn by_set(rows: &[&Row]) -> Vec<Self> {
        let ablation = Self::of(rows.iter().copied()).ablation;
        let shown = SETS.into_iter().map(|set| Self { set, ablation });
        shown.filter(|shown| rows.iter().any(|row| shown.ablated(row, METRICS[0]).is_some())).collect()
    }

    /// Name of the set.
    pub(super) fn set(&self) -> &'static str {
        self.set
    }

    /// What is shown, if it is not the zero ablation on the test set: ` (ood)`, ` (mean)`, or both.
    pub(super) fn note(&self) -> String {
        let parts = [(self.set, SETS[0]), (self.ablation, ABLATIONS[0])];
        let parts: Vec<&str> =
            parts.into_iter().filter(|(shown, usual)| shown != usual).map(|(shown, _)| shown).collect();
        if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
    }

    /// The intact model.
    pub(super) fn full(&self, row: &Row, metric: &str) -> Option<f64> {
        self.number(row, metric, "").or_else(|| arithmetic(row, metric, "acc_full"))
    }

    /// The circuit alone.
    pub(super) fn circuit(&self, row: &Row, metric: &str) -> Option<f64> {
        self.number(row, metric, "_circuit")
    }

    /// The model with the circuit ablated.
    pub(super) fn ablated(&self, row: &Row, metric: &str) -> Option<f64> {
        self.number(row, metric, &format!("_{}", self.ablation)).or_else(|| arithmetic(row, metric, "acc_ablated"))
    }

    /// Mean and standard deviation of the model with random masks of the circuit's size ablated; `control` is `random`
    /// or `complement`.
    pub(super) fn controls(&self, row: &Row, metric: &str, control: &str) -> Option<(f64, f64)> {
        let part = |part: &str| {
            let number = self.number(row, metric, &format!("_{}_{control}_{part}", self.ablation));
            number.or_else(|| arithmetic(row, metric, &format!("acc_{control}_{part}")))
        };
        // A single control has no standard deviation.
        Some((part("mean")?, part("sd").unwrap_or(f64::NAN)))
    }

    /// p-value of the ablation among the random masks.
    pub(super) fn p_value(&self, row: &Row, metric: &str) -> Option<f64> {
        self.number(row, metric, &format!("_{}_p", self.ablation))
    }

    fn number(&self, row: &Row, metric: &str, suffix: &str) -> Option<f64> {
        row.number(&format!("{metric}_{}{suffix}", self.set))
    }
}

/// A measure of arithmetic, which is on the test set.
fn arithmetic(row: &Row, metric: &str, name: &str) -> Option<f64> {
    (metric == METRICS[0]).then(|| row.number(name)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::some_row;

    const TEST: Behaviour = Behaviour { set: "test", ablation: "zero" };

    #[test]
    fn the_test_set_is_preferred_and_another_is_named() {
        let test = some_row("a", &[("kl_test_zero", 0.5.into()), ("kl_ood_zero", 1.5.into())]);
        let ood = some_row("a", &[("accuracy_ood", 0.9.into()), ("accuracy_ood_mean", 0.5.into())]);
        assert_eq!((Behaviour::of([&ood, &test]), TEST.note()), (TEST, String::new()));
        let shown = Behaviour::of([&ood]);
        assert_eq!((shown.note(), shown.full(&ood, "accuracy")), (" (ood, mean)".into(), Some(0.9)));
        assert_eq!((shown.ablated(&ood, "accuracy"), shown.circuit(&ood, "accuracy")), (Some(0.5), None));
        assert_eq!(Behaviour::of([&some_row("a", &[])]), TEST);
    }

    #[test]
    fn arithmetic_has_accuracies_by_other_names() {
        let row =
            some_row("a", &[("acc_full", 1.0.into()), ("acc_ablated", 0.1.into()), ("acc_random_mean", 0.7.into())]);
        assert_eq!((TEST.full(&row, "accuracy"), TEST.ablated(&row, "accuracy")), (Some(1.0), Some(0.1)));
        let (mean, sd) = TEST.controls(&row, "accuracy", "random").unwrap();
        assert!(mean == 0.7 && sd.is_nan());
        assert_eq!((TEST.full(&row, "kl"), TEST.controls(&row, "accuracy", "complement")), (None, None));
    }
}
