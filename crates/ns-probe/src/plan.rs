//! Probe plans: which part of a forward pass depends on the masks, and which tokens it needs.
//!
//! A plan divides the forward pass to a probed site in two. Up to the *start* site no layer is masked; the vectors
//! there are the *frozen activations*, which are the same in every epoch and can be cached. From the start to the
//! probed site the masked model runs in every step.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Tensor;
use ns_circuit::CircuitModel;
use ns_models::{
    AttentionBias, Context, Flow, Hook, ModelError, ModelInputs, Observer, Positions, Site, Sublayer, Transformer,
    Vector, VectorCache, last_unaffected, layers_before, layers_fed_by,
};

use crate::batch::ProbeBatch;
use crate::error::ProbeError;
use crate::frozen_activations::{FrozenActivations, FrozenTokens};
use crate::output_masks::{ProductRecorder, known_products};
use crate::products::KnownProducts;

/// Which part of a forward pass depends on the masks: the site where the masked part starts, the probed site where it
/// ends, and the tokens it needs.
///
/// The vectors at the start are the [`FrozenActivations`]. The base model is frozen, so they are the same in every
/// epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbePlan {
    /// The probed site.
    site: Site,
    /// The last site that no mask changes; `None` if masks change the embeddings.
    start: Option<Site>,
    tokens: FrozenTokens,
    /// Layers with neuron masks (Hugging Face names) whose only input is the frozen activations.
    fed_layers: Arc<[String]>,
}

impl ProbePlan {
    /// A plan for forward passes through all blocks of a model with masks on `masked_layers` (Hugging Face names).
    ///
    /// Its frozen activations hold all tokens. [`Self::walk_blocks`] continues from them.
    pub fn all_blocks<M: Transformer>(model: &M, masked_layers: &[String]) -> Self {
        let starts = || model.sites().into_iter().filter(|site| model.is_start(*site));
        let last = starts().max().unwrap_or(Site::Embeddings);
        // The last sublayer is never frozen: it is where `walk_blocks` may compute some positions only.
        let before = starts().filter(|start| *start < last).max().unwrap_or(Site::Embeddings);
        Self { tokens: FrozenTokens::All, ..Self::new(model, masked_layers, before) }
    }

    /// A plan for a probe of `site` in a circuit. In addition to [`Self::new`], it lists the layers whose products can
    /// be cached.
    ///
    /// # Errors
    /// Returns [`ProbeError::UnreachableSite`] if a masked layer does not affect the vectors at `site`.
    pub(crate) fn for_circuit<M: Transformer + Module>(
        circuit: &CircuitModel<M>,
        site: Site,
    ) -> Result<Self, ProbeError> {
        let (base, layers) = (circuit.base(), circuit.layers());
        let names: Vec<String> = layers.iter().map(|layer| layer.name.clone()).collect();
        check_reach(base, &names, site)?;
        let plan = Self::new(base, &names, site);
        let neuron_masked = layers.into_iter().filter(|layer| layer.weight_mask_shape != layer.weight_shape);
        let neuron_masked: Vec<String> = neuron_masked.map(|layer| layer.name).collect();
        let fed_layers = plan.start.map_or_else(Vec::new, |start| layers_fed_by(base, &neuron_masked, start));
        Ok(Self { fed_layers: fed_layers.into(), ..plan })
    }

    /// A plan for a probe of `site` in a model with masks on `masked_layers` (Hugging Face names).
    pub fn new<M: Transformer>(model: &M, masked_layers: &[String], site: Site) -> Self {
        let start = last_unaffected(model, masked_layers, site);
        let selected = start.is_some_and(|start| start == site || is_within_block(start, site));
        let tokens = if selected { FrozenTokens::Selected } else { FrozenTokens::All };
        Self { site, start, tokens, fed_layers: Arc::default() }
    }

    /// The last site that no mask changes; `None` if masks change the embeddings.
    pub fn start(&self) -> Option<Site> {
        self.start
    }

    /// The tokens whose vectors the frozen activations hold.
    pub fn tokens(&self) -> FrozenTokens {
        self.tokens
    }

    /// Whether the frozen activations are worth caching. Embeddings are not: they cost as much to look up as to
    /// compute.
    pub fn is_worth_keeping(&self) -> bool {
        matches!(self.start, Some(Site::Block { .. }))
    }

    /// Whether a layer with a neuron mask has the frozen activations as its only input. The products of such layers are
    /// the same in every epoch, too.
    pub(crate) fn has_fed_layers(&self) -> bool {
        !self.fed_layers.is_empty()
    }

    /// The layers with neuron masks (Hugging Face names) whose only input is the frozen activations. An
    /// [`ActivationCache`](crate::ActivationCache) keeps their products, too.
    pub fn fed_layers(&self) -> Arc<[String]> {
        self.fed_layers.clone()
    }

    /// Computes the frozen activations of a batch.
    ///
    /// # Errors
    /// Returns [`ProbeError::Batch`] if the token mask does not fit the inputs, and [`ModelError::InvalidInput`] for
    /// inputs that do not fit the model.
    pub fn frozen_activations<M: Transformer>(
        &self,
        model: &M,
        batch: &ProbeBatch,
    ) -> Result<FrozenActivations, ProbeError> {
        self.frozen_from(model, batch, None)
    }

    /// Like [`Self::frozen_activations`], but continues from the vectors of all tokens at an earlier site. Starts from
    /// the embeddings if `below` is `None` or the forward pass cannot continue from its site.
    ///
    /// # Shapes
    /// - below: `[batch, seq, hidden]`
    pub(crate) fn frozen_from<M: Transformer>(
        &self,
        model: &M,
        batch: &ProbeBatch,
        below: Option<(Site, Tensor<3>)>,
    ) -> Result<FrozenActivations, ProbeError> {
        let Some(start) = self.start else { return Ok(FrozenActivations::none()) };
        let inputs = batch.inputs_for(model)?;
        let vectors = |positions: Positions| match below {
            Some((site, hidden)) if model.is_start(site) => {
                model.vectors_from(site, hidden, start, positions, model.context(&inputs)?)
            }
            _ => model.vectors_at(start, positions, &inputs),
        };
        let hidden = match self.tokens {
            FrozenTokens::All => {
                let [_, seq] = model.stream_dims(&inputs)?;
                vectors(Positions::Span(0..seq))?
            }
            FrozenTokens::Selected => batch.selected(vectors(batch.positions(&model.device()))?).unsqueeze_dim(1),
        };
        Ok(FrozenActivations::new(hidden))
    }

    /// Continues a forward pass from frozen activations to the end of the last block.
    ///
    /// The frozen activations must hold all tokens, as those of [`Self::all_blocks`] do. If masks change the
    /// embeddings, the forward pass starts from `inputs`.
    ///
    /// # Shapes
    /// - output: `[batch, seq, hidden]`, or `[batch, positions, hidden]` if `context` narrows the last block
    ///
    /// # Errors
    /// Returns [`ModelError::InvalidInput`] if the input that the model reads is missing, and the errors of
    /// [`Transformer::walk_blocks`].
    pub fn walk_blocks<M: Transformer>(
        &self,
        model: &M,
        frozen: &FrozenActivations,
        inputs: &ModelInputs,
        context: &Context,
        observer: &mut dyn Observer,
    ) -> Result<Flow, ProbeError> {
        let (start, hidden) = match self.start.zip(frozen.hidden.clone()) {
            Some(frozen) => frozen,
            None => (Site::Embeddings, model.embed(inputs)?),
        };
        Ok(model.walk_blocks(start, hidden, context, observer)?)
    }

    /// Computes the vectors of the selected tokens, or of the means of the batch, at the probed site,
    /// `[selected, hidden]`, from the frozen activations of the batch. Neuron masks scale outputs, see [`output_masks`](crate::output_masks).
    ///
    /// # Errors
    /// Returns [`ProbeError::Batch`] if the token mask does not fit the inputs, and [`ModelError::InvalidInput`] for
    /// inputs that do not fit the model.
    pub fn vectors<M: Transformer>(
        &self,
        model: &M,
        frozen: &FrozenActivations,
        batch: &ProbeBatch,
    ) -> Result<Tensor<2>, ProbeError> {
        self.continue_to_site(model, frozen, batch, known_products(frozen.products.clone()))
    }

    /// Computes the products of the [fed layers](Self::fed_layers) for all tokens of the frozen activations.
    pub(crate) fn products<M: Transformer>(
        &self,
        model: &M,
        frozen: &FrozenActivations,
        batch: &ProbeBatch,
    ) -> Result<KnownProducts, ProbeError> {
        let tokens = frozen.hidden.as_ref().map_or(0, |hidden| hidden.dims()[..2].iter().product());
        let recorder = Arc::new(ProductRecorder::new(self.fed_layers(), tokens));
        self.continue_to_site(model, frozen, batch, Some(recorder.clone()))?;
        Ok(recorder.recorded())
    }

    /// Continues from the frozen activations to the selected vectors at the probed site, `[selected, hidden]`.
    fn continue_to_site<M: Transformer>(
        &self,
        model: &M,
        frozen: &FrozenActivations,
        batch: &ProbeBatch,
        hook: Hook,
    ) -> Result<Tensor<2>, ProbeError> {
        let (inputs, device) = (batch.inputs_for(model)?, model.device());
        let (start, hidden) = match (self.start.zip(frozen.hidden.clone()), self.tokens) {
            (Some((start, hidden)), FrozenTokens::Selected) => {
                let vectors = self.continue_selected(model, start, hidden, hook)?.squeeze_dim(1);
                return Ok(batch.averaged(vectors));
            }
            (Some(frozen), FrozenTokens::All) => frozen,
            (None, _) => {
                model.check_inputs(&inputs)?;
                (Site::Embeddings, model.embed(&inputs)?)
            }
        };
        let context = model.context(&inputs)?.with_hook(hook);
        let vectors = model.vectors_from(start, hidden, self.site, batch.positions(&device), context)?;
        Ok(batch.averaged(batch.selected(vectors)))
    }

    /// Continues from the selected tokens only; no attention separates the start from the probed site.
    ///
    /// # Shapes
    /// - hidden and output: `[selected, 1, hidden]`
    fn continue_selected<M: Transformer>(
        &self,
        model: &M,
        start: Site,
        hidden: Tensor<3>,
        hook: Hook,
    ) -> Result<Tensor<3>, ProbeError> {
        let (Site::Block { layer, .. }, false) = (self.site, start == self.site) else { return Ok(hidden) };
        let mut cache = VectorCache::new([self.site]);
        let [selected, one, _] = hidden.dims();
        let context = Context::new([selected, one], AttentionBias::default()).with_hook(hook);
        // The cache stops the forward pass at the probed site, so the result of the block is not needed.
        let _stopped = model.block(layer).after_attention(layer, hidden, &context, &mut cache);
        Ok(cache.get(self.site).ok_or(ModelError::NotReached { asked: self.site, start })?)
    }
}

/// Checks that all masked layers (Hugging Face names) affect the vectors at `site`.
fn check_reach<M: Transformer>(model: &M, masked: &[String], site: Site) -> Result<(), ProbeError> {
    let reaching = layers_before(model, site);
    let layers: Vec<String> = masked.iter().filter(|layer| !reaching.contains(layer)).cloned().collect();
    if layers.is_empty() { Ok(()) } else { Err(ProbeError::UnreachableSite { site, layers, reaching }) }
}

/// Whether `start` is the residual stream after attention and `site` belongs to the MLP of the same block. Then no
/// attention separates them.
fn is_within_block(start: Site, site: Site) -> bool {
    match (start, site) {
        (
            Site::Block { layer, sublayer: Sublayer::Attn, vector: Vector::Stream },
            Site::Block { layer: probed, sublayer: Sublayer::Mlp, .. },
        ) => layer == probed,
        _ => false,
    }
}
