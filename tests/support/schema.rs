//! The published schemas, to hold real output against.
#![allow(dead_code, reason = "each test uses its part")]

use std::fs;
use std::path::Path;

use jsonschema::Validator;
use serde_json::Value;

/// One of `schemas/`.
pub struct Schema(Validator);

impl Schema {
    /// As it is published.
    pub fn published(name: &str) -> Self {
        Self::of(&read(name))
    }

    /// The same, with no key but the documented ones: what tsmig writes has to be in its schema.
    pub fn strict(name: &str) -> Self {
        let mut schema = read(name);
        close(&mut schema);
        deny_others(&mut schema);
        Self::of(&schema)
    }

    fn of(schema: &Value) -> Self {
        Self(jsonschema::options().should_validate_formats(true).build(schema).unwrap())
    }

    /// What is wrong with it, a line each; empty where nothing is.
    pub fn errors(&self, value: &Value) -> String {
        let lines = self.0.iter_errors(value).map(|error| format!("{}: {error}\n", error.instance_path()));
        lines.collect()
    }
}

fn read(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas").join(name);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Every place of a value in the schema is closed, and no definition: a value may be made of several of these.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(keys) => {
            if let Some(Value::Object(properties)) = keys.get_mut("properties") {
                properties.values_mut().for_each(deny_others);
            }
            if let Some(items) = keys.get_mut("items") {
                deny_others(items);
            }
            keys.values_mut().for_each(close);
        }
        Value::Array(values) => values.iter_mut().for_each(close),
        _ => {}
    }
}

fn deny_others(place: &mut Value) {
    place["unevaluatedProperties"] = Value::Bool(false);
}
