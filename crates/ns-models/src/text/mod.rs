//! Encodes texts into batches with the tokenizer of a model folder.
//!
//! `tokenizer.json` defines how a text becomes tokens and `tokenizer_config.json` how rows become a batch, as in
//! `AutoTokenizer.from_pretrained(folder)(texts, padding=True, truncation=True)`. Only the sides and the padding token
//! are read from the sections `padding` and `truncation` of `tokenizer.json`.

mod encoded;
mod settings;
#[cfg(test)]
mod tests;

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use burn::tensor::{Device, TensorData};
use tokenizers::{
    EncodeInput, Encoding, PaddingDirection, PostProcessor, Tokenizer, TruncationDirection, TruncationParams,
};

pub use encoded::{EncodedText, TextBatch, TextPart, TextToken, Word};
use settings::Settings;
pub use settings::usable_positions;

use crate::error::ModelError;
use crate::inputs::{ModelInputs, id_tensor};

const TOKENIZER: &str = "tokenizer.json";

/// Files of HF's slow tokenizers, which have no `tokenizer.json`.
const SLOW_TOKENIZER_FILES: [&str; 6] =
    ["vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model"];

/// The tokenizer of a model folder.
#[derive(Clone)]
pub struct TextTokenizer {
    tokenizer: Tokenizer,
    path: PathBuf,
    settings: Settings,
}

/// How the rows of a tokenizer are padded and truncated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowFormat {
    /// Id of the padding token; `None` if the folder names none.
    pub pad_id: Option<u32>,
    /// Whether rows are padded on the left.
    pub pads_left: bool,
    /// Whether long texts lose their beginning instead of their end.
    pub truncates_left: bool,
    /// Whether the model reads token types. Those of padding are 0.
    pub token_types: bool,
}

impl TextTokenizer {
    /// Reads `tokenizer.json`, and the settings for padding and truncation in `tokenizer_config.json`,
    /// `special_tokens_map.json` and `config.json` if these files exist.
    ///
    /// # Errors
    /// Returns [`ModelError::Tokenizer`] if `tokenizer.json` is missing or invalid, [`ModelError::InvalidJson`] if
    /// another file is invalid, and [`ModelError::Io`] if a file cannot be read.
    pub fn from_folder(folder: impl AsRef<Path>) -> Result<Self, ModelError> {
        let folder = folder.as_ref();
        let path = folder.join(TOKENIZER);
        let mut tokenizer = read_tokenizer(folder, &path)?;
        let settings = Settings::read(folder, &tokenizer)?;
        tokenizer.with_padding(None);
        let mut tokenizer = Self { tokenizer, path, settings };
        tokenizer.set_truncation()?;
        Ok(tokenizer)
    }

    /// Truncates texts to `max_length` tokens, special tokens included. A length above the current limit has no effect.
    ///
    /// # Errors
    /// Returns [`ModelError::Tokenizer`] if the special tokens leave no room for text.
    pub fn with_max_length(mut self, max_length: usize) -> Result<Self, ModelError> {
        self.settings.max_length = Some(self.settings.max_length.map_or(max_length, |limit| limit.min(max_length)));
        self.set_truncation()?;
        Ok(self)
    }

    /// Encodes texts at full length, for a caller that checks [`max_length`](Self::max_length) itself.
    ///
    /// # Errors
    /// Returns [`ModelError::Tokenizer`] if the tokenizer refuses the setting.
    pub fn without_truncation(mut self) -> Result<Self, ModelError> {
        match self.tokenizer.with_truncation(None).err().map(|error| error.to_string()) {
            None => Ok(self),
            Some(reason) => Err(self.error(reason)),
        }
    }

    /// Maximum number of tokens of a row, special tokens included; `None` if there is no limit.
    pub fn max_length(&self) -> Option<usize> {
        self.settings.max_length
    }

    /// Encodes texts with special tokens, truncates them to [`max_length`](Self::max_length), and pads them to the
    /// longest row.
    ///
    /// # Shapes
    /// - tensors of [`TextBatch::inputs`]: `[texts, longest row]`
    ///
    /// # Errors
    /// Returns [`ModelError::InvalidInput`] if there are no texts or no tokens, and [`ModelError::Tokenizer`] if the
    /// texts cannot be tokenized, or need padding and the folder names no padding token.
    pub fn encode<S: AsRef<str>>(&self, texts: &[S], device: &Device) -> Result<TextBatch, ModelError> {
        self.encode_all(texts.iter().map(|text| text.as_ref().into()).collect(), device)
    }

    /// Encodes pairs of texts, one pair per row, in the format of the tokenizer. BERT's is
    /// `[CLS] first [SEP] second [SEP]` with token types 0 and 1. If a pair is too long, its longer text is truncated
    /// first.
    ///
    /// # Shapes
    /// - tensors of [`TextBatch::inputs`]: `[pairs, longest row]`
    ///
    /// # Errors
    /// Returns the errors of [`encode`](Self::encode).
    pub fn encode_pairs<A, B>(&self, pairs: &[(A, B)], device: &Device) -> Result<TextBatch, ModelError>
    where
        A: AsRef<str>,
        B: AsRef<str>,
    {
        self.check_room(true)?;
        self.encode_all(pairs.iter().map(|(a, b)| (a.as_ref(), b.as_ref()).into()).collect(), device)
    }

    /// Encodes texts with special tokens, without padding: for a data set that is encoded once and made into batches
    /// later, in the [`row_format`](Self::row_format).
    ///
    /// # Errors
    /// Returns [`ModelError::Tokenizer`] if the texts cannot be tokenized.
    pub fn encode_rows<S: AsRef<str>>(&self, texts: &[S]) -> Result<Vec<EncodedText>, ModelError> {
        let texts: Vec<EncodeInput<'_>> = texts.iter().map(|text| text.as_ref().into()).collect();
        let encodings = self.encodings(texts)?;
        Ok(encodings.iter().map(EncodedText::new).collect())
    }

    /// Encodes a text without special tokens, for example the answer of a language model.
    ///
    /// # Errors
    /// Returns [`ModelError::Tokenizer`] if the text cannot be tokenized.
    pub fn encode_plain(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        let encoding = self.tokenizer.encode(text, false);
        Ok(encoding.map_err(|error| self.error(format!("encoding failed: {error}")))?.get_ids().to_vec())
    }

    /// Id of the token that hides others from a masked language model (`mask_token`); `None` if the folder names none.
    pub fn mask_id(&self) -> Option<u32> {
        self.settings.mask_id
    }

    /// Id of the token that stands for unknown words; `None` if the tokenizer has none.
    pub fn unknown_id(&self) -> Option<u32> {
        self.settings.unknown_id
    }

    /// How rows are padded and truncated.
    pub fn row_format(&self) -> RowFormat {
        RowFormat {
            pad_id: self.settings.pad_id,
            pads_left: matches!(self.settings.padding, PaddingDirection::Left),
            truncates_left: self.settings.truncation == TruncationDirection::Left,
            token_types: self.settings.token_types,
        }
    }

    /// The text of each token, white space included, so that they concatenate to the text of the row. A token that
    /// holds a part of a character has no text; the last token of the character has all of it.
    pub fn pieces(&self, ids: &[u32]) -> Vec<String> {
        let mut stream = self.tokenizer.decode_stream(false);
        let piece = |id: &u32| match stream.step(*id) {
            Ok(piece) => piece.unwrap_or_default(),
            // The decoder has changed the text before this token.
            Err(_) => self.token(*id).unwrap_or_default(),
        };
        ids.iter().map(piece).collect()
    }

    /// Returns the token with an id, as written in the vocabulary; `None` if there is no such id.
    pub fn token(&self, id: u32) -> Option<String> {
        self.tokenizer.id_to_token(id)
    }

    /// Returns the id of a token, written as in the vocabulary; `None` if there is no such token.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.tokenizer.token_to_id(token)
    }

    /// Size of the vocabulary, added special tokens included.
    pub fn vocab_size(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    fn encode_all(&self, texts: Vec<EncodeInput<'_>>, device: &Device) -> Result<TextBatch, ModelError> {
        let invalid = |what, found: &str, expected: &str| {
            Err(ModelError::InvalidInput { what, found: found.into(), expected: expected.into() })
        };
        if texts.is_empty() {
            return invalid("list of texts", "empty", "a batch needs at least one text");
        }
        let encodings = self.pad(self.encodings(texts)?)?;
        if encodings.iter().all(Encoding::is_empty) {
            return invalid("every text", "empty", "a batch needs at least one token");
        }
        let rows = encodings.iter().map(EncodedText::new).collect::<Vec<_>>();
        Ok(TextBatch::new(self.inputs(&rows, device)?, rows))
    }

    fn encodings(&self, texts: Vec<EncodeInput<'_>>) -> Result<Vec<Encoding>, ModelError> {
        self.tokenizer.encode_batch(texts, true).map_err(|error| self.error(format!("encoding failed: {error}")))
    }

    /// Pads all rows to the length of the longest.
    fn pad(&self, mut encodings: Vec<Encoding>) -> Result<Vec<Encoding>, ModelError> {
        let longest = encodings.iter().map(Encoding::len).max().unwrap_or_default();
        if encodings.iter().all(|encoding| encoding.len() == longest) {
            return Ok(encodings);
        }
        let pad_id = self.settings.pad_id.ok_or_else(|| {
            self.error("texts of unequal length need padding, but there is no padding token; set `pad_token` in tokenizer_config.json")
        })?;
        let token = self.token(pad_id).unwrap_or_default();
        encodings.iter_mut().for_each(|encoding| encoding.pad(longest, pad_id, 0, &token, self.settings.padding));
        Ok(encodings)
    }

    fn inputs(&self, rows: &[EncodedText], device: &Device) -> Result<ModelInputs, ModelError> {
        let tensor = |what, value: fn(&TextToken) -> i64| {
            let values: Vec<_> = rows.iter().flat_map(|row| row.tokens().iter().map(value)).collect();
            let shape = [rows.len(), values.len() / rows.len()];
            id_tensor(what, TensorData::new(values, shape), device)
        };
        let inputs = ModelInputs::new(tensor("token id", |token| token.id.into())?)
            .with_attention_mask(tensor("attention_mask", |token| (!token.padding).into())?);
        match self.settings.token_types {
            true => Ok(inputs.with_token_type_ids(tensor("token_type_ids", |token| token.token_type.into())?)),
            false => Ok(inputs),
        }
    }

    fn set_truncation(&mut self) -> Result<(), ModelError> {
        self.check_room(false)?;
        let truncation = self.settings.max_length.map(|max_length| TruncationParams {
            max_length,
            direction: self.settings.truncation,
            ..TruncationParams::default()
        });
        let failed = self.tokenizer.with_truncation(truncation).err().map(|error| error.to_string());
        failed.map_or(Ok(()), |reason| Err(self.error(reason)))
    }

    /// Checks that the special tokens leave room for text. The crate `tokenizers` subtracts their number from the limit
    /// without checking.
    fn check_room(&self, pair: bool) -> Result<(), ModelError> {
        let special = self.tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(pair));
        match self.settings.max_length {
            Some(limit) if limit <= special => Err(self.error(format!(
                "a maximum length of {limit} token(s) leaves no room for text next to {special} special token(s)"
            ))),
            _ => Ok(()),
        }
    }

    fn error(&self, reason: impl Into<String>) -> ModelError {
        ModelError::Tokenizer { path: self.path.clone(), reason: reason.into() }
    }
}

fn read_tokenizer(folder: &Path, path: &Path) -> Result<Tokenizer, ModelError> {
    let error = |reason: String| ModelError::Tokenizer { path: path.into(), reason };
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Err(error(missing_tokenizer(folder))),
        Err(source) => return Err(ModelError::Io { action: "read", path: path.into(), source }),
    };
    Tokenizer::from_bytes(bytes).map_err(|cause| error(format!("it is not a valid tokenizer: {cause}")))
}

/// Explains how to get a missing `tokenizer.json`.
fn missing_tokenizer(folder: &Path) -> String {
    let slow: Vec<_> = SLOW_TOKENIZER_FILES.into_iter().filter(|name| folder.join(name).exists()).collect();
    match slow.is_empty() {
        true => "no such file; copy the model's tokenizer.json next to config.json".into(),
        false => format!(
            "no such file, only {}; convert the tokenizer once in Python with \
             `AutoTokenizer.from_pretrained(folder, use_fast=True).save_pretrained(folder)`",
            slow.join(", ")
        ),
    }
}
