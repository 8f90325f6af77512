//! A batch of examples and their partners: their runs, and runs in which one activation is patched.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Tensor;
use ns_models::{
    AnyTransformer, Context, Flow, Ignore, Model, Patch, Site, Sublayer, Transformer, Vector, VectorCache,
};
use ns_probe::{ActivationSite, HeadInput, ProbeBatch};

use super::heads::{PatchHead, RecordHeads};
use crate::data::{Dataset, Examples};
use crate::error::TrainError;
use crate::evaluate::candidates::{AnswerBatch, Answers};
use crate::evaluate::scores::{answer_hidden, answer_hidden_after, answer_hidden_of_whole_blocks, scores_of_hidden};

/// Examples of one length with partners of the same length: nothing is padded.
pub(super) struct Pairs<'a> {
    model: &'a AnyTransformer,
    pub(super) clean: ProbeBatch,
    pub(super) corrupted: ProbeBatch,
    pub(super) answers: AnswerBatch,
}

impl<'a> Pairs<'a> {
    /// The pairs of some rows. The answers, and the positions where they are read, are those of the examples.
    ///
    /// # Errors
    /// Returns the errors of the batches, and [`TrainError::Setting`] without partners.
    pub(super) fn new(model: &'a AnyTransformer, answers: &Answers, rows: &[usize]) -> Result<Self, TrainError> {
        let clean = answers.examples.batch(rows, &model.device())?;
        let inputs = partners(&answers.examples, rows, model)?;
        let corrupted = ProbeBatch { inputs, ..clean.clone() };
        model.check_inputs(&clean.inputs)?;
        model.check_inputs(&corrupted.inputs)?;
        Ok(Self { model, clean, corrupted, answers: answers.batch(rows) })
    }

    /// The logit differences of the clean and the corrupted runs, one for each answer.
    ///
    /// # Errors
    /// Returns the errors of the forward passes and of [`Self::margins`].
    pub(super) fn unpatched(&self) -> Result<[Vec<f64>; 2], TrainError> {
        let margins = |batch: &ProbeBatch| self.margins(answer_hidden(self.model, batch, None)?);
        Ok([margins(&self.clean)?, margins(&self.corrupted)?])
    }

    /// Runs the model on the examples and on their partners, and records the activations that are patched.
    ///
    /// # Errors
    /// Returns the errors of the forward passes.
    pub(super) fn record(
        &'a self,
        sites: &[ActivationSite],
        heads: &'a BTreeMap<usize, HeadInput>,
    ) -> Result<RecordedPairs<'a>, TrainError> {
        let (clean, _) = Recorded::of(self.model, &self.clean, heads)?;
        let (corrupted, hidden) = Recorded::of(self.model, &self.corrupted, heads)?;
        let changed = sites.iter().map(|site| (site.clone(), changed(site, heads, &clean, &corrupted))).collect();
        let unpatched = self.margins(hidden)?;
        Ok(RecordedPairs { pairs: self, heads, clean, corrupted, changed, unpatched })
    }

    /// The logit difference of each answer, from what the head reads.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] if an answer is read at a mean of tokens.
    fn margins(&self, hidden: Tensor<2>) -> Result<Vec<f64>, TrainError> {
        let scores = scores_of_hidden(self.model, hidden)?;
        let ([read, _], labels) = (scores.dims(), self.clean.labels.len());
        let expected = "a model answers at tokens, and not at their mean; read one of them";
        TrainError::check(read == labels, "behaviour.at", "a mean of tokens", expected)?;
        Ok(self.answers.compare(scores).margins())
    }
}

fn partners(examples: &Examples, rows: &[usize], model: &AnyTransformer) -> Result<ns_models::ModelInputs, TrainError> {
    let partners = examples.partner_batch(rows, &model.device())?;
    partners.ok_or_else(|| TrainError::setting("data.partner", "missing", "the corrupted run is that of the partner"))
}

/// The activations of a run.
struct Recorded {
    vectors: BTreeMap<ActivationSite, Tensor<3>>,
}

impl Recorded {
    /// Runs a model. Also returns what its head reads.
    fn of(
        model: &AnyTransformer,
        batch: &ProbeBatch,
        heads: &BTreeMap<usize, HeadInput>,
    ) -> Result<(Self, Tensor<2>), TrainError> {
        let sites: Vec<Site> = model.sites().into_iter().filter(|site| *site != Site::Embeddings).collect();
        let mut cache = VectorCache::new(sites.iter().copied()).to_the_end();
        let (embedded, record) = (model.embed(&batch.inputs)?, Arc::new(RecordHeads::new(heads)));
        let hidden = answer_hidden_of_whole_blocks(model, batch, |context| {
            let context = context.clone().with_hook(Some(record.clone()));
            Ok(model.walk_blocks(Site::Embeddings, embedded.clone(), &context, &mut cache)?)
        })?;
        let streams = sites.into_iter().filter_map(|site| Some((site.into(), cache.get(site)?)));
        let heads = record.values().into_iter().map(|(layer, value)| (ActivationSite::Heads(layer), value));
        let first = (Site::Embeddings.into(), embedded);
        Ok((Self { vectors: std::iter::once(first).chain(streams).chain(heads).collect() }, hidden))
    }

    fn get(&self, site: &ActivationSite) -> Result<&Tensor<3>, TrainError> {
        let missing = || TrainError::setting("--sites", format!("`{site}`"), "the model does not have it");
        self.vectors.get(site).ok_or_else(missing)
    }
}

/// For each cell of a site (a position or a head) whether the values of the two runs differ.
fn changed(
    site: &ActivationSite,
    heads: &BTreeMap<usize, HeadInput>,
    clean: &Recorded,
    corrupted: &Recorded,
) -> Vec<bool> {
    let Some((clean, corrupted)) = clean.vectors.get(site).zip(corrupted.vectors.get(site)) else { return Vec::new() };
    let differs = clean.clone().not_equal(corrupted.clone()).any_dim(0);
    let columns_of = |dim| differs.clone().any_dim(dim).into_data().iter::<bool>().collect::<Vec<_>>();
    match site {
        ActivationSite::Heads(layer) => {
            let (columns, heads) = (columns_of(1), heads.get(layer).map_or(&[][..], |input| &input.heads));
            heads.iter().map(|head| columns.get(head.clone()).is_some_and(|head| head.contains(&true))).collect()
        }
        _ => columns_of(2),
    }
}

/// Pairs whose activations are recorded.
pub(super) struct RecordedPairs<'a> {
    pairs: &'a Pairs<'a>,
    heads: &'a BTreeMap<usize, HeadInput>,
    clean: Recorded,
    corrupted: Recorded,
    changed: BTreeMap<ActivationSite, Vec<bool>>,
    /// Logit differences of the corrupted runs.
    unpatched: Vec<f64>,
}

impl RecordedPairs<'_> {
    /// The logit differences of the corrupted runs with the clean value of a cell of a site: at a position, or of a head at
    /// all positions.
    ///
    /// A cell whose values are those of the corrupted run already needs no forward pass. Others continue from the values
    /// of the corrupted run before the site.
    ///
    /// # Errors
    /// Returns the errors of the forward pass.
    pub(super) fn patched(&self, site: &ActivationSite, cell: usize) -> Result<Vec<f64>, TrainError> {
        if self.changed.get(site).is_some_and(|changed| changed.get(cell) == Some(&false)) {
            return Ok(self.unpatched.clone());
        }
        let hidden = match site {
            ActivationSite::Residual(at) => self.with_vector(site, *at, cell)?,
            _ => self.with_head(site, cell)?,
        };
        self.pairs.margins(hidden)
    }

    /// What the head reads if a vector of the residual stream has its clean value at a position.
    fn with_vector(&self, site: &ActivationSite, at: Site, position: usize) -> Result<Tensor<2>, TrainError> {
        let model = self.pairs.model;
        let value = self.clean.get(site)?.clone().slice_dim(1, position..position + 1);
        let [batch, _, width] = value.dims();
        let start = start_of(model, at);
        let mut hidden = self.corrupted.get(&start.into())?.clone();
        if start == at {
            hidden = hidden.slice_assign([0..batch, position..position + 1, 0..width], value);
            return self.hidden(at.layer(), |context| Ok(model.walk_blocks(start, hidden, context, &mut Ignore)?));
        }
        let mut patch = Patch::new(at, 0..batch, position..position + 1, value);
        self.hidden(at.layer(), |context| Ok(model.walk_blocks(start, hidden, context, &mut patch)?))
    }

    /// What the head of the model reads if an attention head has its clean result at all positions.
    fn with_head(&self, site: &ActivationSite, head: usize) -> Result<Tensor<2>, TrainError> {
        let model = self.pairs.model;
        let ActivationSite::Heads(layer) = *site else { return Err(no_cell(site, head)) };
        let input = self.heads.get(&layer).ok_or_else(|| no_cell(site, head))?;
        let columns: Range<usize> = input.heads.get(head).cloned().ok_or_else(|| no_cell(site, head))?;
        let hook = PatchHead { weight: input.weight, columns, values: self.clean.get(site)?.clone() };
        let start = start_of(model, Site::new(Sublayer::Attn, Vector::Update, layer));
        let hidden = self.corrupted.get(&start.into())?.clone();
        self.hidden(Some(layer), |context| {
            let context = context.clone().with_hook(Some(Arc::new(hook)));
            Ok(model.walk_blocks(start, hidden, &context, &mut Ignore)?)
        })
    }

    /// What the head reads after `blocks`. The last block is computed where the answers are read alone, unless it is the
    /// block of the patched activation.
    fn hidden(
        &self,
        layer: Option<usize>,
        blocks: impl FnOnce(&Context) -> Result<Flow, TrainError>,
    ) -> Result<Tensor<2>, TrainError> {
        let (model, batch) = (self.pairs.model, &self.pairs.corrupted);
        match layer.map(|layer| layer + 1) == Some(model.n_layers()) {
            true => answer_hidden_of_whole_blocks(model, batch, blocks),
            false => answer_hidden_after(model, batch, None, blocks),
        }
    }
}

/// The last site at which a forward pass can start that reaches `site`, or `site` itself.
fn start_of(model: &AnyTransformer, site: Site) -> Site {
    let starts = model.sites().into_iter().take_while(|other| *other <= site).filter(|other| model.is_start(*other));
    starts.last().unwrap_or(Site::Embeddings)
}

fn no_cell(site: &ActivationSite, cell: usize) -> TrainError {
    TrainError::setting("--sites", format!("`{site}`"), format!("it has no part {cell}"))
}
