//! The mask methods: one file per method, and [`Method`], which selects one.

mod continuous_sparsification;
pub(crate) mod hard_concrete;
pub(crate) mod magnitude_pruning;

use burn::tensor::Tensor;

use crate::config::{MagnitudeCriterion, MaskMethod};
use crate::kernels::{L0Handoff, Relaxation, open_gates, soft_mask};
use hard_concrete::HardConcrete;
use magnitude_pruning::Pruned;

/// A mask method with the constants of its formulas.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Method {
    ContinuousSparsification,
    HardConcrete(HardConcrete),
    MagnitudePruning { percentage: f32, criterion: MagnitudeCriterion },
}

impl Method {
    /// Creates the method from its configuration. `hard_concrete` holds the constants of the hard concrete method.
    pub(crate) fn new(method: &MaskMethod, hard_concrete: HardConcrete) -> Self {
        match *method {
            MaskMethod::ContinuousSparsification { .. } => Self::ContinuousSparsification,
            MaskMethod::HardConcrete { .. } => Self::HardConcrete(hard_concrete),
            MaskMethod::MagnitudePruning { prune_percentage, criterion } => {
                Self::MagnitudePruning { percentage: prune_percentage, criterion }
            }
        }
    }

    /// Whether the soft mask depends on noise.
    pub(crate) fn uses_noise(&self) -> bool {
        matches!(self, Self::HardConcrete(_))
    }

    /// The formulas of the soft mask and its L0; `None` for a method without logits.
    pub(crate) fn relaxation(&self, temperature: f32) -> Option<Relaxation> {
        match self {
            Self::ContinuousSparsification => Some(Relaxation::Logistic { temperature }),
            Self::HardConcrete(concrete) => Some(concrete.relaxation()),
            Self::MagnitudePruning { .. } => None,
        }
    }

    /// The soft mask. A method without one keeps all weights. Shapes: logits, noise and result `[n]`.
    pub(crate) fn soft_mask(&self, logits: Tensor<1>, noise: Option<Tensor<1>>, temperature: f32) -> Tensor<1> {
        match self.relaxation(temperature) {
            Some(relaxation) => soft_mask(logits, noise, relaxation),
            None => logits.ones_like(),
        }
    }

    /// The hard mask of a method with logits, as zeros and ones. Shapes: `logits` `[n]`, result `[n]`.
    pub(crate) fn hard_mask(&self, logits: Tensor<1>) -> Tensor<1> {
        match self {
            Self::HardConcrete(concrete) => concrete.hard_mask(logits),
            Self::ContinuousSparsification | Self::MagnitudePruning { .. } => {
                continuous_sparsification::hard_mask(logits)
            }
        }
    }

    /// The training L0 of a mask whose logits cover `repeat` weights each, `[1]`; `None` for a method without logits.
    pub(crate) fn l0(
        &self,
        logits: Tensor<1>,
        temperature: f32,
        repeat: usize,
        handoff: &L0Handoff,
    ) -> Option<Tensor<1>> {
        let gates = open_gates(logits, self.relaxation(temperature)?, handoff);
        Some(match self {
            // As in the reference, this counts logits, while `CircuitModel::l0` counts weights.
            Self::HardConcrete(_) => gates,
            Self::ContinuousSparsification | Self::MagnitudePruning { .. } => gates.mul_scalar(repeat as f32),
        })
    }

    /// Samples the noise of `n` logits from a stream of [`rng`](crate::rng).
    pub(crate) fn sample_noise(&self, stream: (u64, &str, u64, u64), n: usize) -> Vec<f32> {
        hard_concrete::sample_noise(stream, n)
    }

    /// The masks of magnitude pruning. Other methods keep all values.
    pub(crate) fn prune(&self, values: &[f32]) -> Pruned {
        match *self {
            Self::MagnitudePruning { percentage, criterion } => magnitude_pruning::prune(values, percentage, criterion),
            Self::ContinuousSparsification | Self::HardConcrete(_) => {
                Pruned { hard: vec![1.0; values.len()], ablated: vec![0.0; values.len()] }
            }
        }
    }
}

/// The initial value of the logits; `None` for a method without logits.
pub(crate) fn initial_logit(method: &MaskMethod) -> Option<f32> {
    match *method {
        MaskMethod::ContinuousSparsification { mask_init_value } => Some(mask_init_value),
        MaskMethod::HardConcrete { mask_init_percentage } => Some(hard_concrete::initial_logit(mask_init_percentage)),
        MaskMethod::MagnitudePruning { .. } => None,
    }
}
