//! `inspect MODEL`: what can be masked and read.

use std::path::PathBuf;

use clap::Args;
use ns_models::{AnyModel, Site, Transformer};

use crate::{backend::BackendOption, output::say};

/// List the maskable layers of a model folder, with kind and shape, and its residual sites
#[derive(Args)]
pub(crate) struct Inspect {
    /// Folder with config.json and model.safetensors, e.g. models/arithmetic
    model: PathBuf,
    #[command(flatten)]
    backend: BackendOption,
}

impl Inspect {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let model = AnyModel::load(&self.model, &self.backend.device()?)?;
        say!("{}, {} block(s), hidden size {}", model.model_type(), model.n_layers(), model.hidden_size());
        let layers = model.maskable_layers();
        let width = layers.iter().map(|layer| layer.name.len()).max().unwrap_or_default();
        say!("\nmaskable layers (target_layers)");
        for layer in &layers {
            let bias = if layer.bias { "with bias" } else { "no bias" };
            say!("  {:<width$}  {:<10}  {:?}  {bias}", layer.name, layer.kind.name(), layer.shape);
        }
        say!("\nresidual sites (probe_vectors)");
        for site in model.sites().iter().filter(|site| **site != Site::Embeddings) {
            say!("  {site}");
        }
        Ok(())
    }
}
