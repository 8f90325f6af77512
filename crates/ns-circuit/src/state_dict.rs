//! State dicts of the Python NeuroSurgeon: which tensors are mask parameters, and which belong to the base model.
//!
//! The Python classes wrap each other, and every wrapper adds a prefix to the keys. These are keys of the mask on
//! `h.0.mlp.c_fc`:
//!
//! | class | key |
//! |---|---|
//! | `CircuitModel` | `wrapped_model.h.0.mlp.c_fc.weight_mask_params` |
//! | `CircuitProbe`, `SubnetworkProbe` | `wrapped_model.wrapped_model.wrapped_model.h.0.mlp.c_fc.weight_mask_params` |
//! | `CircuitProbe`, `SubnetworkProbe`, in the hooked module | `wrapped_model.to_hook.h.0.mlp.c_fc.weight_mask_params`, without the first part of the layer name if the model has a head |
//!
//! A state dict may also hold a classifier (`probe.0.weight`), samples of ablations (`sampled_weight_mask_params`,
//! `weight_mask`, `random_weight`) and a stale copy of each masked convolution (`_base_layer.weight`). These are
//! ignored.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::TensorData;

use crate::config::{CircuitConfig, MaskMethod};
use crate::error::CircuitError;
use crate::exchange::{Stored, read_tensors};
use crate::names;

/// Number of keys that an error lists.
const SHOWN: usize = 3;
/// Key prefix of the hooked module, the second copy of the model in the reference's `ResidualUpdateModel`.
const HOOKED: &str = "to_hook.";
/// Key prefix of the classifier of a `SubnetworkProbe`.
const CLASSIFIER: &str = "probe.";
/// Parts of the keys of tensors that are ignored: samples of ablations, and stale copies of masked convolutions.
const IGNORED: [&str; 7] = [
    "sampled_weight_mask_params",
    "sampled_bias_mask_params",
    "weight_mask",
    "bias_mask",
    "random_weight",
    "random_bias",
    "_base_layer",
];
/// The last part of the keys of mask parameters.
pub(crate) const MASK_PARAMS: [&str; 2] = ["weight_mask_params", "bias_mask_params"];

/// The tensors of a state dict of the Python NeuroSurgeon, or of a mask file, by their names in the wrapped model.
#[derive(Debug, Clone)]
pub struct StateDict {
    path: PathBuf,
    /// Tensors by full name.
    named: BTreeMap<String, TensorData>,
    /// Tensors of the hooked module. Their names may lack the first part.
    hooked: BTreeMap<String, TensorData>,
}

impl StateDict {
    /// Reads a safetensors file. Tensors that are neither floats nor mask parameters are ignored.
    ///
    /// # Errors
    /// - [`CircuitError::FileNotFound`] or [`CircuitError::Io`] if the file cannot be read
    /// - [`CircuitError::TruncatedFile`], [`CircuitError::NotSafetensors`] or [`CircuitError::Pickled`] if it is not a
    ///   complete safetensors file
    /// - [`CircuitError::UnsupportedDtype`] for mask parameters that are not floats
    /// - [`CircuitError::DuplicateLayer`] for two keys that differ only in their wrapper prefixes
    pub fn read(path: impl AsRef<Path>) -> Result<Self, CircuitError> {
        let path = path.as_ref();
        let mut state = Self { path: path.into(), named: BTreeMap::new(), hooked: BTreeMap::new() };
        for (key, stored) in read_tensors(path)? {
            let name = names::unwrapped(&key);
            let is_classifier = key.starts_with(CLASSIFIER);
            if is_classifier || name.split('.').any(|part| IGNORED.contains(&part)) {
                continue;
            }
            let data = match stored {
                Stored::Floats(data) => data,
                Stored::Other(error) if is_mask(name) => return Err(error),
                Stored::Other(_) => continue,
            };
            let (tensors, name) = match name.strip_prefix(HOOKED) {
                Some(name) => (&mut state.hooked, name),
                None => (&mut state.named, name),
            };
            if tensors.insert(name.to_string(), data).is_some() {
                return Err(CircuitError::DuplicateLayer { name: name.to_string(), place: "the state dict" });
            }
        }
        Ok(state)
    }

    /// Returns all mask parameters of the file, for
    /// [`CircuitModel::load_mask_params`](crate::CircuitModel::load_mask_params).
    ///
    /// Mask parameters of the layers in `config.target_layers` have the names of these layers. Others have the names
    /// that they have in the file, and `load_mask_params` reports them as unexpected.
    ///
    /// # Errors
    /// Returns [`CircuitError::NoMasks`] if the file has no mask parameters although `config` needs some.
    pub fn masks(&self, config: &CircuitConfig) -> Result<BTreeMap<String, TensorData>, CircuitError> {
        let mut masks: BTreeMap<_, _> = entries(&self.named, is_mask).collect();
        for layer in &config.target_layers {
            for ending in MASK_PARAMS {
                let name = names::join(layer, ending);
                if let Some(data) = self.get(&name) {
                    masks.insert(name, data.clone());
                }
            }
        }
        let others: Vec<_> = entries(&self.hooked, is_mask)
            .filter(|(hooked, _)| !masks.keys().any(|name| is_hooked(name, hooked)))
            .collect();
        masks.extend(others);
        let has_logits = !matches!(config.mask_method, MaskMethod::MagnitudePruning { .. });
        if masks.is_empty() && has_logits && !config.target_layers.is_empty() {
            let keys = self.named.keys().chain(self.hooked.keys()).take(SHOWN).cloned().collect();
            return Err(CircuitError::NoMasks { path: self.path.clone(), keys });
        }
        Ok(masks)
    }

    /// Returns the tensor `name` of the base model, if it is in the file.
    pub fn get(&self, name: &str) -> Option<&TensorData> {
        let hooked = || self.hooked.get(name).or_else(|| self.hooked.get(name.split_once('.')?.1));
        self.named.get(name).or_else(hooked)
    }
}

fn entries<'a>(
    tensors: &'a BTreeMap<String, TensorData>,
    selects: impl Fn(&str) -> bool + 'a,
) -> impl Iterator<Item = (String, TensorData)> + 'a {
    tensors.iter().filter(move |(name, _)| selects(name)).map(|(name, data)| (name.clone(), data.clone()))
}

fn is_mask(name: &str) -> bool {
    name.rsplit('.').next().is_some_and(|leaf| MASK_PARAMS.contains(&leaf))
}

/// Whether `hooked` is the name of `name` in the hooked module: the name itself, or without its first part.
fn is_hooked(name: &str, hooked: &str) -> bool {
    name == hooked || name.split_once('.').is_some_and(|(_, rest)| rest == hooked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::save_masks;
    use crate::testing::{circuit, config};
    use safetensors::tensor::{Dtype, TensorView};

    /// A file with a tensor of one element for each key. Its value is the index of the key.
    fn state(keys: &[&str]) -> Result<StateDict, CircuitError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state_dict.safetensors");
        let values: Vec<[u8; 4]> = (0..keys.len()).map(|index| (index as f32).to_le_bytes()).collect();
        let tensors = keys.iter().zip(&values).map(|(key, bytes)| match key.ends_with("num_batches_tracked") {
            true => (*key, TensorView::new(Dtype::I32, vec![], bytes).unwrap()),
            false => (*key, TensorView::new(Dtype::F32, vec![1], bytes).unwrap()),
        });
        std::fs::write(&path, safetensors::serialize(tensors, None).unwrap()).unwrap();
        StateDict::read(&path)
    }

    fn masks_of(layers: &[&str]) -> CircuitConfig {
        CircuitConfig { target_layers: layers.iter().map(ToString::to_string).collect(), ..CircuitConfig::default() }
    }

    fn found(state: &StateDict, layers: &[&str]) -> Vec<(String, f32)> {
        let masks = state.masks(&masks_of(layers)).unwrap();
        masks.into_iter().map(|(name, data)| (name, data.try_to_vec::<f32>().unwrap()[0])).collect()
    }

    #[test]
    fn wrappers_classifiers_samples_and_copies_are_distinguished_from_masks() {
        let probe = "wrapped_model.wrapped_model.wrapped_model";
        let keys = [
            format!("{probe}.gpt.fc.weight_mask_params"),
            format!("{probe}.gpt.fc.weight"),
            format!("{probe}.gpt.fc.sampled_weight_mask_params"),
            format!("{probe}.gpt.fc.weight_mask"),
            format!("{probe}.gpt.fc.random_weight"),
            format!("{probe}.gpt.conv._base_layer.weight"),
            format!("{probe}.gpt.norm.num_batches_tracked"),
            "wrapped_model.to_hook.fc.weight_mask_params".to_string(),
            "wrapped_model.to_hook.fc.weight".to_string(),
            "probe.0.weight".to_string(),
        ];
        let state = state(&keys.each_ref().map(String::as_str)).unwrap();
        assert_eq!(found(&state, &["gpt.fc"]), [("gpt.fc.weight_mask_params".to_string(), 0.0)]);
        assert_eq!(state.get("gpt.fc.weight").unwrap().try_to_vec::<f32>().unwrap(), [1.0]);
        assert!(["gpt.conv._base_layer.weight", "probe.0.weight"].iter().all(|name| state.get(name).is_none()));
    }

    /// `safetensors.torch.save_model` keeps only one name of shared tensors: the name in the hooked module.
    #[test]
    fn masks_are_found_by_the_module_with_the_hooks_alone() {
        let state = state(&["wrapped_model.to_hook.fc.weight_mask_params", "wrapped_model.to_hook.fc.weight"]).unwrap();
        for layer in ["gpt.fc", "fc"] {
            assert_eq!(found(&state, &[layer]), [(format!("{layer}.weight_mask_params"), 0.0)]);
        }
        assert_eq!(found(&state, &["other"]), [("fc.weight_mask_params".to_string(), 0.0)]);
        assert!(state.get("gpt.fc.weight").is_some());
    }

    #[test]
    fn a_state_dict_without_masks_is_refused_unless_none_are_wanted() {
        let state = state(&["gpt.fc.weight", "gpt.fc.bias"]).unwrap();
        let error = state.masks(&masks_of(&["gpt.fc"])).unwrap_err();
        assert!(matches!(&error, CircuitError::NoMasks { keys, .. } if keys.len() == 2), "{error}");
        assert!(error.to_string().contains("gpt.fc.bias"), "{error}");
        assert!(state.masks(&CircuitConfig::default()).unwrap().is_empty());
        let prune = MaskMethod::MagnitudePruning { prune_percentage: 0.5, criterion: Default::default() };
        assert!(state.masks(&CircuitConfig { mask_method: prune, ..masks_of(&["gpt.fc"]) }).unwrap().is_empty());
    }

    #[test]
    fn keys_that_differ_in_wrappers_only_are_an_error() {
        let error = state(&["a.weight_mask_params", "wrapped_model.a.weight_mask_params"]).unwrap_err();
        assert!(matches!(error, CircuitError::DuplicateLayer { name, .. } if name == "a.weight_mask_params"));
    }

    #[test]
    fn a_file_of_masks_alone_is_read_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("masks.safetensors");
        let circuit = circuit(&config());
        save_masks(&path, &circuit).unwrap();
        let masks = StateDict::read(&path).unwrap().masks(circuit.config()).unwrap();
        assert_eq!(masks, circuit.mask_params());
        let mut again = circuit.clone();
        again.load_mask_params(&masks).unwrap();
        assert_eq!(again.mask_params(), circuit.mask_params());
    }
}
