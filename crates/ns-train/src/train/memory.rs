//! An estimate of the memory that a run needs.
//!
//! It is rough: it counts the large tensors, at 4 bytes a number, and assumes a transformer whose MLPs are four times as
//! wide as its stream and whose heads have 64 dimensions. The examples themselves are not counted.
//! A circuit probe of arithmetic modulo 113 is estimated at 118 MB; its largest resident set was 146 MB.

use std::fmt;

use burn::module::Module;
use ns_circuit::MaskedLayer;
use ns_models::{AnyModel, Model, Site, Sublayer, Transformer, Vector};
use ns_probe::{FrozenTokens, Probe};

use super::objective::ProbeObjective;
use super::task::TaskTraining;
use super::trainer::Trainer;
use crate::error::TrainError;

const MEGABYTE: usize = 1 << 20;
/// Bytes of a number.
const NUMBER: usize = size_of::<f32>();
/// The program with its threads, before it loads a model.
const PROGRAM: usize = 40 * MEGABYTE;
/// Copies of a trained parameter: value, gradient, and the two moments of AdamW.
const TRAINED: usize = 4;
/// Copies of a weight with a mask of its own for each entry: soft mask, effective weight, and its gradient.
const MASKED_WEIGHT: usize = 3;
/// Matrices of all pairs of vectors in a contrastive loss with its gradient: cosines, distances, exponentials, and which
/// pairs have the same label.
const PAIRS: usize = 8;

/// Copies of the logits: logits, probabilities, and the gradients of both.
const LOGITS: usize = 4;

/// Bytes that a run needs, by what they hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// The weights of the model.
    pub(super) model: usize,
    /// Trained parameters with their gradients and the state of the optimiser, and masked weights.
    pub(super) trained: usize,
    /// Frozen activations of all examples.
    pub(super) activations: usize,
    /// What one step computes.
    pub(super) batch: usize,
}

/// A batch: how much of the model a step computes for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Batch {
    rows: usize,
    /// Padded length of the sequences.
    seq: usize,
    /// Number of vectors that are read.
    vectors: usize,
    /// Width of the stream.
    hidden: usize,
}

impl Memory {
    /// The memory of training a probe at `site`, from its first batch.
    ///
    /// # Errors
    /// Returns the errors of the data set, and [`TrainError::Model`] if the model cannot read the batch.
    pub(super) fn of_probe<P: Probe>(trainer: &Trainer<ProbeObjective<P>>, site: Site) -> Result<Self, TrainError> {
        let (probe, cache) = (&trainer.module, &trainer.objective.activations);
        let (plan, circuit, base) = (probe.plan(), probe.circuit(), probe.circuit().base());
        let rows = trainer.batches(0).into_iter().next().unwrap_or_default();
        let inputs = trainer.data().batch(&rows, &base.device())?;
        let [_, seq] = base.stream_dims(&inputs.inputs)?;
        let batch = Batch { rows: rows.len(), seq, vectors: inputs.labels.len(), hidden: base.hidden_size() };
        let layers = circuit.layers();
        let frozen = if plan.is_worth_keeping() { batch.hidden } else { 0 };
        let kept = frozen + fed_outputs(&layers, &plan.fed_layers());
        let kept = batch.tokens(plan.tokens()) * kept * NUMBER;
        let split = trainer.data().split();
        let examples: usize = [&split.train, &split.dev, &split.test, &split.ood].map(Vec::len).iter().sum();
        Ok(Self {
            model: base.num_params() * NUMBER,
            trained: trained(probe.num_params().saturating_sub(base.num_params()), &layers),
            activations: (kept * examples / batch.rows.max(1)).min(cache.bound()),
            batch: kept + batch.computed(plan.tokens(), &computed_sublayers(base, plan.start(), site)),
        })
    }

    /// The memory of training a model or a circuit with `rows` rows in a forward pass. What a ResNet computes for them is
    /// not counted.
    ///
    /// # Errors
    /// Returns the errors of the data set, and [`TrainError::Model`] if the model cannot read the rows.
    pub(super) fn of_task(trainer: &TaskTraining, rows: usize) -> Result<Self, TrainError> {
        let (circuit, base) = (trainer.circuit(), trainer.circuit().base());
        let frozen = if circuit.config().freeze_base { base.num_params() } else { 0 };
        let batch = match base {
            AnyModel::ResNet(_) => 0,
            AnyModel::Transformer(model) => {
                let first: Vec<usize> = trainer.batches(0).into_iter().next().unwrap_or_default();
                let inputs = trainer.data().batch(&first[..rows.min(first.len())], &model.device())?;
                let [rows, seq] = model.stream_dims(&inputs.inputs)?;
                let last = model.sites().into_iter().max().unwrap_or(Site::Embeddings);
                let labels = inputs.labels.len();
                let batch = Batch { rows, seq, vectors: 0, hidden: model.hidden_size() };
                let logits = LOGITS * labels * trainer.data().rows().n_answers * NUMBER;
                batch.computed(FrozenTokens::All, &computed_sublayers(model, None, last)) + logits
            }
        };
        let trained = trained(circuit.num_params().saturating_sub(frozen), &circuit.layers());
        Ok(Self { model: base.num_params() * NUMBER, trained, activations: 0, batch })
    }

    /// All parts, and the program itself.
    pub(super) fn total(&self) -> usize {
        PROGRAM + self.model + self.trained + self.activations + self.batch
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [total, model, trained, activations, batch] =
            [self.total(), self.model, self.trained, self.activations, self.batch]
                .map(|bytes| bytes.div_ceil(MEGABYTE));
        write!(
            f,
            "about {total} MB (program {}, model {model}, masks and optimiser {trained}, activation cache \
             {activations}, batch {batch})",
            PROGRAM / MEGABYTE
        )
    }
}

impl Batch {
    /// Number of tokens that a step computes.
    fn tokens(&self, tokens: FrozenTokens) -> usize {
        match tokens {
            FrozenTokens::All => self.rows * self.seq,
            FrozenTokens::Selected => self.vectors,
        }
    }

    /// Bytes of the values between the frozen activations and the loss, twice: backward makes a gradient of each.
    ///
    /// For each token, attention keeps its normed input, query, key, value, context, output and sum, and two rows of
    /// scores for each head; an MLP keeps its normed input, output and sum, and its hidden units before and after the
    /// activation.
    fn computed(&self, tokens: FrozenTokens, sublayers: &[Sublayer]) -> usize {
        let (hidden, heads) = (self.hidden, (self.hidden / 64).max(1));
        let width = |sublayer: &Sublayer| match sublayer {
            Sublayer::Attn => 7 * hidden + 2 * heads * self.seq,
            Sublayer::Mlp => 3 * hidden + 2 * 4 * hidden,
        };
        let values = self.tokens(tokens) * sublayers.iter().map(width).sum::<usize>();
        (2 * values + PAIRS * self.vectors * self.vectors) * NUMBER
    }
}

/// The sublayers from the frozen activations to the probed site.
fn computed_sublayers<M: Transformer>(model: &M, start: Option<Site>, site: Site) -> Vec<Sublayer> {
    let start = start.unwrap_or(Site::Embeddings);
    let updates = model.sites().into_iter().filter_map(|site| match site {
        Site::Block { sublayer, vector: Vector::Update, .. } => Some((site, sublayer)),
        _ => None,
    });
    updates.filter(|(update, _)| *update > start && *update <= site).map(|(_, sublayer)| sublayer).collect()
}

/// Number of outputs of the layers whose products with the frozen activations are kept.
fn fed_outputs(layers: &[MaskedLayer], fed: &[String]) -> usize {
    layers.iter().filter(|layer| fed.contains(&layer.name)).map(|layer| numbers(&layer.weight_mask_shape)).sum()
}

/// Bytes of `parameters` trained parameters, and of the masked weights. The neuron mask of a linear layer scales the
/// outputs and makes no copy of the weight.
fn trained(parameters: usize, layers: &[MaskedLayer]) -> usize {
    let whole = layers.iter().filter(|layer| layer.weight_mask_shape == layer.weight_shape);
    let weights: usize = whole.map(|layer| numbers(&layer.weight_shape)).sum();
    (TRAINED * parameters + MASKED_WEIGHT * weights) * NUMBER
}

fn numbers(shape: &[usize]) -> usize {
    shape.iter().product()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use ns_circuit::LayerKind;
    use ns_models::{Gpt2, Gpt2Config, Pretrained};

    fn layer(name: &str, weight: [usize; 2], mask: [usize; 2]) -> MaskedLayer {
        MaskedLayer {
            name: name.into(),
            kind: LayerKind::Linear,
            weight_shape: weight.into(),
            weight_mask_shape: mask.into(),
            bias_mask_shape: None,
        }
    }

    #[test]
    fn trained_parameters_and_masked_weights_have_copies() {
        let neuron = layer("attn", [8, 24], [1, 24]);
        assert_eq!(trained(24, std::slice::from_ref(&neuron)), 4 * 24 * 4);
        let weight = layer("mlp", [8, 32], [8, 32]);
        assert_eq!(trained(256, std::slice::from_ref(&weight)), (4 + 3) * 256 * 4);
        assert_eq!(fed_outputs(&[neuron, weight], &["attn".into()]), 24);
    }

    #[test]
    fn a_batch_keeps_what_is_computed_for_its_tokens() {
        let batch = Batch { rows: 5, seq: 3, vectors: 5, hidden: 128 };
        let pairs = 8 * 5 * 5;
        let attention = 15 * (7 * 128 + 2 * 2 * 3);
        assert_eq!(batch.computed(FrozenTokens::All, &[Sublayer::Attn]), (2 * attention + pairs) * 4);
        assert_eq!(batch.computed(FrozenTokens::Selected, &[Sublayer::Mlp]), (2 * 5 * 11 * 128 + pairs) * 4);
        assert_eq!(batch.computed(FrozenTokens::Selected, &[]), pairs * 4);
    }

    #[test]
    fn only_what_is_above_the_frozen_activations_is_computed() {
        let config =
            Gpt2Config { vocab_size: 6, n_positions: 3, n_embd: 8, n_layer: 3, n_head: 2, ..Default::default() };
        let model = Gpt2::init(&config, &Device::default()).unwrap();
        let sublayers = |start: Option<&str>, site: &str| {
            computed_sublayers(&model, start.map(|start| start.parse().unwrap()), site.parse().unwrap())
        };
        use Sublayer::{Attn, Mlp};
        assert_eq!(sublayers(None, "mlp_update_0"), [Attn, Mlp]);
        assert_eq!(sublayers(Some("mlp_stream_0"), "attn_update_1"), [Attn]);
        assert_eq!(sublayers(Some("attn_stream_1"), "mlp_stream_1"), [Mlp]);
        assert_eq!(sublayers(Some("mlp_stream_0"), "mlp_stream_2"), [Attn, Mlp, Attn, Mlp]);
        assert!(sublayers(Some("mlp_update_1"), "mlp_update_1").is_empty());
    }

    #[test]
    fn sizes_are_in_megabytes_and_add_up() {
        let memory = Memory { model: 3 << 20, trained: 1, activations: 5 << 20, batch: 2 << 20 };
        let expected = "about 51 MB (program 40, model 3, masks and optimiser 1, activation cache 5, batch 2)";
        assert_eq!(memory.to_string(), expected);
    }
}
