//! `embed TEXT...`: how alike texts are to a sentence embedding model.

use std::path::Path;

use anyhow::Context;
use burn::tensor::{Device, Tensor};
use clap::Args;
use ns_models::{AnyTransformer, TextBatch, TextTokenizer, Transformer, cosine_similarity, mean_pool, resolve_model};

use crate::{backend::BackendOption, output::say};

const DEFAULT_MODEL: &str = "models/minilm";

/// Texts are cut here in a list, so that each has one line.
const CHARACTERS_SHOWN: usize = 60;

/// Print how alike texts are: the cosine similarity of their sentence embeddings
///
/// An embedding is the mean over the tokens of a text of what the last block gives. 1 is the same direction; texts
/// that have nothing to do with each other are near 0 for all-MiniLM-L6-v2, which `cargo xtask fetch minilm` fetches.
#[derive(Args)]
pub(crate) struct Embed {
    /// Two texts or more, each of them quoted
    #[arg(required = true, num_args = 2.., value_name = "TEXT")]
    texts: Vec<String>,
    /// Folder of the model with its tokenizer, or its name in the Hugging Face Hub's cache
    #[arg(long, default_value = DEFAULT_MODEL)]
    model: String,
    #[command(flatten)]
    backend: BackendOption,
}

impl Embed {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let folder = resolve_model(&self.model).with_context(|| match self.model.as_str() {
            DEFAULT_MODEL => "there is no model to embed with; `cargo xtask fetch minilm` fetches one",
            _ => "there is no model to embed with",
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
        for (at, (text, row)) in self.texts.iter().zip(batch.rows()).enumerate() {
            let tokens = row.tokens().iter().filter(|token| !token.padding).count();
            say!("{:>3}  {tokens:>4} tokens  {}", at + 1, shortened(text));
        }
        if rows.len() > 2 {
            say!("\n     {}", (1..=rows.len()).map(|at| format!("{at:>8}")).collect::<String>());
            for (at, row) in rows.iter().enumerate() {
                say!("{:>3}  {}", at + 1, row.iter().map(|value| format!("{value:>8.4}")).collect::<String>());
            }
        }
    }
}

/// The model's tokenizer; sentence-transformers cuts texts where its own file says, which may be before the last
/// position of the model.
fn tokenizer(folder: &Path) -> anyhow::Result<TextTokenizer> {
    let tokenizer = TextTokenizer::from_folder(folder)?;
    let path = folder.join("sentence_bert_config.json");
    if !path.is_file() {
        return Ok(tokenizer);
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let config: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("`{}` is not valid", path.display()))?;
    match config["max_seq_length"].as_u64() {
        Some(length) => Ok(tokenizer.with_max_length(usize::try_from(length)?)?),
        None => Ok(tokenizer),
    }
}

fn embed(folder: &Path, batch: &TextBatch, device: &Device) -> anyhow::Result<Tensor<2>> {
    let model = AnyTransformer::load_base(folder, device)?;
    let output = model.forward(&batch.inputs)?;
    let mask = batch.inputs.attention_mask.clone().context("texts are encoded with an attention mask")?;
    Ok(mean_pool(output.last_hidden_state, mask))
}

fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.chars().count() > CHARACTERS_SHOWN {
        true => line.chars().take(CHARACTERS_SHOWN).chain("…".chars()).collect(),
        false => line,
    }
}
