//! The optimiser of a recipe: AdamW and its learning-rate schedule.

use burn::optim::ModuleOptimizer;
use ns_circuit::AdamW;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// AdamW with a linear warm-up of the learning rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerRecipe {
    /// Learning rate after the warm-up.
    pub learning_rate: f64,
    /// Decoupled weight decay, applied to every trained tensor.
    pub weight_decay: f64,
    /// Decay rates of the moments, `[β₁, β₂]`.
    pub betas: [f64; 2],
    /// Number of epochs of linear warm-up, which starts at a third of the learning rate.
    pub warmup_epochs: usize,
}

impl Default for OptimizerRecipe {
    /// PyTorch's defaults, without warm-up.
    fn default() -> Self {
        Self { learning_rate: 1e-3, weight_decay: 1e-2, betas: [0.9, 0.999], warmup_epochs: 0 }
    }
}

impl OptimizerRecipe {
    /// Creates the optimiser, with zero moments.
    pub fn init(&self) -> ModuleOptimizer {
        let adamw = AdamW {
            betas: self.betas.map(|beta| beta as f32),
            weight_decay: self.weight_decay as f32,
            ..AdamW::default()
        };
        adamw.into()
    }

    /// The learning rate of an epoch, counted from 0 (PyTorch's `LinearLR(start_factor=1/3)`).
    pub fn learning_rate_at(&self, epoch: usize) -> f64 {
        let progress = match self.warmup_epochs {
            0 => 1.0,
            epochs => (epoch as f64 / epochs as f64).min(1.0),
        };
        self.learning_rate * (1.0 + 2.0 * progress) / 3.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warm_up_starts_at_a_third() {
        let recipe = OptimizerRecipe { warmup_epochs: 10, ..Default::default() };
        assert!((recipe.learning_rate_at(0) - 1e-3 / 3.0).abs() < 1e-12);
        assert!((recipe.learning_rate_at(5) - 2e-3 / 3.0).abs() < 1e-12);
        assert_eq!(recipe.learning_rate_at(10), 1e-3);
        assert_eq!(recipe.learning_rate_at(9999), 1e-3);
        assert_eq!(OptimizerRecipe::default().learning_rate_at(0), 1e-3);
    }

    #[test]
    fn a_misspelt_key_is_named() {
        let error = toml::from_str::<OptimizerRecipe>("learning_rat = 1.0").unwrap_err().to_string();
        assert!(error.contains("learning_rat") && error.contains("learning_rate"), "{error}");
    }
}
