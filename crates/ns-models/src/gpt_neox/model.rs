//! The model with its head, and the names of its checkpoint tensors.

use burn::module::Module;
use burn::nn::{Embedding, LayerNorm};
use burn::tensor::{Device, Tensor};
use serde_json::Value;

use super::{GptNeoXConfig, block::GptNeoXBlock, config::MODEL_TYPE};
use crate::attention::AttentionBias;
use crate::block_layout::{BY_INPUT, BY_OUTPUT, BlockLayout, HeadSplit, MLP};
use crate::checkpoint::{HfNames, Pretrained};
use crate::config::{Head, InitialValue, ProblemType};
use crate::decoder_head::{DecoderHead, DecoderHeadConfig};
use crate::error::ModelError;
use crate::init;
use crate::inputs::{Logits, ModelInputs, ModelOutput};
use crate::layers::MaskableLayer;
use crate::model::Model;
use crate::residual::{Observer, Walk, all_sites};
use crate::rotary::Rotary;
use crate::site::{Site, Sublayer, Vector};
use crate::transformer::{Context, Transformer};

/// How each layer of a block divides into attention heads or belongs to the MLP. The outputs of the fused projection
/// are grouped by head, so it divides like a single projection.
const BLOCK_LAYERS: [(&str, HeadSplit); 3] =
    [("attention.query_key_value", BY_OUTPUT), ("attention.dense", BY_INPUT), ("mlp", MLP)];
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

    const ALIASES: &[(&str, &str)] = &[("rope_theta", "rotary_emb_base")];

    fn init(config: &GptNeoXConfig, device: &Device) -> Result<Self, ModelError> {
        config.validate()?;
        let hidden_size = config.hidden_size;
        let head = DecoderHeadConfig {
            kind: config.head()?,
            hidden_size,
            vocab_size: config.vocab_size,
            n_labels: config.common.n_labels(),
            tied: config.tie_word_embeddings,
            pad_token_id: config.pad_token_id,
        };
        Ok(Self {
            gpt_neox: GptNeoXBase {
                embed_in: init::embedding(config.vocab_size, hidden_size, device),
                layers: (0..config.num_hidden_layers).map(|_| GptNeoXBlock::init(config, device)).collect(),
                final_layer_norm: init::layer_norm(hidden_size, config.layer_norm_eps, device),
            },
            head: head.init(device),
            config: config.clone(),
        })
    }

    fn config(&self) -> &GptNeoXConfig {
        &self.config
    }

    fn base_class(_config: &Value) -> &'static str {
        "GPTNeoXModel"
    }

    fn repeated_keys(&self) -> Vec<(String, String)> {
        self.head.repeated_keys("embed_out.weight", "gpt_neox.embed_in.weight")
    }

    fn hf_names(&self) -> HfNames {
        HfNames {
            base: ("gpt_neox", "gpt_neox"),
            has_head: self.head() != Head::None,
            renamed: vec![("head.lm_head", "embed_out"), ("head", "")],
            ignored_endings: BUFFERS.into(),
            ignored_keys: if self.head.is_tied() { vec!["embed_out.weight"] } else { Vec::new() },
            ..HfNames::default()
        }
    }
}

impl Model for GptNeoX {
    fn model_type(&self) -> &'static str {
        MODEL_TYPE
    }

    fn head(&self) -> Head {
        self.head.kind()
    }

    fn device(&self) -> Device {
        self.gpt_neox.embed_in.weight.lazy_device()
    }

    fn maskable_layers(&self) -> Vec<MaskableLayer> {
        self.hf_names().maskable_layers(self)
    }

    fn block_layout(&self) -> BlockLayout {
        BlockLayout { n_heads: self.config.num_attention_heads, lists: &["layers"], layers: &BLOCK_LAYERS }
    }

    fn initial_value(&self, path: &str, _shape: &[usize]) -> InitialValue {
        InitialValue::usual(path, self.config.initializer_range)
    }

    fn dropout(&self) -> f64 {
        self.config.attention_dropout.max(self.config.hidden_dropout)
    }

    fn problem_type(&self) -> Option<ProblemType> {
        self.config.common.problem_type
    }

    fn check_inputs(&self, inputs: &ModelInputs) -> Result<(), ModelError> {
        inputs.check_only(&["input_ids", "attention_mask"])?;
        inputs.check_tokens(self.config.vocab_size, self.config.max_position_embeddings)
    }

    fn logits(&self, inputs: &ModelInputs) -> Result<Option<Logits>, ModelError> {
        Ok(self.forward(inputs)?.logits)
    }
}

impl Transformer for GptNeoX {
    fn n_layers(&self) -> usize {
        self.gpt_neox.layers.len()
    }

    fn hidden_size(&self) -> usize {
        self.config.hidden_size
    }

    fn sites(&self) -> Vec<Site> {
        let is_attn_stream =
            |site: &Site| matches!(site, Site::Block { sublayer: Sublayer::Attn, vector: Vector::Stream, .. });
        let sites = all_sites(self.n_layers()).into_iter();
        sites.filter(|site| !(self.config.use_parallel_residual && is_attn_stream(site))).collect()
    }

    fn context(&self, inputs: &ModelInputs) -> Result<Context, ModelError> {
        let ([_, seq], device, config) = (inputs.tokens()?.dims(), self.device(), &self.config);
        let context = Context::new(AttentionBias::strictly_causal(seq, inputs.attention_mask.as_ref(), &device));
        let rotary = config.rotary_size();
        let rotary = (rotary > 0).then(|| Rotary::new(seq, rotary, config.rotary_emb_base, &device));
        Ok(Context { rotary, ..context })
    }

    fn embed(&self, inputs: &ModelInputs) -> Result<Tensor<3>, ModelError> {
        Ok(self.gpt_neox.embed_in.forward(inputs.tokens()?.clone()))
    }

    fn block(&self, layer: usize, hidden: Tensor<3>, context: &Context, observer: &mut dyn Observer) -> Walk {
        self.gpt_neox.layers[layer].forward(layer, hidden, context, observer)
    }

    fn after_attention(&self, layer: usize, hidden: Tensor<3>, observer: &mut dyn Observer) -> Walk {
        self.gpt_neox.layers[layer].after_attention(layer, hidden, observer)
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
