//! AdamW in one pass over parameter, gradient and moments.

use burn::optim::{AdamWState, AdaptiveMomentumState, LearningRate, Optimizer};
use burn::tensor::{Device, Tensor};

use crate::kernels::{AdamWStep, adamw};

/// AdamW (Loshchilov and Hutter 2019, <https://arxiv.org/abs/1711.05101>) with a one-pass kernel for the CPU.
///
/// Results and records are identical to those of [Burn's AdamW](burn::optim::AdamW), so a checkpoint of one can be
/// continued with the other. Burn's AdamW passes over each parameter about a dozen times. With a mask on every weight,
/// this costs as much time as the matrix products.
///
/// ```
/// use burn::optim::ModuleOptimizer;
/// use ns_circuit::AdamW;
///
/// let optimizer: ModuleOptimizer = AdamW { weight_decay: 0.0, ..AdamW::default() }.into();
/// assert!(!optimizer.has_gradient_clipping());
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Decay rates of the first and second moment, `β₁` and `β₂`.
    pub betas: [f32; 2],
    /// Small constant `ε` in the denominator.
    pub epsilon: f32,
    /// Decoupled weight decay, applied to every parameter.
    pub weight_decay: f32,
}

impl Default for AdamW {
    /// The defaults of PyTorch: `β₁ = 0.9`, `β₂ = 0.999`, `ε = 1e-8`, weight decay 0.01.
    fn default() -> Self {
        Self { betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 1e-2 }
    }
}

impl Optimizer for AdamW {
    type State<const D: usize> = AdamWState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let (time, moments) = match state {
            Some(AdamWState { momentum }) => (momentum.time + 1, [momentum.moment_1, momentum.moment_2]),
            None => (1, [grad.zeros_like(), grad.zeros_like()]),
        };
        let step = AdamWStep {
            betas: self.betas,
            corrections: self.betas.map(|beta| 1.0 - beta.powi(time as i32)),
            epsilon: self.epsilon,
            learning_rate: lr as f32,
            kept: (1.0 - lr * f64::from(self.weight_decay)) as f32,
        };
        let (tensor, [first, second]) = adamw(tensor, grad, moments, step);
        (tensor, Some(AdamWState::new(AdaptiveMomentumState::new(time, first, second))))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        AdamWState { momentum: state.momentum.to_device(device) }
    }
}

#[cfg(test)]
mod tests {
    use burn::module::{Module, Param};
    use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
    use burn::tensor::TensorData;

    use super::*;
    use crate::mask::host;
    use crate::testing::normal;

    const N: usize = 20_011;

    #[derive(Module, Debug)]
    struct Weights {
        flat: Param<Tensor<1>>,
        grid: Param<Tensor<2>>,
    }

    fn weights() -> Weights {
        let device = Device::default().autodiff();
        let data = |stream, shape: &[usize]| TensorData::new(normal(shape.iter().product(), stream), shape.to_vec());
        Weights { flat: Param::from_data(data(1, &[N]), &device), grid: Param::from_data(data(2, &[3, 7]), &device) }
    }

    fn ours(weight_decay: f32) -> ModuleOptimizer {
        AdamW { betas: [0.9, 0.98], epsilon: 1e-8, weight_decay }.into()
    }

    fn burns(weight_decay: f32) -> ModuleOptimizer {
        let config = AdamWConfig::new().with_beta_1(0.9).with_beta_2(0.98).with_epsilon(1e-8);
        config.with_weight_decay(weight_decay).init()
    }

    fn train(mut weights: Weights, optimizer: &mut ModuleOptimizer, steps: std::ops::Range<u64>) -> Weights {
        for step in steps {
            let device = Device::default().autodiff();
            let noise = Tensor::<1>::from_data(TensorData::new(normal(N, 10 + step), [N]), &device);
            let loss = (weights.flat.val() * noise).sum() + weights.grid.val().powi_scalar(4).sum();
            let gradients = GradientsParams::from_grads(loss.backward(), &weights);
            weights = optimizer.step(1e-2 / (1.0 + step as f64), weights, gradients);
        }
        weights
    }

    fn values(weights: &Weights) -> (Vec<f32>, Vec<f32>) {
        (host(weights.flat.val()), host(weights.grid.val()))
    }

    #[test]
    fn matches_burn_bit_for_bit() {
        for decay in [0.0, 0.1] {
            let found = train(weights(), &mut ours(decay), 0..5);
            let expected = train(weights(), &mut burns(decay), 0..5);
            assert_eq!(values(&found), values(&expected), "decay {decay}");
        }
    }

    #[test]
    fn a_record_of_either_continues_with_the_other() {
        let expected = values(&train(weights(), &mut burns(0.01), 0..6));
        let (mut first, mut second) = (burns(0.01), ours(0.01));
        for (before, after) in [(&mut first, ours(0.01)), (&mut second, burns(0.01))] {
            let weights = train(weights(), before, 0..3);
            let mut after = after.load_record(before.to_record());
            assert_eq!(values(&train(weights, &mut after, 3..6)), expected);
        }
    }

    #[test]
    fn shared_tensors_keep_their_values() {
        let tensor = |stream| Tensor::<1>::from_data(TensorData::new(normal(N, stream), [N]), &Device::default());
        let (parameter, gradient) = (tensor(1), tensor(2));
        let (_, state) = AdamW::default().step(1e-3, parameter.clone(), gradient.clone(), None);
        let kept = state.unwrap();
        let before = host(kept.momentum.moment_1.clone());
        AdamW::default().step(1e-3, parameter.clone(), gradient.clone(), Some(kept.clone()));
        assert_eq!(host(kept.momentum.moment_1), before);
        assert_eq!((host(parameter), host(gradient)), (normal(N, 1), normal(N, 2)));
    }
}
