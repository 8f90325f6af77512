//! Vision Transformer (Dosovitskiy et al. 2021), HF's `ViTModel` and `ViTForImageClassification`.
//!
//! An image becomes a sequence: a learned `[CLS]` token, followed by the linear projections of its non-overlapping
//! patches. The blocks are pre-LN and attend to the whole sequence; pooler and classifier read the `[CLS]` token.

mod block;
mod config;
mod embeddings;
mod model;

pub use config::{ImageSize, VitConfig};
pub use model::Vit;

#[cfg(test)]
mod tests;
