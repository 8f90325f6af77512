//! A pre-LN block, HF's `GPT2Block`.

use std::ops::{ControlFlow, Range};

use burn::module::Module;
use burn::nn::{LayerNorm, LayerNormConfig, Linear};
use burn::tensor::{Device, Tensor};

use super::{
    Gpt2Config,
    attention::{Gpt2Attention, conv1d},
};
use crate::{Activation, AttentionBias, Component, Observer, Site, Vector, Walk};

#[derive(Module, Debug)]
pub(crate) struct Gpt2Block {
    ln_1: LayerNorm,
    attn: Gpt2Attention,
    ln_2: LayerNorm,
    mlp: Gpt2Mlp,
}

#[derive(Module, Debug)]
struct Gpt2Mlp {
    c_fc: Linear,
    c_proj: Linear,
    #[module(skip)]
    activation: Activation,
}

impl Gpt2Block {
    pub(crate) fn init(config: &Gpt2Config, layer: usize, device: &Device) -> Self {
        let mlp = Gpt2Mlp {
            c_fc: conv1d(config.n_embd, config.inner_size(), device),
            c_proj: conv1d(config.inner_size(), config.n_embd, device),
            activation: config.activation_function,
        };
        Self {
            ln_1: layer_norm(config, device),
            attn: Gpt2Attention::init(config, layer, device),
            ln_2: layer_norm(config, device),
            mlp,
        }
    }

    /// The block at some positions, or all.
    ///
    /// # Shapes
    /// - hidden: `[batch, seq, hidden]`
    /// - output: `[batch, positions, hidden]`
    pub(crate) fn forward(
        &self,
        layer: usize,
        hidden: Tensor<3>,
        positions: Option<&Range<usize>>,
        bias: &AttentionBias,
        observer: &mut dyn Observer,
    ) -> Walk {
        let mut add = |component, hidden: Tensor<3>, update: Tensor<3>| -> Walk {
            let update = observer.visit(Site::new(component, Vector::Update, layer), update)?;
            observer.visit(Site::new(component, Vector::Stream, layer), hidden + update)
        };
        let update = self.attn.forward(self.ln_1.forward(hidden.clone()), positions, bias);
        let hidden = match positions {
            None => hidden,
            Some(positions) => hidden.slice_dim(1, positions.clone()),
        };
        let hidden = add(Component::Attn, hidden, update)?;
        let update = self.mlp.forward(self.ln_2.forward(hidden.clone()));
        ControlFlow::Continue(add(Component::Mlp, hidden, update)?)
    }
}

impl Gpt2Mlp {
    fn forward(&self, hidden: Tensor<3>) -> Tensor<3> {
        self.c_proj.forward(self.activation.forward(self.c_fc.forward(hidden)))
    }
}

pub(super) fn layer_norm(config: &Gpt2Config, device: &Device) -> LayerNorm {
    LayerNormConfig::new(config.n_embd).with_epsilon(config.layer_norm_epsilon).init(device)
}
