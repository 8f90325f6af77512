//! When an ablation is sampled: on being set, on a resample, or, for the configured one, on entering evaluation.

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
    /// An error when an ablation was set; a configured one only loses its draws, as the masks are about to change.
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

    /// Draws everything that `ablation` needs as its `sample`-th draw, and puts it in force.
    pub(crate) fn resample_as(&self, ablation: Ablation, sample: u64) -> Result<(), CircuitError> {
        let sampled = match self.is_training() {
            true => BTreeMap::new(),
            false => self.draw(ablation, sample, |_| true)?,
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

    /// Draws what the ablation in force still lacks.
    pub(crate) fn sample_missing(&self) -> Result<(), CircuitError> {
        let (ablation, sample, missing) = {
            let state = self.control.state();
            let lacking = |s: &MaskedParamState| s.on && s.sampled.is_none();
            let missing: Vec<bool> = state.masked.iter().map(lacking).collect();
            (state.ablation, state.sample, missing)
        };
        if !ablation.is_sampled() || self.is_training() || !missing.contains(&true) {
            return Ok(());
        }
        let sampled = self.draw(ablation, sample, |index| missing[index])?;
        let mut state = self.control.state();
        for (index, tensor) in sampled {
            state.masked[index].sampled = Some(tensor);
        }
        Ok(())
    }

    /// Draws what is lacking where nothing can be returned: a draw that fails is logged. In training an ablation is
    /// ignored, but a configured one loses its draws.
    pub(crate) fn sample_or_report(&self) {
        let sampled = match self.is_training() {
            true => self.check_not_ablated().or(Ok(())),
            false => self.sample_missing(),
        };
        if let Err(error) = sampled {
            error!(%error, "the ablation cannot be sampled; the circuit runs without it");
        }
    }

    /// The draws of the params that are on and `wanted`.
    fn draw(
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
