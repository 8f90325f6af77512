//! Recipes in the old forms, which had no `kind`: how to write them now.

use toml::{Table, Value};

use super::kind::Kind;

/// Keys of the old forms with what they are now; `{}` stands for the value.
const RENAMED: [(&str, &str); 15] = [
    ("architecture", "head = {}"),
    ("variable", "data.label = {}"),
    ("probe_vectors", "probe.vectors = {}"),
    ("loss", "probe.loss = {}"),
    ("epochs", "training.epochs = {}"),
    ("batch_size", "training.batch_size = {}"),
    ("micro_batch", "training.micro_batch = {}"),
    ("evaluate_every", "training.evaluate_every = {}"),
    ("checkpoint_every", "training.checkpoint_every = {}"),
    ("final_temperature", "training.final_temperature = {}"),
    ("optimizer", "training.optimizer = {}"),
    ("controls", "evaluation.controls = {}"),
    ("plain", "evaluation.plain = {}"),
    ("control", "evaluation.shuffled_labels = {}"),
    ("evaluation.memory_per_class", "probe.support_per_class = {}"),
];

/// What a recipe in an old form had, and what stands there now.
type Line = (String, String);

/// How to write a recipe without `kind` now; `None` if it has no key of the old forms.
pub(super) fn new_form(table: &Table) -> Option<String> {
    let kind = kind_of(table);
    let renamed = RENAMED.iter().filter_map(|(old, new)| {
        let value = value_at(table, old)?.to_string();
        Some(((*old).to_owned(), new.replace("{}", &value)))
    });
    let lines: Vec<Line> = renamed.chain(special_keys(table)).chain(data(table, kind)).collect();
    if lines.is_empty() {
        return None;
    }
    let lines = [("no `kind`".to_owned(), format!("kind = {:?}", kind.name()))].into_iter().chain(lines);
    let lines: String = lines.map(|(old, new)| format!("\n  {old}  →  {new}")).collect();
    Some(format!(
        "it has the old form. Written now (a dot separates a section from its key; all other keys stay):{lines}\n\
         `cargo xtask train` runs it; see docs/recipes.md"
    ))
}

/// The kind that a recipe in an old form has now.
fn kind_of(table: &Table) -> Kind {
    let has = |key: &str| table.contains_key(key);
    match () {
        () if has("variable") => Kind::CircuitProbe,
        () if has("probe_vectors") => Kind::SubnetworkProbe,
        () if has("circuit_config") => Kind::Circuit,
        () => Kind::Model,
    }
}

/// Keys whose new form depends on their value.
fn special_keys(table: &Table) -> Vec<Line> {
    let mut lines = Vec::new();
    if let Some(width) = table.get("intermediate_size") {
        let linear = width.as_integer().is_some_and(|width| width < 0);
        let new = if linear {
            "no key: a probe is linear without `probe.hidden`".into()
        } else {
            format!("probe.hidden = {width}")
        };
        lines.push(("intermediate_size".into(), new));
    }
    if let Some(lambdas) = table.get("l0_lambdas") {
        lines.push(("l0_lambdas".into(), format!("[sweep] \"circuit_config.l0_lambda\" = {lambdas}")));
    }
    lines
}

/// The data of each of the old forms.
fn data(table: &Table, kind: Kind) -> Vec<Line> {
    let section = |path: &str| value_at(table, path).and_then(Value::as_table);
    let words = section("data").filter(|_| kind == Kind::SubnetworkProbe);
    let mut lines = Vec::new();
    for path in ["task", "data.arithmetic"] {
        let old = section(path).filter(|task| task.contains_key("operation"));
        lines.extend(old.into_iter().flat_map(|task| arithmetic(path, task, kind)));
        if let Some(task) = old.filter(|_| kind == Kind::Model && !table.contains_key("batch_size")) {
            let new = format!("training.batch_size = {} (all training pairs)", training_pairs(task));
            lines.push(("no `batch_size`".into(), new));
        }
    }
    lines.extend(section("data.images").into_iter().flat_map(images));
    lines.extend(section("data.texts").into_iter().flat_map(texts));
    lines.extend(words.into_iter().flat_map(words_in_texts));
    if kind == Kind::Model && table.contains_key("batch_size") {
        lines.push(("no short last batch".into(), "training.drop_last = true".into()));
    }
    lines
}

fn arithmetic(path: &str, task: &Table, kind: Kind) -> Vec<Line> {
    let value = |key: &str| task.get(key).map_or_else(|| "…".into(), Value::to_string);
    let [operation, modulus, train, seed] = ["operation", "modulus", "train_fraction", "split_seed"].map(value);
    let mut lines = vec![
        (
            format!("{path}.operation, modulus"),
            format!("data.arithmetic = {{ task = {operation}, modulus = {modulus} }}"),
        ),
        (
            format!("{path}.train_fraction, split_seed"),
            format!("data.split = {{ seeded = {{ train = {train}, seed = {seed} }} }}"),
        ),
    ];
    if !kind.is_probe() {
        lines.push(("no label".into(), "data.label = \"answer\"".into()));
    }
    lines
}

/// The number of training pairs of arithmetic.
fn training_pairs(task: &Table) -> u64 {
    let modulus = task.get("modulus").and_then(Value::as_integer).unwrap_or_default() as f64;
    let share = task.get("train_fraction").and_then(Value::as_float).unwrap_or_default();
    (modulus * modulus * share) as u64
}

fn images(images: &Table) -> Vec<Line> {
    let value = |key: &str| images.get(key).map_or_else(|| "…".into(), Value::to_string);
    let pixels = format!("data.pixels = {{ shape = {}, maximum = {} }}", value("shape"), value("maximum"));
    let mut lines = moved("data.images", images, &["path", "size"]);
    lines.push(("data.images.shape, maximum".into(), pixels));
    lines.push(("data.images.label".into(), format!("data.label = {}", column(images, "label"))));
    lines.extend(split("data.images", images));
    lines
}

fn texts(texts: &Table) -> Vec<Line> {
    let mut lines = moved("data.texts", texts, &["path"]);
    let columns =
        ["text", "label"].map(|key| (format!("data.texts.{key}"), format!("data.{key} = {}", column(texts, key))));
    lines.extend(columns.into_iter().chain(split("data.texts", texts)));
    lines
}

/// The words of `subnetwork`, whose keys were in `[data]` itself.
fn words_in_texts(words: &Table) -> Vec<Line> {
    let absent = ["text", "label"].into_iter().filter(|key| !words.contains_key(*key));
    let mut lines: Vec<Line> =
        absent.map(|key| (format!("no data.{key}"), format!("data.{key} = {}", column(words, key)))).collect();
    let [start, end] = ["start", "end"].map(|key| column(words, key));
    lines.push(("data.start, end".into(), format!("data.read = {{ span = [{start}, {end}] }}, in code points")));
    let seeded = words.get("split").is_some_and(|split| split.get("seeded").is_some());
    lines.extend(split("data", words).filter(|_| seeded));
    lines
}

/// Keys of a data source that moved to `[data]`.
fn moved(path: &str, source: &Table, keys: &[&str]) -> Vec<Line> {
    let given = keys.iter().filter_map(|key| Some((key, source.get(*key)?)));
    given.map(|(key, value)| (format!("{path}.{key}"), format!("data.{key} = {value}"))).collect()
}

/// The split, whose `train_fraction` is now `train`.
fn split(path: &str, source: &Table) -> Option<Line> {
    let split = source.get("split")?.to_string().replace("train_fraction", "train");
    Some((format!("{path}.split"), format!("data.split = {split}")))
}

/// The column of a key, by default of the same name.
fn column(source: &Table, key: &str) -> String {
    source.get(key).map_or_else(|| format!("{key:?}"), Value::to_string)
}

/// The value of a key with dots between its parts.
fn value_at<'a>(table: &'a Table, path: &str) -> Option<&'a Value> {
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    let value = table.get(first)?;
    if rest.is_empty() { Some(value) } else { value_at(value.as_table()?, rest) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROBE: &str = r#"
model = "."
variable = "a2"
probe_vectors = "attn_update_0"
epochs = 90
checkpoint_every = 10
batch_size = 500
final_temperature = 200.0

[task]
modulus = 113
operation = "square_difference"
train_fraction = 0.6
split_seed = 0

[optimizer]
learning_rate = 0.5

[evaluation]
memory_per_class = 2
controls = 5

[circuit_config]
target_layers = ["transformer.h.0.attn.c_attn"]
"#;

    const WORDS: &str = r#"
model = "../minilm"
probe_vectors = "mlp_stream_2"
intermediate_size = -1
epochs = 6
checkpoint_every = 2
batch_size = 64
l0_lambdas = [0.25, 0.5]
control = true

[data]
path = "examples.csv"
split = { column = "split" }

[circuit_config]
target_layers = ["encoder.layer.[0-2].*"]
"#;

    const IMAGES: &str = r#"
architecture = "ResNetForImageClassification"
epochs = 30
batch_size = 64

[model]
model_type = "resnet"

[data.images]
path = "data/digits.csv"
shape = [8, 8]
maximum = 16.0
size = [16, 16]
split = { seeded = { train_fraction = 0.8, seed = 3 } }
"#;

    fn lines(text: &str) -> Vec<String> {
        let message = new_form(&toml::from_str(text).unwrap()).unwrap();
        let lines = message.lines().filter_map(|line| line.strip_prefix("  "));
        lines.map(|line| line.replace("  →  ", " → ")).collect()
    }

    #[test]
    fn a_circuit_probe_of_arithmetic() {
        let expected = [
            "no `kind` → kind = \"circuit_probe\"",
            "variable → data.label = \"a2\"",
            "probe_vectors → probe.vectors = \"attn_update_0\"",
            "epochs → training.epochs = 90",
            "batch_size → training.batch_size = 500",
            "checkpoint_every → training.checkpoint_every = 10",
            "final_temperature → training.final_temperature = 200.0",
            "optimizer → training.optimizer = { learning_rate = 0.5 }",
            "evaluation.memory_per_class → probe.support_per_class = 2",
            "task.operation, modulus → data.arithmetic = { task = \"square_difference\", modulus = 113 }",
            "task.train_fraction, split_seed → data.split = { seeded = { train = 0.6, seed = 0 } }",
        ];
        assert_eq!(lines(PROBE), expected);
    }

    #[test]
    fn a_subnetwork_probe_of_words() {
        let expected = [
            "no `kind` → kind = \"subnetwork_probe\"",
            "probe_vectors → probe.vectors = \"mlp_stream_2\"",
            "epochs → training.epochs = 6",
            "batch_size → training.batch_size = 64",
            "checkpoint_every → training.checkpoint_every = 2",
            "control → evaluation.shuffled_labels = true",
            "intermediate_size → no key: a probe is linear without `probe.hidden`",
            "l0_lambdas → [sweep] \"circuit_config.l0_lambda\" = [0.25, 0.5]",
            "no data.text → data.text = \"text\"",
            "no data.label → data.label = \"label\"",
            "data.start, end → data.read = { span = [\"start\", \"end\"] }, in code points",
        ];
        assert_eq!(lines(WORDS), expected);
    }

    #[test]
    fn a_model_and_a_circuit_on_images() {
        let expected = [
            "no `kind` → kind = \"model\"",
            "architecture → head = \"ResNetForImageClassification\"",
            "epochs → training.epochs = 30",
            "batch_size → training.batch_size = 64",
            "data.images.path → data.path = \"data/digits.csv\"",
            "data.images.size → data.size = [16, 16]",
            "data.images.shape, maximum → data.pixels = { shape = [8, 8], maximum = 16.0 }",
            "data.images.label → data.label = \"label\"",
            "data.images.split → data.split = { seeded = { seed = 3, train = 0.8 } }",
            "no short last batch → training.drop_last = true",
        ];
        assert_eq!(lines(IMAGES), expected);
        let circuit = lines(&format!("controls = 20\n{IMAGES}\n[circuit_config]\n"));
        assert_eq!(circuit[0], "no `kind` → kind = \"circuit\"");
        assert!(circuit.contains(&"controls → evaluation.controls = 20".into()), "{circuit:?}");
    }

    #[test]
    fn a_full_batch_is_the_number_of_training_pairs() {
        let text = "epochs = 9\ntask = { modulus = 113, operation = \"sum\", train_fraction = 0.6, split_seed = 0 }";
        let lines = lines(text);
        assert!(
            lines.contains(&"no `batch_size` → training.batch_size = 7661 (all training pairs)".into()),
            "{lines:?}"
        );
        assert!(lines.contains(&"no label → data.label = \"answer\"".into()), "{lines:?}");
    }

    #[test]
    fn a_recipe_without_old_keys_is_not_in_an_old_form() {
        assert_eq!(new_form(&toml::from_str("model = \"m\"\n[training]\nepochs = 3").unwrap()), None);
    }
}
