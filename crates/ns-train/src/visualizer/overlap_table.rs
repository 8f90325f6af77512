//! The overlap of two circuits as a table.

use ns_circuit::{Comparison, Overlap};

const HEADER: [&str; 8] = ["parameters", "all", "first", "second", "both", "Jaccard", "by chance", "both / chance"];

/// Every tensor, every layer and the model, in Markdown; then what only one circuit masks.
pub fn overlap_table(comparison: &Comparison) -> String {
    let named = comparison.tensors.iter().chain(&comparison.groups);
    let mut lines: Vec<[String; 8]> = named.map(|(name, overlap)| cells(name, overlap)).collect();
    lines.push(cells("model", &comparison.total));
    let width = |column: usize| {
        let cells = lines.iter().map(|line| line[column].chars().count());
        cells.chain([HEADER[column].chars().count()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..HEADER.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        format!("| {} |\n", padded.collect::<Vec<_>>().join(" | "))
    };
    let rule: Vec<String> = widths
        .iter()
        .enumerate()
        .map(|(column, width)| match column {
            0 => "-".repeat(*width),
            _ => format!("{}:", "-".repeat(width.saturating_sub(1))),
        })
        .collect();
    let body: String = lines.iter().map(|cells| line(cells)).collect();
    let mut table = line(&HEADER.map(String::from)) + &line(&rule) + &body;
    for (which, names) in [("first", &comparison.first_only), ("second", &comparison.second_only)] {
        if !names.is_empty() {
            table += &format!("\nmasked in the {which} circuit only, and so not compared: {}\n", names.join(", "));
        }
    }
    table
}

fn cells(name: &str, overlap: &Overlap) -> [String; 8] {
    [
        name.to_owned(),
        overlap.entries.to_string(),
        overlap.first.to_string(),
        overlap.second.to_string(),
        overlap.both.to_string(),
        format!("{:.3}", overlap.jaccard()),
        format!("{:.1}", overlap.expected()),
        overlap.over_chance().map_or("n/a".to_owned(), |ratio| format!("{ratio:.3}")),
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
        assert_eq!(lines[2], "| h.0.weight | 100 |    50 |     20 |   15 |   0.273 |      10.0 |         1.500 |");
        assert!(lines[3].starts_with("| layer 0    |") && lines[4].contains("n/a"), "{table}");
        assert!(table.contains("in the first circuit only, and so not compared: h.1.weight"), "{table}");
        assert!(!table.contains("in the second circuit only"));
    }
}
