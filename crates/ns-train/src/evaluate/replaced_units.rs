//! The part of an ablation study that replaces the outputs of units.

use ns_circuit::{Ablation, CircuitError, CircuitModel, ModelVariant};

use super::ablation_study::{AblationReport, AblationStudy, ReplacedUnits, Sums, use_masks_of_only};
use super::behaviour::{Behaviour, Controls};
use super::candidates::Answers;
use super::scores::Answering;
use super::subject::HookedSubject;
use super::unit_ablation::{KeptUnits, UnitAblation};
use crate::error::TrainError;

impl AblationStudy {
    /// Runs the study with everything that it asks for. `subject` returns the examples on which it is measured; it is told
    /// whether rows may share the tokens with which they begin.
    ///
    /// # Errors
    /// Returns the errors of [`Self::run_on`], [`UnitAblation::new`] and `subject`.
    pub(crate) fn run_with<'s, M: Answering>(
        &self,
        circuit: &CircuitModel<M>,
        (answers, rows, seed): (&Answers, &[usize], u64),
        mut subject: impl FnMut(bool) -> Result<Box<dyn HookedSubject<M> + 's>, TrainError>,
    ) -> Result<AblationReport, TrainError> {
        let shared = subject(true)?;
        let mut report = self.run_on(circuit, &*shared)?;
        if report.rows.is_empty() {
            return Ok(report);
        }
        for name in &self.replaced {
            let ablation = UnitAblation::new(*name, circuit, answers, rows, seed)?;
            let own = ablation.depends_on_tokens().then(|| subject(false)).transpose()?;
            self.replace_units(&mut report, circuit, own.as_deref().unwrap_or(&*shared), &ablation)?;
        }
        Ok(report)
    }

    /// Adds an ablation that replaces outputs to each row of a report.
    fn replace_units<M: Answering>(
        &self,
        report: &mut AblationReport,
        circuit: &CircuitModel<M>,
        subject: &dyn HookedSubject<M>,
        ablation: &UnitAblation<'_>,
    ) -> Result<(), TrainError> {
        let mut circuit = circuit.clone();
        for (row, (_, layers)) in report.rows.iter_mut().zip(self.sets_of(&circuit)?) {
            use_masks_of_only(&mut circuit, &layers)?;
            let mut kept = vec![units(&mut circuit, ModelVariant::CircuitOnly)?];
            kept.push(units(&mut circuit, ModelVariant::Ablated(Ablation::ZeroAblate))?);
            let random = self.sampled(&mut circuit, Ablation::RandomlySampled)?;
            let complement = self.sampled(&mut circuit, Ablation::ComplementSampled)?;
            let (n_random, n_complement) = (random.len(), complement.len());
            kept.extend(random.into_iter().chain(complement));
            let found = self.measure_units(&circuit, subject, ablation, &kept, |_| {})?;
            let ablated = found[1];
            let controls = |from: usize, n: usize| Controls::new(&found[from..from + n], &ablated);
            let replaced = ReplacedUnits {
                circuit_only: found[0],
                ablated,
                randomly_sampled: controls(2, n_random),
                complement_sampled: controls(2 + n_random, n_complement),
            };
            row.replaced.insert(ablation.name.name().into(), replaced);
        }
        Ok(())
    }

    /// The units that are kept under each control; none if a layer's complement is too small to sample from.
    fn sampled<M: Answering>(
        &self,
        circuit: &mut CircuitModel<M>,
        ablation: Ablation,
    ) -> Result<Vec<KeptUnits>, TrainError> {
        match circuit.set_variant(ModelVariant::Ablated(ablation)) {
            Err(CircuitError::ComplementTooSmall { .. }) => return Ok(Vec::new()),
            other => other?,
        }
        let sample = |sample: usize| {
            circuit.set_sample(sample as u64)?;
            Ok(circuit.active_units()?)
        };
        (0..self.controls).map(sample).collect()
    }

    /// Measures the model with the outputs of the units that are not kept replaced, for each set of kept units. All sets
    /// are measured on a batch before the next one, so that the values of one batch at a time are in memory. `progress` is
    /// told how many batches are done.
    ///
    /// # Errors
    /// Returns the errors of the forward passes.
    pub(crate) fn measure_units<M: Answering>(
        &self,
        circuit: &CircuitModel<M>,
        subject: &dyn HookedSubject<M>,
        ablation: &UnitAblation<'_>,
        kept: &[KeptUnits],
        mut progress: impl FnMut(usize),
    ) -> Result<Vec<Behaviour>, TrainError> {
        let model = circuit.model_as(ModelVariant::WholeModel)?;
        let mut sums = vec![Sums::default(); kept.len()];
        for (batch, answers) in subject.answers().iter().enumerate() {
            let mut on_batch = ablation.on_batch(batch);
            let intact = self.kl.then(|| subject.hidden(&model, batch)).transpose()?;
            for (kept, sums) in kept.iter().zip(&mut sums) {
                let hidden = on_batch.hidden(&model, subject, kept)?;
                let scores = subject.scores(&model, hidden)?;
                let intact = || match &intact {
                    Some(intact) => subject.scores(&model, intact.clone()),
                    None => subject.scores(&model, subject.hidden(&model, batch)?),
                };
                sums.add(self, answers, scores, intact)?;
            }
            progress(batch + 1);
        }
        Ok(sums.iter().map(|sums| sums.means(self)).collect())
    }
}

/// The units of the masked layers that are kept under a variant of the model.
fn units<M: Answering>(circuit: &mut CircuitModel<M>, variant: ModelVariant) -> Result<KeptUnits, TrainError> {
    circuit.set_variant(variant)?;
    Ok(circuit.active_units()?)
}

#[cfg(test)]
pub(super) mod tests;
