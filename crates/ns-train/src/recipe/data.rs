//! `[data]`: the examples of a recipe, the positions that are read, the label and the sets.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::behaviour::AnswerColumns;
use crate::data::Operation;
use crate::error::TrainError;

/// Name of a column of the table.
pub type Column = String;

/// `[data]`: one source (`path`, `arithmetic` or `grammar`), how its rows become inputs, and what is read and predicted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DataSection {
    /// A table: `.csv`, `.tsv`, `.jsonl` or `.parquet`, relative to the recipe; a plain text file, `.txt`, with one text per
    /// line; or one table per set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Files>,
    /// Modular arithmetic: all pairs `a b =`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arithmetic: Option<ArithmeticSource>,
    /// A grammar (TOML) that generates sentences, relative to the recipe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grammar: Option<PathBuf>,
    /// A table in place of the dev, test and ood sets of a grammar. Recipes do not have it; `evaluate` sets it.
    #[serde(skip)]
    #[schemars(skip)]
    pub other_test: Option<PathBuf>,
    /// Column with the text. By default `text` for a plain text file and `sentence` for a grammar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<Column>,
    /// Column with token ids: separated by spaces, or a JSON list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Column>,
    /// Column with the path of an image file, relative to the table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Column>,
    /// Columns `p0`, `p1`, … with the pixels of a grey image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pixels: Option<Pixels>,
    /// The positions that are read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<Read>,
    /// Column with the variable. Without it, the kinds `model` and `circuit` predict the tokens of the texts. For arithmetic
    /// its name: `a2`, `minus_b2`, `a_plus_b`, `a_minus_b` or `answer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<Column>,
    /// Whether the label is a number to predict instead of a class. Linear probes only.
    #[serde(skip_serializing_if = "is_false")]
    pub numeric: bool,
    /// The division of one table into sets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
    /// The counterfactual input of each row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partner: Option<Partner>,
    /// Whether texts longer than the model are cut. Otherwise they are an error.
    #[serde(skip_serializing_if = "is_false")]
    pub truncate: bool,
    /// Height and width of the images. By default those of the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<[usize; 2]>,
    /// Columns with the answers of a language model, from `[behaviour]`.
    #[serde(skip)]
    #[schemars(skip)]
    pub answers: Option<AnswerColumns>,
}

/// One table, or one per set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Files {
    /// One table; `split` divides it.
    One(PathBuf),
    /// A table per set.
    Sets(SetFiles),
}

/// One table per set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetFiles {
    /// The training set.
    pub train: PathBuf,
    /// The development set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<PathBuf>,
    /// The test set.
    pub test: PathBuf,
    /// A set out of distribution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ood: Option<PathBuf>,
}

/// Modular arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArithmeticSource {
    /// The task.
    pub task: Operation,
    /// The modulus; there are `modulus²` examples.
    pub modulus: usize,
}

/// Grey images in columns of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pixels {
    /// Height and width.
    pub shape: [usize; 2],
    /// Largest pixel value. Pixels are divided by it.
    pub maximum: f32,
}

/// The positions of a sequence that are read. Tokens that the tokenizer adds and padding are not counted, unless
/// `special` is set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Read {
    /// `"last"`, `"first"` or `"all"`.
    Named(Named),
    /// A table of one rule.
    At(ReadAt),
}

/// A rule without an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Named {
    /// The last token.
    Last,
    /// The first token; for images the class token.
    First,
    /// All tokens; for images the patches.
    All,
}

/// A rule with an argument. Exactly one of `index`, `span`, `word` and `position` is given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReadAt {
    /// Number of the token, from 0; negative numbers count from the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<i64>,
    /// Columns with start and end of a part of the text, in code points; the end is exclusive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span: Option<[Column; 2]>,
    /// Column with a word that occurs exactly once in the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub word: Option<Column>,
    /// Column with the number of the token, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<Column>,
    /// Which tokens of the span or word are read; `last` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// Whether tokens that the tokenizer adds are counted.
    #[serde(skip_serializing_if = "is_false")]
    pub special: bool,
}

/// Which tokens of a span or word are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Token {
    /// The first.
    First,
    /// The last.
    #[default]
    Last,
    /// All, with the same label.
    All,
    /// The mean of their vectors.
    Mean,
}

/// The division of one table into sets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Split {
    /// A column that says `train`, `dev`, `test` or `ood`.
    Column(Column),
    /// A seeded sample. What train and dev leave is the test set.
    Seeded {
        /// Share of the training set.
        train: f64,
        /// Share of the development set.
        #[serde(default)]
        dev: f64,
        /// Seed of the sample.
        #[serde(default)]
        seed: u64,
        /// Column whose values stay in one set, for example the word.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<Column>,
    },
}

/// The counterfactual input of each row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Partner {
    /// A column with the text, the token ids or the path of the image file, as the input of the row.
    Column(Column),
    /// Another row of the same set, by a permutation without fixed points.
    Derange {
        /// The permutation.
        derange: Derange,
    },
}

/// A seeded permutation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Derange {
    /// Seed of the permutation.
    pub seed: u64,
}

impl DataSection {
    /// Makes paths relative to the recipe file absolute or relative to the working directory.
    pub fn resolve(self, recipe: &Path) -> Self {
        let resolve = |path: PathBuf| recipe.parent().map_or_else(|| path.clone(), |folder| folder.join(&path));
        let path = self.path.map(|files| match files {
            Files::One(path) => Files::One(resolve(path)),
            Files::Sets(SetFiles { train, dev, test, ood }) => Files::Sets(SetFiles {
                train: resolve(train),
                dev: dev.map(resolve),
                test: resolve(test),
                ood: ood.map(resolve),
            }),
        });
        let grammar = self.grammar.map(resolve);
        Self { path, grammar, ..self }
    }

    /// The same training examples with the table `test` as the test set, in place of the other sets. It has the same
    /// columns, but none for the split.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] if the source is neither a table nor a grammar.
    pub(crate) fn with_test(&self, test: &Path) -> Result<Self, TrainError> {
        if self.grammar.is_some() {
            return Ok(Self { other_test: Some(test.into()), ..self.clone() });
        }
        let train = match &self.path {
            Some(Files::One(path)) => path.clone(),
            Some(Files::Sets(files)) => files.train.clone(),
            None => return Err(TrainError::setting("data", "no table", "only a table can have another test set")),
        };
        let files = SetFiles { train, dev: None, test: test.into(), ood: None };
        Ok(Self { path: Some(Files::Sets(files)), ..self.clone() })
    }

    /// The column of the text if the source has no other: plain text files have one column.
    pub(crate) fn implied_text(&self) -> Option<&'static str> {
        let others = self.tokens.is_some() || self.image.is_some() || self.pixels.is_some();
        let first = match self.path.as_ref()? {
            Files::One(path) => path,
            Files::Sets(files) => &files.train,
        };
        let plain = first.extension().is_some_and(|extension| extension == "txt");
        (plain && !others).then_some("text")
    }

    /// The source as the recipe writes it, for results.
    pub fn name(&self) -> String {
        match (&self.arithmetic, &self.path) {
            (Some(ArithmeticSource { task, modulus }), _) => {
                let task = serde_json::to_value(task).unwrap_or_default();
                format!("{} mod {modulus}", task.as_str().unwrap_or_default())
            }
            (None, Some(Files::One(path))) => path.display().to_string(),
            (None, Some(Files::Sets(files))) => {
                let paths = [Some(&files.train), files.dev.as_ref(), Some(&files.test), files.ood.as_ref()];
                paths.into_iter().flatten().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ")
            }
            (None, None) => self.grammar.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
        }
    }
}

fn is_false(value: &bool) -> bool {
    !value
}
