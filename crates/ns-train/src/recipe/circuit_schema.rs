//! The schema of what a recipe holds of other crates, which have forms of their own: `[circuit_config]` and the loss.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value;
use toml::Table;

use crate::error::TrainError;

/// `[circuit_config]` in a file, in the form of [`CircuitConfig`](ns_circuit::CircuitConfig).
pub(super) fn circuit_config(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "mask_method": {
                "description": "How masks are computed.",
                "enum": ["continuous_sparsification", "hard_concrete", "magnitude_pruning"],
                "default": "continuous_sparsification",
            },
            "mask_hparams": {
                "description": "Parameters of the masks.",
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "mask_unit": {
                        "description": "What one mask entry covers: one weight, or all weights of one output unit.",
                        "enum": ["weight", "neuron"],
                        "default": "weight",
                    },
                    "mask_bias": {
                        "description": "Whether biases are masked too.",
                        "type": "boolean",
                        "default": false,
                    },
                    "mask_init_value": {
                        "description": "continuous_sparsification: initial value of the logits.",
                        "type": "number",
                        "default": 0.0,
                    },
                    "mask_init_percentage": {
                        "description": "hard_concrete: initial keep probability of the mask entries.",
                        "type": "number",
                        "minimum": 0.0,
                        "maximum": 1.0,
                        "default": 0.5,
                    },
                    "prune_percentage": {
                        "description": "magnitude_pruning: fraction of the weights to prune.",
                        "type": "number",
                        "minimum": 0.0,
                        "maximum": 1.0,
                        "default": 0.2,
                    },
                    "criterion": {
                        "description": "magnitude_pruning: the value that is compared with the quantile.",
                        "enum": ["absolute", "raw"],
                        "default": "absolute",
                    },
                    "ablation": {
                        "description": "Initial ablation of evaluation mode. Training ignores it.",
                        "enum": ["none", "zero_ablate", "random_ablate", "randomly_sampled", "complement_sampled"],
                        "default": "none",
                    },
                },
            },
            "target_layers": {
                "description": "The layers to mask: \"site\" for the layers of the sublayer that writes to the probed \
                                site, or names and patterns. `*` matches any text, `?` any character, and `[0-2]` one \
                                character of a set.",
                "anyOf": [
                    { "type": "string" },
                    { "type": "array", "items": { "type": "string" }, "minItems": 1, "uniqueItems": true },
                ],
            },
            "freeze_base": {
                "description": "Whether the base model is frozen.",
                "type": "boolean",
                "default": true,
            },
            "add_l0": {
                "description": "Whether the L0 term is added to the loss.",
                "type": "boolean",
                "default": true,
            },
            "l0_lambda": {
                "description": "Weight of the L0 term in the loss.",
                "type": "number",
                "minimum": 0.0,
                "default": 1e-8,
            },
        },
    })
}

/// The loss of a circuit probe, in the form of [`ProbeLoss`](ns_probe::ProbeLoss).
pub(super) fn probe_loss(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": ["contrastive", "linear"] })
}

/// Refuses keys of `[circuit_config]` that do not exist. `CircuitConfig` ignores them, as Python writes keys of its own.
pub(super) fn check_keys(config: &Table) -> Result<(), TrainError> {
    check_level(config, &circuit_config(&mut SchemaGenerator::default()).to_value(), "circuit_config")
}

fn check_level(table: &Table, schema: &Value, path: &str) -> Result<(), TrainError> {
    let Some(known) = schema["properties"].as_object() else { return Ok(()) };
    table.iter().try_for_each(|(key, value)| {
        let (path, names) = (format!("{path}.{key}"), known.keys().map(|name| format!("`{name}`")));
        let names = names.collect::<Vec<_>>().join(", ");
        TrainError::check(known.contains_key(key), path.clone(), "unknown", format!("the keys there are {names}"))?;
        value.as_table().map_or(Ok(()), |inner| check_level(inner, &known[key], &path))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ns_circuit::CircuitConfig;
    use serde_json::json;

    use super::*;

    /// Every key that `CircuitConfig` writes is in the schema, and no other, with the default of the type.
    #[test]
    fn keys_and_defaults_are_those_of_the_masks() {
        let schema = circuit_config(&mut SchemaGenerator::default()).to_value();
        let mut seen = BTreeSet::new();
        for method in schema["properties"]["mask_method"]["enum"].as_array().unwrap() {
            // A criterion is only written if it is not the default.
            let json = json!({ "mask_method": method, "mask_hparams": { "criterion": "raw" } });
            let config: CircuitConfig = serde_json::from_value(json).unwrap();
            compare(&serde_json::to_value(&config).unwrap(), &schema, &mut seen);
        }
        let hparams = &schema["properties"]["mask_hparams"];
        let keys = |schema: &Value| schema["properties"].as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(seen, &keys(&schema) | &keys(hparams));
    }

    fn compare(written: &Value, schema: &Value, seen: &mut BTreeSet<String>) {
        for (key, value) in written.as_object().unwrap() {
            let property = &schema["properties"][key];
            assert!(property.is_object(), "{key}");
            seen.insert(key.clone());
            match (value, property["default"].as_f64()) {
                (Value::Object(_), _) => compare(value, property, seen),
                (Value::Number(value), Some(default)) => {
                    assert!((value.as_f64().unwrap() - default).abs() < 1e-7, "{key}: {value}");
                }
                _ if ["mask_method", "criterion", "target_layers"].contains(&key.as_str()) => {}
                _ => assert_eq!(&property["default"], value, "{key}"),
            }
        }
    }

    #[test]
    fn a_misspelt_key_is_named_with_the_right_ones() {
        let error = |text: &str| check_keys(&toml::from_str(text).unwrap()).unwrap_err().to_string();
        check_keys(&toml::from_str("l0_lambda = 1\nmask_hparams = { mask_unit = \"neuron\" }").unwrap()).unwrap();
        let message = error("l0_lamda = 1");
        assert!(
            message.starts_with("circuit_config.l0_lamda is unknown") && message.contains("`l0_lambda`"),
            "{message}"
        );
        let message = error("mask_hparams = { mask_units = \"neuron\" }");
        assert!(message.starts_with("circuit_config.mask_hparams.mask_units is unknown"), "{message}");
        assert!(message.contains("`mask_unit`"), "{message}");
    }
}
