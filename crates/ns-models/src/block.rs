//! [`Block`]: a transformer block, which adds the updates of attention and MLP to the residual stream.

use burn::tensor::Tensor;

use crate::context::Context;
use crate::residual::Observer;
use crate::site::{Site, Sublayer, Vector};
use crate::walk::Flow;

/// A block of a transformer: `x ← x + attention(x)`, then `x ← x + mlp(x)`.
///
/// A block is computed at the positions that the context asks for. It reports the update and the stream of each
/// sublayer to the observer.
pub trait Block {
    /// Computes the update of attention, from the positions at which block `layer` is computed to the whole sequence. A
    /// LayerNorm before attention is included.
    ///
    /// # Shapes
    /// - hidden: `[batch, seq, hidden]`
    /// - output: `[batch, positions, hidden]`
    fn attention(&self, layer: usize, hidden: Tensor<3>, context: &Context) -> Tensor<3>;

    /// Computes the update of the MLP. A LayerNorm before the MLP is included.
    ///
    /// # Shapes
    /// - hidden and output: `[batch, positions, hidden]`
    fn mlp(&self, hidden: Tensor<3>, context: &Context) -> Tensor<3>;

    /// Adds the update of a sublayer to the residual stream. A post-LN block also applies its LayerNorm.
    ///
    /// # Shapes
    /// - hidden, update and output: `[batch, positions, hidden]`
    fn add(&self, _sublayer: Sublayer, hidden: Tensor<3>, update: Tensor<3>) -> Tensor<3> {
        hidden + update
    }

    /// Whether attention and MLP read the same input: `x ← x + attention(x) + mlp(x)`. There is then no stream between
    /// the two.
    fn is_parallel(&self) -> bool {
        false
    }

    /// Runs the block.
    ///
    /// # Shapes
    /// - hidden: `[batch, seq, hidden]`
    /// - output: `[batch, positions, hidden]`
    fn forward(&self, layer: usize, hidden: Tensor<3>, context: &Context, observer: &mut dyn Observer) -> Flow {
        let update = self.attention(layer, hidden.clone(), context);
        let update = observer.visit(Site::new(Sublayer::Attn, Vector::Update, layer), update)?;
        let hidden = context.select(layer, hidden);
        if self.is_parallel() {
            let mlp = self.mlp(hidden.clone(), context);
            let mlp = observer.visit(Site::new(Sublayer::Mlp, Vector::Update, layer), mlp)?;
            return observer.visit(Site::new(Sublayer::Mlp, Vector::Stream, layer), mlp + update + hidden);
        }
        let stream = self.add(Sublayer::Attn, hidden, update);
        let stream = observer.visit(Site::new(Sublayer::Attn, Vector::Stream, layer), stream)?;
        self.after_attention(layer, stream, context, observer)
    }

    /// Runs the rest of the block after attention and its addition to the residual stream. `hidden` is the value at
    /// `attn_stream_<layer>`, which must be a site of the model.
    ///
    /// # Shapes
    /// - hidden and output: `[batch, positions, hidden]`
    fn after_attention(&self, layer: usize, hidden: Tensor<3>, context: &Context, observer: &mut dyn Observer) -> Flow {
        let update = self.mlp(hidden.clone(), context);
        let update = observer.visit(Site::new(Sublayer::Mlp, Vector::Update, layer), update)?;
        let stream = self.add(Sublayer::Mlp, hidden, update);
        observer.visit(Site::new(Sublayer::Mlp, Vector::Stream, layer), stream)
    }
}
