//! The runs of recipes: one folder each, and one table for all.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ns_train::recipe::{Document, Grid, Kind};
use ns_train::{
    BaseModelPool, Interrupt, Job, Row, RunReport, draw_rows, draw_run, row_table, sites_of_pattern, write_results,
};

use crate::jobs::JobsOption;
use crate::output::say;

/// The runs of one or several recipes, in order.
pub(crate) struct RecipeRuns {
    jobs: Vec<Job>,
    /// For each run the folder with the results of all runs that belong to it.
    results: Vec<PathBuf>,
}

impl RecipeRuns {
    /// Reads the recipes and takes their grids apart. No `seeds` leaves them to the recipes; `sets` are `KEY=VALUE`.
    pub(crate) fn new(
        recipes: &[PathBuf],
        seeds: &[u64],
        sets: &[String],
        out: Option<&Path>,
        pool: &BaseModelPool,
    ) -> anyhow::Result<Self> {
        let mut runs = Self { jobs: Vec::new(), results: Vec::new() };
        for recipe in recipes {
            let mut document = Document::read(recipe)?;
            sets.iter().try_for_each(|set| document.set(set))?;
            let sites = |recipe: &_, pattern: &str| sites_of_pattern(pool, &document, recipe, pattern);
            let cells = Grid::new(&document, seeds, sites)?.cells;
            let stem = recipe.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let (document, single) = (Arc::new(document), cells.len() == 1);
            for cell in cells {
                let name = format!("{stem}-{}", cell.name);
                let (results, folder) = match out {
                    Some(out) if single && recipes.len() == 1 => (out.to_owned(), out.to_owned()),
                    Some(out) => (out.to_owned(), out.join(&name)),
                    None if single => (Path::new("runs").join(&name), Path::new("runs").join(&name)),
                    None => (Path::new("runs").join(&stem), Path::new("runs").join(&stem).join(&name)),
                };
                runs.jobs.push(Job { name, folder, recipe: cell.recipe, document: document.clone() });
                runs.results.push(results);
            }
        }
        runs.jobs.iter().try_for_each(Job::check)?;
        let mut folders = BTreeSet::new();
        match runs.jobs.iter().find(|job| !folders.insert(&job.folder)) {
            None => Ok(runs),
            Some(job) => anyhow::bail!(
                "two runs would share the folder `{}`; pass each recipe once, and use different file names",
                job.folder.display()
            ),
        }
    }

    /// Prints what would be trained.
    pub(crate) fn describe(&self, pool: &BaseModelPool) -> anyhow::Result<()> {
        let describe = |job: &Job, _: &Interrupt| Ok(Some(job.describe(pool)?));
        let print = |_: &Job, text: String| {
            say!("{}", text.trim_end());
            Ok(())
        };
        JobsOption::for_all(1).run_all(&self.jobs, |job| job.folder.clone(), describe, print)
    }

    /// Trains all runs, writes the results of each as soon as it ends, and prints a table. A run that fails does not stop
    /// the others. Returns the rows of all runs.
    pub(crate) fn train(&self, pool: &BaseModelPool, jobs: JobsOption) -> anyhow::Result<Vec<Row>> {
        let mut rows: Vec<Option<Vec<Row>>> = vec![None; self.jobs.len()];
        let runs: Vec<usize> = (0..self.jobs.len()).collect();
        let train = |run: &usize, interrupt: &Interrupt| Ok(self.jobs[*run].train(pool, interrupt)?);
        let finish = |run: &usize, report: RunReport| {
            rows[*run] = Some(report.rows);
            self.write(*run, &rows)?;
            let job = &self.jobs[*run];
            match &report.training {
                Some(training) => Ok(draw_run(&job.folder, &job.name, &training.metrics, &training.layers)?),
                None => Ok(()),
            }
        };
        let outcome = jobs.run_all(&runs, |run| self.jobs[*run].folder.clone(), train, finish);
        let drawn = self.draw(&rows);
        self.print(&rows);
        outcome.and(drawn)?;
        Ok(rows.into_iter().flatten().flatten().collect())
    }

    /// Prints the table of the finished runs, and where results and models are.
    fn print(&self, rows: &[Option<Vec<Row>>]) {
        let all: Vec<Row> = rows.iter().flatten().flatten().cloned().collect();
        if all.is_empty() {
            return;
        }
        say!("{}", row_table(&all).trim_end());
        for (job, _) in
            self.jobs.iter().zip(rows).filter(|(job, rows)| job.recipe.kind == Kind::Model && rows.is_some())
        {
            say!("model in {}", job.folder.join("model").display());
        }
        for folder in self.results.iter().collect::<BTreeSet<_>>() {
            say!("results and figures in {}", folder.display());
        }
    }

    /// Writes the rows of all finished runs that have the same folder of results.
    fn write(&self, index: usize, rows: &[Option<Vec<Row>>]) -> anyhow::Result<()> {
        let folder = &self.results[index];
        Ok(write_results(folder, &self.rows_in(folder, rows))?)
    }

    /// Draws the figures of each folder of results.
    fn draw(&self, rows: &[Option<Vec<Row>>]) -> anyhow::Result<()> {
        for folder in self.results.iter().collect::<BTreeSet<_>>() {
            draw_rows(folder, &self.rows_in(folder, rows))?;
        }
        Ok(())
    }

    /// The rows of all finished runs with a folder of results, in the order of the runs.
    fn rows_in(&self, folder: &Path, rows: &[Option<Vec<Row>>]) -> Vec<Row> {
        let together = self.results.iter().zip(rows).filter(|(other, _)| *other == folder);
        together.flat_map(|(_, rows)| rows.iter().flatten()).cloned().collect()
    }
}
