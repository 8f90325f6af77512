//! The table of rows: their most important numbers. `results.json` has all of them.

use super::behaviour::Behaviour;
use super::names::{is_arithmetic, lambda, variable};
use super::table::{markdown, mean_sd, percent, share, size};
use crate::evaluate::Row;
use crate::recipe::Kind;

/// Largest number of columns.
const MAX_COLUMNS: usize = 14;

/// A column: its header, and the text of its cell if the row has it.
type Column = (&'static str, fn(&Row, &Behaviour) -> Option<String>);

/// Columns that say what was run and what was measured. Columns that no row has are left out.
const COLUMNS: [Column; 26] = [
    ("run", |row, _| Some(row.run.clone()).filter(|run| !run.is_empty())),
    ("variable", |row, _| variable(row)),
    ("site", |row, _| row.site.clone().filter(|_| !is_arithmetic(row))),
    ("block", |row, _| row.block.clone().filter(|_| is_arithmetic(row))),
    (LAMBDA, |row, _| lambda(row).map(|lambda| format!("{lambda:e}"))),
    ("seed", |row, _| Some(row.seed.to_string())),
    ("1-NN test", |row, _| row.number("knn_test").map(share)),
    ("1-NN dev", |row, _| row.number("knn_dev").map(share)),
    ("unmasked", |row, _| row.number("knn_unmasked").map(share)),
    ("test", |row, _| classified(row, "probe_test")),
    ("dev", |row, _| classified(row, "probe_dev")),
    ("train", |row, _| classified(row, "probe_train")),
    ("R² test", |row, _| row.number("r2_test").map(share)),
    ("R² dev", |row, _| row.number("r2_dev").map(share)),
    ("R² train", |row, _| row.number("r2_train").map(share)),
    ("Spearman test", |row, _| row.number("spearman_test").map(share)),
    ("shuffled", |row, _| shuffled(row).map(share)),
    ("F1 test", |row, _| row.number("f1_macro_test").map(share)),
    ("majority", |row, _| row.number("majority").filter(|_| is_arithmetic(row)).map(share)),
    ("loss test", |row, _| row.number("loss_test").map(share)),
    ("perplexity test", |row, _| row.number("perplexity_test").map(share)),
    ("accuracy test", |row, _| row.number("accuracy_test").filter(|_| row.kind == Kind::Model).map(share)),
    ("accuracy train", |row, _| row.number("accuracy_train").filter(|_| row.kind == Kind::Model).map(share)),
    ("majority test", |row, _| row.number("majority_test").filter(|_| !is_arithmetic(row)).map(share)),
    ("circuit / max", |row, _| circuit(row).map(|(l0, max)| size(l0, max))),
    ("kept", |row, _| circuit(row).filter(|_| row.kind == Kind::Circuit).map(|(l0, max)| percent(l0, max))),
];

/// Columns of the behaviour of the model, which stand before the size of the circuit.
const BEHAVIOUR: [Column; 11] = [
    ("accuracy", |row, shown| shown.full(row, "accuracy").filter(|_| row.kind != Kind::Model).map(share)),
    ("circuit alone", |row, shown| shown.circuit(row, "accuracy").map(share)),
    ("ablated", |row, shown| shown.ablated(row, "accuracy").map(share)),
    ("random ablated", |row, shown| shown.controls(row, "accuracy", "random").map(controls)),
    ("complement ablated", complement),
    ("p", |row, shown| shown.p_value(row, "accuracy").or_else(|| shown.p_value(row, "logit_difference")).map(share)),
    ("KL circuit alone", |row, shown| shown.circuit(row, "kl").map(share)),
    ("KL ablated", |row, shown| shown.ablated(row, "kl").map(share)),
    ("logit difference", |row, shown| shown.full(row, "logit_difference").map(share)),
    ("logit difference circuit alone", |row, shown| shown.circuit(row, "logit_difference").map(share)),
    ("logit difference ablated", |row, shown| shown.ablated(row, "logit_difference").map(share)),
];

/// The last column.
const MASK_INIT: Column = ("mask init", |row, _| {
    row.number("mask_init_value").filter(|_| is_arithmetic(row)).map(|value| format!("{value:.1}"))
});

/// Header of the column that is shown only if rows differ in it.
const LAMBDA: &str = "λ";

/// Which columns a wide table leaves out, the first one first.
const LEFT_OUT_FIRST: [&str; 14] = [
    "F1 test",
    "R² train",
    "train",
    "R² dev",
    "dev",
    "logit difference circuit alone",
    "KL ablated",
    "KL circuit alone",
    "kept",
    "mask init",
    "1-NN dev",
    "complement ablated",
    "logit difference",
    "logit difference ablated",
];

/// Returns a Markdown table with one line per row and at most 14 columns. What was not measured is `n/a`.
///
/// The behaviour of a model is shown on the test set and under zero ablation if it was measured there, otherwise the
/// headers say on which set and under which ablation.
pub fn row_table(rows: &[Row]) -> String {
    let shown = Behaviour::of(rows);
    let note = shown.note();
    let (before, after) = COLUMNS.split_at(COLUMNS.len() - 2);
    let plain = |columns: &[Column]| columns.iter().map(|column| (column.0.to_owned(), *column)).collect::<Vec<_>>();
    let noted = BEHAVIOUR.iter().map(|column| (format!("{}{note}", column.0), *column));
    let columns = plain(before).into_iter().chain(noted).chain(plain(after)).chain(plain(&[MASK_INIT]));
    let mut columns: Vec<(String, Column)> = columns.filter(|(_, column)| is_shown(column, rows, &shown)).collect();
    for left_out in LEFT_OUT_FIRST {
        if columns.len() > MAX_COLUMNS {
            columns.retain(|(_, (header, _))| *header != left_out);
        }
    }
    let header: Vec<&str> = columns.iter().map(|(header, _)| header.as_str()).collect();
    let line = |row| columns.iter().map(|(_, (_, cell))| cell(row, &shown).unwrap_or_else(|| "n/a".into())).collect();
    markdown(&header, &rows.iter().map(line).collect::<Vec<_>>())
}

fn is_shown((header, cell): &Column, rows: &[Row], shown: &Behaviour) -> bool {
    match *header {
        LAMBDA => rows.windows(2).any(|pair| cell(&pair[0], shown) != cell(&pair[1], shown)),
        _ => rows.iter().any(|row| cell(row, shown).is_some()),
    }
}

/// An accuracy of a classifier. A regression has R² under the same name.
fn classified(row: &Row, name: &str) -> Option<String> {
    row.number(name).filter(|_| row.measures.get("r2_test").is_none()).map(share)
}

/// The measure of the control on shuffled labels.
fn shuffled(row: &Row) -> Option<f64> {
    ["knn_shuffled", "probe_shuffled", "r2_shuffled"].into_iter().find_map(|name| row.number(name))
}

/// Size of the circuit and its maximum.
fn circuit(row: &Row) -> Option<(f64, f64)> {
    row.number("l0").zip(row.number("l0_max"))
}

/// Mean and standard deviation of controls; a single control has only a mean.
fn controls((mean, sd): (f64, f64)) -> String {
    if sd.is_finite() { mean_sd((mean, sd)) } else { share(mean) }
}

/// The controls outside the circuit. A circuit that is larger than its complement has none.
fn complement(row: &Row, shown: &Behaviour) -> Option<String> {
    let random = shown.controls(row, "accuracy", "random");
    let is_large = circuit(row).is_some_and(|(l0, max)| 2.0 * l0 >= max);
    let reason = random.filter(|_| is_large).map(|_| "n/a (circuit larger than its complement)".to_owned());
    shown.controls(row, "accuracy", "complement").map(controls).or(reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::some_row;
    use serde_json::Value;

    fn header(rows: &[Row]) -> Vec<String> {
        let text = row_table(rows);
        let first = text.lines().next().unwrap();
        first.split('|').map(|cell| cell.trim().to_owned()).filter(|cell| !cell.is_empty()).collect()
    }

    fn numbers(names: &[&str]) -> Vec<(&'static str, Value)> {
        names.iter().map(|name| (&*Box::leak(name.to_string().into_boxed_str()), Value::from(0.5))).collect()
    }

    #[test]
    fn a_table_leaves_out_what_no_row_has() {
        let rows = [
            some_row("words-0", &[("knn_test", 0.75.into()), ("l0", 3.0.into())]),
            some_row("words-1", &[("probe_test", 1.0.into()), ("knn_test", Value::Null)]),
        ];
        assert_eq!(header(&rows), ["run", "variable", "site", "seed", "1-NN test", "test"]);
        assert!(row_table(&rows).contains("| 0.750     | n/a   |"), "{}", row_table(&rows));
    }

    #[test]
    fn arithmetic_has_the_columns_of_the_demo() {
        let names = [
            "knn_test",
            "knn_dev",
            "knn_unmasked",
            "majority",
            "majority_test",
            "acc_full",
            "acc_ablated",
            "acc_random_mean",
            "acc_random_sd",
            "l0",
            "l0_max",
            "mask_init_value",
        ];
        let mut row = Row { variable: Some("a2".into()), ..some_row("probe-a2-attn-0", &numbers(&names)) };
        row.measures.set("l0", 3.0);
        row.measures.set("l0_max", 4.0);
        let expected = [
            "run",
            "variable",
            "block",
            "seed",
            "1-NN test",
            "1-NN dev",
            "unmasked",
            "majority",
            "accuracy",
            "ablated",
            "random ablated",
            "complement ablated",
            "circuit / max",
            "mask init",
        ];
        assert_eq!(header(&[row.clone()]), expected);
        let text = row_table(&[row]);
        for cell in ["| a²  ", "| 0.500 ± 0.500 ", "| n/a (circuit larger than its complement) ", "| 3 / 4 "] {
            assert!(text.contains(cell), "{cell}: {text}");
        }
    }

    #[test]
    fn lambda_is_shown_if_it_varies() {
        let run = |lambda: &str| format!("r-circuit_config.l0_lambda={lambda}-training.epochs=3-0");
        let rows = ["1e-7", "1e-6"].map(|lambda| some_row(&run(lambda), &[("knn_test", 0.5.into())]));
        assert!(header(&rows).contains(&"λ".to_string()) && row_table(&rows).contains("| 1e-7 | 0    | 0.500"));
        assert!(!header(&rows[..1]).contains(&"λ".to_string()));
        let by_key = some_row("r-0", &[("l0_lambda", 1e-3.into())]);
        assert!(row_table(&[by_key, rows[0].clone()]).contains("| 1e-3 |"));
    }

    #[test]
    fn a_wide_table_keeps_the_accuracies_of_a_circuit() {
        let mut names = vec!["l0", "l0_max", "majority_test", "logit_difference_test", "logit_difference_test_circuit"];
        let behaviour = [
            "",
            "_circuit",
            "_zero",
            "_zero_random_mean",
            "_zero_random_sd",
            "_zero_complement_mean",
            "_zero_complement_sd",
            "_zero_p",
        ];
        let accuracy: Vec<String> = behaviour.iter().map(|suffix| format!("accuracy_test{suffix}")).collect();
        names.extend(accuracy.iter().map(String::as_str));
        names.extend(["kl_test_circuit", "kl_test_zero", "logit_difference_test_zero"]);
        let row = Row { kind: Kind::Circuit, variable: None, site: None, ..some_row("c-0", &numbers(&names)) };
        let columns = header(&[row]);
        let expected = [
            "run",
            "seed",
            "majority test",
            "accuracy",
            "circuit alone",
            "ablated",
            "random ablated",
            "complement ablated",
            "p",
            "KL circuit alone",
            "logit difference",
            "logit difference ablated",
            "circuit / max",
            "kept",
        ];
        assert_eq!(columns, expected);
        let ood = Row { kind: Kind::Circuit, ..some_row("c-0", &numbers(&["accuracy_ood", "accuracy_ood_mean"])) };
        assert!(header(&[ood]).contains(&"ablated (ood, mean)".to_string()));
    }

    #[test]
    fn a_model_has_losses_and_accuracies() {
        let row = some_row("m-0", &numbers(&["loss_test", "loss_train", "accuracy_test", "accuracy_train"]));
        let row = Row { kind: Kind::Model, site: None, ..row };
        assert_eq!(header(&[row]), ["run", "variable", "seed", "loss test", "accuracy test", "accuracy train"]);
    }
}
