//! The data that models and probes are trained on: arithmetic, and tables of texts, words and images. All of it stays on
//! the host.

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
pub(crate) use next_token::{last_logits, last_logits_after};
pub use split::{RowSplit, SplitRecipe};
pub use table::Table;
pub use task_data::{DataRecipe, TaskBatch, TaskData};
pub use text_classification::{TextClassification, TextRecipe};
pub use word_labels::{WordLabels, WordRecipe};

use std::path::{Path, PathBuf};

/// A path of a recipe, relative to the recipe.
fn beside(recipe: &Path, path: &Path) -> PathBuf {
    recipe.parent().map_or_else(|| path.into(), |folder| folder.join(path))
}

fn text_column() -> String {
    "text".into()
}

fn label_column() -> String {
    "label".into()
}

/// What the tests of the readers share.
#[cfg(test)]
mod fixtures {
    use std::path::PathBuf;

    /// A file that the project ships.
    pub(super) fn shipped(path: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../models").join(path)
    }

    /// A file with these contents, and the folder that it lives as long as.
    pub(super) fn file(name: &str, contents: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, contents).unwrap();
        (folder, path)
    }

    /// How many of `rows` have each of `classes` labels.
    pub(super) fn counts(labels: &[usize], rows: &[usize], classes: usize) -> Vec<usize> {
        let mut counts = vec![0; classes];
        rows.iter().for_each(|row| counts[labels[*row]] += 1);
        counts
    }
}
