//! `activations MODEL --data FILE --site S… --out F.safetensors`: vectors at sites for other tools.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use ns_models::{Site, resolve_model};
use ns_train::Activations;
use ns_train::figures::count;
use ns_train::recipe::{DataSection, Files, Read};

use crate::backend::BackendOption;
use crate::output::say;

/// How the file is read, for the help text.
const PYTHON: &str = r#"The file in Python:

    from safetensors.numpy import load_file
    vectors = load_file("vectors.safetensors")
    vectors["attn_update_5"]            # [n, hidden]
    vectors["rows"]                     # [n], e.g. to join the other columns of the table
"#;

/// Write the vectors at sites of the residual stream to a file for other tools
///
/// The model reads the rows of a table, and the vectors at the positions of --read are written: for each site one tensor
/// [n, hidden] (f32) with the name of the site. `rows` [n] says from which row of the table a vector is, counted from 0.
/// `positions` [n] says at which token of the row, counted from 0 with the tokens that the tokenizer adds. `inspect`
/// lists the sites of a model.
///
/// Example: cargo xtask activations models/minilm --data words.csv --text sentence --read '{ word = "noun" }' --site
/// 'attn_update_*' --out vectors.safetensors
#[derive(Args)]
#[command(after_long_help = PYTHON)]
pub(crate) struct ActivationsCommand {
    /// Folder of the model, or the name of a model in the Hugging Face Hub's cache
    model: String,
    /// The table: .csv, .tsv, .jsonl or .parquet
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// A site, or a pattern such as 'attn_update_*'; may be repeated
    #[arg(long = "site", required = true, value_name = "SITE")]
    sites: Vec<String>,
    /// The safetensors file to write; an existing one is replaced
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Column with the text [default: text]
    #[arg(long, value_name = "COLUMN")]
    text: Option<String>,
    /// Column with token ids, separated by spaces, in place of a text
    #[arg(long, value_name = "COLUMN", conflicts_with = "text")]
    tokens: Option<String>,
    /// Column with the path of an image file, relative to the table, in place of a text
    #[arg(long, value_name = "COLUMN", conflicts_with_all = ["text", "tokens"])]
    image: Option<String>,
    /// Which tokens are read, as `data.read` of a recipe: last, first, all, '{ index = -2 }', '{ word = "noun" }', …
    #[arg(long, value_name = "RULE", default_value = "last", value_parser = rule)]
    read: Read,
    /// Cut texts that are longer than the model
    #[arg(long)]
    truncate: bool,
    /// Rows per forward pass
    #[arg(long, value_name = "N", default_value_t = 64)]
    batch: usize,
    #[command(flatten)]
    backend: BackendOption,
}

impl ActivationsCommand {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        if let Some(folder) = self.out.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
        }
        let metadata = [("model", self.model.clone()), ("data", self.data.display().to_string())];
        let activations = Activations {
            model: resolve_model(&self.model)?,
            data: self.section(),
            sites: self.sites.clone(),
            batch: self.batch,
        };
        let written = activations.write(&self.out, &metadata, &self.backend.device()?)?;
        let sites: Vec<String> = written.sites.iter().map(Site::to_string).collect();
        let (vectors, rows) = (count(written.vectors as f64), count(written.rows as f64));
        say!("{}: {vectors} vectors of {} numbers from {rows} rows", self.out.display(), written.hidden);
        say!("  at {}", sites.join(", "));
        Ok(())
    }

    fn section(&self) -> DataSection {
        let is_text = self.tokens.is_none() && self.image.is_none();
        DataSection {
            path: Some(Files::One(self.data.clone())),
            text: is_text.then(|| self.text.clone().unwrap_or_else(|| "text".into())),
            tokens: self.tokens.clone(),
            image: self.image.clone(),
            read: Some(self.read.clone()),
            truncate: self.truncate,
            ..DataSection::default()
        }
    }
}

/// Reads a rule: TOML, or a word without quotes.
fn rule(text: &str) -> Result<Read, String> {
    let table = toml::from_str::<toml::Table>(&format!("read = {text}"));
    let value = table.ok().and_then(|mut table| table.remove("read")).unwrap_or_else(|| text.trim().into());
    value.try_into().map_err(|_| {
        "it must be last, first, all, '{ index = -2 }', '{ word = \"noun\" }', '{ span = [\"start\", \"end\"] }' or \
         '{ position = \"column\" }', where words are columns; spans and words may have token = first, last, all or mean"
            .into()
    })
}
