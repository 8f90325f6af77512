//! Self-attention with its output projection, HF's `BertAttention`.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::{EncoderConfig, EncoderFamily, residual_output::ResidualOutput, span_convolution::SpanConvolution};
use crate::architectures::self_attention::SelfAttention;
use crate::context::Context;

#[derive(Module, Debug)]
pub(super) struct EncoderAttention {
    self_attention: SelfAttention,
    /// ConvBERT's span convolution. Its output is concatenated to that of the attention heads. HF keeps its layers in
    /// the `self` module, next to query, key and value.
    span: Option<SpanConvolution>,
    pub(super) output: ResidualOutput,
}

impl EncoderAttention {
    pub(super) fn init(config: &EncoderConfig, device: &Device) -> Self {
        let hidden_size = config.hidden_size;
        let has_convolution = config.model_type == EncoderFamily::ConvBert;
        let all_heads = if has_convolution { hidden_size / 2 } else { hidden_size };
        Self {
            self_attention: SelfAttention::init([hidden_size, all_heads], config.attending_heads(), true, device),
            span: has_convolution.then(|| SpanConvolution::init(config, all_heads, device)),
            output: ResidualOutput::init(hidden_size, 1, config, device),
        }
    }

    /// Computes what attention adds to the residual stream, at the positions at which block `layer` is computed.
    ///
    /// # Shapes
    /// - hidden: `[batch, seq, hidden]`
    /// - output: `[batch, positions, hidden]`
    pub(super) fn forward(&self, layer: usize, hidden: Tensor<3>, context: &Context) -> Tensor<3> {
        let Some(span) = &self.span else {
            return self.output.dense.forward(self.self_attention.forward(layer, hidden, context), context);
        };
        let query = self.self_attention.query(hidden.clone(), context);
        let queries = context.select(layer, query.clone());
        let attended = self.self_attention.forward_query(layer, queries, hidden.clone(), context);
        let convolved = context.select(layer, span.forward(hidden, query, context));
        self.output.dense.forward(Tensor::cat(vec![attended, convolved], 2), context)
    }
}
