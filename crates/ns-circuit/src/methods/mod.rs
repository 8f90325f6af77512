//! The three mask methods as pure functions, one file per method.

pub(crate) mod continuous_sparsification;
pub(crate) mod hard_concrete;
pub(crate) mod magnitude_pruning;

use crate::config::{MagnitudeCriterion, MaskMethod};
use hard_concrete::HardConcrete;

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

    /// Whether the masks have trainable logits.
    pub(crate) fn has_logits(&self) -> bool {
        !matches!(self, Self::MagnitudePruning { .. })
    }

    /// The method's name in configuration files.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::ContinuousSparsification => "continuous_sparsification",
            Self::HardConcrete(_) => "hard_concrete",
            Self::MagnitudePruning { .. } => "magnitude_pruning",
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
