//! The model with its head, and the names of its checkpoint tensors.

use burn::module::Module;
use burn::nn::{Embedding, LayerNorm};
use burn::tensor::{Device, Int, Tensor};
use serde_json::Value;

use super::{GptNeoAttention, GptNeoConfig, block::GptNeoBlock, config::MODEL_TYPE};
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
use crate::site::Site;
use crate::transformer::{Context, Transformer};

/// How each layer of a block divides into attention heads or belongs to the MLP.
const BLOCK_LAYERS: [(&str, HeadSplit); 5] = [
    ("attn.attention.q_proj", BY_OUTPUT),
    ("attn.attention.k_proj", BY_OUTPUT),
    ("attn.attention.v_proj", BY_OUTPUT),
    ("attn.attention.out_proj", BY_INPUT),
    ("mlp", MLP),
];
/// Causal masks that older checkpoints store as buffers; they are ignored.
const BUFFERS: [&str; 2] = [".attn.attention.bias", ".attn.attention.masked_bias"];

/// GPT-Neo ([Black et al. 2021](https://github.com/EleutherAI/gpt-neo)) with the head that its configuration names.
///
/// The HF classes are `GPTNeoModel`, `GPTNeoForCausalLM`, `GPTNeoForSequenceClassification` and
/// `GPTNeoForTokenClassification`.
#[derive(Module, Debug)]
pub struct GptNeo {
    transformer: GptNeoTransformer,
    head: DecoderHead,
    #[module(skip)]
    config: GptNeoConfig,
    #[module(skip)]
    attention: Vec<GptNeoAttention>,
}

#[derive(Module, Debug)]
struct GptNeoTransformer {
    wte: Embedding,
    wpe: Embedding,
    h: Vec<GptNeoBlock>,
    ln_f: LayerNorm,
}

impl Pretrained for GptNeo {
    type Config = GptNeoConfig;

    const ALIASES: &[(&str, &str)] = &[("num_hidden_layers", "num_layers"), ("num_attention_heads", "num_heads")];

    fn init(config: &GptNeoConfig, device: &Device) -> Result<Self, ModelError> {
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
            transformer: GptNeoTransformer {
                wte: init::embedding(config.vocab_size, hidden_size, device),
                wpe: init::embedding(config.max_position_embeddings, hidden_size, device),
                h: (0..config.num_layers).map(|_| GptNeoBlock::init(config, device)).collect(),
                ln_f: init::layer_norm(hidden_size, config.layer_norm_epsilon, device),
            },
            head: head.init(device),
            attention: config.attention_layers(),
            config: config.clone(),
        })
    }

    fn config(&self) -> &GptNeoConfig {
        &self.config
    }

    fn base_class(_config: &Value) -> &'static str {
        "GPTNeoModel"
    }

    fn repeated_keys(&self) -> Vec<(String, String)> {
        self.head.repeated_keys("lm_head.weight", "transformer.wte.weight")
    }

    fn hf_names(&self) -> HfNames {
        HfNames {
            base: ("transformer", "transformer"),
            has_head: self.head() != Head::None,
            renamed: vec![("head", ""), ("attn", "attn.attention")],
            ignored_endings: BUFFERS.into(),
            ignored_keys: if self.head.is_tied() { vec!["lm_head.weight"] } else { Vec::new() },
            ..HfNames::default()
        }
    }
}

impl Model for GptNeo {
    fn model_type(&self) -> &'static str {
        MODEL_TYPE
    }

    fn head(&self) -> Head {
        self.head.kind()
    }

    fn device(&self) -> Device {
        self.transformer.wte.weight.lazy_device()
    }

    fn maskable_layers(&self) -> Vec<MaskableLayer> {
        self.hf_names().maskable_layers(self)
    }

    fn block_layout(&self) -> BlockLayout {
        BlockLayout { n_heads: self.config.num_heads, lists: &["h"], layers: &BLOCK_LAYERS }
    }

    fn initial_value(&self, path: &str, _shape: &[usize]) -> InitialValue {
        InitialValue::usual(path, self.config.initializer_range)
    }

    fn dropout(&self) -> f64 {
        let config = &self.config;
        config.embed_dropout.max(config.attention_dropout).max(config.resid_dropout)
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

impl Transformer for GptNeo {
    fn n_layers(&self) -> usize {
        self.transformer.h.len()
    }

    fn hidden_size(&self) -> usize {
        self.config.hidden_size
    }

    fn sites(&self) -> Vec<Site> {
        all_sites(self.n_layers())
    }

    fn context(&self, inputs: &ModelInputs) -> Result<Context, ModelError> {
        let ([_, seq], mask) = (inputs.tokens()?.dims(), inputs.attention_mask.as_ref());
        let local = AttentionBias::local(seq, self.config.window_size, mask, &self.device());
        let context = Context::new(AttentionBias::strictly_causal(seq, mask, &self.device()));
        Ok(Context { local_attention_bias: Some(local), ..context })
    }

    fn embed(&self, inputs: &ModelInputs) -> Result<Tensor<3>, ModelError> {
        let input_ids = inputs.tokens()?;
        let [_, seq] = input_ids.dims();
        let positions = Tensor::<1, Int>::arange(0..seq as i64, &self.device()).unsqueeze();
        Ok(self.transformer.wte.forward(input_ids.clone()) + self.transformer.wpe.forward(positions))
    }

    fn block(&self, layer: usize, hidden: Tensor<3>, context: &Context, observer: &mut dyn Observer) -> Walk {
        let bias = match (self.attention[layer], &context.local_attention_bias) {
            (GptNeoAttention::Local, Some(local)) => local,
            _ => &context.attention_bias,
        };
        self.transformer.h[layer].forward(layer, hidden, context.positions_of(layer), bias, observer)
    }

    fn after_attention(&self, layer: usize, hidden: Tensor<3>, observer: &mut dyn Observer) -> Walk {
        self.transformer.h[layer].after_attention(layer, hidden, observer)
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
