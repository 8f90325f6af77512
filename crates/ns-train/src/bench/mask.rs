//! Timing of masks: the elementwise work of a training step, compared with the matrix products of the masked layers.

use std::time::Instant;

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData};
use ns_circuit::{CircuitConfig, CircuitModel, discover_targets, rng};
use serde::Serialize;

use crate::error::TrainError;
use crate::recipe::OptimizerRecipe;

/// The two projections of an attention sublayer, without the attention between them. The loss is the mean of the
/// squared outputs.
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

    /// # Shapes
    /// - x: `[rows, width]`
    /// - output: `[1]`
    fn loss(&self, x: Tensor<2>) -> Tensor<1> {
        let [_, width] = x.dims();
        let values = self.c_attn.forward(x).narrow(1, 2 * width, width);
        self.c_proj.forward(values).square().mean()
    }
}

/// Times of one round, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct MaskTimes {
    /// A training step of the masked layers: forward, L0, backward, AdamW.
    pub masked_step: f64,
    /// Forward and backward pass of these layers without masks, with trainable weights. It has no L0 and no optimiser.
    pub plain_pass: f64,
    /// The five matrix products of [`plain_pass`](Self::plain_pass) alone: two forward, three backward.
    pub products: f64,
    /// Forward and backward pass of these layers with frozen weights and one trainable scale per output unit, which is
    /// multiplied with the output.
    pub scaled_outputs_pass: f64,
    /// Masks, L0 and AdamW without the layers: effective weights, L0, their gradients, and the optimiser.
    pub masks_alone: f64,
    /// The part of [`masks_alone`](Self::masks_alone) that the optimiser takes.
    pub optimizer: f64,
}

/// Times masks on the two projections of an attention sublayer with random weights and inputs.
pub struct MaskBench {
    circuit: CircuitModel<Projections>,
    plain: Projections,
    optimizer: ModuleOptimizer,
    x: Tensor<2>,
    step: u64,
}

impl MaskBench {
    /// Creates masks on weights of `width × 3 width` and `width × width`, and a batch of `rows` tokens. `device` must
    /// be without autodiff. The target layers of `config` are ignored.
    ///
    /// # Errors
    /// Returns [`TrainError::Circuit`] if the configuration is invalid.
    pub fn new(config: &CircuitConfig, width: usize, rows: usize, device: &Device) -> Result<Self, TrainError> {
        let device = device.clone().autodiff();
        let plain = Projections::new(width, &device);
        let config = CircuitConfig { target_layers: vec!["c_attn".into(), "c_proj".into()], ..config.clone() };
        let circuit = CircuitModel::new(config, plain.clone(), &discover_targets(&plain))?;
        let optimizer = OptimizerRecipe::default().init();
        Ok(Self { circuit, plain, optimizer, x: normal([rows, width], 3, &device), step: 0 })
    }

    /// Runs one round of all measurements.
    ///
    /// # Errors
    /// Returns [`TrainError::Circuit`] if a masked forward pass fails.
    ///
    /// # Panics
    /// Panics if the device fails during a measurement, e.g. if it runs out of memory.
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
        let loss = self.circuit.with_l0(self.circuit.model()?.loss(self.x.clone())).total;
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

    /// Total time of the five matrix products, in milliseconds.
    fn products(&self) -> f64 {
        let Projections { c_attn, c_proj } = self.plain.valid();
        let (x, w_attn, w_proj) = (self.x.clone().inner(), c_attn.weight.val(), c_proj.weight.val());
        let [_, width] = x.dims();
        let (attn, attn_ms) = self.product(x.clone(), w_attn);
        let values = attn.clone().narrow(1, 0, width).mul_scalar(1.0);
        let (proj, proj_ms) = self.product(values.clone(), w_proj.clone());
        let backward = [
            self.product(values.transpose(), proj.clone()).1,
            self.product(proj, w_proj.transpose()).1,
            self.product(x.transpose(), attn).1,
        ];
        attn_ms + proj_ms + backward.iter().sum::<f64>()
    }

    /// Computes a matrix product and its time in milliseconds.
    fn product(&self, a: Tensor<2>, b: Tensor<2>) -> (Tensor<2>, f64) {
        let start = Instant::now();
        let product = a.matmul(b);
        self.finish();
        let elapsed = start.elapsed();
        (product, elapsed.as_secs_f64() * 1e3)
    }

    /// Times masks, L0, gradients and AdamW without matrix products: the loss is the sum of the effective weights.
    /// Returns the total and the optimiser's part, in milliseconds.
    fn masks_alone(&mut self) -> Result<(f64, f64), TrainError> {
        let start = Instant::now();
        let model = self.circuit.model()?;
        let sum = model.c_attn.weight.val().sum() + model.c_proj.weight.val().sum();
        let loss = self.circuit.with_l0(sum).total;
        let gradients = GradientsParams::from_grads(loss.backward(), &self.circuit);
        self.finish();
        let without_optimizer = start.elapsed();
        self.circuit = self.optimizer.step(1e-3, self.circuit.clone(), gradients);
        self.finish();
        let total = start.elapsed();
        Ok((total.as_secs_f64() * 1e3, (total - without_optimizer).as_secs_f64() * 1e3))
    }

    /// Waits until the device has executed all operations.
    fn finish(&self) {
        let finished = self.x.device().sync();
        finished.unwrap_or_else(|error| panic!("the device failed during a measurement: {error}"));
    }
}

fn milliseconds(run: impl FnOnce() -> Result<(), TrainError>) -> Result<f64, TrainError> {
    let start = Instant::now();
    run()?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

/// Normal numbers with standard deviation 0.02, from a fixed seed.
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
