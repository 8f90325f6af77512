//! Reads tables of JSON objects, one per line.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::io::BufRead;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::contents::{Contents, format_error, invalid, open_text, repeated};
use crate::error::TrainError;

/// Reads a file. The keys of the first object are the columns. Blank lines are skipped.
pub(super) fn read(path: &Path, asked: Option<&[&str]>) -> Result<Contents, TrainError> {
    let mut file = open_text(path)?;
    let (mut bytes, mut line) = (Vec::new(), 0);
    let mut rows: Option<Rows> = None;
    loop {
        bytes.clear();
        if file.read_until(b'\n', &mut bytes).map_err(TrainError::io("read", path))? == 0 {
            return Ok(rows.map(|rows| rows.contents).unwrap_or_default());
        }
        line += 1;
        let text = std::str::from_utf8(&bytes);
        let text = text.map_err(|_| format_error(path, format!("line {line} is not UTF-8")))?;
        if text.trim_ascii().is_empty() {
            continue;
        }
        let object: Object = serde_json::from_str(text).map_err(|error| not_json(path, line, &error))?;
        match &mut rows {
            Some(rows) => rows.push(line, &object)?,
            None => rows.insert(Rows::new(path, &object, asked)?).push(line, &object)?,
        }
    }
}

/// The error for a line that is not a JSON object. The parser's own line number is always 1.
fn not_json(path: &Path, line: usize, error: &serde_json::Error) -> TrainError {
    let reason = error.to_string().replace(&format!(" at line {} column ", error.line()), " at character ");
    format_error(path, format!("line {line} is not in JSON-lines format: {reason}"))
}

/// A JSON object whose values are not parsed yet.
struct Object<'a>(Vec<(Text<'a>, &'a RawValue)>);

/// A JSON string, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Object<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Object(pairs))
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}

/// The rows that were read so far.
struct Rows<'a> {
    path: &'a Path,
    /// Whether only some columns are read. Other keys are then allowed in any row.
    selected: bool,
    header: Vec<String>,
    /// Index of each column of the header.
    positions: HashMap<String, usize>,
    /// For each column of the header, its index among the columns that are read.
    indices: Vec<Option<usize>>,
    contents: Contents,
}

impl<'a> Rows<'a> {
    /// No rows, and the columns of the first object.
    fn new(path: &'a Path, first: &Object, asked: Option<&[&str]>) -> Result<Self, TrainError> {
        let header: Vec<String> = first.0.iter().map(|(key, _)| key.0.as_ref().into()).collect();
        let (contents, indices) = Contents::new(path, &header, asked)?;
        let positions = header.iter().cloned().zip(0..).collect();
        Ok(Self { path, selected: asked.is_some(), header, positions, indices, contents })
    }

    /// Adds a row. A `null` counts as missing.
    fn push(&mut self, line: usize, object: &Object) -> Result<(), TrainError> {
        let row = self.contents.lines.len();
        for (place, (key, value)) in object.0.iter().enumerate() {
            let key = key.0.as_ref();
            // Objects mostly have the same order of keys.
            let same = self.header.get(place).is_some_and(|name| name == key);
            let Some(position) = same.then_some(place).or_else(|| self.positions.get(key).copied()) else {
                if self.selected {
                    continue;
                }
                let found = format!("an object with `{key}`");
                return Err(invalid(self.path, Some(line), "a row", found, "the first row does not have this key"));
            };
            let Some(index) = self.indices[position] else { continue };
            let cells = &mut self.contents.cells[index];
            if cells.len() > row {
                return Err(repeated(self.path, Some(line), key));
            }
            if value.get() != "null" {
                cells.push(&cell(value).map_err(|error| not_json(self.path, line, &error))?);
            }
        }
        self.contents.lines.push(line);
        match self.contents.cells.iter().position(|cells| cells.len() == row) {
            Some(column) => {
                let found = format!("an object without `{}`", self.contents.columns[column]);
                Err(invalid(self.path, Some(line), "a row", found, "every row must have this key, and not as null"))
            }
            None => Ok(()),
        }
    }
}

/// The text of a value: strings without quotes, numbers as they are written, lists and objects as JSON without spaces.
fn cell(value: &RawValue) -> Result<Cow<'_, str>, serde_json::Error> {
    match value.get().as_bytes().first() {
        Some(b'"') => serde_json::from_str::<Text>(value.get()).map(|text| text.0),
        Some(b'[' | b'{') => serde_json::from_str::<serde_json::Value>(value.get()).map(|json| json.to_string().into()),
        _ => Ok(value.get().into()),
    }
}
