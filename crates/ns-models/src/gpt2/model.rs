//! The base model, its heads, and its checkpoint's keys.

use std::path::Path;

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, Initializer, LayerNorm, Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor};

use super::{
    Gpt2Config,
    block::{Gpt2Block, layer_norm},
};
use crate::{
    AttentionBias, Checkpoint, Component, Context, Head, HfNames, InitialValue, Logits, MaskableLayer, ModelError,
    ModelInputs, ModelOutput, Observer, Site, Transformer, Vector, Walk, layers::find_layers, load_weights,
    read_config, save_pretrained,
};

const PREFIX: &str = "transformer.";
/// Layers that HF builds as `Conv1D`.
const CONV1D: [&str; 4] = ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"];
/// Causal masks that older checkpoints store as buffers.
const BUFFERS: [&str; 2] = [".attn.bias", ".attn.masked_bias"];

/// GPT-2 with the head that its configuration names.
#[derive(Module, Debug)]
pub struct Gpt2 {
    transformer: Gpt2Transformer,
    /// Present only where it is not tied to the token embedding.
    lm_head: Option<Linear>,
    score: Option<Linear>,
    #[module(skip)]
    config: Gpt2Config,
    #[module(skip)]
    head: Head,
}

#[derive(Module, Debug)]
struct Gpt2Transformer {
    wte: Embedding,
    wpe: Embedding,
    h: Vec<Gpt2Block>,
    ln_f: LayerNorm,
}

impl Gpt2 {
    /// A model of zeros, to be filled from a checkpoint or by [`Gpt2Config::initial_value`].
    ///
    /// # Errors
    /// [`ModelError::InvalidConfig`], [`ModelError::UnknownArchitecture`].
    pub fn init(config: &Gpt2Config, device: &Device) -> Result<Self, ModelError> {
        config.validate()?;
        let head = config.head()?;
        let hidden = config.n_embd;
        let embedding = |rows| EmbeddingConfig::new(rows, hidden).with_initializer(Initializer::Zeros).init(device);
        let linear = |output| {
            LinearConfig::new(hidden, output).with_bias(false).with_initializer(Initializer::Zeros).init(device)
        };
        Ok(Self {
            transformer: Gpt2Transformer {
                wte: embedding(config.vocab_size),
                wpe: embedding(config.n_positions),
                h: (0..config.n_layer).map(|layer| Gpt2Block::init(config, layer, device)).collect(),
                ln_f: layer_norm(config, device),
            },
            lm_head: (head == Head::Lm && !config.tie_word_embeddings).then(|| linear(config.vocab_size)),
            score: (head == Head::SequenceClassification).then(|| linear(config.n_labels())),
            config: config.clone(),
            head,
        })
    }

    /// Loads a folder as `save_pretrained` writes it; a base model's checkpoint without the prefix `transformer.`
    /// serves a model with a tied head, too.
    ///
    /// # Errors
    /// As [`read_config`], [`Checkpoint::open_folder`], [`Gpt2::init`] and [`load_weights`].
    pub fn load(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        let config: Gpt2Config = serde_json::from_value(read_config(folder)?)
            .map_err(|error| ModelError::InvalidJson { path: folder.join("config.json"), reason: error.to_string() })?;
        let model = Self::init(&config, device)?;
        let names = model.hf_names();
        load_weights(model, Checkpoint::open_folder(folder)?, &names)
    }

    /// Writes the folder back; `transformers` loads it unchanged.
    ///
    /// # Errors
    /// [`ModelError::Io`].
    pub fn save(&self, folder: &Path) -> Result<(), ModelError> {
        let mut config = serde_json::to_value(&self.config)
            .map_err(|error| ModelError::InvalidJson { path: folder.join("config.json"), reason: error.to_string() })?;
        config["model_type"] = self.model_type().into();
        config["torch_dtype"] = "float32".into();
        save_pretrained(folder, self, &self.hf_names(), &config)
    }

    /// The configuration.
    pub fn config(&self) -> &Gpt2Config {
        &self.config
    }

    fn hf_names(&self) -> HfNames {
        let has_head = self.head != Head::None;
        let mut names = HfNames::new(&self.maskable_layers());
        names.dropped_prefix = if has_head { "" } else { PREFIX };
        names.base_model_prefix = if has_head { PREFIX } else { "" };
        names.ignored_endings = &BUFFERS;
        if self.lm_head.is_none() {
            names.ignored_keys.push("lm_head.weight");
        }
        names
    }

    /// Position, in each row, of the token before the first padding token; the last one where there is none
    /// (`argmax(ids == pad) − 1` modulo the sequence length, as HF computes it).
    fn last_token_positions(&self, inputs: &ModelInputs) -> Result<Tensor<1, Int>, ModelError> {
        let [batch, seq] = inputs.dims();
        let ids = inputs.input_ids.to_data();
        let ids: Vec<i64> = ids.iter().collect();
        let pad = match self.config.pad_token_id {
            None if batch > 1 => {
                return Err(ModelError::InvalidInput {
                    what: "batch size",
                    found: batch.to_string(),
                    expected: "sequences cannot be told apart from padding: config.json has no pad_token_id".into(),
                });
            }
            pad => pad,
        };
        let last_before_padding = |row: &[i64]| match row.iter().position(|id| Some(*id) == pad) {
            None | Some(0) => seq as i64 - 1,
            Some(first) => first as i64 - 1,
        };
        let positions: Vec<i64> = ids.chunks(seq).map(last_before_padding).collect();
        Ok(Tensor::from_data(burn::tensor::TensorData::new(positions, [batch]), &inputs.input_ids.device()))
    }
}

impl Transformer for Gpt2 {
    fn model_type(&self) -> &'static str {
        "gpt2"
    }

    fn n_layers(&self) -> usize {
        self.transformer.h.len()
    }

    fn hidden_size(&self) -> usize {
        self.config.n_embd
    }

    fn device(&self) -> Device {
        self.transformer.wte.weight.lazy_device()
    }

    fn maskable_layers(&self) -> Vec<MaskableLayer> {
        let layers = find_layers(self, |path| CONV1D.iter().any(|conv1d| path.ends_with(conv1d)));
        let is_base = self.head == Head::None;
        let named = |layer: MaskableLayer| match layer.name.strip_prefix(PREFIX) {
            Some(name) if is_base => MaskableLayer { name: name.into(), ..layer },
            _ => layer,
        };
        layers.into_iter().map(named).collect()
    }

    fn sites(&self) -> Vec<Site> {
        let blocks = (0..self.n_layers()).flat_map(|layer| {
            [Component::Attn, Component::Mlp]
                .into_iter()
                .flat_map(move |part| [Vector::Update, Vector::Stream].map(|vector| Site::new(part, vector, layer)))
        });
        std::iter::once(Site::Embeddings).chain(blocks).collect()
    }

    fn initial_value(&self, path: &str) -> InitialValue {
        self.config.initial_value(path)
    }

    fn dropout(&self) -> f64 {
        let config = &self.config;
        config.embd_pdrop.max(config.attn_pdrop).max(config.resid_pdrop)
    }

    fn check_inputs(&self, inputs: &ModelInputs) -> Result<(), ModelError> {
        inputs.check(self.config.vocab_size, self.config.n_positions)
    }

    fn context(&self, inputs: &ModelInputs) -> Context {
        let [_, seq] = inputs.dims();
        let attention_bias = AttentionBias::causal(seq, inputs.attention_mask.as_ref(), &self.device());
        Context { attention_bias, narrowed: None }
    }

    fn embed(&self, inputs: &ModelInputs) -> Tensor<3> {
        let [_, seq] = inputs.dims();
        let positions = Tensor::<1, Int>::arange(0..seq as i64, &self.device()).unsqueeze();
        self.transformer.wte.forward(inputs.input_ids.clone()) + self.transformer.wpe.forward(positions)
    }

    fn block(&self, layer: usize, hidden: Tensor<3>, context: &Context, observer: &mut dyn Observer) -> Walk {
        let positions = context.positions_of(layer);
        self.transformer.h[layer].forward(layer, hidden, positions, &context.attention_bias, observer)
    }

    fn finish(&self, hidden: Tensor<3>) -> Tensor<3> {
        self.transformer.ln_f.forward(hidden)
    }

    fn token_logits(&self, last_hidden_state: Tensor<3>) -> Option<Tensor<3>> {
        match (&self.lm_head, self.head) {
            (Some(lm_head), _) => Some(lm_head.forward(last_hidden_state)),
            (None, Head::Lm) => {
                let embedding = self.transformer.wte.weight.val().transpose();
                Some(burn::tensor::module::linear(last_hidden_state, embedding, None))
            }
            _ => None,
        }
    }

    fn head(&self, last_hidden_state: Tensor<3>, inputs: &ModelInputs) -> Result<ModelOutput, ModelError> {
        let Some(score) = &self.score else {
            let logits = self.token_logits(last_hidden_state.clone()).map(Logits::Tokens);
            return Ok(ModelOutput { last_hidden_state, logits });
        };
        let [batch, _, hidden] = last_hidden_state.dims();
        let positions = self.last_token_positions(inputs)?.reshape([batch, 1, 1]).expand([batch, 1, hidden]);
        let last = last_hidden_state.clone().gather(1, positions).reshape([batch, hidden]);
        Ok(ModelOutput { last_hidden_state, logits: Some(Logits::Sequences(score.forward(last))) })
    }
}
