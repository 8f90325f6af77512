//! `data GRAMMAR --out FILE`: the sentences of a grammar as a table.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use ns_train::{Grammar, Progress, Selection, Table, write_word_tokenizer};

use crate::output::say;

/// Time after which progress is reported.
const PROGRESS_AFTER: Duration = Duration::from_secs(2);
/// Sentences that are printed.
const EXAMPLES: usize = 3;

/// A grammar for the help text.
const GRAMMAR: &str = r#"A grammar, which makes sentences of subject and verb agreement:

    [features]                          # each is a column
    number = ["singular", "plural"]
    attractor_number = ["singular", "plural"]

    [words]
    N  = { singular = ["author", "pilot"], plural = "+s" }
    V  = { plural = ["like", "admire"], singular = "+s" }
    BE = { singular = "is", plural = "are" }
    P  = ["next to", "behind"]

    [phrases]                           # alternatives for templates and other phrases
    MOD = ["", "{P} the {N ?number}"]   # ?number: a number of this text alone

    [templates]                         # groups of templates; {CLASS feature feature}
    near = "the {N number} {P} the {N attractor_number}"
    far  = ["the {N number} that the {N attractor_number} {MOD} {V attractor_number}"]

    [columns]                           # more columns
    right = " {BE number}"
    wrong = " {BE !number}"             # the other number

    [partners]                          # minimal pairs
    partner = "number"                  # the sentence with the other number

    [sets]                              # disjoint samples
    train = { templates = "near", sample = 20 }
    test  = { templates = "near", sample = 8 }
    ood   = { templates = "far", sample = 20, where = { attractor_number = "plural" } }
"#;

/// Write the sentences of a grammar to a table
///
/// A grammar is a TOML file of templates, words and features; one is shown below, and docs/grammars.md has all keys. Each
/// sentence is a row with the columns sentence, template, the features, those of [columns] and [partners], and set.
///
/// The sentences are those of [sets], or all if the file has none. --all, --templates and --sample write others in place
/// of the sets; --where and --seed also change the sets. A recipe reads a grammar directly: [data] grammar = "FILE".
///
/// Example: cargo xtask data models/agreement/grammars/subject-verb.toml --out sentences.csv
#[derive(Args)]
#[command(after_long_help = GRAMMAR)]
pub(crate) struct Data {
    /// The grammar (TOML)
    #[arg(value_name = "GRAMMAR")]
    grammar: PathBuf,
    /// The table to write: .csv or .tsv; an existing one is replaced
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Write all sentences, also if the grammar has [sets]
    #[arg(long)]
    all: bool,
    /// A group of templates, in place of the sets; may be repeated
    #[arg(long = "templates", value_name = "NAME")]
    templates: Vec<String>,
    /// Number of sentences, in place of the sets
    #[arg(long, value_name = "N", conflicts_with = "all")]
    sample: Option<usize>,
    /// Seed of the samples [default: that of the grammar, or 0]
    #[arg(long)]
    seed: Option<u64>,
    /// Only sentences with a value of a feature, e.g. --where gender=feminine; may be repeated
    #[arg(long = "where", value_name = "FEATURE=VALUE", value_parser = feature_and_value)]
    values: Vec<(String, String)>,
    /// Folder for a tokenizer that knows every word of the grammar
    #[arg(long, value_name = "FOLDER")]
    tokenizer: Option<PathBuf>,
}

impl Data {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        Table::check_format(&self.out)?;
        let grammar = Grammar::read(&self.grammar)?;
        let selection = Selection {
            all: self.all,
            templates: self.templates,
            sample: self.sample,
            seed: self.seed,
            values: self.values,
        };
        let mut progress = LateProgress::new();
        let table = grammar.generate(&selection, &mut |done, total| progress.update(done, total))?;
        progress.finish(table.len());
        table.write(&self.out)?;
        describe(&self.out, &table)?;
        if let Some(folder) = &self.tokenizer {
            let tokens = write_word_tokenizer(folder, &grammar.words())?;
            say!("{}: a tokenizer of {} tokens", folder.display(), grouped(tokens));
        }
        Ok(())
    }
}

/// Prints the number of sentences by template and by set, and some of them.
fn describe(path: &Path, table: &Table) -> anyhow::Result<()> {
    say!("{}: {} sentences", path.display(), grouped(table.len()));
    for column in ["template", "set"].into_iter().filter(|column| table.columns().iter().any(|name| name == column)) {
        let (mut counts, mut order) = (BTreeMap::<&str, usize>::new(), Vec::new());
        for name in table.column(column)?.iter() {
            *counts.entry(name).or_insert_with(|| {
                order.push(name);
                0
            }) += 1;
        }
        let counts: Vec<String> = order
            .iter()
            .map(|name| format!("{name} {}", grouped(counts.get(name).copied().unwrap_or_default())))
            .collect();
        say!("  by {column}: {}", counts.join(", "));
    }
    let columns = table.columns().iter().skip(1).map(|name| Ok((name, table.column(name)?)));
    let columns = columns.collect::<anyhow::Result<Vec<_>>>()?;
    let examples = EXAMPLES.min(table.len());
    for row in (0..examples).map(|example| example * table.len() / examples) {
        say!("  {}", table.column("sentence")?.get(row).unwrap_or_default());
        let cells = columns.iter().map(|(name, column)| (name, column.get(row).unwrap_or_default()));
        let cells: Vec<String> =
            cells.filter(|(_, cell)| !cell.is_empty()).map(|(name, cell)| format!("{name} = {cell:?}")).collect();
        say!("    {}", cells.join(", "));
    }
    Ok(())
}

/// A number with its digits in groups.
fn grouped(number: usize) -> String {
    ns_train::figures::count(number as f64)
}

/// Progress that is reported only if the work takes long.
struct LateProgress {
    started: Instant,
    progress: Option<Progress>,
}

impl LateProgress {
    fn new() -> Self {
        Self { started: Instant::now(), progress: None }
    }

    fn update(&mut self, done: usize, total: usize) {
        const EVERY: usize = 10_000;
        if !done.is_multiple_of(EVERY) {
            return;
        }
        if self.progress.is_none() && self.started.elapsed() > PROGRESS_AFTER {
            self.progress = Some(Progress::new("sentences", done, total));
        }
        if let Some(progress) = &mut self.progress {
            progress.update(done, "");
        }
    }

    fn finish(self, done: usize) {
        if let Some(progress) = self.progress {
            progress.finish(done, "");
        }
    }
}

fn feature_and_value(text: &str) -> Result<(String, String), String> {
    let (feature, value) = text.split_once('=').ok_or("it must be FEATURE=VALUE, e.g. gender=feminine")?;
    Ok((feature.trim().into(), value.trim().into()))
}
