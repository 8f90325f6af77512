//! The activations of a frozen model below its first masked layer.

use std::ops::Range;

use burn::tensor::Tensor;

use crate::products::KnownProducts;

/// Which tokens of a batch a frozen activations holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrozenTokens {
    /// All, for the attention above it: `[batch, seq, hidden]`.
    All,
    /// Those that the probe reads, as what follows works token by token: `[selected, 1, hidden]`.
    Selected,
}

/// The vectors of a batch at the last site that no mask changes.
#[derive(Clone, Debug)]
pub struct FrozenActivations {
    /// `None` if masks change the embeddings.
    pub(crate) hidden: Option<Tensor<3>>,
    /// What the layers that read them multiply, as far as it is known.
    pub(crate) products: KnownProducts,
}

impl FrozenActivations {
    pub(crate) fn new(hidden: Tensor<3>) -> Self {
        Self { hidden: Some(hidden), products: KnownProducts::default() }
    }

    pub(crate) fn none() -> Self {
        Self { hidden: None, products: KnownProducts::default() }
    }

    /// That of some sequences; `tokens` counts those that it holds of each.
    pub(crate) fn select(&self, sequences: Range<usize>, tokens: &[usize]) -> Self {
        let Some(hidden) = &self.hidden else { return Self::none() };
        let [_, seq, width] = hidden.dims();
        let first: usize = tokens[..sequences.start].iter().sum();
        let count: usize = tokens[sequences].iter().sum();
        let all = hidden.clone().reshape([-1, width as i32]).slice_dim(0, first..first + count);
        Self::new(all.reshape([-1, seq as i32, width as i32]))
    }

    /// The same on the device without autodiff, for a model without masks.
    pub(crate) fn without_autodiff(&self) -> Self {
        let inner = |hidden: Tensor<3>| if hidden.device().is_autodiff() { hidden.inner() } else { hidden };
        self.hidden.clone().map_or_else(Self::none, |hidden| Self::new(inner(hidden)))
    }
}
