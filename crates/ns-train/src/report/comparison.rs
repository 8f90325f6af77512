//! Results next to reference values: each row of a run next to the published row, or that of another run, that asks the
//! same question.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::names::{PLAIN, file_name};
use super::reference::ReferenceRow;
use crate::error::{TrainError, quoted_first};
use crate::evaluate::{Measures, Row, mean_and_sd};

/// Names of the compared measures, and their headers in a table.
pub(super) const MEASURES: [(&str, &str); 12] = [
    ("knn_test", "1-NN test"),
    ("knn_dev", "1-NN dev"),
    ("knn_ood", "1-NN ood"),
    ("knn_unmasked", "unmasked"),
    ("probe_test", "test"),
    ("accuracy_test", "accuracy"),
    ("accuracy_test_zero", "ablated"),
    ("accuracy_test_zero_complement_mean", "complement ablated"),
    ("accuracy_ood", "accuracy (ood)"),
    ("accuracy_ood_zero", "ablated (ood)"),
    ("accuracy_ood_zero_complement_mean", "complement ablated (ood)"),
    (SIZE, "circuit size"),
];

/// The measure that is a number of weights.
pub(super) const SIZE: &str = "l0";

/// The results of all seeds of one run next to their reference values.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReferenceComparison {
    /// Name of the run without its seed.
    pub(super) run: String,
    #[serde(flatten)]
    pub(super) question: Question,
    /// Number of rows of the results.
    pub(super) seeds: usize,
    /// The measures that results and reference share, the same for all rows.
    pub(super) measures: BTreeMap<&'static str, Compared>,
}

/// What a row asks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Question {
    /// Last part of the model's path.
    pub(super) model: String,
    /// Last part of the data's path.
    pub(super) data: String,
    pub(super) variable: Option<String>,
    pub(super) site: Option<String>,
}

/// A measure of the results and of the reference; `None` if it was not measured there.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Compared {
    pub(super) ours: Option<Summary>,
    pub(super) reference: Option<Summary>,
}

/// A measure over the rows that have it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Summary {
    pub(super) mean: f64,
    /// Sample standard deviation; `None` for a single value.
    pub(super) sd: Option<f64>,
}

/// Puts results next to reference values.
///
/// Rows belong together if they have the same variable and site, and the same last part of the paths of model and data.
/// Rows that differ only in the seed are averaged, those that differ in another key of a sweep are not. Results without
/// a reference are kept.
///
/// # Errors
/// Returns [`TrainError::NoReference`] if no row has a reference, and [`TrainError::Setting`] if the rows that have one
/// share none of the compared measures.
pub fn compare_with_reference(
    rows: &[Row],
    reference: &[ReferenceRow],
) -> Result<Vec<ReferenceComparison>, TrainError> {
    let mut known: BTreeMap<Question, Vec<&Measures>> = BTreeMap::new();
    for row in reference {
        known.entry(Question::of_reference(row)).or_default().push(&row.measures);
    }
    let mut compared: Vec<ReferenceComparison> = over_seeds(rows)
        .into_iter()
        .map(|(run, question, ours)| {
            let reference = known.get(&question).map(Vec::as_slice).unwrap_or_default();
            ReferenceComparison { run, seeds: ours.len(), measures: compare(&ours, reference), question }
        })
        .collect();
    if !compared.iter().any(|row| known.contains_key(&row.question)) {
        let ours = listed(compared.iter().map(|row| &row.question));
        return Err(TrainError::NoReference { ours, reference: listed(known.keys()) });
    }
    keep_shared(&mut compared)?;
    Ok(compared)
}

/// Leaves the measures that some row has next to a reference.
fn keep_shared(rows: &mut [ReferenceComparison]) -> Result<(), TrainError> {
    let is_shared = |compared: &Compared| compared.ours.is_some() && compared.reference.is_some();
    let names = MEASURES.map(|(name, _)| name);
    let shared = |name: &&str| rows.iter().any(|row| is_shared(&row.measures[name]));
    let shared: BTreeSet<&str> = names.into_iter().filter(shared).collect();
    let expected = format!("results and reference must share one of {}", quoted_first(&names.map(String::from)));
    TrainError::check(!shared.is_empty(), "the list of common measures", "empty", expected)?;
    rows.iter_mut().for_each(|row| row.measures.retain(|name, _| shared.contains(name)));
    Ok(())
}

/// The runs without their seeds, in the order of the rows, each with what was measured for every seed.
fn over_seeds(rows: &[Row]) -> Vec<(String, Question, Vec<&Measures>)> {
    let mut places: BTreeMap<(String, Question), usize> = BTreeMap::new();
    let mut runs: Vec<(String, Question, Vec<&Measures>)> = Vec::new();
    for row in rows {
        let (run, question) = (without_seed(row), Question::of(row));
        let place = *places.entry((run.clone(), question.clone())).or_insert(runs.len());
        if place == runs.len() {
            runs.push((run, question, Vec::new()));
        }
        runs[place].2.push(&row.measures);
    }
    runs
}

/// The name of a run without the seed at its end. The probe without masks keeps its mark.
fn without_seed(row: &Row) -> String {
    let (name, mark) = row.run.strip_suffix(PLAIN).map_or((&*row.run, ""), |name| (name, PLAIN));
    name.strip_suffix(&format!("-{}", row.seed)).unwrap_or(name).to_owned() + mark
}

fn compare(ours: &[&Measures], reference: &[&Measures]) -> BTreeMap<&'static str, Compared> {
    let compared = |name| Compared { ours: Summary::of(ours, name), reference: Summary::of(reference, name) };
    MEASURES.into_iter().map(|(name, _)| (name, compared(name))).collect()
}

/// The models, data, variables and sites of some questions, for an error.
fn listed<'a>(questions: impl Iterator<Item = &'a Question> + Clone) -> String {
    let part = |name: &str, of: fn(&Question) -> Option<&String>| {
        let values: BTreeSet<&String> = questions.clone().filter_map(of).collect();
        let values: Vec<String> = values.into_iter().cloned().collect();
        (!values.is_empty()).then(|| format!("{name} {}", quoted_first(&values)))
    };
    let parts = [
        part("model", |question| Some(&question.model)),
        part("data", |question| Some(&question.data)),
        part("variable", |question| question.variable.as_ref()),
        part("site", |question| question.site.as_ref()),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "no rows".into() } else { parts.join("; ") }
}

impl Question {
    fn of(row: &Row) -> Self {
        Self::new(&row.model, &row.data, &row.variable, &row.site)
    }

    fn of_reference(row: &ReferenceRow) -> Self {
        Self::new(&row.model, &row.data, &row.variable, &row.site)
    }

    fn new(model: &str, data: &str, variable: &Option<String>, site: &Option<String>) -> Self {
        let last = |path: &str| file_name(path).unwrap_or_else(|| path.to_owned());
        Self { model: last(model), data: last(data), variable: variable.clone(), site: site.clone() }
    }
}

impl Summary {
    fn of(all: &[&Measures], name: &str) -> Option<Self> {
        let values: Vec<f64> = all.iter().filter_map(|measures| measures.get(name).and_then(Value::as_f64)).collect();
        let (mean, sd) = mean_and_sd(&values)?;
        Some(Self { mean, sd: (values.len() > 1).then_some(sd) })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::evaluate::some_row;

    /// A row of a run with a seed.
    pub(in crate::report) fn ours(run: &str, seed: u64, site: &str, measures: &[(&str, Value)]) -> Row {
        Row { seed, site: Some(site.into()), ..some_row(run, measures) }
    }

    /// A reference row that [`ours`] matches.
    pub(in crate::report) fn published(site: &str, measures: &[(&str, Value)]) -> ReferenceRow {
        let Row { model, data, variable, measures, .. } = some_row("", measures);
        ReferenceRow { model, data, variable, site: Some(site.into()), measures }
    }

    fn one(mean: f64) -> Option<Summary> {
        Some(Summary { mean, sd: None })
    }

    #[test]
    fn seeds_are_averaged_and_other_keys_are_not() {
        let knn = |value: f64| [("knn_test", Value::from(value))];
        let rows = [
            ours("r-l0=1-0", 0, "attn_update_1", &knn(0.5)),
            ours("r-l0=2-0", 0, "attn_update_1", &knn(0.25)),
            ours("r-l0=1-1", 1, "attn_update_1", &knn(1.0)),
            ours("r-l0=1-1-plain", 1, "attn_update_1", &knn(0.125)),
        ];
        let found = compare_with_reference(&rows, &[published("attn_update_1", &knn(0.75))]).unwrap();
        let runs: Vec<(&str, usize)> = found.iter().map(|row| (row.run.as_str(), row.seeds)).collect();
        assert_eq!(runs, [("r-l0=1", 2), ("r-l0=2", 1), ("r-l0=1-plain", 1)]);
        let first = found[0].measures["knn_test"];
        assert_eq!(first.ours, Some(Summary { mean: 0.75, sd: Some(0.125_f64.sqrt()) }));
        assert_eq!((first.reference, found[1].measures["knn_test"].ours), (one(0.75), one(0.25)));
    }

    #[test]
    fn only_shared_measures_are_compared_and_rows_without_a_reference_stay() {
        let rows = [
            ours("r-0", 0, "attn_update_1", &[("knn_test", 0.5.into()), ("l0", 3.0.into()), ("knn_dev", 1.0.into())]),
            ours("r-0", 0, "mlp_update_1", &[("knn_test", Value::Null), ("accuracy_ood", 0.5.into())]),
        ];
        let reference =
            [published("attn_update_1", &[("knn_test", 1.0.into()), ("l0", 4.0.into()), ("accuracy_ood", 0.5.into())])];
        let found = compare_with_reference(&rows, &reference).unwrap();
        assert!(found.iter().all(|row| row.measures.keys().eq(&["knn_test", "l0"])), "{found:?}");
        assert_eq!(found[0].measures["l0"], Compared { ours: one(3.0), reference: one(4.0) });
        assert_eq!(found[1].measures["knn_test"], Compared { ours: None, reference: None });
    }

    #[test]
    fn files_in_other_folders_match_by_name() {
        let knn = [("knn_test", Value::from(0.5))];
        let row = Row { model: "../models/m/".into(), data: "here/words.csv".into(), ..some_row("r-0", &knn) };
        let mut reference = published("attn_update_1", &knn);
        reference.data = "there/words.csv".into();
        assert_eq!(
            compare_with_reference(&[row], &[reference.clone()]).unwrap()[0].question,
            Question::of_reference(&reference)
        );
    }

    #[test]
    fn without_a_match_the_error_lists_both_sides() {
        let knn = [("knn_test", Value::from(0.5))];
        let rows = [ours("r-0", 0, "attn_update_2", &knn)];
        let error = compare_with_reference(&rows, &[published("attn_update_1", &knn)]).unwrap_err();
        let expected = "the results have model `m`; data `words.csv`; variable `number`; site `attn_update_2`, \
                        but the reference has model `m`; data `words.csv`; variable `number`; site `attn_update_1`";
        assert!(matches!(error, TrainError::NoReference { .. }) && error.to_string().contains(expected), "{error}");
        let error = compare_with_reference(&[], &[]).unwrap_err().to_string();
        assert!(error.contains("the results have no rows"), "{error}");
        let error = compare_with_reference(&rows, &[published("attn_update_2", &[("knn_dev", 0.5.into())])])
            .unwrap_err()
            .to_string();
        assert!(error.contains("must share one of `knn_test`, `knn_dev`"), "{error}");
    }

    #[test]
    fn as_json_a_row_is_its_question_and_its_numbers() {
        let knn = [("knn_test", Value::from(0.5))];
        let found =
            compare_with_reference(&[ours("r-0", 0, "attn_update_1", &knn)], &[published("attn_update_1", &knn)])
                .unwrap();
        let expected = r#"{"run":"r","model":"m","data":"words.csv","variable":"number","site":"attn_update_1","seeds":1,"measures":{"knn_test":{"ours":{"mean":0.5,"sd":null},"reference":{"mean":0.5,"sd":null}}}}"#;
        assert_eq!(serde_json::to_string(&found[0]).unwrap(), expected);
    }
}
