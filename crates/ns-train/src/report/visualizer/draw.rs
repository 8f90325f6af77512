//! Circuits as files and as pages for a terminal.

use std::path::PathBuf;

use super::count::{grid, heat_panel};
use super::{CircuitView, VisualizerConfig};
use crate::error::TrainError;
use crate::report::figures::{HeatPanel, circuit_map, heat_map, text_heat_map, text_map};

/// Draws one or two circuits over the parts of their model, and says which files it wrote.
///
/// # Errors
/// [`TrainError::Setting`] for a configuration that cannot be drawn or another number of circuits,
/// [`TrainError::DifferentModels`], [`TrainError::Figure`].
pub fn draw_circuits(views: &[CircuitView], config: &VisualizerConfig) -> Result<Vec<PathBuf>, TrainError> {
    check(views, config)?;
    let (grid, style) = (grid(views, config), config.style(views.len()));
    let files = config.outputs();
    for (path, format) in &files {
        circuit_map(path, *format, &grid, &style)?;
    }
    Ok(files.into_iter().map(|(path, _)| path).collect())
}

/// Draws how much of each head of each layer is in a circuit, a panel a circuit, and says which files it wrote.
///
/// # Errors
/// As [`draw_circuits`].
pub fn draw_heat_map(views: &[CircuitView], config: &VisualizerConfig) -> Result<Vec<PathBuf>, TrainError> {
    check(views, config)?;
    let (panels, style) = (panels(views, config), config.style(views.len()));
    let files = config.outputs();
    for (path, format) in &files {
        heat_map(path, *format, &panels, &style)?;
    }
    Ok(files.into_iter().map(|(path, _)| path).collect())
}

/// What [`draw_circuits`] draws, for a terminal.
///
/// # Errors
/// [`TrainError::Setting`], [`TrainError::DifferentModels`].
pub fn circuit_page(views: &[CircuitView], config: &VisualizerConfig) -> Result<String, TrainError> {
    check(views, config)?;
    Ok(text_map(&config.title, &config.labels(views.len()), &grid(views, config)))
}

/// What [`draw_heat_map`] draws, for a terminal.
///
/// # Errors
/// [`TrainError::Setting`], [`TrainError::DifferentModels`].
pub fn heat_map_page(views: &[CircuitView], config: &VisualizerConfig) -> Result<String, TrainError> {
    check(views, config)?;
    Ok(text_heat_map(&config.title, &config.labels(views.len()), &panels(views, config)))
}

fn panels(views: &[CircuitView], config: &VisualizerConfig) -> Vec<HeatPanel> {
    views.iter().map(|view| heat_panel(view, config)).collect()
}

fn check(views: &[CircuitView], config: &VisualizerConfig) -> Result<(), TrainError> {
    config.validate()?;
    match views {
        [_] => Ok(()),
        [first, second] => first.check_same_model(second),
        _ => Err(TrainError::Setting {
            setting: "the number of circuits",
            found: views.len().to_string(),
            expected: "a figure shows one or two".into(),
        }),
    }
}
