//! Tests of [`TextTokenizer`] with small tokenizers: BERT's WordPiece and GPT-2's byte-level BPE.

use burn::tensor::{Device, Int, Tensor};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{TextBatch, TextPart, TextTokenizer};
use crate::error::ModelError;
use crate::inputs::ModelInputs;

/// A temporary folder with these JSON files.
pub(super) fn folder_with(files: &[(&str, &Value)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content.to_string()).unwrap();
    }
    folder
}

/// A tokenizer like BERT's: lower case without accents, WordPiece, `[CLS] text [SEP]`. Its sections `padding` and
/// `truncation` have settings that would show in the results if they were used.
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

/// A tokenizer like GPT-2's: byte-level BPE. Its only special token is the end of the text, which it does not add.
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

fn bert_folder() -> TempDir {
    folder_with(&[
        ("tokenizer.json", &word_pieces()),
        ("tokenizer_config.json", &json!({"pad_token": "[PAD]", "padding_side": "right", "model_max_length": 512})),
        ("config.json", &json!({"model_type": "bert", "max_position_embeddings": 8})),
    ])
}

fn bert() -> TextTokenizer {
    TextTokenizer::from_folder(bert_folder().path()).unwrap()
}

fn gpt2() -> TextTokenizer {
    let config = json!({"model_type": "gpt2", "n_positions": 64, "eos_token_id": 0});
    let folder = folder_with(&[("tokenizer.json", &bytes()), ("config.json", &config)]);
    TextTokenizer::from_folder(folder.path()).unwrap()
}

fn device() -> Device {
    Device::default()
}

fn rows(tensor: &Tensor<2, Int>) -> Vec<Vec<i64>> {
    let values: Vec<i64> = tensor.to_data().iter().collect();
    values.chunks(tensor.dims()[1]).map(<[i64]>::to_vec).collect()
}

fn ids(inputs: &ModelInputs) -> Vec<Vec<i64>> {
    rows(inputs.tokens().unwrap())
}

fn tokens(batch: &TextBatch, row: usize) -> Vec<&str> {
    batch.rows()[row].tokens().iter().map(|token| token.token.as_str()).collect()
}

fn error_of(files: &[(&str, &Value)]) -> ModelError {
    TextTokenizer::from_folder(folder_with(files).path()).err().unwrap()
}

mod batches {
    use super::*;

    #[test]
    fn rows_are_padded_to_the_longest_and_not_as_tokenizer_json_says() {
        let batch = bert().encode(&["The cats sat", "cat"], &device()).unwrap();
        assert_eq!(ids(&batch.inputs), [[2, 4, 5, 6, 9, 3], [2, 5, 3, 0, 0, 0]]);
        assert_eq!(rows(&batch.inputs.attention_mask.unwrap()), [[1; 6], [1, 1, 1, 0, 0, 0]]);
        assert_eq!(rows(&batch.inputs.token_type_ids.unwrap()), [[0; 6]; 2]);
    }

    #[test]
    fn texts_are_cut_at_the_models_positions_and_keep_their_special_tokens() {
        let batch = bert().encode(&["cat cat cat cat cat cat cat cat cat"], &device()).unwrap();
        assert_eq!(ids(&batch.inputs), [[2, 5, 5, 5, 5, 5, 5, 3]]);
        assert_eq!(bert().max_length(), Some(8));
    }

    #[test]
    fn a_shorter_length_can_be_asked_for_and_a_longer_one_not() {
        let short = bert().with_max_length(4).unwrap();
        assert_eq!(ids(&short.encode(&["cat cat cat"], &device()).unwrap().inputs), [[2, 5, 5, 3]]);
        assert_eq!(bert().with_max_length(1000).unwrap().max_length(), Some(8));
    }

    #[test]
    fn pairs_have_token_types_and_lose_the_longer_text_first() {
        let batch = bert().encode_pairs(&[("cat", "the cats sat."), ("cat", "the")], &device()).unwrap();
        assert_eq!(ids(&batch.inputs), [[2, 5, 3, 4, 5, 6, 9, 3], [2, 5, 3, 4, 3, 0, 0, 0]]);
        let types = rows(&batch.inputs.token_type_ids.unwrap());
        assert_eq!(types, [[0, 0, 0, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 0, 0, 0]]);
    }

    #[test]
    fn left_padding_and_left_truncation_where_the_folder_says_so() {
        let config = json!({"padding_side": "left", "truncation_side": "left", "model_max_length": 4});
        let folder = folder_with(&[("tokenizer.json", &word_pieces()), ("tokenizer_config.json", &config)]);
        let batch =
            TextTokenizer::from_folder(folder.path()).unwrap().encode(&["the cat sat", "cat"], &device()).unwrap();
        // No other file has a `pad_token`, so the id comes from the section `padding`.
        assert_eq!(ids(&batch.inputs), [[2, 5, 9, 3], [9, 2, 5, 3]]);
        assert_eq!(rows(&batch.inputs.attention_mask.clone().unwrap()), [[1; 4], [0, 1, 1, 1]]);
        assert!(batch.inputs.token_type_ids.is_none());
        assert_eq!(batch.tokens_of(1, 0..3), Some(2..3));
    }

    #[test]
    fn gpt2_has_no_special_tokens_and_pads_with_the_end_of_text() {
        let batch = gpt2().encode(&["ab b", "a"], &device()).unwrap();
        assert_eq!(ids(&batch.inputs), [[1, 2, 3, 2], [1, 0, 0, 0]]);
        assert_eq!(rows(&batch.inputs.attention_mask.unwrap()), [[1; 4], [1, 0, 0, 0]]);
        assert!(batch.inputs.token_type_ids.is_none());
    }

    #[test]
    fn an_empty_text_beside_others_is_all_padding_where_nothing_is_added() {
        let batch = gpt2().encode(&["", "ab"], &device()).unwrap();
        assert_eq!(ids(&batch.inputs), [[0, 0], [1, 2]]);
        assert!(batch.rows()[0].tokens().iter().all(|token| token.padding && token.part.is_none()));
    }
}

mod positions {
    use super::*;

    #[test]
    fn offsets_are_bytes_of_the_text_as_it_was_given() {
        let text = "The Café 猫.";
        let batch = bert().encode(&[text], &device()).unwrap();
        assert_eq!(tokens(&batch, 0), ["[CLS]", "the", "caf", "##e", "猫", ".", "[SEP]"]);
        let surfaces: Vec<_> = batch.rows()[0].tokens().iter().map(|token| &text[token.bytes.clone()]).collect();
        assert_eq!(surfaces, ["", "The", "Caf", "é", "猫", ".", ""]);
    }

    #[test]
    fn a_byte_range_finds_the_tokens_that_overlap_it() {
        let text = "The Café 猫.";
        let batch = bert().encode(&["sat", text], &device()).unwrap();
        let find = |word: &str| {
            let start = text.find(word).unwrap();
            batch.tokens_of(1, start..start + word.len())
        };
        assert_eq!(find("Café"), Some(2..4));
        assert_eq!(find("é"), Some(3..4));
        assert_eq!(find("猫"), Some(4..5));
        assert_eq!(find("The Café"), Some(1..4));
        assert_eq!(find(" "), None);
        assert_eq!(batch.tokens_of(1, 5..5), None, "an empty range");
        assert_eq!(batch.tokens_of(1, 100..110), None);
        assert_eq!(batch.tokens_of(2, 0..3), None, "no such row");
    }

    #[test]
    fn what_was_cut_off_is_not_found() {
        let batch = bert().with_max_length(4).unwrap().encode(&["the cat sat"], &device()).unwrap();
        assert_eq!(batch.tokens_of(0, 4..7), Some(2..3));
        assert_eq!(batch.tokens_of(0, 8..11), None);
        assert_eq!(batch.tokens_of_word(0, 2), None);
    }

    #[test]
    fn words_are_what_the_tokenizer_splits_a_text_into() {
        let batch = bert().encode(&["The cafés.", "cat"], &device()).unwrap();
        let words = batch.words(0);
        assert_eq!(words.iter().map(|word| word.tokens.clone()).collect::<Vec<_>>(), [1..2, 2..5, 5..6]);
        assert_eq!(words[1].bytes, 4..10);
        assert_eq!(batch.tokens_of_word(0, 1), Some(2..5));
        assert_eq!(batch.words(1).len(), 1, "padding and special tokens are not words");
        assert_eq!(batch.tokens_of_word(0, 3), None);
        assert!(batch.words(7).is_empty());
    }

    #[test]
    fn texts_of_a_pair_are_told_apart() {
        let batch = bert().encode_pairs(&[("cat", "the cat")], &device()).unwrap();
        let row = &batch.rows()[0];
        assert_eq!(row.tokens_of(TextPart::First, 0..3), Some(1..2));
        assert_eq!(row.tokens_of(TextPart::Second, 0..3), Some(3..4));
        assert_eq!(row.tokens_of_word(TextPart::Second, 1), Some(4..5));
        let parts: Vec<_> = row.tokens().iter().map(|token| token.part).collect();
        let [none, first, second] = [None, Some(TextPart::First), Some(TextPart::Second)];
        assert_eq!(parts, [none, first, none, second, second, none]);
    }

    #[test]
    fn a_special_token_that_the_text_holds_is_part_of_the_text() {
        let batch = bert().encode(&["cat [SEP]"], &device()).unwrap();
        let special: Vec<_> = batch.rows()[0].tokens().iter().map(|token| token.special).collect();
        assert_eq!(special, [true, false, false, true]);
        assert_eq!(batch.tokens_of(0, 4..9), Some(2..3));
    }

    #[test]
    fn a_character_of_several_byte_tokens_is_found_whole() {
        let text = "a é😀b";
        let batch = gpt2().encode(&[text, "a"], &device()).unwrap();
        assert_eq!(tokens(&batch, 0), ["a", "Ġ", "Ã", "©", "ð", "Ł", "ĺ", "Ģ", "b"]);
        assert_eq!(batch.tokens_of(0, 2..4), Some(2..4));
        assert_eq!(batch.tokens_of(0, 4..8), Some(4..8));
        assert_eq!(batch.tokens_of(0, 8..9), Some(8..9));
        assert_eq!(batch.tokens_of(1, 0..1), Some(0..1), "the padding is not part of the text");
    }
}

mod vocabulary {
    use super::*;

    #[test]
    fn ids_and_tokens_translate_both_ways() {
        let tokenizer = bert();
        assert_eq!((tokenizer.id("##s"), tokenizer.token(6)), (Some(6), Some("##s".into())));
        assert_eq!((tokenizer.id("dog"), tokenizer.token(99)), (None, None));
        assert_eq!(tokenizer.vocab_size(), 12);
    }
}

mod rows {
    use super::*;

    #[test]
    fn of_a_data_set_are_neither_padded_nor_cut() {
        let texts = ["cat cat cat cat cat cat cat cat cat", "The cats"];
        let whole = bert().without_truncation().unwrap();
        let lengths: Vec<usize> = whole.encode_rows(&texts).unwrap().iter().map(|row| row.tokens().len()).collect();
        assert_eq!((lengths, whole.max_length()), (vec![11, 5], Some(8)));
        let cut = bert().encode_rows(&texts).unwrap();
        assert_eq!(cut[0].tokens().len(), 8);
        assert!(whole.encode_rows::<&str>(&[]).unwrap().is_empty());
    }

    #[test]
    fn have_the_format_of_the_folder() {
        let format = bert().row_format();
        assert_eq!((format.pad_id, format.pads_left, format.token_types), (Some(0), false, true));
        let config = json!({"padding_side": "left", "truncation_side": "left"});
        let folder = folder_with(&[("tokenizer.json", &bytes()), ("tokenizer_config.json", &config)]);
        let format = TextTokenizer::from_folder(folder.path()).unwrap().row_format();
        assert!(format.pads_left && format.truncates_left && !format.token_types);
    }

    #[test]
    fn are_written_piece_by_piece() {
        assert_eq!(bert().pieces(&[2, 4, 5, 6, 11, 3]), ["[CLS]", " the", " cat", "s", ".", " [SEP]"]);
        let ids: Vec<u32> = gpt2().encode_rows(&["a é😀b"]).unwrap()[0].tokens().iter().map(|token| token.id).collect();
        assert_eq!(gpt2().pieces(&ids), ["a", " ", "", "é", "", "", "", "😀", "b"]);
    }
}

mod errors {
    use super::*;

    #[test]
    fn an_absent_tokenizer_says_what_to_do() {
        let message = error_of(&[]).to_string();
        assert!(message.contains("tokenizer.json") && message.contains("next to config.json"), "{message}");
        for slow in ["vocab.txt", "vocab.json", "tokenizer.model"] {
            let message = error_of(&[(slow, &json!({}))]).to_string();
            assert!(message.contains(slow) && message.contains("use_fast=True"), "{message}");
        }
    }

    #[test]
    fn a_broken_tokenizer_is_an_error_with_its_path() {
        for broken in [json!({}), json!([]), json!({"version": "1.0", "model": {"type": "Unheard"}})] {
            let error = error_of(&[("tokenizer.json", &broken)]);
            assert!(
                matches!(&error, ModelError::Tokenizer { path, .. } if path.ends_with("tokenizer.json")),
                "{error}"
            );
        }
        let error = error_of(&[("tokenizer.json", &word_pieces()), ("tokenizer_config.json", &json!(1))]);
        assert!(matches!(&error, ModelError::InvalidJson { path, .. } if path.ends_with("tokenizer_config.json")));
    }

    #[test]
    fn no_texts_or_no_tokens_are_an_error() {
        let none: [&str; 0] = [];
        assert!(matches!(bert().encode(&none, &device()), Err(ModelError::InvalidInput { .. })));
        assert!(matches!(gpt2().encode(&["", ""], &device()), Err(ModelError::InvalidInput { .. })));
        let none: [(&str, &str); 0] = [];
        assert!(matches!(bert().encode_pairs(&none, &device()), Err(ModelError::InvalidInput { .. })));
    }

    #[test]
    fn without_a_padding_token_only_unequal_lengths_are_an_error() {
        let folder = folder_with(&[("tokenizer.json", &bytes())]);
        let tokenizer = TextTokenizer::from_folder(folder.path()).unwrap();
        assert_eq!(ids(&tokenizer.encode(&["ab", "ba"], &device()).unwrap().inputs), [[1, 2], [2, 1]]);
        let message = tokenizer.encode(&["ab", "a"], &device()).unwrap_err().to_string();
        assert!(message.contains("pad_token"), "{message}");
    }

    #[test]
    fn a_length_that_the_special_tokens_fill_is_an_error() {
        for length in [0, 2] {
            assert!(matches!(bert().with_max_length(length), Err(ModelError::Tokenizer { .. })), "{length}");
        }
        let three = bert().with_max_length(3).unwrap();
        assert!(three.encode(&["the cat"], &device()).is_ok());
        assert!(matches!(three.encode_pairs(&[("the", "cat")], &device()), Err(ModelError::Tokenizer { .. })));
        let config = json!({"model_max_length": 1});
        let error = error_of(&[("tokenizer.json", &word_pieces()), ("tokenizer_config.json", &config)]);
        assert!(error.to_string().contains("leaves no room"), "{error}");
    }
}
