//! Reads and writes model folders: safetensors checkpoints with HF's tensor names, and `config.json`.

mod names;
mod pretrained;
mod read;
mod tensor_file;
mod weights;
mod write;

pub(crate) use pretrained::load_as;

pub use names::HfNames;
pub use pretrained::Pretrained;
pub use read::Checkpoint;
pub use tensor_file::{TensorFile, TensorType};
pub use weights::{check_base_weights, load_base_weights, load_weights};
pub use write::{copy_companions, save_folder, save_pretrained, save_tensors, write_atomically};

#[cfg(test)]
mod tests;
