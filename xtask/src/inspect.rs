//! `inspect MODEL`: lists the layers that can be masked and the sites that can be probed.

use clap::Args;
use ns_models::{AnyModel, Model, Site, Transformer, resolve_model};

use crate::{backend::BackendOption, output::say};

/// List the maskable layers and the residual-stream sites of a model
///
/// The command prints the family, the head and the size of the model; each layer that `target_layers` of a recipe may
/// name, with its kind, weight shape and bias; and each site that `probe_vectors` of a recipe may name. It writes no
/// file.
///
/// Example: cargo xtask inspect models/arithmetic
#[derive(Args)]
pub(crate) struct Inspect {
    /// Folder with config.json and model.safetensors, or the name of a model in the Hugging Face Hub's cache
    ///
    /// A name is e.g. bert-base-uncased. If the model is not in the cache, a build with the cargo feature `hub`
    /// downloads it.
    model: String,
    #[command(flatten)]
    backend: BackendOption,
}

impl Inspect {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let model = AnyModel::load(&resolve_model(&self.model)?, &self.backend.device()?)?;
        let layers = model.maskable_layers();
        match &model {
            AnyModel::Transformer(transformer) => say!(
                "{}, {}, {} block(s), hidden size {}",
                model.model_type(),
                model.head().name(),
                transformer.n_layers(),
                transformer.hidden_size()
            ),
            AnyModel::ResNet(_) => say!("{}, {}", model.model_type(), model.head().name()),
        }
        let width = layers.iter().map(|layer| layer.name.len()).max().unwrap_or_default();
        say!("\nmaskable layers (target_layers)");
        for layer in &layers {
            let bias = if layer.bias { "with bias" } else { "no bias" };
            say!("  {:<width$}  {:<10}  {:?}  {bias}", layer.name, layer.kind.name(), layer.shape);
        }
        let AnyModel::Transformer(model) = model else {
            say!(
                "\nno residual stream, so no sites to probe; `train` trains circuits on the model's own task (kind `circuit`)"
            );
            return Ok(());
        };
        say!("\nsites of the residual stream (probe_vectors)");
        for site in model.sites().iter().filter(|site| **site != Site::Embeddings) {
            say!("  {site}");
        }
        Ok(())
    }
}
