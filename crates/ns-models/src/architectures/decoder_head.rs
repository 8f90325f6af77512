//! Heads of the GPT families: language model, sequence classification (at the last token) and token classification.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::checkpoint::HfNames;
use crate::config::Head;
use crate::error::ModelError;
use crate::init;
use crate::inputs::{Logits, ModelInputs, ModelOutput, invalid};
use crate::linear;

/// The head of a decoder. At most one of the layers is present.
#[derive(Module, Debug)]
pub(super) struct DecoderHead {
    /// Language model head, unless it is tied to the token embedding.
    lm_head: Option<Linear>,
    score: Option<Linear>,
    classifier: Option<Linear>,
    #[module(skip)]
    kind: Head,
    #[module(skip)]
    pad_token_id: Option<i64>,
}

impl DecoderHead {
    /// Creates a head for hidden states of a width of `hidden_size`. `tied`: a language model head uses the weight of
    /// the token embedding.
    pub(super) fn init(
        kind: Head,
        [hidden_size, vocab_size, n_labels]: [usize; 3],
        tied: bool,
        pad_token_id: Option<i64>,
        device: &Device,
    ) -> Self {
        let linear = |present: bool, output: usize, bias: bool| {
            present.then(|| init::linear_with(bias, hidden_size, output, device))
        };
        Self {
            lm_head: linear(kind == Head::Lm && !tied, vocab_size, false),
            score: linear(kind == Head::SequenceClassification, n_labels, false),
            classifier: linear(kind == Head::TokenClassification, n_labels, true),
            kind,
            pad_token_id,
        }
    }

    pub(super) fn kind(&self) -> Head {
        self.kind
    }

    /// The names of a decoder in the checkpoint: the module of its base model, and the keys of its language model head
    /// and of its token embedding. A head that is tied to the embedding repeats it.
    pub(super) fn hf_names(&self, base: &'static str, head: &'static str, embedding: &str) -> HfNames {
        let is_tied = self.lm_head.is_none();
        let repeated = (self.kind == Head::Lm && is_tied).then(|| (head.into(), embedding.into()));
        HfNames {
            base: (base, base),
            has_head: self.kind != Head::None,
            ignored_keys: is_tied.then_some(head).into_iter().collect(),
            repeated_keys: repeated.into_iter().collect(),
            ..HfNames::default()
        }
    }

    /// The logits of each position, or `None` if the head does not work position by position. `embedding` is the weight
    /// of the token embedding, which a tied head uses.
    ///
    /// # Shapes
    /// - last_hidden_state: `[batch, positions, hidden]`
    /// - embedding: `[vocab, hidden]`
    /// - output: `[batch, positions, classes]`
    pub(super) fn token_logits(&self, last_hidden_state: Tensor<3>, embedding: &Param<Tensor<2>>) -> Option<Tensor<3>> {
        match self.kind {
            Head::Lm => Some(match &self.lm_head {
                Some(lm_head) => linear::plain(lm_head, last_hidden_state),
                None => linear::project(last_hidden_state, embedding.val().transpose()),
            }),
            _ => Some(linear::plain(self.classifier.as_ref()?, last_hidden_state)),
        }
    }

    /// Applies the head to a whole batch.
    ///
    /// # Shapes
    /// - last_hidden_state: `[batch, seq, hidden]`
    /// - embedding: `[vocab, hidden]`
    ///
    /// # Errors
    /// Returns [`ModelError::InvalidInput`] for a sequence classification without token ids, or with more than one
    /// sequence if the configuration has no `pad_token_id`.
    pub(super) fn output(
        &self,
        last_hidden_state: Tensor<3>,
        inputs: &ModelInputs,
        embedding: &Param<Tensor<2>>,
    ) -> Result<ModelOutput, ModelError> {
        let logits = match &self.score {
            None => self.token_logits(last_hidden_state.clone(), embedding).map(Logits::Tokens),
            Some(score) => {
                let [batch, _, hidden] = last_hidden_state.dims();
                let positions = self.last_token_positions(inputs.tokens()?)?;
                let positions = positions.reshape([batch, 1, 1]).expand([batch, 1, hidden]);
                let last = last_hidden_state.clone().gather(1, positions).reshape([batch, hidden]);
                Some(Logits::Sequences(score.forward(last)))
            }
        };
        Ok(ModelOutput { last_hidden_state, pooler_output: None, logits })
    }

    /// The position, in each row, of the token before the first padding token, or of the last token if there is no
    /// padding: `argmax(ids == pad) − 1` modulo the sequence length, as in HF.
    ///
    /// # Shapes
    /// - input_ids: `[batch, seq]`
    /// - output: `[batch]`
    fn last_token_positions(&self, input_ids: &Tensor<2, Int>) -> Result<Tensor<1, Int>, ModelError> {
        let [batch, seq] = input_ids.dims();
        if self.pad_token_id.is_none() && batch > 1 {
            let expected = "it must be 1, because padding cannot be detected without pad_token_id in config.json";
            return Err(invalid("batch size", batch, expected));
        }
        let last_before_padding = |row: &[i64]| match row.iter().position(|id| Some(*id) == self.pad_token_id) {
            None | Some(0) => seq as i64 - 1,
            Some(first) => first as i64 - 1,
        };
        let ids = input_ids.to_data();
        let ids: Vec<i64> = ids.iter().collect();
        let positions: Vec<i64> = ids.chunks(seq).map(last_before_padding).collect();
        Ok(Tensor::from_data(TensorData::new(positions, [batch]), &input_ids.device()))
    }
}
