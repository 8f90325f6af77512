//! What is measured on the probes of a run, when they are trained and again on other data.

use ns_models::AnyTransformer;
use ns_probe::Probe;

use super::behaviour;
use super::objective::ProbeObjective;
use super::probe_training::{ProbeTraining, SubnetworkTraining};
use super::probes::Probes;
use super::regression::measure_fit;
use super::trainer::Trainer;
use crate::data::{Dataset, RowSplit};
use crate::error::TrainError;
use crate::evaluate::{AblationStudy, FrozenModel, Measures, SupportSets, mask_init_value, mask_quantiles};
use crate::recipe::{ProbeSection, SetName};

/// On which sets a probe is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum MeasuredSets {
    /// On all sets of the recipe.
    All,
    /// On the test set alone.
    Test,
}

impl MeasuredSets {
    /// The sets that are measured and have rows, with their names.
    pub(super) fn of(self, split: &RowSplit) -> impl Iterator<Item = (&'static str, &[usize])> {
        let is_measured = move |set: &str| self == Self::All || set == SetName::Test.name();
        split.sets().into_iter().filter(move |(set, rows)| is_measured(set) && !rows.is_empty())
    }
}

impl Probes<'_> {
    /// 1-NN accuracies of a circuit probe, the behaviour of the model with the circuit ablated, and the size of the
    /// circuit.
    pub(super) fn measure_circuit_probe(
        &self,
        trainer: &mut ProbeTraining,
        shuffled: Option<&mut ProbeTraining>,
        sets: MeasuredSets,
    ) -> Result<Measures, TrainError> {
        let mut measures = Measures::default();
        self.measure_vectors(trainer, shuffled, sets, &mut measures)?;
        self.measure_behaviour(trainer, sets, &mut measures)?;
        measure_sizes(trainer, &mut measures);
        let circuit = trainer.circuit();
        measures.set("mask_init_value", mask_init_value(circuit.config()));
        measures.set("mask_quantiles", mask_quantiles(circuit));
        Ok(measures)
    }

    /// 1-NN accuracies of the circuit, of the whole model and of the control on shuffled labels.
    fn measure_vectors(
        &self,
        trainer: &mut ProbeTraining,
        shuffled: Option<&mut ProbeTraining>,
        measured: MeasuredSets,
        measures: &mut Measures,
    ) -> Result<(), TrainError> {
        let split = self.examples.split();
        let ProbeSection { support_per_class: per_class, support_draws: draws, .. } = self.probe;
        let support = SupportSets { per_class, draws, seed: self.recipe.seed };
        let others = [("knn_dev", &split.dev), ("knn_ood", &split.ood)];
        let others: Vec<_> = others.into_iter().filter(|(_, rows)| !rows.is_empty()).collect();
        let sets: Vec<&[usize]> =
            std::iter::once(&split.test).chain(others.iter().map(|(_, rows)| *rows)).map(|rows| &rows[..]).collect();
        let mut evaluation = trainer.evaluation(support);
        let masked = evaluation.knn(&sets, true)?;
        measures.set("knn_test", masked[0].test_accuracy);
        if measured == MeasuredSets::All {
            measures.set("knn_dev", masked[0].dev_accuracy);
        }
        for ((name, _), report) in others.iter().zip(&masked[1..]) {
            measures.set(name, report.test_accuracy);
        }
        measures.set("knn_unmasked", evaluation.knn(&sets[..1], false)?[0].test_accuracy);
        let shuffled =
            shuffled.map(|shuffled| Ok::<_, TrainError>(shuffled.evaluation(support).knn(&sets[..1], true)?[0]));
        measures.set("knn_shuffled", shuffled.transpose()?.map(|report| report.test_accuracy));
        self.measure_majority(measures);
        Ok(())
    }

    /// What the model itself does, with and without the circuit.
    fn measure_behaviour<P: Probe<Base = AnyTransformer>>(
        &self,
        trainer: &mut Trainer<ProbeObjective<P>>,
        measured: MeasuredSets,
        measures: &mut Measures,
    ) -> Result<(), TrainError> {
        let Some((section, answers)) = self.answers(measured)? else { return Ok(()) };
        let (probe, activations) = (trainer.module.valid(), &mut trainer.objective.activations);
        let circuit = probe.circuit();
        let study = |rows: &[usize], study: &AblationStudy| {
            study.run_with(circuit, (&answers, rows, self.recipe.seed), |shared| {
                Ok(Box::new(FrozenModel::new(circuit, activations, &answers, rows, shared)?))
            })
        };
        let reports = behaviour::measure(&self.recipe, &section, &answers, measures, study)?;
        let of_test = reports.iter().find(|(set, _)| *set == SetName::Test);
        if let Some((_, report)) = of_test.filter(|_| self.recipe.data.arithmetic.is_some()) {
            behaviour::set_accuracies(measures, report);
        }
        Ok(())
    }

    /// Accuracies of a subnetwork or linear probe, and the size of its circuit.
    pub(super) fn measure_classifier(
        &self,
        trainer: &mut SubnetworkTraining,
        shuffled: Option<&mut SubnetworkTraining>,
        sets: MeasuredSets,
    ) -> Result<Measures, TrainError> {
        let mut measures = Measures::default();
        match self.label_scale() {
            Some(scale) => measure_fit(&scale, trainer, shuffled, sets, &mut measures)?,
            None => self.measure_classes(trainer, shuffled, sets, &mut measures)?,
        }
        measure_sizes(trainer, &mut measures);
        let is_plain = self.recipe.kind.has_masks() && trainer.circuit().layers().is_empty();
        if !is_plain {
            self.measure_behaviour(trainer, sets, &mut measures)?;
        }
        Ok(measures)
    }

    /// Accuracies of a classifier on each set, and of its control on shuffled labels on the test set.
    fn measure_classes(
        &self,
        trainer: &mut SubnetworkTraining,
        shuffled: Option<&mut SubnetworkTraining>,
        sets: MeasuredSets,
        measures: &mut Measures,
    ) -> Result<(), TrainError> {
        let split = self.examples.split();
        let mut predictions = |rows: &[usize]| match rows.is_empty() {
            true => Ok::<_, TrainError>(None),
            false => Ok(Some(trainer.predictions(rows)?)),
        };
        let test = predictions(&split.test)?;
        measures.set("probe_test", test.as_ref().map(|test| test.accuracy()));
        if sets == MeasuredSets::All {
            let [train, dev, ood] = [&split.train, &split.dev, &split.ood];
            measures.set("probe_dev", predictions(dev)?.map(|dev| dev.accuracy()));
            measures.set("probe_train", predictions(train)?.map(|train| train.accuracy()));
            if let Some(ood) = predictions(ood)? {
                measures.set("probe_ood", ood.accuracy());
            }
        }
        let shuffled = shuffled.map(|shuffled| shuffled.accuracy(&split.test)).transpose()?;
        measures.set("probe_shuffled", shuffled);
        measures.set("f1_macro_test", test.map(|test| test.f1_macro()));
        self.measure_majority(measures);
        Ok(())
    }

    fn measure_majority(&self, measures: &mut Measures) {
        measures.set("majority", self.examples.rows().train_majority());
        measures.set("majority_test", self.examples.rows().majority());
    }
}

/// The size of the circuit; `null` without masks.
fn measure_sizes<P: Probe>(trainer: &Trainer<ProbeObjective<P>>, measures: &mut Measures) {
    let l0 = trainer.circuit().l0();
    let has_masks = !l0.layers.is_empty();
    measures.set("l0", has_masks.then_some(l0.weights as f64));
    measures.set("l0_max", has_masks.then_some(l0.max_weights as f64));
}
