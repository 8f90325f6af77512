//! The row of a run in `results.json` and `results.csv`.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::recipe::Kind;

/// Results of one run: what was run, and what was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Name of the run: the recipe, the keys that vary in its grid, and the seed.
    pub run: String,
    /// What was trained.
    pub kind: Kind,
    /// The model as the recipe writes it.
    pub model: String,
    /// The data as the recipe writes it.
    pub data: String,
    /// The predicted variable.
    pub variable: Option<String>,
    /// The probed site.
    pub site: Option<String>,
    /// Index of the site's block, counted from 0.
    pub layer: Option<usize>,
    /// Sublayer of the site, `attn` or `mlp`.
    pub block: Option<String>,
    /// Seed of the run.
    pub seed: u64,
    /// Number of labels of the training set.
    pub n_train: usize,
    /// Number of labels of the test set.
    pub n_test: usize,
    /// What was measured.
    #[serde(flatten)]
    pub measures: Measures,
}

/// Measured values by name, in the order in which they were added. `null` is a value that could not be measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measures(Vec<(String, Value)>);

impl Row {
    /// The number with a name; `None` if it was not measured.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.measures.get(name).and_then(Value::as_f64)
    }

    /// All keys with their values, in the order of `results.json`.
    pub fn cells(&self) -> Vec<(&str, Value)> {
        let known: [(&str, Value); 11] = [
            ("run", self.run.as_str().into()),
            ("kind", self.kind.name().into()),
            ("model", self.model.as_str().into()),
            ("data", self.data.as_str().into()),
            ("variable", self.variable.as_deref().into()),
            ("site", self.site.as_deref().into()),
            ("layer", self.layer.into()),
            ("block", self.block.as_deref().into()),
            ("seed", self.seed.into()),
            ("n_train", self.n_train.into()),
            ("n_test", self.n_test.into()),
        ];
        known.into_iter().chain(self.measures.iter().map(|(name, value)| (name, value.clone()))).collect()
    }
}

impl Measures {
    /// Sets a value. A number that is not finite is `null`.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        let value = value.into();
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.into(), value)),
        }
    }

    /// The value with a name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

impl Serialize for Measures {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Measures {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Measures;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Measures, A::Error> {
                let mut measures = Measures::default();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    measures.set(&name, value);
                }
                Ok(measures)
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A row with some measures.
    pub(crate) fn row(run: &str, measures: &[(&str, Value)]) -> Row {
        let mut found = Measures::default();
        measures.iter().for_each(|(name, value)| found.set(name, value.clone()));
        Row {
            run: run.into(),
            kind: Kind::CircuitProbe,
            model: "m".into(),
            data: "words.csv".into(),
            variable: Some("number".into()),
            site: Some("attn_update_1".into()),
            layer: Some(1),
            block: Some("attn".into()),
            seed: 0,
            n_train: 6,
            n_test: 4,
            measures: found,
        }
    }

    #[test]
    fn a_row_is_a_flat_object_in_order_and_is_read_again() {
        let row = row("words-0", &[("knn_test", 0.75.into()), ("acc_full", f64::NAN.into()), ("l0", 3.0.into())]);
        let text = serde_json::to_string(&row).unwrap();
        let expected = r#"{"run":"words-0","kind":"circuit_probe","model":"m","data":"words.csv","variable":"number","site":"attn_update_1","layer":1,"block":"attn","seed":0,"n_train":6,"n_test":4,"knn_test":0.75,"acc_full":null,"l0":3.0}"#;
        assert_eq!(text, expected);
        let again: Row = serde_json::from_str(&text).unwrap();
        assert_eq!(again, row);
        assert_eq!(
            (again.number("knn_test"), again.number("acc_full"), again.number("l0_max")),
            (Some(0.75), None, None)
        );
        let keys: Vec<&str> = row.cells().into_iter().map(|(name, _)| name).collect();
        assert_eq!(keys[..3], ["run", "kind", "model"]);
        assert_eq!(keys[10..], ["n_test", "knn_test", "acc_full", "l0"]);
    }
}
