//! Short names of rows in figures: the parts in which they differ.

use std::collections::BTreeMap;

use crate::data::Variable;
use crate::evaluate::Row;

/// The swept key of the weight of the L0 term.
const LAMBDA: &str = "circuit_config.l0_lambda";
/// Swept keys with a part of their own.
const NAMED: [&str; 4] = ["data.label", "probe.vectors", LAMBDA, "circuit_config.mask_hparams.mask_init_value"];

/// A part of the name of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Model,
    Data,
    Variable,
    /// The probed site, for arithmetic the sublayer.
    Site,
    /// The probed site without its layer, e.g. `attn_update`.
    SiteOfLayers,
    /// λ, the initial mask value and the other swept keys of `[circuit_config]`.
    Masks,
    /// All other swept keys.
    Sweep,
    Seed,
}

/// The parts that name a row as a whole.
pub(super) const ALL: [Part; 7] =
    [Part::Model, Part::Data, Part::Variable, Part::Site, Part::Masks, Part::Sweep, Part::Seed];

/// Names of rows.
pub(super) struct Names {
    /// For each row the parts in which rows differ, e.g. `number · attn_update_1`.
    pub(super) labels: Vec<String>,
    /// What all rows have in common, for a title.
    pub(super) common: String,
}

impl Names {
    /// Names rows by the given parts. If the rows do not differ in them, the labels are variable and site, as far as
    /// they are among the parts.
    pub(super) fn new(rows: &[&Row], parts: &[Part]) -> Self {
        let columns: Vec<(Part, Vec<Option<String>>)> =
            parts.iter().flat_map(|part| columns(*part, rows).into_iter().map(|column| (*part, column))).collect();
        let varies = |column: &[Option<String>]| column.windows(2).any(|pair| pair[0] != pair[1]);
        let label_at = |row: usize, chosen: &dyn Fn(Part, &[Option<String>]) -> bool| {
            let columns = columns.iter().filter(|(part, column)| chosen(*part, column));
            columns.filter_map(|(_, column)| column[row].clone()).collect::<Vec<_>>().join(" · ")
        };
        let is_question = |part: Part| matches!(part, Part::Variable | Part::Site | Part::SiteOfLayers);
        let differ = columns.iter().any(|(_, column)| varies(column));
        let in_label = |part: Part, column: &[Option<String>]| if differ { varies(column) } else { is_question(part) };
        let in_title = |part: Part, column: &[Option<String>]| {
            !in_label(part, column) && (is_question(part) || matches!(part, Part::Model | Part::Data))
        };
        let labels = (0..rows.len()).map(|row| label_at(row, &in_label)).collect();
        let common = if rows.is_empty() { String::new() } else { label_at(0, &in_title) };
        Self { labels, common }
    }
}

/// The texts of a part for all rows. Swept keys have one column each.
fn columns(part: Part, rows: &[&Row]) -> Vec<Vec<Option<String>>> {
    let one = |text: fn(&Row) -> Option<String>| vec![rows.iter().map(|row| text(row)).collect()];
    match part {
        Part::Model => one(|row| file_name(&row.model)),
        Part::Data => one(|row| file_name(&row.data)),
        Part::Variable => one(variable),
        Part::Site => one(place),
        Part::SiteOfLayers => one(site_of_layers),
        Part::Seed => one(|row| Some(format!("seed {}", row.seed))),
        Part::Masks => {
            let mut columns = one(|row| lambda(row).map(|lambda| format!("λ {lambda:e}")));
            columns.extend(one(|row| row.number("mask_init_value").map(|value| format!("init {value}"))));
            columns.extend(swept_columns(rows, |key| key.starts_with("circuit_config.")));
            columns
        }
        Part::Sweep => swept_columns(rows, |key| !key.starts_with("circuit_config.")),
    }
}

fn swept_columns(rows: &[&Row], chosen: impl Fn(&str) -> bool) -> Vec<Vec<Option<String>>> {
    let swept: Vec<Vec<(&str, &str)>> = rows.iter().map(|row| swept(&row.run)).collect();
    let mut columns: BTreeMap<&str, Vec<Option<String>>> = BTreeMap::new();
    for (row, keys) in swept.iter().enumerate() {
        for (key, value) in keys.iter().filter(|(key, _)| chosen(key) && !NAMED.contains(key)) {
            let short = key.rsplit('.').next().unwrap_or(key);
            columns.entry(key).or_insert_with(|| vec![None; rows.len()])[row] = Some(format!("{short} {value}"));
        }
    }
    columns.into_values().collect()
}

/// The swept keys and values in the name of a run: recipe, `key=value` parts, seed, separated by `-`. A value may hold
/// a `-`, a key does not.
fn swept(run: &str) -> Vec<(&str, &str)> {
    let run = run.strip_suffix(PLAIN).unwrap_or(run);
    let parts: Vec<&str> = run.split('=').collect();
    // Between two `=` are the value of the first key and the second key, which begins after the last `-`.
    let pairs = parts.windows(2).map(|pair| {
        let name = pair[0].rsplit('-').next().unwrap_or(pair[0]);
        let value = pair[1].rsplit_once('-').map_or(pair[1], |(value, _)| value);
        (name, value)
    });
    pairs.collect()
}

/// End of the name of the probe without masks.
pub(super) const PLAIN: &str = "-plain";

/// Weight of the L0 term, if the row or the name of its run has it; `None` for a probe without masks.
pub(super) fn lambda(row: &Row) -> Option<f64> {
    let swept = || Some(&*row.run).filter(|run| !run.ends_with(PLAIN)).and_then(swept_lambda);
    row.number("l0_lambda").or_else(swept)
}

fn swept_lambda(run: &str) -> Option<f64> {
    swept(run).into_iter().find(|(key, _)| *key == LAMBDA)?.1.parse().ok()
}

/// Whether the row is of a task of arithmetic.
pub(super) fn is_arithmetic(row: &Row) -> bool {
    row.measures.get("acc_full").is_some()
}

/// The predicted variable; those of arithmetic as formulas.
pub(super) fn variable(row: &Row) -> Option<String> {
    let name = row.variable.clone()?;
    let formula = || serde_json::from_value::<Variable>(name.as_str().into()).ok();
    Some(formula().filter(|_| is_arithmetic(row)).map_or(name.clone(), |variable| variable.to_string()))
}

/// The probed site, for the single layer of arithmetic its sublayer.
fn place(row: &Row) -> Option<String> {
    if is_arithmetic(row) { row.block.clone() } else { row.site.clone() }
}

fn site_of_layers(row: &Row) -> Option<String> {
    let site = row.site.as_deref()?;
    Some(site.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('_').into())
}

/// The last part of a path; `None` for the folder of the recipe.
pub(super) fn file_name(path: &str) -> Option<String> {
    let last = path.trim_end_matches('/').rsplit('/').next();
    last.filter(|name| !["", ".", ".."].contains(name)).map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::some_row;

    fn row(run: &str, variable: &str, site: &str, seed: u64) -> Row {
        Row { variable: Some(variable.into()), site: Some(site.into()), seed, ..some_row(run, &[]) }
    }

    fn labels(rows: &[Row], parts: &[Part]) -> (Vec<String>, String) {
        let names = Names::new(&rows.iter().collect::<Vec<_>>(), parts);
        (names.labels, names.common)
    }

    #[test]
    fn a_label_holds_what_differs_and_the_title_what_does_not() {
        let rows = [row("r-0", "number", "attn_update_1", 0), row("r-1", "number", "mlp_update_1", 1)];
        let (found, common) = labels(&rows, &ALL);
        assert_eq!(found, ["attn_update_1 · seed 0", "mlp_update_1 · seed 1"]);
        assert_eq!(common, "m · words.csv · number");
        let (found, common) = labels(&rows[..1], &ALL);
        assert_eq!((found, common), (vec!["number · attn_update_1".into()], "m · words.csv".into()));
        assert_eq!(labels(&[], &ALL), (Vec::new(), String::new()));
        let (found, _) = labels(&rows, &[Part::SiteOfLayers, Part::Variable]);
        assert_eq!(found, ["attn_update", "mlp_update"]);
    }

    #[test]
    fn swept_keys_are_read_from_the_name_of_the_run() {
        let run = "my-recipe-circuit_config.l0_lambda=1e-7-training.batch_size=8-probe.vectors=attn_update_0-3";
        let expected =
            [("circuit_config.l0_lambda", "1e-7"), ("training.batch_size", "8"), ("probe.vectors", "attn_update_0")];
        assert_eq!(swept(run), expected);
        assert_eq!(swept(&format!("{run}-plain")), expected);
        assert!(swept("recipe-0").is_empty() && swept("recipe").is_empty());
        let rows = ["1e-7-training.batch_size=8", "1e-6-training.batch_size=8", "1e-6-training.batch_size=16"]
            .map(|end| row(&format!("r-circuit_config.l0_lambda={end}-0"), "number", "attn_update_1", 0));
        assert_eq!(labels(&rows, &ALL).0, ["λ 1e-7 · batch_size 8", "λ 1e-6 · batch_size 8", "λ 1e-6 · batch_size 16"]);
        assert_eq!(rows.each_ref().map(lambda), [Some(1e-7), Some(1e-6), Some(1e-6)]);
    }

    #[test]
    fn arithmetic_is_named_by_formula_and_sublayer() {
        let arithmetic = |variable: &str, init: f64| {
            let mut row = row("r-0", variable, "attn_update_0", 0);
            row.measures.set("acc_full", 1.0);
            row.measures.set("mask_init_value", init);
            row
        };
        let rows = [arithmetic("a2", 0.0), arithmetic("a_minus_b", 0.1)];
        assert_eq!(labels(&rows, &ALL).0, ["a² · init 0", "a−b · init 0.1"]);
        assert_eq!(labels(&rows[..1], &ALL).0, ["a² · attn"]);
    }
}
