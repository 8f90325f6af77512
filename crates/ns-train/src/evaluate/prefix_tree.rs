//! Token sequences that share their beginnings, as a tree.
//!
//! What a causal model computes at a token depends on the tokens before it alone. The sentences of a grammar begin alike,
//! so a forward pass on the tree of their beginnings computes half of the tokens or fewer. The tree is one sequence, in
//! which each token attends to the tokens on its way to the root.

use burn::tensor::{Device, Tensor, TensorData};
use ns_models::{AttentionBias, Context, Positions};

/// Most tokens of a tree. The attention of a tree grows with its square.
const TOKENS: usize = 384;

/// Beginnings of sequences, up to the token that is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PrefixTree {
    /// The rows, in the order of their tokens.
    pub(super) rows: Vec<usize>,
    /// For each token of the tree the token before it; `None` for a first token. A token is after the one before it.
    before: Vec<Option<usize>>,
    /// Where each token is: the index of a row in `rows`, and its position in this row.
    pub(super) places: Vec<(usize, usize)>,
    /// The token that is read of each row.
    read: Vec<usize>,
}

impl PrefixTree {
    /// The trees of some rows. `beginning` returns the tokens of a row, up to the one that is read.
    pub(super) fn of<'a>(rows: &[usize], beginning: impl Fn(usize) -> &'a [u32]) -> Vec<Self> {
        let mut rows = rows.to_vec();
        rows.sort_by(|left, right| beginning(*left).cmp(beginning(*right)));
        let (mut trees, mut path): (Vec<Self>, Vec<usize>) = (Vec::new(), Vec::new());
        let mut last: &[u32] = &[];
        for row in rows {
            let tokens = beginning(row);
            if trees.last().is_none_or(|tree| tree.before.len() + tokens.len() > TOKENS) {
                trees.push(Self { rows: Vec::new(), before: Vec::new(), places: Vec::new(), read: Vec::new() });
                (path, last) = (Vec::new(), &[]);
            }
            if let Some(tree) = trees.last_mut() {
                let shared = last.iter().zip(tokens).take_while(|(left, right)| left == right).count();
                path.truncate(shared);
                tree.add(row, tokens.len(), &mut path);
            }
            last = tokens;
        }
        trees
    }

    /// Adds a row. `path` holds the tokens that it shares with the row before, and then all of its tokens.
    fn add(&mut self, row: usize, length: usize, path: &mut Vec<usize>) {
        for position in path.len()..length {
            self.before.push(path.last().copied());
            self.places.push((self.rows.len(), position));
            path.push(self.before.len() - 1);
        }
        self.rows.push(row);
        self.read.extend(path.last());
    }

    /// Number of tokens.
    pub(super) fn len(&self) -> usize {
        self.before.len()
    }

    /// The context of a forward pass on the tree as one sequence.
    pub(super) fn context(&self, device: &Device) -> Context {
        let n = self.len();
        let mut scores = vec![f32::MIN; n * n];
        for token in 0..n {
            let mut on_path = Some(token);
            while let Some(key) = on_path {
                scores[token * n + key] = 0.0;
                on_path = self.before[key];
            }
        }
        let scores = Tensor::<4>::from_data(TensorData::new(scores, [1, 1, n, n]), device);
        Context::new([1, n], AttentionBias::default().and_scores(scores))
    }

    /// The tokens that are read, one for each row.
    pub(super) fn read(&self, device: &Device) -> Positions {
        Positions::chosen(self.read.clone(), 1, device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_share_their_beginnings() {
        let rows: [&[u32]; 5] = [&[1, 2, 3], &[2, 2], &[1, 2, 4, 5], &[1, 2, 3], &[1]];
        let trees = PrefixTree::of(&[0, 1, 2, 3, 4], |row| rows[row]);
        assert_eq!(trees.len(), 1);
        let tree = &trees[0];
        assert_eq!(tree.rows, [4, 0, 3, 2, 1]);
        assert_eq!(tree.before, [None, Some(0), Some(1), Some(1), Some(3), None, Some(5)]);
        assert_eq!(tree.read, [0, 2, 2, 4, 6]);
        let tokens: Vec<u32> = tree.places.iter().map(|(row, at)| rows[tree.rows[*row]][*at]).collect();
        assert_eq!(tokens, [1, 2, 3, 4, 5, 2, 2]);
    }

    #[test]
    fn a_tree_does_not_grow_without_end() {
        let rows: Vec<Vec<u32>> = (0..200).map(|row| vec![row, 0, 0, 0]).collect();
        let trees = PrefixTree::of(&(0..200).collect::<Vec<_>>(), |row| &rows[row]);
        assert_eq!(trees.iter().map(PrefixTree::len).collect::<Vec<_>>(), [384, 384, 32]);
        assert_eq!(trees.iter().map(|tree| tree.rows.len()).sum::<usize>(), 200);
    }
}
