//! The macro that declares the data sources a recipe can name.

/// Defines [`DataRecipe`] from a list of sources: a variant and the recipe that it holds.
///
/// Such a recipe has `resolve`, which resolves paths relative to the recipe file, and `dataset`, which reads the
/// examples for the model in a folder, if there is one.
macro_rules! data_sources {
    ($($(#[$doc:meta])* $source:ident($recipe:ty),)*) => {
        /// Recipe of a data set for a task. The key in the recipe selects the kind of data.
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum DataRecipe { $($(#[$doc])* $source($recipe),)* }

        impl DataRecipe {
            /// Resolves the path of the data file relative to the recipe file `recipe`.
            pub fn resolve(self, recipe: impl AsRef<Path>) -> Self {
                let recipe = recipe.as_ref();
                match self { $(Self::$source(source) => Self::$source(source.resolve(recipe)),)* }
            }

            /// Reads the data. Texts need the tokenizer of the model in `model_folder`.
            ///
            /// # Errors
            /// Returns [`TrainError::Setting`] for texts without `model_folder`, [`TrainError::Model`] if the tokenizer
            /// cannot be read, and the errors of [`TextRecipe::read`], [`ImageRecipe::read`] and [`Arithmetic::read`].
            pub fn read(&self, model_folder: Option<&Path>) -> Result<std::sync::Arc<dyn Dataset>, TrainError> {
                match self { $(Self::$source(source) => Ok(std::sync::Arc::new(source.dataset(model_folder)?)),)* }
            }
        }
    };
}
