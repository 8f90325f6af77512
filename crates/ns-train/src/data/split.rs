//! The division of rows into sets.

/// Indices of the rows of each set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowSplit {
    /// Indices of the training rows.
    pub train: Vec<usize>,
    /// Indices of the development rows; often none.
    pub dev: Vec<usize>,
    /// Indices of the test rows.
    pub test: Vec<usize>,
    /// Indices of the rows out of distribution; often none.
    pub ood: Vec<usize>,
}

impl RowSplit {
    /// The sets with their names, as recipes and results write them.
    pub fn sets(&self) -> [(&'static str, &[usize]); 4] {
        [("train", &self.train), ("dev", &self.dev), ("test", &self.test), ("ood", &self.ood)]
    }
}
