//! Counts the parameters of circuits for the cells of circuit maps and heat maps.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use ns_circuit::HardMask;
use ns_models::{Component, LayerComponents, Location};

use super::{CircuitView, Granularity, VisualizerConfig};
use crate::report::figures::{Cells, CircuitCell, CircuitGrid, GridRow, HeatPanel};

/// A column of a circuit map. Parameters with the same row and column are added up in one cell.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Column {
    /// The only column of [`Granularity::Layer`].
    Layer,
    /// A weight tensor: its index among the columns and its name within the block.
    Tensor(usize, String),
    /// A component of a block.
    Component(Component),
}

/// Counts one or two circuits of a model at the granularity of `config`.
pub(super) fn grid(views: &[CircuitView], config: &VisualizerConfig) -> CircuitGrid {
    let mut tensors: Vec<String> = Vec::new();
    let (mut blocks, mut outside) = (BTreeMap::new(), Vec::new());
    for layer in views.first().map_or(&[][..], |view| &view.layers) {
        let in_block = matches!(layer.location, Location::Block { .. });
        for (component, cell) in count_layer(views, layer, config) {
            let column = match config.plot_granularity {
                Granularity::Layer => Column::Layer,
                _ if !in_block => {
                    outside.push((layer.location, layer.layer.name.clone(), cell));
                    continue;
                }
                Granularity::Tensor => {
                    Column::Tensor(column_index(&mut tensors, &layer.short_name), layer.short_name.clone())
                }
                Granularity::Block => Column::Component(component),
            };
            let row: &mut BTreeMap<Column, CircuitCell> = blocks.entry(layer.location).or_default();
            *row.entry(column).or_default() += cell;
        }
    }
    build_grid(blocks, outside)
}

/// For each block and component, computes the share of the masked parameters that is in the circuit.
pub(super) fn heat_panel(view: &CircuitView, config: &VisualizerConfig) -> HeatPanel {
    let config = VisualizerConfig { plot_granularity: Granularity::Block, ..config.clone() };
    let grid = grid(std::slice::from_ref(view), &config);
    let share = |cell: &CircuitCell| (cell.masked() > 0).then(|| cell.first as f64 / cell.masked() as f64);
    let rows = grid.rows.into_iter().filter_map(|row| match row.cells {
        Cells::Columns(cells) => Some((row.label, cells.iter().map(|cell| cell.as_ref().and_then(share)).collect())),
        Cells::Whole(_) => None,
    });
    HeatPanel { rows: rows.collect(), columns: grid.columns }
}

/// Returns the index of a tensor among the columns and adds the tensor if it is new.
fn column_index(tensors: &mut Vec<String>, name: &str) -> usize {
    tensors.iter().position(|tensor| tensor == name).unwrap_or_else(|| {
        tensors.push(name.to_owned());
        tensors.len() - 1
    })
}

/// Builds the rows in the order of a forward pass: layers before the blocks, blocks, layers after the blocks.
fn build_grid(
    blocks: BTreeMap<Location, BTreeMap<Column, CircuitCell>>,
    outside: Vec<(Location, String, CircuitCell)>,
) -> CircuitGrid {
    let mut columns: Vec<&Column> = blocks.values().flat_map(BTreeMap::keys).collect();
    columns.sort();
    columns.dedup();
    let outer_rows = |wanted: Location| {
        let rows = outside.iter().filter(move |(location, _, _)| *location == wanted);
        rows.map(|(_, name, cell)| GridRow { label: name.clone(), cells: Cells::Whole(*cell) })
    };
    let row = |(location, cells): (&Location, &BTreeMap<Column, CircuitCell>)| GridRow {
        label: location.to_string(),
        cells: Cells::Columns(columns.iter().map(|column| cells.get(*column).copied()).collect()),
    };
    let rows = outer_rows(Location::Input).chain(blocks.iter().map(row)).chain(outer_rows(Location::Output)).collect();
    let names = columns.iter().filter_map(|column| match column {
        Column::Layer => None,
        Column::Tensor(_, name) => Some(name.clone()),
        Column::Component(component) => Some(component.to_string()),
    });
    CircuitGrid { columns: names.collect(), rows }
}

/// Counts the parameters of one layer per component. `config` selects whether biases and parameters without a mask are
/// included.
fn count_layer(
    views: &[CircuitView],
    layer: &LayerComponents,
    config: &VisualizerConfig,
) -> Vec<(Component, CircuitCell)> {
    let masks =
        |parameter: &str| -> Vec<Option<&HardMask>> { views.iter().map(|view| view.mask(layer, parameter)).collect() };
    let shown = |masks: &[Option<&HardMask>]| config.plot_full_network || masks.iter().any(Option::is_some);
    let (weight, bias) = (masks("weight"), masks("bias"));
    let weight = shown(&weight).then(|| Counter::new(&weight));
    let bias = (config.visualize_bias && shown(&bias)).then(|| Counter::new(&bias));
    let mut cells = Vec::new();
    for slice in &layer.slices {
        let mut cell = CircuitCell::default();
        if let Some(weight) = &weight {
            slice.weight_runs(&layer.layer.shape).into_iter().for_each(|run| weight.count(run, &mut cell));
        }
        if let Some(bias) = &bias {
            slice.bias.iter().for_each(|run| bias.count(run.clone(), &mut cell));
        }
        if cell.total() > 0 {
            cells.push((slice.component, cell));
        }
    }
    cells
}

/// Counts how many entries of one parameter are in which circuit.
struct Counter<'a> {
    /// The mask entries of each circuit (row-major, `true` = kept), or `None` if it does not mask the parameter.
    masks: Vec<Option<Cow<'a, [bool]>>>,
}

impl<'a> Counter<'a> {
    fn new(masks: &[Option<&'a HardMask>]) -> Self {
        Self { masks: masks.iter().map(|mask| mask.map(HardMask::entries)).collect() }
    }

    /// Adds the entries of a contiguous range to a cell. An entry that only one circuit masks is not in the other
    /// circuit.
    fn count(&self, run: Range<usize>, cell: &mut CircuitCell) {
        let kept = |index: usize| self.masks.get(index).and_then(Option::as_deref).map(|mask| &mask[run.clone()]);
        let ones = |mask: &[bool]| mask.iter().map(|kept| u64::from(*kept)).sum::<u64>();
        let all = run.len() as u64;
        let (first, second) = (kept(0), kept(1));
        if first.or(second).is_none() {
            cell.unmasked += all;
            return;
        }
        let both = first.zip(second).map_or(0, |(first, second)| {
            first.iter().zip(second).map(|(first, second)| u64::from(*first & *second)).sum()
        });
        let [first, second] = [first, second].map(|mask| mask.map_or(0, ones) - both);
        *cell += CircuitCell { first, both, second, unused: all - first - both - second, unmasked: 0 };
    }
}
