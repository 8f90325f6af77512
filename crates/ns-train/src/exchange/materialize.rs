//! Writing a circuit as a plain HF model folder.

use std::path::Path;

use burn::module::Module;
use ns_circuit::{Ablation, CircuitModel, ModelVariant};
use ns_models::{AnyModel, copy_companions, read_config, save_folder};

use super::{
    CircuitFileError,
    compact::{Compaction, check_masks, compact},
};
use crate::error::TrainError;

/// The weights that a materialised model keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CircuitPart {
    /// The circuit, `w ⊙ m`.
    #[default]
    Circuit,
    /// Everything except the circuit, `w ⊙ (1 − m)`.
    Complement,
}

/// Writes a model folder to `out` with the circuit, or its complement, baked into the weights. The configuration,
/// tokenizer and preprocessor are copied from `model`, the folder of the circuit's model.
///
/// With `compacted`, dead hidden units of the MLPs are removed from both weight matrices. A unit is dead if all its
/// incoming or all its outgoing weights are 0. The constant output of a unit without incoming weights is first added to
/// the bias of the MLP's output. `config.json` has one number of hidden units for all blocks, so every block keeps as
/// many units as the largest block needs, padded with zeros, and the configuration is updated to that number. The
/// result is described by the returned [`Compaction`], which is `None` without `compacted`.
///
/// # Errors
/// Returns [`CircuitFileError::OverwritesModel`] if `out` is `model`, and [`TrainError::Io`] or [`TrainError::Model`]
/// if a file cannot be read or written. With `compacted`, returns [`CircuitFileError::CannotCompact`] if a mask is not
/// on the hidden units of an MLP or an MLP has no output bias for the constants, [`CircuitFileError::NothingToRemove`]
/// if some block has no dead units, and [`ns_models::ModelError::NoMlp`] if the model has no MLPs with hidden units of
/// their own.
pub fn materialize(
    circuit: &CircuitModel<AnyModel>,
    part: CircuitPart,
    compacted: bool,
    model: impl AsRef<Path>,
    out: impl AsRef<Path>,
) -> Result<Option<Compaction>, TrainError> {
    let (model, out) = (model.as_ref(), out.as_ref());
    let same = |a: std::path::PathBuf| out.canonicalize().is_ok_and(|b| a == b);
    if model.canonicalize().is_ok_and(same) {
        return Err(CircuitFileError::OverwritesModel { folder: out.into() }.into());
    }
    let baked = bake(circuit, part)?;
    let mut tensors = baked.tensors()?;
    let (config, compaction) = match compacted {
        false => {
            let path = model.join("config.json");
            (std::fs::read_to_string(&path).map_err(TrainError::io("read", &path))?, None)
        }
        true => {
            let mlps = baked.mlps()?;
            check_masks(circuit, &mlps)?;
            let compaction = compact(&mut tensors, &mlps)?;
            let mut config = read_config(model)?;
            config[compaction.field] = compaction.after.into();
            if config.get("torch_dtype").is_some() {
                config["torch_dtype"] = "float32".into();
            }
            (format!("{config:#}\n"), Some(compaction))
        }
    };
    save_folder(out, &tensors, &config)?;
    copy_companions(model, out)?;
    Ok(compaction)
}

/// Multiplies the masks into the weights.
fn bake(circuit: &CircuitModel<AnyModel>, part: CircuitPart) -> Result<AnyModel, TrainError> {
    let mut circuit = circuit.valid();
    circuit.set_variant(match part {
        CircuitPart::Circuit => ModelVariant::CircuitOnly,
        CircuitPart::Complement => ModelVariant::Ablated(Ablation::ZeroAblate),
    })?;
    Ok(circuit.materialize_circuit()?)
}
