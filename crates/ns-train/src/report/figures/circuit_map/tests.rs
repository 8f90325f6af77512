//! Tests of circuit maps, and a style that the tests of heat maps also use.

use super::*;
use crate::figures::colour::Colour;
use crate::figures::grid::GridRow;
use crate::figures::output::tests::TestFolder;

/// A style for `circuits` circuits.
pub(in crate::report::figures) fn style(circuits: usize) -> MapStyle {
    MapStyle {
        title: "Layer by layer".into(),
        labels: ["first", "second"][..circuits].iter().map(ToString::to_string).collect(),
        circuits: [Colour::new(255, 0, 0), Colour::new(0, 0, 255)],
        both: Colour::new(128, 0, 128),
        unused: Colour::new(128, 128, 128),
        unmasked: Colour::new(238, 238, 238),
        opacity: 0.75,
        title_size: 33.0,
        label_size: 25.0,
        size: None,
        legend: true,
    }
}

fn grid(rows: usize, columns: usize) -> CircuitGrid {
    let cell = |seed: usize| CircuitCell {
        first: (seed * 7 % 11) as u64,
        both: (seed * 5 % 7) as u64,
        second: (seed * 3 % 5) as u64,
        unused: 9,
        unmasked: if seed.is_multiple_of(5) { 8 } else { 0 },
    };
    let row = |row: usize| GridRow {
        label: format!("layer {row}"),
        cells: Cells::Columns((0..columns).map(|column| Some(cell(row * columns + column))).collect()),
    };
    CircuitGrid {
        columns: (0..columns).map(|head| format!("head {head}")).collect(),
        rows: (0..rows).map(row).collect(),
    }
}

#[test]
fn shows_names_legend_and_shares() -> Result<(), FigureError> {
    let folder = TestFolder::new("map");
    let mut grid = grid(2, 2);
    let cell = CircuitCell { first: 1, both: 2, second: 3, unused: 14, unmasked: 0 };
    grid.rows.push(GridRow { label: "score".into(), cells: Cells::Whole(cell) });
    for format in ImageFormat::ALL {
        circuit_map(folder.path().join(format!("map.{}", format.extension())), format, &grid, &style(2))?;
    }
    let svg = folder.svg("map");
    for text in ["Layer by layer", "layer 1", "head 0", "only first", "both", "only second", "unused", "not masked"] {
        assert!(svg.contains(text), "{text}");
    }
    assert!(svg.contains("5 · 10 · 15") && svg.contains("#FF4040"), "percentages, and a colour with opacity");
    assert_eq!(folder.png_size("map").0, 1600);
    Ok(())
}

#[test]
fn one_circuit_has_no_second_in_its_legend() -> Result<(), FigureError> {
    let folder = TestFolder::new("map-one");
    circuit_map(folder.path().join("map.svg"), ImageFormat::Svg, &grid(1, 1), &style(1))?;
    let svg = folder.svg("map");
    assert!(svg.contains(">\nfirst\n<"), "{svg}");
    assert!(!svg.contains("both") && !svg.contains("only"));
    let plain = MapStyle { legend: false, title: String::new(), ..style(1) };
    circuit_map(folder.path().join("plain.svg"), ImageFormat::Svg, &grid(1, 1), &plain)?;
    assert!(!folder.svg("plain").contains("unused"));
    Ok(())
}

#[test]
fn a_fixed_size_is_kept_or_refused() -> Result<(), FigureError> {
    let folder = TestFolder::new("map-size");
    let draw = |size, rows, columns| {
        let style = MapStyle { size: Some(size), ..style(2) };
        circuit_map(folder.path().join("map.png"), ImageFormat::Png, &grid(rows, columns), &style)
    };
    draw((1000, 2000), 12, 5)?;
    assert_eq!(folder.png_size("map"), (1000, 2000));
    draw((700, 600), 12, 5)?;
    for (size, rows, columns) in [((500, 200), 12, 5), ((300, 900), 3, 20), ((0, 0), 1, 1)] {
        let error = draw(size, rows, columns);
        assert!(matches!(error, Err(FigureError::TooSmall { .. })), "{size:?} {error:?}");
    }
    Ok(())
}

#[test]
fn many_cells_widen_the_figure_and_too_many_are_refused() -> Result<(), FigureError> {
    let folder = TestFolder::new("map-many");
    let draw =
        |rows, columns| circuit_map(folder.path().join("map.png"), ImageFormat::Png, &grid(rows, columns), &style(1));
    draw(2, 30)?;
    assert!(folder.png_size("map").0 > 2500);
    assert!(matches!(draw(201, 1), Err(FigureError::TooMany { what: "rows", .. })));
    assert!(matches!(draw(1, 131), Err(FigureError::TooMany { what: "columns", .. })));
    circuit_map(folder.path().join("none.svg"), ImageFormat::Svg, &CircuitGrid::default(), &style(1))?;
    assert!(folder.svg("none").contains("no data"));
    Ok(())
}
