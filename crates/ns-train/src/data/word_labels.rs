//! Classified words in sentences, read from a table: the data of subnetwork probes.

use std::ops::Range;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use ns_probe::ProbeBatch;
use serde::{Deserialize, Serialize};

use super::dataset::{Dataset, Tokenized};
use super::{LabelledRows, SplitRecipe, Table, label_column, relative_to, shuffled, text_column};
use crate::error::TrainError;

/// Recipe of a data set of classified words in sentences.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WordRecipe {
    /// Path of a table (`.csv`, `.tsv`, `.jsonl` or `.parquet`), relative to the recipe.
    pub path: PathBuf,
    /// Name of the column with the sentence.
    #[serde(default = "text_column")]
    pub text: String,
    /// Name of the column with the byte offset at which the word starts in the sentence.
    #[serde(default = "start_column")]
    pub start: String,
    /// Name of the column with the byte offset after the last byte of the word.
    #[serde(default = "end_column")]
    pub end: String,
    /// Name of the column with the type of the word, e.g. its lemma.
    #[serde(default = "word_column")]
    pub word: String,
    /// Name of the column with the class.
    #[serde(default = "label_column")]
    pub label: String,
    /// Division into training and test rows.
    pub split: SplitRecipe,
    /// Names of the classes, in the order of their indices. By default the sorted classes of the training rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
}

fn start_column() -> String {
    "start".into()
}

fn end_column() -> String {
    "end".into()
}

fn word_column() -> String {
    "word".into()
}

/// Words in sentences with one class each; one word per row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WordLabels {
    /// The sentences.
    pub texts: Vec<String>,
    /// Byte range of the word in each sentence.
    pub spans: Vec<Range<usize>>,
    /// Type of each word, in lower case, e.g. its lemma.
    pub words: Vec<String>,
    /// Class, and side of the split, of each word.
    pub rows: LabelledRows,
}

impl WordRecipe {
    /// Resolves the path relative to the recipe file `recipe`.
    pub fn resolve(self, recipe: impl AsRef<Path>) -> Self {
        Self { path: relative_to(recipe.as_ref(), &self.path), ..self }
    }

    /// Reads the words.
    ///
    /// # Errors
    /// Returns [`TrainError::Data`] for a byte range that is not a non-empty part of its sentence,
    /// [`TrainError::UnknownClass`] for a row with an unknown class, [`TrainError::UntrainedClass`] for a class without
    /// training rows, and the errors of [`Table::read_columns`] and [`SplitRecipe::split`].
    pub fn read(&self) -> Result<WordLabels, TrainError> {
        let columns = [&self.text, &self.start, &self.end, &self.word, &self.label].map(String::as_str);
        let columns = columns.into_iter().chain(self.split.column());
        let table = Table::read_columns(&self.path, &columns.collect::<Vec<_>>())?;
        let rows = LabelledRows::read(&table, &self.label, self.classes.as_deref(), &self.split)?;
        let texts: Vec<String> = table.column(&self.text)?.iter().map(Into::into).collect();
        let spans = self.spans(&table, &texts)?;
        let words = table.column(&self.word)?.iter().map(str::to_lowercase).collect();
        Ok(WordLabels { texts, spans, words, rows })
    }

    /// The byte range of the word in each row.
    fn spans(&self, table: &Table, texts: &[String]) -> Result<Vec<Range<usize>>, TrainError> {
        let (starts, ends) = (table.column(&self.start)?, table.column(&self.end)?);
        let bytes = starts.iter().zip(ends.iter()).zip(texts).enumerate();
        bytes.map(|(row, ((start, end), text))| span(table, row, start, end, text)).collect()
    }
}

/// Parses and checks the byte range of a word.
fn span(table: &Table, row: usize, start: &str, end: &str, text: &str) -> Result<Range<usize>, TrainError> {
    let span = start.parse().ok().zip(end.parse().ok()).map(|(start, end)| start..end);
    span.filter(|span| text.get(span.clone()).is_some_and(|word| !word.is_empty())).ok_or_else(|| {
        let expected = format!("it must be a non-empty range of whole characters of the {}-byte text", text.len());
        table.invalid(row, "the word's span", format!("{start}..{end}"), expected)
    })
}

impl Dataset for Tokenized<WordLabels> {
    fn rows(&self) -> &LabelledRows {
        &self.data.rows
    }

    /// The sentences, padded to the longest. The last token of each word is read.
    fn batch(&self, rows: &[usize], device: &Device) -> Result<ProbeBatch, TrainError> {
        let texts: Vec<&str> = rows.iter().map(|row| self.data.texts[*row].as_str()).collect();
        self.encode(&texts, self.labels(rows), device, |batch, sequence| {
            let span = self.data.spans[rows[sequence]].clone();
            let last = batch.tokens_of(sequence, span.clone()).map(|tokens| tokens.end - 1);
            let found = || format!("bytes {span:?} of `{}`", texts[sequence]);
            let expected = "no token of the tokenised (and possibly truncated) text covers them";
            last.ok_or_else(|| TrainError::setting("word", found(), expected))
        })
    }
}

impl WordLabels {
    /// The word of a row, as written in the sentence; `None` if there is no such row.
    pub fn word_at(&self, row: usize) -> Option<&str> {
        self.texts.get(row)?.get(self.spans.get(row)?.clone())
    }

    /// A control data set: each word *type* gets one class, sampled from the classes of the training rows. A probe can
    /// memorise the types of the training rows, but cannot predict the classes of other types.
    pub fn shuffled(&self, seed: u64) -> Self {
        Self { rows: shuffled::by_type(&self.rows, &self.words, seed), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{counts, file, shipped};
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn examples() -> WordLabels {
        let recipe: WordRecipe = toml::from_str("path = \"examples.csv\"\nsplit = { column = \"split\" }").unwrap();
        recipe.resolve(shipped("wordnet/probe.toml")).read().unwrap()
    }

    /// Reads training rows. The first is the test row as well.
    fn read(rows: &str) -> Result<WordLabels, TrainError> {
        let train: String = rows.lines().map(|row| format!("{row},train\n")).collect();
        let test = format!("{},test\n", rows.lines().next().unwrap());
        let (_folder, path) = file("a.csv", format!("text,start,end,label,word,split\n{train}{test}"));
        toml::from_str::<WordRecipe>("path = \"\"\nsplit = { column = \"split\" }")
            .map(|recipe| WordRecipe { path, ..recipe })
            .unwrap()
            .read()
    }

    #[test]
    fn spans_are_bytes() {
        let data = read("the café is dear,4,9,noun,Café\nthe café is dear,13,17,adj,dear\n").unwrap();
        assert_eq!((data.word_at(0), data.word_at(1), data.word_at(3)), (Some("café"), Some("dear"), None));
        assert_eq!((&data.words[..2], &data.rows.labels[..2]), (&["café".to_string(), "dear".into()][..], &[1, 0][..]));
    }

    #[test]
    fn a_span_that_cuts_no_word_is_found() {
        for span in ["4,8", "4,99", "9,4", "4,4", "-1,3", "x,3", "3,"] {
            let error = read(&format!("fine,0,4,a,fine\nthe café,{span},a,b\n")).unwrap_err();
            assert!(matches!(&error, TrainError::Data { line: Some(3), what: "the word's span", .. }), "{error}");
        }
    }

    #[test]
    fn the_examples_are_balanced() {
        let data = examples();
        assert_eq!(data.rows.classes, ["adjective", "adverb", "noun", "verb"]);
        assert_eq!(counts(&data.rows.labels, &data.rows.split.train, 4), [700; 4]);
        assert_eq!(counts(&data.rows.labels, &data.rows.split.test, 4), [200; 4]);
        assert_eq!(data.texts.iter().collect::<BTreeSet<_>>().len(), 3600);
        assert!(data.texts.iter().all(|text| (3..=20).contains(&text.split_whitespace().count())));
    }

    #[test]
    fn the_examples_spans_cut_words() {
        let data = examples();
        for row in 0..data.texts.len() {
            let (text, span) = (&data.texts[row], &data.spans[row]);
            let letter = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
            let word = data.word_at(row).unwrap();
            assert!(word.bytes().all(|byte| byte.is_ascii_alphabetic()), "{text}: {word}");
            let before = span.start.checked_sub(1).and_then(|byte| text.as_bytes().get(byte));
            assert!(!letter(before) && !letter(text.as_bytes().get(span.end)), "{text}: {word}");
        }
    }

    #[test]
    fn no_type_and_no_form_of_the_examples_is_on_both_sides() {
        let data = examples();
        let types = |rows: &[usize]| rows.iter().map(|row| data.words[*row].clone()).collect::<BTreeSet<_>>();
        let forms =
            |rows: &[usize]| rows.iter().map(|row| data.word_at(*row).unwrap().to_lowercase()).collect::<BTreeSet<_>>();
        let (train, test) = (types(&data.rows.split.train), types(&data.rows.split.test));
        assert_eq!((train.len(), test.len()), (1425, 422));
        assert!(train.is_disjoint(&test));
        assert!(forms(&data.rows.split.train).is_disjoint(&forms(&data.rows.split.test)));
    }

    #[test]
    fn a_fair_share_of_the_examples_is_ambiguous() {
        let data = examples();
        for (rows, expected) in [(&data.rows.split.train, (280, 1172)), (&data.rows.split.test, (69, 298))] {
            let mut parts: BTreeMap<&str, (BTreeSet<usize>, usize)> = BTreeMap::new();
            for row in rows {
                let (labels, count) = parts.entry(&data.words[*row]).or_default();
                labels.insert(data.rows.labels[*row]);
                *count += 1;
            }
            let several: Vec<usize> =
                parts.values().filter(|(labels, _)| labels.len() > 1).map(|part| part.1).collect();
            assert_eq!((several.len(), several.iter().sum::<usize>()), expected);
        }
    }

    #[test]
    fn the_control_has_one_class_a_type() {
        let data = examples();
        let control = data.shuffled(0);
        let mut classes: BTreeMap<&str, usize> = BTreeMap::new();
        for (word, label) in control.words.iter().zip(&control.rows.labels) {
            assert_eq!(classes.entry(word).or_insert(*label), label, "{word}");
        }
        assert!(
            counts(&control.rows.labels, &control.rows.split.train, 4).iter().all(|rows| (600..800).contains(rows))
        );
        let kept = data.rows.labels.iter().zip(&control.rows.labels).filter(|(left, right)| left == right).count();
        assert!((750..1050).contains(&kept), "{kept} of 3600");
    }
}
