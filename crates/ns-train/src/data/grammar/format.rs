//! The TOML of a grammar, as it is written: tables in the order of the file, with the place of each key.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

/// A grammar file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct GrammarFile {
    /// Seed of all samples.
    pub(super) seed: u64,
    /// The features of a sentence and their values.
    pub(super) features: Entries<Vec<String>>,
    /// The terminals.
    pub(super) words: Entries<Forms>,
    /// Alternatives that templates and other phrases use.
    pub(super) phrases: Entries<Texts>,
    /// Groups of templates of sentences.
    pub(super) templates: Entries<Texts>,
    /// Further columns.
    pub(super) columns: Entries<Spanned<String>>,
    /// Columns with a minimal pair of the sentence.
    pub(super) partners: Entries<Change>,
    /// The draws of each set.
    pub(super) sets: Option<Entries<Draws>>,
}

/// A table in the order of the file.
#[derive(Clone, Debug)]
pub(super) struct Entries<V>(pub(super) Vec<Entry<V>>);

/// A key of a table and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry<V> {
    pub(super) name: String,
    /// Byte of the file at which the key starts.
    pub(super) start: usize,
    pub(super) value: V,
}

/// Alternatives, each with its place: a text, or a list of texts.
#[derive(Clone, Debug)]
pub(super) struct Texts(pub(super) Vec<Spanned<String>>);

/// Names: one, or a list.
#[derive(Clone, Debug)]
pub(super) struct Names(pub(super) Vec<String>);

/// The words of a class.
#[derive(Clone, Debug)]
pub(super) enum Forms {
    /// Words of one form.
    One(Vec<String>),
    /// Parallel forms of the same lemmas, by the values that select them.
    Several(Entries<Names>),
}

/// What a partner changes.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// A feature of the sentence.
    Feature(String),
    /// Features, each in the words of some classes.
    Words(Entries<Names>),
}

/// The draws of a set: one, or a list.
#[derive(Clone, Debug)]
pub(super) struct Draws(pub(super) Vec<Draw>);

/// A sample of the sentences of some groups.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Draw {
    /// Groups of templates; all of them without the key.
    pub(super) templates: Option<Names>,
    /// Number of sentences; all that are left without the key.
    pub(super) sample: Option<usize>,
    /// Whether each template gives the same number of sentences and each alternative of a phrase is equally likely.
    /// Otherwise each sentence is, and most have the alternatives with the most words.
    pub(super) balanced: bool,
    /// Values of features.
    #[serde(rename = "where")]
    pub(super) values: Entries<String>,
}

impl<V> Default for Entries<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Entries<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for InOrder<V> {
            type Value = Entries<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<V>, A::Error> {
                let mut entries = Vec::new();
                while let Some((name, value)) = map.next_entry::<Spanned<String>, V>()? {
                    entries.push(Entry { start: name.span().start, name: name.into_inner(), value });
                }
                // The parser sorts keys by name.
                entries.sort_by_key(|entry| entry.start);
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(InOrder(PhantomData))
    }
}

/// Reads a value that has several forms in TOML.
trait OneOf<'de>: Sized {
    const EXPECTED: &'static str;

    fn of_text<E: Error>(text: &str) -> Result<Self, E>;

    fn of_list<A: SeqAccess<'de>>(list: A) -> Result<Self, A::Error>;

    fn of_table<A: MapAccess<'de>>(_table: A) -> Result<Self, A::Error> {
        Err(A::Error::custom(format!("a table, but it must be {}", Self::EXPECTED)))
    }
}

struct AnyOf<T>(PhantomData<T>);

impl<'de, T: OneOf<'de>> Visitor<'de> for AnyOf<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::of_text(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<T, A::Error> {
        T::of_list(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<T, A::Error> {
        T::of_table(table)
    }
}

macro_rules! deserialize_one_of {
    ($($name:ty),*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(AnyOf(PhantomData))
            }
        }
    )*};
}

deserialize_one_of!(Names, Forms, Change, Draws, Alternatives);

fn list<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(list: A) -> Result<Vec<T>, A::Error> {
    Vec::deserialize(SeqAccessDeserializer::new(list))
}

impl<'de> OneOf<'de> for Names {
    const EXPECTED: &'static str = "a text or a list of texts";

    fn of_text<E: Error>(text: &str) -> Result<Self, E> {
        Ok(Self(vec![text.into()]))
    }

    fn of_list<A: SeqAccess<'de>>(names: A) -> Result<Self, A::Error> {
        list(names).map(Self)
    }
}

impl<'de> OneOf<'de> for Forms {
    const EXPECTED: &'static str =
        "a list of words, or a table of forms such as { singular = [\"cat\"], plural = \"+s\" }";

    fn of_text<E: Error>(text: &str) -> Result<Self, E> {
        Ok(Self::One(vec![text.into()]))
    }

    fn of_list<A: SeqAccess<'de>>(words: A) -> Result<Self, A::Error> {
        list(words).map(Self::One)
    }

    fn of_table<A: MapAccess<'de>>(forms: A) -> Result<Self, A::Error> {
        Entries::deserialize(MapAccessDeserializer::new(forms)).map(Self::Several)
    }
}

impl<'de> OneOf<'de> for Change {
    const EXPECTED: &'static str = "the name of a feature, or a table such as { number = [\"pronoun\"] }";

    fn of_text<E: Error>(text: &str) -> Result<Self, E> {
        Ok(Self::Feature(text.into()))
    }

    fn of_list<A: SeqAccess<'de>>(_: A) -> Result<Self, A::Error> {
        Err(A::Error::custom(format!("a list, but it must be {}", Self::EXPECTED)))
    }

    fn of_table<A: MapAccess<'de>>(words: A) -> Result<Self, A::Error> {
        Entries::deserialize(MapAccessDeserializer::new(words)).map(Self::Words)
    }
}

impl<'de> OneOf<'de> for Draws {
    const EXPECTED: &'static str = "a table such as { templates = \"iid\", sample = 1000 }, or a list of them";

    fn of_text<E: Error>(_: &str) -> Result<Self, E> {
        Err(E::custom(format!("a text, but it must be {}", Self::EXPECTED)))
    }

    fn of_list<A: SeqAccess<'de>>(draws: A) -> Result<Self, A::Error> {
        list(draws).map(Self)
    }

    fn of_table<A: MapAccess<'de>>(draw: A) -> Result<Self, A::Error> {
        Draw::deserialize(MapAccessDeserializer::new(draw)).map(|draw| Self(vec![draw]))
    }
}

/// A text, or a list of texts, with the place of each.
impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Spanned::<Alternatives>::deserialize(deserializer)?;
        let span = value.span();
        Ok(Self(match value.into_inner() {
            Alternatives::One(text) => vec![Spanned::new(span, text)],
            Alternatives::List(texts) => texts,
        }))
    }
}

enum Alternatives {
    One(String),
    List(Vec<Spanned<String>>),
}

impl<'de> OneOf<'de> for Alternatives {
    const EXPECTED: &'static str = "a text or a list of texts";

    fn of_text<E: Error>(text: &str) -> Result<Self, E> {
        Ok(Self::One(text.into()))
    }

    fn of_list<A: SeqAccess<'de>>(texts: A) -> Result<Self, A::Error> {
        list(texts).map(Self::List)
    }
}
