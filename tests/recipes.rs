//! The JSON Schema of recipes: it is shipped as generated, the shipped recipes keep it, and docs/recipes.md names its
//! keys.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use boon::{Compiler, SchemaIndex, Schemas};
use ns_train::recipe::{Document, Grid, recipe_schema};
use serde_json::Value;

const UPDATE: &str = "NS_UPDATE=1 cargo test --test recipes";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// The files `models/*/*.toml` and `docs/*.toml`.
fn shipped() -> Vec<PathBuf> {
    let files = |folder: PathBuf| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let folders = files(repository().join("models")).filter(|path| path.is_dir());
    let mut recipes: Vec<PathBuf> = folders.flat_map(files).chain(files(repository().join("docs"))).collect();
    recipes.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    recipes.sort();
    recipes
}

struct Checker {
    schemas: Schemas,
    recipe: SchemaIndex,
}

impl Checker {
    fn new() -> Self {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource("recipe.schema.json", recipe_schema()).unwrap();
        let recipe = compiler.compile("recipe.schema.json", &mut schemas).unwrap();
        Self { schemas, recipe }
    }

    /// What the schema refuses in a recipe.
    fn check(&self, text: &str) -> Result<(), String> {
        let recipe: Value = toml::from_str(text).unwrap();
        self.schemas.validate(&recipe, self.recipe).map_err(|error| format!("{error:#}"))
    }
}

#[test]
fn the_schema_is_shipped_as_generated() {
    let file = repository().join("docs/recipe.schema.json");
    let now = serde_json::to_string_pretty(&recipe_schema()).unwrap() + "\n";
    if std::env::var_os("NS_UPDATE").is_some() {
        return fs::write(&file, now).unwrap();
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    assert!(kept == now, "the grammar of recipes changed. If this is intended: {UPDATE}");
}

#[test]
fn shipped_recipes_keep_the_schema_and_the_grammar() {
    let (checker, recipes) = (Checker::new(), shipped());
    assert!(recipes.len() > 20, "{recipes:?}");
    for recipe in recipes {
        let text = fs::read_to_string(&recipe).unwrap();
        let schema = text.lines().next().unwrap().strip_prefix("#:schema ").unwrap();
        assert!(recipe.parent().unwrap().join(schema).is_file(), "{}: {schema}", recipe.display());
        checker.check(&text).unwrap_or_else(|error| panic!("{}: {error}", recipe.display()));
        let sites = |_: &_, pattern: &str| Ok(vec![pattern.replace('*', "attn")]);
        let grid = Grid::new(&Document::read(&recipe).unwrap(), &[], sites).unwrap();
        assert!(!grid.cells.is_empty(), "{}", recipe.display());
        let command = format!("cargo xtask train {}", recipe.strip_prefix(repository()).unwrap().display());
        assert!(text.contains(&command), "{} does not say `{command}`", recipe.display());
    }
}

#[test]
fn mistakes_are_refused() {
    let checker = Checker::new();
    let recipe = fs::read_to_string(repository().join("models/wordnet/circuits-of-part-of-speech.toml")).unwrap();
    let refused = |from: &str, to: &str| {
        let changed = recipe.replacen(from, to, 1);
        assert_ne!(changed, recipe, "{from}");
        checker.check(&changed).expect_err(to)
    };
    for (from, to, place) in [
        ("batch_size", "batch_sizes", "batch_sizes"),
        ("support_draws", "support_draw", "support_draw"),
        ("l0_lambda", "l0_lamda", "l0_lamda"),
        ("mask_unit", "mask_units", "mask_units"),
        ("kind = \"circuit_probe\"", "kind = \"circuit_prob\"", "/kind"),
        ("kind = \"circuit_probe\"", "", "kind"),
        ("epochs = 20", "epochs = \"20\"", "/training/epochs"),
        ("epochs = 20", "epochs = -1", "/training/epochs"),
        ("epochs = 20", "", "epochs"),
        ("read = { span", "read = { spam", "/data/read"),
        ("vectors = \"*_update_[0-2]\"", "vectors = []", "/probe/vectors"),
        ("vectors = \"*_update_[0-2]\"", "", "vectors"),
        ("mask_unit = \"neuron\"", "mask_unit = \"neurons\"", "mask_unit"),
    ] {
        let error = refused(from, to);
        assert!(error.contains(place), "{to}: {error}");
    }
    checker.check(&format!("{recipe}\n[sweep]\nseed = 3")).unwrap_err();
}

#[test]
fn lists_and_sweeps_are_allowed() {
    let checker = Checker::new();
    let recipe = fs::read_to_string(repository().join("models/wordnet/circuits-of-part-of-speech.toml")).unwrap();
    let lists = recipe
        .replace("label = \"label\"", "labels = [\"label\", \"word\"]")
        .replace("\"*_update_[0-2]\"", "[\"attn_update_0\", \"mlp_*\"]")
        .replace("target_layers = \"site\"", "target_layers = [\"a\", \"b.*\"]")
        // A key of the sweep may be absent from its section.
        .replace("epochs = 20\n", "");
    checker.check(&lists).unwrap_err();
    checker.check(&format!("{lists}\n[sweep]\nseed = [0, 1]\n\"training.epochs\" = [10, 20]\n")).unwrap();
}

#[test]
fn the_documentation_names_every_key() {
    let documentation = fs::read_to_string(repository().join("docs/recipes.md")).unwrap();
    let mut keys = BTreeSet::new();
    collect_keys(&recipe_schema(), &mut keys);
    assert!(keys.contains("support_draws") && keys.contains("mask_init_value"), "{keys:?}");
    let word = |c: char| !(c.is_alphanumeric() || c == '_');
    let words: BTreeSet<&str> = documentation.split(word).collect();
    let missing: Vec<&String> = keys.iter().filter(|key| !words.contains(key.as_str())).collect();
    assert!(missing.is_empty(), "docs/recipes.md does not mention {missing:?}");
}

/// The names of all properties of a schema.
fn collect_keys(schema: &Value, keys: &mut BTreeSet<String>) {
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        keys.extend(properties.keys().cloned());
    }
    match schema {
        Value::Array(values) => values.iter().for_each(|value| collect_keys(value, keys)),
        Value::Object(values) => values.values().for_each(|value| collect_keys(value, keys)),
        _ => {}
    }
}
