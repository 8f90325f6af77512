//! Names of models on the Hub.

use std::fmt;

/// The default revision.
const MAIN: &str = "main";

/// Maximum length of a repository name on the Hub.
const LONGEST: usize = 96;

/// Name of a model on the Hub: `name` or `organisation/name`, optionally followed by `@revision`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HubName {
    /// `name` or `organisation/name`.
    pub(super) repository: String,
    /// Branch, tag or commit.
    pub(super) revision: String,
}

impl HubName {
    /// Parses a name by the rules of the Hub. These also ensure that the folder and revision stay inside the cache.
    pub(super) fn parse(name: &str) -> Result<Self, String> {
        let (repository, revision) = name.split_once('@').unwrap_or((name, MAIN));
        let parts: Vec<_> = repository.split('/').collect();
        if parts.len() > 2 || repository.len() > LONGEST || !parts.iter().all(|part| is_part(part)) {
            return Err("a model on the Hub is named `name` or `organisation/name`".into());
        }
        if !revision.split('/').all(is_part) {
            return Err(format!("`{revision}` is not the name of a branch, a tag or a commit"));
        }
        Ok(Self { repository: repository.into(), revision: revision.into() })
    }

    /// Name of the model's folder in the cache.
    pub(super) fn folder(&self) -> String {
        format!("models--{}", self.repository.replace('/', "--"))
    }
}

/// HF's rule for each part of a name, also applied to revisions: letters, digits, `-`, `_` and `.`; it neither starts
/// nor ends with `-` or `.`, and contains neither `--` nor `..`.
fn is_part(part: &str) -> bool {
    let is_allowed = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    let is_dash_or_dot = |character: char| "-.".contains(character);
    !part.is_empty()
        && part.chars().all(is_allowed)
        && !part.starts_with(is_dash_or_dot)
        && !part.ends_with(is_dash_or_dot)
        && !part.contains("--")
        && !part.contains("..")
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.revision.as_str() {
            MAIN => f.write_str(&self.repository),
            revision => write!(f, "{}@{revision}", self.repository),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_back() {
        for (name, repository, revision) in [
            ("bert-base-uncased", "bert-base-uncased", "main"),
            ("org/name", "org/name", "main"),
            ("org/a_b.c-d@v1.0", "org/a_b.c-d", "v1.0"),
            ("gpt2@refs/pr/3", "gpt2", "refs/pr/3"),
        ] {
            let parsed = HubName::parse(name).unwrap();
            assert_eq!((parsed.repository.as_str(), parsed.revision.as_str()), (repository, revision));
            assert_eq!(parsed.to_string(), name);
        }
        assert_eq!(HubName::parse("org/name").unwrap().folder(), "models--org--name");
    }

    #[test]
    fn paths_are_no_names() {
        for path in
            ["", "/", "./model", "../model", "/tmp/model", "a/b/c", "a/", "a b", "a--b", "a..b", "-a", "a.", "a\\b"]
        {
            assert!(HubName::parse(path).is_err(), "{path}");
        }
        for revision in ["", "..", "a/../b", "/a", "a/"] {
            assert!(HubName::parse(&format!("gpt2@{revision}")).is_err(), "{revision}");
        }
    }
}
