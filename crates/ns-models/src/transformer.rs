//! A forward pass as a walk along the residual stream.

use std::ops::{ControlFlow, Range};

use burn::tensor::Tensor;

use crate::{
    AttentionBias, Ignore, Logits, Model, ModelError, ModelInputs, ModelOutput, Observer, Rotary, Site, VectorCache,
    Walk, inputs::invalid,
};

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
    pub narrowed: Option<(usize, Range<usize>)>,
}

impl Context {
    /// What most families need.
    pub fn new(attention_bias: AttentionBias) -> Self {
        Self { attention_bias, local_attention_bias: None, rotary: None, narrowed: None }
    }

    /// The same, where only these positions of block `layer` are wanted.
    pub fn only(self, layer: usize, positions: Range<usize>) -> Self {
        Self { narrowed: Some((layer, positions)), ..self }
    }

    /// Positions that block `layer` computes; `None` means all.
    pub fn positions_of(&self, layer: usize) -> Option<&Range<usize>> {
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
    fn head(&self, last_hidden_state: Tensor<3>, _inputs: &ModelInputs) -> Result<ModelOutput, ModelError> {
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
    fn vectors_at(&self, site: Site, positions: Range<usize>, inputs: &ModelInputs) -> Result<Tensor<3>, ModelError> {
        self.check_site(site)?;
        self.check_inputs(inputs)?;
        let [_, seq] = self.stream_dims(inputs)?;
        if positions.is_empty() || positions.end > seq {
            let expected = format!("the sequences have {seq} tokens, counted from 0");
            return Err(invalid("positions", format!("{positions:?}"), expected));
        }
        let hidden = self.embed(inputs)?;
        let Site::Block { layer, .. } = site else {
            return Ok(hidden.slice_dim(1, positions));
        };
        let context = self.context(inputs)?.only(layer, positions);
        let mut cache = VectorCache::new([site]);
        // The cache stops the walk at the site, whatever comes of it.
        let _stopped = self.blocks_from(0, hidden, &context, &mut cache);
        cache.get(site).ok_or_else(|| ModelError::NoSuchSite {
            asked: site.to_string(),
            reason: "the walk did not pass it".into(),
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
        let expected = [batch, seq, self.hidden_size()];
        if hidden.dims() != expected {
            let found = format!("{:?}", hidden.dims());
            return Err(invalid("hidden", found, format!("the model and its inputs ask for {expected:?}")));
        }
        match self.blocks_from(layer, hidden, &self.context(inputs)?, observer) {
            ControlFlow::Break(site) => Ok(Walked::Stopped(site)),
            ControlFlow::Continue(hidden) => Ok(Walked::Finished(self.head(self.finish(hidden), inputs)?)),
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
