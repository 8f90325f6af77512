//! Circuits of another size, from the ranking of the units of a circuit.

use std::path::Path;

use burn::tensor::Device;
use ns_circuit::{CircuitModel, save_masks};
use ns_models::AnyModel;

use super::probes::MASKS;
use crate::error::TrainError;
use crate::evaluate::UnitRanking;
use crate::exchange::CircuitFiles;
use crate::run::RECIPE;

/// The size of a circuit that [`resize_circuit`] wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResizedCircuit {
    /// Number of units that it keeps.
    pub kept: usize,
    /// Number of units.
    pub units: usize,
    /// Number of units that share the score of the last one that is kept and of the first one that is not; they are all
    /// kept, or none of them.
    pub tied: usize,
}

/// Writes the circuit of the best units of the circuit at `source`, by their mask parameters, to the folder `out`: masks,
/// configuration, and the recipe of the run if there is one. Other commands take the folder as a circuit.
///
/// # Errors
/// Returns the errors of [`CircuitFiles::load`], and [`TrainError::Setting`] for a circuit without mask parameters, a share
/// that is not between 0 and 1 or of no unit, and if `out` is the folder of `source`.
pub fn resize_circuit(
    source: impl AsRef<Path>,
    share: f64,
    out: impl AsRef<Path>,
    device: &Device,
) -> Result<ResizedCircuit, TrainError> {
    let (source, out) = (source.as_ref(), out.as_ref());
    let files = CircuitFiles::find(source, None, None)?;
    let folder = files.masks.parent().unwrap_or(Path::new("."));
    let same = out.canonicalize().ok().is_some_and(|out| folder.canonicalize().ok() == Some(out));
    let expected = "the circuit there would be lost; choose another folder";
    TrainError::check(!same, "--out", format!("`{}`", out.display()), expected)?;
    let mut circuit: CircuitModel<AnyModel> = files.load(device)?;
    let ranking = UnitRanking::of_masks(&circuit)?;
    let (units, kept) = (ranking.len(), ranking.size_of("--share", share)?);
    circuit.load_mask_params(&ranking.logits(kept))?;
    std::fs::create_dir_all(out).map_err(TrainError::io("create", out))?;
    let write = |name: &str, text: &[u8]| ns_models::write_atomically(out.join(name), text);
    if let Ok(recipe) = std::fs::read(folder.join(RECIPE)) {
        write(RECIPE, &recipe).map_err(TrainError::io("write", out))?;
    }
    crate::report::write_json(out.join("circuit_config.json"), circuit.config())?;
    save_masks(out.join(MASKS), &circuit)?;
    Ok(ResizedCircuit { kept, units, tied: ranking.tied(kept) })
}
