//! What a model does on its own task, and the same under random masks of the circuit's size.

use serde::{Deserialize, Serialize};

use super::{AblationReport, AblationRow, Measures};
use crate::recipe::{AblationName, Metric};
use crate::statistics::p_value_among;

/// Measurements of one model on the examples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Behaviour {
    /// Fraction of the examples whose right answer has the highest score of those that are compared. A tie is wrong.
    pub accuracy: f64,
    /// Mean Kullback–Leibler divergence `KL(full model ‖ this model)` of the distributions over all answers, in nats, if it
    /// is measured.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub kl_to_full: Option<f64>,
    /// Mean difference between the logit of the right answer and the best other one of those that are compared, if it is
    /// measured.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub logit_difference: Option<f64>,
}

/// A model with random masks of the circuit's size ablated.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Controls {
    /// Number of random masks.
    pub n: usize,
    /// Mean accuracy.
    pub accuracy_mean: f64,
    /// Sample standard deviation of the accuracy.
    pub accuracy_sd: f64,
    /// Exact p-value of the circuit's ablation: `(1 + #{controls ≤ circuit}) / (1 + n)`, the fraction of all masks,
    /// including the circuit's own, whose ablation leaves the accuracy as low as the circuit's ablation or lower.
    pub p_value: f64,
    /// The divergence from the full model; its p-value counts the controls that diverge as much or more.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub kl_to_full: Option<Spread>,
    /// The logit difference, if it is measured.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub logit_difference: Option<Spread>,
}

/// Distribution of a measurement over random masks, and the p-value of the circuit among them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Sample standard deviation.
    pub sd: f64,
    /// Exact one-sided p-value: `(1 + #{controls at least as far as the circuit}) / (1 + n)`.
    pub p_value: f64,
}

impl Behaviour {
    /// The measured value of a metric.
    pub(super) fn get(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::Accuracy => Some(self.accuracy),
            Metric::Kl => self.kl_to_full,
            Metric::LogitDifference => self.logit_difference,
        }
    }
}

impl Controls {
    /// Summarises the controls; `None` if there are no controls. `circuit` is the model without the circuit.
    pub(super) fn new(controls: &[Behaviour], circuit: &Behaviour) -> Option<Self> {
        let spread = |metric| Spread::new(controls, circuit, metric);
        let accuracy = spread(Metric::Accuracy)?;
        Some(Self {
            n: controls.len(),
            accuracy_mean: accuracy.mean,
            accuracy_sd: accuracy.sd,
            p_value: accuracy.p_value,
            kl_to_full: spread(Metric::Kl),
            logit_difference: spread(Metric::LogitDifference),
        })
    }

    fn get(&self, metric: Metric) -> Option<Spread> {
        match metric {
            Metric::Accuracy => Some(Spread { mean: self.accuracy_mean, sd: self.accuracy_sd, p_value: self.p_value }),
            Metric::Kl => self.kl_to_full,
            Metric::LogitDifference => self.logit_difference,
        }
    }
}

impl Spread {
    fn new(controls: &[Behaviour], circuit: &Behaviour, metric: Metric) -> Option<Self> {
        let values: Vec<f64> = controls.iter().map(|control| control.get(metric)).collect::<Option<_>>()?;
        let (mean, sd) = mean_and_sd(&values)?;
        let circuit = circuit.get(metric)?;
        let as_far = |value: &&f64| match metric {
            Metric::Kl => **value >= circuit,
            Metric::Accuracy | Metric::LogitDifference => **value <= circuit,
        };
        let count = values.iter().filter(as_far).count();
        Some(Self { mean, sd, p_value: p_value_among(count, values.len()) })
    }
}

/// Adds the behaviour on a set to the measures of a row: `<metric>_<set>` of the full model, `…_circuit` of the circuit
/// alone, `…_<ablation>` without the circuit and, for ablations with controls, `…_<ablation>_random_mean` and so on; for
/// ablations that replace outputs also `…_<ablation>_circuit`, where all other units are replaced.
/// Without a circuit, `ablations` is `None`.
pub(crate) fn set_behaviour(
    measures: &mut Measures,
    set: &str,
    report: &AblationReport,
    metrics: &[Metric],
    ablations: Option<&[AblationName]>,
) {
    for metric in metrics {
        let name = format!("{}_{set}", metric.name());
        measures.set(&name, report.full.get(*metric));
        let Some((all, ablations)) = report.rows.first().zip(ablations) else { continue };
        measures.set(&format!("{name}_circuit"), all.circuit_only.get(*metric));
        for ablation in ablations {
            let name = format!("{name}_{}", ablation.name());
            measures.set(&name, ablated(all, *ablation).and_then(|ablated| ablated.get(*metric)));
            match all.replaced.get(ablation.name()) {
                Some(replaced) => {
                    measures.set(&format!("{name}_circuit"), replaced.circuit_only.get(*metric));
                    let controls = (&replaced.randomly_sampled, &replaced.complement_sampled);
                    set_controls(measures, &name, controls, *metric);
                }
                None if *ablation == AblationName::Zero => {
                    set_controls(measures, &name, (&all.randomly_sampled, &all.complement_sampled), *metric);
                }
                None => {}
            }
        }
    }
}

fn ablated(row: &AblationRow, ablation: AblationName) -> Option<&Behaviour> {
    match ablation {
        AblationName::Zero => Some(&row.zero_ablate),
        AblationName::Reinitialise => row.random_ablate.as_ref(),
        AblationName::Mean | AblationName::MeanPosition | AblationName::Resample => {
            row.replaced.get(ablation.name()).map(|replaced| &replaced.ablated)
        }
    }
}

fn set_controls(
    measures: &mut Measures,
    name: &str,
    (random, complement): (&Option<Controls>, &Option<Controls>),
    metric: Metric,
) {
    let of_metric = |controls: &Option<Controls>| controls.and_then(|controls| controls.get(metric));
    let (random, complement) = (of_metric(random), of_metric(complement));
    for (kind, spread) in [("random", random), ("complement", complement)] {
        measures.set(&format!("{name}_{kind}_mean"), spread.map(|spread| spread.mean));
        measures.set(&format!("{name}_{kind}_sd"), spread.map(|spread| spread.sd));
    }
    measures.set(&format!("{name}_p"), random.map(|spread| spread.p_value));
}

/// Mean and sample standard deviation (0 for a single value); `None` without values.
pub(crate) fn mean_and_sd(values: &[f64]) -> Option<(f64, f64)> {
    if values.is_empty() {
        return None;
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Some((mean, (squares / (n - 1.0).max(1.0)).sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_accuracy(accuracy: f64) -> Behaviour {
        Behaviour { accuracy, kl_to_full: Some(1.0 - accuracy), logit_difference: None }
    }

    fn controls(accuracies: &[f64], circuit: f64) -> Option<Controls> {
        let controls: Vec<Behaviour> = accuracies.iter().copied().map(with_accuracy).collect();
        Controls::new(&controls, &with_accuracy(circuit))
    }

    #[test]
    fn p_values_count_the_circuit_among_its_controls() {
        let found = controls(&[0.5, 0.9, 0.25, 0.8], 0.5).unwrap();
        assert_eq!((found.n, found.p_value), (4, 3.0 / 5.0));
        // A divergence is the further from the full model, the larger it is.
        assert_eq!(found.kl_to_full.unwrap().p_value, 3.0 / 5.0);
        assert_eq!(found.logit_difference, None);
        assert_eq!(controls(&[0.9, 0.9], 0.1).unwrap().p_value, 1.0 / 3.0);
        assert_eq!(controls(&[], 0.1), None);
    }

    #[test]
    fn keys_name_metric_set_and_ablation() {
        let row = AblationRow {
            layers: "all".into(),
            l0: 1.0,
            l0_max: 2.0,
            circuit_only: with_accuracy(0.75),
            zero_ablate: with_accuracy(0.25),
            random_ablate: Some(with_accuracy(0.5)),
            randomly_sampled: controls(&[0.5, 1.0], 0.25),
            complement_sampled: None,
            replaced: std::collections::BTreeMap::new(),
        };
        let report = AblationReport { full: with_accuracy(1.0), rows: vec![row] };
        let mut measures = Measures::default();
        let ablations = [AblationName::Zero, AblationName::Reinitialise];
        set_behaviour(&mut measures, "ood", &report, &[Metric::Accuracy, Metric::Kl], Some(&ablations));
        let number = |name: &str| measures.get(name).and_then(serde_json::Value::as_f64);
        assert_eq!(number("accuracy_ood"), Some(1.0));
        assert_eq!(number("accuracy_ood_circuit"), Some(0.75));
        assert_eq!(number("kl_ood_zero"), Some(0.75));
        assert_eq!(number("accuracy_ood_reinitialise"), Some(0.5));
        assert_eq!(number("accuracy_ood_zero_random_mean"), Some(0.75));
        assert_eq!(number("accuracy_ood_zero_p"), Some(1.0 / 3.0));
        assert_eq!(measures.get("accuracy_ood_zero_complement_mean"), Some(&serde_json::Value::Null));
        assert_eq!(measures.get("accuracy_ood_reinitialise_p"), None);
    }

    #[test]
    fn mean_and_sample_deviation() {
        assert_eq!(mean_and_sd(&[]), None);
        assert_eq!(mean_and_sd(&[0.5]), Some((0.5, 0.0)));
        let (mean, sd) = mean_and_sd(&[1.0, 2.0, 3.0]).unwrap();
        assert!((mean - 2.0).abs() < 1e-12 && (sd - 1.0).abs() < 1e-12);
    }
}
