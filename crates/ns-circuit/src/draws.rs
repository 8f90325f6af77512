//! When an ablation is drawn: on being set, on a resample, or, for the configured one, on entering evaluation.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::Tensor;
use tracing::error;

use crate::ablation::{self, Ablation};
use crate::control::{SlotState, flat};
use crate::error::CircuitError;
use crate::mask::host;
use crate::model::CircuitModel;

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
                self.control.forget_draws();
                Ok(())
            }
            (ablation, false) => Err(CircuitError::AblationWhileTraining { ablation }),
        }
    }

    /// Draws everything that `ablation` needs as its `sample`-th draw, and puts it in force.
    pub(crate) fn redraw(&self, ablation: Ablation, sample: u64) -> Result<(), CircuitError> {
        let drawn = match self.is_training() {
            true => BTreeMap::new(),
            false => self.draw(ablation, sample, |_| true)?,
        };
        self.control.forget_draws();
        let mut state = self.control.state();
        state.ablation = ablation;
        state.sample = sample;
        for (slot, tensor) in drawn {
            state.slots[slot].drawn = Some(tensor);
        }
        Ok(())
    }

    /// Draws what the ablation in force still lacks.
    pub(crate) fn draw_missing(&self) -> Result<(), CircuitError> {
        let (ablation, sample, missing) = {
            let state = self.control.state();
            let lacking = |s: &SlotState| s.on && s.drawn.is_none();
            let missing: Vec<bool> = state.slots.iter().map(lacking).collect();
            (state.ablation, state.sample, missing)
        };
        if !ablation.draws() || self.is_training() || !missing.contains(&true) {
            return Ok(());
        }
        let drawn = self.draw(ablation, sample, |slot| missing[slot])?;
        let mut state = self.control.state();
        for (slot, tensor) in drawn {
            state.slots[slot].drawn = Some(tensor);
        }
        Ok(())
    }

    /// Draws what is lacking where nothing can be returned: a draw that fails is logged. In training an ablation is
    /// ignored, but a configured one loses its draws.
    pub(crate) fn draw_or_report(&self) {
        let drawn = match self.is_training() {
            true => self.check_not_ablated().or(Ok(())),
            false => self.draw_missing(),
        };
        if let Err(error) = drawn {
            error!(%error, "the ablation cannot be drawn; the circuit runs without it");
        }
    }

    /// The draws of the slots that are on and `wanted`.
    fn draw(
        &self,
        ablation: Ablation,
        sample: u64,
        wanted: impl Fn(usize) -> bool,
    ) -> Result<BTreeMap<usize, Tensor<1>>, CircuitError> {
        let mut drawn = BTreeMap::new();
        if !ablation.draws() {
            return Ok(drawn);
        }
        let (seed, on): (u64, Vec<bool>) = {
            let state = self.control.state();
            (state.seed, state.slots.iter().map(|slot| slot.on).collect())
        };
        for view in self.views() {
            if !(on[view.slot] && wanted(view.slot)) {
                continue;
            }
            let slot = &self.control.slots[view.slot];
            let hard = view.with_source(|source| host(self.control.hard_mask(source)));
            let values = ablation::draw(ablation, slot, &hard, seed, sample)?;
            drawn.insert(view.slot, flat(values, view.device()));
        }
        Ok(drawn)
    }
}
