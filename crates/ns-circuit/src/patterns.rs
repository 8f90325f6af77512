//! Expansion of layer name patterns such as `encoder.layer.[0-2].*`.

use crate::error::CircuitError;
use crate::names;

/// Expands the names and patterns in `asked` to layer names, in the order of `asked` and without duplicates.
///
/// A pattern expands to all names in `known` that it matches: `*` matches any text, `?` any character, and `[0-2]` one
/// character of a set. A name without these characters stays as it is, even if it is not in `known`.
///
/// # Errors
/// Returns [`CircuitError::UnknownLayer`] for a pattern that matches nothing, and [`CircuitError::InvalidConfig`] for a
/// pattern with invalid syntax.
pub fn expand_layers<'a>(
    asked: &[String],
    known: impl IntoIterator<Item = &'a str, IntoIter: Clone>,
) -> Result<Vec<String>, CircuitError> {
    let known = known.into_iter();
    let mut expanded: Vec<String> = Vec::new();
    for asked in asked {
        let names = if is_pattern(asked) { matching(asked, known.clone())? } else { vec![asked.clone()] };
        for name in names {
            if !expanded.contains(&name) {
                expanded.push(name);
            }
        }
    }
    Ok(expanded)
}

fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

fn matching<'a>(pattern: &str, known: impl Iterator<Item = &'a str> + Clone) -> Result<Vec<String>, CircuitError> {
    let parsed = glob::Pattern::new(pattern).map_err(|error| CircuitError::InvalidConfig {
        field: "target_layers",
        message: format!("invalid pattern {pattern:?}: {error}"),
    })?;
    let found: Vec<String> = known.clone().filter(|name| parsed.matches(name)).map(String::from).collect();
    match found.is_empty() {
        true => Err(CircuitError::UnknownLayer { asked: pattern.into(), nearest: names::nearest(pattern, known) }),
        false => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_layers_in_the_models_order() {
        let names = ["h.0.attn.q", "h.0.mlp", "h.1.attn.q", "h.1.mlp", "head"];
        let layers = |asked: &[&str]| {
            let asked: Vec<String> = asked.iter().map(ToString::to_string).collect();
            expand_layers(&asked, names)
        };
        assert_eq!(layers(&["h.*"]).unwrap(), names[..4]);
        assert_eq!(layers(&["h.?.mlp", "h.[0-0].*"]).unwrap(), ["h.0.mlp", "h.1.mlp", "h.0.attn.q"]);
        assert_eq!(layers(&["unknown"]).unwrap(), ["unknown"], "the model reports unknown names");
        assert!(matches!(layers(&["g.*"]), Err(CircuitError::UnknownLayer { asked, .. }) if asked == "g.*"));
        assert!(layers(&["h.[0"]).unwrap_err().to_string().contains("target_layers"));
    }
}
