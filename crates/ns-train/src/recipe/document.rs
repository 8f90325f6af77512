//! A recipe file: its TOML, changed by `--set`, and the lines of its keys.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::de::DeTable;
use toml::{Table, Value};

use super::sections::Recipe;
use crate::error::TrainError;

/// A recipe file that is parsed but not yet read as a [`Recipe`].
#[derive(Clone, Debug)]
pub struct Document {
    path: PathBuf,
    text: String,
    pub(super) table: Table,
}

impl Document {
    /// Reads a recipe file.
    ///
    /// # Errors
    /// Returns [`TrainError::Io`] if the file cannot be read, and [`TrainError::Recipe`] with line and column if it is
    /// not valid TOML.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, TrainError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(TrainError::io("read", path))?;
        let failed = |error: toml::de::Error| TrainError::Recipe { path: path.into(), reason: error.to_string() };
        let table = toml::from_str(&text).map_err(failed)?;
        Ok(Self { path: path.into(), text, table })
    }

    /// Path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sets a key from `KEY=VALUE`, where `KEY` has dots between its parts. A `VALUE` that is not TOML is a string.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] without a `=`, and if a part of the key is not a table.
    pub fn set(&mut self, assignment: &str) -> Result<(), TrainError> {
        let expected = "it must be KEY=VALUE, e.g. training.epochs=5";
        let (key, value) =
            assignment.split_once('=').ok_or_else(|| TrainError::setting("--set", assignment, expected))?;
        let parsed = toml::from_str::<Table>(&format!("value = {value}"));
        let value = parsed.ok().and_then(|mut table| table.remove("value")).unwrap_or_else(|| value.trim().into());
        insert(&mut self.table, key.trim(), value)
    }

    /// The recipe as TOML, with the keys that were set.
    #[cfg(test)]
    pub(crate) fn text(&self) -> String {
        self.table.to_string()
    }

    /// Reads the recipe of one run, as its folder holds it: without lists of labels or sites and without a sweep.
    ///
    /// # Errors
    /// Returns [`TrainError::RecipeKey`] with file, line and key for a recipe of an old form, which has no `kind`, and
    /// for a key or value that is not part of the grammar.
    pub fn recipe(&self) -> Result<Recipe, TrainError> {
        if !self.table.contains_key("kind") {
            let expected = "the run is of an old recipe form; give its recipe a `kind`, and train it again";
            return Err(self.at("kind", format!("missing; {expected}")));
        }
        let recipe: Recipe = self.deserialize(&self.table)?;
        recipe.validate().map_err(|error| self.locate(error))?;
        Ok(recipe)
    }

    /// Reads a table that was made from this file.
    ///
    /// # Errors
    /// Returns [`TrainError::RecipeKey`] with file, line and key for a key that is missing, unknown or of another type.
    pub(super) fn deserialize<T: DeserializeOwned>(&self, table: &Table) -> Result<T, TrainError> {
        serde_path_to_error::deserialize(Value::Table(table.clone())).map_err(|error| {
            let key = error.path().to_string();
            let message = error.into_inner().to_string();
            // The lines after the first name the table, which the key does already.
            self.at(if key == "." { "" } else { &key }, message.lines().next().unwrap_or_default().to_owned())
        })
    }

    /// Adds file, line and key to an error about a key of this recipe, or about a column that `[data]` names. Other
    /// errors stay as they are.
    pub fn locate(&self, error: TrainError) -> TrainError {
        match &error {
            TrainError::Setting { setting, found, expected } if !setting.starts_with("--") => {
                self.at(setting, format!("{found}, but {expected}"))
            }
            TrainError::DataColumn { column, .. } => {
                let key = self.table.get("data").and_then(|data| key_of(data, column, "data"));
                self.at(key.as_deref().unwrap_or("data"), error.to_string())
            }
            _ => error,
        }
    }

    fn at(&self, key: &str, reason: String) -> TrainError {
        TrainError::RecipeKey { path: self.path.clone(), line: self.line(key), key: key.into(), reason }
    }

    /// Line of a key, from 1; of the nearest table around it if the file does not have the key.
    fn line(&self, key: &str) -> Option<usize> {
        let document = DeTable::parse(&self.text).ok()?;
        let (mut table, mut start) = (document.get_ref(), None);
        for part in key.split('.') {
            let Some((name, value)) = table.iter().find(|(name, _)| name.get_ref() == part) else { break };
            start = Some(name.span().start);
            let Some(inner) = value.get_ref().as_table() else { break };
            table = inner;
        }
        start.map(|start| 1 + self.text[..start].matches('\n').count())
    }

    /// The keys of a table of the file, in the order of the file.
    pub(super) fn keys_in_order(&self, name: &str) -> Vec<String> {
        let Ok(document) = DeTable::parse(&self.text) else { return Vec::new() };
        let table = document.get_ref().iter().find(|(key, _)| key.get_ref() == name);
        let Some(table) = table.and_then(|(_, value)| value.get_ref().as_table()) else { return Vec::new() };
        let mut keys: Vec<(usize, String)> =
            table.iter().map(|(key, _)| (key.span().start, key.get_ref().to_string())).collect();
        keys.sort();
        keys.into_iter().map(|(_, key)| key).collect()
    }
}

/// The key, with dots between its parts, whose value is a text or has it in a list. `prefix` is the key of `value`.
fn key_of(value: &Value, text: &str, prefix: &str) -> Option<String> {
    match value {
        Value::String(found) => (found == text).then(|| prefix.to_owned()),
        Value::Array(values) => values.iter().find_map(|value| key_of(value, text, prefix)),
        Value::Table(table) => table.iter().find_map(|(key, value)| key_of(value, text, &format!("{prefix}.{key}"))),
        _ => None,
    }
}

/// Sets the value of a key with dots between its parts. Missing tables are created.
pub(super) fn insert(table: &mut Table, key: &str, value: Value) -> Result<(), TrainError> {
    let mut table = table;
    let mut parts: Vec<&str> = key.split('.').collect();
    let Some(last) = parts.pop().filter(|last| !last.is_empty()) else {
        return Err(TrainError::setting("--set", format!("`{key}`"), "the key is empty"));
    };
    for part in parts {
        let entry = table.entry(part).or_insert_with(|| Value::Table(Table::new()));
        let found = entry.type_str();
        table = entry.as_table_mut().ok_or_else(|| {
            TrainError::setting("--set", format!("`{key}`"), format!("`{part}` is a {found} and not a table"))
        })?;
    }
    table.insert(last.into(), value);
    Ok(())
}
