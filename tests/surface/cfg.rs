//! `#[cfg(…)]`: which items exist outside tests, and the features that they need.

use std::collections::BTreeSet;

use syn::{Attribute, Expr, Lit, Meta, Token, punctuated::Punctuated};

pub(crate) type Features = BTreeSet<String>;

/// The features that an item needs; `None` if it does not exist outside tests.
pub(crate) fn features(attributes: &[Attribute]) -> Option<Features> {
    let mut features = Features::new();
    let mut conditions = attributes.iter().filter(|attribute| attribute.path().is_ident("cfg"));
    conditions.all(|cfg| holds(&cfg.parse_args().unwrap(), &mut features)).then_some(features)
}

/// Evaluates a condition with all features, outside tests.
fn holds(condition: &Meta, features: &mut Features) -> bool {
    match condition {
        Meta::Path(path) => !path.is_ident("test") && !path.is_ident("doctest"),
        Meta::NameValue(pair) => {
            if let Expr::Lit(literal) = &pair.value
                && let Lit::Str(name) = &literal.lit
            {
                features.insert(name.value());
            }
            true
        }
        Meta::List(list) => {
            let parts = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).unwrap();
            let parts: Vec<bool> = parts.iter().map(|part| holds(part, features)).collect();
            match list.path.require_ident().unwrap().to_string().as_str() {
                "any" => parts.contains(&true),
                "all" => !parts.contains(&false),
                _ => parts == [false], // `not`
            }
        }
    }
}
