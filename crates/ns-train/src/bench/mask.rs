//! Timing of masks alone: the elementwise work of a training step beside the matrix products of the masked layers.

use std::time::Instant;

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData};
use ns_circuit::{CircuitConfig, CircuitModel, discover_targets, rng};
use serde::Serialize;

use crate::error::TrainError;
use crate::recipe::OptimizerRecipe;

/// The masked layers of a transformer's attention block with a mean of squares as their loss: no attention between them.
#[derive(Module, Debug)]
struct Projections {
    c_attn: Linear,
    c_proj: Linear,
}

impl Projections {
    fn new(width: usize, device: &Device) -> Self {
        let linear = |input, output, stream| Linear {
            weight: Param::from_tensor(normal([input, output], stream, device)),
            ..LinearConfig::new(input, output).init(device)
        };
        Self { c_attn: linear(width, 3 * width, 1), c_proj: linear(width, width, 2) }
    }

    /// Shapes: x `[rows, width]`, result `[1]`.
    fn loss(&self, x: Tensor<2>) -> Tensor<1> {
        let [_, width] = x.dims();
        let values = self.c_attn.forward(x).narrow(1, 2 * width, width);
        self.c_proj.forward(values).square().mean()
    }
}

/// Milliseconds of one round.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct MaskTimes {
    /// A training step of the masked layers: forward, L0, backward, AdamW.
    pub masked_step: f64,
    /// Forward and backward of the same layers where the weights themselves are trained: what is left of the step
    /// without masks, L0 and optimiser.
    pub plain_pass: f64,
    /// The matrix products of that pass alone: two forward, three backward.
    pub products: f64,
    /// Forward and backward of the same layers where only a scale on each output unit is trained, and applied to the
    /// output.
    pub scaled_outputs_pass: f64,
    /// What masks, L0 and AdamW cost when nothing else is computed: effective weights, L0, gradients, step.
    pub masks_alone: f64,
    /// Of these, the optimiser.
    pub optimizer: f64,
}

/// Masks on the attention block's layers, and inputs to them.
pub struct MaskBench {
    circuit: CircuitModel<Projections>,
    plain: Projections,
    optimizer: ModuleOptimizer,
    x: Tensor<2>,
    step: u64,
}

impl MaskBench {
    /// Masks on `width × 3 width` and `width × width` weights, for `rows` tokens on `device`, which is without autodiff.
    /// `config` says how to mask; its layers are ignored.
    ///
    /// # Errors
    /// Those of [`CircuitModel::new`].
    pub fn new(config: &CircuitConfig, width: usize, rows: usize, device: &Device) -> Result<Self, TrainError> {
        let device = device.clone().autodiff();
        let plain = Projections::new(width, &device);
        let config = CircuitConfig { target_layers: vec!["c_attn".into(), "c_proj".into()], ..config.clone() };
        let circuit = CircuitModel::new(config, plain.clone(), &discover_targets(&plain))?;
        let optimizer = OptimizerRecipe::default().init();
        Ok(Self { circuit, plain, optimizer, x: normal([rows, width], 3, &device), step: 0 })
    }

    /// One round of everything.
    ///
    /// # Errors
    /// Those of the circuit.
    pub fn time(&mut self) -> Result<MaskTimes, TrainError> {
        self.step += 1;
        self.circuit.begin_step(0, self.step);
        let masked_step = milliseconds(|| self.masked_step())?;
        let plain_pass = milliseconds(|| self.plain_pass())?;
        let products = self.products();
        let scaled_outputs_pass = milliseconds(|| self.scaled_outputs_pass())?;
        let (masks_alone, optimizer) = self.masks_alone()?;
        Ok(MaskTimes { masked_step, plain_pass, products, scaled_outputs_pass, masks_alone, optimizer })
    }

    fn masked_step(&mut self) -> Result<(), TrainError> {
        let mut loss = self.circuit.model()?.loss(self.x.clone());
        if let Some(l0) = self.circuit.l0_loss() {
            loss = loss + l0;
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &self.circuit);
        self.circuit = self.optimizer.step(1e-3, self.circuit.clone(), gradients);
        self.finish();
        Ok(())
    }

    fn plain_pass(&self) -> Result<(), TrainError> {
        let gradients = self.plain.loss(self.x.clone()).backward();
        self.finish();
        drop(gradients);
        Ok(())
    }

    fn scaled_outputs_pass(&self) -> Result<(), TrainError> {
        let Projections { c_attn, c_proj } = self.plain.valid();
        let scale = |layer: &Linear| {
            let [_, output] = layer.weight.dims();
            Tensor::<2>::ones([1, output], &self.x.device()).require_grad()
        };
        let forward = |layer: &Linear, x: Tensor<2>, scale: Tensor<2>| {
            let output = x.matmul(Tensor::from_inner(layer.weight.val())) * scale;
            match &layer.bias {
                Some(bias) => output + Tensor::from_inner(bias.val()).unsqueeze(),
                None => output,
            }
        };
        let [_, width] = self.x.dims();
        let values = forward(&c_attn, self.x.clone(), scale(&c_attn)).narrow(1, 2 * width, width);
        let gradients = forward(&c_proj, values, scale(&c_proj)).square().mean().backward();
        self.finish();
        drop(gradients);
        Ok(())
    }

    /// The five products, summed over what each of them takes.
    fn products(&self) -> f64 {
        let Projections { c_attn, c_proj } = self.plain.valid();
        let (x, w_attn, w_proj) = (self.x.clone().inner(), c_attn.weight.val(), c_proj.weight.val());
        let [_, width] = x.dims();
        let (attn, attn_ms) = self.product(x.clone(), w_attn);
        let values = attn.clone().narrow(1, 0, width).mul_scalar(1.0);
        let (proj, proj_ms) = self.product(values.clone(), w_proj.clone());
        let others = [
            self.product(values.transpose(), proj.clone()).1,
            self.product(proj, w_proj.transpose()).1,
            self.product(x.transpose(), attn).1,
        ];
        attn_ms + proj_ms + others.iter().sum::<f64>()
    }

    fn product(&self, a: Tensor<2>, b: Tensor<2>) -> (Tensor<2>, f64) {
        let start = Instant::now();
        let product = a.matmul(b);
        self.finish();
        let elapsed = start.elapsed();
        (product, elapsed.as_secs_f64() * 1e3)
    }

    /// Masks, L0, gradients and AdamW without a product: the loss is the sum of the effective weights.
    fn masks_alone(&mut self) -> Result<(f64, f64), TrainError> {
        let start = Instant::now();
        let model = self.circuit.model()?;
        let mut loss = model.c_attn.weight.val().sum() + model.c_proj.weight.val().sum();
        if let Some(l0) = self.circuit.l0_loss() {
            loss = loss + l0;
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &self.circuit);
        self.finish();
        let before = start.elapsed();
        self.circuit = self.optimizer.step(1e-3, self.circuit.clone(), gradients);
        self.finish();
        let all = start.elapsed();
        Ok((all.as_secs_f64() * 1e3, (all - before).as_secs_f64() * 1e3))
    }

    fn finish(&self) {
        let finished = self.x.device().sync();
        finished.unwrap_or_else(|error| panic!("the device cannot finish its work: {error}"));
    }
}

fn milliseconds(run: impl FnOnce() -> Result<(), TrainError>) -> Result<f64, TrainError> {
    let start = Instant::now();
    run()?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

/// Fixed normal numbers, small enough for a weight.
fn normal<const D: usize>(shape: [usize; D], stream: u64, device: &Device) -> Tensor<D> {
    let mut rng = rng::stream(0, "bench/mask", 0, stream);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| 0.02 * rng::standard_normal(&mut rng)).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ns_circuit::MaskUnit;

    #[test]
    fn every_unit_is_timed() {
        for mask_unit in [MaskUnit::Weight, MaskUnit::Neuron] {
            let config = CircuitConfig { mask_unit, ..CircuitConfig::default() };
            let times = MaskBench::new(&config, 4, 3, &Device::default()).unwrap().time().unwrap();
            assert!(times.masked_step > 0.0 && times.products > 0.0 && times.optimizer < times.masks_alone);
        }
    }
}
