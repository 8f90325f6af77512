//! The runs of a recipe: every label, site, combination of the sweep, and seed.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use super::circuit_schema::check_keys;
use super::document::{Document, insert};
use super::kind::Kind;
use super::old_form::new_form;
use super::sections::Recipe;
use crate::error::TrainError;

/// Largest number of runs of one recipe.
const MAX_RUNS: usize = 10_000;
/// The key of the probed site, which may be a pattern.
const SITE: &str = "probe.vectors";

/// The runs of a recipe file, in order.
#[derive(Clone, Debug)]
pub struct Grid {
    /// The runs: labels, then sites, then the keys of `[sweep]` in the order of the file, then seeds.
    pub cells: Vec<Cell>,
}

/// One run of a grid.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// Name of the run: the parts `key=value` that differ between runs, and the seed.
    pub name: String,
    /// The recipe of the run.
    pub recipe: Recipe,
}

/// An axis of the grid: a key and its values.
struct Axis {
    key: String,
    values: Vec<Value>,
}

impl Grid {
    /// Takes the lists of a recipe apart: `data.labels`, `probe.vectors`, and the keys of `[sweep]`. `seeds` are the
    /// seeds of the command line; none if the recipe gives them.
    ///
    /// `sites_of` returns the sites that match a pattern, e.g. `attn_update_*`, in a model.
    ///
    /// # Errors
    /// Returns [`TrainError::RecipeKey`] with file, line and key for a key or value that is not part of the grammar,
    /// for an empty list, and for a grid of more than 10,000 runs. Returns [`TrainError::Recipe`] for a recipe in a form
    /// of earlier versions, with the keys that it has now.
    pub fn new(
        document: &Document,
        seeds: &[u64],
        sites_of: impl Fn(&Recipe, &str) -> Result<Vec<String>, TrainError>,
    ) -> Result<Self, TrainError> {
        has_kind(document)?;
        let mut base = document.table.clone();
        let mut axes = Vec::new();
        axes.extend(take_list(&mut base, "data", "labels").map(|values| Axis { key: "data.label".into(), values }));
        axes.extend(take_list(&mut base, "probe", "vectors").map(|values| Axis { key: SITE.into(), values }));
        axes.extend(sweep(document, &mut base)?);
        if !seeds.is_empty() {
            axes.retain(|axis| axis.key != "seed");
            axes.push(Axis {
                key: "seed".into(),
                values: seeds.iter().map(|seed| Value::Integer(*seed as i64)).collect(),
            });
        }
        let runs = axes.iter().try_fold(1_usize, |runs, axis| runs.checked_mul(axis.values.len()));
        if runs.is_none_or(|runs| runs == 0 || runs > MAX_RUNS) {
            let sizes: Vec<String> = axes.iter().map(|axis| format!("{} {}", axis.values.len(), axis.key)).collect();
            let expected = "a grid needs at least 1 and at most 10,000 runs; use fewer values";
            return Err(document.locate(TrainError::setting("sweep", sizes.join(" × "), expected)));
        }
        let mut cells = Vec::new();
        for parts in combinations(&axes) {
            cells.extend(expand_sites(document, &base, &parts, &sites_of)?);
        }
        Ok(Self { cells })
    }
}

/// Refuses a recipe without `kind`. One in an old form is shown how to write it now.
pub(super) fn has_kind(document: &Document) -> Result<(), TrainError> {
    if document.table.contains_key("kind") {
        return Ok(());
    }
    match new_form(&document.table) {
        Some(reason) => Err(TrainError::Recipe { path: document.path().into(), reason }),
        None => {
            let kinds = Kind::ALL.map(Kind::name).join(", ");
            let expected = format!("it says what is trained: one of {kinds}");
            Err(document.locate(TrainError::setting("kind", "missing", expected)))
        }
    }
}

/// Takes a list out of a section. A single value stays.
fn take_list(table: &mut Table, section: &str, key: &str) -> Option<Vec<Value>> {
    let section = table.get_mut(section)?.as_table_mut()?;
    let list = section.get(key)?.as_array()?.clone();
    section.remove(key);
    Some(list)
}

/// Takes `[sweep]` out of a recipe.
fn sweep(document: &Document, table: &mut Table) -> Result<Vec<Axis>, TrainError> {
    let Some(sweep) = table.remove("sweep") else { return Ok(Vec::new()) };
    let refused = |key: &str, found: &str| {
        let expected = "each key of [sweep] has a list of values, e.g. \"circuit_config.l0_lambda\" = [1e-7, 1e-6]";
        document.locate(TrainError::Setting {
            setting: key.to_owned().into(),
            found: found.into(),
            expected: expected.into(),
        })
    };
    let mut sweep = sweep.try_into::<Table>().map_err(|_| refused("sweep", "not a table"))?;
    let mut order = document.keys_in_order("sweep");
    order.extend(sweep.keys().filter(|key| !order.contains(key)).cloned().collect::<Vec<_>>());
    let axis = |key: String| match sweep.remove(&key)? {
        Value::Array(values) if !values.is_empty() => Some(Ok(Axis { key, values })),
        Value::Array(_) => Some(Err(refused(&format!("sweep.{key}"), "empty"))),
        other => Some(Err(refused(&format!("sweep.{key}"), &format!("a {}", other.type_str())))),
    };
    order.into_iter().filter_map(axis).collect()
}

/// All combinations of one value per axis; the last axis varies fastest.
fn combinations(axes: &[Axis]) -> Vec<Vec<(&Axis, &Value)>> {
    let mut combinations = vec![Vec::new()];
    for axis in axes {
        let mut longer = Vec::with_capacity(combinations.len() * axis.values.len());
        for combination in &combinations {
            longer.extend(axis.values.iter().map(|value| [&combination[..], &[(axis, value)]].concat()));
        }
        combinations = longer;
    }
    combinations
}

/// The recipes of one combination: one, or one per site if `probe.vectors` is a pattern.
fn expand_sites(
    document: &Document,
    base: &Table,
    parts: &[(&Axis, &Value)],
    sites_of: &impl Fn(&Recipe, &str) -> Result<Vec<String>, TrainError>,
) -> Result<Vec<Cell>, TrainError> {
    let mut table = base.clone();
    for (axis, value) in parts {
        insert(&mut table, &axis.key, (*value).clone())?;
    }
    one_layer_is_a_list(&mut table);
    if let Some(config) = table.get("circuit_config").and_then(Value::as_table) {
        check_keys(config).map_err(|error| document.locate(error))?;
    }
    let recipe: Recipe = document.deserialize(&table)?;
    recipe.validate().map_err(|error| document.locate(error))?;
    let varying = parts.iter().filter(|(axis, _)| axis.values.len() > 1 && axis.key != "seed");
    let mut names: BTreeMap<&str, String> = varying.map(|(axis, value)| (&*axis.key, part(&axis.key, value))).collect();
    let order: Vec<&str> = parts.iter().map(|(axis, _)| &*axis.key).chain([SITE]).collect();
    let cell = |names: &BTreeMap<&str, String>, recipe: Recipe| {
        let mut seen = BTreeSet::new();
        let parts = order.iter().filter(|key| seen.insert(**key)).filter_map(|key| names.get(key).cloned());
        let name = parts.chain([recipe.seed.to_string()]).collect::<Vec<_>>().join("-");
        Cell { name, recipe }
    };
    let pattern =
        recipe.probe.as_ref().map(|probe| probe.vectors.clone()).filter(|site| site.contains(['*', '?', '[']));
    let Some(pattern) = pattern else { return Ok(vec![cell(&names, recipe)]) };
    let sites = sites_of(&recipe, &pattern).map_err(|error| document.locate(error))?;
    let with_site = |site: String| {
        let mut recipe = recipe.clone();
        names.insert(SITE, part(SITE, &site.clone().into()));
        if let Some(probe) = &mut recipe.probe {
            probe.vectors = site;
        }
        cell(&names, recipe)
    };
    Ok(sites.into_iter().map(with_site).collect())
}

/// `target_layers = "site"` is a list of one.
fn one_layer_is_a_list(table: &mut Table) {
    let config = table.get_mut("circuit_config").and_then(Value::as_table_mut);
    if let Some(layers) = config.and_then(|config| config.get_mut("target_layers"))
        && layers.is_str()
    {
        *layers = Value::Array(vec![layers.clone()]);
    }
}

/// `key=value`, as part of a file name.
fn part(key: &str, value: &Value) -> String {
    let value = match value {
        Value::String(text) => text.clone(),
        Value::Float(number) => format!("{number:e}"),
        other => other.to_string(),
    };
    let plain = |c: char| if c.is_alphanumeric() || "._-+".contains(c) { c } else { '_' };
    format!("{key}={}", value.chars().map(plain).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::fixtures::file;

    const RECIPE: &str = r#"
kind = "circuit_probe"
model = "m"

[data]
path = "words.csv"
text = "text"
read = "last"
label = "number"
split = { seeded = { train = 0.6 } }

[probe]
vectors = "attn_update_0"

[circuit_config]
target_layers = "site"

[training]
epochs = 3
batch_size = 4
"#;

    fn grid(text: &str, seeds: &[u64], sets: &[&str]) -> Result<Vec<Cell>, TrainError> {
        let (_folder, path) = file("recipe.toml", text);
        let mut document = Document::read(&path)?;
        sets.iter().try_for_each(|set| document.set(set))?;
        let sites =
            |_: &Recipe, pattern: &str| Ok([0, 1].map(|layer| pattern.replace('*', &layer.to_string())).to_vec());
        Grid::new(&document, seeds, sites).map(|grid| grid.cells)
    }

    fn names(text: &str, seeds: &[u64], sets: &[&str]) -> Vec<String> {
        grid(text, seeds, sets).unwrap().into_iter().map(|cell| cell.name).collect()
    }

    fn error(text: &str) -> String {
        let message = grid(text, &[], &[]).unwrap_err().to_string();
        let start = message.find("recipe.toml`").unwrap_or_else(|| panic!("no file in: {message}"));
        message[start..].to_owned()
    }

    #[test]
    fn a_single_run_is_named_by_its_seed() {
        let cells = grid(RECIPE, &[], &["training.epochs=5", "model=other", "probe.hidden = 8"]).unwrap();
        assert_eq!(cells.len(), 1);
        let recipe = &cells[0].recipe;
        assert_eq!((cells[0].name.as_str(), recipe.training.epochs, recipe.seed), ("0", 5, 0));
        assert_eq!(recipe.probe.as_ref().unwrap().hidden, Some(8));
        assert_eq!(recipe.circuit_config.as_ref().unwrap().target_layers, ["site"]);
        assert_eq!(names(RECIPE, &[3, 4], &[]), ["3", "4"]);
    }

    #[test]
    fn lists_sites_sweeps_and_seeds_make_a_grid_in_order() {
        let text = RECIPE.replace("label = \"number\"", "labels = [\"number\", \"gender\"]");
        let text = text.replace("attn_update_0", "attn_update_*")
            + "[sweep]\nseed = [7, 8]\n\"circuit_config.l0_lambda\" = [1e-6]\n\"training.epochs\" = [1, 2]\n";
        let all = names(&text, &[], &[]);
        assert_eq!(all.len(), 16);
        assert_eq!(all[0], "data.label=number-training.epochs=1-probe.vectors=attn_update_0-7");
        assert_eq!(all[1], "data.label=number-training.epochs=1-probe.vectors=attn_update_1-7");
        assert_eq!(all[15], "data.label=gender-training.epochs=2-probe.vectors=attn_update_1-8");
        // Seeds of the command line replace those of the sweep and vary fastest.
        let seeded = names(&text, &[0, 1, 2], &[]);
        assert_eq!(seeded.len(), 24);
        assert!(seeded[0].ends_with("-0") && seeded[23].ends_with("-2"), "{seeded:?}");
    }

    #[test]
    fn mistakes_name_file_line_and_key() {
        let misspelt = RECIPE.replace("batch_size", "batch_sizes");
        assert!(
            error(&misspelt).starts_with("recipe.toml`, line 20, training.batch_sizes: unknown"),
            "{}",
            error(&misspelt)
        );
        assert!(error(&misspelt).contains("batch_sizes"), "{}", error(&misspelt));
        let mistyped = RECIPE.replace("epochs = 3", "epochs = \"three\"");
        assert!(error(&mistyped).starts_with("recipe.toml`, line 19, training.epochs"), "{}", error(&mistyped));
        let split = RECIPE.replace("train = 0.6", "train = 1.0");
        assert!(error(&split).starts_with("recipe.toml`, line 10, data.split.seeded"), "{}", error(&split));
        let unread = RECIPE.replace("read = \"last\"\n", "");
        assert!(
            error(&unread).starts_with("recipe.toml`, line 5, data.read: missing, but it says"),
            "{}",
            error(&unread)
        );
        let two = RECIPE.replace("read = \"last\"", "read = { index = 1, word = \"w\" }");
        assert!(error(&two).contains("line 8, data.read: a table of 2 rules"), "{}", error(&two));
        let unkind = RECIPE.replace("kind = \"circuit_probe\"", "");
        let expected =
            "recipe.toml`, kind: missing, but it says what is trained: one of model, circuit, circuit_probe,";
        assert!(error(&unkind).starts_with(expected), "{}", error(&unkind));
        let old = error("variable = \"a2\"\nepochs = 3\n");
        assert!(old.starts_with("recipe.toml` is not a valid recipe: it has the old form."), "{old}");
        assert!(old.contains("variable  →  data.label = \"a2\"") && old.contains("docs/recipes.md"), "{old}");
        let masks = RECIPE.replace("circuit_probe", "linear_probe");
        assert!(
            error(&masks).contains("line 15, circuit_config: given, but a linear_probe does not"),
            "{}",
            error(&masks)
        );
        let mask = RECIPE.replace("target_layers", "l0_lamda = 1\ntarget_layers");
        assert!(
            error(&mask).starts_with("recipe.toml`, line 16, circuit_config.l0_lamda: unknown"),
            "{}",
            error(&mask)
        );
        let empty = RECIPE.to_owned() + "[sweep]\nseed = []\n";
        assert!(error(&empty).starts_with("recipe.toml`, line 22, sweep.seed: empty"), "{}", error(&empty));
        let seeds: Vec<String> = (0..200).map(|seed| seed.to_string()).collect();
        let large = format!("{RECIPE}[sweep]\nseed = [{0}]\n\"training.epochs\" = [{0}]\n", seeds.join(","));
        assert!(error(&large).contains("200 seed × 200 training.epochs, but a grid"), "{}", error(&large));
    }
}
