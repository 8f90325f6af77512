//! The table of results next to reference values.

use std::collections::BTreeSet;

use super::comparison::{Compared, MEASURES, ReferenceComparison, SIZE, Summary};
use super::figures::count;
use super::table::{markdown, share};

/// What was not measured, or has no reference.
const MISSING: &str = "–";

/// Returns a Markdown table with one line per row and a column for each measure that results and reference share. A
/// cell is `ours / reference`, e.g. `0.963 / 1.000`; several seeds are mean ± standard deviation. Model, data and
/// variable are columns if they vary, the run if two rows ask the same question.
pub fn reference_table(rows: &[ReferenceComparison]) -> String {
    let (mut header, mut lines) = (Vec::new(), vec![Vec::new(); rows.len()]);
    for (name, cells) in asked(rows).into_iter().chain(measured(rows)) {
        header.push(name);
        lines.iter_mut().zip(cells).for_each(|(line, cell)| line.push(cell));
    }
    markdown(&header, &lines)
}

/// A column: its header and its cells.
type Column = (&'static str, Vec<String>);

/// The columns that say what was asked.
fn asked(rows: &[ReferenceComparison]) -> Vec<Column> {
    let column = |name, of: fn(&ReferenceComparison) -> Option<String>| -> Column {
        (name, rows.iter().map(|row| of(row).unwrap_or_else(|| MISSING.into())).collect())
    };
    let varies = |(_, cells): &Column| cells.windows(2).any(|pair| pair[0] != pair[1]);
    let questions: BTreeSet<_> = rows.iter().map(|row| &row.question).collect();
    let run = column("run", |row| Some(row.run.clone()));
    let site = column("site", |row| row.question.site.clone());
    let seeds = column("seeds", |row| Some(row.seeds.to_string()));
    let vary = [
        column("model", |row| Some(row.question.model.clone())),
        column("data", |row| Some(row.question.data.clone())),
        column("variable", |row| row.question.variable.clone()),
    ];
    let run = Some(run).filter(|_| questions.len() < rows.len());
    let seeds = Some(seeds).filter(|_| rows.iter().any(|row| row.seeds > 1));
    run.into_iter().chain(vary.into_iter().filter(varies)).chain([site]).chain(seeds).collect()
}

/// The columns of the measures.
fn measured(rows: &[ReferenceComparison]) -> Vec<Column> {
    let column = |(name, header): (&str, &'static str)| {
        let format = if name == SIZE { count } else { share };
        let cells: Option<Vec<String>> =
            rows.iter().map(|row| row.measures.get(name).map(|compared| cell(compared, format))).collect();
        Some((header, cells.filter(|cells| !cells.is_empty())?))
    };
    MEASURES.into_iter().filter_map(column).collect()
}

fn cell(compared: &Compared, format: fn(f64) -> String) -> String {
    let text = |summary: Option<Summary>| match summary {
        None => MISSING.to_owned(),
        Some(Summary { mean, sd: None }) => format(mean),
        Some(Summary { mean, sd: Some(sd) }) => format!("{} ± {}", format(mean), format(sd)),
    };
    match (compared.ours, compared.reference) {
        (None, None) => MISSING.to_owned(),
        (ours, reference) => format!("{} / {}", text(ours), text(reference)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::comparison::compare_with_reference;
    use super::super::comparison::tests::{ours, published};
    use super::*;
    use crate::evaluate::Row;

    fn lines(table: &str) -> Vec<Vec<&str>> {
        table.lines().map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
    }

    #[test]
    fn a_cell_is_ours_and_the_reference() {
        let rows = [
            ours("r-0", 0, "attn_update_1", &[("knn_test", 0.9626.into()), ("l0", 1200.0.into())]),
            ours("r-1", 1, "attn_update_1", &[("knn_test", 0.9626.into()), ("l0", 1202.0.into())]),
            ours("r-0", 0, "mlp_update_1", &[("knn_test", 0.5.into()), ("l0", 7.0.into())]),
            ours("r-0", 0, "mlp_update_2", &[]),
        ];
        let reference = [
            published("attn_update_1", &[("knn_test", 1.0.into()), ("l0", 40_448.0.into())]),
            published("mlp_update_2", &[("l0", 5.0.into())]),
        ];
        let table = reference_table(&compare_with_reference(&rows, &reference).unwrap());
        let lines = lines(&table);
        assert_eq!(lines[0], ["site", "seeds", "1-NN test", "circuit size"]);
        assert_eq!(lines[2], ["attn_update_1", "2", "0.963 ± 0.000 / 1.000", "1,201 ± 1.4 / 40,448"]);
        assert_eq!(lines[3], ["mlp_update_1", "1", "0.500 / –", "7 / –"]);
        assert_eq!(lines[4], ["mlp_update_2", "1", "–", "– / 5"]);
    }

    #[test]
    fn what_varies_has_a_column() {
        let knn = [("knn_test", 0.5.into())];
        let row = ours("r-0", 0, "attn_update_1", &knn);
        let other = Row { data: "other/new.csv".into(), variable: None, ..row.clone() };
        let reference = [published("attn_update_1", &knn)];
        let table = reference_table(&compare_with_reference(&[row.clone(), other], &reference).unwrap());
        assert_eq!(lines(&table)[0], ["data", "variable", "site", "1-NN test"]);
        assert_eq!(lines(&table)[3], ["new.csv", "–", "attn_update_1", "0.500 / –"]);
        let plain = Row { run: "r-0-plain".into(), ..row.clone() };
        let table = reference_table(&compare_with_reference(&[row, plain], &reference).unwrap());
        assert_eq!(lines(&table)[3], ["r-plain", "attn_update_1", "0.500 / 0.500"]);
    }
}
