//! Tests of [`Examples`] on small tables and on shipped data.

use std::collections::BTreeSet;
use std::path::Path;

use burn::tensor::{Device, Int, Tensor};
use ns_models::TextTokenizer;

use super::*;
use crate::data::fixtures::{shipped, write_byte_pairs, write_tokenizer, write_word_pieces};
use crate::data::{Operation, RowSplit, Variable};
use crate::recipe::{Files, Named, Read, SetFiles, Split};
use crate::run::examples_hash;

/// A folder with a tokenizer and the table `a.csv`.
struct Data {
    folder: tempfile::TempDir,
    section: DataSection,
    limits: ModelLimits,
}

fn data(write: impl Fn(&Path), table: &str, section: &str) -> Data {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    std::fs::write(folder.path().join("a.csv"), table).unwrap();
    let section = format!("path = \"a.csv\"\nlabel = \"label\"\nsplit = {{ column = \"split\" }}\n{section}");
    let section: DataSection = toml::from_str(&section).unwrap();
    let section = section.resolve(&folder.path().join("recipe.toml"));
    Data { folder, section, limits: ModelLimits::default() }
}

impl Data {
    fn read(&self) -> Result<Examples, TrainError> {
        Examples::read(&self.section, Some(self.folder.path()), self.limits)
    }

    #[track_caller]
    fn refuses(&self, part: &str) {
        let error = self.read().err().unwrap().to_string();
        assert!(error.contains(part), "{error}");
    }
}

fn ids(tensor: &Tensor<2, Int>) -> Vec<Vec<i64>> {
    let values: Vec<i64> = tensor.to_data().iter().collect();
    values.chunks(tensor.dims()[1]).map(<[i64]>::to_vec).collect()
}

fn mask(batch: &ProbeBatch) -> Vec<u8> {
    batch.token_mask.iter().map(|selected| u8::from(*selected)).collect()
}

fn excerpts(examples: &Examples) -> Vec<String> {
    (0..examples.rows.split.train.len() + examples.rows.split.test.len()).map(|row| examples.excerpt(row)).collect()
}

const SENTENCES: &str = "text,start,end,word,at,label,split\n\
    the judge sat there solemnly,20,28,solemnly,1,adverb,train\n\
    the judge sat.,4,9,judge,3,noun,train\n\
    café there,5,10,there,0,adverb,test\n";

fn sentences(read: &str) -> Data {
    data(write_word_pieces, SENTENCES, &format!("text = \"text\"\nread = {read}"))
}

mod reads {
    use super::*;

    #[test]
    fn of_all_forms_are_shown_in_excerpts() {
        for (read, expected) in [
            ("\"last\"", ["the judge sat there solemn[ly]", "the judge sat[.]", "café [there]"]),
            ("\"first\"", ["[the] judge sat there solemnly", "[the] judge sat.", "[café] there"]),
            ("\"all\"", ["[the judge sat there solemnly]", "[the judge sat.]", "[café there]"]),
            ("{ index = -2 }", ["the judge sat there [solemn]ly", "the judge [sat].", "[café] there"]),
            ("{ index = 1 }", ["the [judge] sat there solemnly", "the [judge] sat.", "café [there]"]),
            (
                "{ index = 0, special = true }",
                ["[[CLS]] the judge sat there solemnly", "[[CLS]] the judge sat.", "[[CLS]] café there"],
            ),
            ("{ position = \"at\" }", ["the [judge] sat there solemnly", "the judge sat[.]", "[café] there"]),
            ("{ word = \"word\" }", ["the judge sat there solemn[ly]", "the [judge] sat.", "café [there]"]),
            (
                "{ span = [\"start\", \"end\"], token = \"first\" }",
                ["the judge sat there [solemn]ly", "the [judge] sat.", "café [there]"],
            ),
            (
                "{ span = [\"start\", \"end\"], token = \"all\" }",
                ["the judge sat there [solemnly]", "the [judge] sat.", "café [there]"],
            ),
        ] {
            assert_eq!(excerpts(&sentences(read).read().unwrap()), expected, "{read}");
        }
    }

    #[test]
    fn of_several_tokens_have_a_label_each() {
        let examples = sentences("{ word = \"word\", token = \"all\" }").read().unwrap();
        assert_eq!(examples.labels(&[1, 0, 2]), [1, 0, 0, 0]);
        let batch = examples.batch(&[1, 0], &Device::default()).unwrap();
        assert_eq!((batch.labels.clone(), batch.means.is_empty()), (vec![1, 0, 0], true));
        assert_eq!(mask(&batch), [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0]);
        assert_eq!(batch.selected_labels(-1).unwrap(), [1, 0, 0]);
        let sizes = examples.set_sizes();
        assert_eq!(sizes[0], SetSize { name: "train", rows: 2, labels: 3, classes: 2 });
        assert_eq!(sizes[1], SetSize { name: "test", rows: 1, labels: 1, classes: 1 });
    }

    #[test]
    fn of_a_mean_have_one_label() {
        let examples = sentences("{ word = \"word\", token = \"mean\" }").read().unwrap();
        let batch = examples.batch(&[1, 0], &Device::default()).unwrap();
        assert_eq!((batch.labels.clone(), batch.means.clone()), (vec![1, 0], vec![1, 2]));
        assert_eq!(batch.selected_labels(-1).unwrap(), [1, 0]);
        assert!(examples.rows().ends.is_empty());
    }

    #[test]
    fn without_a_rule_select_nothing() {
        let examples = data(write_word_pieces, SENTENCES, "text = \"text\"").read().unwrap();
        let batch = examples.batch(&[0, 2], &Device::default()).unwrap();
        assert_eq!((batch.labels, batch.token_mask), (vec![0, 0], vec![false; 16]));
        assert_eq!(examples.excerpt(2), "café there");
    }

    #[test]
    fn that_a_row_does_not_have_are_errors() {
        let row = |text: &str, span: &str, word: &str, at: &str| {
            format!("text,start,end,word,at,label,split\nthe sat,4,7,sat,0,a,train\n{text},{span},{word},{at},b,test\n")
        };
        let refused = |table: String, read: &str, part: &str| {
            data(write_word_pieces, &table, &format!("text = \"text\"\nread = {read}")).refuses(part);
        };
        for (span, part) in [
            ("8,99", "line 3: the span is 8..99, but it is outside the text, which has 14 characters (code points)"),
            ("4,4", "line 3: the span is 4..4, but it is empty"),
            ("9,4", "line 3: the span is 9..4, but it is empty"),
            ("x,4", "line 3: the span is x..4, but start and end must be numbers"),
            ("3,4", "line 3: the span is ` `, but no token covers it"),
            (
                "5,12",
                "line 3: the span is `udge sa`, but it begins inside the token `judge` and ends inside the token `sat`",
            ),
            ("5,9", "line 3: the span is `udge`, but it begins inside the token `judge`"),
            ("4,8", "line 3: the span is `judg`, but it ends inside the token `judge`"),
            ("5,8", "line 3: the span is `udg`, but it is only a part of the token `judge`"),
        ] {
            refused(row("the judge sat.", span, "sat", "0"), "{ span = [\"start\", \"end\"] }", part);
        }
        for (text, word, part) in [
            ("the judge sat", "there", "line 3: the word is `there`, but the text `the judge sat` does not contain it"),
            (
                "the there",
                "he",
                "line 3: the word is `he`, but the text `the there` does not contain it as a whole word",
            ),
            ("café the the", "the", "it occurs 2 times in the text, at characters 5 and 9; use a span"),
            ("the judge", "", "line 3: the word is ``, but it is empty"),
        ] {
            refused(row(text, "0,1", word, "0"), "{ word = \"word\" }", part);
        }
        let part = "line 3: the position is 3, but the row has 3 tokens, added tokens not counted";
        refused(row("the judge sat", "0,1", "sat", "3"), "{ position = \"at\" }", part);
        let part = "line 3: the position is `-1`, but it must be a number of a token, counted from 0";
        refused(row("the judge sat", "0,1", "sat", "-1"), "{ position = \"at\" }", part);
        let part = "line 3: data.read.index is -2, but the row has 1 tokens, added tokens not counted";
        refused(row("the", "0,1", "sat", "0"), "{ index = -2 }", part);
        refused(row("the", "0,1", "sat", "0"), "{ index = 3, special = true }", "the row has 3 tokens");
        refused(row("", "0,1", "sat", "0"), "\"last\"", "line 3: the text is without tokens");
        refused(row("the", "0,1", "sat", "0"), "{ word = \"wort\" }", "no column `wort`");
    }

    #[test]
    fn of_tokens_that_begin_with_a_space_are_those_of_the_word() {
        let table = "text,word,label,split\nb a ab,ab,x,train\na b,b,y,train\nab a,a,x,test\n";
        let examples = data(write_byte_pairs, table, "text = \"text\"\nread = { word = \"word\" }").read().unwrap();
        assert_eq!(excerpts(&examples), ["b a [ab]", "a [b]", "ab [a]"]);
        let batch = examples.batch(&[0, 1, 2], &Device::default()).unwrap();
        assert_eq!(ids(batch.inputs.tokens().unwrap()), [[2, 4, 6], [0, 1, 5], [1, 2, 4]]);
        assert_eq!(mask(&batch), [0, 0, 1, 0, 0, 1, 0, 0, 1]);
    }
}

/// The text of the error of a failed reading.
trait ErrorText {
    fn unwrap_err_text(self) -> String;
}

impl ErrorText for Result<Examples, TrainError> {
    fn unwrap_err_text(self) -> String {
        self.err().unwrap().to_string()
    }
}

mod batches {
    use super::*;

    #[test]
    fn of_texts_are_those_of_the_tokenizer() {
        for write in [write_word_pieces, write_tokenizer, write_byte_pairs] {
            let table = "text,label,split\na b a b,x,train\nb,y,train\na b,x,test\n";
            let data = data(write, table, "text = \"text\"\nread = \"last\"");
            let (examples, device) = (data.read().unwrap(), Device::default());
            let tokenizer = TextTokenizer::from_folder(data.folder.path()).unwrap();
            for rows in [&[0, 1, 2][..], &[2, 1], &[1]] {
                let texts = rows.iter().map(|row| ["a b a b", "b", "a b"][*row]).collect::<Vec<_>>();
                let (ours, theirs) =
                    (examples.batch(rows, &device).unwrap().inputs, tokenizer.encode(&texts, &device).unwrap().inputs);
                assert_eq!(ids(ours.tokens().unwrap()), ids(theirs.tokens().unwrap()));
                for (ours, theirs) in
                    [(ours.attention_mask, theirs.attention_mask), (ours.token_type_ids, theirs.token_type_ids)]
                {
                    assert_eq!(ours.as_ref().map(ids), theirs.as_ref().map(ids));
                }
            }
        }
    }

    #[test]
    fn that_need_a_padding_token_say_so() {
        let without = |folder: &Path| {
            write_word_pieces(folder);
            std::fs::write(folder.join("tokenizer_config.json"), "{}").unwrap();
        };
        let examples = data(without, SENTENCES, "text = \"text\"").read().unwrap();
        let error = examples.batch(&[0, 1], &Device::default()).unwrap_err().to_string();
        assert!(error.contains("without a padding token") && error.contains("pad_token"), "{error}");
        assert!(examples.batch(&[1], &Device::default()).is_ok());
    }
}

mod lengths {
    use super::*;

    fn long(read: &str, truncate: bool) -> Data {
        let table = "text,word,label,split\nthe judge sat there solemnly .,judge,x,train\nthe judge,judge,y,train\nthe \
                     judge sat there solemnly,judge,x,test\n";
        let section = format!("text = \"text\"\nread = {read}\ntruncate = {truncate}");
        let data = data(write_word_pieces, table, &section);
        Data { limits: ModelLimits { max_length: Some(6), ..ModelLimits::default() }, ..data }
    }

    #[test]
    fn beyond_the_model_are_errors_with_both_numbers() {
        long("\"first\"", false).refuses(
            "line 2: the row is 9 tokens long, but the model reads at most 6; shorten it, or set `data.truncate",
        );
    }

    #[test]
    fn are_cut_after_the_tokens_that_are_read() {
        let examples = long("{ word = \"word\" }", true).read().unwrap();
        let batch = examples.batch(&[0], &Device::default()).unwrap();
        assert_eq!(ids(batch.inputs.tokens().unwrap()), [[2, 4, 5, 6, 7, 3]]);
        assert_eq!(examples.excerpt(0), "the [judge] sat there");
        let last = long("{ index = -1, special = true }", true).read().unwrap();
        assert_eq!(mask(&last.batch(&[0], &Device::default()).unwrap()), [0, 0, 0, 0, 0, 1]);
        for (read, token) in [("\"last\"", 7), ("\"all\"", 5), ("{ index = 4 }", 5)] {
            let part = "line 2: the row is 9 tokens long, but the model reads at most 6";
            long(read, true).refuses(&format!("{part}, and token {token}, which is read, would be cut off"));
        }
    }

    #[test]
    fn are_cut_on_the_side_of_the_tokenizer() {
        let table = "text,label,split\na b ab a,x,train\nb,y,train\na b,x,test\n";
        let data = data(write_byte_pairs, table, "text = \"text\"\nread = \"last\"\ntruncate = true");
        let data = Data { limits: ModelLimits { max_length: Some(2), ..ModelLimits::default() }, ..data };
        let examples = data.read().unwrap();
        assert_eq!(examples.excerpt(0), "ab [a]");
        let first = Data { section: DataSection { read: Some(Read::Named(Named::First)), ..data.section }, ..data };
        first.refuses("token 0, which is read, would be cut off");
    }

    #[test]
    fn that_the_added_tokens_fill_are_errors() {
        let data = long("\"first\"", true);
        let limits = ModelLimits { max_length: Some(2), ..ModelLimits::default() };
        Data { limits, ..data }.refuses("which the added tokens fill");
    }
}

mod token_ids {
    use super::*;

    fn ids_of(rows: &str, read: &str) -> Data {
        let table = format!("ids,label,split\n{}\n", rows.replace(';', "\n"));
        let data = data(|_| (), &table, &format!("tokens = \"ids\"\nread = {read}"));
        let limits = ModelLimits { vocab_size: Some(10), max_length: Some(4), ..ModelLimits::default() };
        Data { limits, ..data }
    }

    #[test]
    fn are_spaced_or_a_json_list() {
        let examples = ids_of("3 1 9,a,train;\"[7, 0]\",b,train;5,a,test", "\"last\"").read().unwrap();
        assert_eq!(excerpts(&examples), ["3 1 [9]", "7 [0]", "[5]"]);
        let batch = examples.batch(&[0, 1], &Device::default()).unwrap();
        assert_eq!(ids(batch.inputs.tokens().unwrap()), [[3, 1, 9], [7, 0, 0]]);
        assert_eq!(ids(&batch.inputs.attention_mask.unwrap()), [[1, 1, 1], [1, 1, 0]]);
        assert!(batch.inputs.token_type_ids.is_none());
        assert!(examples.batch(&[0], &Device::default()).unwrap().inputs.attention_mask.is_none());
    }

    #[test]
    fn that_no_model_knows_are_errors() {
        for (cell, part) in [
            ("1 10", "line 3: a token id is 10, but the vocabulary of the model has 10 tokens, counted from 0"),
            ("4294967296", "line 3: a token id is `4294967296`, but it must be an integer from 0 to 4294967295"),
            ("1 x", "line 3: a token id is `x`, but it must be an integer"),
            ("-1", "line 3: a token id is `-1`"),
            ("\"[1, 2.5]\"", "line 3: a token id is `2.5`"),
            ("\"[1, 2\"", "line 3: a token id is `[1,`"),
            ("[]", "line 3: the list of token ids is empty"),
            ("1 2 3 4 5", "line 3: the row is 5 tokens long, but the model reads at most 4"),
        ] {
            ids_of(&format!("1,a,train;{cell},b,train;2,a,test"), "\"last\"").refuses(part);
        }
        ids_of("1,a,train;2,b,train;3,a,test", "{ word = \"label\" }").refuses("the rows have no `text`");
    }

    #[test]
    fn have_a_label_each() {
        let examples = ids_of("3 1 9,a _ b,train;7 0,b a,train;5,a,test", "\"all\"").read().unwrap();
        assert_eq!(excerpts(&examples), ["[3] 1 [9]", "[7 0]", "[5]"]);
        assert_eq!(examples.labels(&[0, 1, 2]), [0, 1, 1, 0, 0]);
        ids_of("3 1 9,a b,train;7 0,b a,train;5,a,test", "\"all\"")
            .refuses("line 2: the list of labels is 2 labels long, but the row has 3 positions");
    }
}

mod labels {
    use super::*;

    fn words(rows: &[&str]) -> Data {
        let table = format!("text,label,split\n{}\n", rows.join("\n"));
        data(write_word_pieces, &table, "text = \"text\"\nread = \"all\"")
    }

    #[test]
    fn of_words_are_read_at_their_last_token() {
        let examples = words(&[
            "the judge sat solemnly,D N V A,train",
            "the  judge .,\"[\"\"D\"\", \"\"N\"\", null]\",train",
            "there,_,train",
            "solemnly sat,A V,test",
        ])
        .read()
        .unwrap();
        assert_eq!(excerpts(&examples), ["[the judge sat] solemn[ly]", "[the judge].", "there", "solemn[ly sat]"]);
        assert_eq!(examples.labels(&[0, 1, 2, 3]), [1, 2, 3, 0, 1, 2, 0, 3]);
        assert_eq!(examples.classes(), ["A", "D", "N", "V"]);
        let batch = examples.batch(&[2, 3], &Device::default()).unwrap();
        assert_eq!((batch.labels.clone(), batch.selected_labels(-1).unwrap()), (vec![0, 3], vec![0, 3]));
    }

    #[test]
    fn a_single_label_holds_for_all_tokens() {
        let examples = words(&["solemnly sat,a,train", "the,b,train", "sat,a,test"]).read().unwrap();
        assert_eq!(examples.labels(&[0, 1, 2]), [0, 0, 0, 1, 0]);
    }

    #[test]
    fn lists_that_do_not_fit_are_errors() {
        words(&["the judge,D N,train", "sat there,V,train", "sat,V,test"])
            .refuses("line 3: the list of labels is 1 labels long, but the row has 2 words");
        words(&["the judge,\"[1, \",train", "sat,V,test"]).refuses("line 2: the list of labels is `[1,`");
        words(&["the judge,D N,train", "sat there,,train", "sat,D,test"]).refuses("line 3: the label is empty");
        words(&["the judge,D N,train", "sat there,V X,test"]).refuses("line 3: the class is `V` in the test set");
    }

    #[test]
    fn that_are_numbers_keep_their_values() {
        let table = "text,label,split\nthe,2.5,train\njudge,-1,train\nsat,2.5,test\n";
        let examples =
            data(write_word_pieces, table, "text = \"text\"\nread = \"last\"\nnumeric = true").read().unwrap();
        assert_eq!(examples.values(&[0, 1, 2]), [2.5, -1.0, 2.5]);
        assert!(examples.classes().is_empty());
        let shuffled = examples.shuffled(0).values(&[0, 1]);
        assert!(shuffled == [2.5, -1.0] || shuffled == [-1.0, 2.5]);
    }
}

mod keys {
    use super::*;

    #[test]
    fn depend_on_content_alone() {
        let examples = sentences("{ word = \"word\" }").read().unwrap();
        let lines: Vec<&str> = SENTENCES.lines().collect();
        let reordered = [lines[0], lines[3], lines[1], lines[2]].join("\n");
        let other = data(write_word_pieces, &reordered, "text = \"text\"\nread = { word = \"word\" }").read().unwrap();
        assert_eq!([0, 1, 2].map(|row| examples.key(row)), [1, 2, 0].map(|row| other.key(row)));
        let last = sentences("\"first\"").read().unwrap();
        assert_ne!(last.key(0), examples.key(0));
        assert_eq!(last.key(2), 0x267a8496bfc24d4d, "computed by hand");
        assert_eq!(examples.keys(&[2, 0]), [examples.key(2), examples.key(0)]);
    }

    #[test]
    fn sample_support_sets_unless_the_sets_depend_on_the_order_of_rows() {
        let given = sentences("\"all\"").read().unwrap();
        assert_eq!(given.content_keys(&[1, 0]), Some(given.keys(&[1, 0])));
        let data = sentences("\"last\"");
        let split = Some(Split::Seeded { train: 0.7, dev: 0.0, seed: 0, group: None });
        let seeded = Data { section: DataSection { split, ..data.section.clone() }, ..data };
        assert_eq!(seeded.read().unwrap().content_keys(&[1, 0]), None);
    }

    #[test]
    fn of_several_vectors_differ() {
        let examples = sentences("\"all\"").read().unwrap();
        let keys = examples.keys(&[0, 1]);
        assert_eq!(keys.len(), examples.labels(&[0, 1]).len());
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
    }

    #[test]
    fn find_inputs_that_two_sets_share() {
        let table = "text,label,split\nthe,a,train\nsat,b,train\nthe,a,test\nthe,a,dev\nthere,a,test\n";
        let examples = data(write_word_pieces, table, "text = \"text\"\nread = \"last\"").read().unwrap();
        assert_eq!(examples.shared_inputs(), 1);
        assert_eq!(sentences("\"last\"").read().unwrap().shared_inputs(), 0);
    }
}

mod partners {
    use super::*;

    const PAIRS: &str = "text,other,label,split\n\
        the judge sat,the judge sat there,a,train\n\
        there,the,b,train\n\
        sat,judge,a,test\n\
        the judge,sat there,b,test\n";

    fn pairs(partner: &str) -> Data {
        data(write_word_pieces, PAIRS, &format!("text = \"text\"\nread = \"last\"\npartner = {partner}"))
    }

    #[test]
    fn of_a_column_are_inputs_of_their_own() {
        let (data, device) = (pairs("\"other\""), Device::default());
        let examples = data.read().unwrap();
        let tokenizer = TextTokenizer::from_folder(data.folder.path()).unwrap();
        let expected = tokenizer.encode(&["the judge sat there", "judge"], &device).unwrap().inputs;
        let found = examples.partner_batch(&[0, 2], &device).unwrap().unwrap();
        assert_eq!(ids(found.tokens().unwrap()), ids(expected.tokens().unwrap()));
        assert_eq!(found.attention_mask.as_ref().map(ids), expected.attention_mask.as_ref().map(ids));
        assert_eq!(examples.partner_excerpt(3), Some("sat there".into()));
        let without = Data { section: DataSection { partner: None, ..data.section.clone() }, ..data };
        let without = without.read().unwrap();
        assert_eq!([0, 1, 2, 3].map(|row| without.key(row)), [0, 1, 2, 3].map(|row| examples.key(row)));
        assert_eq!(without.shared_inputs(), examples.shared_inputs());
        assert_eq!((without.partner_key(0), without.partner_excerpt(0)), (None, None));
        assert!(without.partner_batch(&[0], &device).unwrap().is_none());
        assert_ne!(examples.partner_key(0), examples.partner_key(1));
    }

    #[test]
    fn of_another_length_are_warned_of() {
        let data = pairs("\"other\"");
        let examples = data.read().unwrap();
        let tables = Tables::read(data.section.path.as_ref().unwrap()).unwrap();
        let unequal = |examples: &Examples| {
            let content = &examples.content;
            let unequal = content.partners.as_ref().unwrap().unequal(&content.input, &tables, &[0, 1, 2, 3]);
            unequal.map(|warning| warning.to_string()).unwrap_or_default()
        };
        let expected = "line 2: the partner is 6 tokens long, but its row has 5; 1 partners have another length";
        assert!(unequal(&examples).contains(expected), "{}", unequal(&examples));
        let refused = examples.check_partner_lengths(&data.section, &[3, 0]).unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
        assert!(examples.check_partner_lengths(&data.section, &[3]).is_ok(), "other rows do not matter");
        let deranged = unequal(&pairs("{ derange = { seed = 0 } }").read().unwrap());
        assert!(deranged.contains("the partner is 3 tokens long, but its row has 5; 4 partners have"), "{deranged}");
        let itself = unequal(&pairs("\"text\"").read().unwrap());
        assert_eq!(itself, "");
    }

    #[test]
    fn that_are_deranged_are_other_rows_of_the_set() {
        let rows = |row: usize| format!("{row},{},{}", row % 2, ["train", "test", "dev", "ood"][row % 7 / 2]);
        let table = format!("ids,label,split\n{}\n", (0..70).map(rows).collect::<Vec<_>>().join("\n"));
        let partners = |seed: u64| {
            let section = format!("tokens = \"ids\"\nread = \"last\"\npartner = {{ derange = {{ seed = {seed} }} }}");
            let examples = data(|_| (), &table, &section).read().unwrap();
            let batch = examples.partner_batch(&(0..70).collect::<Vec<_>>(), &Device::default()).unwrap().unwrap();
            let partners: Vec<usize> = ids(batch.tokens().unwrap()).iter().map(|ids| ids[0] as usize).collect();
            (examples, partners)
        };
        let (examples, found) = partners(3);
        assert!((0..70).all(|row| found[row] != row));
        for (set, rows) in examples.split().sets() {
            let partners: BTreeSet<usize> = rows.iter().map(|row| found[*row]).collect();
            assert_eq!(partners, rows.iter().copied().collect(), "{set}");
        }
        assert_eq!(found, partners(3).1);
        assert_ne!(found, partners(4).1);
        let row = 5;
        assert_eq!(examples.partner_excerpt(row), Some(found[row].to_string()));
        assert_eq!(examples.partner_key(row), Some(examples.content.input.key(found[row]).finish()));
    }

    #[test]
    fn are_deranged_uniformly() {
        let split = RowSplit { train: vec![0, 1, 2, 3], ..RowSplit::default() };
        let mut counts = std::collections::BTreeMap::new();
        for seed in 0..1800 {
            let Partners::Rows(rows) = Partners::deranged(&split, 4, seed).unwrap() else { unreachable!() };
            *counts.entry(rows).or_insert(0) += 1;
        }
        // Of 4 rows there are 9 derangements, so each is expected 200 times, with a standard deviation of 13.
        assert_eq!(counts.len(), 9);
        assert!(counts.values().all(|count| (145..255).contains(count)), "{counts:?}");
    }

    #[test]
    fn of_arithmetic_are_deranged() {
        let text = "arithmetic = { task = \"sum\", modulus = 5 }\nlabel = \"answer\"\n\
                    split = { seeded = { train = 0.6, seed = 0 } }\npartner = { derange = { seed = 1 } }";
        let examples = Examples::read(&toml::from_str(text).unwrap(), None, ModelLimits::default()).unwrap();
        let shown = |row: usize| examples.partner_excerpt(row).unwrap();
        assert!(
            (0..25).all(|row| shown(row).ends_with('=') && shown(row) != examples.excerpt(row).replace("[=]", "="))
        );
    }

    #[test]
    fn that_cannot_be_read_are_errors() {
        pairs("\"others\"").refuses("no column `others`");
        let table = PAIRS.replace("sat,judge", "sat, ");
        let section = "text = \"text\"\nread = \"last\"\npartner = \"other\"";
        data(write_word_pieces, &table, section).refuses("line 4: the partner is empty, but each row needs one");
        let limits = ModelLimits { max_length: Some(5), ..ModelLimits::default() };
        Data { limits, ..pairs("\"other\"") }
            .refuses("line 2: the partner is 6 tokens long, but the model reads at most 5");
        let ids = |other: &str| {
            let table = format!("ids,other,label,split\n1,2,a,train\n2,{other},b,train\n3,1,a,test\n");
            let data = data(|_| (), &table, "tokens = \"ids\"\nread = \"last\"\npartner = \"other\"");
            Data { limits: ModelLimits { vocab_size: Some(10), ..ModelLimits::default() }, ..data }
        };
        ids("12").refuses("line 3: a token id of the partner is 12, but the vocabulary");
        ids("[]").refuses("line 3: the partner is empty");
        assert_eq!(ids("\"[4, 5]\"").read().unwrap().partner_excerpt(1), Some("4 5".into()));
        let one = PAIRS.replace("judge,sat there,b,test", "judge,sat there,b,dev");
        let section = "text = \"text\"\nread = \"last\"\npartner = { derange = { seed = 0 } }";
        data(write_word_pieces, &one, section)
            .refuses("data.partner.derange is on a dev set of one row, but a partner is another row of the same set");
    }
}

mod controls {
    use super::*;

    /// 200 rows of 20 words, 100 groups.
    fn many(section: &str) -> Examples {
        let words = ["the", "judge", "sat", "there"];
        let row = |row: usize| {
            let set = if row % 5 == 4 { "test" } else { "train" };
            format!("{} sat.,{},{},g{},{set}", words[row % 4], words[row % 4], row % 3, row / 2)
        };
        let rows: Vec<String> = (0..200).filter(|row| row % 4 != 2).map(row).collect();
        let table = format!("text,word,label,group,split\n{}\n", rows.join("\n"));
        data(write_word_pieces, &table, &format!("text = \"text\"\n{section}")).read().unwrap()
    }

    #[test]
    fn give_each_word_one_label() {
        let examples = many("read = { word = \"word\" }");
        let control = examples.shuffled(1);
        let labels = control.labels(&(0..150).collect::<Vec<_>>());
        assert!((3..150).all(|row| labels[row] == labels[row - 3]));
        assert_eq!(control.key(0), examples.key(0));
    }

    #[test]
    fn permute_labels_inside_each_set_without_words() {
        let examples = many("read = \"last\"");
        let control = examples.shuffled(1);
        assert_eq!(control.rows, shuffled::permuted(&examples.rows, 1));
        for (_, rows) in examples.split().sets() {
            let [mut before, mut after] = [&examples, &control].map(|examples| examples.labels(rows));
            assert!(rows.is_empty() || before != after);
            before.sort_unstable();
            after.sort_unstable();
            assert_eq!(before, after);
        }
    }

    #[test]
    fn keep_the_labels_of_a_row_equal() {
        let control = many("read = \"all\"").shuffled(2);
        assert!((0..150).all(|row| control.rows.of(row).len() == 3
            && control.rows.of(row).iter().min() == control.rows.of(row).iter().max()));
    }

    #[test]
    fn follow_the_groups_of_the_split() {
        let rows: Vec<String> = (0..60).map(|row| format!("the sat,{},g{}", ["x", "y"][row % 2], row / 3)).collect();
        let table = format!("text,label,group\n{}\n", rows.join("\n"));
        let data = data(write_word_pieces, &table, "text = \"text\"\nread = \"last\"");
        let group = Split::Seeded { train: 0.5, dev: 0.2, seed: 0, group: Some("group".into()) };
        let data = Data { section: DataSection { split: Some(group), ..data.section.clone() }, ..data };
        let examples = data.read().unwrap();
        let groups = |rows: &[usize]| rows.iter().map(|row| row / 3).collect::<BTreeSet<_>>();
        let split = examples.split();
        assert_eq!([&split.train, &split.dev, &split.test].map(Vec::len), [30, 12, 18]);
        assert!(groups(&split.train).is_disjoint(&groups(&split.test)));
        let labels = examples.shuffled(0).labels(&(0..60).collect::<Vec<_>>());
        assert!((0..60).all(|row| labels[row] == labels[row / 3 * 3]));
    }

    #[test]
    fn of_word_lists_have_one_label_a_word() {
        let rows: Vec<String> = (0..40)
            .map(|row| format!("the judge sat,{} N V,{}", ["D", "X"][row % 2], ["train", "test"][row / 20]))
            .collect();
        let table = format!("text,label,split\n{}\n", rows.join("\n"));
        let control = data(write_word_pieces, &table, "text = \"text\"\nread = \"all\"").read().unwrap().shuffled(0);
        let labels = control.labels(&(0..40).collect::<Vec<_>>());
        assert!((3..120).all(|label| labels[label] == labels[label - 3]));
    }
}

mod arithmetic {
    use super::*;

    fn section(extra: &str) -> DataSection {
        let text = "arithmetic = { task = \"square_difference\", modulus = 113 }\n\
                    split = { seeded = { train = 0.6, seed = 0 } }\n";
        toml::from_str(&format!("{text}{extra}")).unwrap()
    }

    #[test]
    fn all_pairs_have_the_value_of_the_label() {
        let read =
            |label: &str| Examples::read(&section(&format!("label = \"{label}\"")), None, ModelLimits::default());
        for (name, variable) in [("answer", None), ("a2", Some(Variable::A2)), ("a_minus_b", Some(Variable::AMinusB))] {
            let examples = read(name).unwrap();
            let RowSplit { train, test, .. } = examples.split();
            assert_eq!((train.len(), test.len()), (7661, 5108));
            let batch = examples.batch(&[&train[..3], test].concat(), &Device::default()).unwrap();
            let ids = ids(batch.inputs.tokens().unwrap());
            for (tokens, label) in ids.iter().zip(&batch.labels) {
                let pair = (tokens[0] as usize, tokens[1] as usize);
                let value = variable.map_or_else(
                    || Operation::SquareDifference.answer(113, pair),
                    |variable| variable.value(113, pair),
                );
                assert_eq!((tokens[2], *label), (113, value as i64));
            }
            assert!(batch.inputs.attention_mask.is_none());
            assert_eq!(batch.token_mask[..6], [false, false, true, false, false, true]);
            assert_eq!((examples.rows().n_answers, examples.classes().len()), (113, 0));
        }
    }

    #[test]
    fn has_a_development_set() {
        let text = "arithmetic = { task = \"sum\", modulus = 10 }\nlabel = \"answer\"\nnumeric = true\n\
                    split = { seeded = { train = 0.6, dev = 0.1, seed = 0 } }";
        let examples = Examples::read(&toml::from_str(text).unwrap(), None, ModelLimits::default()).unwrap();
        let sizes: Vec<_> = examples.set_sizes().iter().map(|set| (set.name, set.rows)).collect();
        assert_eq!(sizes, [("train", 60), ("dev", 10), ("test", 30)]);
        assert_eq!((examples.excerpt(37), examples.values(&[37])), ("3 7 [=]".into(), vec![0.0]));
    }

    #[test]
    fn that_does_not_fit_is_an_error() {
        let small = ModelLimits { vocab_size: Some(113), ..ModelLimits::default() };
        let short = ModelLimits { max_length: Some(2), ..ModelLimits::default() };
        for (extra, limits, part) in [
            ("label = \"b2\"", ModelLimits::default(), "data.label is `b2`, but arithmetic has `a2`, `minus_b2`"),
            ("", small, "data.arithmetic.modulus is 113, but the vocabulary of the model has 113 tokens"),
            ("", short, "an example of arithmetic has 3 tokens"),
        ] {
            let error = Examples::read(&section(extra), None, limits).unwrap_err_text();
            assert!(error.contains(part), "{error}");
        }
        let none = DataSection { split: None, ..section("") };
        assert!(Examples::read(&none, None, ModelLimits::default()).unwrap_err_text().contains("data.split"));
    }
}

mod images {
    use super::*;

    pub(super) fn digits(extra: &str) -> DataSection {
        let text = "path = \"data/digits.csv\"\nlabel = \"label\"\npixels = { shape = [8, 8], maximum = 16.0 }\n\
                    split = { seeded = { train = 0.8, seed = 0 } }\n";
        let section: DataSection = toml::from_str(&format!("{text}{extra}")).unwrap();
        section.resolve(&shipped("digits/train.toml"))
    }

    #[test]
    fn are_read_at_the_class_token_or_the_patches() {
        let limits = ModelLimits { image_shape: Some([3, 8, 16]), image_positions: Some(5), ..ModelLimits::default() };
        let read = |read: &str| Examples::read(&digits(&format!("read = {read}")), None, limits).unwrap();
        let batch = |examples: &Examples| examples.batch(&[7, 3], &Device::default()).unwrap();
        let first = read("\"first\"");
        assert_eq!(batch(&first).inputs.pixels().unwrap().dims(), [2, 3, 8, 16]);
        assert_eq!(
            (mask(&batch(&first)), first.excerpt(7)),
            (vec![1, 0, 0, 0, 0, 1, 0, 0, 0, 0], "image 7 [class token]".into())
        );
        let all = read("\"all\"");
        assert_eq!((mask(&batch(&all)), batch(&all).labels.len()), (vec![0, 1, 1, 1, 1, 0, 1, 1, 1, 1], 8));
        assert_eq!(all.excerpt(7), "image 7 [all patches]");
        assert_eq!(mask(&batch(&read("{ index = 2 }")))[..5], [0, 0, 1, 0, 0]);
    }

    #[test]
    fn of_pixels_have_other_rows_as_partners() {
        let read = |partner| Examples::read(&digits(partner), None, ModelLimits::default());
        let error = read("partner = \"p0\"").unwrap_err_text();
        assert!(error.contains("data.partner is `p0`, but `pixels` are in one column each"), "{error}");
        let (examples, device) = (read("partner = { derange = { seed = 0 } }").unwrap(), Device::default());
        let Some(Partners::Rows(rows)) = &examples.content.partners else { unreachable!() };
        let found = examples.partner_batch(&[7], &device).unwrap().unwrap();
        let expected = examples.batch(&[rows[7]], &device).unwrap().inputs;
        assert_eq!(found.pixels().unwrap().to_data(), expected.pixels().unwrap().to_data());
    }

    #[test]
    fn of_another_size_than_the_models_are_errors() {
        let limits = ModelLimits { image_shape: Some([1, 8, 8]), ..ModelLimits::default() };
        let refused = |extra: &str| Examples::read(&digits(extra), None, limits).unwrap_err_text();
        assert!(refused("size = [16, 16]").contains("data.size is [16, 16], but the model reads images of 8 × 8"));
        assert!(refused("size = [4, 4]").contains("images can only be enlarged"));
        assert!(refused("read = \"first\"").contains("a model without positions"));
    }

    fn files(rows: &str, extra: &str) -> Data {
        files_of(&format!("file,label,split\n{rows}"), extra)
    }

    /// Image files of the golden data.
    fn files_of(table: &str, extra: &str) -> Data {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/images");
        let write = |folder: &Path| {
            for (from, to) in [
                ("rgb_37x53.png", "x.png"),
                ("gray_64x64.png", "y.png"),
                ("vit-16-box/preprocessor_config.json", "preprocessor_config.json"),
            ] {
                std::fs::copy(golden.join(from), folder.join(to)).unwrap();
            }
        };
        data(write, table, &format!("image = \"file\"\n{extra}"))
    }

    #[test]
    fn of_files_are_those_of_the_image_processor() {
        let data = files("x.png,a,train\ny.png,b,train\nx.png,a,test\n", "");
        let examples = data.read().unwrap();
        let preprocessor = ImagePreprocessor::from_folder(data.folder.path()).unwrap();
        let paths = ["y.png", "x.png"].map(|name| data.folder.path().join(name));
        let expected = preprocessor.preprocess(&preprocessor.read_images(&paths).unwrap(), &Device::default()).unwrap();
        let batch = examples.batch(&[1, 0], &Device::default()).unwrap();
        assert_eq!(batch.inputs.pixels().unwrap().to_data(), expected.to_data());
        assert_eq!((examples.key(0) == examples.key(2), examples.key(0) == examples.key(1)), (true, false));
    }

    #[test]
    fn of_files_have_files_as_partners() {
        let table = "file,other,label,split\nx.png,y.png,a,train\ny.png,y.png,b,train\nx.png,x.png,a,test\n";
        let examples = files_of(table, "partner = \"other\"").read().unwrap();
        let keys = [0, 1, 2].map(|row| examples.partner_key(row).unwrap());
        let expected = [1, 1, 0].map(|row| examples.content.input.key(row).finish());
        assert_eq!(keys, expected);
    }

    #[test]
    fn of_files_that_the_model_cannot_read_are_errors() {
        let rows = "x.png,a,train\ny.png,b,train\nx.png,a,test\n";
        files("x.png,a,train\nz.png,b,train\nx.png,a,test\n", "").refuses("z.png");
        files(rows, "size = [16, 16]").refuses("the image processor of the model sets it");
        let limits = ModelLimits { image_shape: Some([3, 99, 99]), ..ModelLimits::default() };
        Data { limits, ..files(rows, "") }
            .refuses("line 2: the image is 3 × 16 × 16 after the image processor, but the model reads 3 × 99 × 99");
        let data = files(rows, "");
        let error = Examples::read(&data.section, None, ModelLimits::default()).unwrap_err_text();
        assert!(error.contains("image files need the image processor"), "{error}");
    }

    use ns_models::ImagePreprocessor;
}

/// Published results depend on the order of the examples, so it must never change.
#[test]
fn the_shipped_examples_keep_their_order() {
    let folder = tempfile::tempdir().unwrap();
    write_tokenizer(folder.path());
    let of = |examples: Examples| examples_hash(&examples);
    let arithmetic = "arithmetic = { task = \"square_difference\", modulus = 113 }\nlabel = \"a2\"\n\
                      split = { seeded = { train = 0.6, seed = 0 } }\n";
    let arithmetic = Examples::read(&toml::from_str(arithmetic).unwrap(), None, ModelLimits::default()).unwrap();
    let digits = Examples::read(&images::digits(""), None, ModelLimits::default()).unwrap();
    let words = "path = \"examples.csv\"\ntext = \"text\"\nread = { span = [\"start\", \"end\"] }\nlabel = \"label\"\n\
                 split = { column = \"split\" }";
    let words = toml::from_str::<DataSection>(words).unwrap().resolve(&shipped("wordnet/probe.toml"));
    let words = Examples::read(&words, Some(folder.path()), ModelLimits::default()).unwrap();
    let expected = [
        "6135edd7979b0512f072512a52af1eaddb13f2fcdf30c2e7e48f3df23e54d631",
        "369f6b3e548c8d091d15de1d5225168234ea8fab2149baf69ac54e79bc19967e",
        "cedc95de735d79b1f9f00225793da706460a295b2cc1f750e08ad5ef688d32df",
    ];
    assert_eq!([of(arithmetic), of(digits), of(words)], expected);
}

#[test]
fn a_section_without_a_source_or_an_input_is_an_error() {
    let read = |section: &DataSection| Examples::read(section, None, ModelLimits::default()).unwrap_err_text();
    assert!(read(&DataSection::default()).contains("it needs `path`, `arithmetic` or `grammar`"));
    let data = sentences("\"last\"");
    assert!(read(&data.section).contains("texts need the tokenizer of a model folder"));
    let none = DataSection { text: None, read: None, ..data.section.clone() };
    assert!(read(&none).contains("it needs one of `text`, `tokens`, `image` and `pixels`"));
    let limits = ModelLimits { vocab_size: Some(9), ..ModelLimits::default() };
    Data { limits, ..data }.refuses("line 2: a token id is 9, but the vocabulary of the model has 9 tokens");
}

mod another_test_set {
    use super::*;

    /// The examples of `data` with other test rows.
    fn with_test(data: &Data, rows: &str) -> Result<Examples, TrainError> {
        let path = data.folder.path().join("new.csv");
        std::fs::write(&path, rows).unwrap();
        let section = data.section.with_test(&path)?;
        Examples::read(&section, Some(data.folder.path()), data.limits)
    }

    #[test]
    fn takes_the_place_of_all_sets_but_train() {
        let data = sentences("{ word = \"word\" }");
        let examples = with_test(&data, "word,label,text\nsat,adverb,the judge sat.\n").unwrap();
        assert_eq!(examples.split(), &RowSplit { train: vec![0, 1], test: vec![3], ..RowSplit::default() });
        assert_eq!((examples.excerpt(3), examples.labels(&[3])), ("the judge [sat].".into(), vec![0]));
        assert_eq!(examples.classes(), data.read().unwrap().classes());
        let error = with_test(&data, "word,label,text\nsat,verb,the judge sat.\n").err().unwrap().to_string();
        assert!(error.contains("new.csv`, line 2: the class is `verb` in the test set"), "{error}");
    }

    #[test]
    fn replaces_the_file_of_the_test_set() {
        let data = sentences("\"last\"");
        let folder = data.folder.path();
        std::fs::write(folder.join("train.csv"), "text,label\nthe judge,a\nthere,b\n").unwrap();
        let files = SetFiles {
            train: folder.join("train.csv"),
            dev: Some("no such file".into()),
            test: "no such file".into(),
            ood: None,
        };
        let section = DataSection { path: Some(Files::Sets(files)), split: None, ..data.section.clone() };
        let examples = with_test(&Data { section, ..data }, "text,label\nsat,a\n").unwrap();
        assert_eq!(examples.split(), &RowSplit { train: vec![0, 1], test: vec![2], ..RowSplit::default() });
    }

    #[test]
    fn without_groups_has_no_control_labels() {
        let rows = (0..20).map(|row| format!("a b,{},g{}", row % 2, row / 2)).collect::<Vec<_>>();
        let table = format!("text,label,group\n{}\n", rows.join("\n"));
        let data = data(write_tokenizer, &table, "text = \"text\"\nread = \"last\"");
        let group = Split::Seeded { train: 0.5, dev: 0.0, seed: 0, group: Some("group".into()) };
        let data = Data { section: DataSection { split: Some(group), ..data.section.clone() }, ..data };
        let train = data.read().unwrap().split().train.clone();
        for (rows, known) in [("text,label,group\nb a,1,g0\n", true), ("text,label\nb a,1\n", false)] {
            let examples = with_test(&data, rows).unwrap();
            assert_eq!((examples.has_control(), &examples.split().train), (known, &train));
        }
        assert!(data.read().unwrap().has_control());
    }
}

mod without_labels {
    use super::*;

    #[test]
    fn all_rows_are_in_one_set() {
        for (read, counts) in [("\"all\"", [6, 4, 2]), ("\"last\"", [1, 1, 1])] {
            let data = sentences(read);
            let section = DataSection { label: None, split: None, ..data.section.clone() };
            let examples = Data { section, ..data }.read().unwrap();
            assert_eq!(examples.split(), &RowSplit { train: vec![0, 1, 2], ..RowSplit::default() });
            assert_eq!([0, 1, 2].map(|row| examples.labels(&[row])), counts.map(|count| vec![0; count]), "{read}");
            assert_eq!(examples.positions(2), if read == "\"all\"" { &[1, 2][..] } else { &[2] });
        }
    }
}
