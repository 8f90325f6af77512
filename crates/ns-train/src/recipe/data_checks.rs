//! Which keys of `[data]` go together.

use super::data::{DataSection, Files, Named, Partner, Read, ReadAt, Split};
use super::kind::Kind;
use crate::error::TrainError;

const READ: &str = "it says which token is read: \"last\", { span = [\"start\", \"end\"] }, { word = \"word\" }, …";

impl DataSection {
    /// Checks that the keys go together.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`], named by its key.
    pub(crate) fn validate(&self, kind: Kind) -> Result<(), TrainError> {
        match (&self.path, &self.arithmetic, &self.grammar) {
            (None, None, None) => return Err(no_source()),
            (Some(files), None, None) => self.validate_table(files)?,
            (None, Some(_), None) => self.validate_arithmetic()?,
            (None, None, Some(_)) => self.validate_grammar()?,
            _ => TrainError::check(
                false,
                "data",
                "several sources",
                "`path`, `arithmetic` and `grammar` exclude each other",
            )?,
        }
        TrainError::check(
            !kind.is_probe() || self.read.is_some() || self.arithmetic.is_some(),
            "data.read",
            "missing",
            READ,
        )?;
        let numeric = !self.numeric || kind == Kind::LinearProbe;
        TrainError::check(numeric, "data.numeric", "true", "only a linear_probe predicts numbers")?;
        if let Some(Read::At(at)) = &self.read {
            at.validate("data.read")?;
        }
        self.split.as_ref().map_or(Ok(()), Split::validate)
    }

    fn validate_table(&self, files: &Files) -> Result<(), TrainError> {
        let inputs = [
            ("text", self.text.is_some()),
            ("tokens", self.tokens.is_some()),
            ("image", self.image.is_some()),
            ("pixels", self.pixels.is_some()),
        ];
        let given: Vec<&str> = inputs.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
        let found = if given.is_empty() { "without an input".into() } else { format!("given {}", given.join(" and ")) };
        let holds = given.len() == 1 || self.implied_text().is_some();
        TrainError::check(holds, "data", found, "it needs one of `text`, `tokens`, `image` and `pixels`")?;
        match (files, &self.split) {
            (Files::One(_), None) => {
                let expected = "one file needs it: { column = \"split\" } or { seeded = { train = 0.6, seed = 0 } }";
                TrainError::check(false, "data.split", "missing", expected)
            }
            (Files::Sets(_), Some(_)) => {
                TrainError::check(false, "data.split", "given", "`path` already names a file per set; remove one")
            }
            _ => Ok(()),
        }
    }

    fn validate_grammar(&self) -> Result<(), TrainError> {
        let others = [
            ("data.tokens", self.tokens.is_some()),
            ("data.image", self.image.is_some()),
            ("data.pixels", self.pixels.is_some()),
        ];
        others.into_iter().try_for_each(|(key, given)| {
            TrainError::check(!given, key, "given", "a grammar makes texts; remove it, or read a table with `path`")
        })
    }

    fn validate_arithmetic(&self) -> Result<(), TrainError> {
        let seeded = matches!(self.split, Some(Split::Seeded { group: None, .. }));
        TrainError::check(
            seeded,
            "data.split",
            "missing or another",
            "arithmetic needs { seeded = { train = 0.6, seed = 0 } }",
        )?;
        let others = [&self.text, &self.tokens, &self.image].iter().any(|column| column.is_some());
        let partner = matches!(self.partner, Some(Partner::Column(_)));
        let columns = others || self.pixels.is_some() || partner;
        TrainError::check(!columns, "data", "arithmetic with columns", "arithmetic has no columns; remove them")?;
        let read = matches!(self.read, None | Some(Read::Named(Named::Last)));
        TrainError::check(read, "data.read", "another position", "arithmetic is read at its last token, `=`")
    }
}

/// The error for a section without a source.
pub(crate) fn no_source() -> TrainError {
    TrainError::setting("data", "without a source", "it needs `path`, `arithmetic` or `grammar`")
}

impl ReadAt {
    /// Checks that it is one rule. `key` is where it stands.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`], named by its key.
    pub(crate) fn validate(&self, key: &'static str) -> Result<(), TrainError> {
        let rules = [self.index.is_some(), self.span.is_some(), self.word.is_some(), self.position.is_some()];
        let given = rules.iter().filter(|given| **given).count();
        let expected = "exactly one of `index`, `span`, `word` and `position` says what is read";
        TrainError::check(given == 1, key, format!("a table of {given} rules"), expected)?;
        let has_tokens = self.span.is_some() || self.word.is_some();
        let expected = "only a `span` or a `word` has several tokens";
        TrainError::check(has_tokens || self.token.is_none(), format!("{key}.token"), "given", expected)
    }
}

impl Split {
    fn validate(&self) -> Result<(), TrainError> {
        let Self::Seeded { train, dev, .. } = self else { return Ok(()) };
        let holds = *train > 0.0 && *dev >= 0.0 && train + dev < 1.0;
        let expected = "train must be above 0, dev at least 0, and both must leave a test set";
        TrainError::check(holds, "data.split.seeded", format!("train = {train}, dev = {dev}"), expected)
    }
}
