//! Values of other runs or of a publication, to which results are compared.

use std::path::Path;

use serde::Deserialize;

use crate::data::Table;
use crate::error::TrainError;
use crate::evaluate::Measures;

/// The columns that say what was asked. They are texts, also those that look like numbers.
const QUESTION: [&str; 4] = ["model", "data", "variable", "site"];

/// A row of reference values. Its names are those of a [`Row`](crate::Row), but only the model and the data are required.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ReferenceRow {
    /// The model; only the last part of a path is compared.
    pub model: String,
    /// The data; only the last part of a path is compared.
    pub data: String,
    /// The predicted variable.
    #[serde(default)]
    pub variable: Option<String>,
    /// The probed site.
    #[serde(default)]
    pub site: Option<String>,
    /// All other values by name.
    #[serde(flatten)]
    pub measures: Measures,
}

/// Reads reference values: a `results.json` or `results.csv` that `train` wrote, or a table of the same columns. An
/// empty cell was not measured.
///
/// # Errors
/// Returns [`TrainError::Io`] if the file cannot be read, [`TrainError::DataFormat`] if it is not in the format of its
/// extension, [`TrainError::DataColumn`] for a table without the column `model` or `data`, [`TrainError::Data`] for an
/// empty cell in one of them, and the errors of [`Table::read`].
pub fn read_reference(path: impl AsRef<Path>) -> Result<Vec<ReferenceRow>, TrainError> {
    let path = path.as_ref();
    if path.extension().is_some_and(|extension| extension == "json") {
        return super::results::read_json(path);
    }
    let table = Table::read(path)?;
    (0..table.len()).map(|row| row_of(&table, row)).collect()
}

fn row_of(table: &Table, row: usize) -> Result<ReferenceRow, TrainError> {
    let cell = |name: &str| Ok::<_, TrainError>(table.column(name)?.get(row).unwrap_or_default().to_owned());
    let required = |name: &'static str| {
        let found = cell(name)?;
        if found.is_empty() { Err(empty(table, row, name)) } else { Ok(found) }
    };
    // A column that is not in the table is as an empty cell.
    let optional = |name: &str| cell(name).ok().filter(|text| !text.is_empty());
    let mut measures = Measures::default();
    for name in table.columns().iter().filter(|name| !QUESTION.contains(&name.as_str())) {
        match cell(name)? {
            text if text.is_empty() => {}
            text => match text.parse::<f64>() {
                Ok(number) => measures.set(name, number),
                Err(_) => measures.set(name, text),
            },
        }
    }
    let (model, data) = (required("model")?, required("data")?);
    Ok(ReferenceRow { model, data, variable: optional("variable"), site: optional("site"), measures })
}

fn empty(table: &Table, row: usize, what: &'static str) -> TrainError {
    TrainError::Data {
        path: table.path().into(),
        line: Some(table.line(row)),
        what,
        found: "empty".into(),
        expected: "each row of a reference must name its model and its data".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::fixtures::file;
    use crate::evaluate::some_row;
    use crate::report::write_results;
    use serde_json::Value;

    #[test]
    fn a_table_has_texts_numbers_and_cells_that_were_not_measured() {
        let text = "model,data,variable,site,knn_test,knn_dev,block,note\n7,a.csv,2,attn_update_1,0.5,,attn,1e\n";
        let (_folder, path) = file("published.csv", text);
        let rows = read_reference(&path).unwrap();
        let [row] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!((row.model.as_str(), row.data.as_str()), ("7", "a.csv"));
        assert_eq!((row.variable.as_deref(), row.site.as_deref()), (Some("2"), Some("attn_update_1")));
        let measures: Vec<(&str, &Value)> = row.measures.iter().collect();
        assert_eq!(measures, [("knn_test", &0.5.into()), ("block", &"attn".into()), ("note", &"1e".into())]);
    }

    #[test]
    fn the_files_of_a_run_are_references_and_say_the_same() {
        let (folder, _) = file("none", "");
        let folder = folder.path();
        let rows = [some_row("words-0", &[("knn_test", 0.75.into()), ("l0", 3.0.into()), ("knn_dev", Value::Null)])];
        write_results(folder, &rows).unwrap();
        let read = |name: &str| read_reference(folder.join(name)).unwrap();
        for row in [&read("results.json")[0], &read("results.csv")[0]] {
            assert_eq!((row.model.as_str(), row.site.as_deref()), ("m", Some("attn_update_1")));
            let number = |name: &str| row.measures.get(name).and_then(Value::as_f64);
            assert_eq!((number("knn_test"), number("l0"), number("knn_dev")), (Some(0.75), Some(3.0), None));
        }
    }

    #[test]
    fn mistakes_name_the_file_and_what_would_be_right() {
        let refused = |name: &str, text: &str, expected: &str| {
            let (_folder, path) = file(name, text);
            let message = read_reference(&path).unwrap_err().to_string();
            assert!(message.contains(name) && message.contains(expected), "{message}");
        };
        refused("a.csv", "model,site\nm,s\n", "has no column `data`");
        refused("a.csv", "model,data\nm,a.csv\n,a.csv\n", "line 3: model is empty, but each row of a reference must");
        refused("a.json", "[{\"model\": \"m\"}]", "missing field `data`");
        refused("a.html", "", "the file extension is .html");
    }
}
