//! A finished run whose circuit is judged: its circuit, and the examples of its recipe.

use std::path::Path;

use burn::tensor::Device;
use ns_circuit::CircuitModel;
use ns_models::{AnyModel, read_config};

use super::base_model_pool::BaseModelPool;
use super::behaviour;
use crate::data::Dataset;
use crate::error::TrainError;
use crate::evaluate::{Answers, UnitAblation};
use crate::exchange::CircuitFiles;
use crate::recipe::{AblationName, Recipe, SetName, read_toml};

/// A finished run with its circuit and its examples.
pub(super) struct JudgedRun {
    pub(super) recipe: Recipe,
    /// In evaluation mode, with the seed of the run.
    pub(super) circuit: CircuitModel<AnyModel>,
    pub(super) answers: Answers,
}

impl JudgedRun {
    /// Loads the circuit in the folder of a finished run and the examples of its recipe, with the answers of the model.
    /// `ablations` are those that will be used: some need the partners of the examples.
    ///
    /// # Errors
    /// Returns [`TrainError::Io`] or [`TrainError::Recipe`] if `folder` is not the folder of a run, and the errors of reading
    /// the circuit and the data.
    pub(super) fn open(folder: &Path, ablations: &[AblationName], device: &Device) -> Result<Self, TrainError> {
        let files = CircuitFiles::find(folder, None, None)?;
        let mut recipe: Recipe = read_toml(folder.join("recipe.toml"))?;
        recipe.evaluation.ablations = ablations.to_vec();
        let mut circuit = files.load(device)?;
        circuit.set_seed(recipe.seed);
        let pool = BaseModelPool::new(device, 0);
        let answers = behaviour::answers(&pool, &recipe, circuit.base(), &read_config(&files.model)?)?;
        Ok(Self { recipe, circuit, answers })
    }

    /// The rows of a set.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] for a set without examples.
    pub(super) fn rows(&self, set: SetName) -> Result<&[usize], TrainError> {
        let sets = self.answers.examples.split().sets();
        let rows = sets.into_iter().find(|(name, _)| *name == set.name()).map_or(&[][..], |(_, rows)| rows);
        let expected = "the recipe of the run leaves no example in it; name another set";
        TrainError::check(!rows.is_empty(), "the set", format!("`{}`", set.name()), expected)?;
        Ok(rows)
    }

    /// What replaces removed units in forward passes on some rows; `None` if their weights are set to zero.
    ///
    /// # Errors
    /// Returns the errors of [`UnitAblation::new`].
    pub(super) fn ablation(&self, name: AblationName, rows: &[usize]) -> Result<Option<UnitAblation<'_>>, TrainError> {
        let ablation = || UnitAblation::new(name, &self.circuit, &self.answers, rows, self.recipe.seed);
        name.replaces_outputs().then(ablation).transpose()
    }
}
