//! Options that commands that judge circuits share.

use clap::ValueEnum;
use ns_train::recipe::{AblationName, SetName};

/// A set of examples.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum SetOption {
    /// The training set
    Train,
    /// The development set
    Dev,
    /// The test set
    Test,
    /// The set out of distribution
    Ood,
}

impl SetOption {
    /// The set as a recipe names it.
    pub(crate) fn name(self) -> SetName {
        match self {
            Self::Train => SetName::Train,
            Self::Dev => SetName::Dev,
            Self::Test => SetName::Test,
            Self::Ood => SetName::Ood,
        }
    }
}

/// What replaces the outputs of removed units.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
#[value(rename_all = "snake_case")]
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
