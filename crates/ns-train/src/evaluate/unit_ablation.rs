//! What replaces the outputs of a circuit's units: their means over the training set, or their values on other examples.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use ns_circuit::{CircuitModel, rng};
use ns_models::{AnyTransformer, Model};
use ns_probe::{ActivationMeans, ActivationSite, FixedProducts, OutputReplacements, Replacement, record_activations};

use super::candidates::Answers;
use super::scores::Answering;
use super::subject::HookedSubject;
use crate::data::{Dataset, Examples};
use crate::error::TrainError;
use crate::recipe::AblationName;

/// Training examples per forward pass.
const BATCH: usize = 128;

/// The units of each layer that keep their outputs, by Hugging Face name.
pub(crate) type KeptUnits = BTreeMap<String, Vec<usize>>;
/// The values of each layer, by Hugging Face name.
pub(crate) type Values = BTreeMap<String, Replacement>;

/// An ablation that replaces the outputs of units.
pub(crate) struct UnitAblation<'a> {
    pub(crate) name: AblationName,
    outputs: OutputReplacements,
    sites: Vec<ActivationSite>,
    source: Source<'a>,
}

/// Where the values come from.
enum Source<'a> {
    /// The means over the training set.
    Means(Box<ActivationMeans>),
    /// The partner of each row.
    Partners(&'a Examples),
    /// Another row for each row of a set.
    Rows(&'a Examples, BTreeMap<usize, usize>),
}

impl<'a> UnitAblation<'a> {
    /// Prepares an ablation of the masked layers of `circuit` for the rows of a set: computes the means, or chooses other
    /// rows by `seed`.
    ///
    /// # Errors
    /// Returns the errors of [`check_outputs`], [`TrainError::Setting`] if a row has no partner or other row of its
    /// length, and the errors of the forward passes.
    pub(crate) fn new<M: Answering>(
        name: AblationName,
        circuit: &CircuitModel<M>,
        answers: &'a Answers,
        rows: &[usize],
        seed: u64,
    ) -> Result<Self, TrainError> {
        let examples = &answers.examples;
        let (outputs, sites) = check_outputs(("evaluation.ablations", name.name()), circuit)?;
        let source = match name {
            AblationName::Resample if examples.has_partners() => {
                examples.check_all_partner_lengths("evaluation.ablations", name.name())?;
                Source::Partners(examples)
            }
            AblationName::Resample => Source::Rows(examples, other_rows(examples, rows, seed)?),
            _ => Source::Means(Box::new(means(circuit, examples, &sites)?)),
        };
        Ok(Self { name, outputs, sites, source })
    }

    /// Whether the values of a token depend on its position or its example. Then the rows of a batch cannot share the
    /// tokens with which they begin.
    pub(crate) fn depends_on_tokens(&self) -> bool {
        self.name != AblationName::Mean
    }

    /// The values for a batch of rows of `seq` tokens.
    ///
    /// # Errors
    /// Returns the errors of the forward pass on the other examples.
    fn values(&self, model: &AnyTransformer, rows: &[usize], seq: usize) -> Result<Values, TrainError> {
        let device = model.device();
        let inputs = match &self.source {
            Source::Means(means) => {
                let value = |site: &ActivationSite| {
                    let value = match self.name {
                        AblationName::Mean => Replacement::Vector(means.overall(site, &device)?),
                        _ => Replacement::ByPosition(means.by_position(site, seq, &device)?),
                    };
                    Ok((site.to_string(), value))
                };
                return self.sites.iter().map(value).collect();
            }
            Source::Partners(examples) => examples.partner_batch(rows, &device)?,
            Source::Rows(examples, others) => {
                let others: Vec<usize> = rows.iter().map(|row| others[row]).collect();
                Some(examples.batch(&others, &device)?.inputs)
            }
        };
        let Some(inputs) = inputs else { return Ok(Values::new()) };
        let (_, recorded) = record_activations(model, &inputs, &self.sites)?;
        // A row that is the only one of its length takes the values of a longer one, up to its own end.
        let value = |site: &ActivationSite| Some(recorded.get(site)?.slice_dim(1, 0..seq));
        let of_site = |site| Some((ActivationSite::to_string(site), Replacement::ByToken(value(site)?)));
        Ok(self.sites.iter().filter_map(of_site).collect())
    }

    /// The ablation on one batch of a subject.
    pub(crate) fn on_batch(&self, batch: usize) -> BatchAblation<'_> {
        BatchAblation { ablation: self, batch, values: None, fixed: self.outputs.fixed_products() }
    }
}

/// An ablation on one batch, with what all forward passes on it share.
pub(crate) struct BatchAblation<'a> {
    ablation: &'a UnitAblation<'a>,
    batch: usize,
    values: Option<Values>,
    fixed: FixedProducts,
}

impl BatchAblation<'_> {
    /// What the head of the whole model reads of the batch if the outputs of the units that are not `kept` are replaced.
    ///
    /// # Shapes
    /// - output: `[labels, hidden]`, or `[labels, answers]`
    ///
    /// # Errors
    /// Returns the errors of the forward passes.
    pub(crate) fn hidden<M: Answering>(
        &mut self,
        model: &M,
        subject: &dyn HookedSubject<M>,
        kept: &KeptUnits,
    ) -> Result<Tensor<2>, TrainError> {
        subject.hidden_with(model, self.batch, &mut |rows, seq, narrowed| {
            let Some(transformer) = model.transformer() else { return Ok(None) };
            let values = match self.values.take() {
                Some(values) => values,
                None => self.ablation.values(transformer, rows, seq)?,
            };
            let values = self.values.insert(values);
            Ok(self.ablation.outputs.hook(kept, values, narrowed, &self.fixed)?)
        })
    }
}

/// Checks that the outputs of the masked units of a circuit can be replaced. The key and the name say what replaces them.
///
/// # Errors
/// Returns [`TrainError::Setting`] for masks of single weights, and for layers that are not linear layers in the blocks of
/// a transformer.
pub(crate) fn check_outputs<M: Answering>(
    (key, name): (&'static str, &str),
    circuit: &CircuitModel<M>,
) -> Result<(OutputReplacements, Vec<ActivationSite>), TrainError> {
    let (layers, found) = (circuit.layers(), |what: &str| format!("`{name}` of {what}"));
    if let Some(layer) = layers.iter().find(|layer| layer.weight_mask_shape == layer.weight_shape) {
        let what = found(&format!("`{}`, whose single weights are masked", layer.name));
        let expected = "it replaces the outputs of neurons; mask neurons (`mask_unit = \"neuron\"`), or use `zero`";
        return Err(TrainError::setting(key, what, expected));
    }
    let expected = "it replaces the outputs of linear layers in the blocks of a transformer; use `zero`";
    let model = circuit.base().transformer();
    let model = model.ok_or_else(|| TrainError::setting(key, found("a model of convolutions"), expected))?;
    let names: Vec<String> = layers.into_iter().map(|layer| layer.name).collect();
    let outputs = OutputReplacements::new(model, &names);
    let outputs = outputs.map_err(|error| TrainError::setting(key, found(&error.to_string()), expected))?;
    Ok((outputs, names.into_iter().map(ActivationSite::Layer).collect()))
}

/// The means of the layers over the training set.
fn means<M: Answering>(
    circuit: &CircuitModel<M>,
    examples: &Examples,
    sites: &[ActivationSite],
) -> Result<ActivationMeans, TrainError> {
    let model = circuit.model_as(ns_circuit::ModelVariant::WholeModel)?;
    let mut means = ActivationMeans::new(sites);
    let Some(model) = model.transformer().filter(|_| !sites.is_empty()) else { return Ok(means) };
    let mut rows = examples.split().train.clone();
    let expected = "a mean ablation needs the mean over the training set";
    TrainError::check(!rows.is_empty(), "evaluation.ablations", "`mean` without a training example", expected)?;
    rows.sort_by_key(|row| examples.n_tokens(*row));
    for rows in rows.chunks(BATCH) {
        means.add(model, &examples.batch(rows, &model.device())?.inputs)?;
    }
    Ok(means)
}

/// Another row of the same number of tokens for each of `rows`, or, for a row that is the only one of its length, a longer
/// one.
///
/// # Errors
/// Returns [`TrainError::Setting`] if no other row is as long as the longest one.
pub(super) fn other_rows(examples: &Examples, rows: &[usize], seed: u64) -> Result<BTreeMap<usize, usize>, TrainError> {
    let mut stream = rng::stream(seed, "resample", 0, 0);
    let mut rows = rows.to_vec();
    rows.sort_by_key(|row| (examples.n_tokens(*row), *row));
    let mut others = BTreeMap::new();
    let mut begin = 0;
    for equal in rows.chunk_by(|left, right| examples.n_tokens(*left) == examples.n_tokens(*right)) {
        begin += equal.len();
        let longer = &rows[begin..];
        match (equal, longer) {
            ([row], []) => {
                let found = format!("`resample` of `{}`", examples.excerpt(*row));
                let expected = format!(
                    "no other example of the set has its {} tokens; use `mean`, or name partners in `data.partner`",
                    examples.n_tokens(*row)
                );
                return Err(TrainError::setting("evaluation.ablations", found, expected));
            }
            ([row], longer) => drop(others.insert(*row, longer[rng::below(&mut stream, longer.len())])),
            (equal, _) => {
                let order = rng::permutation(&mut stream, equal.len());
                let next = order.iter().cycle().skip(1);
                others.extend(order.iter().zip(next).map(|(row, other)| (equal[*row], equal[*other])));
            }
        }
    }
    Ok(others)
}
