//! The model with its head, and the names of its checkpoint tensors.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use serde_json::Value;

use super::{GptNeoConfig, attention::GptNeoSelfAttention, config::MODEL_TYPE};
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

/// Query, key, value and output projection of a block.
const PROJECTIONS: [&str; 4] =
    ["attn.attention.q_proj", "attn.attention.k_proj", "attn.attention.v_proj", "attn.attention.out_proj"];
/// Causal masks that older checkpoints store as buffers; they are ignored.
const BUFFERS: [&str; 2] = [".attn.attention.bias", ".attn.attention.masked_bias"];

/// GPT-Neo ([Black et al. 2021](https://github.com/EleutherAI/gpt-neo)) with the head that its configuration names.
///
/// The HF classes are `GPTNeoModel`, `GPTNeoForCausalLM`, `GPTNeoForSequenceClassification` and
/// `GPTNeoForTokenClassification`.
#[derive(Module, Debug)]
pub struct GptNeo {
    transformer: GptBase<GptNeoSelfAttention, Linear>,
    head: DecoderHead,
    #[module(skip)]
    config: GptNeoConfig,
}

impl Pretrained for GptNeo {
    type Config = GptNeoConfig;

    const MODEL_TYPES: &[&str] = &[MODEL_TYPE];

    const ALIASES: &[(&str, &str)] = &[("num_hidden_layers", "num_layers"), ("num_attention_heads", "num_heads")];

    fn init(config: &GptNeoConfig, device: &Device) -> Result<Self, ModelError> {
        config.validate()?;
        let (rows, widths) =
            ([config.vocab_size, config.max_position_embeddings], [config.hidden_size, config.inner_size()]);
        let (epsilon, activation) = (config.layer_norm_epsilon, config.activation_function);
        let kinds = config.attention_layers().into_iter();
        let attention = kinds.map(|kind| GptNeoSelfAttention::init(config, kind, device));
        let head_sizes = [config.hidden_size, config.vocab_size, config.common.n_labels()];
        let (kind, tied) = (config.head()?, config.tie_word_embeddings);
        Ok(Self {
            transformer: GptBase::init(rows, widths, epsilon, activation, attention, device),
            head: DecoderHead::init(kind, head_sizes, tied, config.pad_token_id, device),
            config: config.clone(),
        })
    }

    fn config(&self) -> &GptNeoConfig {
        &self.config
    }

    fn base_class(_config: &Value) -> &'static str {
        "GPTNeoModel"
    }
}

impl Model for GptNeo {
    fn architecture(&self) -> Architecture {
        let config = &self.config;
        Architecture {
            model_type: MODEL_TYPE,
            head: self.head.kind(),
            problem_type: config.common.problem_type,
            dropout: config.embed_dropout.max(config.attention_dropout).max(config.resid_dropout),
            blocks: BlockLayout {
                lists: &["h"],
                layers: HeadSplit::separate(PROJECTIONS, config.num_heads),
                mlp: Some(MlpNames::new(&["mlp.c_fc"], "mlp.c_proj", "intermediate_size", config.activation_function)),
            },
        }
    }

    fn hf_names(&self) -> HfNames {
        let names = self.head.hf_names("transformer", "lm_head.weight", "transformer.wte.weight");
        HfNames { renamed: vec![("head", ""), ("attn", "attn.attention")], ignored_endings: BUFFERS.into(), ..names }
    }

    fn device(&self) -> Device {
        self.transformer.wte.weight.lazy_device()
    }

    fn initial_value(&self, path: &str, _shape: &[usize]) -> InitialValue {
        InitialValue::usual(path, self.config.initializer_range)
    }

    fn check_inputs(&self, inputs: &ModelInputs) -> Result<(), ModelError> {
        inputs.check_only(&["input_ids", "attention_mask"])?;
        inputs.check_tokens(self.config.vocab_size, self.config.max_position_embeddings)
    }

    fn logits_with(&self, inputs: &ModelInputs, hook: Hook) -> Result<Option<Logits>, ModelError> {
        Ok(self.forward_with(inputs, hook)?.logits)
    }
}

impl Transformer for GptNeo {
    fn residual_stream(&self) -> ResidualStream {
        let GptNeoConfig { num_layers, hidden_size, .. } = self.config;
        ResidualStream { is_last_normed: true, ..ResidualStream::new("gpt", num_layers, hidden_size) }
    }

    fn context(&self, inputs: &ModelInputs) -> Result<Context, ModelError> {
        let (dims, mask) = (inputs.tokens()?.dims(), inputs.attention_mask.as_ref());
        let local = AttentionBias::local(dims[1], self.config.window_size, mask, &self.device());
        let context = Context::new(dims, AttentionBias::strictly_causal(dims[1], mask, &self.device()));
        Ok(Context { local_attention_bias: Some(local), ..context })
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
