//! The model with its head, and the names of its checkpoint tensors.

use burn::module::Module;
use burn::nn::{Embedding, LayerNorm};
use burn::tensor::{Device, Int, Tensor};
use serde_json::Value;

use super::{Gpt2Config, block::Gpt2Block, config::MODEL_TYPE};
use crate::attention::AttentionBias;
use crate::block_layout::{BY_INPUT, BlockLayout, FUSED, HeadSplit, MLP};
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

/// Layers that HF builds as `Conv1D`, whose weight is `[in, out]`.
const CONV1D: [&str; 4] = ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"];
/// How each layer of a block divides into attention heads or belongs to the MLP.
const BLOCK_LAYERS: [(&str, HeadSplit); 3] = [("attn.c_attn", FUSED), ("attn.c_proj", BY_INPUT), ("mlp", MLP)];
/// Causal masks that older checkpoints store as buffers; they are ignored.
const BUFFERS: [&str; 2] = [".attn.bias", ".attn.masked_bias"];

/// GPT-2 ([Radford et al. 2019]) with the head that its configuration names.
///
/// The HF classes are `GPT2Model`, `GPT2LMHeadModel`, `GPT2ForSequenceClassification` and `GPT2ForTokenClassification`.
///
/// [Radford et al. 2019]: https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf
#[derive(Module, Debug)]
pub struct Gpt2 {
    transformer: Gpt2Transformer,
    head: DecoderHead,
    #[module(skip)]
    config: Gpt2Config,
}

#[derive(Module, Debug)]
struct Gpt2Transformer {
    wte: Embedding,
    wpe: Embedding,
    h: Vec<Gpt2Block>,
    ln_f: LayerNorm,
}

impl Pretrained for Gpt2 {
    type Config = Gpt2Config;

    const ALIASES: &[(&str, &str)] = &[
        ("max_position_embeddings", "n_positions"),
        ("hidden_size", "n_embd"),
        ("num_hidden_layers", "n_layer"),
        ("num_attention_heads", "n_head"),
    ];

    fn init(config: &Gpt2Config, device: &Device) -> Result<Self, ModelError> {
        config.validate()?;
        let hidden_size = config.n_embd;
        let head = DecoderHeadConfig {
            kind: config.head()?,
            hidden_size,
            vocab_size: config.vocab_size,
            n_labels: config.common.n_labels(),
            tied: config.tie_word_embeddings,
            pad_token_id: config.pad_token_id,
        };
        Ok(Self {
            transformer: Gpt2Transformer {
                wte: init::embedding(config.vocab_size, hidden_size, device),
                wpe: init::embedding(config.n_positions, hidden_size, device),
                h: (0..config.n_layer).map(|layer| Gpt2Block::init(config, layer, device)).collect(),
                ln_f: init::layer_norm(hidden_size, config.layer_norm_epsilon, device),
            },
            head: head.init(device),
            config: config.clone(),
        })
    }

    fn config(&self) -> &Gpt2Config {
        &self.config
    }

    fn base_class(_config: &Value) -> &'static str {
        "GPT2Model"
    }

    fn repeated_keys(&self) -> Vec<(String, String)> {
        self.head.repeated_keys("lm_head.weight", "transformer.wte.weight")
    }

    fn hf_names(&self) -> HfNames {
        HfNames {
            base: ("transformer", "transformer"),
            has_head: self.head() != Head::None,
            renamed: vec![("head", "")],
            ignored_endings: BUFFERS.into(),
            ignored_keys: if self.head.is_tied() { vec!["lm_head.weight"] } else { Vec::new() },
            gpt_conv1d: &CONV1D,
        }
    }
}

impl Model for Gpt2 {
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
        BlockLayout { n_heads: self.config.n_head, lists: &["h"], layers: &BLOCK_LAYERS }
    }

    fn initial_value(&self, path: &str, _shape: &[usize]) -> InitialValue {
        self.config.initial_value(path)
    }

    fn dropout(&self) -> f64 {
        let config = &self.config;
        config.embd_pdrop.max(config.attn_pdrop).max(config.resid_pdrop)
    }

    fn problem_type(&self) -> Option<ProblemType> {
        self.config.common.problem_type
    }

    fn check_inputs(&self, inputs: &ModelInputs) -> Result<(), ModelError> {
        inputs.check_only(&["input_ids", "attention_mask"])?;
        inputs.check_tokens(self.config.vocab_size, self.config.n_positions)
    }

    fn logits(&self, inputs: &ModelInputs) -> Result<Option<Logits>, ModelError> {
        Ok(self.forward(inputs)?.logits)
    }
}

impl Transformer for Gpt2 {
    fn n_layers(&self) -> usize {
        self.transformer.h.len()
    }

    fn hidden_size(&self) -> usize {
        self.config.n_embd
    }

    fn sites(&self) -> Vec<Site> {
        all_sites(self.n_layers())
    }

    fn context(&self, inputs: &ModelInputs) -> Result<Context, ModelError> {
        let [_, seq] = inputs.tokens()?.dims();
        Ok(Context::new(AttentionBias::causal(seq, inputs.attention_mask.as_ref(), &self.device())))
    }

    fn embed(&self, inputs: &ModelInputs) -> Result<Tensor<3>, ModelError> {
        let input_ids = inputs.tokens()?;
        let [_, seq] = input_ids.dims();
        let positions = Tensor::<1, Int>::arange(0..seq as i64, &self.device()).unsqueeze();
        Ok(self.transformer.wte.forward(input_ids.clone()) + self.transformer.wpe.forward(positions))
    }

    fn block(&self, layer: usize, hidden: Tensor<3>, context: &Context, observer: &mut dyn Observer) -> Walk {
        let positions = context.positions_of(layer);
        self.transformer.h[layer].forward(layer, hidden, positions, &context.attention_bias, observer)
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
