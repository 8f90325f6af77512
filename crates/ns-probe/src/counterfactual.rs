//! Counterfactual embeddings: vectors that are moved until a probe reads another class from them.

use burn::module::{Module, Param};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Tensor, TensorData, activation::log_softmax};
use ns_circuit::AdamW;

use crate::classifier::Classifier;
use crate::error::ProbeError;

/// Result of [`counterfactual_embedding`].
#[derive(Clone, Debug)]
pub struct CounterfactualEmbedding {
    /// Cross entropy of each vector before each step, `[rows, steps]`.
    pub losses: Tensor<2>,
    /// The moved vectors, `[rows, width]`.
    pub vectors: Tensor<2>,
    /// The probe's logits of the moved vectors, `[rows, classes]`.
    pub logits: Tensor<2>,
    /// Whether the target has the highest logit of each moved vector, `[rows]`.
    pub is_success: Vec<bool>,
}

/// The vectors that move.
#[derive(Module, Debug)]
struct Moved {
    vectors: Param<Tensor<2>>,
}

/// Moves vectors until a probe reads the `target` class from them: AdamW on the cross entropy of the frozen probe, which
/// changes the vectors (counterfactual embeddings of Tucker et al. 2021, <https://arxiv.org/abs/2105.14002>, as compared in
/// Lepori et al. 2024).
///
/// Each row moves as if it were alone: AdamW treats every number by itself, and the losses are summed over the rows, not
/// averaged.
///
/// # Shapes
/// - start: `[rows, width]`
/// - target: `[rows]`
///
/// # Errors
/// Returns [`ProbeError::Config`] if `steps` is 0, [`ProbeError::LabelCount`] unless each vector has a target, and
/// [`ProbeError::Batch`] for vectors of another width, for a target that is no class, or if there are no vectors.
pub fn counterfactual_embedding(
    probe: &Classifier,
    start: Tensor<2>,
    target: &[i64],
    optimizer: AdamW,
    learning_rate: f64,
    steps: usize,
) -> Result<CounterfactualEmbedding, ProbeError> {
    probe.check(&start, target)?;
    if steps == 0 {
        let expected = "it must be at least 1".into();
        return Err(ProbeError::Config { field: "steps", found: "0".into(), expected });
    }
    let probe = probe.clone().no_grad();
    let start = start.without_autodiff().autodiff();
    let classes = Tensor::from_data(TensorData::new(target.to_vec(), [target.len(), 1]), &start.device());
    let mut moved = Moved { vectors: Param::from_tensor(start) };
    let mut optimizer: ModuleOptimizer = optimizer.into();
    let mut losses = Vec::with_capacity(steps);
    for _ in 0..steps {
        let logits = probe.forward(moved.vectors.val());
        let loss = log_softmax(logits, 1).gather(1, classes.clone()).neg();
        losses.push(loss.clone().without_autodiff());
        let gradients = GradientsParams::from_grads(loss.sum().backward(), &moved);
        moved = optimizer.step(learning_rate, moved, gradients);
    }
    let vectors = moved.vectors.val().without_autodiff();
    let logits = probe.forward(vectors.clone()).without_autodiff();
    let best = logits.clone().argmax(1).into_data();
    let is_success = best.iter::<i64>().zip(target).map(|(class, target)| class == *target).collect();
    Ok(CounterfactualEmbedding { losses: Tensor::cat(losses, 1), vectors, logits, is_success })
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn probe(device: &Device) -> Classifier {
        let mut probe = Classifier::new(2, None, 2, 0, device).unwrap();
        let params = [
            ("0.weight".into(), TensorData::from([[1.0_f32, 0.0], [-1.0, 0.0]])),
            ("0.bias".into(), TensorData::from([0.0_f32, 0.0])),
        ];
        probe.load_params(&params.into_iter().collect()).unwrap();
        probe
    }

    fn run(start: &[[f32; 2]], target: &[i64], steps: usize) -> CounterfactualEmbedding {
        let rows = start.iter().flatten().copied().collect::<Vec<f32>>();
        let start = Tensor::from_data(TensorData::new(rows, [start.len(), 2]), &Device::default());
        let optimizer = AdamW { weight_decay: 0.0, ..AdamW::default() };
        let probe = probe(&Device::default().autodiff());
        counterfactual_embedding(&probe, start, target, optimizer, 0.1, steps).unwrap()
    }

    fn values(tensor: Tensor<2>) -> Vec<f32> {
        tensor.into_data().iter().collect()
    }

    #[test]
    fn steps_worked_out_by_hand() {
        // The first step of Adam moves the first number by the learning rate, towards the target.
        let found = run(&[[0.05, 3.0], [0.25, 3.0]], &[1, 1], 1);
        let vectors = values(found.vectors);
        for (found, expected) in vectors.iter().zip([-0.05, 3.0, 0.15, 3.0]) {
            assert!((found - expected).abs() < 1e-5, "{vectors:?}");
        }
        assert_eq!(found.is_success, [true, false]);
        assert_eq!((found.losses.dims(), found.logits.dims()), ([2, 1], [2, 2]));
        let loss = (1.0 + 0.1_f32.exp()).ln();
        assert!((values(found.losses)[0] - loss).abs() < 1e-6);
    }

    #[test]
    fn rows_do_not_affect_each_other() {
        let together = run(&[[0.05, 3.0], [2.0, -1.0], [-1.0, 0.5]], &[1, 1, 0], 12);
        let alone = run(&[[2.0, -1.0]], &[1], 12);
        let pairs = [(together.vectors, alone.vectors), (together.losses, alone.losses)];
        for (together, alone) in pairs.map(|(together, alone)| (values(together.slice_dim(0, 1..2)), values(alone))) {
            // Other shapes may round differently.
            assert!(
                together.iter().zip(&alone).all(|(left, right)| (left - right).abs() < 1e-5),
                "{together:?} {alone:?}"
            );
        }
    }

    #[test]
    fn probes_without_autodiff_can_be_followed_too() {
        let start = || Tensor::<2>::from_floats([[1.0, 1.0]], &Device::default());
        let move_by = |device: &Device| {
            let found = counterfactual_embedding(&probe(device), start(), &[1], AdamW::default(), 0.1, 5).unwrap();
            values(found.vectors)
        };
        assert_eq!(move_by(&Device::default()), move_by(&Device::default().autodiff()));
    }

    #[test]
    fn unusable_targets_are_refused() {
        let probe = probe(&Device::default().autodiff());
        let embed = |start: Tensor<2>, target: &[i64], steps| {
            counterfactual_embedding(&probe, start, target, AdamW::default(), 0.1, steps)
        };
        let start = |width: usize| Tensor::ones([1, width], &Device::default());
        assert!(embed(start(2), &[1], 1).is_ok());
        assert!(matches!(embed(start(2), &[1], 0), Err(ProbeError::Config { field: "steps", .. })));
        assert!(matches!(embed(start(2), &[2], 1), Err(ProbeError::Batch { what: "label", .. })));
        assert!(matches!(embed(start(2), &[1, 1], 1), Err(ProbeError::LabelCount { .. })));
        assert!(matches!(embed(start(3), &[1], 1), Err(ProbeError::Batch { .. })));
    }
}
