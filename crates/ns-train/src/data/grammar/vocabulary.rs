//! The words of a grammar, and a tokenizer that knows them.

use std::collections::BTreeSet;
use std::path::Path;

use ns_models::write_atomically;
use serde_json::{Value, json};

use super::model::Model;
use super::template::{Piece, Text};
use crate::error::TrainError;

/// Tokens that are no words, by their ids.
const SPECIAL: [&str; 2] = ["<pad>", "<unk>"];

/// The words of all forms, literal texts and columns.
pub(super) fn words(model: &Model) -> BTreeSet<String> {
    let phrases = model.phrases.iter().flat_map(|phrase| phrase.alternatives.iter().map(|counted| &counted.text));
    let templates = model.templates.iter().map(|template| &template.text.text);
    let columns = model.columns.iter().map(|(_, text)| text);
    let texts = phrases.chain(templates).chain(columns).flat_map(literals);
    let forms = model.classes.iter().flat_map(|class| class.words());
    texts.chain(forms).flat_map(split).map(str::to_owned).collect()
}

fn literals(text: &Text) -> impl Iterator<Item = &str> {
    text.pieces.iter().filter_map(|piece| match piece {
        Piece::Literal(literal) => Some(literal.as_str()),
        _ => None,
    })
}

/// Splits a text as the pre-tokenizer `Whitespace` does (`\w+|[^\w\s]+`): words, and punctuation apart from them.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let runs = text.split_whitespace();
    runs.flat_map(move |run| {
        let (mut parts, mut rest) = (Vec::new(), run);
        while let Some(first) = rest.chars().next() {
            let end = rest.find(|c| is_word(c) != is_word(first)).unwrap_or(rest.len());
            parts.push(&rest[..end]);
            rest = &rest[end..];
        }
        parts
    })
}

/// Writes a tokenizer in Hugging Face's format to a folder: `tokenizer.json` (WordLevel, split at white space and
/// punctuation, without special tokens around a text) and `tokenizer_config.json`. `<pad>` is 0, `<unk>` is 1, and the
/// words follow in their order. Returns the number of tokens. The folder is created if it does not exist.
///
/// # Errors
/// Returns [`TrainError::Io`] if the files cannot be written.
pub fn write_word_tokenizer(folder: impl AsRef<Path>, words: &BTreeSet<String>) -> Result<usize, TrainError> {
    let folder = folder.as_ref();
    std::fs::create_dir_all(folder).map_err(TrainError::io("create", folder))?;
    let tokens = SPECIAL.into_iter().chain(words.iter().map(String::as_str));
    let vocab: serde_json::Map<String, Value> =
        tokens.enumerate().map(|(id, token)| (token.to_owned(), json!(id))).collect();
    let special = SPECIAL.iter().enumerate().map(|(id, token)| {
        json!({
            "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            "special": true,
        })
    });
    let size = vocab.len();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": special.collect::<Vec<_>>(),
        "normalizer": null, "pre_tokenizer": { "type": "Whitespace" }, "post_processor": null, "decoder": null,
        "model": { "type": "WordLevel", "vocab": vocab, "unk_token": SPECIAL[1] },
    });
    let config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast", "pad_token": SPECIAL[0], "unk_token": SPECIAL[1],
        "padding_side": "right",
    });
    for (name, file) in [("tokenizer.json", tokenizer), ("tokenizer_config.json", config)] {
        let path = folder.join(name);
        write_atomically(&path, format!("{file:#}\n").as_bytes()).map_err(TrainError::io("write", &path))?;
    }
    Ok(size)
}
