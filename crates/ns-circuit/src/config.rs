//! The configuration of a circuit: what to mask and how, in the JSON format of NeuroSurgeon.

use serde::{Deserialize, Serialize};

use crate::ablation::{self, Ablation};
use crate::error::CircuitError;

/// The part of a weight that one mask entry covers. A bias mask always has one entry per bias entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MaskUnit {
    /// One weight.
    #[default]
    Weight,
    /// All weights of one output unit. In a convolution: all weights of one output channel and kernel position.
    Neuron,
}

/// The value that magnitude pruning compares with the quantile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MagnitudeCriterion {
    /// The absolute value of the weight.
    #[default]
    Absolute,
    /// The signed weight, as in the Python NeuroSurgeon. This is not what the name of the method says, and is kept for
    /// comparison with it.
    Raw,
}

/// How masks are computed.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum MaskMethod {
    /// Masks from logits `s` and a temperature `τ`: `σ(τ s)` in training, `s > 0` in evaluation (Savarese et al. 2020).
    ContinuousSparsification {
        /// Initial value of the logits.
        mask_init_value: f32,
    },
    /// Samples of the hard concrete distribution in training, the rounded gate without noise in evaluation (Louizos et
    /// al. 2018).
    HardConcrete {
        /// Initial keep probability of the mask entries, in `[0, 1]`. The logits start at `ln(p / (1 − p))`.
        mask_init_percentage: f32,
    },
    /// Masks that remove the smallest weights. Nothing is learned.
    MagnitudePruning {
        /// Fraction of the weights to prune, in `[0, 1]`.
        prune_percentage: f32,
        /// The value that is compared with the quantile.
        criterion: MagnitudeCriterion,
    },
}

impl MaskMethod {
    /// The method's name in configuration files.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ContinuousSparsification { .. } => "continuous_sparsification",
            Self::HardConcrete { .. } => "hard_concrete",
            Self::MagnitudePruning { .. } => "magnitude_pruning",
        }
    }
}

/// The configuration of a [`CircuitModel`](crate::CircuitModel).
///
/// It is serialised in the JSON format of NeuroSurgeon: `mask_method` is the name of the method, and `mask_hparams`
/// holds its parameters together with `ablation`, `mask_unit` and `mask_bias`. Unknown keys are ignored, and missing
/// keys have the defaults of the Python class. So a configuration that the Python class wrote can be read as well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawConfig", into = "RawConfig")]
pub struct CircuitConfig {
    /// How masks are computed.
    pub mask_method: MaskMethod,
    /// Whether single weights or whole neurons are masked. Magnitude pruning supports only weights.
    pub mask_unit: MaskUnit,
    /// Whether biases are masked too.
    pub mask_bias: bool,
    /// The initial ablation of evaluation mode; `None` for the circuit alone. Training ignores it.
    pub ablation: Option<Ablation>,
    /// Names or patterns of the layers to mask. `*` matches any text, `?` any character, and `[0-2]` one character of a
    /// set. [`CircuitModel::config`](crate::CircuitModel::config) holds the names that the patterns matched.
    pub target_layers: Vec<String>,
    /// Whether the base model is frozen: no gradients, no dropout.
    pub freeze_base: bool,
    /// Whether the L0 term is added to the loss.
    pub add_l0: bool,
    /// Weight of the L0 term in the loss.
    pub l0_lambda: f64,
}

impl Default for CircuitConfig {
    fn default() -> Self {
        Self {
            mask_method: MaskMethod::ContinuousSparsification { mask_init_value: DEFAULT_INIT_VALUE },
            mask_unit: MaskUnit::Weight,
            mask_bias: false,
            ablation: None,
            target_layers: Vec::new(),
            freeze_base: true,
            add_l0: true,
            l0_lambda: DEFAULT_LAMBDA,
        }
    }
}

impl CircuitConfig {
    /// Checks that all values are valid.
    ///
    /// # Errors
    /// Returns [`CircuitError::InvalidConfig`] for a fraction outside `[0, 1]`, for a value that is not finite, for a
    /// negative `l0_lambda`, and for magnitude pruning of neurons. Returns [`CircuitError::DuplicateLayer`] for a layer
    /// that is named twice.
    pub fn validate(&self) -> Result<(), CircuitError> {
        match self.mask_method {
            MaskMethod::ContinuousSparsification { mask_init_value } => {
                if !mask_init_value.is_finite() {
                    return Err(invalid("mask_init_value", format!("must be finite, found {mask_init_value}")));
                }
            }
            MaskMethod::HardConcrete { mask_init_percentage } => {
                check_fraction("mask_init_percentage", mask_init_percentage)?
            }
            MaskMethod::MagnitudePruning { prune_percentage, .. } => {
                check_fraction("prune_percentage", prune_percentage)?;
                if self.mask_unit == MaskUnit::Neuron {
                    let message = "must be \"weight\" for magnitude_pruning, found \"neuron\"".to_string();
                    return Err(invalid("mask_unit", message));
                }
            }
        }
        if !(self.l0_lambda.is_finite() && self.l0_lambda >= 0.0) {
            return Err(invalid("l0_lambda", format!("must be finite and at least 0, found {}", self.l0_lambda)));
        }
        self.check_layers()
    }

    fn check_layers(&self) -> Result<(), CircuitError> {
        for (i, name) in self.target_layers.iter().enumerate() {
            if self.target_layers[..i].contains(name) {
                return Err(CircuitError::DuplicateLayer { name: name.clone(), place: "target_layers" });
            }
        }
        Ok(())
    }
}

fn check_fraction(field: &'static str, value: f32) -> Result<(), CircuitError> {
    if (0.0..=1.0).contains(&value) { Ok(()) } else { Err(invalid(field, format!("must be in [0, 1], found {value}"))) }
}

fn invalid(field: &'static str, message: String) -> CircuitError {
    CircuitError::InvalidConfig { field, message }
}

const DEFAULT_INIT_VALUE: f32 = 0.0;
const DEFAULT_INIT_PERCENTAGE: f32 = 0.5;
const DEFAULT_PRUNE_PERCENTAGE: f32 = 0.2;
const DEFAULT_LAMBDA: f64 = 1e-8;

/// The serialised form of [`CircuitConfig`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
struct RawConfig {
    mask_method: String,
    mask_hparams: RawHparams,
    target_layers: Vec<String>,
    freeze_base: bool,
    add_l0: bool,
    l0_lambda: f64,
}

impl Default for RawConfig {
    fn default() -> Self {
        CircuitConfig::default().into()
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct RawHparams {
    #[serde(with = "ablation")]
    ablation: Option<Ablation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mask_unit: Option<MaskUnit>,
    mask_bias: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    mask_init_value: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mask_init_percentage: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prune_percentage: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    criterion: Option<MagnitudeCriterion>,
}

impl TryFrom<RawConfig> for CircuitConfig {
    type Error = CircuitError;

    fn try_from(raw: RawConfig) -> Result<Self, CircuitError> {
        let hparams = raw.mask_hparams;
        let mask_method = match raw.mask_method.as_str() {
            "continuous_sparsification" => MaskMethod::ContinuousSparsification {
                mask_init_value: hparams.mask_init_value.unwrap_or(DEFAULT_INIT_VALUE),
            },
            "hard_concrete" => MaskMethod::HardConcrete {
                mask_init_percentage: hparams.mask_init_percentage.unwrap_or(DEFAULT_INIT_PERCENTAGE),
            },
            "magnitude_pruning" => MaskMethod::MagnitudePruning {
                prune_percentage: hparams.prune_percentage.unwrap_or(DEFAULT_PRUNE_PERCENTAGE),
                criterion: hparams.criterion.unwrap_or_default(),
            },
            other => {
                return Err(invalid(
                    "mask_method",
                    format!("must be continuous_sparsification, hard_concrete or magnitude_pruning, found {other:?}"),
                ));
            }
        };
        Ok(Self {
            mask_method,
            mask_unit: hparams.mask_unit.unwrap_or_default(),
            mask_bias: hparams.mask_bias,
            ablation: hparams.ablation,
            target_layers: raw.target_layers,
            freeze_base: raw.freeze_base,
            add_l0: raw.add_l0,
            l0_lambda: raw.l0_lambda,
        })
    }
}

impl From<CircuitConfig> for RawConfig {
    fn from(config: CircuitConfig) -> Self {
        let mut hparams = RawHparams {
            ablation: config.ablation,
            mask_unit: Some(config.mask_unit),
            mask_bias: config.mask_bias,
            ..RawHparams::default()
        };
        match config.mask_method {
            MaskMethod::ContinuousSparsification { mask_init_value } => {
                hparams.mask_init_value = Some(mask_init_value);
            }
            MaskMethod::HardConcrete { mask_init_percentage } => {
                hparams.mask_init_percentage = Some(mask_init_percentage)
            }
            MaskMethod::MagnitudePruning { prune_percentage, criterion } => {
                // The reference has no unit here. An invalid unit is still written, so that validate() can reject it.
                hparams.mask_unit = (config.mask_unit != MaskUnit::Weight).then_some(config.mask_unit);
                hparams.prune_percentage = Some(prune_percentage);
                hparams.criterion = (criterion != MagnitudeCriterion::default()).then_some(criterion);
            }
        }
        Self {
            mask_method: config.mask_method.name().to_string(),
            mask_hparams: hparams,
            target_layers: config.target_layers,
            freeze_base: config.freeze_base,
            add_l0: config.add_l0,
            l0_lambda: config.l0_lambda,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_is_the_references() {
        let json = json!({
            "mask_method": "continuous_sparsification",
            "mask_hparams": {
                "ablation": "none", "mask_unit": "weight", "mask_bias": true, "mask_init_value": 0.1f32
            },
            "target_layers": ["encoder.layer.1.output.dense"],
            "freeze_base": true, "add_l0": true, "l0_lambda": 0.0001
        });
        let config: CircuitConfig = serde_json::from_value(json.clone()).unwrap();
        assert!(config.mask_bias);
        assert_eq!(config.l0_lambda, 1e-4);
        assert_eq!(serde_json::to_value(&config).unwrap(), json);
        assert!(serde_json::to_string(&config).unwrap().contains(":0.1}"));
    }

    #[test]
    fn a_python_dump_reads_with_unknown_and_absent_keys() {
        let config: CircuitConfig = serde_json::from_value(json!({
            "transformers_version": "4.44.2", "return_dict": true, "id2label": {"0": "LABEL_0"},
            "mask_method": "magnitude_pruning",
            "mask_hparams": {"ablation": "zero_ablate", "mask_bias": false, "prune_percentage": 0.5},
            "target_layers": []
        }))
        .unwrap();
        assert_eq!(
            config.mask_method,
            MaskMethod::MagnitudePruning { prune_percentage: 0.5, criterion: MagnitudeCriterion::Absolute }
        );
        assert_eq!(config.ablation, Some(Ablation::ZeroAblate));
        assert!(config.freeze_base && config.add_l0);
        assert_eq!(config.l0_lambda, 1e-8);
        let empty: CircuitConfig = serde_json::from_str("{}").unwrap();
        assert_eq!(empty, CircuitConfig::default());
    }

    #[test]
    fn pruning_writes_a_criterion_only_when_raw() {
        let mut config = CircuitConfig {
            mask_method: MaskMethod::MagnitudePruning {
                prune_percentage: 0.5,
                criterion: MagnitudeCriterion::Absolute,
            },
            ..CircuitConfig::default()
        };
        let hparams = |c: &CircuitConfig| serde_json::to_value(c).unwrap()["mask_hparams"].clone();
        assert_eq!(hparams(&config), json!({"ablation": "none", "mask_bias": false, "prune_percentage": 0.5}));
        config.mask_method = MaskMethod::MagnitudePruning { prune_percentage: 0.5, criterion: MagnitudeCriterion::Raw };
        assert_eq!(hparams(&config)["criterion"], "raw");
        let back: CircuitConfig = serde_json::from_value(serde_json::to_value(&config).unwrap()).unwrap();
        assert_eq!(back, config);
    }

    #[test]
    fn toml_works_both_ways() {
        let config: CircuitConfig = toml::from_str(
            "mask_method = \"hard_concrete\"\ntarget_layers = [\"a\"]\nl0_lambda = 1\n\
             [mask_hparams]\nmask_unit = \"neuron\"\nmask_init_percentage = 1\n",
        )
        .unwrap();
        assert_eq!(config.mask_unit, MaskUnit::Neuron);
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<CircuitConfig>(&text).unwrap(), config);
    }

    #[test]
    fn a_wrong_method_or_ablation_is_named() {
        let error = serde_json::from_str::<CircuitConfig>("{\"mask_method\": \"lottery\"}");
        assert!(error.unwrap_err().to_string().contains("lottery"));
        let error = serde_json::from_str::<CircuitConfig>("{\"mask_hparams\": {\"ablation\": \"x\"}}");
        let error = error.unwrap_err().to_string();
        assert!(error.contains("zero_ablate") && error.contains("none"), "{error}");
    }

    #[test]
    fn validate_names_the_field() {
        let bad = |edit: fn(&mut CircuitConfig)| {
            let mut config = CircuitConfig::default();
            edit(&mut config);
            config.validate().unwrap_err().to_string()
        };
        assert!(CircuitConfig::default().validate().is_ok());
        assert!(bad(|c| c.l0_lambda = f64::NAN).contains("l0_lambda"));
        assert!(bad(|c| c.l0_lambda = -1.0).contains("l0_lambda"));
        assert!(bad(|c| c.target_layers = vec!["a".into(), "a".into()]).contains("\"a\""));
        assert!(
            bad(|c| c.mask_method = MaskMethod::ContinuousSparsification { mask_init_value: f32::INFINITY })
                .contains("mask_init_value")
        );
        assert!(
            bad(|c| c.mask_method = MaskMethod::HardConcrete { mask_init_percentage: 1.5 })
                .contains("mask_init_percentage")
        );
        let prune = MaskMethod::MagnitudePruning { prune_percentage: 0.5, criterion: MagnitudeCriterion::Raw };
        let config = CircuitConfig { mask_method: prune, mask_unit: MaskUnit::Neuron, ..CircuitConfig::default() };
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains("mask_unit"), "{error}");
    }
}
