//! Circuit maps and heat maps, as image files and as text for a terminal.

use std::path::PathBuf;

use super::count::{grid, heat_panel};
use super::{CircuitView, VisualizerConfig};
use crate::error::TrainError;
use crate::report::figures::{HeatPanel, circuit_map, heat_map, text_heat_map, text_map};

/// Draws a circuit map of one or two circuits and returns the paths of the written files.
///
/// Each bar shows a part of the model (see [`Granularity`](super::Granularity)) and how many of its parameters are in
/// which circuit.
///
/// # Errors
/// Returns [`TrainError::Setting`] if a value of `config` is invalid or `views` does not have one or two entries,
/// [`TrainError::DifferentModels`] if the models of the two circuits have different layers or shapes, and
/// [`TrainError::Figure`] if the figure cannot be drawn or written.
pub fn draw_circuits(views: &[CircuitView], config: &VisualizerConfig) -> Result<Vec<PathBuf>, TrainError> {
    check(views, config)?;
    let (grid, style) = (grid(views, config), config.style(views.len()));
    let draw = |(path, format): (PathBuf, _)| circuit_map(&path, format, &grid, &style).map(|()| path);
    Ok(config.outputs().into_iter().map(draw).collect::<Result<_, _>>()?)
}

/// Draws a heat map of one or two circuits and returns the paths of the written files.
///
/// Each circuit has its own panel. A cell shows the share of a component (an attention head, the MLP, …) that is in the
/// circuit.
///
/// # Errors
/// Returns [`TrainError::Setting`] if a value of `config` is invalid or `views` does not have one or two entries,
/// [`TrainError::DifferentModels`] if the models of the two circuits have different layers or shapes, and
/// [`TrainError::Figure`] if the figure cannot be drawn or written.
pub fn draw_heat_map(views: &[CircuitView], config: &VisualizerConfig) -> Result<Vec<PathBuf>, TrainError> {
    check(views, config)?;
    let (panels, style) = (panels(views, config), config.style(views.len()));
    let draw = |(path, format): (PathBuf, _)| heat_map(&path, format, &panels, &style).map(|()| path);
    Ok(config.outputs().into_iter().map(draw).collect::<Result<_, _>>()?)
}

/// Returns the figure of [`draw_circuits`] as text for a terminal.
///
/// # Errors
/// Returns [`TrainError::Setting`] if a value of `config` is invalid or `views` does not have one or two entries, and
/// [`TrainError::DifferentModels`] if the models of the two circuits have different layers or shapes.
pub fn circuit_page(views: &[CircuitView], config: &VisualizerConfig) -> Result<String, TrainError> {
    check(views, config)?;
    Ok(text_map(&config.title, &config.labels(views.len()), &grid(views, config)))
}

/// Returns the figure of [`draw_heat_map`] as text for a terminal.
///
/// # Errors
/// Returns [`TrainError::Setting`] if a value of `config` is invalid or `views` does not have one or two entries, and
/// [`TrainError::DifferentModels`] if the models of the two circuits have different layers or shapes.
pub fn heat_map_page(views: &[CircuitView], config: &VisualizerConfig) -> Result<String, TrainError> {
    check(views, config)?;
    Ok(text_heat_map(&config.title, &config.labels(views.len()), &panels(views, config)))
}

fn panels(views: &[CircuitView], config: &VisualizerConfig) -> Vec<HeatPanel> {
    views.iter().map(|view| heat_panel(view, config)).collect()
}

/// Checks the configuration, the number of circuits, and that two circuits fit the same model.
fn check(views: &[CircuitView], config: &VisualizerConfig) -> Result<(), TrainError> {
    config.validate()?;
    match views {
        [_] => Ok(()),
        [first, second] => first.check_same_model(second),
        _ => Err(TrainError::setting("the number of circuits", views.len(), "a figure shows one or two circuits")),
    }
}
