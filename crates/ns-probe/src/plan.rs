//! How a probe reads its vectors: from where on its masks change them, and what that takes.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Tensor;
use ns_circuit::CircuitModel;
use ns_models::{
    Context, ModelError, ModelInputs, Observer, Positions, Site, Sublayer, Transformer, Vector, VectorCache, Walk,
    last_unaffected, layers_fed_by,
};

use crate::batch::ProbeBatch;
use crate::error::ProbeError;
use crate::frozen_activations::{FrozenActivations, FrozenTokens};
use crate::output_masks::{record_products, with_known_products};
use crate::products::KnownProducts;

/// The way from the frozen part of a model to the probed site.
///
/// What lies below the first masked layer of a frozen model is the same in every epoch: the *frozen activations*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbePlan {
    /// The probed site.
    site: Site,
    /// The last site that no mask changes; `None` if masks change the embeddings.
    start: Option<Site>,
    tokens: FrozenTokens,
    /// Layers with neuron masks (HF names) that read the frozen activations and nothing else.
    fed: Arc<[String]>,
}

impl ProbePlan {
    /// The way through all blocks of a model with masks on these layers, for a reader of all tokens.
    pub fn all_blocks<M: Transformer>(model: &M, masked_layers: &[String]) -> Self {
        let starts = || model.sites().into_iter().filter(|site| model.is_start(*site));
        let last = starts().max().unwrap_or(Site::Embeddings);
        // The last half block is walked whatever is masked: there positions are chosen.
        let before = starts().filter(|start| *start < last).max().unwrap_or(Site::Embeddings);
        Self { tokens: FrozenTokens::All, ..Self::new(model, masked_layers, before) }
    }

    /// The way to `site` in a circuit of the model `base`.
    pub(crate) fn for_circuit<M: Transformer + Module>(circuit: &CircuitModel<M>, base: &M, site: Site) -> Self {
        let layers = circuit.layers();
        let names: Vec<String> = layers.iter().map(|layer| layer.name.clone()).collect();
        let plan = Self::new(base, &names, site);
        let neurons = layers.into_iter().filter(|layer| layer.weight_mask_shape != layer.weight_shape);
        let neurons: Vec<String> = neurons.map(|layer| layer.name).collect();
        let fed = plan.start.map_or_else(Vec::new, |start| layers_fed_by(base, &neurons, start));
        Self { fed: fed.into(), ..plan }
    }

    /// The way to `site` in a model with masks on these layers (HF names).
    pub fn new<M: Transformer>(model: &M, masked_layers: &[String], site: Site) -> Self {
        let start = last_unaffected(model, masked_layers, site);
        let selected = start.is_some_and(|start| start == site || is_within_block(start, site));
        let tokens = if selected { FrozenTokens::Selected } else { FrozenTokens::All };
        Self { site, start, tokens, fed: Arc::default() }
    }

    /// The last site that no mask changes; `None` if masks change the embeddings.
    pub fn start(&self) -> Option<Site> {
        self.start
    }

    /// Which tokens the frozen activations holds.
    pub fn tokens(&self) -> FrozenTokens {
        self.tokens
    }

    /// Whether the frozen activations costs more than looking it up: embeddings do not.
    pub fn is_worth_keeping(&self) -> bool {
        matches!(self.start, Some(Site::Block { .. }))
    }

    /// Whether layers with neuron masks read the frozen activations, so that what they multiply is the same in every epoch, too.
    pub(crate) fn feeds_masks(&self) -> bool {
        !self.fed.is_empty()
    }

    /// Those layers (HF names).
    pub(crate) fn fed(&self) -> Arc<[String]> {
        self.fed.clone()
    }

    /// Computes the frozen activations of a batch.
    ///
    /// # Errors
    /// Those of the batch and of the model's inputs.
    pub fn frozen_activations<M: Transformer>(
        &self,
        model: &M,
        batch: &ProbeBatch,
    ) -> Result<FrozenActivations, ProbeError> {
        self.frozen_from(model, batch, None)
    }

    /// The same from the vectors of all tokens at a site below, or from the embeddings.
    pub(crate) fn frozen_from<M: Transformer>(
        &self,
        model: &M,
        batch: &ProbeBatch,
        below: Option<(Site, Tensor<3>)>,
    ) -> Result<FrozenActivations, ProbeError> {
        let Some(start) = self.start else { return Ok(FrozenActivations::none()) };
        let inputs = batch.inputs_for(model)?;
        let vectors = |positions: Positions| match below {
            Some((site, hidden)) if model.is_start(site) => model.vectors_from(site, hidden, start, positions, &inputs),
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

    /// Goes on from a frozen activations of [all tokens](Self::all_blocks) to the last block.
    ///
    /// # Shapes
    /// - output: as [`Transformer::block`]
    ///
    /// # Errors
    /// Those of the model's inputs.
    pub fn walk_on<M: Transformer>(
        &self,
        model: &M,
        frozen: &FrozenActivations,
        inputs: &ModelInputs,
        context: &Context,
        observer: &mut dyn Observer,
    ) -> Result<Walk, ProbeError> {
        let (start, hidden) = match self.start.zip(frozen.hidden.clone()) {
            Some(known) => known,
            None => (Site::Embeddings, model.embed(inputs)?),
        };
        Ok(model.walk_on(start, hidden, context, observer)?)
    }

    /// The selected vectors at the probed site, `[selected, hidden]`. Neuron masks scale outputs.
    ///
    /// # Errors
    /// Those of the batch and of the model's inputs.
    pub fn vectors<M: Transformer>(
        &self,
        model: &M,
        frozen: &FrozenActivations,
        batch: &ProbeBatch,
    ) -> Result<Tensor<2>, ProbeError> {
        with_known_products(frozen.products.clone(), || self.walk(model, frozen, batch))
    }

    /// What the layers that read the frozen activations multiply, at all tokens of it.
    pub(crate) fn products<M: Transformer>(
        &self,
        model: &M,
        frozen: &FrozenActivations,
        batch: &ProbeBatch,
    ) -> Result<KnownProducts, ProbeError> {
        let tokens = frozen.hidden.as_ref().map_or(0, |hidden| hidden.dims()[..2].iter().product());
        record_products(self.fed.clone(), tokens, || self.walk(model, frozen, batch).map(drop))
    }

    /// Goes on from the frozen activations to the probed site, `[selected, hidden]`.
    fn walk<M: Transformer>(
        &self,
        model: &M,
        frozen: &FrozenActivations,
        batch: &ProbeBatch,
    ) -> Result<Tensor<2>, ProbeError> {
        let inputs = batch.inputs_for(model)?;
        let positions = || batch.positions(&model.device());
        let vectors = match (self.start.zip(frozen.hidden.clone()), self.tokens) {
            (None, _) => model.vectors_at(self.site, positions(), &inputs)?,
            (Some((start, hidden)), FrozenTokens::All) => {
                model.vectors_from(start, hidden, self.site, positions(), &inputs)?
            }
            (Some((start, hidden)), FrozenTokens::Selected) => {
                return Ok(self.walk_selected(model, start, hidden)?.squeeze_dim(1));
            }
        };
        Ok(batch.selected(vectors))
    }

    /// Walks on with the selected tokens alone.
    ///
    /// # Shapes
    /// - hidden and output: `[selected, 1, hidden]`
    fn walk_selected<M: Transformer>(
        &self,
        model: &M,
        start: Site,
        hidden: Tensor<3>,
    ) -> Result<Tensor<3>, ProbeError> {
        let (Site::Block { layer, .. }, false) = (self.site, start == self.site) else { return Ok(hidden) };
        let mut cache = VectorCache::new([self.site]);
        // The cache stops the walk at the site, whatever comes of it.
        let _stopped = model.after_attention(layer, hidden, &mut cache);
        Ok(cache.get(self.site).ok_or_else(|| ModelError::NoSuchSite {
            asked: self.site.to_string(),
            reason: format!("the walk from `{start}` did not pass it"),
        })?)
    }
}

/// Whether `start` is the stream between the halves of the block of `site`, so that no attention lies between.
fn is_within_block(start: Site, site: Site) -> bool {
    match (start, site) {
        (
            Site::Block { layer, sublayer: Sublayer::Attn, vector: Vector::Stream },
            Site::Block { layer: probed, sublayer: Sublayer::Mlp, .. },
        ) => layer == probed,
        _ => false,
    }
}
