//! Finding a circuit: its masks, its configuration and its model.

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
/// What a probe's run leaves.
const PROBE_CONFIG: &str = "probe_config.json";
const RECIPE: &str = "recipe.toml";

/// Where a circuit lies.
#[derive(Clone, Debug, PartialEq)]
pub struct CircuitFiles {
    /// The mask parameters: a file of them, or a state dict of the reference.
    pub masks: PathBuf,
    /// Which layers are masked, and how.
    pub config: CircuitConfig,
    /// Folder of the model.
    pub model: PathBuf,
}

/// What a run's recipe says of its circuit.
#[derive(Default, Deserialize)]
struct Recipe {
    model: Option<PathBuf>,
    circuit_config: Option<CircuitConfig>,
}

/// Reads a circuit: from the folder of a run or of an export, a file of masks or a state dict of the reference with
/// its configuration beside it. `model` is the model's folder; without it, the one that the run was of.
///
/// The circuit is in evaluation mode, with the ablation that its configuration names.
///
/// # Errors
/// [`CircuitFileError`] when something cannot be found; those of the model and of the masks, which say what does not
/// fit.
pub fn load_circuit(
    source: &Path,
    model: Option<&Path>,
    device: &Device,
) -> Result<CircuitModel<AnyModel>, TrainError> {
    CircuitFiles::find(source, None, model)?.load(device)
}

impl CircuitFiles {
    /// Finds what belongs to `source`, a folder or a file. `config` and `model` come before what is found.
    ///
    /// # Errors
    /// [`CircuitFileError::NoMasks`], [`CircuitFileError::NoConfig`], [`CircuitFileError::InvalidConfig`],
    /// [`CircuitFileError::NoModel`].
    pub fn find(source: &Path, config: Option<&Path>, model: Option<&Path>) -> Result<Self, TrainError> {
        Self::find_with(source, config, model, MagnitudeCriterion::default())
    }

    /// The same for files that the reference wrote: magnitude pruning that names no criterion compares signed weights,
    /// as the reference does.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn find_reference(source: &Path, config: Option<&Path>, model: Option<&Path>) -> Result<Self, TrainError> {
        Self::find_with(source, config, model, MagnitudeCriterion::Raw)
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

    /// Loads the model and puts the masks on it, in evaluation mode.
    ///
    /// # Errors
    /// Those of the model, and of masks that are another model's.
    pub fn load(&self, device: &Device) -> Result<CircuitModel<AnyModel>, TrainError> {
        let masks = StateDict::read(&self.masks)?.masks(&self.config)?;
        let model = AnyModel::load(&self.model, device)?;
        let targets = mask_targets(&model);
        let circuit = CircuitModel::new(self.config.clone(), model, &targets)?.load_mask_params(&masks)?;
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

/// A circuit's configuration: by itself, or in that of a probe.
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
    if let (MaskMethod::MagnitudePruning { criterion: found, .. }, false) = (&mut config.mask_method, names_criterion) {
        *found = criterion;
    }
    Ok(config)
}

/// What there is of a recipe; a folder that is no run's has none.
fn read_recipe(path: &Path) -> Recipe {
    let text = std::fs::read_to_string(path).ok();
    text.and_then(|text| toml::from_str(&text).ok()).unwrap_or_default()
}

/// The model folder that a recipe names: as it is, or beside the run.
fn find_model(source: &Path, run: &Path, named: Option<PathBuf>) -> Result<PathBuf, CircuitFileError> {
    // A run that trained its model leaves it there: another one than the recipe names.
    let own = Some(run.join(MODEL)).filter(|own| own.join("config.json").is_file());
    let candidates = named.iter().flat_map(|named| [named.clone(), run.join(named)]);
    let found = own.into_iter().chain(candidates).find(|folder| folder.is_dir());
    found.ok_or_else(|| CircuitFileError::NoModel { circuit: source.into(), gone: named })
}
