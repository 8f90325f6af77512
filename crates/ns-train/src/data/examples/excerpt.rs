//! Examples as a reader sees them.

use super::Tokens;

impl Tokens {
    /// The tokens of a row; those that are read are in brackets. Tokens that the tokenizer adds are left out unless
    /// they are read.
    pub(super) fn excerpt(&self, row: usize, read: &[u32]) -> String {
        let ids = self.sequences.ids.row(row);
        let pieces = match &self.tokenizer {
            Some(tokenizer) => tokenizer.pieces(ids),
            None => ids.iter().map(|id| format!(" {}", self.written(*id))).collect(),
        };
        let own = self.added[0]..ids.len() - self.added[1];
        let is_read = |at: usize| read.contains(&(at as u32));
        let shown = |at: &usize| own.contains(at) || is_read(*at);
        let mut text = String::new();
        for at in (0..ids.len()).filter(shown) {
            let piece = &pieces[at];
            let words = piece.trim_start();
            let (begins, ends) = (is_read(at) && (at == 0 || !is_read(at - 1)), is_read(at) && !is_read(at + 1));
            text.push_str(&piece[..piece.len() - words.len()]);
            text.push_str(if begins { "[" } else { "" });
            text.push_str(words);
            text.push_str(if ends { "]" } else { "" });
        }
        text.trim().to_string()
    }

    fn written(&self, id: u32) -> String {
        if self.equals == Some(id) { "=".into() } else { id.to_string() }
    }
}

/// Number of an image and the positions that are read.
pub(super) fn of_image(row: usize, read: &[u32], positions: usize) -> String {
    let first = format!("image {row}");
    match (read, positions) {
        ([], _) => first,
        ([0], _) => format!("{first} [class token]"),
        (all, positions) if all.len() + 1 == positions => format!("{first} [all patches]"),
        (some, _) => {
            let some: Vec<String> = some.iter().map(u32::to_string).collect();
            format!("{first} [positions {}]", some.join(" "))
        }
    }
}
