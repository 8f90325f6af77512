//! Names of layers and tensors: prefixes, lookups, and the most similar names for error messages.

/// The prefix that the Python `CircuitModel` adds to every name of the model that it wraps.
const WRAPPER_PREFIX: &str = "wrapped_model.";

/// Up to three of the names in `known` that are most similar to `asked`, best first.
pub(crate) fn nearest<'a>(asked: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut scored: Vec<(f64, &str)> = known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(asked, name), name))
        .filter(|(score, _)| *score > 0.6)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored.into_iter().take(3).map(|(_, name)| name.to_string()).collect()
}

/// `name` without any leading `wrapped_model.` prefixes.
pub(crate) fn unwrapped(mut name: &str) -> &str {
    while let Some(rest) = name.strip_prefix(WRAPPER_PREFIX) {
        name = rest;
    }
    name
}

/// The path of `field` in the module at `path`. The path of the root module is empty.
pub(crate) fn join(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_string() } else { format!("{path}.{field}") }
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
