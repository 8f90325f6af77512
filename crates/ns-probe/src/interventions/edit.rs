//! Replacing the values of chosen units at chosen positions: zero, mean and resample ablation, and patching.

use burn::tensor::{Bool, Device, Tensor, TensorData};
use ns_models::{ModelInputs, ModelOutput, Transformer};

use super::hooks::Hooks;
use super::site::{ActivationSite, ModelActivations};
use crate::error::ProbeError;

/// Units of an activation whose values are replaced in a forward pass.
#[derive(Clone, Debug)]
pub struct Edit {
    /// The activation.
    pub site: ActivationSite,
    /// The units; `None` for all. See [`ActivationSite`] for what a unit is.
    pub units: Option<Vec<usize>>,
    /// The positions, counted from 0 in every sequence; `None` for all, padding included.
    pub positions: Option<Vec<usize>>,
    /// The new values.
    pub replacement: Replacement,
}

/// The values that replace those of an activation. They have the full width of the activation; only the columns of the
/// chosen units are read.
#[derive(Clone, Debug)]
pub enum Replacement {
    /// Zeros (zero ablation).
    Zero,
    /// One vector for all positions, e.g. the mean over a data set (mean ablation), `[width]`.
    Vector(Tensor<1>),
    /// A vector for each position, e.g. the mean by position, `[seq, width]`.
    ByPosition(Tensor<2>),
    /// A vector for each token, e.g. those of another forward pass (resample ablation, patching), `[batch, seq, width]`.
    ByToken(Tensor<3>),
}

impl Replacement {
    /// The values as `[1 or batch, 1 or seq, width]`.
    fn values(&self, width: usize, device: &Device) -> Tensor<3> {
        match self {
            Self::Zero => Tensor::zeros([1, 1, width], device),
            Self::Vector(vector) => vector.clone().unsqueeze(),
            Self::ByPosition(vectors) => vectors.clone().unsqueeze(),
            Self::ByToken(vectors) => vectors.clone(),
        }
    }
}

impl Edit {
    /// An edit of all units at all positions.
    pub fn new(site: ActivationSite, replacement: Replacement) -> Self {
        Self { site, units: None, positions: None, replacement }
    }

    /// Restricts the edit to some units.
    pub fn units(self, units: impl Into<Vec<usize>>) -> Self {
        Self { units: Some(units.into()), ..self }
    }

    /// Restricts the edit to some positions.
    pub fn positions(self, positions: impl Into<Vec<usize>>) -> Self {
        Self { positions: Some(positions.into()), ..self }
    }

    /// Adds this edit to the hooks of a forward pass on a batch of `dims` `[batch, seq]`.
    fn add_to(
        &self,
        hooks: Hooks,
        activations: &ModelActivations,
        dims: [usize; 2],
        device: &Device,
    ) -> Result<Hooks, ProbeError> {
        let ([batch, seq], width) = (dims, activations.width(&self.site)?);
        let values = self.replacement.values(width, device);
        let found = values.dims();
        let fits = [[1, batch], [1, seq], [width, width]];
        if !found.iter().zip(fits).all(|(size, allowed)| allowed.contains(size)) {
            let expected =
                format!("the batch has {batch} sequences of {seq} tokens, and `{}` has {width} values", self.site);
            return Err(invalid("replacement", format!("{found:?}"), expected));
        }
        let columns = match &self.units {
            None => vec![true; width],
            Some(units) => selected(width, activations.columns(&self.site, units)?),
        };
        let rows = match &self.positions {
            None => vec![true; seq],
            Some(positions) => {
                if let Some(beyond) = positions.iter().find(|position| **position >= seq) {
                    let expected = format!("the sequences have {seq} tokens, counted from 0");
                    return Err(invalid("position", beyond.to_string(), expected));
                }
                selected(seq, positions.iter().copied())
            }
        };
        if columns.iter().chain(&rows).all(|chosen| *chosen) {
            return Ok(hooks.at(self.site.clone(), move |value| values.clone().expand(value.dims())));
        }
        let chosen: Vec<bool> = rows.iter().flat_map(|row| columns.iter().map(move |column| *row && *column)).collect();
        let chosen = Tensor::<3, Bool>::from_data(TensorData::new(chosen, [1, seq, width]), device);
        Ok(hooks.at(self.site.clone(), move |value| {
            let dims = value.dims();
            value.mask_where(chosen.clone().expand(dims), values.clone().expand(dims))
        }))
    }
}

/// `true` at the given indices of `0..length`.
fn selected(length: usize, indices: impl IntoIterator<Item = usize>) -> Vec<bool> {
    let mut selected = vec![false; length];
    indices.into_iter().for_each(|index| selected[index] = true);
    selected
}

/// Runs a forward pass with some activations replaced, all in the same pass: a replaced value changes everything after
/// it, but no other replacement.
///
/// # Errors
/// Returns [`ProbeError::Activation`] for a site or a unit that the model does not have, [`ProbeError::Batch`] for a
/// position or a replacement that does not fit the batch, and the errors of [`Hooks::run`].
pub fn run_edited<M: Transformer>(model: &M, inputs: &ModelInputs, edits: &[Edit]) -> Result<ModelOutput, ProbeError> {
    model.check_inputs(inputs)?;
    let (activations, dims, device) = (ModelActivations::new(model), model.stream_dims(inputs)?, model.device());
    let hooks = edits.iter().try_fold(Hooks::new(), |hooks, edit| edit.add_to(hooks, &activations, dims, &device))?;
    hooks.run(model, inputs)
}

pub(super) fn invalid(what: &'static str, found: impl Into<String>, expected: impl Into<String>) -> ProbeError {
    ProbeError::Batch { what, found: found.into(), expected: expected.into() }
}
