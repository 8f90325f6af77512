//! Which sentences are generated: those of `[sets]`, or those of a selection.

use std::borrow::Cow;
use std::collections::HashSet;

use ns_circuit::rng;

use super::Selection;
use super::draw::{Derivation, Space};
use super::format::{Draw, Draws, Entries, Entry};
use super::model::Model;
use super::source::{Place, Source};
use super::words::Feature;
use crate::error::{TrainError, did_you_mean};
use crate::report::figures::count;

/// Names of sets, in the order in which they draw.
const SETS: [&str; 4] = ["train", "dev", "test", "ood"];
/// Most sentences of a table.
const MOST_ROWS: usize = 10_000_000;

/// The draws of `[sets]`.
#[derive(Clone, Debug)]
pub(super) struct Sets {
    /// In the order in which they draw.
    sets: Vec<(&'static str, Vec<CheckedDraw>)>,
}

#[derive(Clone, Debug)]
struct CheckedDraw {
    place: Place,
    groups: Vec<usize>,
    sample: Option<usize>,
    balanced: bool,
    fixed: Vec<(usize, usize)>,
}

/// The sentences of a set; without a name if there are no sets.
pub(super) struct Planned {
    pub(super) set: Option<&'static str>,
    pub(super) derivations: Vec<Derivation>,
}

impl Sets {
    /// Resolves the names of `[sets]`.
    ///
    /// # Errors
    /// Returns [`TrainError::RecipeKey`] for another name of a set, and an unknown group, feature or value.
    pub(super) fn new(source: &Source, model: &Model, entries: Entries<Draws>) -> Result<Self, TrainError> {
        let mut sets: Vec<(&'static str, Vec<CheckedDraw>)> = SETS.map(|name| (name, Vec::new())).into();
        for Entry { name, start, value } in entries.0 {
            let place = Place::new("sets", &name, start);
            let failed = |reason: String| source.error(&place, reason);
            let set = sets.iter_mut().find(|(set, _)| *set == name);
            let set = set.ok_or_else(|| failed("no set; the sets are train, dev, test and ood".into()))?;
            for draw in value.0 {
                set.1.push(checked(model, place.clone(), draw).map_err(failed)?);
            }
        }
        sets.retain(|(_, draws)| !draws.is_empty());
        Ok(Self { sets })
    }

    /// Draws the sets. A sentence that a draw took is not taken again.
    ///
    /// # Errors
    /// Returns [`TrainError::RecipeKey`] for a sample that is larger than what is left, and for too many sentences.
    pub(super) fn plan(
        &self,
        source: &Source,
        model: &Model,
        seed: u64,
        fixed: &[(usize, usize)],
    ) -> Result<Vec<Planned>, TrainError> {
        let (mut taken, mut planned, mut rows) = (HashSet::new(), Vec::new(), 0);
        for (set, draws) in &self.sets {
            let mut derivations = Vec::new();
            for (index, draw) in draws.iter().enumerate() {
                let kept = draw.fixed.iter().filter(|(feature, _)| fixed.iter().all(|(other, _)| other != feature));
                let fixed = kept.chain(fixed).copied().collect();
                let space = Space::new(model, &draw.groups, fixed);
                let stream = (seed, format!("grammar/{set}"), index as u64);
                let drawn = drawn(space, (draw.sample, draw.balanced), &taken, stream, rows);
                let drawn = drawn.map_err(|reason| source.error(&draw.place, reason))?;
                rows += drawn.len();
                taken.extend(drawn.iter().copied());
                derivations.extend(drawn);
            }
            planned.push(Planned { set: Some(set), derivations });
        }
        Ok(planned)
    }
}

/// Draws the sentences of a selection, without sets.
///
/// # Errors
/// Returns [`TrainError::Setting`] for an unknown group, and for more sentences than there are or may be.
pub(super) fn selected(
    model: &Model,
    selection: &Selection,
    seed: u64,
    fixed: Vec<(usize, usize)>,
) -> Result<Vec<Planned>, TrainError> {
    let groups = groups(model, Some(&selection.templates).filter(|names| !names.is_empty()))
        .map_err(|(name, expected)| TrainError::setting("--templates", format!("`{name}`"), expected))?;
    let stream = (seed, "grammar".to_owned(), 0);
    let drawn = drawn(Space::new(model, &groups, fixed), (selection.sample, false), &HashSet::new(), stream, 0);
    let asked = selection.sample.map_or("all sentences".to_owned(), |sample| count(sample as f64));
    let derivations = drawn.map_err(|reason| TrainError::setting("--sample", asked, reason))?;
    Ok(vec![Planned { set: None, derivations }])
}

/// Indices of features and values.
///
/// # Errors
/// Returns what is not known, and what is.
pub(super) fn fixed<'a>(
    features: &[Feature],
    values: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<Vec<(usize, usize)>, String> {
    let fixed = values.map(|(name, value)| {
        let names: Vec<String> = features.iter().map(|feature| feature.name.clone()).collect();
        let feature = names.iter().position(|known| known == name);
        let feature = feature.ok_or_else(|| format!("`{name}`{} is no feature", did_you_mean(name, &names)))?;
        let known = &features[feature].values;
        let expected = || format!("`{value}` is no value of `{name}`, whose values are {}", known.join(", "));
        Ok((feature, known.iter().position(|known| known == value).ok_or_else(expected)?))
    });
    fixed.collect()
}

/// The draw of a stream: its seed, label and step.
fn drawn(
    space: Option<Space<'_>>,
    (sample, balanced): (Option<usize>, bool),
    taken: &HashSet<Derivation>,
    (seed, label, step): (u64, String, u64),
    rows: usize,
) -> Result<Vec<Derivation>, String> {
    let space = space.ok_or("there are 2^128 sentences or more; name fewer groups")?;
    let left = space.left(taken);
    if left == 0 {
        return Err("there is no sentence for it; other values or templates have some".into());
    }
    if let Some(sample) = sample.filter(|sample| *sample as u128 > left) {
        return Err(format!("there are only {} sentences for the sample of {}", whole(left), count(sample as f64)));
    }
    if sample.map_or(left, |sample| sample as u128) > (MOST_ROWS - rows) as u128 {
        let all = whole(sample.map_or(left, |sample| sample as u128) + rows as u128);
        return Err(format!(
            "it makes {all} sentences, but there may be {}; use a smaller sample",
            whole(MOST_ROWS as u128)
        ));
    }
    Ok(match sample {
        Some(sample) if balanced => space.balanced(sample, taken, rng::stream(seed, &label, 0, step)),
        Some(sample) => space.sample(sample, taken, rng::stream(seed, &label, 0, step)),
        None => space.all(taken),
    })
}

/// A count with its digits in groups.
pub(super) fn whole(number: u128) -> Cow<'static, str> {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy);
    groups.collect::<Vec<_>>().join(",").into()
}

fn checked(model: &Model, place: Place, draw: Draw) -> Result<CheckedDraw, String> {
    let names = draw.templates.map(|names| names.0);
    let groups =
        groups(model, names.as_ref()).map_err(|(name, expected)| format!("the group `{name}`, but {expected}"))?;
    let values = draw.values.0.iter().map(|entry| (entry.name.as_str(), entry.value.as_str()));
    Ok(CheckedDraw {
        place,
        groups,
        sample: draw.sample,
        balanced: draw.balanced,
        fixed: fixed(&model.features, values)?,
    })
}

/// Indices of groups; of all of them without names.
fn groups(model: &Model, names: Option<&Vec<String>>) -> Result<Vec<usize>, (String, String)> {
    let Some(names) = names else { return Ok((0..model.groups.len()).collect()) };
    let index = |name: &String| {
        model.groups.iter().position(|group| group == name).ok_or_else(|| {
            let known = did_you_mean(name, &model.groups);
            (name.clone(), format!("the groups of templates are {}{known}", model.groups.join(", ")))
        })
    };
    names.iter().map(index).collect()
}
