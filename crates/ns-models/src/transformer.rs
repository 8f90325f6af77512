//! A forward pass as a walk along the residual stream.

use std::ops::ControlFlow;

use burn::tensor::Tensor;

use crate::attention::AttentionBias;
use crate::error::ModelError;
use crate::inputs::{Logits, ModelInputs, ModelOutput, invalid};
use crate::model::Model;
use crate::positions::Positions;
use crate::residual::{Ignore, Observer, VectorCache, Walk};
use crate::rotary::Rotary;
use crate::site::{Site, Sublayer, Vector};

/// How a walk ended.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // one a walk
pub enum Walked {
    /// It came to the head.
    Finished(ModelOutput),
    /// The observer stopped it.
    Stopped(Site),
}

impl Walked {
    /// The head's output.
    ///
    /// # Errors
    /// [`ModelError::StoppedEarly`] when the observer stopped the walk.
    pub fn output(self) -> Result<ModelOutput, ModelError> {
        match self {
            Self::Finished(output) => Ok(output),
            Self::Stopped(at) => Err(ModelError::StoppedEarly { at }),
        }
    }
}

/// What every block needs of a batch besides the hidden states.
#[derive(Clone, Debug)]
pub struct Context {
    /// Mask over the attention scores.
    pub attention_bias: AttentionBias,
    /// The same for blocks that see a window of the past only (GPT-Neo).
    pub local_attention_bias: Option<AttentionBias>,
    /// Rotation of queries and keys by position (GPT-NeoX).
    pub rotary: Option<Rotary>,
    /// A block of which only some positions are wanted: its keys and values are those of the whole sequence, but
    /// queries and all that follows are computed there only. Blocks above would miss the rest, so the walk must end
    /// with it.
    pub narrowed: Option<(usize, Positions)>,
}

impl Context {
    /// What most families need.
    pub fn new(attention_bias: AttentionBias) -> Self {
        Self { attention_bias, local_attention_bias: None, rotary: None, narrowed: None }
    }

    /// The same, where only these positions of block `layer` are wanted.
    pub fn only(self, layer: usize, positions: impl Into<Positions>) -> Self {
        Self { narrowed: Some((layer, positions.into())), ..self }
    }

    /// Positions that block `layer` computes; `None` means all.
    pub fn positions_of(&self, layer: usize) -> Option<&Positions> {
        self.narrowed.as_ref().filter(|(narrowed, _)| *narrowed == layer).map(|(_, positions)| positions)
    }
}

/// A transformer: `embed → block 0 … block n−1 → head`.
///
/// An architecture supplies the steps; from them follow the forward pass, the vector cache, patching, early stop,
/// and a start from any block.
pub trait Transformer: Model {
    /// Number of blocks.
    fn n_layers(&self) -> usize;

    /// Width of the residual stream.
    fn hidden_size(&self) -> usize;

    /// Sites that blocks report, in the order of a forward pass.
    fn sites(&self) -> Vec<Site>;

    /// `[batch, seq]` of the residual stream for these inputs.
    ///
    /// # Errors
    /// [`ModelError::InvalidInput`] when the input that the model reads is not there.
    fn stream_dims(&self, inputs: &ModelInputs) -> Result<[usize; 2], ModelError> {
        Ok(inputs.tokens()?.dims())
    }

    /// Prepares what all blocks share for this batch.
    ///
    /// # Errors
    /// [`ModelError::InvalidInput`] when the input that the model reads is not there.
    fn context(&self, inputs: &ModelInputs) -> Result<Context, ModelError>;

    /// Embeddings.
    ///
    /// # Shapes
    /// - output: `[batch, seq, hidden]`
    ///
    /// # Errors
    /// [`ModelError::InvalidInput`] when the input that the model reads is not there.
    fn embed(&self, inputs: &ModelInputs) -> Result<Tensor<3>, ModelError>;

    /// One block; reports its sites to `observer`.
    ///
    /// # Shapes
    /// - hidden: `[batch, seq, hidden]`
    /// - output: the same, or `[batch, positions, hidden]` where the context wants some only
    fn block(&self, layer: usize, hidden: Tensor<3>, context: &Context, observer: &mut dyn Observer) -> Walk;

    /// What follows the attention of a block and its addition to the residual stream, i.e. `attn_stream_<layer>`, which
    /// the block must have among its sites; position by position.
    ///
    /// # Shapes
    /// - hidden and output: `[batch, positions, hidden]`
    fn after_attention(&self, layer: usize, hidden: Tensor<3>, observer: &mut dyn Observer) -> Walk;

    /// What follows the last block in the base model, e.g. the final LayerNorm; position by position.
    ///
    /// # Shapes
    /// - hidden and output: `[batch, positions, hidden]`
    fn finish(&self, hidden: Tensor<3>) -> Tensor<3>;

    /// Scores of a head that works position by position (a language model's or of a token classification), `None`
    /// without one.
    ///
    /// # Shapes
    /// - last_hidden_state: `[batch, positions, hidden]`
    /// - output: `[batch, positions, classes]`
    fn token_logits(&self, last_hidden_state: Tensor<3>) -> Option<Tensor<3>>;

    /// The head over a whole batch.
    ///
    /// # Errors
    /// [`ModelError::InvalidInput`] when the head cannot tell where a sequence ends.
    fn apply_head(&self, last_hidden_state: Tensor<3>, _inputs: &ModelInputs) -> Result<ModelOutput, ModelError> {
        let logits = self.token_logits(last_hidden_state.clone()).map(Logits::Tokens);
        Ok(ModelOutput { last_hidden_state, pooler_output: None, logits })
    }

    /// Checks that the model has `site`.
    ///
    /// # Errors
    /// [`ModelError::NoSuchSite`].
    fn check_site(&self, site: Site) -> Result<(), ModelError> {
        let known = self.sites();
        if known.contains(&site) {
            return Ok(());
        }
        let reason = match site {
            Site::Block { layer, .. } if layer >= self.n_layers() => {
                format!("it has {} blocks, counted from 0", self.n_layers())
            }
            _ => {
                let known: Vec<_> = known.iter().map(Site::to_string).collect();
                format!("its sites are {}", known.join(", "))
            }
        };
        Err(ModelError::NoSuchSite { asked: site.to_string(), reason })
    }

    /// Walks from the embeddings.
    ///
    /// # Errors
    /// [`ModelError::InvalidInput`].
    fn walk(&self, inputs: &ModelInputs, observer: &mut dyn Observer) -> Result<Walked, ModelError> {
        self.check_inputs(inputs)?;
        match observer.visit(Site::Embeddings, self.embed(inputs)?) {
            ControlFlow::Break(site) => Ok(Walked::Stopped(site)),
            ControlFlow::Continue(hidden) => self.walk_from(0, hidden, inputs, observer),
        }
    }

    /// The vectors at one site, and at some positions only; nothing else is computed.
    ///
    /// # Shapes
    /// - output: `[batch, positions, hidden]`
    ///
    /// # Errors
    /// [`ModelError::NoSuchSite`], [`ModelError::InvalidInput`].
    fn vectors_at(
        &self,
        site: Site,
        positions: impl Into<Positions>,
        inputs: &ModelInputs,
    ) -> Result<Tensor<3>, ModelError>
    where
        Self: Sized,
    {
        self.check_inputs(inputs)?;
        self.vectors_from(Site::Embeddings, self.embed(inputs)?, site, positions, inputs)
    }

    /// The same from the vectors at an earlier site, [where a walk can go on](Self::is_start): nothing below it is
    /// computed.
    ///
    /// # Shapes
    /// - hidden: `[batch, seq, hidden]`
    /// - output: `[batch, positions, hidden]`
    ///
    /// # Errors
    /// [`ModelError::NoSuchSite`], [`ModelError::InvalidInput`].
    fn vectors_from(
        &self,
        start: Site,
        hidden: Tensor<3>,
        site: Site,
        positions: impl Into<Positions>,
        inputs: &ModelInputs,
    ) -> Result<Tensor<3>, ModelError>
    where
        Self: Sized,
    {
        self.check_site(site)?;
        let (dims, positions) = (self.stream_dims(inputs)?, positions.into());
        if !positions.fit(dims) {
            let [batch, seq] = dims;
            let expected = format!("there are {batch} sequences of {seq} tokens, counted from 0");
            return Err(invalid("positions", positions, expected));
        }
        self.check_hidden(&hidden, dims)?;
        let Site::Block { layer, .. } = site else {
            return Ok(positions.select(hidden));
        };
        if start == site {
            return Ok(positions.select(hidden));
        }
        let mut cache = VectorCache::new([site]);
        let context = self.context(inputs)?;
        let context = if positions.are_all(dims[1]) { context } else { context.only(layer, positions) };
        // The cache stops the walk at the site, whatever comes of it.
        let _stopped = self.walk_on(start, hidden, &context, &mut cache)?;
        cache.get(site).ok_or_else(|| ModelError::NoSuchSite {
            asked: site.to_string(),
            reason: format!("the walk from `{start}` did not pass it"),
        })
    }

    /// Whether a walk can go on from the vectors at a site alone: the embeddings, the stream after a block, and that
    /// after its attention.
    fn is_start(&self, site: Site) -> bool {
        let is_update = matches!(site, Site::Block { vector: Vector::Update, .. });
        !is_update && self.sites().contains(&site)
    }

    /// Goes on from the vectors at a site to the last block.
    ///
    /// # Shapes
    /// - hidden: `[batch, seq, hidden]`
    /// - output: as [`block`](Self::block)
    ///
    /// # Errors
    /// [`ModelError::NoSuchSite`] unless the site [is a start](Self::is_start).
    fn walk_on(
        &self,
        start: Site,
        hidden: Tensor<3>,
        context: &Context,
        observer: &mut dyn Observer,
    ) -> Result<Walk, ModelError> {
        if !self.is_start(start) {
            let reason = "a walk starts from the embeddings or a stream of the model".into();
            return Err(ModelError::NoSuchSite { asked: start.to_string(), reason });
        }
        Ok(match start {
            Site::Embeddings => self.blocks_from(0, hidden, context, observer),
            Site::Block { layer, sublayer: Sublayer::Mlp, .. } => {
                self.blocks_from(layer + 1, hidden, context, observer)
            }
            Site::Block { layer, sublayer: Sublayer::Attn, .. } => {
                // Where only some positions of this block are wanted, the rest of it works on these alone.
                let hidden = match context.positions_of(layer) {
                    None => hidden,
                    Some(positions) => positions.select(hidden),
                };
                match self.after_attention(layer, hidden, observer) {
                    ControlFlow::Continue(hidden) => self.blocks_from(layer + 1, hidden, context, observer),
                    stopped => stopped,
                }
            }
        })
    }

    /// Walks from the input of block `layer` (or, after the last, of the head): what lies below is not computed again.
    ///
    /// # Shapes
    /// - hidden: `[batch, seq, hidden]`
    ///
    /// # Errors
    /// [`ModelError::InvalidInput`] for a layer or a shape that the model does not have.
    fn walk_from(
        &self,
        layer: usize,
        hidden: Tensor<3>,
        inputs: &ModelInputs,
        observer: &mut dyn Observer,
    ) -> Result<Walked, ModelError> {
        let ([batch, seq], n_layers) = (self.stream_dims(inputs)?, self.n_layers());
        if layer > n_layers {
            return Err(invalid("start layer", layer, format!("the model has {n_layers} blocks, counted from 0")));
        }
        self.check_hidden(&hidden, [batch, seq])?;
        match self.blocks_from(layer, hidden, &self.context(inputs)?, observer) {
            ControlFlow::Break(site) => Ok(Walked::Stopped(site)),
            ControlFlow::Continue(hidden) => Ok(Walked::Finished(self.apply_head(self.finish(hidden), inputs)?)),
        }
    }

    /// Checks the shape of a residual stream.
    ///
    /// # Errors
    /// [`ModelError::InvalidInput`].
    fn check_hidden(&self, hidden: &Tensor<3>, [batch, seq]: [usize; 2]) -> Result<(), ModelError> {
        let (found, expected) = (hidden.dims(), [batch, seq, self.hidden_size()]);
        match found == expected {
            true => Ok(()),
            false => {
                let expected = format!("the model and its inputs ask for {expected:?}");
                Err(invalid("hidden", format!("{found:?}"), expected))
            }
        }
    }

    /// Blocks `layer` to the last, without what follows them.
    ///
    /// # Shapes
    /// - hidden and output: as [`block`](Self::block)
    fn blocks_from(&self, layer: usize, hidden: Tensor<3>, context: &Context, observer: &mut dyn Observer) -> Walk {
        (layer..self.n_layers()).try_fold(hidden, |hidden, layer| self.block(layer, hidden, context, observer))
    }

    /// The plain forward pass.
    ///
    /// # Errors
    /// [`ModelError::InvalidInput`].
    fn forward(&self, inputs: &ModelInputs) -> Result<ModelOutput, ModelError> {
        self.walk(inputs, &mut Ignore)?.output()
    }
}

#[cfg(test)]
mod tests;
