//! The hypothesis tests of a circuit in words.

use super::figures::count;
use super::table::{Column, table_of};
use crate::evaluate::{
    IndependenceTest, MinimalityTest, PartTest, RandomSetsTest, ScoreSummary, TestOutcome, mean_and_sd,
};
use crate::train::CircuitTestReport;

/// Returns the tests as a terminal page: the scores, a table of the tests, a sentence on each, and the parts of the circuit
/// that can go.
pub fn circuit_tests_page(report: &CircuitTestReport) -> String {
    let sentences: Vec<String> = verdicts(report).into_iter().map(|verdict| verdict.sentence()).collect();
    let mut paragraphs = vec![header(report), scores(report), table(report), sentences.join("\n")];
    for (title, outcome) in [("heads and MLPs", &report.tests.components), ("masked layers", &report.tests.layers)] {
        paragraphs.extend(outcome.tested().map(|test| parts(report, title, test)));
    }
    paragraphs.join("\n\n") + "\n"
}

/// What is tested.
fn header(report: &CircuitTestReport) -> String {
    let (tests, settings) = (&report.tests, &report.settings);
    let (units, all) = (tests.circuit_units as f64, tests.units as f64);
    let first = match report.examples < report.examples_of_set {
        true => format!(", the first of {}", count(report.examples_of_set as f64)),
        false => String::new(),
    };
    let tokens = match tests.scores == report.examples {
        true => String::new(),
        false => format!(" with {} predictions", count(tests.scores as f64)),
    };
    format!(
        "{}: a circuit of {} of {} units ({})\n{} examples of {}{tokens}{first}; {} random sets of units a test; ablation {}\n\
         score of an example: logit of the right answer minus the best other one; {:.1} s",
        report.run.display(),
        count(units),
        count(all),
        percent(units / all),
        count(report.examples as f64),
        settings.set.name(),
        count(settings.random as f64),
        settings.ablation.name(),
        report.seconds,
    )
}

fn scores(report: &CircuitTestReport) -> String {
    let tests = &report.tests;
    let rows = [("whole model", tests.full), ("circuit alone", tests.circuit), ("without circuit", tests.complement)];
    let columns: [Column<(&str, ScoreSummary)>; 3] = [
        ("model", |(name, _)| (*name).into()),
        ("mean score", |(_, scores)| number(scores.mean)),
        ("right", |(_, scores)| percent(scores.right)),
    ];
    table_of(&columns, &rows).trim_end().into()
}

/// One test in words.
struct Verdict {
    test: &'static str,
    null_hypothesis: String,
    /// What was found, for the table.
    found: String,
    p_value: Option<f64>,
    rejected: Option<bool>,
    /// What it means.
    meaning: String,
}

impl Verdict {
    fn sentence(&self) -> String {
        let verdict = match self.rejected {
            Some(true) => "rejected",
            Some(false) => "not rejected",
            None => "not tested",
        };
        format!("{}: {verdict}. {}", self.test, self.meaning)
    }
}

fn table(report: &CircuitTestReport) -> String {
    let columns: [Column<Verdict>; 5] = [
        ("test", |verdict| verdict.test.into()),
        ("null hypothesis", |verdict| verdict.null_hypothesis.clone()),
        ("found", |verdict| verdict.found.clone()),
        ("p", |verdict| verdict.p_value.map_or("–".into(), p)),
        ("rejected", |verdict| verdict.rejected.map_or("–".into(), yes_or_no)),
    ];
    table_of(&columns, &verdicts(report)).trim_end().into()
}

fn verdicts(report: &CircuitTestReport) -> Vec<Verdict> {
    let tests = &report.tests;
    vec![
        equivalence(report),
        independence(&tests.independence),
        sufficiency(report, &tests.sufficiency),
        partial_necessity(report, &tests.partial_necessity),
        minimality(report, "minimality of heads and MLPs", &tests.components),
        minimality(report, "minimality of layers", &tests.layers),
    ]
}

fn equivalence(report: &CircuitTestReport) -> Verdict {
    let (test, allowed) = (&report.tests.equivalence, percent(report.settings.epsilon));
    let wins = percent(test.win_share);
    let ties = if test.ties > 0 { format!(", {} ties among them", count(test.ties as f64)) } else { String::new() };
    let side = if test.win_share < 0.5 { "lower" } else { "higher" };
    let meaning = match test.rejected {
        true => format!("Its scores are {side} than those of the model too often to be called the same"),
        false => "Nothing speaks against its scores being those of the model".into(),
    };
    Verdict {
        test: "equivalence",
        null_hypothesis: format!("the circuit beats the model on 50% ± {allowed} of the examples"),
        found: format!("on {wins}"),
        p_value: Some(test.p_value),
        rejected: Some(test.rejected),
        meaning: format!(
            "The circuit beats the model on {wins} of the examples{ties} (50% would be equivalent, ± {allowed} are \
             allowed). {meaning}."
        ),
    }
}

fn independence(outcome: &TestOutcome<IndependenceTest>) -> Verdict {
    let meaning = |test: &IndependenceTest| {
        let meaning = match test.rejected {
            true => {
                "The score without the circuit still varies with the model's: a part of the computation may be outside the \
                 circuit"
            }
            false => "The score without the circuit has nothing to do with the model's, as far as the test sees",
        };
        format!("{meaning} (HSIC on {} examples, {} permutations).", test.examples, test.permutations)
    };
    Verdict {
        test: "independence",
        null_hypothesis: "the score without the circuit is independent of the model's".into(),
        found: outcome.tested().map_or("–".into(), |test| format!("HSIC {}", number(test.hsic))),
        p_value: outcome.tested().map(|test| test.p_value),
        rejected: outcome.tested().map(|test| test.rejected),
        meaning: described(outcome, meaning),
    }
}

fn sufficiency(report: &CircuitTestReport, test: &RandomSetsTest) -> Verdict {
    let meaning = match test.rejected {
        true => "The circuit keeps more of the model's scores than random circuits of its size",
        false => "Random circuits of this size may keep the model's scores as well",
    };
    let quantile = percent(report.settings.quantile);
    let words = Words {
        test: "sufficiency",
        null_hypothesis: format!("the circuit is closer to the model than at most {quantile} of random circuits"),
        beats: "closer than",
        sets: "random circuits",
        meaning: meaning.into(),
        note: "",
    };
    random_sets(report, test, words)
}

fn partial_necessity(report: &CircuitTestReport, test: &RandomSetsTest) -> Verdict {
    let meaning = match test.rejected {
        true => "The model loses more without the circuit than without random units",
        false => "The model may lose as much without random units",
    };
    let from = match report.tests.removed_from_outside {
        true => " Random units are drawn from outside the circuit.",
        false => {
            " Random units are drawn from all units, because the circuit is larger than its complement in a layer."
        }
    };
    let quantile = percent(report.settings.quantile);
    let words = Words {
        test: "partial necessity",
        null_hypothesis: format!(
            "the model loses more without the circuit than without {quantile} of random sets at most"
        ),
        beats: "more than",
        sets: "random sets",
        meaning: meaning.into(),
        note: from,
    };
    random_sets(report, test, words)
}

/// The words of a test with random sets of units.
struct Words {
    test: &'static str,
    null_hypothesis: String,
    /// What the circuit is, compared with a set that it beats.
    beats: &'static str,
    /// Name of the sets.
    sets: &'static str,
    meaning: String,
    /// How the sets are drawn.
    note: &'static str,
}

fn random_sets(report: &CircuitTestReport, test: &RandomSetsTest, words: Words) -> Verdict {
    let n = test.random_distances.len();
    let (mean, _) = mean_and_sd(&test.random_distances).unwrap_or_default();
    let few = match test.smallest_p_value < report.settings.alpha {
        true => "",
        false => " There are too few random sets to reject anything; more are needed.",
    };
    let Words { test: name, null_hypothesis, beats, sets, meaning, note } = words;
    Verdict {
        test: name,
        null_hypothesis,
        found: format!("{beats} {} of {}", count(test.wins as f64), count(n as f64)),
        p_value: Some(test.p_value),
        rejected: Some(test.rejected),
        meaning: format!(
            "{meaning}: the mean squared difference from the model's score is {}, for {sets} {} on average.{note}{few}",
            number(test.distance),
            number(mean),
        ),
    }
}

fn minimality(report: &CircuitTestReport, name: &'static str, outcome: &TestOutcome<MinimalityTest>) -> Verdict {
    let can_go = |test: &MinimalityTest| test.parts.iter().filter(|part| part.can_go).count();
    let meaning = |test: &MinimalityTest| match can_go(test) {
        0 => "Each of them may be needed: none has an effect as small as that of random units.".to_string(),
        _ => {
            let parts = test.parts.iter().filter(|part| part.can_go).map(|part| part.name.clone());
            format!(
                "Each of these on its own is no more needed than random units: {}.",
                parts.collect::<Vec<_>>().join(", ")
            )
        }
    };
    let found = |test: &MinimalityTest| format!("{} of {} can go", can_go(test), test.parts.len());
    let smallest = |test: &MinimalityTest| test.parts.iter().map(|part| part.p_value).reduce(f64::min);
    Verdict {
        test: name,
        null_hypothesis: format!(
            "each has a larger effect than {} of random units (Bonferroni)",
            percent(report.settings.quantile)
        ),
        found: outcome.tested().map_or("–".into(), found),
        p_value: outcome.tested().and_then(smallest),
        rejected: outcome.tested().map(|test| !test.is_minimal),
        meaning: described(outcome, meaning),
    }
}

/// What a result means, or why there is none.
fn described<T>(outcome: &TestOutcome<T>, meaning: impl FnOnce(&T) -> String) -> String {
    match outcome {
        TestOutcome::Tested(test) => meaning(test),
        TestOutcome::NotTested { reason } => format!("{}.", capitalised(reason)),
    }
}

/// The parts of the circuit with their effects.
fn parts(report: &CircuitTestReport, title: &str, test: &MinimalityTest) -> String {
    let columns: [Column<(&PartTest, usize)>; 6] = [
        ("part", |(part, _)| part.name.clone()),
        ("units", |(part, _)| count(part.units as f64)),
        ("effect", |(part, _)| number(part.effect)),
        ("larger than", |(part, n)| format!("{} of {} random", count(part.wins as f64), count(*n as f64))),
        ("p", |(part, _)| p(part.p_value)),
        ("can go", |(part, _)| yes_or_no(part.can_go)),
    ];
    let rows: Vec<_> = test.parts.iter().map(|part| (part, test.random_effects.len())).collect();
    let (mean, _) = mean_and_sd(&test.random_effects).unwrap_or_default();
    let level = report.settings.alpha / test.parts.len().max(1) as f64;
    format!(
        "{}: mean squared change of the score without each; random units outside the circuit change it by {} on average; \
         can go if p < {}\n{}",
        capitalised(title),
        number(mean),
        number(level),
        table_of(&columns, &rows).trim_end()
    )
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn yes_or_no(yes: bool) -> String {
    if yes { "yes".into() } else { "no".into() }
}

/// Formats a share as a percentage with at most one decimal.
fn percent(share: f64) -> String {
    format!("{}%", (share * 1000.0).round() / 10.0)
}

/// Formats a p-value with three decimals, or a small one as a power of ten.
fn p(value: f64) -> String {
    match value {
        _ if value >= 0.001 => format!("{value:.3}"),
        _ if value > 1e-99 => format!("{value:.0e}"),
        _ => "<1e-99".into(),
    }
}

/// Formats a number with about three digits.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.2}"),
        size if size >= 0.001 => format!("{value:.4}"),
        _ => format!("{value:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_leading_digits() {
        assert_eq!([0.0, 1234.5, -12.345, 0.0123, 2e-7].map(number), ["0", "1234", "-12.35", "0.0123", "2.0e-7"]);
        assert_eq!([1.0, 0.0499, 3e-5, 0.0].map(p), ["1.000", "0.050", "3e-5", "<1e-99"]);
        assert_eq!([0.1, 0.6171875, 1.0, 0.0].map(percent), ["10%", "61.7%", "100%", "0%"]);
        assert_eq!(capitalised("the circuit"), "The circuit");
    }
}
