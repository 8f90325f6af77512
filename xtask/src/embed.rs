//! `embed TEXT…`: cosine similarity of sentence embeddings.

use std::path::Path;

use anyhow::Context;
use burn::tensor::{Device, Tensor};
use clap::Args;
use ns_models::{AnyTransformer, TextBatch, TextTokenizer, Transformer, cosine_similarity, mean_pool, resolve_model};

use crate::{backend::BackendOption, output::say};

const DEFAULT_MODEL: &str = "models/minilm";

/// Maximum number of characters of a text in the list, so that each text fits on one line.
const CHARACTERS_SHOWN: usize = 60;

/// Print the cosine similarity of the sentence embeddings of texts
///
/// The embedding of a text is the mean of the last hidden states over its tokens. A similarity of 1 means the same
/// direction; unrelated texts are near 0 with all-MiniLM-L6-v2, which `cargo xtask fetch minilm` downloads. The command
/// prints the number of tokens of each text and one similarity for two texts, or a matrix for more.
///
/// Example: cargo xtask embed "A cat sat on the mat." "A kitten lies on a rug."
#[derive(Args)]
pub(crate) struct Embed {
    /// Two or more texts, each in quotes
    #[arg(required = true, num_args = 2.., value_name = "TEXT")]
    texts: Vec<String>,
    /// Folder of the model and its tokenizer, or the name of a model in the Hugging Face Hub's cache
    ///
    /// A name is e.g. sentence-transformers/all-MiniLM-L6-v2. If the model is not in the cache, a build with the cargo
    /// feature `hub` downloads it.
    #[arg(long, default_value = DEFAULT_MODEL)]
    model: String,
    #[command(flatten)]
    backend: BackendOption,
}

impl Embed {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let folder = resolve_model(&self.model).with_context(|| match self.model.as_str() {
            DEFAULT_MODEL => "cannot find the default embedding model; `cargo xtask fetch minilm` downloads it",
            _ => "cannot find the embedding model",
        })?;
        let device = self.backend.device()?;
        let batch = tokenizer(&folder)?.encode(&self.texts, &device)?;
        let embeddings = embed(&folder, &batch, &device)?;
        let similarity = cosine_similarity(embeddings.clone(), embeddings).into_data();
        let similarity: Vec<f64> = similarity.iter().collect();
        self.print(&batch, &similarity);
        Ok(())
    }

    fn print(&self, batch: &TextBatch, similarity: &[f64]) {
        let rows: Vec<_> = similarity.chunks(self.texts.len()).collect();
        if let [[_, similarity], _] = rows[..] {
            say!("cosine similarity {similarity:.4}\n");
        }
        for (index, (text, row)) in self.texts.iter().zip(batch.rows()).enumerate() {
            let tokens = row.tokens().iter().filter(|token| !token.padding).count();
            say!("{:>3}  {tokens:>4} tokens  {}", index + 1, shortened(text));
        }
        if rows.len() > 2 {
            say!("\n     {}", (1..=rows.len()).map(|number| format!("{number:>8}")).collect::<String>());
            for (index, row) in rows.iter().enumerate() {
                say!("{:>3}  {}", index + 1, row.iter().map(|value| format!("{value:>8.4}")).collect::<String>());
            }
        }
    }
}

/// Loads the tokenizer of a model. The `max_seq_length` of `sentence_bert_config.json`, a file of
/// sentence-transformers, lowers the maximum length of the tokenizer if the file exists.
fn tokenizer(folder: &Path) -> anyhow::Result<TextTokenizer> {
    let tokenizer = TextTokenizer::from_folder(folder)?;
    let path = folder.join("sentence_bert_config.json");
    if !path.is_file() {
        return Ok(tokenizer);
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let config: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("`{}` is not valid JSON", path.display()))?;
    match config["max_seq_length"].as_u64() {
        Some(length) => Ok(tokenizer.with_max_length(usize::try_from(length)?)?),
        None => Ok(tokenizer),
    }
}

/// Returns the mean-pooled embeddings `[texts, hidden]`.
fn embed(folder: &Path, batch: &TextBatch, device: &Device) -> anyhow::Result<Tensor<2>> {
    let model = AnyTransformer::load_base(folder, device)?;
    let output = model.forward(&batch.inputs)?;
    let mask = batch.inputs.attention_mask.clone().context("the tokenizer returned no attention mask")?;
    Ok(mean_pool(output.last_hidden_state, mask))
}

/// Returns a text on one line, cut after [`CHARACTERS_SHOWN`] characters.
fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.chars().count() > CHARACTERS_SHOWN {
        true => line.chars().take(CHARACTERS_SHOWN).chain("…".chars()).collect(),
        false => line,
    }
}
