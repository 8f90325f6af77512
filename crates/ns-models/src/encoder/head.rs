//! Heads of the BERT families.

use burn::module::{Module, Param};
use burn::nn::{Initializer, LayerNorm, Linear};
use burn::tensor::{Device, Tensor};

use super::{EncoderConfig, family::SequenceHead};
use crate::activation::Activation;
use crate::config::Head;
use crate::error::ModelError;
use crate::init;
use crate::linear;

/// What sits on the base model.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)] // one a model
pub(super) enum EncoderHead {
    /// Scores over the vocabulary.
    MaskedLm(MaskedLmHead),
    /// A class from the pooler's output, or one for each token.
    Linear(Linear),
    /// A class from the first token.
    Dense(DenseHead),
    /// ELECTRA's discriminator.
    Discriminator(DiscriminatorHead),
}

/// `decoder(LN(act(dense(x)))) + bias`.
#[derive(Module, Debug)]
pub(super) struct MaskedLmHead {
    dense: Linear,
    norm: LayerNorm,
    /// Present only where it is not tied to the token embedding.
    decoder: Option<Linear>,
    bias: Param<Tensor<1>>,
    #[module(skip)]
    activation: Activation,
}

#[derive(Module, Debug)]
pub(super) struct DenseHead {
    dense: Linear,
    out_proj: Linear,
    #[module(skip)]
    activation: Activation,
}

#[derive(Module, Debug)]
pub(super) struct DiscriminatorHead {
    dense: Linear,
    dense_prediction: Linear,
    #[module(skip)]
    activation: Activation,
}

impl EncoderHead {
    pub(super) fn init(config: &EncoderConfig, device: &Device) -> Result<Option<Self>, ModelError> {
        let (hidden, labels, family) = (config.hidden_size, config.common.n_labels(), config.model_type.differences());
        Ok(match (config.head()?, family.sequence_head) {
            (Head::MaskedLm, _) => Some(Self::MaskedLm(MaskedLmHead::init(config, device))),
            (Head::TokenClassification, _) | (Head::SequenceClassification, SequenceHead::Pooled) => {
                Some(Self::Linear(init::linear(hidden, labels, device)))
            }
            (Head::SequenceClassification, SequenceHead::Dense(activation)) => Some(Self::Dense(DenseHead {
                dense: init::linear(hidden, hidden, device),
                out_proj: init::linear(hidden, labels, device),
                activation: activation.unwrap_or(config.hidden_act),
            })),
            (Head::ReplacedTokenDetection, _) => Some(Self::Discriminator(DiscriminatorHead {
                dense: init::linear(hidden, hidden, device),
                dense_prediction: init::linear(hidden, 1, device),
                activation: config.hidden_act,
            })),
            (Head::None | Head::Lm | Head::ImageClassification, _) => None,
        })
    }
}

impl MaskedLmHead {
    fn init(config: &EncoderConfig, device: &Device) -> Self {
        let (width, vocab_size) = (config.embedding_width(), config.vocab_size);
        let activation = config.model_type.differences().masked_lm_activation;
        Self {
            dense: init::linear(config.hidden_size, width, device),
            norm: init::layer_norm(width, config.layer_norm_eps, device),
            decoder: (!config.tie_word_embeddings).then(|| init::linear_with(false, width, vocab_size, device)),
            bias: Initializer::Zeros.init([vocab_size], device),
            activation: activation.unwrap_or(config.hidden_act),
        }
    }

    /// # Shapes
    /// - hidden: `[batch, positions, hidden]`
    /// - embedding: `[vocab, embedding]`
    /// - output: `[batch, positions, vocab]`
    pub(super) fn forward(&self, hidden: Tensor<3>, embedding: &Param<Tensor<2>>) -> Tensor<3> {
        let hidden = self.norm.forward(self.activation.forward(linear::forward(&self.dense, hidden)));
        let weight = match &self.decoder {
            Some(decoder) => decoder.weight.val(),
            None => embedding.val().transpose(),
        };
        linear::project(hidden, weight) + self.bias.val().unsqueeze()
    }
}

impl DenseHead {
    /// # Shapes
    /// - first: `[batch, hidden]`
    /// - output: `[batch, labels]`
    pub(super) fn forward(&self, first: Tensor<2>) -> Tensor<2> {
        self.out_proj.forward(self.activation.forward(self.dense.forward(first)))
    }
}

impl DiscriminatorHead {
    /// # Shapes
    /// - hidden: `[batch, seq, hidden]`
    /// - output: `[batch, seq]`
    pub(super) fn forward(&self, hidden: Tensor<3>) -> Tensor<2> {
        let [batch, seq, _] = hidden.dims();
        let scores =
            linear::forward(&self.dense_prediction, self.activation.forward(linear::forward(&self.dense, hidden)));
        scores.reshape([batch, seq])
    }
}
