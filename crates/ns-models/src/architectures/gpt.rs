//! The parts that GPT-2 and GPT-Neo share. They differ in their attention and in the type of their linear layers.

use burn::module::Module;
use burn::nn::{Embedding, LayerNorm, Linear};
use burn::tensor::{Device, Int, Tensor};

use crate::activation::Activation;
use crate::block::Block;
use crate::context::Context;
use crate::error::ModelError;
use crate::init;
use crate::inputs::ModelInputs;
use crate::linear::{self, Affine};

/// The model without its head: learned positions, pre-LN blocks and a final LayerNorm, HF's `GPT2Model` and
/// `GPTNeoModel`.
#[derive(Module, Debug)]
pub(super) struct GptBase<A: Module, L: Module> {
    pub(super) wte: Embedding,
    wpe: Embedding,
    pub(super) h: Vec<GptBlock<A, L>>,
    pub(super) ln_f: LayerNorm,
}

/// A pre-LN block, HF's `GPT2Block` and `GPTNeoBlock`.
#[derive(Module, Debug)]
pub(super) struct GptBlock<A: Module, L: Module> {
    ln_1: LayerNorm,
    attn: A,
    ln_2: LayerNorm,
    mlp: GptMlp<L>,
}

/// `c_proj(act(c_fc(x)))`, HF's `GPT2MLP` and `GPTNeoMLP`.
#[derive(Module, Debug)]
struct GptMlp<L: Module> {
    c_fc: L,
    c_proj: L,
    #[module(skip)]
    activation: Activation,
}

/// Causal self-attention with its output projection.
pub(super) trait Attention: Module {
    /// Attends from the positions at which block `layer` is computed to the whole sequence.
    ///
    /// # Shapes
    /// - hidden: `[batch, seq, hidden]`
    /// - output: `[batch, positions, hidden]`
    fn forward(&self, layer: usize, hidden: Tensor<3>, context: &Context) -> Tensor<3>;
}

impl<A: Attention, L: Module + From<Linear>> GptBase<A, L> {
    /// Creates the model from the attention of each block. `rows` is the number of tokens and positions in the
    /// embeddings.
    pub(super) fn init(
        rows: [usize; 2],
        [hidden, inner]: [usize; 2],
        epsilon: f64,
        activation: Activation,
        attention: impl Iterator<Item = A>,
        device: &Device,
    ) -> Self {
        let [wte, wpe] = rows.map(|rows| init::embedding(rows, hidden, device));
        let layer_norm = || init::layer_norm(hidden, epsilon, device);
        let mlp = || GptMlp {
            c_fc: init::linear(hidden, inner, device).into(),
            c_proj: init::linear(inner, hidden, device).into(),
            activation,
        };
        Self {
            wte,
            wpe,
            h: attention.map(|attn| GptBlock { ln_1: layer_norm(), attn, ln_2: layer_norm(), mlp: mlp() }).collect(),
            ln_f: layer_norm(),
        }
    }

    /// Adds the embeddings of tokens and positions.
    ///
    /// # Shapes
    /// - output: `[batch, seq, hidden]`
    pub(super) fn embed(&self, inputs: &ModelInputs) -> Result<Tensor<3>, ModelError> {
        let input_ids = inputs.tokens()?;
        let [_, seq] = input_ids.dims();
        let positions = Tensor::<1, Int>::arange(0..seq as i64, &self.wte.weight.lazy_device()).unsqueeze();
        Ok(self.wte.forward(input_ids.clone()) + self.wpe.forward(positions))
    }
}

impl<A: Attention, L: Module + Affine> Block for GptBlock<A, L> {
    fn attention(&self, layer: usize, hidden: Tensor<3>, context: &Context) -> Tensor<3> {
        self.attn.forward(layer, self.ln_1.forward(hidden), context)
    }

    fn mlp(&self, hidden: Tensor<3>, context: &Context) -> Tensor<3> {
        let GptMlp { c_fc, c_proj, activation } = &self.mlp;
        let inner = activation.forward(linear::forward(c_fc, self.ln_2.forward(hidden), context));
        linear::forward(c_proj, inner, context)
    }
}
