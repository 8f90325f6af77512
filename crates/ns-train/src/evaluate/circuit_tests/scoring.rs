//! The scores of circuits: for each example the logit of the right answer minus the best other one.

use burn::module::Module;
use burn::tensor::Tensor;
use ns_circuit::{CircuitModel, ModelVariant};

use crate::error::TrainError;
use crate::evaluate::scores::Answering;
use crate::evaluate::subject::{HookedSubject, Subject};
use crate::evaluate::unit_ablation::{KeptUnits, UnitAblation};
use crate::evaluate::unit_ranking::MaskParams;

/// The scores of a circuit whose other weights are zero, in the order of the batches.
///
/// # Errors
/// Returns [`TrainError::Circuit`] for masks that do not fit, and the errors of the forward passes.
pub(super) fn with_zeros<M: Module>(
    circuit: &mut CircuitModel<M>,
    subject: &dyn Subject<M>,
    masks: &MaskParams,
) -> Result<Vec<f64>, TrainError> {
    circuit.load_mask_params(masks)?;
    let model = circuit.model_as(ModelVariant::CircuitOnly)?;
    let of_batch = |batch| margins(subject, &model, batch, subject.hidden(&model, batch)?);
    Ok((0..subject.answers().len()).map(of_batch).collect::<Result<Vec<_>, _>>()?.concat())
}

/// The scores of circuits whose other units have other outputs, in the order of the batches. All circuits are measured on
/// a batch before the next one, so that the values of one batch at a time are in memory. `step` is called after each
/// forward pass.
///
/// # Errors
/// Returns the errors of the forward passes.
pub(super) fn with_replaced_outputs<M: Answering>(
    circuit: &CircuitModel<M>,
    subject: &dyn HookedSubject<M>,
    ablation: &UnitAblation<'_>,
    kept: &[KeptUnits],
    mut step: impl FnMut(),
) -> Result<Vec<Vec<f64>>, TrainError> {
    let model = circuit.model_as(ModelVariant::WholeModel)?;
    let mut scores = vec![Vec::new(); kept.len()];
    for batch in 0..subject.answers().len() {
        let mut on_batch = ablation.on_batch(batch);
        for (kept, scores) in kept.iter().zip(&mut scores) {
            let hidden = on_batch.hidden(&model, subject, kept)?;
            scores.extend(margins(subject, &model, batch, hidden)?);
            step();
        }
    }
    Ok(scores)
}

/// The scores of a batch, from what the head of the model reads.
fn margins<M, S: Subject<M> + ?Sized>(
    subject: &S,
    model: &M,
    batch: usize,
    hidden: Tensor<2>,
) -> Result<Vec<f64>, TrainError> {
    Ok(subject.answers()[batch].compare(subject.scores(model, hidden)?).margins())
}
