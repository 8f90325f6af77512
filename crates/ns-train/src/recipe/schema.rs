//! The JSON Schema of recipe files, for editors.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::sections::Recipe;

/// The JSON Schema (draft 2020-12) of a recipe file: the keys of a [`Recipe`], and the lists that a
/// [`Grid`](super::Grid) takes apart.
pub fn recipe_schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<Recipe>().to_value();
    without_null(&mut schema);
    without_line_breaks(&mut schema);
    schema["title"] = "Recipe".into();
    schema["description"] = "A recipe of NeuroSurgeon: which model, on which data, answers which question.".into();
    let names = json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 });
    let labels = &mut schema["properties"]["data"]["properties"]["labels"];
    *labels = names.clone();
    labels["description"] = "Columns with variables: one run for each.".into();
    schema["properties"]["probe"]["properties"]["vectors"] = json!({
        "description":
            "The probed site, e.g. `attn_update_6`. A list, or a pattern, e.g. `attn_update_*`, gives a run for each.",
        "anyOf": [{ "type": "string" }, names],
    });
    schema["properties"]["sweep"] = json!({
        "description": "Keys, with dots between their parts, and lists of values: one run for each combination.",
        "type": "object",
        "additionalProperties": { "type": "array", "minItems": 1 },
    });
    let required = required_without_sweep(&mut schema);
    schema["if"] = json!({ "not": { "required": ["sweep"] } });
    schema["then"] = json!({ "properties": required });
    schema
}

/// Takes `required` out of the sections `[probe]` and `[training]`, whose keys may be in `[sweep]` instead.
fn required_without_sweep(schema: &mut Value) -> Map<String, Value> {
    let sections = ["probe", "training"].into_iter();
    let take = |section: &str| {
        let required = schema["properties"][section].as_object_mut()?.remove("required")?;
        Some((section.to_owned(), json!({ "required": required })))
    };
    sections.filter_map(take).collect()
}

/// Removes `null` from the types: TOML has no such value, a key is absent instead.
fn without_null(schema: &mut Value) {
    if let Some(object) = schema.as_object_mut() {
        if object.get("default").is_some_and(Value::is_null) {
            object.remove("default");
        }
        if let Some(types) = object.get_mut("type").filter(|types| types.is_array()) {
            let kept: Vec<Value> =
                types.as_array().into_iter().flatten().filter(|name| *name != "null").cloned().collect();
            *types = if let [only] = &kept[..] { only.clone() } else { kept.into() };
        }
        if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
            choices.retain(|choice| choice["type"] != "null");
            if let [Value::Object(only)] = &choices[..] {
                let only = only.clone();
                object.remove("anyOf");
                only.into_iter().for_each(|(key, value)| {
                    object.entry(key).or_insert(value);
                });
            }
        }
    }
    inner(schema).for_each(without_null);
}

/// Joins the lines of the descriptions.
fn without_line_breaks(schema: &mut Value) {
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = text.replace('\n', " ");
    }
    inner(schema).for_each(without_line_breaks);
}

/// The values inside a value.
fn inner(value: &mut Value) -> Box<dyn Iterator<Item = &mut Value> + '_> {
    match value {
        Value::Array(values) => Box::new(values.iter_mut()),
        Value::Object(values) => Box::new(values.values_mut()),
        _ => Box::new(std::iter::empty()),
    }
}
