//! Results of activation patching: JSON, a figure, and the strongest cells in words.

use std::path::Path;

use super::figures::{FigureError, SignedPanel, signed_maps};
use super::results::write_json;
use super::table::{markdown, or_na};
use crate::error::TrainError;
use crate::evaluate::{CountedFrom, PatchKind, PatchMap, PatchPosition, PatchReport, PatchRow};

/// Name of the files, without their extensions.
const STEM: &str = "patch";
/// Number of cells in the table.
const STRONGEST: usize = 5;

/// Writes `patch.json`, and the figure `patch` as SVG and PNG, to a folder, each atomically. Creates the folder.
///
/// A model of too many blocks, or examples of too many tokens, for one figure are a warning; the values are in
/// `patch.json`.
///
/// # Errors
/// Returns [`TrainError::Io`] if the folder or `patch.json` cannot be written, and [`TrainError::Figure`] if the figure
/// cannot be drawn or written.
pub fn write_patching(folder: impl AsRef<Path>, report: &PatchReport) -> Result<(), TrainError> {
    let folder = folder.as_ref();
    std::fs::create_dir_all(folder).map_err(TrainError::io("create", folder))?;
    write_json(folder.join(format!("{STEM}.json")), report)?;
    let panels: Vec<SignedPanel> = report.maps.iter().map(|map| panel(map, report)).collect();
    match signed_maps(folder, STEM, &title(report), &caption(report), &panels) {
        Err(error @ FigureError::TooMany { .. }) => {
            tracing::warn!("no figure: {error}, e.g. with --sites; {STEM}.json has all values");
            Ok(())
        }
        drawn => Ok(drawn?),
    }
}

/// The strongest cells as a Markdown table. Those of the streams are left out if there are others: a stream holds all that
/// was computed before it.
pub fn patch_table(report: &PatchReport) -> String {
    let cells = strongest(report);
    let line = |cell: &Cell| {
        let difference = format!("{} → {}", number(Some(cell.corrupted)), number(cell.patched));
        vec![cell.place.clone(), cell.at.clone(), number(Some(cell.normalised)), difference]
    };
    let lines: Vec<Vec<String>> = cells.iter().map(line).collect();
    markdown(&["clean value of", "at", "restores", "logit difference"], &lines)
}

/// A cell of a map.
struct Cell {
    place: String,
    at: String,
    normalised: f64,
    patched: Option<f64>,
    corrupted: f64,
}

/// The cells with the largest values of either sign; of equal ones the first.
fn strongest(report: &PatchReport) -> Vec<Cell> {
    let has_parts = report.maps.iter().any(|map| !map.kind.is_stream());
    let maps = report.maps.iter().filter(|map| !(has_parts && map.kind.is_stream()));
    let mut cells: Vec<Cell> =
        maps.flat_map(|map| map.rows.iter().flat_map(|row| of_row(report, map.kind, row))).collect();
    cells.sort_by(|left, right| right.normalised.abs().total_cmp(&left.normalised.abs()));
    cells.truncate(STRONGEST);
    cells
}

fn of_row(report: &PatchReport, kind: PatchKind, row: &PatchRow) -> Vec<Cell> {
    let cell = |(column, normalised): (usize, &Option<f64>)| {
        let position = report.positions.get(column).filter(|_| kind != PatchKind::Heads);
        let (place, at) = match (kind, position) {
            (PatchKind::Heads, _) => (format!("head {column} of layer {}", layer(&row.site)), "all positions".into()),
            (_, position) => (place(kind, &row.site), position.map(at).unwrap_or_default()),
        };
        let corrupted = position.map_or(report.corrupted, |position| position.corrupted);
        let patched = row.patched.get(column).copied().flatten();
        Some(Cell { place, at, normalised: (*normalised)?, patched, corrupted })
    };
    row.normalised.iter().enumerate().filter_map(cell).collect()
}

/// What a site is, in words.
fn place(kind: PatchKind, site: &str) -> String {
    let layer = layer(site);
    match kind {
        PatchKind::Resid if layer.is_empty() => "the embeddings".into(),
        PatchKind::Resid => format!("the residual stream after layer {layer}"),
        PatchKind::AttnStream => format!("the residual stream after the attention of layer {layer}"),
        PatchKind::AttnUpdate => format!("the attention of layer {layer}"),
        PatchKind::MlpUpdate => format!("the MLP of layer {layer}"),
        PatchKind::Heads => format!("the heads of layer {layer}"),
    }
}

/// The number of the block in the name of a site; empty for the embeddings.
fn layer(site: &str) -> &str {
    site.rsplit_once('_').map_or("", |(_, layer)| layer)
}

/// A position in words.
fn at(position: &PatchPosition) -> String {
    match (&position.token, position.index) {
        (Some(token), index) => format!("position {index} (`{token}`)"),
        (None, -1) => "the last position".into(),
        (None, index) => format!("position −{}", index.unsigned_abs()),
    }
}

fn number(value: Option<f64>) -> String {
    or_na(value, |value| format!("{value:.2}").replace('-', "−"))
}

fn panel(map: &PatchMap, report: &PatchReport) -> SignedPanel {
    let heads = map.rows.iter().map(|row| row.normalised.len()).max().unwrap_or_default();
    let columns = match map.kind {
        PatchKind::Heads => (0..heads).map(|head| format!("head {head}")).collect(),
        _ => report.positions.iter().map(heading).collect(),
    };
    let label = |row: &PatchRow| match layer(&row.site) {
        "" => row.site.clone(),
        layer => format!("layer {layer}"),
    };
    let rows = map.rows.iter().map(|row| (label(row), row.normalised.clone())).collect();
    SignedPanel { name: map.kind.to_string(), columns, rows }
}

/// Heading of a column: the token, or the position if there is none or it is white space.
fn heading(position: &PatchPosition) -> String {
    let number = position.index.to_string().replace('-', "−");
    position.token.clone().filter(|token| !token.is_empty()).unwrap_or(number)
}

fn title(report: &PatchReport) -> String {
    let examples = if report.examples == 1 { "1 example".into() } else { format!("{} examples", report.examples) };
    format!("Activation patching · {} · {examples} of {}", report.model, report.set.name())
}

fn caption(report: &PatchReport) -> String {
    let columns = match report.counted_from {
        CountedFrom::Start => "columns: positions, with the tokens of the first example",
        CountedFrom::End => "columns: positions, counted from the last token",
    };
    let differences = format!("{} → {}", number(Some(report.corrupted)), number(Some(report.clean)));
    format!("restored share of the logit difference ({differences}); {columns}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{Metric, SetName};

    fn report() -> PatchReport {
        let position = |index: i64, token: &str| PatchPosition {
            index,
            token: Some(token.into()),
            examples: 4,
            clean: 6.0,
            corrupted: -2.0,
        };
        let row = |site: &str, normalised: [Option<f64>; 2]| PatchRow {
            site: site.into(),
            normalised: normalised.into(),
            patched: normalised.map(|value| value.map(|value| 8.0 * value - 2.0)).into(),
        };
        let map = |kind, rows| PatchMap { kind, rows };
        PatchReport {
            model: "models/m".into(),
            data: "data.csv".into(),
            set: SetName::Test,
            examples: 4,
            metric: Metric::LogitDifference,
            clean: 6.0,
            corrupted: -2.0,
            counted_from: CountedFrom::Start,
            positions: vec![position(0, "the"), position(1, "cats")],
            maps: vec![
                map(PatchKind::Resid, vec![row("embeddings", [Some(0.0), Some(1.0)])]),
                map(PatchKind::MlpUpdate, vec![row("mlp_update_11", [Some(0.25), None])]),
                map(PatchKind::Heads, vec![row("heads_3", [Some(-0.5), Some(0.0)])]),
            ],
        }
    }

    #[test]
    fn the_strongest_parts_are_named_in_words() {
        let table = patch_table(&report());
        let lines: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(lines.len(), 3, "{table}");
        assert!(lines[0].starts_with("| head 0 of layer 3   | all positions "), "{table}");
        assert!(lines[0].contains("| −0.50 "), "{table}");
        assert!(lines[1].contains("the MLP of layer 11 | position 0 (`the`) | 0.25"), "{table}");
        assert!(lines[1].contains("−2.00 → 0.00"), "{table}");
        let streams = PatchReport { maps: report().maps[..1].to_vec(), ..report() };
        assert!(patch_table(&streams).contains("| the embeddings | position 1 (`cats`) | 1.00"));
    }

    #[test]
    fn files_are_written_and_a_value_that_is_missing_is_null() {
        let folder = tempfile::tempdir().unwrap();
        write_patching(folder.path().join("new"), &report()).unwrap();
        let text = std::fs::read_to_string(folder.path().join("new/patch.json")).unwrap();
        assert_eq!(serde_json::from_str::<PatchReport>(&text).unwrap(), report());
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["maps"][1]["rows"][0]["normalised"], serde_json::json!([0.25, null]));
        assert_eq!((&value["maps"][0]["kind"], &value["metric"]), (&"resid".into(), &"logit_difference".into()));
        let svg = std::fs::read_to_string(folder.path().join("new/patch.svg")).unwrap();
        for part in ["models/m", "4 examples of test", "layer 11", "cats", "head 1", "(−2.00 → 6.00)"] {
            assert!(svg.contains(part), "{part}");
        }
        assert!(folder.path().join("new/patch.png").is_file());
    }
}
