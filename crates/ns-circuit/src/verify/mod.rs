//! Runs a golden mask case: a single layer with its masks, outputs and gradients in every mode.
//!
//! The caller compares the results with the tensors that the case expects.

mod case;
mod layer;

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::nn::conv::{Conv1d, Conv2d};
use burn::nn::{Linear, PaddingConfig1d, PaddingConfig2d};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use serde::Deserialize;

use self::case::{Geometry, MaskCase, expect_shape, floats, invalid};
use self::layer::CaseModel;
use crate::ablation::Ablation;
use crate::config::MagnitudeCriterion;
use crate::error::CircuitError;
use crate::layout::transpose;
use crate::mask::host;
use crate::model::CircuitModel;
use crate::target::{LayerKind, MaskTarget};

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
pub fn run_mask_case(
    case: &serde_json::Value,
    tensors: &BTreeMap<String, TensorData>,
    device: &Device,
) -> Result<BTreeMap<String, TensorData>, CircuitError> {
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
    tensors: &'a BTreeMap<String, TensorData>,
    device: Device,
    model: CaseModel,
    target: MaskTarget,
    x: Vec<f32>,
    x_shape: Vec<usize>,
    weight_shape: Vec<usize>,
    output_shape: Vec<usize>,
}

impl<'a> MaskCaseRun<'a> {
    fn new(case: MaskCase, tensors: &'a BTreeMap<String, TensorData>, device: Device) -> Result<Self, CircuitError> {
        let (weight, weight_shape) = floats(tensors, "weight")?;
        let (x, x_shape) = floats(tensors, "x")?;
        if weight_shape.len() != case.layer.rank() || weight_shape.contains(&0) {
            return Err(invalid(format!("a {} weight cannot have shape {weight_shape:?}", case.layer)));
        }
        let linear = matches!(case.layer, LayerKind::Linear | LayerKind::GptConv1d);
        let out_features = match case.layer {
            LayerKind::GptConv1d => weight_shape[1],
            _ => weight_shape[0],
        };
        let bias = match tensors.contains_key("bias") {
            true => {
                let (bias, shape) = floats(tensors, "bias")?;
                expect_shape("bias", &[out_features], &shape)?;
                Some(Param::from_data(TensorData::new(bias, shape), &device))
            }
            false => None,
        };
        if !linear && x_shape.len() != weight_shape.len() || x_shape.is_empty() {
            return Err(invalid(format!("a {} input cannot have shape {x_shape:?}", case.layer)));
        }
        let mut model = CaseModel { linear: None, conv1d: None, conv2d: None };
        let path = match case.layer {
            LayerKind::Linear | LayerKind::GptConv1d => {
                let (weight, shape) = match case.layer {
                    LayerKind::Linear => {
                        let (out, input) = (weight_shape[0], weight_shape[1]);
                        (transpose(&weight, out, input), vec![input, out])
                    }
                    _ => (weight, weight_shape.clone()),
                };
                let features = x_shape[x_shape.len() - 1];
                if features != shape[0] {
                    return Err(invalid(format!("x has {features} features, but the weight has {} inputs", shape[0])));
                }
                model.linear = Some(Linear { weight: Param::from_data(TensorData::new(weight, shape), &device), bias });
                "linear"
            }
            LayerKind::Conv1d => {
                let geometry = Geometry::<1>::new(&case, &weight_shape, &x_shape)?;
                model.conv1d = Some(Conv1d {
                    weight: Param::from_data(TensorData::new(weight, weight_shape.clone()), &device),
                    bias,
                    stride: geometry.stride[0],
                    kernel_size: geometry.kernel[0],
                    dilation: geometry.dilation[0],
                    groups: geometry.groups,
                    padding: PaddingConfig1d::Explicit(geometry.padding[0], geometry.padding[0]),
                });
                "conv1d"
            }
            LayerKind::Conv2d => {
                let geometry = Geometry::<2>::new(&case, &weight_shape, &x_shape)?;
                let [h, w] = geometry.padding;
                model.conv2d = Some(Conv2d {
                    weight: Param::from_data(TensorData::new(weight, weight_shape.clone()), &device),
                    bias,
                    stride: geometry.stride,
                    kernel_size: geometry.kernel,
                    dilation: geometry.dilation,
                    groups: geometry.groups,
                    padding: PaddingConfig2d::Explicit(h, w, h, w),
                });
                "conv2d"
            }
        };
        let output_shape = match case.layer {
            LayerKind::Conv1d => Geometry::<1>::new(&case, &weight_shape, &x_shape)?.output,
            LayerKind::Conv2d => Geometry::<2>::new(&case, &weight_shape, &x_shape)?.output,
            _ => [&x_shape[..x_shape.len() - 1], &[out_features]].concat(),
        };
        Ok(Self {
            target: MaskTarget { name: LAYER.to_string(), path: path.to_string(), kind: case.layer },
            case,
            tensors,
            device,
            model,
            x,
            x_shape,
            weight_shape,
            output_shape,
        })
    }

    fn circuit(&self, criterion: MagnitudeCriterion) -> Result<CircuitModel<CaseModel>, CircuitError> {
        let mut circuit = CircuitModel::with_constants(
            self.case.config(criterion)?,
            self.model.clone(),
            std::slice::from_ref(&self.target),
            self.case.constants(),
        )?;
        let inputs = |fields: [(&str, &str); 2]| -> BTreeMap<String, TensorData> {
            fields
                .iter()
                .filter_map(|(name, key)| {
                    let data = self.tensors.get(*name)?.clone();
                    Some((format!("{LAYER}.{key}"), data))
                })
                .collect()
        };
        if self.case.method == "hard_concrete" {
            let noise = inputs([("u_weight", "weight"), ("u_bias", "bias")]);
            circuit.inject_noise(Some(noise))?;
        }
        if let ("continuous_sparsification", Some(temperature)) = (self.case.method.as_str(), self.case.temperature) {
            circuit.set_temperature(temperature as f32)?;
        }
        circuit.load_mask_params(&inputs([
            ("weight_mask_params", "weight_mask_params"),
            ("bias_mask_params", "bias_mask_params"),
        ]))?;
        Ok(circuit)
    }

    fn train(&self, out: &mut BTreeMap<String, TensorData>) -> Result<(), CircuitError> {
        let circuit = self.circuit(MagnitudeCriterion::Raw)?;
        let (cotangent, shape) = floats(self.tensors, "cotangent")?;
        expect_shape("cotangent", &self.output_shape, &shape)?;
        let x = self.input(&self.device).require_grad();
        let output = circuit.model()?.forward(x.clone(), &self.x_shape);
        let cotangent = Tensor::from_data(TensorData::from(cotangent.as_slice()), &self.device);
        let gradients = (output.clone() * cotangent).sum().backward();

        put_masks(out, "train_", &circuit)?;
        self.put_output(out, "train_output", output);
        if let Some(gradient) = x.grad(&gradients) {
            let data = TensorData::new(host(gradient), self.x_shape.clone());
            out.insert("grad_x".into(), data);
        }
        let (weight, bias) = circuit.base().gradients(&gradients);
        if let Some(weight) = weight {
            let weight = match self.case.layer {
                LayerKind::Linear => transpose(&weight, self.weight_shape[1], self.weight_shape[0]),
                _ => weight,
            };
            let data = TensorData::new(weight, self.weight_shape.clone());
            out.insert("grad_weight".into(), data);
        }
        if let Some(bias) = bias {
            out.insert("grad_bias".into(), TensorData::from(bias.as_slice()));
        }
        put_gradients(out, "grad_", &circuit, &gradients);

        let l0 = circuit.l0_training();
        out.insert("l0_train".into(), scalar(host(l0.clone())[0]));
        if l0.is_tracked() {
            put_gradients(out, "grad_l0_", &circuit, &l0.backward());
        }
        Ok(())
    }

    fn evaluate(&self, out: &mut BTreeMap<String, TensorData>) -> Result<(), CircuitError> {
        let mut circuit = self.circuit(MagnitudeCriterion::Raw)?.valid();
        let l0 = circuit.l0();
        out.insert("l0_eval".into(), scalar(l0.total as f32));
        out.insert("max_l0".into(), scalar(l0.max as f32));
        for ablation in [Ablation::None, Ablation::ZeroAblate] {
            circuit.set_ablation(ablation)?;
            self.put_evaluation(out, &format!("eval_{ablation}_"), &circuit)?;
        }
        Ok(())
    }

    fn evaluate_pruning(&self, out: &mut BTreeMap<String, TensorData>) -> Result<(), CircuitError> {
        let raw = self.circuit(MagnitudeCriterion::Raw)?.valid();
        self.put_evaluation(out, "expected_eval_", &raw)?;
        let absolute = self.circuit(MagnitudeCriterion::Absolute)?.valid();
        self.put_evaluation(out, "abs_eval_", &absolute)
    }

    fn put_evaluation(
        &self,
        out: &mut BTreeMap<String, TensorData>,
        prefix: &str,
        circuit: &CircuitModel<CaseModel>,
    ) -> Result<(), CircuitError> {
        let x = self.input(&self.device.clone().without_autodiff());
        let output = circuit.model()?.forward(x, &self.x_shape);
        self.put_output(out, &format!("{prefix}output"), output);
        put_masks(out, prefix, circuit)
    }

    fn input(&self, device: &Device) -> Tensor<1> {
        Tensor::from_data(TensorData::from(self.x.as_slice()), device)
    }

    fn put_output(&self, out: &mut BTreeMap<String, TensorData>, name: &str, output: Tensor<1>) {
        let data = TensorData::new(host(output), self.output_shape.clone());
        out.insert(name.to_string(), data);
    }
}

fn put_masks(
    out: &mut BTreeMap<String, TensorData>,
    prefix: &str,
    circuit: &CircuitModel<CaseModel>,
) -> Result<(), CircuitError> {
    put_all(out, prefix, circuit.effective_masks()?);
    Ok(())
}

fn put_gradients(
    out: &mut BTreeMap<String, TensorData>,
    prefix: &str,
    circuit: &CircuitModel<CaseModel>,
    gradients: &Gradients,
) {
    put_all(out, prefix, circuit.mask_gradients(gradients));
}

fn put_all(out: &mut BTreeMap<String, TensorData>, prefix: &str, found: BTreeMap<String, TensorData>) {
    for (name, data) in found {
        let field = name.rsplit('.').next().unwrap_or(&name);
        out.insert(format!("{prefix}{field}"), data);
    }
}

fn scalar(value: f32) -> TensorData {
    TensorData::new(vec![value], [1])
}
