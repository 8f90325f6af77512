//! The random numbers of ablations: sampled masks, and new values for the weights of a circuit.

use rand::Rng;

use crate::ablation::Ablation;
use crate::error::CircuitError;
use crate::layout::{ParamLayout, Role};
use crate::rng;
use crate::target::LayerKind;

/// Samples what an ablation needs for one parameter, in storage order: a mask for `randomly_sampled` and
/// `complement_sampled`, new parameter values for `random_ablate`, and nothing for other ablations.
///
/// The sample is a function of (seed, ablation, layer, sample number) and, for masks, of the hard mask.
///
/// # Errors
/// Returns [`CircuitError::ComplementTooSmall`] if `complement_sampled` finds too few entries outside the circuit.
pub(crate) fn sample(
    ablation: Ablation,
    param: &ParamLayout,
    hard_mask: &[f32],
    seed: u64,
    sample: u64,
) -> Result<Vec<f32>, CircuitError> {
    let label = format!("{ablation}/{}", param.key());
    let mut rng = rng::stream(seed, &label, 0, sample);
    match ablation {
        Ablation::ZeroAblate => Ok(Vec::new()),
        Ablation::RandomAblate => Ok(reinitialise(param, &mut rng)),
        Ablation::RandomlySampled => {
            let pool = (0..hard_mask.len()).collect();
            Ok(knock_out(hard_mask, pool, &mut rng))
        }
        Ablation::ComplementSampled => {
            let pool: Vec<usize> = (0..hard_mask.len()).filter(|i| hard_mask[*i] == 0.0).collect();
            let circuit = hard_mask.len() - pool.len();
            if pool.len() < circuit {
                return Err(CircuitError::ComplementTooSmall { layer: param.key(), circuit, complement: pool.len() });
            }
            Ok(knock_out(hard_mask, pool, &mut rng))
        }
    }
}

/// A mask of ones with as many zeros as `hard_mask` has ones, at indices sampled from `pool`.
fn knock_out(hard_mask: &[f32], mut pool: Vec<usize>, rng: &mut impl Rng) -> Vec<f32> {
    let k = hard_mask.iter().filter(|m| **m != 0.0).count();
    let mut mask = vec![1.0; hard_mask.len()];
    for i in rng::sample_without_replacement(rng, pool.len(), k) {
        mask[std::mem::take(&mut pool[i])] = 0.0;
    }
    mask
}

/// Samples the default initialisation that PyTorch or Hugging Face uses for the parameter.
///
/// - linear layers and convolutions: weights and biases uniform in ±1/√fan_in (Kaiming-uniform with a = √5)
/// - GPT Conv1D: normal weights with standard deviation 0.02, zero biases
fn reinitialise(param: &ParamLayout, rng: &mut impl Rng) -> Vec<f32> {
    let n = param.len();
    match (param.kind, param.role) {
        (LayerKind::GptConv1d, Role::Weight) => (0..n).map(|_| 0.02 * rng::standard_normal(rng)).collect(),
        (LayerKind::GptConv1d, Role::Bias) => vec![0.0; n],
        (LayerKind::Linear | LayerKind::Conv1d | LayerKind::Conv2d, _) => {
            let bound = 1.0 / (param.fan_in.max(1) as f32).sqrt();
            (0..n).map(|_| bound * (2.0 * rng::uniform01(rng) - 1.0)).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::MaskUnit;

    fn param(kind: LayerKind, shape: &[usize]) -> ParamLayout {
        ParamLayout::weight("l", kind, "l.weight".into(), shape.to_vec(), MaskUnit::Weight)
    }

    fn sampled(ablation: Ablation, mask: &[f32], seed: u64) -> Result<Vec<f32>, CircuitError> {
        sample(ablation, &param(LayerKind::Linear, &[1, mask.len()]), mask, seed, 0)
    }

    proptest! {
        #[test]
        fn random_samples_have_exactly_the_circuits_size(
            mask in prop::collection::vec(prop::bool::ANY, 1..60), seed: u64
        ) {
            let mask: Vec<f32> = mask.into_iter().map(|m| f32::from(u8::from(m))).collect();
            let found = sampled(Ablation::RandomlySampled, &mask, seed).unwrap();
            let zeros = found.iter().filter(|m| **m == 0.0).count();
            prop_assert_eq!(zeros, mask.iter().filter(|m| **m == 1.0).count());
            prop_assert!(found.iter().all(|m| *m == 0.0 || *m == 1.0));
            prop_assert_eq!(found, sampled(Ablation::RandomlySampled, &mask, seed).unwrap());
        }

        #[test]
        fn complement_samples_are_disjoint_from_the_circuit_or_refused(
            mask in prop::collection::vec(prop::bool::ANY, 1..60), seed: u64
        ) {
            let mask: Vec<f32> = mask.into_iter().map(|m| f32::from(u8::from(m))).collect();
            let k = mask.iter().filter(|m| **m == 1.0).count();
            match sampled(Ablation::ComplementSampled, &mask, seed) {
                Ok(found) => {
                    prop_assert_eq!(found.iter().filter(|m| **m == 0.0).count(), k);
                    let overlap = found.iter().zip(&mask).any(|(f, m)| *f == 0.0 && *m == 1.0);
                    prop_assert!(!overlap);
                }
                Err(CircuitError::ComplementTooSmall { circuit, complement, .. }) => {
                    prop_assert_eq!((circuit, complement), (k, mask.len() - k));
                    prop_assert!(complement < circuit);
                }
                Err(other) => prop_assert!(false, "{other}"),
            }
        }
    }

    #[test]
    fn reinitialisations_follow_the_layer_kind() {
        let initialise = |param: &ParamLayout| reinitialise(param, &mut rng::stream(1, "r", 0, 0));
        let linear = param(LayerKind::Linear, &[16, 500]); // fan_in 16: within ±¼
        let values = initialise(&linear);
        assert!(values.iter().all(|v| v.abs() <= 0.25));
        assert!(values.iter().any(|v| v.abs() > 0.24));
        let bias = ParamLayout::bias(&linear, "l.bias".into(), vec![500]);
        assert!(initialise(&bias).iter().all(|v| v.abs() <= 0.25));

        let conv = param(LayerKind::Conv2d, &[100, 4, 5, 5]); // fan_in 100: within ±0.1
        assert!(initialise(&conv).iter().all(|v| v.abs() <= 0.1));

        let gpt = param(LayerKind::GptConv1d, &[100, 100]);
        let values = initialise(&gpt);
        let variance = values.iter().map(|v| f64::from(v * v)).sum::<f64>() / 10_000.0;
        assert!((variance.sqrt() - 0.02).abs() < 0.001);
        let bias = ParamLayout::bias(&gpt, "l.bias".into(), vec![100]);
        assert_eq!(initialise(&bias), vec![0.0; 100]);
    }
}
