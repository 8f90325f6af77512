//! The parts that GPT-2 and GPT-Neo share. They differ in their attention.

use burn::module::Module;
use burn::nn::{Embedding, LayerNorm, Linear};
use burn::tensor::{Device, Int, Tensor};

use crate::activation::Activation;
use crate::context::Context;
use crate::error::ModelError;
use crate::init;
use crate::inputs::ModelInputs;
use crate::linear;
use crate::residual::{Observer, Walk, add_update};
use crate::site::Sublayer;

/// The model without its head: learned positions, pre-LN blocks and a final LayerNorm, HF's `GPT2Model` and
/// `GPTNeoModel`.
#[derive(Module, Debug)]
pub(super) struct GptBase<A: Module> {
    pub(super) wte: Embedding,
    wpe: Embedding,
    pub(super) h: Vec<GptBlock<A>>,
    pub(super) ln_f: LayerNorm,
}

/// A pre-LN block, HF's `GPT2Block` and `GPTNeoBlock`.
#[derive(Module, Debug)]
pub(super) struct GptBlock<A: Module> {
    ln_1: LayerNorm,
    attn: A,
    ln_2: LayerNorm,
    mlp: GptMlp,
}

/// `c_proj(act(c_fc(x)))`, HF's `GPT2MLP` and `GPTNeoMLP`.
#[derive(Module, Debug)]
struct GptMlp {
    c_fc: Linear,
    c_proj: Linear,
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

/// Sizes of a [`GptBase`].
pub(super) struct GptSizes {
    pub(super) vocab_size: usize,
    pub(super) n_positions: usize,
    pub(super) hidden_size: usize,
    pub(super) inner_size: usize,
    pub(super) epsilon: f64,
    pub(super) activation: Activation,
}

impl<A: Attention> GptBase<A> {
    /// Creates the model from the attention of each block.
    pub(super) fn init(sizes: &GptSizes, attention: impl Iterator<Item = A>, device: &Device) -> Self {
        let (hidden, inner) = (sizes.hidden_size, sizes.inner_size);
        let layer_norm = || init::layer_norm(hidden, sizes.epsilon, device);
        let mlp = || GptMlp {
            c_fc: init::linear(hidden, inner, device),
            c_proj: init::linear(inner, hidden, device),
            activation: sizes.activation,
        };
        Self {
            wte: init::embedding(sizes.vocab_size, hidden, device),
            wpe: init::embedding(sizes.n_positions, hidden, device),
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

impl<A: Attention> GptBlock<A> {
    /// Runs the block, at the positions that the context asks for.
    ///
    /// # Shapes
    /// - hidden: `[batch, seq, hidden]`
    /// - output: `[batch, positions, hidden]`
    pub(super) fn forward(
        &self,
        layer: usize,
        hidden: Tensor<3>,
        context: &Context,
        observer: &mut dyn Observer,
    ) -> Walk {
        let update = self.attn.forward(layer, self.ln_1.forward(hidden.clone()), context);
        let hidden = add_update((Sublayer::Attn, layer), context.select(layer, hidden), update, observer)?;
        self.after_attention(layer, hidden, context, observer)
    }

    /// Runs the MLP sublayer, which follows the attention sublayer.
    ///
    /// # Shapes
    /// - hidden and output: `[batch, positions, hidden]`
    pub(super) fn after_attention(
        &self,
        layer: usize,
        hidden: Tensor<3>,
        context: &Context,
        observer: &mut dyn Observer,
    ) -> Walk {
        let update = self.mlp.forward(self.ln_2.forward(hidden.clone()), context);
        add_update((Sublayer::Mlp, layer), hidden, update, observer)
    }
}

impl GptMlp {
    fn forward(&self, hidden: Tensor<3>, context: &Context) -> Tensor<3> {
        let inner = self.activation.forward(linear::forward(&self.c_fc, hidden, context));
        linear::forward(&self.c_proj, inner, context)
    }
}
