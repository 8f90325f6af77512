//! All cells of activation patching, on all examples.

use std::collections::BTreeMap;

use ns_models::AnyTransformer;
use ns_probe::{ActivationSite, HeadInput, head_inputs};

use super::means::{Baseline, Mean};
use super::pairs::Pairs;
use super::report::{CountedFrom, PatchKind, PatchMap, PatchPosition, PatchRow};
use crate::error::TrainError;
use crate::evaluate::Answers;
use crate::evaluate::subject::batches_of_one_length;
use crate::run::DelayedProgress;

/// Most positions per forward pass. All activations of two runs are kept in memory.
const POSITIONS: usize = 1024;

/// What is patched: the sites of a model, on examples of a data set.
pub(crate) struct PatchRuns<'a> {
    model: &'a AnyTransformer,
    answers: &'a Answers,
    sites: Vec<ActivationSite>,
    heads: BTreeMap<usize, HeadInput>,
    /// Rows of one length each.
    batches: Vec<Vec<usize>>,
    /// The first example.
    first: Option<usize>,
    /// Number of tokens of the longest example.
    longest: usize,
}

/// The results of [`PatchRuns`].
#[derive(Debug)]
pub(crate) struct PatchedMaps {
    pub(crate) clean: f64,
    pub(crate) corrupted: f64,
    pub(crate) counted_from: CountedFrom,
    pub(crate) positions: Vec<PatchPosition>,
    pub(crate) maps: Vec<PatchMap>,
}

impl<'a> PatchRuns<'a> {
    /// Patches `sites` on some rows, whose partners have the length of the row.
    pub(crate) fn new(
        model: &'a AnyTransformer,
        answers: &'a Answers,
        rows: &[usize],
        sites: Vec<ActivationSite>,
    ) -> Self {
        let examples = &answers.examples;
        let longest = rows.iter().map(|row| examples.n_tokens(*row)).max().unwrap_or_default();
        let mut heads = head_inputs(model);
        heads.retain(|layer, _| sites.contains(&ActivationSite::Heads(*layer)));
        Self {
            model,
            answers,
            sites,
            heads,
            batches: batches_of_one_length(examples, rows, POSITIONS),
            first: rows.first().copied(),
            longest,
        }
    }

    /// Runs everything. Shows progress on stderr if it takes more than two seconds.
    ///
    /// # Errors
    /// Returns [`TrainError::ConstantMetric`] if the clean and the corrupted runs do not differ on average, and the errors
    /// of the forward passes.
    pub(crate) fn run(&self) -> Result<PatchedMaps, TrainError> {
        let (all, columns) = self.baselines()?;
        let (clean, corrupted) = all.check()?;
        let cells = self.patch()?;
        let maps = PatchKind::ALL.into_iter().filter_map(|kind| self.map(kind, &cells, &all, &columns));
        let maps = maps.collect();
        Ok(PatchedMaps {
            clean,
            corrupted,
            counted_from: self.counted_from(),
            positions: self.positions(&columns),
            maps,
        })
    }

    /// Means of the clean and the corrupted runs: of all examples, and of those that have each position.
    fn baselines(&self) -> Result<(Baseline, Vec<Baseline>), TrainError> {
        let (mut all, mut columns) = (Baseline::default(), vec![Baseline::default(); self.longest]);
        for rows in &self.batches {
            let [clean, corrupted] = Pairs::new(self.model, self.answers, rows)?.unpatched()?;
            all.add(&clean, &corrupted);
            for column in &mut columns[self.longest - self.length(rows)..] {
                column.add(&clean, &corrupted);
            }
        }
        Ok((all, columns))
    }

    /// The mean of each cell of each site.
    fn patch(&self) -> Result<Vec<Vec<Mean>>, TrainError> {
        let mut means: Vec<Vec<Mean>> =
            self.sites.iter().map(|site| vec![Mean::default(); self.cells(site, self.longest)]).collect();
        let cells =
            |rows: &Vec<usize>| -> usize { self.sites.iter().map(|site| self.cells(site, self.length(rows))).sum() };
        let (mut done, total) = (0, self.batches.iter().map(cells).sum());
        let mut progress = DelayedProgress::new("patching");
        for rows in &self.batches {
            let pairs = Pairs::new(self.model, self.answers, rows)?;
            let recorded = pairs.record(&self.sites, &self.heads)?;
            for (site, means) in self.sites.iter().zip(&mut means) {
                let cells = self.cells(site, self.length(rows));
                let first = means.len() - cells;
                for cell in 0..cells {
                    means[first + cell].add(&recorded.patched(site, cell)?);
                    done += 1;
                    progress.update(done, total);
                }
            }
        }
        progress.finish();
        Ok(means)
    }

    /// Number of cells of a site in runs of `length` tokens.
    fn cells(&self, site: &ActivationSite, length: usize) -> usize {
        match site {
            ActivationSite::Heads(layer) => self.heads.get(layer).map_or(0, |input| input.heads.len()),
            _ => length,
        }
    }

    /// Number of tokens of the rows of a batch.
    fn length(&self, rows: &[usize]) -> usize {
        rows.first().map_or(0, |row| self.answers.examples.n_tokens(*row))
    }

    fn map(&self, kind: PatchKind, cells: &[Vec<Mean>], all: &Baseline, columns: &[Baseline]) -> Option<PatchMap> {
        let of_kind = self.sites.iter().zip(cells).filter(|(site, _)| PatchKind::of(site) == Some(kind));
        let row = |(site, cells): (&ActivationSite, &Vec<Mean>)| {
            let patched: Vec<Option<f64>> = cells.iter().map(|mean| mean.get()).collect();
            let normalise = |(column, value): (usize, &Option<f64>)| match kind {
                PatchKind::Heads => all.normalise(*value),
                _ => columns.get(column)?.normalise(*value),
            };
            let normalised = patched.iter().enumerate().map(normalise).collect();
            PatchRow { site: site.to_string(), normalised, patched }
        };
        let rows: Vec<PatchRow> = of_kind.map(row).collect();
        (!rows.is_empty()).then_some(PatchMap { kind, rows })
    }

    fn counted_from(&self) -> CountedFrom {
        match self.batches.iter().all(|rows| self.length(rows) == self.longest) {
            true => CountedFrom::Start,
            false => CountedFrom::End,
        }
    }

    fn positions(&self, columns: &[Baseline]) -> Vec<PatchPosition> {
        let counted_from = self.counted_from();
        let first = self.first.filter(|_| counted_from == CountedFrom::Start);
        let tokens = first.map(|row| self.answers.examples.position_names(row)).unwrap_or_default();
        let position = |(column, baseline): (usize, &Baseline)| {
            let (clean, corrupted) = baseline.means()?;
            let has = |rows: &&Vec<usize>| column + self.length(rows) >= self.longest;
            let from_end = column as i64 - self.longest as i64;
            Some(PatchPosition {
                index: if counted_from == CountedFrom::Start { column as i64 } else { from_end },
                token: tokens.get(column).cloned(),
                examples: self.batches.iter().filter(has).map(Vec::len).sum(),
                clean,
                corrupted,
            })
        };
        columns.iter().enumerate().filter_map(position).collect()
    }
}
