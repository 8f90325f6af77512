//! ViT (Dosovitskiy et al. 2021), HF's `ViTModel` and its head.
//!
//! An image is a sequence: its patches, cut without overlap and projected, behind one learned vector `[CLS]` from
//! which pooler and classifier read. The blocks are pre-LN and see the whole sequence.

mod block;
mod config;
mod embeddings;
mod model;

pub use config::{ImageSize, VitConfig};
pub use model::Vit;

#[cfg(test)]
mod tests;
