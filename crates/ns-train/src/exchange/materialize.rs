//! A circuit as a plain model folder.

use std::path::Path;

use burn::module::Module;
use ns_circuit::{Ablation, CircuitModel};
use ns_models::{AnyModel, copy_companions, read_config, save_folder};

use super::{
    CircuitFileError,
    compact::{Compaction, check_masks, compact},
};
use crate::error::TrainError;

/// What is left of the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CircuitPart {
    /// The circuit: `w ⊙ m`.
    #[default]
    Circuit,
    /// Everything but the circuit: `w ⊙ (1 − m)`.
    Complement,
}

/// Writes a model folder with the circuit, or its complement, baked into the weights: the configuration of `model`, the
/// folder that the circuit's model is from, and its tokenizer and preprocessor.
///
/// With `compacted`, hidden units of MLPs that the masks left dead are removed from both matrices. What a unit without
/// inputs gives, which is the same for every input, goes into the output's bias first. All blocks end with as many units
/// as the largest needs, filled up with zeros, because a configuration has one number for all. Then the
/// configuration says that number.
///
/// # Errors
/// [`CircuitFileError::OverwritesModel`]; [`CircuitFileError::CannotCompact`], [`CircuitFileError::NothingToRemove`]
/// and [`ns_models::ModelError::NoMlp`] with `compacted`; those of reading and writing.
pub fn materialize(
    circuit: &CircuitModel<AnyModel>,
    part: CircuitPart,
    compacted: bool,
    model: &Path,
    out: &Path,
) -> Result<Option<Compaction>, TrainError> {
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

/// The masks multiplied into the weights; the circuit's ablation is as before afterwards.
fn bake(circuit: &CircuitModel<AnyModel>, part: CircuitPart) -> Result<AnyModel, TrainError> {
    let circuit = circuit.valid();
    let before = circuit.ablation();
    circuit.set_ablation(match part {
        CircuitPart::Circuit => Ablation::None,
        CircuitPart::Complement => Ablation::ZeroAblate,
    })?;
    let baked = circuit.materialize_circuit();
    circuit.set_ablation(before)?;
    Ok(baked)
}
