//! The data that models and probes are trained on: modular arithmetic, and texts, words and images in tables. Data sets
//! are in host memory; only batches are on the device.

mod arithmetic;
mod next_token;

mod classes;
mod shuffled;
mod split;
mod table;

mod images;
mod task_data;
mod text_classification;
mod word_labels;

pub use arithmetic::{Arithmetic, Examples, Operation, Split, Variable};
pub use images::{ImageRecipe, LabelledImages, Normalization};
pub(crate) use next_token::{last_logits, last_logits_after, last_logits_with};
pub use split::{RowSplit, SplitRecipe};
pub use table::Table;
pub use task_data::{DataRecipe, TaskBatch, TaskData};
pub use text_classification::{TextClassification, TextRecipe};
pub use word_labels::{WordLabels, WordRecipe};

use std::path::{Path, PathBuf};

/// Resolves a path in a recipe, which is relative to the recipe file `recipe`.
fn relative_to(recipe: &Path, path: &Path) -> PathBuf {
    recipe.parent().map_or_else(|| path.into(), |folder| folder.join(path))
}

fn text_column() -> String {
    "text".into()
}

fn label_column() -> String {
    "label".into()
}

/// Helpers for the tests of this module.
#[cfg(test)]
mod fixtures {
    use std::path::PathBuf;

    /// Path of a file in the `models` folder of the workspace.
    pub(super) fn shipped(path: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../models").join(path)
    }

    /// Writes a file to a temporary folder. The file is deleted when the returned folder is dropped.
    pub(super) fn file(name: &str, contents: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, contents).unwrap();
        (folder, path)
    }

    /// Number of `rows` per label, for labels below `classes`.
    pub(super) fn counts(labels: &[usize], rows: &[usize], classes: usize) -> Vec<usize> {
        let mut counts = vec![0; classes];
        rows.iter().for_each(|row| counts[labels[*row]] += 1);
        counts
    }
}
