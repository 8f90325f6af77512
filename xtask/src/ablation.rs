//! The option that says what replaces removed units.

use clap::ValueEnum;
use ns_train::recipe::AblationName;

/// What replaces the outputs of removed units.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum AblationOption {
    /// 0: their weights are 0
    Zero,
    /// Their mean over all real tokens of the training set
    Mean,
    /// Their mean over the training examples at each position
    MeanPosition,
    /// Their value on the partner, or on another example
    Resample,
}

impl AblationOption {
    /// The ablation as a recipe names it.
    pub(crate) fn name(self) -> AblationName {
        match self {
            Self::Zero => AblationName::Zero,
            Self::Mean => AblationName::Mean,
            Self::MeanPosition => AblationName::MeanPosition,
            Self::Resample => AblationName::Resample,
        }
    }
}
