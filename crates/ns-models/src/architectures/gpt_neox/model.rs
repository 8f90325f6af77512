//! The model with its head, and the names of its checkpoint tensors.

use burn::module::Module;
use burn::nn::{Embedding, LayerNorm};
use burn::tensor::{Device, Tensor};
use serde_json::Value;

use super::{GptNeoXConfig, block::GptNeoXBlock, config::MODEL_TYPE};
use crate::architectures::decoder_head::DecoderHead;
use crate::attention::AttentionBias;
use crate::block::Block;
use crate::block_layout::{BlockLayout, HeadSplit, MlpNames};
use crate::checkpoint::{HfNames, Pretrained};
use crate::config::InitialValue;
use crate::context::Context;
use crate::error::ModelError;
use crate::init;
use crate::inputs::{Logits, ModelInputs, ModelOutput};
use crate::linear_hook::Hook;
use crate::model::{Architecture, Model};
use crate::rotary::Rotary;
use crate::transformer::{ResidualStream, Transformer};

/// Causal masks and rotary frequencies that older checkpoints store as buffers; they are ignored.
const BUFFERS: [&str; 3] = [".attention.bias", ".attention.masked_bias", ".attention.rotary_emb.inv_freq"];

/// GPT-NeoX ([Black et al. 2022](https://arxiv.org/abs/2204.06745)) with the head that its configuration names; also
/// the architecture of Pythia ([Biderman et al. 2023](https://arxiv.org/abs/2304.01373)).
///
/// The HF classes are `GPTNeoXModel`, `GPTNeoXForCausalLM`, `GPTNeoXForSequenceClassification` and
/// `GPTNeoXForTokenClassification`.
#[derive(Module, Debug)]
pub struct GptNeoX {
    gpt_neox: GptNeoXBase,
    head: DecoderHead,
    #[module(skip)]
    config: GptNeoXConfig,
}

#[derive(Module, Debug)]
struct GptNeoXBase {
    embed_in: Embedding,
    layers: Vec<GptNeoXBlock>,
    final_layer_norm: LayerNorm,
}

impl Pretrained for GptNeoX {
    type Config = GptNeoXConfig;

    const MODEL_TYPES: &[&str] = &[MODEL_TYPE];

    const ALIASES: &[(&str, &str)] = &[("rope_theta", "rotary_emb_base")];

    fn init(config: &GptNeoXConfig, device: &Device) -> Result<Self, ModelError> {
        config.validate()?;
        let hidden_size = config.hidden_size;
        let head_sizes = [hidden_size, config.vocab_size, config.common.n_labels()];
        let (kind, tied) = (config.head()?, config.tie_word_embeddings);
        Ok(Self {
            gpt_neox: GptNeoXBase {
                embed_in: init::embedding(config.vocab_size, hidden_size, device),
                layers: (0..config.num_hidden_layers).map(|_| GptNeoXBlock::init(config, device)).collect(),
                final_layer_norm: init::layer_norm(hidden_size, config.layer_norm_eps, device),
            },
            head: DecoderHead::init(kind, head_sizes, tied, config.pad_token_id, device),
            config: config.clone(),
        })
    }

    fn config(&self) -> &GptNeoXConfig {
        &self.config
    }

    fn base_class(_config: &Value) -> &'static str {
        "GPTNeoXModel"
    }
}

impl Model for GptNeoX {
    fn architecture(&self) -> Architecture {
        let (config, n_heads) = (&self.config, self.config.num_attention_heads);
        // The outputs of the fused projection are grouped by head, so it divides like a single projection.
        let attention = vec![
            ("attention.query_key_value", HeadSplit::by_output(n_heads)),
            ("attention.dense", HeadSplit::by_input(n_heads)),
        ];
        Architecture {
            model_type: MODEL_TYPE,
            head: self.head.kind(),
            problem_type: config.common.problem_type,
            dropout: config.attention_dropout.max(config.hidden_dropout),
            blocks: BlockLayout {
                lists: &["layers"],
                layers: attention,
                mlp: Some(MlpNames::new(
                    &["mlp.dense_h_to_4h"],
                    "mlp.dense_4h_to_h",
                    "intermediate_size",
                    config.hidden_act,
                )),
            },
        }
    }

    fn hf_names(&self) -> HfNames {
        let names = self.head.hf_names("gpt_neox", "embed_out.weight", "gpt_neox.embed_in.weight");
        HfNames { renamed: vec![("head.lm_head", "embed_out"), ("head", "")], ignored_endings: BUFFERS.into(), ..names }
    }

    fn device(&self) -> Device {
        self.gpt_neox.embed_in.weight.lazy_device()
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

impl Transformer for GptNeoX {
    fn residual_stream(&self) -> ResidualStream {
        let GptNeoXConfig { num_hidden_layers, hidden_size, .. } = self.config;
        ResidualStream { is_last_normed: true, ..ResidualStream::new("gpt_neox", num_hidden_layers, hidden_size) }
    }

    fn context(&self, inputs: &ModelInputs) -> Result<Context, ModelError> {
        let (dims @ [_, seq], device, config) = (inputs.tokens()?.dims(), self.device(), &self.config);
        let bias = AttentionBias::strictly_causal(seq, inputs.attention_mask.as_ref(), &device);
        let rotary = config.rotary_size();
        let rotary = (rotary > 0).then(|| Rotary::new(seq, rotary, config.rotary_emb_base, &device));
        Ok(Context { rotary, ..Context::new(dims, bias) })
    }

    fn embed(&self, inputs: &ModelInputs) -> Result<Tensor<3>, ModelError> {
        Ok(self.gpt_neox.embed_in.forward(inputs.tokens()?.clone()))
    }

    fn block(&self, layer: usize) -> &dyn Block {
        &self.gpt_neox.layers[layer]
    }

    fn finish(&self, hidden: Tensor<3>) -> Tensor<3> {
        self.gpt_neox.final_layer_norm.forward(hidden)
    }

    fn token_logits(&self, last_hidden_state: Tensor<3>) -> Option<Tensor<3>> {
        self.head.token_logits(last_hidden_state, &self.gpt_neox.embed_in.weight)
    }

    fn apply_head(&self, last_hidden_state: Tensor<3>, inputs: &ModelInputs) -> Result<ModelOutput, ModelError> {
        self.head.output(last_hidden_state, inputs, &self.gpt_neox.embed_in.weight)
    }
}
