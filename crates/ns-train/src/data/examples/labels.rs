//! Labels of rows: a class or a number per row, or a class per word.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::tables::Tables;
use crate::data::labelled_rows::sort_classes;
use crate::data::table::invalid;
use crate::data::{LabelledRows, RowSplit};
use crate::error::TrainError;

/// Most classes of a label.
const MOST_CLASSES: usize = 1000;

/// The cells of the label column.
pub(super) enum LabelCells<'a> {
    /// There is no label column.
    None,
    /// A label per row.
    Single(Vec<&'a str>),
    /// A list of labels per row; `None` is no label.
    Lists(Vec<Vec<Option<String>>>),
}

impl<'a> LabelCells<'a> {
    /// Reads the label column. With `may_be_lists`, the column holds lists if a cell does: a JSON list, or labels
    /// between spaces.
    ///
    /// # Errors
    /// Returns [`TrainError::DataColumn`] for a missing column, and [`TrainError::Data`] for an empty cell and for a
    /// list that is not one.
    pub(super) fn read(tables: &'a Tables, column: &str, may_be_lists: bool) -> Result<Self, TrainError> {
        let cells: Vec<&str> = tables.column(column)?.into_iter().map(str::trim).collect();
        if let Some(row) = cells.iter().position(|cell| cell.is_empty()) {
            return Err(tables.invalid(row, "the label", "empty", "each row needs one; remove the row"));
        }
        if !may_be_lists || !cells.iter().any(|cell| is_list(cell)) {
            return Ok(Self::Single(cells));
        }
        let lists = cells.iter().enumerate().map(|(row, cell)| {
            parse_list(cell)
                .map_err(|expected| tables.invalid(row, "the list of labels", format!("`{cell}`"), expected))
        });
        Ok(Self::Lists(lists.collect::<Result<_, _>>()?))
    }

    /// Whether rows have a label for each word.
    pub(super) fn are_lists(&self) -> bool {
        matches!(self, Self::Lists(_))
    }

    /// The list of a row; empty for single labels.
    pub(super) fn of(&self, row: usize) -> &[Option<String>] {
        match self {
            Self::None | Self::Single(_) => &[],
            Self::Lists(lists) => &lists[row],
        }
    }

    /// The labels of all rows, and where each row ends. `counts` holds the number of labels of each row that has a
    /// single label.
    fn flat(&self, counts: &[usize]) -> (Vec<&str>, Vec<usize>) {
        let (mut names, mut ends) = (Vec::new(), Vec::new());
        for (row, count) in counts.iter().enumerate() {
            match self {
                Self::None => names.extend(std::iter::repeat_n("", *count)),
                Self::Single(cells) => names.extend(std::iter::repeat_n(cells[row], *count)),
                Self::Lists(lists) => names.extend(lists[row].iter().flatten().map(String::as_str)),
            }
            ends.push(names.len());
        }
        (names, ends)
    }
}

fn is_list(cell: &str) -> bool {
    cell.starts_with('[') || cell.contains(char::is_whitespace)
}

fn parse_list(cell: &str) -> Result<Vec<Option<String>>, String> {
    let labels: Vec<Option<String>> = match cell.starts_with('[') {
        false => cell.split_whitespace().map(|label| Some(label.to_string())).collect(),
        true => {
            let values: Vec<Value> =
                serde_json::from_str(cell).map_err(|error| format!("it is no JSON list: {error}"))?;
            values.into_iter().map(name_of).collect::<Result<_, _>>()?
        }
    };
    match labels.iter().flatten().any(String::is_empty) {
        true => Err("it holds an empty label; `_` means no label".into()),
        false => Ok(labels.into_iter().map(|label| label.filter(|label| label != "_")).collect()),
    }
}

fn name_of(value: Value) -> Result<Option<String>, String> {
    match value {
        Value::String(name) => Ok(Some(name)),
        Value::Number(number) => Ok(Some(number.to_string())),
        Value::Null => Ok(None),
        other => Err(format!("it holds {other}, which is neither a name nor a number")),
    }
}

/// Rows without a label column: each label is 0. `counts` holds the number of labels of each row.
pub(super) fn unlabelled(split: RowSplit, counts: &[usize]) -> LabelledRows {
    let ends: Vec<usize> = counts
        .iter()
        .scan(0, |end, count| {
            *end += count;
            Some(*end)
        })
        .collect();
    let labels = vec![0; ends.last().copied().unwrap_or_default()];
    without_single_ends(LabelledRows { labels, ends, n_answers: 1, split, ..LabelledRows::default() })
}

/// Drops the ends of the rows' labels if each row has one label, because each is then the number of its row.
fn without_single_ends(rows: LabelledRows) -> LabelledRows {
    let single = rows.ends.iter().enumerate().all(|(row, end)| *end == row + 1);
    LabelledRows { ends: if single { Vec::new() } else { rows.ends }, ..rows }
}

/// Reads the labels as indices of classes or, if `numeric`, of the distinct numbers, which are returned, too. `counts`
/// holds the number of labels of each row.
///
/// # Errors
/// Returns [`TrainError::Data`] for a class without training rows, fewer than 2 or more than 1,000 classes, and a number
/// that is none.
pub(super) fn classify(
    tables: &Tables,
    split: RowSplit,
    cells: &LabelCells<'_>,
    counts: &[usize],
    numeric: bool,
) -> Result<(LabelledRows, Vec<f64>), TrainError> {
    let (names, ends) = cells.flat(counts);
    let rows = LabelledRows { ends, split, ..LabelledRows::default() };
    let (rows, numbers) = match numeric {
        true => by_number(tables, rows, &names)?,
        false => (by_class(tables, rows, &names)?, Vec::new()),
    };
    check_variety(tables, &rows)?;
    Ok((without_single_ends(rows), numbers))
}

fn by_class(tables: &Tables, rows: LabelledRows, names: &[&str]) -> Result<LabelledRows, TrainError> {
    let classes = sort_classes(rows.split.train.iter().flat_map(|row| names[rows.range(*row)].iter().copied()));
    if classes.len() > MOST_CLASSES {
        let found = format!("of {} classes", classes.len());
        let expected = "there may be 1,000; a column of numbers needs `numeric = true`";
        return Err(invalid(tables.path(), None, "the label", found, expected));
    }
    let indices: BTreeMap<&str, usize> =
        classes.iter().enumerate().map(|(index, name)| (name.as_str(), index)).collect();
    for (set, row) in rows.split.sets().into_iter().flat_map(|(set, rows)| rows.iter().map(move |row| (set, *row))) {
        if let Some(name) = names[rows.range(row)].iter().find(|name| !indices.contains_key(**name)) {
            let found = format!("`{name}` in the {set} set");
            return Err(tables.invalid(
                row,
                "the class",
                found,
                format!("the training set has only {}", first(&classes)),
            ));
        }
    }
    let labels = names.iter().map(|name| indices.get(name).copied().unwrap_or_default()).collect();
    Ok(LabelledRows { labels, n_answers: classes.len(), classes, ..rows })
}

fn by_number(tables: &Tables, rows: LabelledRows, names: &[&str]) -> Result<(LabelledRows, Vec<f64>), TrainError> {
    let mut values = Vec::with_capacity(names.len());
    for row in 0..rows.ends.len() {
        for name in &names[rows.range(row)] {
            let number = name.parse::<f64>().ok().filter(|number| number.is_finite());
            let expected = "it must be a finite number, because `data.numeric` is set";
            values.push(number.ok_or_else(|| tables.invalid(row, "the label", format!("`{name}`"), expected))?);
        }
    }
    let mut numbers = values.clone();
    numbers.sort_by(f64::total_cmp);
    numbers.dedup();
    let labels = values.iter().map(|value| numbers.partition_point(|number| number < value)).collect();
    Ok((LabelledRows { labels, n_answers: numbers.len(), ..rows }, numbers))
}

/// Checks that the training rows have several labels.
fn check_variety(tables: &Tables, rows: &LabelledRows) -> Result<(), TrainError> {
    let trained: BTreeSet<usize> = rows.split.train.iter().flat_map(|row| rows.of(*row)).copied().collect();
    let found = match trained.len() {
        0 => "missing in every training row".to_string(),
        1 => "the same in every training row".to_string(),
        _ => return Ok(()),
    };
    let expected = "a probe or a model needs at least two different labels";
    Err(invalid(tables.path(), None, "the label", found, expected))
}

/// The first classes, for a message.
fn first(classes: &[String]) -> String {
    let names: Vec<String> = classes.iter().take(10).map(|name| format!("`{name}`")).collect();
    match classes.len() - names.len() {
        0 => names.join(", "),
        others => format!("{} and {others} others", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::fixtures::file;
    use crate::recipe::{Files, Split};

    /// Labels from rows of `label,split`.
    fn read(rows: &str, numeric: bool) -> Result<(LabelledRows, Vec<f64>), TrainError> {
        let (_folder, path) = file("a.csv", format!("label,split\n{}\n", rows.replace(' ', "\n")));
        let tables = Tables::read(&Files::One(path)).unwrap();
        let split = super::super::sets::divide(&tables, Some(&Split::Column("split".into()))).unwrap();
        let cells = LabelCells::read(&tables, "label", false)?;
        classify(&tables, split, &cells, &vec![1; tables.len()], numeric)
    }

    fn refused(rows: &str, numeric: bool) -> String {
        read(rows, numeric).unwrap_err().to_string()
    }

    #[test]
    fn classes_are_those_of_the_training_rows_in_order() {
        let (rows, _) = read("10,train 9,train 9,test -1,train", false).unwrap();
        assert_eq!((rows.labels, rows.classes.join(" ")), (vec![2, 1, 1, 0], "-1 9 10".into()));
        assert!(rows.ends.is_empty());
        let (rows, _) = read("b,train a,train a,test", false).unwrap();
        assert_eq!((rows.labels, rows.n_answers), (vec![1, 0, 0], 2));
    }

    #[test]
    fn a_class_of_another_set_is_named_with_its_set_and_row() {
        for (set, name) in [("test", "test"), ("dev", "dev"), ("ood", "ood")] {
            let error = refused(&format!("a,train b,train a,test c,{set}"), false);
            let expected =
                format!("line 5: the class is `c` in the {name} set, but the training set has only `a`, `b`");
            assert!(error.contains(&expected), "{error}");
        }
    }

    #[test]
    fn labels_vary_and_are_not_identifiers() {
        assert!(refused("a,train a,train b,test", false).contains("the class is `b` in the test set"));
        assert!(refused("a,train a,train a,test", false).contains("the label is the same in every training row"));
        assert!(refused("2,train 2,train 3,test", true).contains("the label is the same in every training row"));
        let many: Vec<String> = (0..1001).map(|row| format!("c{row},train")).collect();
        let error = refused(&format!("{} c0,test", many.join(" ")), false);
        assert!(error.contains("the label is of 1001 classes, but there may be 1,000"), "{error}");
    }

    #[test]
    fn an_empty_label_is_an_error() {
        assert!(refused("a,train ,train b,test", false).contains("line 3: the label is empty, but each row needs one"));
    }

    #[test]
    fn numbers_are_finite() {
        let (rows, numbers) = read("0.5,train -2,train 0.5,test 1e3,test", true).unwrap();
        assert_eq!(numbers, [-2.0, 0.5, 1000.0]);
        assert_eq!((rows.labels, rows.classes.len()), (vec![1, 0, 1, 2], 0));
        for bad in ["x", "NaN", "inf"] {
            let error = refused(&format!("1,train {bad},train 2,test"), true);
            assert!(
                error.contains(&format!("line 3: the label is `{bad}`, but it must be a finite number")),
                "{error}"
            );
        }
    }

    #[test]
    fn lists_are_json_or_spaced() {
        let list = |cell: &str| {
            parse_list(cell).map(|labels| labels.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>())
        };
        assert_eq!(list("A _ B").unwrap(), ["A", "", "B"]);
        assert_eq!(list("[\"A B\", null, 3, \"_\"]").unwrap(), ["A B", "", "3", ""]);
        assert!(list("[1, ").unwrap_err().contains("no JSON list"));
        assert!(list("[[1]]").unwrap_err().contains("neither a name nor a number"));
        assert!(list("[\"\"]").unwrap_err().contains("an empty label"));
    }
}
