//! Tests of grammars: counts by hand, sentences by number, samples, columns, and messages of errors.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::Device;
use ns_models::TextTokenizer;

use super::*;
use crate::data::fixtures::{file, shipped};

/// 52 sentences of `plain`: 4 nouns, alone, with one of 8 phrases, or with one of 4 others. 136 of `far`: 4 · 2 · 4 · 4
/// and 4 · 2.
const SMALL: &str = r#"
[features]
number = ["singular", "plural"]
attractor_number = ["singular", "plural"]
gender = ["masculine", "feminine"]

[words]
N = { singular = ["author", "pilot"], plural = "+s" }
P = ["next to", "behind"]
BE = { singular = "is", plural = "are" }
pron = { "singular masculine" = "himself", "singular feminine" = ["herself"], plural = "themselves" }

[phrases]
MOD = ["", "{PP}", "with the {N ?number} who {BE ?number}"]
PP = "{P} the {N attractor_number}"

[templates]
plain = "  the {N number}  {MOD} "
far = ["the {N number} {PP} {PP}", "the {N number} hurt {pron number gender}"]

[columns]
verb = " {BE number} "
wrong = " {BE !number}"
noun = "{N number}"
asked = "{sentence}?"

[partners]
partner = "number"
ungrammatical = { number = ["pron"] }

[sets]
test = { templates = "plain", sample = 6 }
train = { templates = "plain", sample = 4 }
ood = [{ templates = ["far"], sample = 3, where = { gender = "masculine" } }, { templates = "far" }]
"#;

fn grammar(text: &str) -> Result<Grammar, TrainError> {
    let (_folder, path) = file("g.toml", text);
    Grammar::read(&path)
}

fn table(text: &str, selection: &Selection) -> Result<Table, TrainError> {
    grammar(text)?.generate(selection, &mut |_, _| ())
}

fn sets(text: &str) -> Table {
    table(text, &Selection::default()).unwrap()
}

fn all(text: &str) -> Table {
    table(text, &Selection { all: true, ..Selection::default() }).unwrap()
}

fn column<'a>(table: &'a Table, name: &str) -> Vec<&'a str> {
    table.column(name).unwrap().iter().collect()
}

/// The cells of a row by the name of their column.
fn row<'a>(table: &'a Table, sentence: &str) -> BTreeMap<&'a str, &'a str> {
    let row = column(table, "sentence").iter().position(|found| *found == sentence);
    let row = row.unwrap_or_else(|| panic!("no sentence `{sentence}`"));
    table.columns().iter().map(|name| (name.as_str(), table.column(name).unwrap().get(row).unwrap())).collect()
}

/// The message for a grammar, after the name of the file.
fn error(text: &str) -> String {
    let message = match grammar(text) {
        Ok(_) => table(text, &Selection::default()).unwrap_err().to_string(),
        Err(error) => error.to_string(),
    };
    let (_, message) = message.split_once("g.toml`").unwrap_or_else(|| panic!("no file in: {message}"));
    message.trim_start_matches(", ").to_owned()
}

/// The message for the small grammar with a change.
fn changed(from: &str, to: &str) -> String {
    assert!(SMALL.contains(from), "{from}");
    error(&SMALL.replace(from, to))
}

#[test]
fn counts_are_those_by_hand_and_every_number_is_another_sentence() {
    assert_eq!(grammar(SMALL).unwrap().counts(), [("plain", 52), ("far", 136)]);
    let table = all(SMALL);
    assert_eq!(table.len(), 188);
    // A plural pronoun is the same for both genders.
    let rows: BTreeSet<_> = column(&table, "sentence").into_iter().zip(column(&table, "gender")).collect();
    assert_eq!(rows.len(), 188);
    assert_eq!(column(&table, "template")[51..53], ["plain", "far"]);
    let sentences: BTreeSet<&str> = column(&table, "sentence").into_iter().collect();
    for expected in
        ["the pilot", "the authors next to the pilot behind the pilot", "the author with the pilots who are"]
    {
        assert!(sentences.contains(expected), "{expected}");
    }
    assert!(!sentences.contains("the author with the pilots who is"), "two values of one text");
}

#[test]
fn columns_are_in_the_order_of_the_file_and_features_that_do_not_occur_are_empty() {
    let table = sets(SMALL);
    let names = "sentence template number attractor_number gender verb wrong noun asked partner ungrammatical set";
    assert_eq!(table.columns().join(" "), names);
    let plain = row(&table, "the pilots with the author who is");
    assert_eq!((plain["number"], plain["attractor_number"], plain["gender"]), ("plural", "", ""));
}

#[test]
fn columns_keep_a_leading_space_and_take_the_first_lemma() {
    let found = all(SMALL);
    let found = row(&found, "the authors behind the pilot");
    assert_eq!((found["verb"], found["wrong"], found["noun"]), (" are", " is", "authors"));
    assert_eq!(found["asked"], "the authors behind the pilot?");
}

#[test]
fn partners_have_the_other_value_everywhere_or_in_some_words() {
    let table = all(SMALL);
    let found = row(&table, "the pilot hurt himself");
    assert_eq!(found["partner"], "the pilots hurt themselves");
    assert_eq!(found["ungrammatical"], "the pilot hurt themselves");
    assert_eq!(row(&table, "the pilots hurt themselves")["ungrammatical"], "the pilots hurt himself");
    let found = row(&table, "the pilot with the author who is");
    assert_eq!((found["partner"], found["ungrammatical"]), ("the pilots with the author who is", found["sentence"]));
}

#[test]
fn sets_are_disjoint_and_the_last_takes_what_is_left() {
    let table = sets(SMALL);
    let found = column(&table, "set");
    let count = |set: &str| found.iter().filter(|found| **found == set).count();
    assert_eq!((count("train"), count("test"), count("ood")), (4, 6, 136));
    assert_eq!((found[0], found[4], found[10]), ("train", "test", "ood"));
    let sentences = column(&table, "sentence");
    assert_eq!(sentences[..10].iter().collect::<BTreeSet<_>>().len(), 10);
    let genders = column(&table, "gender");
    let far = sentences[10..].iter().zip(&genders[10..]).collect::<BTreeSet<_>>();
    assert_eq!(far.len(), 136);
}

/// These sentences must not change: otherwise no stored run could be repeated.
#[test]
fn samples_are_frozen() {
    let table = sets(SMALL);
    let expected =
        ["the pilots with the author who is", "the pilot with the pilots who are", "the author behind the authors"];
    assert_eq!(column(&table, "sentence")[..3], expected);
    let other = self::table(SMALL, &Selection { seed: Some(1), ..Selection::default() }).unwrap();
    assert_ne!(column(&other, "sentence")[..3], expected);
    assert_eq!(column(&sets(&format!("seed = 1\n{SMALL}")), "sentence"), column(&other, "sentence"));
}

const UNEQUAL: &str = r#"
[features]
number = ["singular", "plural"]
[words]
N = { singular = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"], plural = "+s" }
ADV = ["v", "w", "x", "y", "z"]
BE = { singular = "is", plural = "are" }
[phrases]
MAY = ["", "{ADV} {ADV}"]
PP = ["of {N ?number}", "near {N ?number} {MAY}"]
[templates]
few = "{N number} {BE number}"
many = ["{MAY} {N number} {PP} {BE number}", "{N number} {PP} {PP} {BE number}"]
[sets]
train = { sample = 1200, balanced = true }
test = { sample = 90 }
"#;

#[test]
fn a_balanced_sample_has_equal_shares_of_templates_and_alternatives() {
    let table = sets(UNEQUAL);
    let (sentences, sets) = (column(&table, "sentence"), column(&table, "set"));
    let of_train = sentences.iter().zip(&sets).filter(|(_, set)| **set == "train");
    let train: Vec<&str> = of_train.map(|(text, _)| *text).collect();
    let distinct: std::collections::BTreeSet<&str> = train.iter().copied().collect();
    assert_eq!((train.len(), sentences.len()), (1200, 1290));
    let words = |text: &str| text.split(' ').count();
    // There are only 20 short sentences; the other templates share the rest.
    assert_eq!(train.iter().filter(|text| words(text) == 2).count(), 20);
    let one = train.iter().filter(|text| text.matches("of ").count() + text.matches("near ").count() == 1).count();
    assert_eq!(one, 590);
    let adverbs = |text: &&&str| ["v ", "w ", "x ", "y ", "z "].iter().any(|adverb| text.starts_with(adverb));
    let begin = train.iter().filter(adverbs).count();
    assert!((240..350).contains(&begin), "{begin} of 590 where a uniform sample has 567");
    assert!(distinct.len() > 1190, "ways are not repeated: {}", distinct.len());
    let of_seed = |seed: u64| self::sets(&format!("seed = {seed}\n{UNEQUAL}"));
    assert_eq!(column(&of_seed(0), "sentence"), sentences);
    assert_ne!(column(&of_seed(1), "sentence"), sentences);
}

#[test]
fn samples_of_two_values_are_pairs() {
    let text = SMALL.split("[sets]").next().unwrap().to_owned()
        + r#"[sets]
train = { templates = "far", sample = 2, where = { gender = "masculine" } }
test = { templates = "far", sample = 1, where = { gender = "masculine" } }"#;
    let masculine = sets(&text);
    let values = vec![("gender".to_owned(), "feminine".to_owned())];
    let selection = Selection { values, ..Selection::default() };
    let feminine = table(&text, &selection).unwrap();
    assert_eq!(column(&feminine, "gender"), ["feminine"; 3]);
    let pairs: Vec<String> =
        column(&masculine, "sentence").iter().map(|text| text.replace("himself", "herself")).collect();
    assert_eq!(column(&feminine, "sentence"), pairs);
    let written = sets(&text.replace("\"masculine\" }", "\"feminine\" }"));
    assert_eq!(column(&written, "sentence"), pairs);
}

#[test]
fn a_selection_takes_the_place_of_the_sets() {
    let selected = |templates: &[&str], sample: Option<usize>| {
        let templates = templates.iter().map(|name| (*name).to_owned()).collect();
        table(SMALL, &Selection { templates, sample, ..Selection::default() }).map(|table| table.len())
    };
    assert_eq!(selected(&["far"], None).unwrap(), 136);
    assert_eq!(selected(&[], Some(188)).unwrap(), 188);
    let refused = |templates: &[&str], sample| selected(templates, sample).unwrap_err().to_string();
    let expected = "--sample is 189, but there are only 188 sentences for the sample of 189";
    assert_eq!(refused(&[], Some(189)), expected);
    let expected = "--templates is `plane`, but the groups of templates are plain, far (did you mean `plain`?)";
    assert_eq!(refused(&["plane"], None), expected);
    let with = |feature: &str, value: &str| {
        let values = vec![(feature.to_owned(), value.to_owned())];
        table(SMALL, &Selection { all: true, values, ..Selection::default() }).map(|table| table.len())
    };
    // 4 of the 8 sentences with a gender; those without one have no value of it.
    assert_eq!(with("gender", "feminine").unwrap(), 4);
    assert_eq!(with("attractor_number", "plural").unwrap(), 16 + 64);
    let error = with("gendr", "feminine").unwrap_err().to_string();
    assert_eq!(error, "--where is gendr=feminine, but `gendr` (did you mean `gender`?) is no feature");
    let error = with("gender", "neuter").unwrap_err().to_string();
    let expected =
        "--where is gender=neuter, but `neuter` is no value of `gender`, whose values are masculine, feminine";
    assert_eq!(error, expected);
}

#[test]
fn large_grammars_are_sampled_but_not_listed() {
    let large = r#"
[words]
W = ["a", "b"]
[phrases]
A = "{W} {W} {W} {W} {W} {W} {W} {W}"
B = "{A} {A} {A} {A}"
[templates]
t = "{B} {B} {B}"
"#;
    assert_eq!(grammar(large).unwrap().counts(), [("t", 1 << 96)]);
    let sample = table(large, &Selection { sample: Some(50), ..Selection::default() }).unwrap();
    assert_eq!(column(&sample, "sentence").iter().collect::<BTreeSet<_>>().len(), 50);
    let error = table(large, &Selection::default()).unwrap_err().to_string();
    let expected = "it makes 79,228,162,514,264,337,593,543,950,336 sentences, but there may be 10,000,000";
    assert!(error.contains(expected), "{error}");
    let error = self::error(&large.replace("{B} {B} {B}", "{B} {B} {B} {B}"));
    assert!(error.starts_with("line 8, templates.t: 2^128 sentences or more"), "{error}");
}

#[test]
fn the_shipped_grammars_have_the_counts_of_the_paper() {
    let read = |name: &str| Grammar::read(shipped(&format!("agreement/grammars/{name}.toml"))).unwrap();
    assert_eq!(read("subject-verb").counts(), [("iid", 6160), ("ood", 77_200)]);
    assert_eq!(read("reflexives").counts(), [("iid", 25_760), ("ood", 229_040)]);
    let number = read("syntactic-number");
    assert_eq!(number.counts(), [("iid", 3120)]);
    let table = number.generate(&Selection { all: true, ..Selection::default() }, &mut |_, _| ()).unwrap();
    let pairs = column(&table, "number").into_iter().zip(column(&table, "attractor_number"));
    let mut counts = BTreeMap::new();
    pairs.for_each(|pair| *counts.entry(pair).or_insert(0) += 1);
    assert!(counts.len() == 4 && counts.values().all(|count| *count == 780), "{counts:?}");
    for name in ["subject-verb", "reflexives", "syntactic-number"] {
        let table = read(name).generate(&Selection::default(), &mut |_, _| ()).unwrap();
        let sets = column(&table, "set");
        let count = |set: &str| sets.iter().filter(|found| **found == set).count();
        let ood = if name == "syntactic-number" { 0 } else { 1000 };
        assert_eq!((count("train"), count("test"), count("ood")), (2000, 1000, ood), "{name}");
        let sentences = column(&table, "sentence");
        assert_eq!(sentences.iter().collect::<BTreeSet<_>>().len(), sentences.len(), "{name}: sets share sentences");
    }
}

#[test]
fn a_tokenizer_knows_every_word() {
    let folder = tempfile::tempdir().unwrap();
    let grammar = grammar(SMALL).unwrap();
    let words = grammar.words();
    assert!(words.contains("next") && words.contains("?") && !words.contains("next to"), "{words:?}");
    let size = write_word_tokenizer(folder.path().join("new"), &words).unwrap();
    assert_eq!(size, words.len() + 2);
    let tokenizer = TextTokenizer::from_folder(folder.path().join("new")).unwrap();
    assert_eq!((tokenizer.id("<pad>"), tokenizer.id("<unk>"), tokenizer.id("?")), (Some(0), Some(1), Some(2)));
    let table = all(SMALL);
    for name in ["sentence", "asked", "verb", "partner", "ungrammatical"] {
        let texts = column(&table, name);
        for (text, row) in texts.iter().zip(tokenizer.encode(&texts, &Device::default()).unwrap().rows()) {
            let tokens = row.tokens().iter().filter(|token| !token.padding);
            let words: Vec<String> = tokens.map(|token| tokenizer.token(token.id).unwrap()).collect();
            assert_eq!(words.join(" "), text.trim().replace('?', " ?"));
        }
    }
}

#[test]
fn unknown_names_come_with_the_nearest_ones() {
    let expected = "line 14, phrases.MOD: `{prn}`: `prn` (did you mean `pron`?) is no word class and no phrase";
    assert_eq!(changed("\"{PP}\"", "\"{prn}\""), expected);
    let expected = "line 19, templates.far: `{pron nmber}`: `nmber` (did you mean `number`?) is no feature";
    assert_eq!(changed("{pron number gender}", "{pron nmber}"), expected);
    let expected = "line 11, words.pron: the form `feminin` (did you mean `feminine`?) is no value of a feature";
    assert_eq!(changed("singular feminine", "singular feminin"), expected);
    let expected =
        "line 34, sets.ood: the group `fare`, but the groups of templates are plain, far (did you mean `far`?)";
    assert_eq!(changed("[\"far\"]", "[\"fare\"]"), expected);
    let expected = "line 34, sets.ood: `gendr` (did you mean `gender`?) is no feature";
    assert_eq!(changed("where = { gender", "where = { gendr"), expected);
    let expected = "line 34, sets.ood: `neuter` is no value of `gender`, whose values are masculine, feminine";
    assert_eq!(changed("gender = \"masculine\" }", "gender = \"neuter\" }"), expected);
    assert_eq!(changed("test = {", "valid = {"), "line 32, sets.valid: no set; the sets are train, dev, test and ood");
    let expected = "line 29, partners.ungrammatical: `prn` (did you mean `pron`?) is no word class";
    assert_eq!(changed("[\"pron\"]", "[\"prn\"]"), expected);
}

#[test]
fn a_slot_selects_exactly_one_form() {
    let expected = "line 19, templates.far: `{pron gender}`: `masculine` selects no form of `pron`, whose forms are \
                    `masculine singular`, `feminine singular`, `plural`; name the features that select one";
    assert_eq!(changed("{pron number gender}", "{pron gender}"), expected);
    let expected = "line 18, templates.plain: `{N}`: no values selects no form of `N`";
    assert!(changed("  the {N number}", "the {N}").starts_with(expected));
    let several = changed("the {N number} hurt", "the {N number attractor_number} hurt");
    let expected = "`plural singular` selects 2 forms of `N`: `singular`, `plural`; name fewer features";
    assert!(several.contains(expected), "{several}");
    assert!(changed("{BE !number}", "{BE !number !number}").ends_with("a feature occurs twice"));
}

#[test]
fn the_other_value_is_of_two() {
    let expected =
        "line 23, columns.wrong: `{BE !number}`: `number` has 3 values, but only one of two values has another";
    let text = SMALL.replace("number = [\"singular\", \"plural\"]", "number = [\"singular\", \"plural\", \"dual\"]");
    let text = text.replace("plural = \"are\"", "plural = \"are\", dual = \"be\"");
    let text = text
        .replace("plural = \"+s\"", "plural = \"+s\", dual = \"+en\"")
        .replace("plural = \"them", "dual = \"x\", plural = \"them");
    assert_eq!(error(&text), expected);
    let text = text.replace("{BE !number}", "");
    let expected = "line 28, partners.partner: `number` has 3 values, but only one of two values has another";
    assert_eq!(error(&text), expected);
    let expected = "line 28, partners.partner: `gender` does not occur in all sentences of `templates.plain`, so they have \
                    no partner";
    assert_eq!(changed("partner = \"number\"", "partner = \"gender\""), expected);
}

#[test]
fn cycles_and_braces_are_shown() {
    let cycle = changed("{P} the {N attractor_number}\"", "{P} {MOD}\"");
    assert!(cycle.starts_with("line 14, phrases.MOD: it contains itself (MOD → PP → MOD), so"), "{cycle}");
    let open = "line 18, templates.plain: `the {N number` has a `{` without its partner; a slot is {SYMBOL feature}";
    assert_eq!(changed("  the {N number}  {MOD} ", "the {N number"), open);
    assert!(changed("  the {N number}  {MOD} ", "the N number}").contains("has a `}` without its partner"));
    assert!(changed("  the {N number}  {MOD} ", "the {N {MOD}}").contains("has a `{` without its partner"));
    assert!(changed("{BE !number}", "{}").ends_with("`{}`: no symbol, but a slot is {SYMBOL feature feature}"));
    assert!(changed("{PP} {PP}", "{PP number}").ends_with("a phrase takes no feature, but it has `number`"));
    assert!(changed("{BE !number}", "{PP}").ends_with("a phrase, but a column holds only words of the sentence"));
    assert!(changed("{BE !number}", "{BE ?number}").ends_with("`?number`, but a column has no values of its own"));
}

#[test]
fn forms_are_parallel() {
    let expected = "line 8, words.N: 2 words in the form `singular` and 1 in `plural`, but each lemma needs every form";
    assert_eq!(changed("plural = \"+s\"", "plural = [\"authors\"]"), expected);
    let expected = "line 10, words.BE: the suffix `+s` with 0 forms that list words, but it needs exactly one";
    assert_eq!(changed("{ singular = \"is\", plural = \"are\" }", "{ singular = \"+s\" }"), expected);
    assert_eq!(
        changed("[\"next to\", \"behind\"]", "[]"),
        "line 9, words.P: no words, but a word class needs at least one"
    );
}

#[test]
fn words_of_columns_are_determined() {
    let text = SMALL.replace("noun = \"{N number}\"", "noun = \"{P}\"");
    let expected = "line 24, columns.noun: `P` has 2 lemmas and some sentences of `templates.plain` have none of them";
    assert!(error(&text).starts_with(expected), "{}", error(&text));
}

#[test]
fn names_are_unique_and_usable() {
    let expected = "line 24, columns.gender: a second `gender`, but the name of a column is unique; the other is \
                    `features.gender`";
    assert_eq!(changed("noun = \"{N number}\"", "gender = \"{N number}\""), expected);
    assert!(changed("noun = \"{N number}\"", "set = \"{N number}\"").contains("the other is of every result"));
    assert!(
        changed("PP = \"{P}", "P = \"{P}").contains("phrases.P: a second `P`, but the name of a word class or phrase")
    );
    assert!(changed("noun = \"", "\"a noun?\" = \"").contains("the name `a noun?`, but it must be one word"));
    assert!(
        changed("\"masculine\", \"feminine\"", "\"a\", \"a\"").contains("features.gender: the value `a` occurs twice")
    );
    assert!(changed("gender = [\"masculine\", \"feminine\"]", "gender = []").contains("a feature needs values"));
}

#[test]
fn samples_are_not_larger_than_what_is_left() {
    let expected = "line 32, sets.test: there are only 48 sentences for the sample of 49";
    assert_eq!(changed("sample = 6", "sample = 49"), expected);
    let nothing = changed("templates = [\"far\"], sample = 3", "templates = \"plain\"");
    assert!(nothing.starts_with("line 34, sets.ood: there is no sentence for it"), "{nothing}");
}

#[test]
fn files_of_another_shape_are_named_with_their_line() {
    assert_eq!(error("seed = 1\n"), ": no templates, but [templates] needs at least one group of them");
    assert!(changed("[partners]", "[partner]").starts_with("line 27: unknown field `partner`, expected one of `seed`"));
    assert!(error("[words]\nP = 3\n").starts_with("line 2: invalid type: integer `3`, expected a list of words, or"));
    assert!(error("[words\n").starts_with("line 1: "), "{}", error("[words\n"));
    assert!(error("[templates]\nt = []\n").starts_with("line 2, templates.t: no templates, but a group needs"));
    assert!(changed("sample = 4", "samples = 4").starts_with("line 33: unknown field `samples`, expected one of"));
    let error = Grammar::read("nowhere/g.toml").unwrap_err().to_string();
    assert!(error.starts_with("cannot read `nowhere/g.toml`: "), "{error}");
}
