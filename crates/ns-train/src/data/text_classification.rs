//! Classified texts, read from a table.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use ns_probe::ProbeBatch;
use serde::{Deserialize, Serialize};

use super::dataset::{Dataset, Tokenized};
use super::{LabelledRows, SplitRecipe, Table, label_column, relative_to, shuffled, text_column};
use crate::error::TrainError;

/// Recipe of a data set of classified texts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextRecipe {
    /// Path of a table (`.csv`, `.tsv`, `.jsonl` or `.parquet`), relative to the recipe.
    pub path: PathBuf,
    /// Name of the column with the text.
    #[serde(default = "text_column")]
    pub text: String,
    /// Name of the column with the class.
    #[serde(default = "label_column")]
    pub label: String,
    /// Division into training and test rows.
    pub split: SplitRecipe,
    /// Names of the classes, in the order of their indices. By default the sorted classes of the training rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
}

/// Texts with one class each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextClassification {
    /// The texts.
    pub texts: Vec<String>,
    /// Class, and side of the split, of each text.
    pub rows: LabelledRows,
}

impl TextRecipe {
    /// Resolves the path relative to the recipe file `recipe`.
    pub fn resolve(self, recipe: impl AsRef<Path>) -> Self {
        Self { path: relative_to(recipe.as_ref(), &self.path), ..self }
    }

    /// Reads the texts.
    ///
    /// # Errors
    /// Returns [`TrainError::UnknownClass`] for a row with an unknown class, [`TrainError::UntrainedClass`] for a class
    /// without training rows, and the errors of [`Table::read_columns`] and [`SplitRecipe::split`].
    pub fn read(&self) -> Result<TextClassification, TrainError> {
        let columns = [&*self.text, &*self.label].into_iter().chain(self.split.column());
        let table = Table::read_columns(&self.path, &columns.collect::<Vec<_>>())?;
        let rows = LabelledRows::read(&table, &self.label, self.classes.as_deref(), &self.split)?;
        let texts = table.column(&self.text)?.iter().map(Into::into).collect();
        Ok(TextClassification { texts, rows })
    }

    /// The texts with the tokenizer of the model in `model_folder`.
    pub(super) fn dataset(&self, model_folder: Option<&Path>) -> Result<Tokenized<TextClassification>, TrainError> {
        let expected = "texts need the tokenizer of a model folder";
        let folder = model_folder.ok_or_else(|| TrainError::setting("model", "a configuration", expected))?;
        Tokenized::new(self.read()?, folder)
    }
}

impl Dataset for Tokenized<TextClassification> {
    fn rows(&self) -> &LabelledRows {
        &self.data.rows
    }

    /// The texts, padded to the longest. The last token of each text, special tokens included, is read.
    fn batch(&self, rows: &[usize], device: &Device) -> Result<ProbeBatch, TrainError> {
        let texts: Vec<&str> = rows.iter().map(|row| self.data.texts[*row].as_str()).collect();
        self.encode(&texts, self.labels(rows), device, |batch, sequence| {
            Ok(batch.rows()[sequence].tokens().iter().rposition(|token| !token.padding).unwrap_or_default())
        })
    }
}

impl TextClassification {
    /// A control data set: the labels are permuted among the training texts, and among the test texts.
    pub fn shuffled(&self, seed: u64) -> Self {
        Self { rows: shuffled::permuted(&self.rows, seed), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{counts, file, shipped, write_tokenizer};
    use super::*;
    use std::collections::BTreeSet;

    fn glosses() -> TextClassification {
        let recipe: TextRecipe = toml::from_str("path = \"glosses.csv\"\nsplit = { column = \"split\" }").unwrap();
        recipe.resolve(shipped("wordnet/train.toml")).read().unwrap()
    }

    #[test]
    fn columns_are_named_by_the_recipe() {
        let row = |text: &str, label: usize, side: &str| {
            serde_json::json!({ "s": text, "y": label, "side": side }).to_string() + "\n"
        };
        let rows = [row("x", 1, "train"), row("z", 0, "train"), row("w", 0, "test")].concat();
        let (_folder, path) = file("a.jsonl", rows);
        let recipe = TextRecipe {
            path,
            text: "s".into(),
            label: "y".into(),
            split: SplitRecipe::Column("side".into()),
            classes: Some(vec!["no".into(), "yes".into()]),
        };
        let data = recipe.read().unwrap();
        assert_eq!((data.texts.concat(), data.rows.labels), ("xzw".to_string(), vec![1, 0, 0]));
        let missing = TextRecipe { text: "t".into(), ..recipe };
        assert!(matches!(missing.read(), Err(TrainError::DataColumn { .. })));
    }

    #[test]
    fn a_misspelt_key_is_named() {
        let error = toml::from_str::<TextRecipe>("path = \"a.csv\"\nlabels = \"y\"").unwrap_err().to_string();
        assert!(error.contains("labels"), "{error}");
    }

    #[test]
    fn the_glosses_are_balanced_and_apart() {
        let data = glosses();
        let names = "animal artifact body feeling food location person plant substance time";
        assert_eq!(data.rows.classes, names.split(' ').map(|name| format!("noun.{name}")).collect::<Vec<_>>());
        assert_eq!(counts(&data.rows.labels, &data.rows.split.train, 10), [150; 10]);
        assert_eq!(counts(&data.rows.labels, &data.rows.split.test, 10), [50; 10]);
        assert_eq!(data.texts.iter().collect::<BTreeSet<_>>().len(), 2000);
        assert!(data.texts.iter().all(|text| (4..=25).contains(&text.split_whitespace().count())));
    }

    #[test]
    fn the_control_moves_labels_only() {
        let data = glosses();
        let control = data.shuffled(0);
        assert_eq!(counts(&control.rows.labels, &control.rows.split.test, 10), [50; 10]);
        let kept = data.rows.labels.iter().zip(&control.rows.labels).filter(|(left, right)| left == right).count();
        assert!((120..300).contains(&kept), "{kept} of 2000");
        assert_eq!(LabelledRows { labels: data.rows.labels.clone(), ..control.rows }, data.rows);
        assert_eq!(control.texts, data.texts);
    }

    #[test]
    fn a_batch_reads_the_last_token_before_the_padding() {
        let (folder, path) = file("a.csv", "text,label,side\na b c,x,train\nd,y,train\na,x,test\n");
        std::fs::write(folder.path().join("config.json"), "{\"model_type\": \"gpt2\"}").unwrap();
        write_tokenizer(folder.path());
        let recipe: TextRecipe = toml::from_str("path = \"\"\nsplit = { column = \"side\" }").unwrap();
        let recipe = TextRecipe { path, ..recipe };
        let batch = recipe.dataset(Some(folder.path())).unwrap().batch(&[1, 0], &Device::default()).unwrap();
        let ids: Vec<i64> = batch.inputs.tokens().unwrap().to_data().iter().collect();
        assert_eq!((ids, batch.labels), (vec![5, 0, 0, 2, 3, 4], vec![1, 0]));
        assert_eq!(batch.token_mask, [true, false, false, false, false, true]);
        assert!(recipe.dataset(None).err().unwrap().to_string().contains("tokenizer of a model folder"));
    }
}
