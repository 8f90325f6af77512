//! `patch RECIPE`: activation patching, by layer and position.

use std::path::PathBuf;

use clap::Args;
use ns_train::recipe::{Document, SetName};
use ns_train::{PatchReport, Patching, patch_table, write_patching};

use crate::backend::BackendOption;
use crate::output::say;

const SETS: [SetName; 4] = [SetName::Train, SetName::Dev, SetName::Test, SetName::Ood];

/// Patch activations by layer and position: where does the model carry what its answer depends on?
///
/// The recipe names a model, data with partners (`data.partner`, of the same number of tokens as their rows) and the
/// answers of the model ([behaviour]). It may be of any kind; what it trains is not read. The model runs on each example
/// (clean) and on its partner (corrupted). Then the run on the partner is repeated with the clean value of one activation
/// at one position. A value is the share of the logit difference that this restores: (patched - corrupted) / (clean -
/// corrupted). 0 is nothing, 1 is all.
///
/// The activations are the residual stream after each block and after each attention, and what attention and MLP add to it.
/// Positions are counted from the first token, or from the last one if the examples have different numbers of tokens.
///
/// patch.json (all values) and the figure patch (SVG and PNG) are written, and the five strongest parts are printed.
/// docs/patching.md says how to read them.
///
/// Example: cargo xtask patch models/agreement/circuits-of-number.toml --set data.partner=partner
#[derive(Args)]
pub(crate) struct Patch {
    /// The recipe (TOML)
    recipe: PathBuf,
    /// The set of the examples (train, dev, test or ood) [default: test], or KEY=VALUE, which sets a key of the recipe as in
    /// `train`; may be repeated
    #[arg(long = "set", value_name = "SET|KEY=VALUE")]
    sets: Vec<String>,
    /// Sites or patterns, e.g. 'attn_update_*' or 'heads_*' [default: all sites of the residual stream]
    #[arg(long, value_name = "PATTERN", num_args = 1..)]
    sites: Vec<String>,
    /// Also patch the result of each attention head, at all positions at once
    #[arg(long)]
    heads: bool,
    /// Number of examples: the first ones of the set
    #[arg(long, value_name = "N", default_value_t = 100)]
    examples: usize,
    /// Folder of the results [default: runs/<recipe>-patch]
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    backend: BackendOption,
}

impl Patch {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let mut document = Document::read(&self.recipe)?;
        let (keys, sets): (Vec<&String>, Vec<&String>) = self.sets.iter().partition(|set| set.contains('='));
        keys.into_iter().try_for_each(|key| document.set(key))?;
        let set = match sets[..] {
            [] => SetName::Test,
            [name] => set_of(name)?,
            _ => anyhow::bail!("--set names several sets of examples; name one"),
        };
        let patching = Patching { set, sites: self.sites.clone(), heads: self.heads, examples: self.examples };
        let report = patching.run(&document, &self.backend.device()?)?;
        let out = self.folder();
        write_patching(&out, &report)?;
        say!("{}\n", summary(&report));
        say!("{}\n", patch_table(&report).trim_end());
        say!("results and figure in {}", out.display());
        Ok(())
    }

    fn folder(&self) -> PathBuf {
        let stem = self.recipe.file_stem().unwrap_or_default().to_string_lossy();
        self.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(format!("{stem}-patch")))
    }
}

fn set_of(name: &str) -> anyhow::Result<SetName> {
    let found = SETS.into_iter().find(|set| set.name() == name);
    found.ok_or_else(|| anyhow::anyhow!("--set is `{name}`, but it must be train, dev, test, ood, or KEY=VALUE"))
}

fn summary(report: &PatchReport) -> String {
    format!(
        "{} examples of {}: logit difference {:.2}, on their partners {:.2}",
        report.examples,
        report.set.name(),
        report.clean,
        report.corrupted
    )
}
