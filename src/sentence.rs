//! What a typed value looks like in JSON: its kind and its fields, and beside them the sentence that `render::words` makes
//! of it. A reader of the JSON needs the kind, so the sentence is written and not read back.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

/// A value with its sentence beside it, under a key.
#[derive(Serialize)]
struct Said<'a, T> {
    #[serde(flatten)]
    what: &'a T,
    #[serde(flatten)]
    sentence: BTreeMap<&'static str, String>,
}

fn said<'a, T: Display>(what: &'a T, key: &'static str) -> Said<'a, T> {
    Said { what, sentence: [(key, what.to_string())].into() }
}

/// Writes the value with its sentence as `message`.
pub(crate) fn message<T: Serialize + Display, S: Serializer>(what: &T, serializer: S) -> Result<S::Ok, S::Error> {
    said(what, "message").serialize(serializer)
}

/// Writes the value with its sentence as `reason`.
pub(crate) fn reason<T: Serialize + Display, S: Serializer>(what: &T, serializer: S) -> Result<S::Ok, S::Error> {
    said(what, "reason").serialize(serializer)
}

/// Writes each value with its sentence as `message`.
pub(crate) fn messages<T: Serialize + Display, S: Serializer>(all: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(all.iter().map(|what| said(what, "message")))
}

/// Writes each value with its sentence as `reason`.
pub(crate) fn reasons<T: Serialize + Display, S: Serializer>(all: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(all.iter().map(|what| said(what, "reason")))
}

/// As [`message`] does if there is a value.
pub(crate) fn message_if_any<T: Serialize + Display, S: Serializer>(
    what: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    what.as_ref().map(|what| said(what, "message")).serialize(serializer)
}

/// The schema of what [`message`] writes.
pub(crate) fn with_message(schema: &mut Schema) {
    beside(schema, "message");
}

/// The schema of what [`reason`] writes.
pub(crate) fn with_reason(schema: &mut Schema) {
    beside(schema, "reason");
}

/// The schema of what may have failed, with the sentence about that as `error`.
pub(crate) fn with_error(schema: &mut Schema) {
    beside(schema, "error");
    schema.ensure_object()["properties"]["error"]["type"] = json!(["string", "null"]);
}

/// Adds the sentence to the schema of each kind, or of the value if that is of one kind.
fn beside(schema: &mut Schema, key: &str) {
    let add = |kind: &mut Map<String, Value>| {
        kind["properties"][key] = json!({ "description": "One sentence.", "type": "string" });
        if let Some(required) = kind.get_mut("required").and_then(Value::as_array_mut) {
            required.push(key.into());
        }
    };
    let whole = schema.ensure_object();
    match whole.get_mut("oneOf").and_then(Value::as_array_mut) {
        Some(kinds) => kinds.iter_mut().filter_map(Value::as_object_mut).for_each(add),
        None => add(whole),
    }
}

/// The schema of a value that is flattened into another: a reference to its own, where schemars would copy each kind.
pub(crate) struct Beside<T>(PhantomData<T>);

impl<T: JsonSchema> JsonSchema for Beside<T> {
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = generator.subschema_for::<T>();
        // An option that is empty writes no kind.
        if let Some(none) = schema.get_mut("anyOf").and_then(|either| either.get_mut(1)) {
            *none = json!({ "not": { "required": ["kind"] } });
        }
        schema
    }
}
