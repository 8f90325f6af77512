//! Names as users type and read them.

use crate::error::CircuitError;

/// What the Python `CircuitModel` puts before every name of the model that it wraps.
const WRAPPER_PREFIX: &str = "wrapped_model.";

/// The up to three of `known` that look most like `asked`, best first.
pub(crate) fn nearest<'a>(asked: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut scored: Vec<(f64, &str)> = known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(asked, name), name))
        .filter(|(score, _)| *score > 0.6)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored.into_iter().take(3).map(|(_, name)| name.to_string()).collect()
}

/// `name` without any leading `wrapped_model.`, however many there are.
pub(crate) fn unwrapped(mut name: &str) -> &str {
    while let Some(rest) = name.strip_prefix(WRAPPER_PREFIX) {
        name = rest;
    }
    name
}

/// `field` of the module at `path`, which is empty for the root.
pub(crate) fn join(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_string() } else { format!("{path}.{field}") }
}

/// Where `name` stands among the keys.
///
/// # Errors
/// [`CircuitError::UnexpectedTensor`] with the nearest key.
pub(crate) fn position(keys: &[String], name: &str) -> Result<usize, CircuitError> {
    keys.iter().position(|key| key == name).ok_or_else(|| CircuitError::UnexpectedTensor {
        name: name.to_string(),
        nearest: nearest(name, keys.iter().map(String::as_str)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_finds_its_neighbour_first() {
        let known = ["h.0.attn.c_attn", "h.1.attn.c_attn", "h.0.mlp.c_fc", "zzz"];
        assert_eq!(nearest("h.0.attn.cattn", known)[0], "h.0.attn.c_attn");
        assert!(!nearest("h.0.attn.cattn", known).contains(&"zzz".to_string()));
    }

    #[test]
    fn every_wrapper_prefix_is_stripped_and_nothing_else() {
        assert_eq!(unwrapped("wrapped_model.wrapped_model.a.b"), "a.b");
        assert_eq!(unwrapped("a.wrapped_model.b"), "a.wrapped_model.b");
    }

    #[test]
    fn the_root_has_no_dot() {
        assert_eq!(join("", "weight"), "weight");
        assert_eq!(join("a.b", "weight"), "a.b.weight");
    }
}
