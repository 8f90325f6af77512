//! Heads of the BERT families: masked language model, classifiers, and ELECTRA's discriminator.

use burn::module::{Module, Param};
use burn::nn::{Initializer, LayerNorm, Linear};
use burn::tensor::{Device, Tensor};

use super::{EncoderConfig, family::SequenceHead};
use crate::activation::Activation;
use crate::config::Head;
use crate::error::ModelError;
use crate::init;
use crate::linear;

/// The head on top of the base model.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)] // one per model
pub(super) enum EncoderHead {
    /// Logits over the vocabulary for each token.
    MaskedLm(MaskedLmHead),
    /// Classifies the sequence from the pooler's output, or each token.
    Linear(Linear),
    /// Classifies the sequence from its first token.
    Dense(DenseHead),
    /// Detects replaced tokens (ELECTRA).
    Discriminator(DiscriminatorHead),
}

/// `decoder(LN(act(dense(x)))) + bias`, HF's `BertLMPredictionHead`.
#[derive(Module, Debug)]
pub(super) struct MaskedLmHead {
    dense: Linear,
    norm: LayerNorm,
    /// `None` if the decoder is tied to the token embedding.
    decoder: Option<Linear>,
    bias: Param<Tensor<1>>,
    #[module(skip)]
    activation: Activation,
}

/// `out_proj(act(dense(x)))`, HF's `RobertaClassificationHead`.
#[derive(Module, Debug)]
pub(super) struct DenseHead {
    dense: Linear,
    out_proj: Linear,
    #[module(skip)]
    activation: Activation,
}

/// `dense_prediction(act(dense(x)))`, HF's `ElectraDiscriminatorPredictions`.
#[derive(Module, Debug)]
pub(super) struct DiscriminatorHead {
    dense: Linear,
    dense_prediction: Linear,
    #[module(skip)]
    activation: Activation,
}

impl EncoderHead {
    /// Creates the head that the configuration names; `None` for a model without a head.
    pub(super) fn init(config: &EncoderConfig, device: &Device) -> Result<Option<Self>, ModelError> {
        let (hidden, labels, family) = (config.hidden_size, config.common.n_labels(), config.model_type.spec());
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
        let activation = config.model_type.spec().masked_lm_activation;
        Self {
            dense: init::linear(config.hidden_size, width, device),
            norm: init::layer_norm(width, config.layer_norm_eps, device),
            decoder: (!config.tie_word_embeddings).then(|| init::linear_with(false, width, vocab_size, device)),
            bias: Initializer::Zeros.init([vocab_size], device),
            activation: activation.unwrap_or(config.hidden_act),
        }
    }

    /// Computes logits over the vocabulary.
    ///
    /// # Shapes
    /// - hidden: `[batch, positions, hidden]`
    /// - embedding: `[vocab, embedding]`
    /// - output: `[batch, positions, vocab]`
    pub(super) fn forward(&self, hidden: Tensor<3>, embedding: &Param<Tensor<2>>) -> Tensor<3> {
        let hidden = self.norm.forward(self.activation.forward(linear::plain(&self.dense, hidden)));
        let weight = match &self.decoder {
            Some(decoder) => decoder.weight.val(),
            None => embedding.val().transpose(),
        };
        linear::project(hidden, weight) + self.bias.val().unsqueeze()
    }
}

impl DenseHead {
    /// Computes the logits of each sequence from its first token.
    ///
    /// # Shapes
    /// - first: `[batch, hidden]`
    /// - output: `[batch, labels]`
    pub(super) fn forward(&self, first: Tensor<2>) -> Tensor<2> {
        self.out_proj.forward(self.activation.forward(self.dense.forward(first)))
    }
}

impl DiscriminatorHead {
    /// Computes one logit per token: positive for a replaced token.
    ///
    /// # Shapes
    /// - hidden: `[batch, seq, hidden]`
    /// - output: `[batch, seq]`
    pub(super) fn forward(&self, hidden: Tensor<3>) -> Tensor<2> {
        let [batch, seq, _] = hidden.dims();
        let scores = linear::plain(&self.dense_prediction, self.activation.forward(linear::plain(&self.dense, hidden)));
        scores.reshape([batch, seq])
    }
}
