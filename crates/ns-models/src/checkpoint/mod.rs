//! Model folders: reading and writing. No other module touches files, but for `config.json`.

mod names;
mod pretrained;
mod read;
mod weights;
mod write;

pub use names::HfNames;
pub use pretrained::Pretrained;
pub use read::Checkpoint;
pub use weights::{load_base_weights, load_weights};
pub use write::{copy_companions, save_folder, save_pretrained, save_tensors, write_atomically};

#[cfg(test)]
mod tests;
