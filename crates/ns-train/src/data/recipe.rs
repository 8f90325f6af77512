//! The list of data sources that a recipe can name.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Arithmetic, Dataset, ImageRecipe, TextRecipe};
use crate::error::TrainError;

/// Defines [`DataRecipe`] from a list of sources: a variant and the recipe that it holds.
///
/// Such a recipe has `resolve`, which resolves paths relative to the recipe file, and `dataset`, which reads the
/// examples for the model in a folder, if there is one.
macro_rules! data_sources {
    ($($(#[$doc:meta])* $source:ident($recipe:ty),)*) => {
        /// Recipe of a data set for a task. The key in the recipe selects the kind of data.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum DataRecipe { $($(#[$doc])* $source($recipe),)* }

        impl DataRecipe {
            /// Resolves the path of the data file relative to the recipe file `recipe`.
            pub fn resolve(self, recipe: &Path) -> Self {
                match self { $(Self::$source(source) => Self::$source(source.resolve(recipe)),)* }
            }

            /// Reads the data. Texts need the tokenizer of the model in `model_folder`.
            ///
            /// # Errors
            /// Returns [`TrainError::Setting`] for texts without `model_folder`, [`TrainError::Model`] if the tokenizer
            /// cannot be read, and the errors of [`TextRecipe::read`], [`ImageRecipe::read`] and [`Arithmetic::read`].
            pub fn read(&self, model_folder: Option<&Path>) -> Result<Arc<dyn Dataset>, TrainError> {
                match self { $(Self::$source(source) => Ok(Arc::new(source.dataset(model_folder)?)),)* }
            }
        }
    };
}

data_sources! {
    /// Classified texts: `[data.texts]`.
    Texts(TextRecipe),
    /// Classified images: `[data.images]`.
    Images(ImageRecipe),
    /// Modular arithmetic, whose answer is the next token of a language model: `[data.arithmetic]`.
    Arithmetic(Arithmetic),
}
