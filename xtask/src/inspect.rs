//! `inspect MODEL`: what can be masked and read.

use clap::Args;
use ns_models::{AnyModel, Model, Site, Transformer, resolve_model};

use crate::{backend::BackendOption, output::say};

/// List the maskable layers of a model folder, with kind and shape, and its residual sites
#[derive(Args)]
pub(crate) struct Inspect {
    /// Folder with config.json and model.safetensors, e.g. models/arithmetic, or the name of a model in the Hub's cache
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
            say!("\nno residual stream, and so no sites to probe: circuits are trained on the model's own task");
            return Ok(());
        };
        say!("\nresidual sites (probe_vectors)");
        for site in model.sites().iter().filter(|site| **site != Site::Embeddings) {
            say!("  {site}");
        }
        Ok(())
    }
}
