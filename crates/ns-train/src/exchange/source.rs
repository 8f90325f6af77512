//! Finding and loading the parts of a circuit: masks, configuration and model.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::Device;
use ns_circuit::{CircuitConfig, CircuitModel, MagnitudeCriterion, MaskMethod, StateDict};
use ns_models::AnyModel;
use ns_probe::mask_targets;
use serde::Deserialize;
use serde_json::Value;

use super::CircuitFileError;
use crate::error::TrainError;
use crate::run::MODEL;

pub(super) const MASKS: &str = "masks.safetensors";
pub(super) const STATE_DICT: &str = "state_dict.safetensors";
pub(super) const CONFIG: &str = "circuit_config.json";
/// The configuration that a probe run writes. It contains the circuit's configuration.
const PROBE_CONFIG: &str = "probe_config.json";
const RECIPE: &str = "recipe.toml";

/// The parts of a circuit on disk.
#[derive(Clone, Debug, PartialEq)]
pub struct CircuitFiles {
    /// File with the mask parameters: a mask file, or a state dict of the Python package.
    pub masks: PathBuf,
    /// The masked layers and the mask method.
    pub config: CircuitConfig,
    /// Model folder.
    pub model: PathBuf,
}

/// The part of a recipe that describes the circuit.
#[derive(Default, Deserialize)]
struct Recipe {
    model: Option<PathBuf>,
    circuit_config: Option<CircuitConfig>,
}

/// Loads a circuit from a run folder, an exported folder, or a file with mask parameters (a mask file, or a state dict
/// of the Python package) whose configuration is in the same folder.
///
/// `model` is the model folder. By default it is the model that the run trained, or else the model that its recipe
/// names. The circuit is in evaluation mode. The ablation that its configuration names is active.
///
/// # Errors
/// Returns [`CircuitFileError`] if masks, configuration or model cannot be found, [`ns_models::ModelError`] if the
/// model cannot be loaded, and [`ns_circuit::CircuitError`] if the masks cannot be read or do not fit the model.
pub fn load_circuit(
    source: impl AsRef<Path>,
    model: Option<&Path>,
    device: &Device,
) -> Result<CircuitModel<AnyModel>, TrainError> {
    CircuitFiles::find(source, None, model)?.load(device)
}

impl CircuitFiles {
    /// Finds the parts of the circuit at `source`, a folder or a mask file. `config` and `model` override the files
    /// that would be found.
    ///
    /// # Errors
    /// Returns [`CircuitFileError::NoMasks`], [`CircuitFileError::NoConfig`] or [`CircuitFileError::NoModel`] if a part
    /// is missing, [`CircuitFileError::InvalidConfig`] if the configuration is invalid, and [`TrainError::Io`] if it
    /// cannot be read.
    pub fn find(source: impl AsRef<Path>, config: Option<&Path>, model: Option<&Path>) -> Result<Self, TrainError> {
        Self::find_with(source.as_ref(), config, model, MagnitudeCriterion::default())
    }

    /// Like [`find`](Self::find), for files that the Python package wrote: if the configuration of magnitude pruning
    /// names no criterion, it compares signed weights, as the package does.
    ///
    /// # Errors
    /// Returns the errors of [`find`](Self::find).
    pub fn find_reference(
        source: impl AsRef<Path>,
        config: Option<&Path>,
        model: Option<&Path>,
    ) -> Result<Self, TrainError> {
        Self::find_with(source.as_ref(), config, model, MagnitudeCriterion::Raw)
    }

    fn find_with(
        source: &Path,
        config: Option<&Path>,
        model: Option<&Path>,
        criterion: MagnitudeCriterion,
    ) -> Result<Self, TrainError> {
        let masks = find_masks(source)?;
        let folder = masks.parent().unwrap_or(Path::new("."));
        let recipe = read_recipe(&folder.join(RECIPE));
        let config = match (config.map(Path::to_path_buf).or_else(|| find_config(folder)), recipe.circuit_config) {
            (Some(path), _) => read_config(&path, criterion)?,
            (None, Some(config)) => config,
            (None, None) => return Err(no_config(&masks).into()),
        };
        let model = match model {
            Some(model) => model.into(),
            None => find_model(source, folder, recipe.model)?,
        };
        Ok(Self { masks, config, model })
    }

    /// Loads the model and attaches the masks to it. The circuit is in evaluation mode.
    ///
    /// # Errors
    /// Returns [`ns_models::ModelError`] if the model cannot be loaded, and [`ns_circuit::CircuitError`] if the masks
    /// cannot be read or do not fit the model.
    pub fn load(&self, device: &Device) -> Result<CircuitModel<AnyModel>, TrainError> {
        let masks = StateDict::read(&self.masks)?.masks(&self.config)?;
        let model = AnyModel::load(&self.model, device)?;
        let targets = mask_targets(&model);
        let mut circuit = CircuitModel::new(self.config.clone(), model, &targets)?;
        circuit.load_mask_params(&masks)?;
        Ok(if circuit.is_training() { circuit.valid() } else { circuit })
    }
}

fn find_masks(source: &Path) -> Result<PathBuf, CircuitFileError> {
    if !source.is_dir() {
        return Ok(source.into());
    }
    let found = [MASKS, STATE_DICT].into_iter().map(|name| source.join(name)).find(|path| path.is_file());
    found.ok_or_else(|| CircuitFileError::NoMasks {
        folder: source.into(),
        expected: format!("{MASKS} or {STATE_DICT}"),
    })
}

fn find_config(folder: &Path) -> Option<PathBuf> {
    [CONFIG, PROBE_CONFIG].into_iter().map(|name| folder.join(name)).find(|path| path.is_file())
}

fn no_config(masks: &Path) -> CircuitFileError {
    CircuitFileError::NoConfig { masks: masks.into(), expected: format!("{CONFIG} or {PROBE_CONFIG}") }
}

/// Reads a circuit configuration, or the one inside a probe configuration. `criterion` is used if magnitude pruning
/// names no criterion.
fn read_config(path: &Path, criterion: MagnitudeCriterion) -> Result<CircuitConfig, TrainError> {
    let text = std::fs::read_to_string(path).map_err(TrainError::io("read", path))?;
    let invalid = |reason: String| CircuitFileError::InvalidConfig { path: path.into(), reason };
    let value: Value = serde_json::from_str(&text).map_err(|error| invalid(error.to_string()))?;
    let value = value.get("circuit_config").unwrap_or(&value);
    if value.get("mask_method").is_none() && value.get("target_layers").is_none() {
        return Err(invalid("it has neither mask_method nor target_layers".into()).into());
    }
    let mut config = CircuitConfig::deserialize(value).map_err(|error| invalid(error.to_string()))?;
    let names_criterion = value["mask_hparams"]["criterion"].is_string();
    if let (MaskMethod::MagnitudePruning { criterion: unnamed, .. }, false) = (&mut config.mask_method, names_criterion)
    {
        *unnamed = criterion;
    }
    Ok(config)
}

/// Reads the recipe of a run. An empty recipe stands for a missing or unreadable file, because exported folders have
/// none.
fn read_recipe(path: &Path) -> Recipe {
    let text = std::fs::read_to_string(path).ok();
    text.and_then(|text| toml::from_str(&text).ok()).unwrap_or_default()
}

/// Returns the folder of the model that the run trained, or else the folder that the recipe names, taken as given or
/// relative to the run folder.
fn find_model(source: &Path, run: &Path, named: Option<PathBuf>) -> Result<PathBuf, CircuitFileError> {
    // A run that trained its model wrote it to this subfolder. It differs from the model that the recipe names.
    let own = Some(run.join(MODEL)).filter(|own| own.join("config.json").is_file());
    let candidates = named.iter().flat_map(|named| [named.clone(), run.join(named)]);
    let found = own.into_iter().chain(candidates).find(|folder| folder.is_dir());
    found.ok_or_else(|| CircuitFileError::NoModel { circuit: source.into(), gone: named })
}
