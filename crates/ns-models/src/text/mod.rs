//! Texts to batches, with the tokenizer that a model folder brings.
//!
//! `tokenizer.json` says how a text becomes tokens, and `tokenizer_config.json` how rows become a batch: as
//! `AutoTokenizer.from_pretrained(folder)(texts, padding=True, truncation=True)` does, so of the sections `padding`
//! and `truncation` of `tokenizer.json` only the sides and the padding token count.

mod encoded;
mod settings;
#[cfg(test)]
mod tests;

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use burn::tensor::{Device, Int, Tensor, TensorData};
use tokenizers::{EncodeInput, Encoding, PostProcessor, Tokenizer, TruncationParams};

pub use encoded::{EncodedText, TextBatch, TextPart, TextToken, Word};
use settings::Settings;

use crate::error::ModelError;
use crate::inputs::ModelInputs;

const TOKENIZER: &str = "tokenizer.json";

/// What tokenizers without `tokenizer.json` are made of.
const SLOW: [&str; 6] =
    ["vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model"];

/// The tokenizer of a model folder.
#[derive(Clone)]
pub struct TextTokenizer {
    tokenizer: Tokenizer,
    path: PathBuf,
    settings: Settings,
}

impl TextTokenizer {
    /// Reads `tokenizer.json`, and what `tokenizer_config.json`, `special_tokens_map.json` and `config.json` say about
    /// padding and the longest sequence, if they are there.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] without `tokenizer.json` or for one that is not valid, [`ModelError::Io`], and
    /// [`ModelError::InvalidJson`] for the other files.
    pub fn from_folder(folder: &Path) -> Result<Self, ModelError> {
        let path = folder.join(TOKENIZER);
        let mut tokenizer = read_tokenizer(folder, &path)?;
        let settings = Settings::read(folder, &tokenizer)?;
        tokenizer.with_padding(None);
        let mut read = Self { tokenizer, path, settings };
        read.set_truncation()?;
        Ok(read)
    }

    /// Cuts texts at `max_length` tokens, special tokens included, where that is less than the model can take.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] if the special tokens leave no room.
    pub fn with_max_length(mut self, max_length: usize) -> Result<Self, ModelError> {
        self.settings.max_length = Some(self.settings.max_length.map_or(max_length, |limit| limit.min(max_length)));
        self.set_truncation()?;
        Ok(self)
    }

    /// The longest row, special tokens included; `None` without a limit.
    pub fn max_length(&self) -> Option<usize> {
        self.settings.max_length
    }

    /// Encodes texts with special tokens, cuts what is too long, and pads to the longest.
    ///
    /// # Shapes
    /// - inputs: `[texts.len(), longest]`
    ///
    /// # Errors
    /// [`ModelError::InvalidInput`] without texts or without any token, [`ModelError::Tokenizer`] if the texts cannot
    /// be tokenized, or need padding and there is no padding token.
    pub fn encode<S: AsRef<str>>(&self, texts: &[S], device: &Device) -> Result<TextBatch, ModelError> {
        self.encode_all(texts.iter().map(|text| text.as_ref().into()).collect(), device)
    }

    /// Encodes pairs of texts, each pair a row: `[CLS] first [SEP] second [SEP]` with token types 0 and 1, or as the
    /// family writes it. The longer text of a pair is cut first.
    ///
    /// # Shapes
    /// - inputs: `[pairs.len(), longest]`
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_pairs<A, B>(&self, pairs: &[(A, B)], device: &Device) -> Result<TextBatch, ModelError>
    where
        A: AsRef<str>,
        B: AsRef<str>,
    {
        self.check_room(true)?;
        self.encode_all(pairs.iter().map(|(a, b)| (a.as_ref(), b.as_ref()).into()).collect(), device)
    }

    /// The token of an id, as the vocabulary writes it.
    pub fn token(&self, id: u32) -> Option<String> {
        self.tokenizer.id_to_token(id)
    }

    /// The id of a token, written as in the vocabulary.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.tokenizer.token_to_id(token)
    }

    /// Number of tokens, special tokens included.
    pub fn vocab_size(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    fn encode_all(&self, texts: Vec<EncodeInput<'_>>, device: &Device) -> Result<TextBatch, ModelError> {
        let invalid = |what, found: &str, expected: &str| {
            Err(ModelError::InvalidInput { what, found: found.into(), expected: expected.into() })
        };
        if texts.is_empty() {
            return invalid("list of texts", "empty", "a batch needs at least one");
        }
        let encodings =
            self.tokenizer.encode_batch(texts, true).map_err(|error| self.error(format!("it fails: {error}")))?;
        let encodings = self.pad(encodings)?;
        if encodings.iter().all(Encoding::is_empty) {
            return invalid("every text", "without a token", "a batch needs at least one");
        }
        let rows = encodings.iter().map(EncodedText::new).collect::<Vec<_>>();
        Ok(TextBatch::new(self.inputs(&rows, device), rows))
    }

    fn pad(&self, mut encodings: Vec<Encoding>) -> Result<Vec<Encoding>, ModelError> {
        let longest = encodings.iter().map(Encoding::len).max().unwrap_or_default();
        if encodings.iter().all(|encoding| encoding.len() == longest) {
            return Ok(encodings);
        }
        let pad_id = self.settings.pad_id.ok_or_else(|| {
            self.error("texts of unequal length need padding, but no padding token is known: name one as `pad_token` in tokenizer_config.json")
        })?;
        let token = self.token(pad_id).unwrap_or_default();
        encodings.iter_mut().for_each(|encoding| encoding.pad(longest, pad_id, 0, &token, self.settings.padding));
        Ok(encodings)
    }

    fn inputs(&self, rows: &[EncodedText], device: &Device) -> ModelInputs {
        let tensor = |value: fn(&TextToken) -> i64| {
            let values: Vec<_> = rows.iter().flat_map(|row| row.tokens().iter().map(value)).collect();
            let shape = [rows.len(), values.len() / rows.len()];
            Tensor::<2, Int>::from_data(TensorData::new(values, shape), device)
        };
        let inputs = ModelInputs::new(tensor(|token| token.id.into()))
            .with_attention_mask(tensor(|token| (!token.padding).into()));
        match self.settings.token_types {
            true => inputs.with_token_type_ids(tensor(|token| token.token_type.into())),
            false => inputs,
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

    /// The crate `tokenizers` subtracts the special tokens from the limit without looking.
    fn check_room(&self, pair: bool) -> Result<(), ModelError> {
        let special = self.tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(pair));
        match self.settings.max_length {
            Some(limit) if limit <= special => Err(self.error(format!(
                "sequences of at most {limit} token(s) leave no room for text beside {special} special token(s)"
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
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Err(error(absent(folder))),
        Err(source) => return Err(ModelError::Io { action: "read", path: path.into(), source }),
    };
    Tokenizer::from_bytes(bytes).map_err(|cause| error(format!("it is not valid: {cause}")))
}

/// Why there is no `tokenizer.json`, and what to do.
fn absent(folder: &Path) -> String {
    let slow: Vec<_> = SLOW.into_iter().filter(|name| folder.join(name).exists()).collect();
    match slow.is_empty() {
        true => "there is no such file, and texts need it: put the model's tokenizer.json beside config.json".into(),
        false => format!(
            "there is no such file, only {}: convert them once in Python with \
             `AutoTokenizer.from_pretrained(folder, use_fast=True).save_pretrained(folder)`",
            slow.join(", ")
        ),
    }
}
