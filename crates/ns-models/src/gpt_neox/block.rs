//! HF's `GPTNeoXLayer`.

use std::ops::{ControlFlow, Range};

use burn::module::Module;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::{Device, Tensor};

use super::GptNeoXConfig;
use crate::{
    Activation, Component, Context, Observer, Site, Vector, Walk, attend_from,
    leaves::{layer_norm, linear, linear_with},
    merge_heads,
    residual::{at_positions, pre_ln_block},
    rows,
};

#[derive(Module, Debug)]
pub(super) struct GptNeoXBlock {
    input_layernorm: LayerNorm,
    attention: GptNeoXAttention,
    post_attention_layernorm: LayerNorm,
    mlp: GptNeoXMlp,
    parallel: bool,
}

#[derive(Module, Debug)]
struct GptNeoXAttention {
    query_key_value: Linear,
    dense: Linear,
    n_heads: usize,
}

#[derive(Module, Debug)]
struct GptNeoXMlp {
    dense_h_to_4h: Linear,
    dense_4h_to_h: Linear,
    #[module(skip)]
    activation: Activation,
}

impl GptNeoXBlock {
    pub(super) fn init(config: &GptNeoXConfig, device: &Device) -> Self {
        let (hidden, inner, bias) = (config.hidden_size, config.intermediate_size, config.attention_bias);
        Self {
            input_layernorm: layer_norm(hidden, config.layer_norm_eps, device),
            attention: GptNeoXAttention {
                query_key_value: linear_with(bias, hidden, 3 * hidden, device),
                dense: linear_with(bias, hidden, hidden, device),
                n_heads: config.num_attention_heads,
            },
            post_attention_layernorm: layer_norm(hidden, config.layer_norm_eps, device),
            mlp: GptNeoXMlp {
                dense_h_to_4h: linear(hidden, inner, device),
                dense_4h_to_h: linear(inner, hidden, device),
                activation: config.hidden_act,
            },
            parallel: config.use_parallel_residual,
        }
    }

    /// The block at some positions, or all.
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
        let positions = context.positions_of(layer);
        let attention = |hidden| self.attention.forward(self.input_layernorm.forward(hidden), positions, context);
        let mlp = |hidden| self.mlp.forward(self.post_attention_layernorm.forward(hidden));
        match self.parallel {
            true => parallel_block(layer, hidden, positions, observer, attention, mlp),
            false => pre_ln_block(layer, hidden, positions, observer, attention, mlp),
        }
    }
}

/// `x ← x + attention(x) + mlp(x)`: there is no stream between the two.
fn parallel_block(
    layer: usize,
    hidden: Tensor<3>,
    positions: Option<&Range<usize>>,
    observer: &mut dyn Observer,
    attention: impl FnOnce(Tensor<3>) -> Tensor<3>,
    mlp: impl FnOnce(Tensor<3>) -> Tensor<3>,
) -> Walk {
    let attn_update = attention(hidden.clone());
    let attn_update = observer.visit(Site::new(Component::Attn, Vector::Update, layer), attn_update)?;
    let hidden = at_positions(hidden, positions);
    let mlp_update = observer.visit(Site::new(Component::Mlp, Vector::Update, layer), mlp(hidden.clone()))?;
    let stream = mlp_update + attn_update + hidden;
    ControlFlow::Continue(observer.visit(Site::new(Component::Mlp, Vector::Stream, layer), stream)?)
}

impl GptNeoXAttention {
    fn forward(&self, hidden: Tensor<3>, positions: Option<&Range<usize>>, context: &Context) -> Tensor<3> {
        let [query, key, value] = self.query_key_value(hidden);
        let [_, _, _, head_dim] = query.dims();
        let turn = |x: Tensor<4>| match &context.rotary {
            Some(rotary) => rotary.turn(x),
            None => x,
        };
        let scale = (head_dim as f64).powf(-0.5);
        let attended = attend_from(positions, turn(query), turn(key), value, scale, &context.attention_bias);
        rows::linear(&self.dense, merge_heads(attended))
    }

    /// Splits the fused projection, whose rows go head by head.
    fn query_key_value(&self, hidden: Tensor<3>) -> [Tensor<4>; 3] {
        let [batch, seq, width] = hidden.dims();
        let head_dim = width / self.n_heads;
        let fused = rows::linear(&self.query_key_value, hidden);
        let heads = fused.reshape([batch, seq, self.n_heads, 3 * head_dim]).swap_dims(1, 2);
        [0, 1, 2].map(|part| heads.clone().narrow(3, part * head_dim, head_dim))
    }
}

impl GptNeoXMlp {
    fn forward(&self, hidden: Tensor<3>) -> Tensor<3> {
        rows::linear(&self.dense_4h_to_h, self.activation.forward(rows::linear(&self.dense_h_to_4h, hidden)))
    }
}
