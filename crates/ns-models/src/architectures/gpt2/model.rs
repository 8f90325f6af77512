//! The model with its head, and the names of its checkpoint tensors.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde_json::Value;

use super::{Gpt2Config, attention::Gpt2Attention, config::MODEL_TYPE, conv1d::Conv1D};
use crate::architectures::decoder_head::DecoderHead;
use crate::architectures::gpt::GptBase;
use crate::attention::AttentionBias;
use crate::block::Block;
use crate::block_layout::{BlockLayout, HeadSplit, MlpNames};
use crate::checkpoint::{HfNames, Pretrained};
use crate::config::InitialValue;
use crate::context::Context;
use crate::error::ModelError;
use crate::inputs::{Logits, ModelInputs, ModelOutput};
use crate::linear_hook::Hook;
use crate::model::{Architecture, Model};
use crate::transformer::{ResidualStream, Transformer};

/// Causal masks that older checkpoints store as buffers; they are ignored.
const BUFFERS: [&str; 2] = [".attn.bias", ".attn.masked_bias"];

/// GPT-2 ([Radford et al. 2019]) with the head that its configuration names.
///
/// The HF classes are `GPT2Model`, `GPT2LMHeadModel`, `GPT2ForSequenceClassification` and `GPT2ForTokenClassification`.
///
/// [Radford et al. 2019]: https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf
#[derive(Module, Debug)]
pub struct Gpt2 {
    transformer: GptBase<Gpt2Attention, Conv1D>,
    head: DecoderHead,
    #[module(skip)]
    config: Gpt2Config,
}

impl Pretrained for Gpt2 {
    type Config = Gpt2Config;

    const MODEL_TYPES: &[&str] = &[MODEL_TYPE];

    const ALIASES: &[(&str, &str)] = &[
        ("max_position_embeddings", "n_positions"),
        ("hidden_size", "n_embd"),
        ("num_hidden_layers", "n_layer"),
        ("num_attention_heads", "n_head"),
    ];

    fn init(config: &Gpt2Config, device: &Device) -> Result<Self, ModelError> {
        config.validate()?;
        let (rows, widths) = ([config.vocab_size, config.n_positions], [config.n_embd, config.inner_size()]);
        let (epsilon, activation) = (config.layer_norm_epsilon, config.activation_function);
        let attention = (0..config.n_layer).map(|layer| Gpt2Attention::init(config, layer, device));
        let head_sizes = [config.n_embd, config.vocab_size, config.common.n_labels()];
        let (kind, tied) = (config.head()?, config.tie_word_embeddings);
        Ok(Self {
            transformer: GptBase::init(rows, widths, epsilon, activation, attention, device),
            head: DecoderHead::init(kind, head_sizes, tied, config.pad_token_id, device),
            config: config.clone(),
        })
    }

    fn config(&self) -> &Gpt2Config {
        &self.config
    }

    fn base_class(_config: &Value) -> &'static str {
        "GPT2Model"
    }
}

impl Model for Gpt2 {
    fn architecture(&self) -> Architecture {
        let config = &self.config;
        let attention =
            vec![("attn.c_attn", HeadSplit::fused(config.n_head)), ("attn.c_proj", HeadSplit::by_input(config.n_head))];
        Architecture {
            model_type: MODEL_TYPE,
            head: self.head.kind(),
            problem_type: config.common.problem_type,
            dropout: config.embd_pdrop.max(config.attn_pdrop).max(config.resid_pdrop),
            blocks: BlockLayout {
                lists: &["h"],
                layers: attention,
                mlp: Some(MlpNames::new(&["mlp.c_fc"], "mlp.c_proj", "n_inner", config.activation_function)),
            },
        }
    }

    fn hf_names(&self) -> HfNames {
        let names = self.head.hf_names("transformer", "lm_head.weight", "transformer.wte.weight");
        HfNames { renamed: vec![("head", "")], ignored_endings: BUFFERS.into(), ..names }
    }

    fn device(&self) -> Device {
        self.transformer.wte.weight.lazy_device()
    }

    fn initial_value(&self, path: &str, _shape: &[usize]) -> InitialValue {
        self.config.initial_value(path)
    }

    fn check_inputs(&self, inputs: &ModelInputs) -> Result<(), ModelError> {
        inputs.check_only(&["input_ids", "attention_mask"])?;
        inputs.check_tokens(self.config.vocab_size, self.config.n_positions)
    }

    fn logits_with(&self, inputs: &ModelInputs, hook: Hook) -> Result<Option<Logits>, ModelError> {
        Ok(self.forward_with(inputs, hook)?.logits)
    }
}

impl Transformer for Gpt2 {
    fn residual_stream(&self) -> ResidualStream {
        ResidualStream { is_last_normed: true, ..ResidualStream::new("gpt", self.config.n_layer, self.config.n_embd) }
    }

    fn context(&self, inputs: &ModelInputs) -> Result<Context, ModelError> {
        let dims = inputs.tokens()?.dims();
        Ok(Context::new(dims, AttentionBias::causal(dims[1], inputs.attention_mask.as_ref(), &self.device())))
    }

    fn embed(&self, inputs: &ModelInputs) -> Result<Tensor<3>, ModelError> {
        self.transformer.embed(inputs)
    }

    fn block(&self, layer: usize) -> &dyn Block {
        &self.transformer.h[layer]
    }

    fn finish(&self, hidden: Tensor<3>) -> Tensor<3> {
        self.transformer.ln_f.forward(hidden)
    }

    fn token_logits(&self, last_hidden_state: Tensor<3>) -> Option<Tensor<3>> {
        self.head.token_logits(last_hidden_state, &self.transformer.wte.weight)
    }

    fn apply_head(&self, last_hidden_state: Tensor<3>, inputs: &ModelInputs) -> Result<ModelOutput, ModelError> {
        self.head.output(last_hidden_state, inputs, &self.transformer.wte.weight)
    }
}
