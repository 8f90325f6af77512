//! Prints parts of the syntax as `rustfmt` would, on one line.

use quote::ToTokens;

/// Keywords that keep the space before a bracket.
const KEYWORDS: [&str; 7] = ["as", "const", "dyn", "for", "in", "mut", "where"];

/// The tokens of `part` on one line, without the spaces that `to_string` puts between all tokens.
pub(crate) fn compact(part: &impl ToTokens) -> String {
    let text = part.to_token_stream().to_string();
    let mut line = String::new();
    for token in text.split_whitespace() {
        if !line.is_empty() && !is_joined(&line, token) {
            line.push(' ');
        }
        line.push_str(token);
    }
    line.replace(",)", ")").replace(",>", ">").trim_end_matches(',').into()
}

/// Whether no space stands between a line and the next token.
fn is_joined(line: &str, next: &str) -> bool {
    let word = line.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
    let is_name = !word.is_empty() && !KEYWORDS.contains(&word) || line.ends_with('>') && !line.ends_with("->");
    line.ends_with(['&', '<', '(', '[', '?', '$'])
        || line.ends_with("::")
        || next.starts_with([',', ';', ':', '>', ')', ']', '!'])
        || next.starts_with(['<', '(']) && is_name
}
