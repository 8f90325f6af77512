//! From circuits to the cells of a map.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use ns_circuit::HardMask;
use ns_models::{Component, LayerComponents, Location};

use super::{CircuitView, Granularity, VisualizerConfig};
use crate::report::figures::{Cells, CircuitCell, CircuitGrid, GridRow, HeatPanel};

/// What stands in the same row and column.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Column {
    /// The only one.
    Layer,
    /// By its place among the columns, and its name in the block.
    Tensor(usize, String),
    Component(Component),
}

/// One or two circuits of one model, counted.
pub(super) fn grid(views: &[CircuitView], config: &VisualizerConfig) -> CircuitGrid {
    let mut tensors: Vec<String> = Vec::new();
    let (mut blocks, mut outside) = (BTreeMap::new(), Vec::new());
    for layer in views.first().map_or(&[][..], |view| &view.layers) {
        let in_block = matches!(layer.location, Location::Block { .. });
        for (component, cell) in counted(views, layer, config) {
            let column = match config.plot_granularity {
                Granularity::Layer => Column::Layer,
                Granularity::Tensor => {
                    Column::Tensor(position(&mut tensors, &layer.short_name, in_block), layer.short_name.clone())
                }
                Granularity::Block => Column::Component(component),
            };
            if in_block || config.plot_granularity == Granularity::Layer {
                let row: &mut BTreeMap<Column, CircuitCell> = blocks.entry(layer.location).or_default();
                *row.entry(column).or_default() += cell;
            } else {
                outside.push((layer.location, layer.layer.name.clone(), cell));
            }
        }
    }
    assembled(blocks, outside)
}

/// The shares of one circuit's parts.
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

/// The place of a tensor among the columns; tensors outside the blocks have none.
fn position(tensors: &mut Vec<String>, name: &str, in_block: bool) -> usize {
    tensors.iter().position(|known| known == name).unwrap_or_else(|| {
        if in_block {
            tensors.push(name.to_owned());
        }
        tensors.len().saturating_sub(1)
    })
}

/// Rows in the order of a forward pass: what lies outside the blocks stands above or below them.
fn assembled(
    blocks: BTreeMap<Location, BTreeMap<Column, CircuitCell>>,
    outside: Vec<(Location, String, CircuitCell)>,
) -> CircuitGrid {
    let mut columns: Vec<&Column> = blocks.values().flat_map(BTreeMap::keys).collect();
    columns.sort();
    columns.dedup();
    let whole = |wanted: Location| {
        let rows = outside.iter().filter(move |(location, _, _)| *location == wanted);
        rows.map(|(_, name, cell)| GridRow { label: name.clone(), cells: Cells::Whole(*cell) })
    };
    let row = |(location, cells): (&Location, &BTreeMap<Column, CircuitCell>)| GridRow {
        label: location.to_string(),
        cells: Cells::Columns(columns.iter().map(|column| cells.get(*column).copied()).collect()),
    };
    let rows = whole(Location::Input).chain(blocks.iter().map(row)).chain(whole(Location::Output)).collect();
    let names = columns.iter().filter_map(|column| match column {
        Column::Layer => None,
        Column::Tensor(_, name) => Some(name.clone()),
        Column::Component(component) => Some(component.to_string()),
    });
    CircuitGrid { columns: names.collect(), rows }
}

/// The parameters of one layer, component by component, as the configuration wants them counted.
fn counted(views: &[CircuitView], layer: &LayerComponents, config: &VisualizerConfig) -> Vec<(Component, CircuitCell)> {
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

/// Counts entries of one parameter.
struct Counter<'a> {
    masks: Vec<Option<Cow<'a, [bool]>>>,
}

impl<'a> Counter<'a> {
    fn new(masks: &[Option<&'a HardMask>]) -> Self {
        Self { masks: masks.iter().map(|mask| mask.map(HardMask::entries)).collect() }
    }

    /// Adds the entries of a run to a cell. What only one circuit masks is not in the other.
    fn count(&self, run: Range<usize>, cell: &mut CircuitCell) {
        let kept = |index: usize| self.masks.get(index).and_then(Option::as_deref).map(|mask| &mask[run.clone()]);
        let ones = |mask: &[bool]| mask.iter().map(|kept| u64::from(*kept)).sum::<u64>();
        let all = run.len() as u64;
        match (kept(0), kept(1)) {
            (None, None) => cell.unmasked += all,
            (Some(first), None) => {
                let first = ones(first);
                *cell += CircuitCell { first, unused: all - first, ..CircuitCell::default() };
            }
            (None, Some(second)) => {
                let second = ones(second);
                *cell += CircuitCell { second, unused: all - second, ..CircuitCell::default() };
            }
            (Some(first), Some(second)) => {
                let both = first.iter().zip(second).map(|(first, second)| u64::from(*first & *second)).sum::<u64>();
                let (first, second) = (ones(first) - both, ones(second) - both);
                *cell += CircuitCell { first, both, second, unused: all - first - both - second, unmasked: 0 };
            }
        }
    }
}
