//! When ablations are sampled: when an ablation is set, when it is resampled, and, for the configured ablation, when an
//! evaluation copy is first used.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::Tensor;
use tracing::error;

use crate::ablation::Ablation;
use crate::control::{MaskedParamState, flat};
use crate::error::CircuitError;
use crate::mask::host;
use crate::model::CircuitModel;
use crate::sample;

impl<M: Module> CircuitModel<M> {
    /// Returns an error if an ablation was set. A configured ablation is not an error: only its samples are cleared,
    /// because training changes the masks.
    pub(crate) fn check_not_ablated(&self) -> Result<(), CircuitError> {
        let (ablation, configured) = {
            let state = self.control.state();
            (state.ablation, state.ablation_is_configured)
        };
        match (ablation, configured) {
            (Ablation::None, _) => Ok(()),
            (_, true) => {
                self.control.forget_samples();
                Ok(())
            }
            (ablation, false) => Err(CircuitError::AblationWhileTraining { ablation }),
        }
    }

    /// Samples everything that `ablation` needs, with the sample number `sample`, and activates the ablation. In
    /// training mode, sampling is left to the next evaluation copy.
    pub(crate) fn resample_as(&self, ablation: Ablation, sample: u64) -> Result<(), CircuitError> {
        let sampled = match self.is_training() {
            true => BTreeMap::new(),
            false => self.sample_params(ablation, sample, |_| true)?,
        };
        self.control.forget_samples();
        let mut state = self.control.state();
        state.ablation = ablation;
        state.sample = sample;
        for (index, tensor) in sampled {
            state.masked[index].sampled = Some(tensor);
        }
        Ok(())
    }

    /// Samples what the active ablation still lacks. Does nothing in training mode.
    pub(crate) fn sample_missing(&self) -> Result<(), CircuitError> {
        let (ablation, sample, missing) = {
            let state = self.control.state();
            let is_missing = |param: &MaskedParamState| param.on && param.sampled.is_none();
            let missing: Vec<bool> = state.masked.iter().map(is_missing).collect();
            (state.ablation, state.sample, missing)
        };
        if !ablation.is_sampled() || self.is_training() || !missing.contains(&true) {
            return Ok(());
        }
        let sampled = self.sample_params(ablation, sample, |index| missing[index])?;
        let mut state = self.control.state();
        for (index, tensor) in sampled {
            state.masked[index].sampled = Some(tensor);
        }
        Ok(())
    }

    /// Samples what the active ablation lacks, for callers that cannot return an error: a failure is logged. In
    /// training mode the ablation is ignored, and the samples of a configured ablation are cleared.
    pub(crate) fn sample_or_report(&self) {
        let sampled = match self.is_training() {
            true => self.check_not_ablated().or(Ok(())),
            false => self.sample_missing(),
        };
        if let Err(error) = sampled {
            error!(%error, "cannot sample the ablation; the circuit runs without it");
        }
    }

    /// Samples the parameters whose masks are on and that `wanted` selects, by index.
    fn sample_params(
        &self,
        ablation: Ablation,
        sample: u64,
        wanted: impl Fn(usize) -> bool,
    ) -> Result<BTreeMap<usize, Tensor<1>>, CircuitError> {
        let mut sampled = BTreeMap::new();
        if !ablation.is_sampled() {
            return Ok(sampled);
        }
        let (seed, on): (u64, Vec<bool>) = {
            let state = self.control.state();
            (state.seed, state.masked.iter().map(|param| param.on).collect())
        };
        for snapshot in self.snapshots() {
            if !(on[snapshot.index] && wanted(snapshot.index)) {
                continue;
            }
            let param = &self.control.masked[snapshot.index];
            let hard = snapshot.with_inputs(|inputs| host(self.control.hard_mask(inputs)));
            let values = sample::sample(ablation, param, &hard, seed, sample)?;
            sampled.insert(snapshot.index, flat(values, snapshot.device()));
        }
        Ok(sampled)
    }
}

#[cfg(test)]
mod tests;
