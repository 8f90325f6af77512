//! Runs a golden mask case: a single layer with its masks, outputs and gradients in every mode.
//!
//! The caller compares the results with the tensors that the case expects.

mod case;
mod layer;

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use serde::Deserialize;

use self::case::{MaskCase, expect_shape, floats, invalid};
use self::layer::CaseModel;
use crate::ablation::{Ablation, ModelVariant};
use crate::config::MagnitudeCriterion;
use crate::error::CircuitError;
use crate::layout::transpose;
use crate::mask::host;
use crate::model::CircuitModel;
use crate::target::{LayerKind, MaskTarget, discover_targets};

type Tensors = BTreeMap<String, TensorData>;

/// Name of the layer in a case.
const LAYER: &str = "layer";

/// Names of the input tensors of a mask case. All other tensors in its file are expected results of [`run_mask_case`].
pub const MASK_CASE_INPUTS: [&str; 8] =
    ["weight", "bias", "x", "weight_mask_params", "bias_mask_params", "u_weight", "u_bias", "cotangent"];

/// Runs a golden mask case and returns all results by name.
///
/// `case` is the content of `case.json`, and `tensors` holds the input tensors ([`MASK_CASE_INPUTS`]). Results are
/// `f32` in Hugging Face's layout; scalars have shape `[1]`. Magnitude pruning runs with both criteria: signed values
/// (`train_*`, `eval_*`, `expected_eval_*`) and absolute values (`abs_eval_*`).
///
/// # Errors
/// Returns [`CircuitError::InvalidCase`] for an invalid `case.json`, and [`CircuitError::MissingTensor`] or
/// [`CircuitError::ShapeMismatch`] for tensors that do not fit it.
pub fn run_mask_case(case: &serde_json::Value, tensors: &Tensors, device: &Device) -> Result<Tensors, CircuitError> {
    let case: MaskCase = MaskCase::deserialize(case).map_err(|error| invalid(format!("case.json: {error}")))?;
    let run = MaskCaseRun::new(case, tensors, device.clone().autodiff())?;
    let mut out = BTreeMap::new();
    run.train(&mut out)?;
    run.evaluate(&mut out)?;
    if run.case.method == "magnitude_pruning" {
        run.evaluate_pruning(&mut out)?;
    }
    Ok(out)
}

/// A checked case, with the module that it describes.
struct MaskCaseRun<'a> {
    case: MaskCase,
    tensors: &'a Tensors,
    device: Device,
    model: CaseModel,
    x: Vec<f32>,
    x_shape: Vec<usize>,
    weight_shape: Vec<usize>,
    output_shape: Vec<usize>,
}

impl<'a> MaskCaseRun<'a> {
    fn new(case: MaskCase, tensors: &'a Tensors, device: Device) -> Result<Self, CircuitError> {
        let (weight, weight_shape) = floats(tensors, "weight")?;
        let (x, x_shape) = floats(tensors, "x")?;
        if weight_shape.len() != case.layer.rank() || weight_shape.contains(&0) {
            return Err(invalid(format!("a {} weight cannot have shape {weight_shape:?}", case.layer)));
        }
        let bias = match tensors.contains_key("bias") {
            true => {
                let (bias, shape) = floats(tensors, "bias")?;
                let outputs = if case.layer == LayerKind::GptConv1d { weight_shape[1] } else { weight_shape[0] };
                expect_shape("bias", &[outputs], &shape)?;
                Some(Param::from_data(TensorData::new(bias, shape), &device))
            }
            false => None,
        };
        let (model, output_shape) = CaseModel::new(&case, weight, &weight_shape, bias, &x_shape, &device)?;
        Ok(Self { case, tensors, device, model, x, x_shape, weight_shape, output_shape })
    }

    fn circuit(&self, criterion: MagnitudeCriterion) -> Result<CircuitModel<CaseModel>, CircuitError> {
        // The discovery takes GPT-2's `Conv1D` for a linear layer, and names the layer after its path.
        let named = |target| MaskTarget { name: LAYER.to_string(), kind: self.case.layer, ..target };
        let targets: Vec<MaskTarget> = discover_targets(&self.model).into_iter().map(named).collect();
        let config = self.case.config(criterion)?;
        let mut circuit = CircuitModel::with_constants(config, self.model.clone(), &targets, self.case.constants())?;
        let input = |name: &str, key: &str| Some((format!("{LAYER}.{key}"), self.tensors.get(name)?.clone()));
        if self.case.method == "hard_concrete" {
            let noise = [input("u_weight", "weight"), input("u_bias", "bias")];
            circuit.inject_noise(Some(noise.into_iter().flatten().collect()))?;
        }
        if let ("continuous_sparsification", Some(temperature)) = (self.case.method.as_str(), self.case.temperature) {
            circuit.set_temperature(temperature as f32)?;
        }
        let params = ["weight_mask_params", "bias_mask_params"].into_iter().filter_map(|name| input(name, name));
        circuit.load_mask_params(&params.collect())?;
        Ok(circuit)
    }

    fn train(&self, out: &mut Tensors) -> Result<(), CircuitError> {
        let circuit = self.circuit(MagnitudeCriterion::Raw)?;
        let (cotangent, shape) = floats(self.tensors, "cotangent")?;
        expect_shape("cotangent", &self.output_shape, &shape)?;
        let x = self.input(&self.device).require_grad();
        let output = circuit.model()?.forward(x.clone(), &self.x_shape);
        let cotangent = Tensor::from_data(TensorData::from(cotangent.as_slice()), &self.device);
        let gradients = (output.clone() * cotangent).sum().backward();

        put_all(out, "train_", circuit.effective_masks()?);
        self.put_output(out, "train_output", output);
        if let Some(gradient) = x.grad(&gradients) {
            out.insert("grad_x".into(), TensorData::new(host(gradient), self.x_shape.clone()));
        }
        let (weight, bias) = circuit.base().gradients(&gradients);
        if let Some(weight) = weight {
            let weight = match self.case.layer {
                LayerKind::Linear => transpose(&weight, self.weight_shape[1], self.weight_shape[0]),
                _ => weight,
            };
            out.insert("grad_weight".into(), TensorData::new(weight, self.weight_shape.clone()));
        }
        if let Some(bias) = bias {
            out.insert("grad_bias".into(), TensorData::from(bias.as_slice()));
        }
        put_all(out, "grad_", circuit.mask_gradients(&gradients));

        let l0 = circuit.l0_training();
        out.insert("l0_train".into(), scalar(host(l0.clone())[0]));
        if l0.is_tracked() {
            put_all(out, "grad_l0_", circuit.mask_gradients(&l0.backward()));
        }
        Ok(())
    }

    fn evaluate(&self, out: &mut Tensors) -> Result<(), CircuitError> {
        let mut circuit = self.circuit(MagnitudeCriterion::Raw)?.valid();
        let l0 = circuit.l0();
        out.insert("l0_eval".into(), scalar(l0.weights as f32));
        out.insert("max_l0".into(), scalar(l0.max_weights as f32));
        self.put_evaluation(out, "eval_none_", &circuit)?;
        circuit.set_variant(ModelVariant::Ablated(Ablation::ZeroAblate))?;
        self.put_evaluation(out, "eval_zero_ablate_", &circuit)?;
        Ok(())
    }

    fn evaluate_pruning(&self, out: &mut Tensors) -> Result<(), CircuitError> {
        let raw = self.circuit(MagnitudeCriterion::Raw)?.valid();
        self.put_evaluation(out, "expected_eval_", &raw)?;
        let absolute = self.circuit(MagnitudeCriterion::Absolute)?.valid();
        self.put_evaluation(out, "abs_eval_", &absolute)
    }

    fn put_evaluation(
        &self,
        out: &mut Tensors,
        prefix: &str,
        circuit: &CircuitModel<CaseModel>,
    ) -> Result<(), CircuitError> {
        let x = self.input(&self.device.clone().without_autodiff());
        let output = circuit.model()?.forward(x, &self.x_shape);
        self.put_output(out, &format!("{prefix}output"), output);
        put_all(out, prefix, circuit.effective_masks()?);
        Ok(())
    }

    fn input(&self, device: &Device) -> Tensor<1> {
        Tensor::from_data(TensorData::from(self.x.as_slice()), device)
    }

    fn put_output(&self, out: &mut Tensors, name: &str, output: Tensor<1>) {
        out.insert(name.to_string(), TensorData::new(host(output), self.output_shape.clone()));
    }
}

/// Adds the tensors of the layer with `prefix` in place of its name.
fn put_all(out: &mut Tensors, prefix: &str, found: Tensors) {
    for (name, data) in found {
        let field = name.rsplit('.').next().unwrap_or(&name);
        out.insert(format!("{prefix}{field}"), data);
    }
}

fn scalar(value: f32) -> TensorData {
    TensorData::from([value])
}
