//! Frozen activations: the vectors of a batch at the last site of the residual stream that no mask changes.
//!
//! The base model of a probe is frozen, so these vectors are the same in every epoch. [`ProbePlan`](crate::ProbePlan)
//! decides which site that is, and [`ActivationCache`](crate::ActivationCache) keeps the vectors between epochs.

use std::ops::Range;

use burn::tensor::Tensor;

use crate::products::KnownProducts;

/// The tokens for which frozen activations are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrozenTokens {
    /// All tokens, because attention follows: `[batch, seq, hidden]`.
    All,
    /// Only the tokens that the token mask selects, because all further layers work token by token:
    /// `[selected, 1, hidden]`.
    Selected,
}

/// The vectors of a batch at the last site that no mask changes.
#[derive(Clone, Debug)]
pub struct FrozenActivations {
    /// The vectors, with the shape documented in [`FrozenTokens`]; `None` if masks change the embeddings.
    pub(crate) hidden: Option<Tensor<3>>,
    /// Known products of the vectors with the weights of masked layers. A missing product is computed.
    pub(crate) products: KnownProducts,
}

impl FrozenActivations {
    pub(crate) fn new(hidden: Tensor<3>) -> Self {
        Self { hidden: Some(hidden), products: KnownProducts::default() }
    }

    pub(crate) fn none() -> Self {
        Self { hidden: None, products: KnownProducts::default() }
    }

    /// The vectors of a range of sequences, without products. `tokens` is the number of vectors per sequence of the
    /// batch.
    pub(crate) fn select(&self, sequences: Range<usize>, tokens: &[usize]) -> Self {
        let Some(hidden) = &self.hidden else { return Self::none() };
        let [_, seq, width] = hidden.dims();
        let first: usize = tokens[..sequences.start].iter().sum();
        let count: usize = tokens[sequences].iter().sum();
        let vectors = hidden.clone().reshape([-1, width as i32]).slice_dim(0, first..first + count);
        Self::new(vectors.reshape([-1, seq as i32, width as i32]))
    }

    /// The vectors on the device without autodiff, without products: for the unmasked model, which has no masks.
    pub(crate) fn without_autodiff(&self) -> Self {
        let inner = |hidden: Tensor<3>| if hidden.device().is_autodiff() { hidden.inner() } else { hidden };
        self.hidden.clone().map_or_else(Self::none, |hidden| Self::new(inner(hidden)))
    }
}
