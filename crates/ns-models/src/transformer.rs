//! The [`Transformer`] trait: a forward pass in steps along the residual stream.

use std::ops::ControlFlow;

use burn::tensor::Tensor;

use crate::block::Block;
use crate::context::Context;
use crate::error::ModelError;
use crate::inputs::{ModelInputs, ModelOutput, invalid};
use crate::linear_hook::Hook;
use crate::model::Model;
use crate::positions::Positions;
use crate::residual::{Ignore, Observer, VectorCache};
use crate::site::{Site, Sublayer, Vector};
use crate::walk::{Flow, WalkOutcome, WalkRange, check_site};

/// The residual stream of a transformer, as data.
#[derive(Clone, Copy, Debug)]
pub struct ResidualStream {
    /// Number of blocks.
    pub n_layers: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Whether the last entry of HF's `output_hidden_states` includes the final LayerNorm.
    pub is_last_normed: bool,
    /// `model_type` of the family in NeuroSurgeon's `ResidualUpdateModelConfig`, e.g. `gpt` for GPT-2.
    pub family: &'static str,
}

impl ResidualStream {
    /// Creates a description without a normalised last hidden state.
    pub(crate) fn new(family: &'static str, n_layers: usize, hidden_size: usize) -> Self {
        Self { n_layers, hidden_size, is_last_normed: false, family }
    }
}

/// A transformer: `embed → block 0 … block n−1 → head`.
///
/// A model family implements the steps. The provided methods combine them into forward passes:
///
/// | method | starts from | ends after | visits | result |
/// |---|---|---|---|---|
/// | [`forward`](Self::forward), [`forward_with`](Self::forward_with) | the inputs | the head | – | [`ModelOutput`] |
/// | [`walk`](Self::walk), [`walk_with`](Self::walk_with) | the inputs | the head | all sites | [`WalkOutcome`] |
/// | [`walk_from_block`](Self::walk_from_block) | the input of a block | the head | the sites of this and later blocks | [`WalkOutcome`] |
/// | [`walk_blocks`](Self::walk_blocks) | the hidden state at a site | the last block | the sites after the start | [`Flow`] |
/// | [`vectors_at`](Self::vectors_at) | the inputs | a site | – | vectors at the site |
/// | [`vectors_from`](Self::vectors_from) | the hidden state at a site | a later site | – | vectors at the site |
///
/// The methods whose names start with `walk` show the visited sites to an [`Observer`], which can record values, replace
/// them, or stop early. [`is_start`](Self::is_start) says which sites `walk_blocks` and `vectors_from` can start from.
pub trait Transformer: Model {
    /// Returns the number of blocks and other properties of the residual stream.
    fn residual_stream(&self) -> ResidualStream;

    /// Returns the size `[batch, seq]` of the residual stream for these inputs.
    ///
    /// # Errors
    /// Returns [`ModelError::InvalidInput`] if the token ids or images are missing.
    fn stream_dims(&self, inputs: &ModelInputs) -> Result<[usize; 2], ModelError> {
        Ok(inputs.tokens()?.dims())
    }

    /// Computes the inputs that all blocks share for this batch.
    ///
    /// # Errors
    /// Returns [`ModelError::InvalidInput`] if the token ids or images are missing.
    fn context(&self, inputs: &ModelInputs) -> Result<Context, ModelError>;

    /// Computes the embeddings.
    ///
    /// # Shapes
    /// - output: `[batch, seq, hidden]`
    ///
    /// # Errors
    /// Returns [`ModelError::InvalidInput`] if the token ids or images are missing.
    fn embed(&self, inputs: &ModelInputs) -> Result<Tensor<3>, ModelError>;

    /// Returns block `layer`.
    ///
    /// # Panics
    /// Panics if `layer` is not below the number of blocks.
    fn block(&self, layer: usize) -> &dyn Block;

    /// Applies the layers of the base model that follow the last block, such as the final LayerNorm.
    ///
    /// # Shapes
    /// - hidden and output: `[batch, positions, hidden]`
    fn finish(&self, hidden: Tensor<3>) -> Tensor<3> {
        hidden
    }

    /// Computes the logits of each position, or returns `None` if the head is not a language model or token
    /// classification head.
    ///
    /// # Shapes
    /// - last_hidden_state: `[batch, positions, hidden]`
    /// - output: `[batch, positions, classes]`
    fn token_logits(&self, _last_hidden_state: Tensor<3>) -> Option<Tensor<3>> {
        None
    }

    /// Applies the head to a whole batch.
    ///
    /// # Shapes
    /// - last_hidden_state: `[batch, seq, hidden]`
    ///
    /// # Errors
    /// Returns [`ModelError::InvalidInput`] if a sequence classification head cannot determine the last token of each
    /// sequence.
    fn apply_head(&self, last_hidden_state: Tensor<3>, inputs: &ModelInputs) -> Result<ModelOutput, ModelError>;

    /// Returns the number of blocks.
    fn n_layers(&self) -> usize {
        self.residual_stream().n_layers
    }

    /// Returns the width of the residual stream.
    fn hidden_size(&self) -> usize {
        self.residual_stream().hidden_size
    }

    /// Returns the sites of the model, in the order of a forward pass.
    fn sites(&self) -> Vec<Site> {
        let all = [Vector::Update, Vector::Stream];
        let sites_of_block = |layer| {
            let attn = if self.block(layer).is_parallel() { &all[..1] } else { &all };
            let attn = attn.iter().map(move |vector| Site::new(Sublayer::Attn, *vector, layer));
            attn.chain(all.map(|vector| Site::new(Sublayer::Mlp, vector, layer)))
        };
        std::iter::once(Site::Embeddings).chain((0..self.n_layers()).flat_map(sites_of_block)).collect()
    }

    /// Checks that the model has a site.
    ///
    /// # Errors
    /// Returns [`ModelError::NoSuchSite`] if it does not.
    fn check_site(&self, site: Site) -> Result<(), ModelError> {
        check_site(&self.sites(), site)
    }

    /// Runs a forward pass with an observer.
    ///
    /// # Errors
    /// Returns [`ModelError::InvalidInput`] for invalid inputs, and the errors of [`Observer::check`], for example
    /// [`ModelError::NoSuchSite`] for a site that the model does not have.
    fn walk(&self, inputs: &ModelInputs, observer: &mut dyn Observer) -> Result<WalkOutcome, ModelError> {
        self.walk_with(inputs, None, observer)
    }

    /// Computes the vectors at a site, at the given positions only.
    ///
    /// The forward pass stops at the site. The queries of its block and everything after them are computed at these
    /// positions only.
    ///
    /// # Shapes
    /// - output: `[batch, positions, hidden]`
    ///
    /// # Errors
    /// Returns [`ModelError::NoSuchSite`] if the model does not have the site, and [`ModelError::InvalidInput`] for
    /// invalid inputs or positions.
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
        self.vectors_from(Site::Embeddings, self.embed(inputs)?, site, positions, self.context(inputs)?)
    }

    /// Like [`vectors_at`](Self::vectors_at), but continues from the hidden state at an earlier site instead of
    /// computing the embeddings. `context` is that of the inputs; its `narrowed` is not read.
    ///
    /// # Shapes
    /// - hidden: `[batch, seq, hidden]`, the value at `start`
    /// - output: `[batch, positions, hidden]`
    ///
    /// # Errors
    /// Returns [`ModelError::NoSuchSite`] if the model does not have one of the sites, [`ModelError::NotAStart`] if a
    /// forward pass cannot continue from `start` (see [`is_start`](Self::is_start)), [`ModelError::NotReached`] if
    /// `site` is before `start`, and [`ModelError::InvalidInput`] for an invalid shape of `hidden`, or invalid
    /// positions.
    fn vectors_from(
        &self,
        start: Site,
        hidden: Tensor<3>,
        site: Site,
        positions: impl Into<Positions>,
        context: Context,
    ) -> Result<Tensor<3>, ModelError>
    where
        Self: Sized,
    {
        self.check_site(site)?;
        let (dims, positions) = (context.dims, positions.into());
        if !positions.fit(dims) {
            let [batch, seq] = dims;
            let expected = format!(
                "the batch has {batch} sequences of {seq} tokens, counted from 0, and at least one position is required"
            );
            return Err(invalid("positions", positions, expected));
        }
        check_hidden(self, &hidden, dims)?;
        if start == site {
            return Ok(positions.select(hidden));
        }
        let unreachable = || ModelError::NotReached { asked: site, start };
        let Site::Block { layer, .. } = site else { return Err(unreachable()) };
        let mut cache = VectorCache::new([site]);
        let narrowed = (!positions.are_all(dims[1])).then_some((layer, positions));
        let context = Context { narrowed, ..context };
        // The cache contains the result; the cache itself stops the forward pass at the site.
        let _stopped = self.walk_blocks(start, hidden, &context, &mut cache)?;
        cache.get(site).ok_or_else(unreachable)
    }

    /// Returns whether a forward pass can continue from the hidden state at `site`. This holds for the embeddings and
    /// for all streams of the model, but not for updates.
    fn is_start(&self, site: Site) -> bool {
        !is_update(site) && self.sites().contains(&site)
    }

    /// Continues a forward pass from the hidden state at `start` through the last block, without the layers that follow
    /// it and without the head.
    ///
    /// # Shapes
    /// - hidden: `[batch, seq, hidden]`
    /// - output: `[batch, seq, hidden]`, or `[batch, positions, hidden]` if `context` restricts the last block to some
    ///   positions
    ///
    /// # Errors
    /// Returns [`ModelError::NoSuchSite`] or [`ModelError::NotAStart`] if a forward pass cannot continue from `start`
    /// (see [`is_start`](Self::is_start)), [`ModelError::InvalidInput`] if `hidden` has the wrong shape, and the errors
    /// of [`Observer::check`], for example [`ModelError::NotReached`] for a site that is not after `start`.
    fn walk_blocks(
        &self,
        start: Site,
        hidden: Tensor<3>,
        context: &Context,
        observer: &mut dyn Observer,
    ) -> Result<Flow, ModelError> {
        self.check_site(start)?;
        if is_update(start) {
            return Err(ModelError::NotAStart { asked: start });
        }
        check_hidden(self, &hidden, context.dims)?;
        observer.check(&range_after(self, Some(start), context))?;
        Ok(match start {
            Site::Embeddings => run_blocks(self, 0, hidden, context, observer),
            Site::Block { layer, sublayer: Sublayer::Mlp, .. } => {
                run_blocks(self, layer + 1, hidden, context, observer)
            }
            Site::Block { layer, sublayer: Sublayer::Attn, .. } => {
                // If this block is restricted to some positions, its MLP is computed at these positions only.
                let hidden = context.select(layer, hidden);
                match self.block(layer).after_attention(layer, hidden, context, observer) {
                    ControlFlow::Continue(hidden) => run_blocks(self, layer + 1, hidden, context, observer),
                    stopped => stopped,
                }
            }
        })
    }

    /// Continues a forward pass from the input of block `layer` to the head. If `layer` is the number of blocks, only
    /// [`finish`](Self::finish) and the head are applied.
    ///
    /// # Shapes
    /// - hidden: `[batch, seq, hidden]`
    ///
    /// # Errors
    /// Returns [`ModelError::InvalidInput`] if `layer` is greater than the number of blocks, or if `hidden` has the
    /// wrong shape, and the errors of [`Observer::check`], for example [`ModelError::NotReached`] for a site before
    /// block `layer`.
    fn walk_from_block(
        &self,
        layer: usize,
        hidden: Tensor<3>,
        inputs: &ModelInputs,
        observer: &mut dyn Observer,
    ) -> Result<WalkOutcome, ModelError> {
        let (context, n_layers) = (self.context(inputs)?, self.n_layers());
        if layer > n_layers {
            return Err(invalid("start layer", layer, format!("it must be at most the number of blocks, {n_layers}")));
        }
        check_hidden(self, &hidden, context.dims)?;
        let before = layer.checked_sub(1).map(|before| Site::new(Sublayer::Mlp, Vector::Stream, before));
        observer.check(&range_after(self, Some(before.unwrap_or(Site::Embeddings)), &context))?;
        run_to_the_head(self, layer, hidden, inputs, &context, observer)
    }

    /// Runs a forward pass without an observer.
    ///
    /// # Errors
    /// Returns [`ModelError::InvalidInput`] for invalid inputs.
    fn forward(&self, inputs: &ModelInputs) -> Result<ModelOutput, ModelError> {
        self.forward_with(inputs, None)
    }

    /// Like [`forward`](Self::forward), but the linear layers in the blocks call `hook`.
    ///
    /// # Errors
    /// Returns [`ModelError::InvalidInput`] for invalid inputs.
    fn forward_with(&self, inputs: &ModelInputs, hook: Hook) -> Result<ModelOutput, ModelError> {
        self.walk_with(inputs, hook, &mut Ignore)?.output()
    }

    /// Like [`walk`](Self::walk), but the linear layers in the blocks call `hook`.
    ///
    /// # Errors
    /// Returns the errors of [`walk`](Self::walk).
    fn walk_with(
        &self,
        inputs: &ModelInputs,
        hook: Hook,
        observer: &mut dyn Observer,
    ) -> Result<WalkOutcome, ModelError> {
        self.check_inputs(inputs)?;
        let context = self.context(inputs)?.with_hook(hook);
        observer.check(&range_after(self, None, &context))?;
        match observer.visit(Site::Embeddings, self.embed(inputs)?) {
            ControlFlow::Break(site) => Ok(WalkOutcome::Stopped(site)),
            ControlFlow::Continue(hidden) => run_to_the_head(self, 0, hidden, inputs, &context, observer),
        }
    }
}

fn is_update(site: Site) -> bool {
    matches!(site, Site::Block { vector: Vector::Update, .. })
}

/// The sites that a forward pass visits after `start`, or all sites if it starts from the inputs.
fn range_after<T: Transformer>(model: &T, start: Option<Site>, context: &Context) -> WalkRange {
    WalkRange::new(model.sites(), start, context, model.hidden_size())
}

/// Checks that a hidden state has the shape `[batch, seq, hidden]`.
fn check_hidden<T: Transformer>(model: &T, hidden: &Tensor<3>, [batch, seq]: [usize; 2]) -> Result<(), ModelError> {
    let (found, expected) = (hidden.dims(), [batch, seq, model.hidden_size()]);
    match found == expected {
        true => Ok(()),
        false => {
            let expected = format!("the model and its inputs require the shape {expected:?}");
            Err(invalid("hidden", format!("{found:?}"), expected))
        }
    }
}

/// Runs block `layer` and all blocks after it, without the layers that follow the last block.
fn run_blocks<T: Transformer>(
    model: &T,
    layer: usize,
    hidden: Tensor<3>,
    context: &Context,
    observer: &mut dyn Observer,
) -> Flow {
    (layer..model.n_layers())
        .try_fold(hidden, |hidden, layer| model.block(layer).forward(layer, hidden, context, observer))
}

/// Runs block `layer`, all blocks after it, [`Transformer::finish`] and the head.
fn run_to_the_head<T: Transformer>(
    model: &T,
    layer: usize,
    hidden: Tensor<3>,
    inputs: &ModelInputs,
    context: &Context,
    observer: &mut dyn Observer,
) -> Result<WalkOutcome, ModelError> {
    match run_blocks(model, layer, hidden, context, observer) {
        ControlFlow::Break(site) => Ok(WalkOutcome::Stopped(site)),
        ControlFlow::Continue(hidden) => Ok(WalkOutcome::Finished(model.apply_head(model.finish(hidden), inputs)?)),
    }
}

#[cfg(test)]
mod tests;
