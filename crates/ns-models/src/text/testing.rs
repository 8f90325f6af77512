//! Small tokenizers for tests.

use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder with these JSON files.
pub(super) fn folder_with(files: &[(&str, &Value)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content.to_string()).unwrap();
    }
    folder
}

/// BERT's: lower case without accents, word pieces, `[CLS] text [SEP]`. Its sections `padding` and `truncation` would
/// show if they were followed.
pub(super) fn word_pieces() -> Value {
    let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "##s", "caf", "##e", "sat", "猫", "."];
    let vocab: serde_json::Map<_, _> =
        words.into_iter().enumerate().map(|(id, word)| (word.to_string(), json!(id))).collect();
    json!({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
        "padding": {
            "strategy": {"Fixed": 20}, "direction": "Left", "pad_to_multiple_of": null, "pad_id": 9,
            "pad_type_id": 0, "pad_token": "sat",
        },
        "added_tokens": (0..4).map(|id| json!({
            "id": id, "content": words[id], "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true,
        })).collect::<Vec<_>>(),
        "normalizer": {
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
            "lowercase": true,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab,
        },
    })
}

/// GPT-2's: bytes as tokens, no special tokens but the end of a text, which is not added.
pub(super) fn bytes() -> Value {
    let letters = ["<|endoftext|>", "a", "b", "Ġ", "Ã", "©", "ð", "Ł", "ĺ", "Ģ"];
    let vocab: serde_json::Map<_, _> =
        letters.into_iter().enumerate().map(|(id, letter)| (letter.to_string(), json!(id))).collect();
    json!({
        "version": "1.0",
        "added_tokens": [{
            "id": 0, "content": "<|endoftext|>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": true, "special": true,
        }],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true},
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    })
}
