//! Scores of the units of linear layers, from gradients of the model's answer.

use std::collections::BTreeMap;
use std::ops::Range;

use burn::module::Module;
use burn::tensor::Tensor;
use ns_models::{AnyTransformer, Logits, Model, ModelInputs, ModelOutput, Site, Transformer};
use ns_probe::{
    ActivationSite, HeadInput, Hooks, MaskGradients, ProbeBatch, ProbeError, TrackedMasks, activation_gradients,
    head_inputs, record_activations,
};

use super::candidates::{AnswerBatch, Answers, Compared};
use super::scores::{answer_scores, label_scores};
use super::subject::batches;
use crate::data::Dataset;
use crate::error::TrainError;
use crate::recipe::{AttributionMethod, AttributionSection, Objective};

/// Examples per forward pass of a model with a classification head.
const CLASSIFIED: usize = 64;

/// The scores of the units of each layer (Hugging Face name), in the order of the units: how much the objective, averaged
/// over the examples, falls without the unit, to first order.
pub(crate) type UnitScores = BTreeMap<String, Vec<f64>>;

/// What an attribution finds.
#[derive(Clone, Debug, Default)]
pub(crate) struct AttributionScores {
    /// The scores of the units of the target layers.
    pub(crate) units: UnitScores,
    /// Scores of whole sites of the residual stream, one number each, and of attention heads (`heads_<layer>`), one number
    /// for each head. Only of methods with partners.
    pub(crate) sites: UnitScores,
}

/// Scores the units of some layers on the examples of `rows`. `model` is on a device with autodiff. `progress` is told how
/// many examples are done.
///
/// # Errors
/// Returns [`TrainError::Setting`] for a partner of another length than its row and for a model whose answer depends on
/// none of the units, and the errors of the forward passes.
pub(crate) fn unit_scores(
    model: &AnyTransformer,
    answers: &Answers,
    rows: &[usize],
    layers: &[String],
    section: &AttributionSection,
    mut progress: impl FnMut(usize),
) -> Result<AttributionScores, TrainError> {
    let examples = &answers.examples;
    if section.method.needs_partners() {
        let expected = "the score of a unit compares an example with its partner; name its column, or { derange = … }";
        TrainError::check(examples.has_partners(), "data.partner", "missing", expected)?;
        examples.check_all_partner_lengths("attribution.method", "with partners")?;
    }
    let heads = if section.method.needs_partners() { head_inputs(model) } else { BTreeMap::new() };
    let attribution = Attribution { model: model.clone().no_grad(), layers, section, heads };
    let mut scores = AttributionScores::default();
    let mut done = 0;
    for rows in batches(examples, rows, model.head(), CLASSIFIED) {
        let (batch, key) = (examples.batch(&rows, &model.device())?, answers.batch(&rows));
        match section.method {
            AttributionMethod::MaskGradient => add(&mut scores.units, attribution.mask_gradients(&batch, &key)?),
            _ => {
                let partner = examples.partner_batch(&rows, &model.device())?.unwrap_or_default();
                attribution.differences(&batch, &partner, &key, &mut scores)?;
            }
        }
        done += rows.len();
        progress(done);
    }
    let AttributionScores { units, sites } = &mut scores;
    units.values_mut().chain(sites.values_mut()).flatten().for_each(|score| *score /= done as f64);
    let expected = "their gradients are all 0: no answer depends on a unit of these layers";
    let depends = scores.units.values().flatten().any(|score| *score != 0.0);
    TrainError::check(depends, "circuit_config.target_layers", layers.join(", "), expected)?;
    Ok(scores)
}

/// What the scores of all batches share.
struct Attribution<'a> {
    model: AnyTransformer,
    layers: &'a [String],
    section: &'a AttributionSection,
    /// The columns of the heads of each block, in the input of its output projection.
    heads: BTreeMap<usize, HeadInput>,
}

impl Attribution<'_> {
    /// Gradients with respect to masks, averaged over their values.
    fn mask_gradients(&self, batch: &ProbeBatch, key: &AnswerBatch) -> Result<UnitScores, TrainError> {
        let mut scores = UnitScores::new();
        let values = mask_values(self.section.steps);
        for value in &values {
            let masks = MaskGradients { layers: self.layers.to_vec(), value: *value, with_bias: false };
            let tracked = TrackedMasks::new(&self.model, &masks)?;
            let answer = answer_scores(&self.model, batch, tracked.hook())?;
            let gradients = tracked.gradients(&self.objective(&key.compare(answer)).backward());
            let share = |gradient: &f32| f64::from(*gradient) / values.len() as f64;
            add(
                &mut scores,
                gradients.iter().map(|(layer, of_layer)| (layer.clone(), of_layer.iter().map(share).collect())),
            );
        }
        Ok(scores)
    }

    /// Adds gradients with respect to activations, times the difference from those on the partners, summed over tokens.
    fn differences(
        &self,
        batch: &ProbeBatch,
        partner: &ModelInputs,
        key: &AnswerBatch,
        scores: &mut AttributionScores,
    ) -> Result<(), TrainError> {
        let sites = self.sites();
        let embeddings = ActivationSite::from(Site::Embeddings);
        let recorded = |inputs: &ModelInputs| Ok::<_, TrainError>(record_activations(&self.model, inputs, &sites)?.1);
        let (clean, corrupted) = (recorded(&batch.inputs)?, recorded(partner)?);
        let difference = |site: &ActivationSite| Some(clean.get(site)? - corrupted.get(site)?);
        let steps = self.section.steps;
        for step in 1..=steps {
            let mut hooks = Hooks::new();
            let start = corrupted.get(&embeddings).zip(difference(&embeddings)).filter(|_| step < steps);
            if let Some((start, way)) = start {
                let point = start + way * (step as f64 / steps as f64);
                hooks = hooks.at(embeddings.clone(), move |_| point.clone());
            }
            let objective = |output: ModelOutput| Ok(self.objective(&key.compare(self.answer(output, batch)?)));
            let (_, gradients) = activation_gradients(&self.model, &batch.inputs, &sites, hooks, objective)?;
            for (site, found) in gradients {
                let Some(difference) = difference(&site) else { continue };
                let product = found.gradient * difference.inner();
                let [batch, seq, width] = product.dims();
                let sum: Tensor<2> = product.reshape([batch * seq, width]).sum_dim(0);
                let columns: Vec<f64> = sum.into_data().iter::<f64>().map(|score| score / steps as f64).collect();
                let (of_kind, values) = match &site {
                    ActivationSite::Layer(_) => (&mut scores.units, columns),
                    ActivationSite::Residual(_) => (&mut scores.sites, vec![columns.iter().sum()]),
                    ActivationSite::Heads(layer) => {
                        let heads = self.heads.get(layer).map_or(&[][..], |input| &input.heads);
                        let of_head = |head: &Range<usize>| columns[head.clone()].iter().sum();
                        (&mut scores.sites, heads.iter().map(of_head).collect())
                    }
                };
                add(of_kind, [(site.to_string(), values)]);
            }
        }
        Ok(())
    }

    /// The outputs of the target layers, all sites of the residual stream, and the heads of all blocks.
    fn sites(&self) -> Vec<ActivationSite> {
        let layers = self.layers.iter().cloned().map(ActivationSite::Layer);
        let stream = self.model.sites().into_iter().map(ActivationSite::Residual);
        layers.chain(stream).chain(self.heads.keys().map(|layer| ActivationSite::Heads(*layer))).collect()
    }

    /// The scores of the answers, `[labels, answers]`, in the output of a whole forward pass.
    fn answer(&self, output: ModelOutput, batch: &ProbeBatch) -> Result<Tensor<2>, ProbeError> {
        match output.logits {
            Some(Logits::Tokens(logits)) if self.model.head().is_language_model() => batch.select_tokens(logits),
            logits => label_scores(&self.model, logits, batch).map_err(|error| ProbeError::Batch {
                what: "logits",
                found: error.to_string(),
                expected: "the head of the model must have the answers".into(),
            }),
        }
    }

    /// The objective summed over the examples of a batch, `[1]`.
    fn objective(&self, compared: &Compared) -> Tensor<1> {
        match self.section.objective {
            Objective::Loss => compared.total_log_probability(),
            Objective::LogitDifference => compared.total_margin(),
        }
    }
}

/// The values of the masks at which gradients are taken: 1, or the middles of equal steps from 0 to 1.
fn mask_values(steps: usize) -> Vec<f64> {
    match steps {
        1 => vec![1.0],
        steps => (0..steps).map(|step| (step as f64 + 0.5) / steps as f64).collect(),
    }
}

/// Adds the scores of one batch or step.
fn add(scores: &mut UnitScores, more: impl IntoIterator<Item = (String, Vec<f64>)>) {
    for (layer, of_layer) in more {
        let sum = scores.entry(layer).or_insert_with(|| vec![0.0; of_layer.len()]);
        sum.iter_mut().zip(of_layer).for_each(|(sum, score)| *sum += score);
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use burn::tensor::activation::log_softmax;
    use ns_probe::mask_gradients;

    use super::*;
    use crate::evaluate::replaced_units::tests::{LAYERS, answers, inputs, model_on};

    fn section(method: AttributionMethod, steps: usize) -> AttributionSection {
        AttributionSection { method, steps, ..AttributionSection::default() }
    }

    /// A model on a device with autodiff.
    fn differentiable() -> AnyTransformer {
        model_on(&Device::default().autodiff())
    }

    fn layers() -> Vec<String> {
        LAYERS.map(String::from).to_vec()
    }

    /// Logarithm of the probability of the right answer to a row.
    fn log_probability(answers: &Answers, row: usize, output: ModelOutput) -> Tensor<1> {
        let Some(Logits::Tokens(logits)) = output.logits else { panic!("a language model has logits of tokens") };
        let [_, seq, vocab] = logits.dims();
        let right = answers.examples.labels(&[row])[0] as usize;
        let last = logits.slice_dim(1, seq - 1..seq).reshape([1, vocab]);
        log_softmax(last, 1).slice_dim(1, right..right + 1).reshape([1])
    }

    fn on_autodiff(answers: &Answers, row: usize) -> ModelInputs {
        let batch = answers.examples.batch(&[row], &Device::default().autodiff());
        batch.map(|batch| batch.inputs).unwrap_or_else(|_| inputs(&answers.examples, row))
    }

    #[track_caller]
    fn assert_near(found: &UnitScores, expected: &UnitScores) {
        assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        for (layer, of_layer) in expected {
            for (found, expected) in found[layer].iter().zip(of_layer) {
                assert!((found - expected).abs() < 1e-6, "{layer}: {found}, but {expected} was expected");
            }
        }
    }

    #[test]
    fn scores_of_masks_are_the_mean_over_single_examples() {
        let (answers, model) = (answers("", ""), differentiable());
        let rows = answers.examples.split().test.clone();
        for steps in [1, 3] {
            let mut expected = UnitScores::new();
            for row in &rows {
                for value in mask_values(steps) {
                    let masks = MaskGradients { layers: layers(), value, with_bias: false };
                    let objective = |output| Ok(log_probability(&answers, *row, output));
                    let (_, found) = mask_gradients(&model, &on_autodiff(&answers, *row), &masks, objective).unwrap();
                    let share = |gradient: f32| f64::from(gradient) / (steps * rows.len()) as f64;
                    let of_row = found.into_iter().map(|(layer, of)| (layer, of.into_iter().map(share).collect()));
                    add(&mut expected, of_row);
                }
            }
            let section = section(AttributionMethod::MaskGradient, steps);
            assert_near(&unit_scores(&model, &answers, &rows, &layers(), &section, |_| {}).unwrap().units, &expected);
        }
    }

    #[test]
    fn one_step_at_the_example_is_attribution_patching() {
        let (answers, model) = (answers("", "partner = \"other\""), differentiable());
        let rows = answers.examples.split().test.clone();
        let patching = section(AttributionMethod::AttributionPatching, 1);
        let integrated = section(AttributionMethod::IntegratedGradients, 1);
        let [patching, integrated] = [patching, integrated]
            .map(|section| unit_scores(&model, &answers, &rows, &layers(), &section, |_| {}).unwrap());
        assert_near(&integrated.units, &patching.units);
        assert_near(&integrated.sites, &patching.sites);
        // What attention adds is a linear function of its heads.
        let heads: f64 = patching.sites["heads_1"].iter().sum();
        assert!((heads - patching.sites["attn_update_1"][0]).abs() < 1e-6, "{:?}", patching.sites);
        let site = ActivationSite::Layer(LAYERS[0].into());
        let mut expected = 0.0;
        for row in &rows {
            let device = Device::default().autodiff();
            let partner = answers.examples.partner_batch(&[*row], &device).unwrap().unwrap();
            let clean = on_autodiff(&answers, *row);
            let recorded =
                |inputs: &ModelInputs| record_activations(&model, inputs, std::slice::from_ref(&site)).unwrap().1;
            let difference = recorded(&clean).get(&site).unwrap() - recorded(&partner).get(&site).unwrap();
            let objective = |output| Ok(log_probability(&answers, *row, output));
            let sites = std::slice::from_ref(&site);
            let (_, found) = activation_gradients(&model, &clean, sites, Hooks::new(), objective).unwrap();
            let product = (found[&site].gradient.clone() * difference.inner()).slice_dim(2, 0..1);
            expected += product.into_data().iter::<f64>().sum::<f64>() / rows.len() as f64;
        }
        assert!((patching.units[LAYERS[0]][0] - expected).abs() < 1e-6);
    }

    #[test]
    fn partners_are_needed_and_have_the_length_of_their_row() {
        let model = differentiable();
        let refused = |answers: &Answers| {
            let section = section(AttributionMethod::AttributionPatching, 1);
            let rows = answers.examples.split().test.clone();
            unit_scores(&model, answers, &rows, &layers(), &section, |_| {}).unwrap_err().to_string()
        };
        assert!(refused(&answers("", "")).contains("data.partner"));
        let unequal = refused(&answers("1 2 3 4,0,test,1 2 3\n", "partner = \"other\""));
        assert!(unequal.contains("line 11") && unequal.contains("3 tokens long"), "{unequal}");
    }
}
