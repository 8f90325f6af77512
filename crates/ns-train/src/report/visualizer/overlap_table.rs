//! The overlap of two circuits as a Markdown table.

use ns_circuit::{Comparison, Overlap};

use crate::report::figures::count;
use crate::report::table::{numbers, or_na, share};

const HEADER: [&str; 8] = ["parameters", "all", "first", "second", "both", "Jaccard", "by chance", "both / chance"];

/// Returns a Markdown table with the overlap of two circuits per parameter, per layer of the model and for the whole
/// model.
///
/// `by chance` is the overlap that random circuits of the same sizes have on average. The lines after the table list
/// the parameters that only one circuit masks; they are not compared.
pub fn overlap_table(comparison: &Comparison) -> String {
    let named = comparison.tensors.iter().chain(&comparison.groups);
    let mut lines: Vec<Vec<String>> = named.map(|(name, overlap)| cells(name, overlap)).collect();
    lines.push(cells("model", &comparison.total));
    let mut table = numbers(&HEADER, &lines);
    for (circuit, names) in [("first", &comparison.first_only), ("second", &comparison.second_only)] {
        if !names.is_empty() {
            table += &format!("\nmasked in the {circuit} circuit only, so not compared: {}\n", names.join(", "));
        }
    }
    table
}

fn cells(name: &str, overlap: &Overlap) -> Vec<String> {
    vec![
        name.to_owned(),
        count(overlap.entries as f64),
        count(overlap.first as f64),
        count(overlap.second as f64),
        count(overlap.both as f64),
        share(overlap.jaccard()),
        count(overlap.expected()),
        or_na(overlap.over_chance(), share),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_layers_and_model_have_a_line_each() {
        let overlap = Overlap { entries: 100, first: 50, second: 20, both: 15 };
        let comparison = Comparison {
            tensors: vec![("h.0.weight".into(), overlap)],
            groups: vec![("layer 0".into(), overlap)],
            total: Overlap { both: 0, first: 0, ..overlap },
            first_only: vec!["h.1.weight".into()],
            second_only: Vec::new(),
        };
        let table = overlap_table(&comparison);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[2], "| h.0.weight | 100 |    50 |     20 |   15 |   0.273 |        10 |         1.500 |");
        assert!(lines[3].starts_with("| layer 0    |") && lines[4].contains("n/a"), "{table}");
        assert!(table.contains("in the first circuit only, so not compared: h.1.weight"), "{table}");
        assert!(!table.contains("in the second circuit only"));
    }
}
